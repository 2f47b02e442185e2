/* Sorting: bottom-up merge sort. qsort is not stable and differs between C libraries; a decision
 * must not depend on either. */
#include "core/sort.h"
#include "base/memory.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

static void merge(void **from, void **to, size_t begin, size_t middle, size_t end, order_fn *order,
    const void *context)
{
    size_t left = begin, right = middle;
    for (size_t out = begin; out < end; out++) {
        bool take_left =
            right >= end || (left < middle && order(from[left], from[right], context) <= 0);
        to[out] = take_left ? from[left++] : from[right++];
    }
}

void sort_pointers(void **items, size_t count, order_fn *order, const void *context)
{
    assert(items || count == 0);
    if (count < 2)
        return;
    SCOPED(mem_scope) void **spare = mem_alloc(count, sizeof *spare);
    void **from = items, **to = spare;
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t begin = 0; begin < count; begin += 2 * width) {
            size_t middle = begin + width < count ? begin + width : count;
            size_t end = begin + 2 * width < count ? begin + 2 * width : count;
            merge(from, to, begin, middle, end, order, context);
        }
        void **swap = from;
        from = to;
        to = swap;
    }
    if (from != items)
        memcpy(items, from, count * sizeof *items);
}
