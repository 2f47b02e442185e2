/* What a rank takes of a view (packing_view.h), to be part of functions that are LANES: those that
 * score many nodes would do little else than call it. */
#pragma once

#include "base/lanes.h"
#include "core/packing_view.h"
#include "core/sort.h"

/* The table's lines for what is left of a device. */
LANES_PART const int32_t *level_lines(const struct view *view, int32_t milli)
{
    return view->table->level[milli * VALUE_LEVELS / DEVICE_MILLI];
}

/* ---- worth -------------------------------------------------------------------------------- */

/* Half and a quarter of what is left of CPU and memory, by line. */
struct rest {
    int32_t half[VALUE_LINES], quarter[VALUE_LINES];
};

/* At the line where it is least. */
LANES_PART int32_t lines_least(const int32_t *lines)
{
    int32_t least = lines[0];
    for (int i = 1; i < VALUE_LINES; i++)
        least = lines[i] < least ? lines[i] : least;
    return least;
}

/* When a rank took its part. */
LANES_PART struct rest rest_after(const struct view *view, const int32_t *cost)
{
    struct rest rest;
    for (int i = 0; i < VALUE_LINES; i++) {
        int32_t left = view->rest[i] - cost[i];
        rest.half[i] = left >> 1;
        rest.quarter[i] = left >> 2;
    }
    return rest;
}

/* What devices and the rest are worth together. */
LANES_PART struct worth worth_of(const int32_t *sums, const struct rest *rest)
{
    int32_t half[VALUE_LINES], quarter[VALUE_LINES];
    for (int i = 0; i < VALUE_LINES; i++)
        half[i] = sums[i] + rest->half[i];
    for (int i = 0; i < VALUE_LINES; i++)
        quarter[i] = sums[i] + rest->quarter[i];
    return (struct worth){lines_least(half), lines_least(quarter), sums[0]};
}

/* The same after a device's worth changed. */
LANES_PART struct worth worth_moved(
    const struct view *view, const struct rest *rest, const int32_t *from, const int32_t *to)
{
    int32_t sums[VALUE_LINES];
    for (int i = 0; i < VALUE_LINES; i++)
        sums[i] = view->sums[i] - from[i] + to[i];
    return worth_of(sums, rest);
}

/* ---- taking ------------------------------------------------------------------------------- */

/* After whole devices. */
LANES_PART struct worth worth_after_whole(
    const struct view *view, const struct rest *rest, int32_t devices)
{
    int32_t whole = (int32_t)most(view->whole - devices, 0);
    return worth_moved(view, rest, view->table->whole[view->whole], view->table->whole[whole]);
}

/* After a share of a whole device. */
LANES_PART struct worth worth_after_break(
    const struct view *view, const struct rest *rest, int32_t milli)
{
    int32_t sums[VALUE_LINES];
    const int32_t *whole = view->table->whole[view->whole],
                  *without = view->table->whole[view->whole - 1],
                  *to = level_lines(view, DEVICE_MILLI - milli);
    for (int i = 0; i < VALUE_LINES; i++)
        sums[i] = view->sums[i] - whole[i] + without[i] + to[i];
    return worth_of(sums, rest);
}

/* A share of the device on which that leaves most behind. */
LANES_PART void take_share(
    const struct view *view, const struct rest *rest, int32_t milli, struct view_taken *ret)
{
    int64_t best = INT64_MIN;
    int32_t before = 0;
    for (int32_t i = 0; i < view->broken; i++) {
        int32_t left = view->left[i];
        if (left < milli || left == before)
            continue;
        before = left;
        struct worth worth =
            worth_moved(view, rest, level_lines(view, left), level_lines(view, left - milli));
        if (worth_weighed(worth) <= best)
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

/* What one rank leaves; the view stays. */
LANES_PART struct view_taken take_one(const struct view *view, const struct view_ask *ask)
{
    struct rest rest = rest_after(view, ask->cost);
    struct view_taken taken = {.idle = (int32_t)(view->idle - ask->milli), .whole = view->whole};
    if (ask->milli >= DEVICE_MILLI)
        taken.whole = (int32_t)most(view->whole - ask->milli / DEVICE_MILLI, 0);
    if (ask->milli >= DEVICE_MILLI)
        taken.worth = worth_after_whole(view, &rest, (int32_t)(ask->milli / DEVICE_MILLI));
    else if (ask->milli > 0)
        take_share(view, &rest, (int32_t)ask->milli, &taken);
    else
        taken.worth = worth_of(view->sums, &rest);
    return taken;
}
