/* The table of counters: see limit_store.h.
 *
 * 1. A set is eight counters that names of one hash may have; their tags are one cache line, which
 *    is only read once they are there.
 * 2. Only the holder of a set's flag writes tags. It is held for the making of a counter, never
 *    while one that is there is used.
 * 3. Two processes may have the file mapped, while one takes over from the other: what is under way
 *    is forgotten only by one that is alone, which a lock on the file says, and flags are in the
 *    file. One that dies with a flag costs its set new counters until the next start.
 * 4. A counter that is taken over is BUSY while it is looked through once more and emptied. Whoever
 *    added to it and does not find its own tag afterwards takes that back and begins again. */
#include "gateway/limit_store.h"

#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    WAYS = 8,
    SETS = LIMIT_COUNTERS_MAX / WAYS,
    WINDOW_BITS = 7,
    ROUNDS_MAX = 64,
    SPINS_MAX = 1000
};
#define BUSY     ((uint64_t)1) /* no tag: those have other bits beside their window's */
#define MAGIC    "muster-limits-2"
#define TAG_BITS (~(uint64_t)WINDOW_BITS)

struct limit_header {
    char magic[16];
    unsigned char hash_key[crypto_shorthash_KEYBYTES];
};

struct limit_set {
    _Alignas(64) atomic_uint_fast64_t tags[WAYS];
};

struct limit_map {
    struct limit_header header;
    struct limit_cell shared[LIMIT_WINDOW_COUNT];
    struct limit_set sets[SETS];
    struct limit_cell cells[SETS][WAYS];
    atomic_flag making[SETS];
};

struct limit_store {
    struct limit_map *map;
    int fd; /* holds the lock; -1: in memory */
};

/* ---- the memory ------------------------------------------------------------------------------ */

