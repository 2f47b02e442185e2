/* Counters of limits: see limit_cell.h.
 *
 * 1. A slot whose stretch is not within 15 of now's counts for nothing, and is overwritten by
 * whoever needs its place. So a clock that was wrong by days, and is set right, blocks nobody.
 * 2. Adding and looking are sequentially consistent: of two that add, one sees the other. */
#include "gateway/limit_cell.h"

#include <assert.h>

enum { AMOUNT_BITS = 40, STRETCH_MASK = (1 << 24) - 1, LATE_MAX = 64 };

static const int64_t slot_ms[] = {
    [LIMIT_SECOND] = 67,
    [LIMIT_MINUTE] = 4000,
    [LIMIT_HOUR] = 240000,
    [LIMIT_DAY] = 5760000,
    [LIMIT_MONTH] = 172800000,
};

int64_t limit_slot_ms(enum limit_window window)
{
    assert(window > LIMIT_NOW && window < LIMIT_WINDOW_COUNT);
    return slot_ms[window];
}

static int64_t amount_of(uint64_t slot)
{
    return (int64_t)(slot & (uint64_t)LIMIT_AMOUNT_MAX);
}

static uint32_t stretch_of(uint64_t slot)
{
    return (uint32_t)(slot >> AMOUNT_BITS);
}

static uint64_t slot_with(uint32_t stretch, int64_t amount)
{
    amount = amount > LIMIT_AMOUNT_MAX ? LIMIT_AMOUNT_MAX : amount;
    return (uint64_t)stretch << AMOUNT_BITS | (uint64_t)amount;
}

static uint32_t stretch_at(enum limit_window window, int64_t now_ms)
{
    return (uint32_t)(now_ms / limit_slot_ms(window)) & STRETCH_MASK;
}

/* How many stretches lie between; negative: it is ahead of now. */
static int32_t age_of(uint32_t stretch, uint32_t now)
{
    return (int32_t)((now - stretch) << 8) >> 8;
}

static bool counts(uint64_t slot, uint32_t now)
{
    int32_t age = age_of(stretch_of(slot), now);
    return age > -LIMIT_SLOTS && age < LIMIT_SLOTS && amount_of(slot) > 0;
}

static int64_t sum(const struct limit_cell *cell, uint32_t now)
{
    int64_t total = 0;
    for (int i = 0; i < LIMIT_SLOTS; i++) {
        uint64_t slot = atomic_load(&cell->slots[i]);
        total += counts(slot, now) ? amount_of(slot) : 0;
    }
    return total;
}

int64_t limit_cell_used(const struct limit_cell *cell, enum limit_window window, int64_t now_ms)
{
    if (window == LIMIT_NOW)
        return amount_of(atomic_load(&cell->slots[0]));
    return sum(cell, stretch_at(window, now_ms));
}

/* Adds to the slot of now. A thread that was held up while others went a round on adds to theirs:
 * later is the safe side. */
static void add(struct limit_cell *cell, uint32_t now, int64_t amount, struct limit_mark *ret)
{
    atomic_uint_fast64_t *place = &cell->slots[now % LIMIT_SLOTS];
    uint64_t before = atomic_load(place), after;
    do {
        int32_t age = age_of(stretch_of(before), now);
        bool joins = age <= 0 && age >= -LATE_MAX && before != 0;
        ret->stretch = joins ? stretch_of(before) : now;
        after = slot_with(ret->stretch, amount + (joins ? amount_of(before) : 0));
    } while (!atomic_compare_exchange_weak(place, &before, after));
    ret->amount = amount;
}

void limit_cell_add(struct limit_cell *cell, enum limit_window window, int64_t amount,
    int64_t now_ms, struct limit_mark *ret_mark)
{
    assert(amount >= 0 && amount <= LIMIT_AMOUNT_MAX);
    if (window == LIMIT_NOW) {
        *ret_mark = (struct limit_mark){amount, 0};
        atomic_fetch_add(&cell->slots[0], (uint64_t)amount);
        return;
    }
    add(cell, stretch_at(window, now_ms), amount, ret_mark);
}

bool limit_cell_take(struct limit_cell *cell, enum limit_window window, int64_t most,
    int64_t amount, int64_t now_ms, struct limit_mark *ret_mark)
{
    struct limit_mark mark;
    /* Looked at first: what is refused moves no cache line. */
    if (limit_cell_used(cell, window, now_ms) + amount > most)
        return false;
    limit_cell_add(cell, window, amount, now_ms, &mark);
    if (limit_cell_used(cell, window, now_ms) > most) {
        limit_cell_give(cell, window, &mark, amount);
        return false;
    }
    *ret_mark = mark;
    return true;
}

void limit_cell_give(struct limit_cell *cell, enum limit_window window,
    const struct limit_mark *mark, int64_t amount)
{
    assert(amount >= 0 && amount <= mark->amount);
    atomic_uint_fast64_t *place = &cell->slots[mark->stretch % LIMIT_SLOTS];
    uint64_t before = atomic_load(place);
    while (window == LIMIT_NOW || stretch_of(before) == mark->stretch) {
        /* There is less only where the counter was made anew meanwhile. */
        int64_t had = amount_of(before), left = had > amount ? had - amount : 0;
        if (atomic_compare_exchange_weak(place, &before, slot_with(stretch_of(before), left)))
            return;
    }
}

/* When the slot stops counting. */
static int64_t ends_in_ms(uint64_t slot, enum limit_window window, int64_t now_ms)
{
    int64_t width = limit_slot_ms(window);
    int64_t left = LIMIT_SLOTS - age_of(stretch_of(slot), stretch_at(window, now_ms));
    return left * width - now_ms % width;
}

int64_t limit_cell_wait_ms(const struct limit_cell *cell, enum limit_window window, int64_t most,
    int64_t amount, int64_t now_ms)
{
    int64_t left = limit_cell_used(cell, window, now_ms);
    if (amount > most)
        return -1;
    if (left + amount <= most)
        return 0;
    if (window == LIMIT_NOW)
        return -1;
    uint32_t now = stretch_at(window, now_ms);
    /* Oldest first, those ahead of the clock last. */
    for (int32_t age = LIMIT_SLOTS - 1; age > -LIMIT_SLOTS; age--) {
        uint32_t stretch = (now - (uint32_t)age) & STRETCH_MASK;
        uint64_t slot = atomic_load(&cell->slots[stretch % LIMIT_SLOTS]);
        if (stretch_of(slot) != stretch)
            continue;
        left -= amount_of(slot);
        if (left + amount <= most)
            return ends_in_ms(slot, window, now_ms);
    }
    return 0;
}

int64_t limit_cell_reset_ms(const struct limit_cell *cell, enum limit_window window, int64_t now_ms)
{
    int64_t longest = 0;
    for (int i = 0; window != LIMIT_NOW && i < LIMIT_SLOTS; i++) {
        uint64_t slot = atomic_load(&cell->slots[i]);
        if (!counts(slot, stretch_at(window, now_ms)))
            continue;
        int64_t ends = ends_in_ms(slot, window, now_ms);
        longest = ends > longest ? ends : longest;
    }
    return longest;
}
