/* The invariant checker: what holding something costs. */
#include "sim/invariants_parts.h"

#define GIB ((int64_t)1 << 30)

/* a * b / c, rounded half up. */
static int64_t scaled(int64_t a, int64_t b, int64_t c)
{
    return (int64_t)(((__int128)a * b * 2 + c) / ((__int128)c * 2));
}

static const struct price_row *price_of(
    const struct sim_store *store, uint64_t pool, int32_t of, uint32_t name)
{
    const struct price_row *price;
    for (each_row(price_row, price, store, ROW_PRICE))
        if (name && price->pool == pool && price->of == of && price->name == name)
            return price;
    return NULL;
}

/* What is held, of charges and of whole nodes alike. */
struct bill {
    struct holding held;
    int64_t hour_micro;
};

/* The share of the node that goes by its dominant resource. */
static int64_t node_share_micro(
    const struct node_row *node, const struct holding *held, int64_t hour_micro)
{
    const int64_t parts[][2] = {{held->cpu_milli, node->cpu_milli},
        {held->memory_bytes, node->memory_bytes}, {held->disk_bytes, node->disk_bytes},
        {held->accelerator_milli, (int64_t)node->devices * 1000}};
    int64_t most = 0;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        int64_t micro = parts[i][1] > 0 ? scaled(hour_micro, parts[i][0], parts[i][1]) : 0;
        if (micro > most)
            most = micro;
    }
    return most;
}

/* Each resource at its own price; the sum is rounded once, so that it is exact within one. */
static bool resources_fit(const struct sim_store *store, const struct pool_row *pool,
    const struct node_row *node, const struct bill *bill)
{
    const struct price_row *device = price_of(store, pool->id, 1, node->accelerator);
    int64_t sum = scaled(pool->cpu_hour_micro, bill->held.cpu_milli, 1000);
    sum += scaled(pool->memory_gib_hour_micro, bill->held.memory_bytes, GIB);
    sum += scaled(pool->disk_gib_hour_micro, bill->held.disk_bytes, GIB);
    sum += device ? scaled(device->hour_micro, bill->held.accelerator_milli, 1000) : 0;
    return bill->hour_micro >= sum - 2 && bill->hour_micro <= sum + 2;
}

static bool price_fits(
    const struct sim_store *store, const struct node_row *node, const struct bill *bill)
{
    const struct pool_row *pool = sim_store_row(store, ROW_POOL, node->pool);
    const struct price_row *whole = price_of(store, pool->id, 0, node->type);
    if (!whole)
        return resources_fit(store, pool, node, bill);
    return bill->hour_micro == node_share_micro(node, &bill->held, whole->hour_micro);
}

/* Millionths an hour, held for a length, in billionths, rounded half up. */
static int64_t cost_nano(int64_t hour_micro, int64_t length_ms)
{
    return (int64_t)(((__int128)hour_micro * length_ms + 1800) / 3600);
}

/* The span that this charge closes: what was held before a price changed. */
static const struct span_row *charged_span(
    const struct sim_store *before, const struct charge_row *charge)
{
    const struct span_row *span;
    for (each_row(span_row, span, before, ROW_SPAN)) {
        const struct placement_row *placement =
            sim_store_row(before, ROW_PLACEMENT, span->placement);
        if (placement->attempt == charge->attempt && placement->node == charge->node &&
            span->begin_ms == charge->begin_ms && span->end_ms == charge->end_ms &&
            span->hour_micro == charge->hour_micro)
            return span;
    }
    return NULL;
}

int invariants_span(const struct sim_store *before, const struct span_row *span, struct error *err)
{
    const struct placement_row *placement = sim_store_row(before, ROW_PLACEMENT, span->placement);
    const struct node_row *node =
        placement ? sim_store_row(before, ROW_NODE, placement->node) : NULL;
    struct bill bill = {
        {span->cpu_milli, span->memory_bytes, span->disk_bytes, span->accelerator_milli},
        span->hour_micro};
    if (!node || span->begin_ms != placement->since_ms || span->end_ms <= span->begin_ms)
        return broken(err, 8, "span %llu: from %lld to %lld", (ull)span->id,
            (long long)span->begin_ms, (long long)span->end_ms);
    if (price_fits(before, node, &bill))
        return 0;
    return broken(err, 8, "span %llu: %lld an hour is not the price", (ull)span->id,
        (long long)span->hour_micro);
}

int invariants_charge(
    const struct sim_store *before, const struct charge_row *charge, struct error *err)
{
    const struct node_row *node = sim_store_row(before, ROW_NODE, charge->node);
    int64_t length_ms = charge->end_ms - charge->begin_ms;
    if (length_ms < 0 || charge->wasted_ms < 0 || charge->wasted_ms > length_ms)
        return broken(err, 8, "charge %llu: %lld ms, %lld of them wasted", (ull)charge->id,
            (long long)length_ms, (long long)charge->wasted_ms);
    if (charge->cost_nano != cost_nano(charge->hour_micro, length_ms) ||
        charge->wasted_nano != cost_nano(charge->hour_micro, charge->wasted_ms))
        return broken(err, 8, "charge %llu: %lld for %lld ms at %lld an hour", (ull)charge->id,
            (long long)charge->cost_nano, (long long)length_ms, (long long)charge->hour_micro);
    if (!node || node->pool != charge->pool)
        return broken(err, 8, "charge %llu is for node %llu of pool %llu", (ull)charge->id,
            (ull)charge->node, (ull)charge->pool);
    struct bill bill = {
        {charge->cpu_milli, charge->memory_bytes, charge->disk_bytes, charge->accelerator_milli},
        charge->hour_micro};
    if (charged_span(before, charge) || price_fits(before, node, &bill))
        return 0;
    return broken(err, 8, "charge %llu: %lld an hour is not the price", (ull)charge->id,
        (long long)charge->hour_micro);
}

int invariants_capacity(
    const struct sim_store *before, const struct capacity_row *capacity, struct error *err)
{
    const struct node_row *node = sim_store_row(before, ROW_NODE, capacity->node);
    int64_t length_ms = capacity->end_ms - capacity->begin_ms;
    if (!node || length_ms < 0 || capacity->begin_ms != node->since_ms ||
        capacity->cost_nano != cost_nano(capacity->hour_micro, length_ms))
        return broken(err, 8, "capacity %llu of node %llu: from %lld to %lld", (ull)capacity->id,
            (ull)capacity->node, (long long)capacity->begin_ms, (long long)capacity->end_ms);
    struct bill bill = {
        {node->cpu_milli, node->memory_bytes, node->disk_bytes, (int64_t)node->devices * 1000},
        capacity->hour_micro};
    return price_fits(before, node, &bill)
               ? 0
               : broken(err, 8, "capacity %llu: %lld an hour is not the price", (ull)capacity->id,
                     (long long)capacity->hour_micro);
}
