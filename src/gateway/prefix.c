/* Beginnings of prompts: see prefix.h. A slot is the upper half of a hash and the tag of a replica.
 * The longest beginning that is known is found by halving: whoever was given a block was given all
 * before it, so as long as nothing was overwritten known blocks come first. */
#include "gateway/prefix.h"

#include "base/memory.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct prefix_map {
    atomic_uint_fast64_t slots[PREFIX_SLOTS];
};

static uint64_t mix(uint64_t hash)
{
    hash = (hash ^ hash >> 31) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

void prefix_make(const char *text, size_t length, size_t block_bytes, struct prefix *ret)
{
    assert(block_bytes >= 8);
    uint64_t hash = 0x243f6a8885a308d3u;
    ret->count = 0;
    for (size_t at = 0; at + block_bytes <= length && ret->count < PREFIX_BLOCKS_MAX;) {
        for (size_t end = at + block_bytes; at < end;) {
            uint64_t word = 0;
            size_t step = end - at < sizeof word ? end - at : sizeof word;
            memcpy(&word, text + at, step);
            hash = mix(hash + word) * 0xbf58476d1ce4e5b9u;
            at += step;
        }
        ret->hashes[ret->count++] = hash;
    }
}

struct prefix_map *prefix_map_create(void)
{
    return mem_alloc(1, sizeof(struct prefix_map));
}

void prefix_map_destroy(struct prefix_map *map)
{
    free(map);
}

uint32_t prefix_tag(uint64_t replica)
{
    uint32_t tag = (uint32_t)(mix(replica) >> 32);
    return tag ? tag : 1;
}

static size_t first_slot(uint64_t hash)
{
    return (size_t)(mix(hash) % (PREFIX_SLOTS / PREFIX_WAYS)) * PREFIX_WAYS;
}

static uint64_t load(const struct prefix_map *map, size_t slot)
{
    return atomic_load_explicit(&map->slots[slot], memory_order_relaxed);
}

static uint32_t tag_of(const struct prefix_map *map, uint64_t hash)
{
    size_t first = first_slot(hash);
    for (size_t i = 0; i < PREFIX_WAYS; i++) {
        uint64_t slot = load(map, first + i);
        if (slot >> 32 == hash >> 32 && slot)
            return (uint32_t)slot;
    }
    return 0;
}

uint32_t prefix_map_find(
    const struct prefix_map *map, const struct prefix *prefix, size_t *ret_blocks)
{
    size_t known = 0, end = prefix->count;
    uint32_t tag = 0;
    while (known < end) {
        size_t middle = known + (end - known) / 2;
        uint32_t its = tag_of(map, prefix->hashes[middle]);
        if (!its) {
            end = middle;
            continue;
        }
        known = middle + 1;
        tag = its;
    }
    if (ret_blocks)
        *ret_blocks = known;
    return tag;
}

/* The newest stands first; those that are older move on, and the last is forgotten. */
static void put(struct prefix_map *map, uint64_t hash, uint32_t tag)
{
    size_t first = first_slot(hash), at = 0;
    while (at < PREFIX_WAYS - 1 && load(map, first + at) >> 32 != hash >> 32)
        at++;
    for (; at > 0; at--)
        atomic_store_explicit(
            &map->slots[first + at], load(map, first + at - 1), memory_order_relaxed);
    atomic_store_explicit(&map->slots[first], (hash >> 32 << 32) | tag, memory_order_relaxed);
}

void prefix_map_note(struct prefix_map *map, const struct prefix *prefix, uint32_t tag)
{
    for (size_t i = 0; i < prefix->count; i++)
        put(map, prefix->hashes[i], tag);
}
