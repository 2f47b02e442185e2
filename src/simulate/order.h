/* Total orders for qsort: equal values are equal, so that the result is the same everywhere. */
#pragma once

#include <stdint.h>

static inline int order_i64(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}