/* Space for all of it is taken first: a page that cannot be backed would end the process. */
static int map_file(
    const char *path, struct limit_map **ret, int *ret_fd, bool *ret_alone, struct error *err)
{
    SCOPED(fd_scope) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat file;
    if (fd < 0 || fstat(fd, &file) < 0)
        return error_set_errno(err, "cannot open %s", path);
    *ret_alone = flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (!*ret_alone && flock(fd, LOCK_SH) < 0)
        return error_set_errno(err, "cannot lock %s", path);
    if (!*ret_alone && file.st_size != (off_t)sizeof(struct limit_map))
        return error_set(err, ERR_CONFLICT, "%s is another version's, which runs", path);
    if (file.st_size != (off_t)sizeof(struct limit_map) && ftruncate(fd, 0) < 0)
        return error_set_errno(err, "cannot make %s anew", path);
    errno = posix_fallocate(fd, 0, (off_t)sizeof(struct limit_map));
    if (errno != 0)
        return error_set_errno(err, "cannot take space for %s", path);
    void *map = mmap(NULL, sizeof(struct limit_map), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return error_set_errno(err, "cannot map %s", path);
    *ret = map;
    *ret_fd = fd;
    fd = -1;
    return 0;
}

static int map_memory(struct limit_map **ret, struct error *err)
{
    void *map = mmap(
        NULL, sizeof(struct limit_map), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return error_set_errno(err, "cannot map memory for limits");
    *ret = map;
    return 0;
}

static void clear_cell(struct limit_cell *cell)
{
    for (int i = 0; i < LIMIT_SLOTS; i++)
        atomic_store(&cell->slots[i], 0);
}

/* What was under way in the process before is not any more. */
static void forget_the_dead(struct limit_map *map)
{
    clear_cell(&map->shared[LIMIT_NOW]);
    for (size_t i = 0; i < SETS; i++) {
        atomic_flag_clear(&map->making[i]);
        for (size_t way = 0; way < WAYS; way++) {
            uint64_t tag = atomic_load(&map->sets[i].tags[way]);
            if (tag == 0 || (tag != BUSY && (tag & WINDOW_BITS) != LIMIT_NOW))
                continue;
            clear_cell(&map->cells[i][way]);
            atomic_store(&map->sets[i].tags[way], 0);
        }
    }
}

static void make_new(struct limit_map *map)
{
    struct limit_header *header = &map->header;
    memset(map, 0, sizeof *map);
    randombytes_buf(header->hash_key, sizeof header->hash_key);
    memcpy(header->magic, MAGIC, sizeof MAGIC);
}

static bool is_ours(const struct limit_map *map)
{
    return memcmp(map->header.magic, MAGIC, sizeof MAGIC) == 0;
}

int limit_store_open(const char *path, struct limit_store **ret, struct error *err)
{
    struct limit_map *map = NULL;
    bool alone = true;
    int fd = -1;
    if ((path ? map_file(path, &map, &fd, &alone, err) : map_memory(&map, err)) < 0)
        return -1;
    struct limit_store *store = mem_alloc(1, sizeof *store);
    store->map = map;
    store->fd = fd;
    if (!alone && !is_ours(map)) {
        limit_store_close(store);
        return error_set(err, ERR_CONFLICT, "%s is another version's, which runs", path);
    }
    if (!is_ours(map))
        make_new(map);
    else if (alone)
        forget_the_dead(map);
    if (fd >= 0 && alone)
        flock(fd, LOCK_SH);
    *ret = store;
    return 0;
}

void limit_store_close(struct limit_store *store)
{
    if (!store)
        return;
    munmap(store->map, sizeof *store->map);
    fd_scope(&store->fd);
    free(store);
}

/* ---- finding --------------------------------------------------------------------------------- */

uint64_t limit_store_name(const struct limit_store *store, const void *bytes, size_t length)
{
    unsigned char hash[crypto_shorthash_BYTES];
    uint64_t name;
    crypto_shorthash(hash, bytes, length, store->map->header.hash_key);
    memcpy(&name, hash, sizeof name);
    return name;
}

/* Never 0 nor BUSY. */
static uint64_t tag_of(uint64_t name, enum limit_window window)
{
    uint64_t bits = name & TAG_BITS;
    return (bits ? bits : TAG_BITS) | (uint64_t)window;
}

static size_t set_of(uint64_t tag)
{
    return (size_t)(tag >> 16) % SETS;
}

static int way_of(const struct limit_set *set, uint64_t tag)
{
    for (int way = 0; way < WAYS; way++) {
        if (atomic_load(&set->tags[way]) == tag)
            return way;
    }
    return -1;
}

static bool is_spent(const struct limit_cell *cell, uint64_t tag, int64_t now_ms)
{
    return tag == 0 || limit_cell_used(cell, (enum limit_window)(tag & WINDOW_BITS), now_ms) == 0;
}

/* With the set's flag. -1: every counter of the set is in use. */
static int make(struct limit_store *store, size_t index, uint64_t tag, int64_t now_ms)
{
    struct limit_set *set = &store->map->sets[index];
    int way = way_of(set, tag);
    if (way >= 0)
        return way;
    for (way = 0; way < WAYS; way++) {
        struct limit_cell *cell = &store->map->cells[index][way];
        uint64_t before = atomic_load(&set->tags[way]);
        if (!is_spent(cell, before, now_ms))
            continue;
        atomic_store(&set->tags[way], BUSY);
        if (is_spent(cell, before, now_ms)) {
            clear_cell(cell);
            atomic_store(&set->tags[way], tag);
            return way;
        }
        atomic_store(&set->tags[way], before);
    }
    return -1;
}

static int find_or_make(struct limit_store *store, size_t index, uint64_t tag, int64_t now_ms)
{
    int way = way_of(&store->map->sets[index], tag);
    if (way >= 0)
        return way;
    atomic_flag *making = &store->map->making[index];
    for (int spins = 0; atomic_flag_test_and_set(making); spins++) {
        if (spins == SPINS_MAX)
            return -1;
        sched_yield();
    }
    way = make(store, index, tag, now_ms);
    atomic_flag_clear(making);
    return way;
}

/* ---- taking ---------------------------------------------------------------------------------- */

/* most -1: it is added whatever counts. Whether the counter was still its own afterwards; if not,
 * nothing was taken. */
static bool take_at(struct limit_store *store, size_t index, int way, int64_t most, int64_t amount,
    int64_t now_ms, struct limit_taken *taken, bool *ret_fits)
{
    struct limit_cell *cell = &store->map->cells[index][way];
    *ret_fits = true;
    if (most < 0)
        limit_cell_add(cell, taken->window, amount, now_ms, &taken->mark);
    else
        *ret_fits = limit_cell_take(cell, taken->window, most, amount, now_ms, &taken->mark);
    if (atomic_load(&store->map->sets[index].tags[way]) == taken->tag)
        return true;
    if (*ret_fits)
        limit_cell_give(cell, taken->window, &taken->mark, amount);
    return false;
}

static bool take_shared(struct limit_store *store, int64_t most, int64_t amount, int64_t now_ms,
    struct limit_taken *taken)
{
    struct limit_cell *cell = &store->map->shared[taken->window];
    taken->tag = 0;
    if (most >= 0)
        return limit_cell_take(cell, taken->window, most, amount, now_ms, &taken->mark);
    limit_cell_add(cell, taken->window, amount, now_ms, &taken->mark);
    return true;
}

static bool take_tag(struct limit_store *store, uint64_t tag, int64_t most, int64_t amount,
    int64_t now_ms, struct limit_taken *taken)
{
    size_t index = set_of(tag);
    taken->tag = tag;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        bool fits;
        int way = find_or_make(store, index, tag, now_ms);
        if (way < 0)
            break;
        if (take_at(store, index, way, most, amount, now_ms, taken, &fits))
            return fits;
    }
    return take_shared(store, most, amount, now_ms, taken);
}

bool limit_store_take(struct limit_store *store, uint64_t name, enum limit_window window,
    int64_t most, int64_t amount, int64_t now_ms, struct limit_taken *ret_taken)
{
    assert(most >= 0 && amount >= 0);
    ret_taken->window = window;
    amount = amount > LIMIT_AMOUNT_MAX ? LIMIT_AMOUNT_MAX : amount;
    return take_tag(store, tag_of(name, window), most, amount, now_ms, ret_taken);
}

/* Its counter, if it is still there. */
static struct limit_cell *cell_of(struct limit_store *store, const struct limit_taken *taken)
{
    if (taken->tag == 0)
        return &store->map->shared[taken->window];
    size_t index = set_of(taken->tag);
    int way = way_of(&store->map->sets[index], taken->tag);
    return way < 0 ? NULL : &store->map->cells[index][way];
}

void limit_store_settle(
    struct limit_store *store, const struct limit_taken *taken, int64_t used, int64_t now_ms)
{
    int64_t amount = taken->mark.amount;
    used = taken->window == LIMIT_NOW || used < 0 ? 0 : used;
    used = used > LIMIT_AMOUNT_MAX ? LIMIT_AMOUNT_MAX : used;
    if (used > amount) {
        struct limit_taken more = {.window = taken->window};
        if (taken->tag)
            take_tag(store, taken->tag, -1, used - amount, now_ms, &more);
        else
            take_shared(store, -1, used - amount, now_ms, &more);
        return;
    }
    struct limit_cell *cell = cell_of(store, taken);
    if (cell && used < amount)
        limit_cell_give(cell, taken->window, &taken->mark, amount - used);
}

void limit_store_state(struct limit_store *store, uint64_t name, enum limit_window window,
    int64_t most, int64_t amount, int64_t now_ms, struct limit_state *ret)
{
    static const struct limit_cell nothing;
    struct limit_taken taken = {.tag = tag_of(name, window), .window = window};
    const struct limit_cell *cell = cell_of(store, &taken);
    cell = cell ? cell : &nothing;
    ret->used = limit_cell_used(cell, window, now_ms);
    ret->wait_ms = amount > 0 ? limit_cell_wait_ms(cell, window, most, amount, now_ms) : 0;
    ret->reset_ms = limit_cell_reset_ms(cell, window, now_ms);
}
