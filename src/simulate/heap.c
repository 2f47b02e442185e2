/* Items know their place, so that moving one costs no search. */
#include "simulate/heap.h"

#include <stdbool.h>

enum { CHILDREN = 4 }; /* of an entry: fewer levels, and neighbours lie together */

void heap_finish(struct heap *heap)
{
    vec_free(&heap->items);
}

static bool before(const struct heap_entry *a, const struct heap_entry *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void put(struct heap *heap, size_t at, struct heap_entry entry)
{
    heap->items.items[at] = entry;
    entry.item->place = at + 1;
}

static void rise(struct heap *heap, size_t at, struct heap_entry entry)
{
    for (size_t parent; at > 0; at = parent) {
        parent = (at - 1) / CHILDREN;
        if (!before(&entry, &heap->items.items[parent]))
            break;
        put(heap, at, heap->items.items[parent]);
    }
    put(heap, at, entry);
}

static void sink(struct heap *heap, size_t at, struct heap_entry entry)
{
    size_t count = heap->items.count;
    for (size_t first; (first = CHILDREN * at + 1) < count;) {
        const struct heap_entry *entries = heap->items.items;
        size_t least = first, end = first + CHILDREN < count ? first + CHILDREN : count;
        for (size_t child = first + 1; child < end; child++)
            least = before(&entries[child], &entries[least]) ? child : least;
        if (!before(&entries[least], &entry))
            break;
        put(heap, at, entries[least]);
        at = least;
    }
    put(heap, at, entry);
}

static void settle(struct heap *heap, size_t at, struct heap_entry entry)
{
    if (at > 0 && before(&entry, &heap->items.items[(at - 1) / CHILDREN]))
        rise(heap, at, entry);
    else
        sink(heap, at, entry);
}

static void take(struct heap *heap, struct heap_item *item)
{
    size_t at = item->place - 1;
    struct heap_entry last = heap->items.items[--heap->items.count];
    item->place = 0;
    if (last.item != item)
        settle(heap, at, last);
}

void heap_set(struct heap *heap, struct heap_item *item, int64_t at_ms)
{
    if (at_ms == HEAP_NEVER) {
        item->at_ms = at_ms;
        if (item->place)
            take(heap, item);
        return;
    }
    if (item->place && item->at_ms == at_ms)
        return;
    struct heap_entry entry = {at_ms, item->order, item};
    item->at_ms = at_ms;
    if (!item->place) {
        vec_push(&heap->items, entry);
        item->place = heap->items.count;
    }
    settle(heap, item->place - 1, entry);
}

struct heap_item *heap_first(const struct heap *heap)
{
    return heap->items.count ? heap->items.items[0].item : NULL;
}
