/* Items know their place, so that moving one costs no search. */
#include "simulate/heap.h"

#include <stdbool.h>

void heap_finish(struct heap *heap)
{
    vec_free(&heap->items);
}

static bool before(const struct heap_item *a, const struct heap_item *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void put(struct heap *heap, size_t at, struct heap_item *item)
{
    heap->items.items[at] = item;
    item->place = at + 1;
}

static void rise(struct heap *heap, size_t at, struct heap_item *item)
{
    while (at > 0 && before(item, heap->items.items[(at - 1) / 2])) {
        put(heap, at, heap->items.items[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(heap, at, item);
}

static void sink(struct heap *heap, size_t at, struct heap_item *item)
{
    size_t count = heap->items.count;
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        struct heap_item **items = heap->items.items;
        child += child + 1 < count && before(items[child + 1], items[child]);
        if (!before(items[child], item))
            break;
        put(heap, at, items[child]);
    }
    put(heap, at, item);
}

static void settle(struct heap *heap, size_t at, struct heap_item *item)
{
    if (at > 0 && before(item, heap->items.items[(at - 1) / 2]))
        rise(heap, at, item);
    else
        sink(heap, at, item);
}

static void take(struct heap *heap, struct heap_item *item)
{
    size_t at = item->place - 1;
    struct heap_item *last = heap->items.items[--heap->items.count];
    item->place = 0;
    if (last != item)
        settle(heap, at, last);
}

void heap_set(struct heap *heap, struct heap_item *item, int64_t at_ms)
{
    item->at_ms = at_ms;
    if (at_ms == HEAP_NEVER) {
        if (item->place)
            take(heap, item);
        return;
    }
    if (!item->place) {
        vec_push(&heap->items, item);
        item->place = heap->items.count;
    }
    settle(heap, item->place - 1, item);
}

struct heap_item *heap_first(const struct heap *heap)
{
    return heap->items.count ? heap->items.items[0] : NULL;
}
