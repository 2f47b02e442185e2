/* Which replica has seen the beginning of a prompt: replicas of language models keep what they
 * computed for a prefix, and answer sooner what begins alike.
 *
 * A prompt is cut into blocks of equal size; each block's hash is that of all up to its end. A map
 * remembers for each hash the replica that was asked last. Workers share it: its slots are single
 * atomics, a lost or overwritten one costs a miss and nothing else, and its size never changes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    PREFIX_BLOCKS_MAX = 256,
    PREFIX_SLOTS = 1 << 17, /* 1 MiB */
    PREFIX_WAYS = 4,        /* places that a hash may have; the oldest of them gives way */
};

struct prefix {
    uint64_t hashes[PREFIX_BLOCKS_MAX];
    size_t count;
};

/* The hashes of the whole blocks at the beginning of the text; what is beyond PREFIX_BLOCKS_MAX
 * does not count. */
void prefix_make(const char *text, size_t length, size_t block_bytes, struct prefix *ret);

struct prefix_map;
/* Empty; destroyed by the caller. */
struct prefix_map *prefix_map_create(void);
void prefix_map_destroy(struct prefix_map *map); /* NULL is fine */
/* Who was asked last for the longest beginning that is known, as prefix_tag of it; 0: nobody.
 * ret_blocks (may be NULL): how long that is. */
uint32_t prefix_map_find(
    const struct prefix_map *map, const struct prefix *prefix, size_t *ret_blocks);
/* All of it was given to that replica. */
void prefix_map_note(struct prefix_map *map, const struct prefix *prefix, uint32_t tag);
/* A replica's mark in the map, never 0; two replicas may have the same. */
uint32_t prefix_tag(uint64_t replica);
