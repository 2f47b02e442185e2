/* Sorting by total orders, and small comparisons. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Negative, 0 or positive; never 0 for two different elements: a total order. */
typedef int order_fn(const void *a, const void *b, const void *context);
/* Sorts pointers by a total order: merge sort, the same on every machine. */
void sort_pointers(void **items, size_t count, order_fn *order, const void *context);

static inline int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}
static inline int compare_i64(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}
static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static inline int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
