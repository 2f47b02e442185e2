/* Windows of autoscaling: see autoscale_window.h. A bin is found by its number modulo the number of
 * bins; those that the newest one left behind are emptied as it moves on, so that a bin is either
 * of the last SCALE_BINS or empty. */
#include "core/autoscale_window.h"

#include "core/sort.h"

#include <assert.h>
#include <string.h>

int64_t scale_width(int64_t span_ms)
{
    return most((span_ms + SCALE_BINS_FULL - 1) / SCALE_BINS_FULL, 1000);
}

/* ---- sums ------------------------------------------------------------------------------------ */

static void move_on(struct scale_window *window, int64_t bin)
{
    if (bin <= window->newest)
        return;
    if (bin - window->newest >= SCALE_BINS)
        memset(window->bins, 0, sizeof window->bins);
    for (int64_t i = most(window->newest + 1, bin - SCALE_BINS + 1); i <= bin; i++)
        window->bins[i % SCALE_BINS] = (struct scale_sums){0};
    window->newest = bin;
}

/* The part of a whole up to a share of its time, so that the parts add up to it. */
static int64_t part(int64_t whole, int64_t share, int64_t of)
{
    return (int64_t)((__int128)whole * share / of);
}

static void add_part(
    struct scale_sums *bin, const struct scale_sums *sums, int64_t from, int64_t until, int64_t of)
{
    bin->covered_ms += until - from;
    bin->busy_us += part(sums->busy_us, until, of) - part(sums->busy_us, from, of);
    bin->waiting_us += part(sums->waiting_us, until, of) - part(sums->waiting_us, from, of);
    bin->arrived += part(sums->arrived, until, of) - part(sums->arrived, from, of);
    bin->ended += part(sums->ended, until, of) - part(sums->ended, from, of);
    bin->timed += part(sums->timed, until, of) - part(sums->timed, from, of);
    bin->late += part(sums->late, until, of) - part(sums->late, from, of);
}

void scale_window_add(struct scale_window *window, int64_t width_ms, int64_t from_ms,
    int64_t until_ms, const struct scale_sums *sums)
{
    assert(width_ms > 0 && from_ms >= 0);
    if (until_ms <= from_ms)
        return;
    if (window->width_ms != width_ms)
        *window = (struct scale_window){.width_ms = width_ms, .newest = from_ms / width_ms};
    int64_t last = (until_ms - 1) / width_ms;
    move_on(window, last);
    for (int64_t bin = most(from_ms / width_ms, window->newest - SCALE_BINS + 1); bin <= last;
         bin++) {
        int64_t from = most(bin * width_ms, from_ms) - from_ms;
        int64_t until = least((bin + 1) * width_ms, until_ms) - from_ms;
        add_part(&window->bins[bin % SCALE_BINS], sums, from, until, until_ms - from_ms);
    }
}

struct scale_sums scale_window_sum(
    const struct scale_window *window, int64_t now_ms, int64_t span_ms)
{
    struct scale_sums all = {0};
    if (window->width_ms == 0)
        return all;
    int64_t last = least(window->newest, (now_ms - 1) / window->width_ms);
    int64_t first = most((now_ms - span_ms) / window->width_ms, window->newest - SCALE_BINS + 1);
    for (int64_t bin = most(first, 0); bin <= last; bin++) {
        const struct scale_sums *one = &window->bins[bin % SCALE_BINS];
        all.covered_ms += one->covered_ms;
        all.busy_us += one->busy_us;
        all.waiting_us += one->waiting_us;
        all.arrived += one->arrived;
        all.ended += one->ended;
        all.timed += one->timed;
        all.late += one->late;
    }
    return all;
}

/* ---- wishes ---------------------------------------------------------------------------------- */

void scale_wishes_add(struct scale_wishes *wishes, int64_t width_ms, int64_t now_ms, int32_t wished)
{
    assert(width_ms > 0 && now_ms >= 0);
    int64_t bin = now_ms / width_ms;
    if (wishes->width_ms != width_ms)
        *wishes = (struct scale_wishes){.width_ms = width_ms, .newest = bin};
    for (int64_t i = most(wishes->newest + 1, bin - SCALE_BINS + 1); i <= bin; i++)
        wishes->bins[i % SCALE_BINS].known = false;
    wishes->newest = most(wishes->newest, bin);
    if (bin <= wishes->newest - SCALE_BINS)
        return;
    int64_t at = bin % SCALE_BINS;
    bool known = wishes->bins[at].known;
    wishes->bins[at].least = known ? (int32_t)least(wishes->bins[at].least, wished) : wished;
    wishes->bins[at].most = known ? (int32_t)most(wishes->bins[at].most, wished) : wished;
    wishes->bins[at].known = true;
}

/* The first bin that counts: one that has begun before the time counts as a whole. */
static int64_t first_bin(const struct scale_wishes *wishes, int64_t now_ms, int64_t span_ms)
{
    int64_t first = most(now_ms - span_ms, 0) / wishes->width_ms;
    return most(most(first, wishes->newest - SCALE_BINS + 1), 0);
}

/* The most or the least of what is known in the time. */
static int32_t wishes_bound(const struct scale_wishes *wishes, int64_t now_ms, int64_t span_ms,
    int32_t fallback, bool upper)
{
    bool found = false;
    int32_t all = fallback;
    if (wishes->width_ms == 0)
        return fallback;
    for (int64_t i = first_bin(wishes, now_ms, span_ms); i <= wishes->newest; i++) {
        int64_t at = i % SCALE_BINS;
        if (!wishes->bins[at].known)
            continue;
        int32_t one = upper ? wishes->bins[at].most : wishes->bins[at].least;
        all = found && (upper ? all > one : all < one) ? all : one;
        found = true;
    }
    return all;
}

int32_t scale_wishes_most(
    const struct scale_wishes *wishes, int64_t now_ms, int64_t span_ms, int32_t fallback)
{
    return wishes_bound(wishes, now_ms, span_ms, fallback, true);
}

int32_t scale_wishes_least(
    const struct scale_wishes *wishes, int64_t now_ms, int64_t span_ms, int32_t fallback)
{
    return wishes_bound(wishes, now_ms, span_ms, fallback, false);
}
