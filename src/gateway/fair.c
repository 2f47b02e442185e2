/* Fair queueing without a lock: see fair.h.
 *
 * 1. Each worker has a heap of its own, and publishes the rank of its first. A turn goes to the
 *    worker with the lowest rank of all.
 * 2. Who waits publishes its rank before it looks for room, and who leaves makes room before it
 *    looks for ranks: one of two that meet sees the other, so no turn is lost.
 * 3. `running` is never above the capacity that a turn was given with. */
#include "gateway/fair.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

enum { FLOWS = 256, LEVEL_SHIFT = 62 };
#define NOBODY   UINT64_MAX
#define TAG_MASK (((uint64_t)1 << LEVEL_SHIFT) - 1)
#define COST     ((int64_t)1 << 20) /* of a request of weight 1 */

struct flow {
    atomic_uint_fast64_t finish; /* the start tag that its next request has at least */
    atomic_int_fast64_t waiting;
};

struct level {
    atomic_uint_fast64_t now; /* virtual: the start tag of the last that got its turn */
    atomic_int_fast64_t waiting, flows_waiting;
    struct flow flows[FLOWS];
};

struct lane {
    atomic_uint_fast64_t first; /* the rank of its first, or NOBODY */
    struct fair_entry **heap;   /* the worker's from here on */
    size_t count, capacity;
    uint64_t order;
    char apart[24];
};

struct fair {
    atomic_int_fast64_t running, waiting;
    int workers;
    struct lane lanes[FAIR_WORKERS_MAX];
    struct level levels[FAIR_LEVELS];
};

struct fair *fair_create(int workers)
{
    assert(workers > 0 && workers <= FAIR_WORKERS_MAX);
    struct fair *fair = mem_alloc(1, sizeof *fair);
    fair->workers = workers;
    for (int i = 0; i < workers; i++)
        atomic_store(&fair->lanes[i].first, NOBODY);
    return fair;
}

void fair_destroy(struct fair *fair)
{
    if (!fair)
        return;
    for (int i = 0; i < fair->workers; i++) {
        assert(fair->lanes[i].count == 0);
        free(fair->lanes[i].heap);
    }
    free(fair);
}

/* ---- the heap of a worker -------------------------------------------------------------------- */

static bool before(const struct fair_entry *a, const struct fair_entry *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->order < b->order;
}

static void put_at(struct lane *lane, size_t at, struct fair_entry *entry)
{
    lane->heap[at] = entry;
    entry->at = at;
}

static void sift_up(struct lane *lane, struct fair_entry *entry, size_t at)
{
    for (; at > 0 && before(entry, lane->heap[(at - 1) / 2]); at = (at - 1) / 2)
        put_at(lane, at, lane->heap[(at - 1) / 2]);
    put_at(lane, at, entry);
}

static void sift_down(struct lane *lane, struct fair_entry *entry, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < lane->count; at = child) {
        if (child + 1 < lane->count && before(lane->heap[child + 1], lane->heap[child]))
            child++;
        if (!before(lane->heap[child], entry))
            break;
        put_at(lane, at, lane->heap[child]);
    }
    put_at(lane, at, entry);
}

static void publish(struct lane *lane)
{
    atomic_store(&lane->first, lane->count ? lane->heap[0]->rank : NOBODY);
}

static void push(struct lane *lane, struct fair_entry *entry)
{
    if (lane->count == lane->capacity) {
        lane->capacity = lane->capacity ? lane->capacity * 2 : 64;
        lane->heap = mem_resize(lane->heap, lane->capacity, sizeof(struct fair_entry *));
    }
    entry->order = lane->order++;
    sift_up(lane, entry, lane->count++);
    publish(lane);
}

static void drop(struct lane *lane, const struct fair_entry *entry)
{
    size_t at = entry->at;
    assert(at < lane->count && lane->heap[at] == entry);
    struct fair_entry *last = lane->heap[--lane->count];
    if (last != entry) {
        if (before(last, entry))
            sift_up(lane, last, at);
        else
            sift_down(lane, last, at);
    }
    publish(lane);
}

/* ---- counts ---------------------------------------------------------------------------------- */

static void count_in(struct fair *fair, const struct fair_entry *entry)
{
    struct level *level = &fair->levels[entry->level];
    atomic_fetch_add(&fair->waiting, 1);
    atomic_fetch_add(&level->waiting, 1);
    if (atomic_fetch_add(&level->flows[entry->flow].waiting, 1) == 0)
        atomic_fetch_add(&level->flows_waiting, 1);
}

static void count_out(struct fair *fair, const struct fair_entry *entry)
{
    struct level *level = &fair->levels[entry->level];
    atomic_fetch_sub(&fair->waiting, 1);
    atomic_fetch_sub(&level->waiting, 1);
    if (atomic_fetch_sub(&level->flows[entry->flow].waiting, 1) == 1)
        atomic_fetch_sub(&level->flows_waiting, 1);
}

size_t fair_waiting(const struct fair *fair)
{
    return (size_t)atomic_load(&fair->waiting);
}

size_t fair_running(const struct fair *fair)
{
    return (size_t)atomic_load(&fair->running);
}

/* ---- coming ---------------------------------------------------------------------------------- */

