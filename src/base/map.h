/* Hash maps with open addressing. Neither can be iterated: the order of a hash table must never
 * decide anything, so whoever needs an order keeps one beside the map. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From a 64-bit key other than 0 to a pointer. */
struct idmap {
    struct idmap_slot *slots;
    size_t count;
    size_t capacity;
};

/* Frees the slots, not the values, and leaves an empty map. */
void idmap_finish(struct idmap *map);
/* Takes all keys out; the slots of a map that never had many stay. */
void idmap_clear(struct idmap *map);
/* The value of key, or NULL. */
void *idmap_get(const struct idmap *map, uint64_t key);
/* Sets or replaces; value is not NULL. */
void idmap_put(struct idmap *map, uint64_t key, void *value);
/* Takes key out and returns its value, or NULL when it was not there. */
void *idmap_remove(struct idmap *map, uint64_t key);

/* From a string to a pointer. The map keeps copies of its keys. Hashing is keyed at random by
 * process, so that nobody outside can aim for collisions. */
struct strmap {
    struct strmap_slot *slots;
    size_t count;
    size_t capacity;
};

/* Frees the slots and keys, not the values, and leaves an empty map. */
void strmap_finish(struct strmap *map);
/* The value of key, or NULL. */
void *strmap_get(const struct strmap *map, const char *key);
/* Sets or replaces; value is not NULL. */
void strmap_put(struct strmap *map, const char *key, void *value);
/* Takes key out and returns its value, or NULL when it was not there. */
void *strmap_remove(struct strmap *map, const char *key);
