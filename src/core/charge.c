/* Metering: what was held from when to when, by whom, at which price, and what there was to hold.
 *
 * A charge has one price. When a price or a capacity changes while an attempt runs, what it held so
 * far is kept as a span, and is charged like the rest when the attempt ends: only then is it known
 * how much of the work was lost. Amounts: hour_micro * 1000 * milliseconds / 3600000 billionths,
 * rounded half up once. */
#include "core/attempt.h"
#include "core/core.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/pool.h"
#include "core/resource.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/table.h"

#include <assert.h>

#define HOUR_MS 3600000
#define GIB     ((int64_t)1 << 30)

static const struct live_price *price_find(const struct live_pool *pool, int32_t of, uint32_t name)
{
    for (const struct live_price *price = pool->prices; price; price = price->next) {
        if (name && price->row.of == of && price->row.name == name)
            return price;
    }
    return NULL;
}

/* The price of amounts by resource, rounded once. */
static int64_t resource_hour_micro(const struct live_pool *pool, uint32_t accelerator,
    const struct bundle *held, int64_t accelerator_milli)
{
    const struct pool_row *row = &pool->row;
    const struct live_price *price = price_find(pool, 1, accelerator);
    __int128 milli = (__int128)held->cpu_milli * row->cpu_hour_micro;
    milli += price ? (__int128)accelerator_milli * price->row.hour_micro : 0;
    __int128 bytes = (__int128)held->memory_bytes * row->memory_gib_hour_micro;
    bytes += (__int128)held->disk_bytes * row->disk_gib_hour_micro;
    if (milli == 0 && bytes == 0)
        return 0;
    __int128 scaled = milli * GIB + bytes * 1000;
    __int128 unit = (__int128)GIB * 1000;
    __int128 rounded = (scaled * 2 + unit) / (unit * 2);
    return rounded > INT64_MAX ? INT64_MAX : (int64_t)rounded;
}

/* part of whole, where that is more than the share so far (numerator of denominator). */
static void share_raise(int64_t part, int64_t whole, int64_t *numerator, int64_t *denominator)
{
    if (whole > 0 && (__int128)part * *denominator > (__int128)*numerator * whole) {
        *numerator = part;
        *denominator = whole;
    }
}

static int64_t held_hour_micro(
    const struct live_node *node, const struct bundle *held, int64_t accelerator_milli)
{
    const struct live_price *price = price_find(node->pool, 0, node->row.type);
    if (!price)
        return resource_hour_micro(node->pool, node->row.accelerator, held, accelerator_milli);
    int64_t numerator = 0, denominator = 1;
    share_raise(held->cpu_milli, node->row.cpu_milli, &numerator, &denominator);
    share_raise(held->memory_bytes, node->row.memory_bytes, &numerator, &denominator);
    share_raise(held->disk_bytes, node->row.disk_bytes, &numerator, &denominator);
    share_raise(
        accelerator_milli, (int64_t)node->row.devices * DEVICE_MILLI, &numerator, &denominator);
    return scale_round(price->row.hour_micro, numerator, denominator);
}

static int64_t placement_accelerator_milli(const struct live_placement *placement)
{
    return placement->attempt->job->shape->row.accelerator_milli * placement->row.ranks;
}

/* Exclusive use holds the whole node; the first of the attempt's placements there pays for it. */
static bool pays_whole(const struct live_placement *placement)
{
    if (!placement->attempt->job->shape->row.exclusive)
        return false;
    const struct live_placement *first = placement->attempt->placements;
    while (first->node != placement->node)
        first = first->next;
    return first == placement;
}

static void placement_held(
    const struct live_placement *placement, struct bundle *ret_held, int64_t *ret_milli)
{
    const struct live_node *node = placement->node;
    bool exclusive = placement->attempt->job->shape->row.exclusive;
    *ret_held = bundle_of_shape(&placement->attempt->job->shape->row, placement->row.ranks);
    *ret_milli = placement_accelerator_milli(placement);
    if (!exclusive)
        return;
    bool pays = pays_whole(placement);
    *ret_held =
        pays ? (struct bundle){node->row.cpu_milli, node->row.memory_bytes, node->row.disk_bytes}
             : (struct bundle){0};
    *ret_milli = pays ? (int64_t)node->row.devices * DEVICE_MILLI : 0;
}

int64_t placement_hour_micro(const struct live_placement *placement)
{
    struct bundle held;
    int64_t milli;
    placement_held(placement, &held, &milli);
    return held_hour_micro(placement->node, &held, milli);
}

int64_t node_hour_micro(const struct live_node *node)
{
    struct bundle all = {node->row.cpu_milli, node->row.memory_bytes, node->row.disk_bytes};
    return held_hour_micro(node, &all, (int64_t)node->row.devices * DEVICE_MILLI);
}

int64_t shape_hour_micro(
    const struct live_shape *shape, const struct live_node *node, int64_t ranks)
{
    struct bundle held = bundle_of_shape(&shape->row, ranks);
    if (shape->row.exclusive)
        return node_hour_micro(node);
    return held_hour_micro(node, &held, shape->row.accelerator_milli * ranks);
}

static int64_t cost_nano(int64_t hour_micro, int64_t ms)
{
    assert(hour_micro >= 0 && ms >= 0);
    if (hour_micro == 0)
        return 0;
    __int128 scaled = (__int128)hour_micro * 1000 * ms;
    __int128 rounded = (scaled * 2 + HOUR_MS) / ((__int128)HOUR_MS * 2);
    return rounded > INT64_MAX ? INT64_MAX : (int64_t)rounded;
}