static bool take_room(struct fair *fair, int64_t capacity)
{
    int_fast64_t running = atomic_load(&fair->running);
    while (running < capacity) {
        if (atomic_compare_exchange_weak(&fair->running, &running, running + 1))
            return true;
    }
    return false;
}

/* How many would go before it: all of higher priorities, and of its own as many as wait, or fewer
 * where its tenant has little waiting and the others take turns with it. */
static int64_t ahead_of(const struct fair *fair, const struct fair_ask *ask, size_t flow)
{
    const struct level *own = &fair->levels[ask->level];
    int64_t ahead = 0, beside = atomic_load(&own->waiting);
    for (int i = ask->level + 1; i < FAIR_LEVELS; i++)
        ahead += atomic_load(&fair->levels[i].waiting);
    int64_t tenants = atomic_load(&own->flows_waiting),
            waiting = atomic_load(&own->flows[flow].waiting);
    int64_t turns = (waiting + 1) * (waiting > 0 ? tenants : tenants + 1);
    turns = turns * 1000000 / ask->weight_micro;
    return ahead + (turns < beside ? turns : beside);
}

/* Each priority may wait for its share of the longest wait: what is less urgent goes first. */
static bool would_wait_too_long(
    const struct fair *fair, const struct fair_ask *ask, size_t flow, int64_t *ret_wait_us)
{
    static const int64_t quarters[FAIR_LEVELS] = {1, 2, 3, 4};
    int64_t ahead = ahead_of(fair, ask, flow);
    *ret_wait_us = (ahead + 1) * ask->mean_us / ask->capacity;
    return *ret_wait_us > ask->wait_us * quarters[ask->level] / 4;
}

/* A tenant that has nothing waiting finds a place: there are as many more as there are flows. */
static bool has_place(const struct fair *fair, const struct fair_ask *ask, size_t flow)
{
    int64_t waiting = atomic_load(&fair->waiting);
    bool new = atomic_load(&fair->levels[ask->level].flows[flow].waiting) == 0;
    return waiting < ask->length || (new &&waiting < ask->length + FLOWS);
}

static uint64_t start_tag(struct level *level, struct flow *flow, int64_t weight_micro)
{
    uint64_t cost = (uint64_t)(COST * 1000000 / weight_micro), start;
    uint64_t finish = atomic_load(&flow->finish);
    do {
        uint64_t now = atomic_load(&level->now);
        start = finish > now ? finish : now;
    } while (!atomic_compare_exchange_weak(&flow->finish, &finish, (start + cost) & TAG_MASK));
    return start;
}

enum fair_answer fair_enter(struct fair *fair, int worker, const struct fair_ask *ask,
    struct fair_entry *entry, int64_t *ret_wait_us)
{
    size_t flow = (size_t)(ask->tenant % FLOWS);
    struct level *level = &fair->levels[ask->level];
    assert(worker < fair->workers && ask->capacity > 0 && ask->weight_micro >= 1000);
    /* Nobody goes past those that wait. */
    if (atomic_load(&fair->waiting) == 0 && take_room(fair, ask->capacity))
        return FAIR_RUNS;
    if (would_wait_too_long(fair, ask, flow, ret_wait_us) || !has_place(fair, ask, flow))
        return FAIR_REFUSED;
    entry->flow = (uint16_t)flow;
    entry->level = (uint8_t)ask->level;
    entry->rank = (uint64_t)(FAIR_LEVELS - 1 - ask->level) << LEVEL_SHIFT |
                  start_tag(level, &level->flows[flow], ask->weight_micro);
    count_in(fair, entry);
    push(&fair->lanes[worker], entry);
    return FAIR_WAITS;
}

/* ---- turns ----------------------------------------------------------------------------------- */

static int first_worker(const struct fair *fair)
{
    uint64_t least = NOBODY;
    int first = -1;
    for (int i = 0; i < fair->workers; i++) {
        uint64_t rank = atomic_load(&fair->lanes[i].first);
        if (rank < least) {
            least = rank;
            first = i;
        }
    }
    return first;
}

void fair_leave(struct fair *fair)
{
    int_fast64_t running = atomic_fetch_sub(&fair->running, 1);
    assert(running > 0);
    (void)running;
}

int fair_next(struct fair *fair, int64_t capacity)
{
    while (first_worker(fair) >= 0 && take_room(fair, capacity)) {
        int worker = first_worker(fair);
        if (worker >= 0)
            return worker;
        fair_leave(fair);
    }
    return -1;
}

static void go_on(struct level *level, uint64_t tag)
{
    uint64_t now = atomic_load(&level->now);
    while (now < tag && !atomic_compare_exchange_weak(&level->now, &now, tag))
        ;
}

struct fair_entry *fair_take(struct fair *fair, int worker)
{
    struct lane *lane = &fair->lanes[worker];
    if (lane->count == 0) {
        fair_leave(fair);
        return NULL;
    }
    struct fair_entry *entry = lane->heap[0];
    drop(lane, entry);
    count_out(fair, entry);
    go_on(&fair->levels[entry->level], entry->rank & TAG_MASK);
    return entry;
}

void fair_cancel(struct fair *fair, int worker, struct fair_entry *entry)
{
    drop(&fair->lanes[worker], entry);
    count_out(fair, entry);
}
