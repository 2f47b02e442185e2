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

/* The share of the node that goes by its dominant resource. */
static int64_t node_share_micro(
    const struct node_row *node, const struct charge_row *charge, int64_t hour_micro)
{
    const int64_t parts[][2] = {{charge->cpu_milli, node->cpu_milli},
        {charge->memory_bytes, node->memory_bytes}, {charge->disk_bytes, node->disk_bytes},
        {charge->accelerator_milli, (int64_t)node->devices * 1000}};
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
    const struct node_row *node, const struct charge_row *charge)
{
    const struct price_row *device = price_of(store, pool->id, 1, node->accelerator);
    int64_t sum = scaled(pool->cpu_hour_micro, charge->cpu_milli, 1000);
    sum += scaled(pool->memory_gib_hour_micro, charge->memory_bytes, GIB);
    sum += scaled(pool->disk_gib_hour_micro, charge->disk_bytes, GIB);
    sum += device ? scaled(device->hour_micro, charge->accelerator_milli, 1000) : 0;
    return charge->hour_micro >= sum - 2 && charge->hour_micro <= sum + 2;
}

int invariants_price(
    const struct sim_store *before, const struct charge_row *charge, struct error *err)
{
    const struct node_row *node = sim_store_row(before, ROW_NODE, charge->node);
    const struct pool_row *pool = sim_store_row(before, ROW_POOL, charge->pool);
    if (!node || !pool || node->pool != pool->id)
        return broken(err, 8, "charge %llu is for node %llu of pool %llu", (ull)charge->id,
            (ull)charge->node, (ull)charge->pool);
    const struct price_row *whole = price_of(before, pool->id, 0, node->type);
    bool fits = whole ? charge->hour_micro == node_share_micro(node, charge, whole->hour_micro)
                      : resources_fit(before, pool, node, charge);
    return fits ? 0 : broken(err, 8, "charge %llu: %lld an hour is not the price",
        (ull)charge->id, (long long)charge->hour_micro);
}
