/* Hash maps: linear probing, capacity a power of two, at most three quarters full. Removal moves
 * later entries of the run back instead of leaving tombstones, so a map never degrades. */
#include "base/map.h"

#include "base/memory.h"

#include <assert.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct idmap_slot {
    uint64_t key; /* 0: free */
    void *value;
};

struct strmap_slot {
    char *key; /* NULL: free; owned */
    void *value;
    uint64_t hash;
};

/* The finaliser of splitmix64 (Steele, Lea, Flood 2014): every bit of the key reaches every bit
 * of the index. */
static uint64_t id_hash(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static unsigned char hash_key[crypto_shorthash_KEYBYTES];
static pthread_once_t hash_once = PTHREAD_ONCE_INIT;

static void hash_key_init(void)
{
    int rc = sodium_init();
    assert(rc >= 0);
    (void)rc;
    crypto_shorthash_keygen(hash_key);
}

static uint64_t text_hash(const char *text)
{
    pthread_once(&hash_once, hash_key_init);
    uint64_t hash;
    static_assert(sizeof hash == crypto_shorthash_BYTES, "SipHash-2-4 gives 64 bits");
    crypto_shorthash((unsigned char *)&hash, (const unsigned char *)text, strlen(text), hash_key);
    return hash;
}

static bool needs_growth(size_t count, size_t capacity)
{
    return (count + 1) * 4 > capacity * 3;
}

/* Whether an entry whose home is `home` may move back from `at` into the hole at `hole`. */
static bool may_move(size_t home, size_t hole, size_t at, size_t mask)
{
    return ((at - home) & mask) >= ((at - hole) & mask);
}

void idmap_finish(struct idmap *map)
{
    free(map->slots);
    *map = (struct idmap){0};
}

void idmap_clear(struct idmap *map)
{
    enum { SLOTS_KEPT = 64 };
    if (map->count == 0)
        return;
    if (map->capacity > SLOTS_KEPT) {
        idmap_finish(map);
        return;
    }
    memset(map->slots, 0, map->capacity * sizeof *map->slots);
    map->count = 0;
}

static size_t idmap_find(const struct idmap *map, uint64_t key)
{
    size_t mask = map->capacity - 1;
    size_t i = id_hash(key) & mask;
    while (map->slots[i].key && map->slots[i].key != key)
        i = (i + 1) & mask;
    return i;
}

void *idmap_get(const struct idmap *map, uint64_t key)
{
    if (map->count == 0 || key == 0)
        return NULL;
    size_t i = idmap_find(map, key);
    return map->slots[i].key ? map->slots[i].value : NULL;
}

static void idmap_grow(struct idmap *map)
{
    struct idmap old = *map;
    map->capacity = old.capacity ? old.capacity * 2 : 16;
    map->slots = mem_alloc(map->capacity, sizeof *map->slots);
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.slots[i].key)
            map->slots[idmap_find(map, old.slots[i].key)] = old.slots[i];
    }
    free(old.slots);
}

void idmap_put(struct idmap *map, uint64_t key, void *value)
{
    assert(key != 0 && value);
    if (needs_growth(map->count, map->capacity))
        idmap_grow(map);
    size_t i = idmap_find(map, key);
    if (!map->slots[i].key)
        map->count++;
    map->slots[i] = (struct idmap_slot){key, value};
}

void *idmap_remove(struct idmap *map, uint64_t key)
{
    if (map->count == 0 || key == 0)
        return NULL;
    size_t mask = map->capacity - 1;
    size_t hole = idmap_find(map, key);
    if (!map->slots[hole].key)
        return NULL;
    void *value = map->slots[hole].value;
    for (size_t i = (hole + 1) & mask; map->slots[i].key; i = (i + 1) & mask) {
        if (may_move(id_hash(map->slots[i].key) & mask, hole, i, mask)) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    map->slots[hole] = (struct idmap_slot){0};
    map->count--;
    return value;
}

void strmap_finish(struct strmap *map)
{
    for (size_t i = 0; i < map->capacity; i++)
        free(map->slots[i].key);
    free(map->slots);
    *map = (struct strmap){0};
}

static size_t strmap_find(const struct strmap *map, const char *key, uint64_t hash)
{
    size_t mask = map->capacity - 1;
    size_t i = hash & mask;
    while (map->slots[i].key && (map->slots[i].hash != hash || strcmp(map->slots[i].key, key) != 0))
        i = (i + 1) & mask;
    return i;
}

void *strmap_get(const struct strmap *map, const char *key)
{
    if (map->count == 0)
        return NULL;
    size_t i = strmap_find(map, key, text_hash(key));
    return map->slots[i].key ? map->slots[i].value : NULL;
}

static void strmap_grow(struct strmap *map)
{
    struct strmap old = *map;
    map->capacity = old.capacity ? old.capacity * 2 : 16;
    map->slots = mem_alloc(map->capacity, sizeof *map->slots);
    for (size_t i = 0; i < old.capacity; i++) {
        struct strmap_slot *slot = &old.slots[i];
        if (slot->key)
            map->slots[strmap_find(map, slot->key, slot->hash)] = *slot;
    }
    free(old.slots);
}

void strmap_put(struct strmap *map, const char *key, void *value)
{
    assert(key && value);
    if (needs_growth(map->count, map->capacity))
        strmap_grow(map);
    uint64_t hash = text_hash(key);
    struct strmap_slot *slot = &map->slots[strmap_find(map, key, hash)];
    if (!slot->key) {
        slot->key = mem_strdup(key);
        slot->hash = hash;
        map->count++;
    }
    slot->value = value;
}

void *strmap_remove(struct strmap *map, const char *key)
{
    if (map->count == 0)
        return NULL;
    size_t mask = map->capacity - 1;
    size_t hole = strmap_find(map, key, text_hash(key));
    if (!map->slots[hole].key)
        return NULL;
    void *value = map->slots[hole].value;
    free(map->slots[hole].key);
    for (size_t i = (hole + 1) & mask; map->slots[i].key; i = (i + 1) & mask) {
        if (may_move(map->slots[i].hash & mask, hole, i, mask)) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    map->slots[hole] = (struct strmap_slot){0};
    map->count--;
    return value;
}
