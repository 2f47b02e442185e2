/* The first values as they are; then buckets: below 2^11 one for each value, above it 1024 for each
 * power of two, so that a value is known within a thousandth of itself. */
#include "simulate/quantile.h"

#include "base/memory.h"
#include "simulate/order.h"

#include <stdlib.h>
#include <string.h>

enum {
    EXACT_MAX = 4096,
    FINE_BITS = 10,
    BUCKETS = (64 - FINE_BITS) << FINE_BITS,
};

void quantile_finish(struct quantile *quantile)
{
    free(quantile->values);
    free(quantile->buckets);
    *quantile = (struct quantile){0};
}

static size_t bucket_of(int64_t value)
{
    if (value < 2 << FINE_BITS)
        return (size_t)value;
    int shift = 63 - __builtin_clzll((unsigned long long)value) - FINE_BITS;
    return ((size_t)shift << FINE_BITS) + (size_t)(value >> shift);
}

/* The middle of what falls into it. */
static int64_t bucket_value(size_t bucket)
{
    if (bucket < 2u << FINE_BITS)
        return (int64_t)bucket;
    size_t shift = (bucket >> FINE_BITS) - 1;
    int64_t low = (int64_t)(bucket - (shift << FINE_BITS)) << shift;
    return low + (((int64_t)1 << shift) >> 1);
}

static void spill(struct quantile *quantile)
{
    quantile->buckets = mem_alloc(BUCKETS, sizeof *quantile->buckets);
    for (int64_t i = 0; i < quantile->count; i++)
        quantile->buckets[bucket_of(quantile->values[i])]++;
    free(quantile->values);
    quantile->values = NULL;
}

void quantile_add(struct quantile *quantile, int64_t value)
{
    value = value > 0 ? value : 0;
    if (!quantile->values && !quantile->buckets)
        quantile->values = mem_alloc(EXACT_MAX, sizeof *quantile->values);
    if (quantile->values && quantile->count == EXACT_MAX)
        spill(quantile);
    if (quantile->values)
        quantile->values[quantile->count] = value;
    else
        quantile->buckets[bucket_of(value)]++;
    if (quantile->count == 0 || value < quantile->least)
        quantile->least = value;
    if (value > quantile->most)
        quantile->most = value;
    quantile->sum += value;
    quantile->count++;
}

static int64_t exact_at(const struct quantile *quantile, int64_t rank)
{
    size_t size = (size_t)quantile->count * sizeof *quantile->values;
    SCOPED(mem_scope) int64_t *sorted = mem_alloc((size_t)quantile->count, sizeof *sorted);
    memcpy(sorted, quantile->values, size);
    qsort(sorted, (size_t)quantile->count, sizeof *sorted, order_i64);
    return sorted[rank - 1];
}

int64_t quantile_at(const struct quantile *quantile, int per_mille)
{
    if (quantile->count == 0)
        return 0;
    int64_t rank = (int64_t)(((__int128)quantile->count * per_mille + 999) / 1000);
    rank = rank < 1 ? 1 : rank;
    if (quantile->values)
        return exact_at(quantile, rank);
    if (rank == quantile->count)
        return quantile->most;
    size_t bucket = 0;
    for (int64_t seen = 0; (seen += quantile->buckets[bucket]) < rank;)
        bucket++;
    int64_t value = bucket_value(bucket);
    value = value < quantile->least ? quantile->least : value;
    return value > quantile->most ? quantile->most : value;
}

int64_t quantile_mean(const struct quantile *quantile)
{
    int64_t count = quantile->count;
    return count ? (int64_t)((quantile->sum + count / 2) / count) : 0;
}

int64_t quantile_above(const struct quantile *quantile, int64_t value)
{
    int64_t count = 0;
    for (int64_t i = 0; quantile->values && i < quantile->count; i++)
        count += quantile->values[i] > value;
    for (size_t i = 0; quantile->buckets && i < BUCKETS; i++)
        count += bucket_value(i) > value ? quantile->buckets[i] : 0;
    return count;
}
