/* What a rank takes of a view (packing_view.h), to be part of functions that are LANES: those that
 * score many nodes would do little else than call it. */
#pragma once

#include "base/lanes.h"
#include "core/packing_view.h"
#include "core/sort.h"

#include <assert.h>

enum { LEVEL_MILLI = DEVICE_MILLI / VALUE_LEVELS };
static_assert(LEVEL_MILLI * VALUE_LEVELS == DEVICE_MILLI, "levels are whole thousandths");

/* The table's lines for what is left of a device. */
LANES_PART const int32_t *level_lines(const struct view *view, int32_t milli)
{
    assert(milli >= 0);
    return view->table->level[(uint32_t)milli / LEVEL_MILLI];
}

/* ---- worth -------------------------------------------------------------------------------- */

static_assert(VALUE_LINES == 8, "lines are lanes8");

/* Half and a quarter of what is left of CPU and memory, by line. */
struct rest {
    lanes8 half, quarter;
};

/* When a rank took its part. */
LANES_PART void rest_after(const struct view *view, const int32_t *cost, struct rest *ret)
{
    lanes8 left = LANES8(view->rest) - LANES8(cost);
    ret->half = left >> 1;
    ret->quarter = left >> 2;
}

/* What devices and the rest are worth together, at the line where it is least: half and quarter are
 * reduced at once. */
LANES_PART struct worth worth_of(const lanes8 *sums, const struct rest *rest)
{
    lanes8 half = *sums + rest->half, quarter = *sums + rest->quarter, least, other;
    least = __builtin_shufflevector(half, quarter, 0, 1, 2, 3, 8, 9, 10, 11);
    other = __builtin_shufflevector(half, quarter, 4, 5, 6, 7, 12, 13, 14, 15);
    lanes8_least(&least, &other, &least);
    other = __builtin_shufflevector(least, least, 2, 3, 2, 3, 6, 7, 6, 7);
    lanes8_least(&least, &other, &least);
    other = __builtin_shufflevector(least, least, 1, 1, 1, 1, 5, 5, 5, 5);
    lanes8_least(&least, &other, &least);
    return (struct worth){least[0], least[4], (*sums)[0]};
}

/* The same after a device's worth changed. */
LANES_PART struct worth worth_moved(
    const struct view *view, const struct rest *rest, const int32_t *from, const int32_t *to)
{
    lanes8 sums = LANES8(view->sums) - LANES8(from) + LANES8(to);
    return worth_of(&sums, rest);
}

/* ---- taking ------------------------------------------------------------------------------- */

/* After a share of a whole device. */
LANES_PART struct worth worth_after_break(
    const struct view *view, const struct rest *rest, int32_t milli)
{
    const int32_t *whole = view->table->whole[view->whole],
                  *without = view->table->whole[view->whole - 1],
                  *to = level_lines(view, DEVICE_MILLI - milli);
    lanes8 sums = LANES8(view->sums) - LANES8(whole) + LANES8(without) + LANES8(to);
    return worth_of(&sums, rest);
}

/* A share of the device on which that leaves most behind. */
LANES_PART void take_share(
    const struct view *view, const struct rest *rest, int32_t milli, struct view_taken *ret)
{
    int64_t best = INT64_MIN;
    int32_t before = 0;
    for (int32_t i = view->broken; i-- > 0 && view->left[i] >= milli;) {
        int32_t left = view->left[i];
        if (left == before)
            continue;
        before = left;
        struct worth worth =
            worth_moved(view, rest, level_lines(view, left), level_lines(view, left - milli));
        if (worth_weighed(worth) < best)
            continue;
        best = worth_weighed(worth);
        ret->worth = worth;
        ret->from = left;
    }
    if (!view->whole)
        return;
    struct worth worth = worth_after_break(view, rest, milli);
    if (worth_weighed(worth) <= best)
        return;
    ret->worth = worth;
    ret->from = DEVICE_MILLI;
    ret->broke = 1;
    ret->whole = view->whole - 1;
}

/* Whole devices. */
LANES_PART void take_whole(
    const struct view *view, const struct rest *rest, int32_t devices, struct view_taken *ret)
{
    int32_t whole = view->whole > devices ? view->whole - devices : 0;
    ret->whole = whole;
    ret->worth =
        worth_moved(view, rest, view->table->whole[view->whole], view->table->whole[whole]);
}

/* What one rank leaves; the view stays. */
LANES_PART struct view_taken take_one(const struct view *view, const struct view_ask *ask)
{
    struct rest rest;
    rest_after(view, ask->cost, &rest);
    struct view_taken taken = {.idle = (int32_t)(view->idle - ask->milli), .whole = view->whole};
    if (ask->milli >= DEVICE_MILLI)
        take_whole(view, &rest, ask->devices, &taken);
    else if (ask->milli > 0)
        take_share(view, &rest, (int32_t)ask->milli, &taken);
    else
        taken.worth = worth_of(&LANES8(view->sums), &rest);
    return taken;
}