/* What the placement has held since since_ms, at today's price. */
static struct span_row span_make(const struct core *core, const struct live_placement *placement)
{
    const struct live_node *node = placement->node;
    struct bundle held;
    struct span_row span = {
        .placement = placement->row.id,
        .begin_ms = placement->row.since_ms,
        .end_ms = core->now_ms,
        .currency = node->pool->row.currency,
    };
    placement_held(placement, &held, &span.accelerator_milli);
    span.cpu_milli = held.cpu_milli;
    span.memory_bytes = held.memory_bytes;
    span.disk_bytes = held.disk_bytes;
    span.accelerator = span.accelerator_milli ? node->row.accelerator : 0;
    span.hour_micro = held_hour_micro(node, &held, span.accelerator_milli);
    return span;
}

/* Milliseconds of the span in which work was done that got lost. */
static int64_t span_wasted_ms(const struct span_row *span, int64_t lost_since_ms)
{
    return lost_since_ms >= span->end_ms ? 0 : span->end_ms - most(lost_since_ms, span->begin_ms);
}

static void span_charge(struct core *core, const struct live_placement *placement,
    const struct span_row *span, int64_t lost_since_ms)
{
    if (span->end_ms <= span->begin_ms)
        return;
    struct history_charge *charge = item_alloc(core, ROW_CHARGE, sizeof *charge);
    int64_t wasted_ms = span_wasted_ms(span, lost_since_ms);
    charge->row = (struct charge_row){
        .attempt = placement->row.attempt,
        .job = placement->attempt->row.job,
        .team = placement->attempt->job->row.team,
        .pool = placement->node->row.pool,
        .node = placement->row.node,
        .begin_ms = span->begin_ms,
        .end_ms = span->end_ms,
        .wasted_ms = wasted_ms,
        .cpu_milli = span->cpu_milli,
        .memory_bytes = span->memory_bytes,
        .disk_bytes = span->disk_bytes,
        .accelerator_milli = span->accelerator_milli,
        .accelerator = span->accelerator,
        .currency = span->currency,
        .hour_micro = span->hour_micro,
        .cost_nano = cost_nano(span->hour_micro, span->end_ms - span->begin_ms),
        .wasted_nano = cost_nano(span->hour_micro, wasted_ms),
    };
    change_history(core, ROW_CHARGE, &charge->item);
}

void charge_placement(struct core *core, struct live_placement *placement, int64_t lost_since_ms)
{
    for (struct live_span *span = placement->spans, *next; span; span = next) {
        next = span->next;
        span_charge(core, placement, &span->row, lost_since_ms);
        change_delete(core, &span->item);
    }
    placement->spans = NULL;
    struct span_row last = span_make(core, placement);
    span_charge(core, placement, &last, lost_since_ms);
}

void charge_capacity(struct core *core, struct live_node *node)
{
    int64_t begin_ms = node->row.since_ms, end_ms = core->now_ms;
    node->row.since_ms = end_ms;
    if (end_ms <= begin_ms)
        return;
    struct history_capacity *capacity = mem_alloc(1, sizeof *capacity);
    capacity->row = (struct capacity_row){
        .pool = node->row.pool,
        .node = node->row.id,
        .begin_ms = begin_ms,
        .end_ms = end_ms,
        .hour_micro = node_hour_micro(node),
        .currency = node->pool->row.currency,
    };
    capacity->row.cost_nano = cost_nano(capacity->row.hour_micro, end_ms - begin_ms);
    change_history(core, ROW_CAPACITY, &capacity->item);
}

static int64_t span_nano(const struct span_row *span)
{
    return cost_nano(span->hour_micro, most(span->end_ms - span->begin_ms, 0));
}

int64_t attempt_cost_nano(const struct core *core, const struct live_attempt *attempt)
{
    __int128 sum = 0;
    for (const struct live_placement *one = attempt->placements; one; one = one->next) {
        struct span_row last = span_make(core, one);
        sum += span_nano(&last);
        for (const struct live_span *span = one->spans; span; span = span->next)
            sum += span_nano(&span->row);
    }
    return sum > INT64_MAX ? INT64_MAX : (int64_t)sum;
}

static void placement_split(struct core *core, struct live_placement *placement)
{
    if (placement->row.since_ms >= core->now_ms)
        return;
    struct live_span *span = mem_alloc(1, sizeof *span);
    span->row = span_make(core, placement);
    change_new(core, ROW_SPAN, &span->item);
    LIST_APPEND(placement->spans, span, next);
    placement->row.since_ms = core->now_ms;
    change_put(core, &placement->item);
}

void charge_split(struct core *core, struct live_node *node)
{
    if (node->row.state == NODE_UP) {
        charge_capacity(core, node);
        change_put(core, &node->item);
    }
    for (size_t i = 0; i < node->placements.count; i++)
        placement_split(core, node->placements.items[i]);
}

int64_t core_attempt_hour_micro(const struct core *core, uint64_t id)
{
    const struct live_attempt *attempt =
        (const struct live_attempt *)table_find(core, ROW_ATTEMPT, id);
    int64_t sum = 0;
    for (const struct live_placement *one = attempt ? attempt->placements : NULL; one;
         one = one->next)
        sum += placement_hour_micro(one);
    return sum;
}

int64_t core_placement_hour_micro(const struct core *core, uint64_t id)
{
    const struct live_placement *placement =
        (const struct live_placement *)table_find(core, ROW_PLACEMENT, id);
    return placement ? placement_hour_micro(placement) : 0;
}

int64_t core_node_hour_micro(const struct core *core, uint64_t id)
{
    const struct live_node *node = (const struct live_node *)table_find(core, ROW_NODE, id);
    return node ? node_hour_micro(node) : 0;
}
