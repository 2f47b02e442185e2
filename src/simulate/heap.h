/* What comes next: a binary heap of moments, each part of something larger. Equal moments go by
 * their order, which the caller makes distinct, so that what comes first never depends on how the
 * heap was built. */
#pragma once

#include "base/vec.h"

#include <stddef.h>
#include <stdint.h>

#define HEAP_NEVER INT64_MAX

struct heap_item {
    int64_t at_ms;
    uint64_t order;
    size_t place; /* in the heap, plus one; 0: not in it */
};

/* Keys lie beside the pointers, so that comparing two does not fetch what they are part of. */
struct heap_entry {
    int64_t at_ms;
    uint64_t order;
    struct heap_item *item;
};

struct heap {
    VEC(struct heap_entry) items;
};

void heap_finish(struct heap *heap); /* items stay the caller's */
/* Puts the item in, or moves it, or takes it out when at_ms is HEAP_NEVER. */
void heap_set(struct heap *heap, struct heap_item *item, int64_t at_ms);
/* The first, or NULL. */
struct heap_item *heap_first(const struct heap *heap);
