/* Views of nodes: see packing_view.h.
 *
 * No sum overflows: a device is worth VALUE_DEVICE at most, so the devices of a node 2^22; and the
 * first line, at which CPU and memory cost nothing, bounds every value by that. What CPU and memory
 * cost is cut off far above, where it decides nothing. */
#include "core/packing_view.h"
#include "base/lanes.h"
#include "core/packing_take.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/sort.h"

#include <assert.h>

#define CPU_SEEN                                                                                   \
    ((int64_t)1 << 20) /* thousandths; more of a node makes no difference to its value */
#define MEMORY_SEEN ((int64_t)1 << 22) /* MiB */
#define REST_MAX    ((int64_t)1 << 28) /* a quarter of it is above all devices of a node */

/* ---- making ------------------------------------------------------------------------------- */

/* CPU and memory at each line's prices. */
static void priced(const struct values *values, int64_t cpu_milli, int64_t bytes, int32_t *ret)
{
    int64_t cpu = least(most(cpu_milli, 0), CPU_SEEN);
    int64_t memory = least(most(bytes, 0) >> 20, MEMORY_SEEN);
    for (int i = 0; i < VALUE_LINES; i++) {
        int64_t price = (values->cpu_price[i] * cpu >> VALUE_PRICE_BITS) +
                        (values->memory_price[i] * memory >> VALUE_PRICE_BITS);
        ret[i] = (int32_t)least(price, REST_MAX);
    }
}

static void lines_add(int32_t *sums, const int32_t *lines)
{
    for (int i = 0; i < VALUE_LINES; i++)
        sums[i] += lines[i];
}

/* In its place among what is left of the others. */
static void left_add(struct view *view, int32_t milli)
{
    int32_t at = view->broken++;
    for (; at > 0 && view->left[at - 1] > milli; at--)
        view->left[at] = view->left[at - 1];
    view->left[at] = (int16_t)milli;
}

static void broken_add(struct view *view, int32_t left)
{
    left_add(view, left);
    lines_add(view->sums, level_lines(view, left));
}

/* What is free of a node says whether devices are broken before they are looked at. Which of them
 * are nobody could foresee: each is noted, and stays if it is. */
static void devices_see(const struct live_node *node, struct view *ret)
{
    int64_t shares = node->room.shares;
    ret->whole = (int32_t)node->room.whole;
    ret->idle = (int32_t)(node->room.whole * DEVICE_MILLI + shares);
    int16_t broken[DEVICES_MAX];
    int32_t count = 0;
    for (int32_t i = 0; shares > 0 && i < node->row.devices; i++) {
        int32_t left = (int32_t)device_free(node, i);
        broken[count] = (int16_t)left;
        count += (left > 0) & (left < DEVICE_MILLI);
    }
    for (int32_t i = 0; i < count; i++)
        broken_add(ret, broken[i]);
}

static void devices_see_less(const struct live_node *node, const int16_t *taken, struct view *ret)
{
    ret->whole = ret->idle = 0;
    for (int32_t i = 0; i < node->row.devices; i++) {
        int32_t left = (int32_t)most(device_free(node, i) - taken[i], 0);
        ret->idle += left;
        ret->whole += left == DEVICE_MILLI;
        if (left > 0 && left < DEVICE_MILLI)
            broken_add(ret, left);
    }
}

/* Without devices yet. */
static void view_begin(
    const struct values *values, size_t class, int64_t cpu_milli, int64_t bytes, struct view *ret)
{
    ret->table = &values->tables.items[values->table_of[class]];
    ret->broken = 0;
    memset(ret->sums, 0, sizeof ret->sums);
    priced(values, cpu_milli, bytes, ret->rest);
}

void view_make(const struct values *values, const struct live_node *node, const int16_t *taken,
    struct view *ret)
{
    assert(node->row.devices <= DEVICES_MAX);
    view_begin(values, (size_t)node->packing_class, node->room.all.cpu_milli,
        node->room.all.memory_bytes, ret);
    if (taken)
        devices_see_less(node, taken, ret);
    else
        devices_see(node, ret);
    lines_add(ret->sums, ret->table->whole[ret->whole]);
}

void view_make_idle(
    const struct values *values, const struct node_row *node, size_t class, struct view *ret)
{
    view_begin(values, class, node->cpu_milli, node->memory_bytes, ret);
    ret->whole = node->devices;
    ret->idle = node->devices * DEVICE_MILLI;
    lines_add(ret->sums, ret->table->whole[ret->whole]);
}

void view_ask_make(const struct values *values, const struct shape_row *shape, struct view_ask *ret)
{
    ret->milli = shape->accelerator_milli;
    ret->devices = (int32_t)(shape->accelerator_milli / DEVICE_MILLI);
    priced(values, shape->cpu_milli, shape->memory_bytes, ret->cost);
}

LANES static struct worth worth_now(const struct view *view)
{
    static const int32_t nothing[VALUE_LINES];
    struct rest rest;
    rest_after(view, nothing, &rest);
    return worth_of(&LANES8(view->sums), &rest);
}

struct worth view_worth(const struct view *view)
{
    return worth_now(view);
}

/* ---- taking ------------------------------------------------------------------------------- */

static void left_remove(struct view *view, int32_t milli)
{
    int32_t at = 0;
    while (view->left[at] != milli)
        at++;
    view->broken--;
    memmove(&view->left[at], &view->left[at + 1], (size_t)(view->broken - at) * sizeof(int16_t));
}

static void lines_move(int32_t *sums, const int32_t *from, const int32_t *to)
{
    for (int i = 0; i < VALUE_LINES; i++)
        sums[i] += to[i] - from[i];
}

static void whole_fall(struct view *view, int32_t devices)
{
    int32_t whole = (int32_t)most(view->whole - devices, 0);
    lines_move(view->sums, view->table->whole[view->whole], view->table->whole[whole]);
    view->whole = whole;
}

/* Makes the view that of the node without what the rank took. */
static void view_leave(struct view *view, const struct view_ask *ask, const struct view_taken *took)
{
    static const int32_t nothing[VALUE_LINES];
    int32_t left = took->from - (int32_t)ask->milli;
    lines_move(view->rest, ask->cost, nothing);
    view->idle = took->idle;
    if (ask->milli >= DEVICE_MILLI)
        whole_fall(view, ask->devices);
    if (took->from == 0)
        return;
    if (took->from == DEVICE_MILLI)
        whole_fall(view, 1);
    else
        left_remove(view, took->from);
    lines_move(view->sums, took->from == DEVICE_MILLI ? nothing : level_lines(view, took->from),
        level_lines(view, left));
    if (left > 0)
        left_add(view, left);
}

LANES static struct view_taken take_many(
    const struct view *view, const struct view_ask *ask, int32_t ranks)
{
    struct view after = *view;
    struct view_taken taken = take_one(view, ask);
    int32_t broke = taken.broke;
    for (int32_t i = 1; i < ranks; i++) {
        view_leave(&after, ask, &taken);
        taken = take_one(&after, ask);
        broke += taken.broke;
    }
    taken.broke = broke;
    return taken;
}

LANES static struct view_taken take(
    const struct view *view, const struct view_ask *ask, int32_t ranks)
{
    return ranks > 1 ? take_many(view, ask, ranks) : take_one(view, ask);
}

struct view_taken view_take(const struct view *view, const struct view_ask *ask, int32_t ranks)
{
    assert(ranks >= 1);
    return take(view, ask, ranks);
}
