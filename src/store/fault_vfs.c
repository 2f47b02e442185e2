/* See fault_vfs.h.
 *
 * A file has two contents, the visible and the durable, and the list of changes that lead from one
 * to the other. A folder has two sets of names likewise: `linked` and `linked_durably`. A crash
 * makes the visible the durable, starts a new generation, and leaves open files dead. */
#include "store/fault_vfs.h"

#include "base/memory.h"
#include "base/prng.h"
#include "base/vec.h"

#include <assert.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

enum { SECTOR_BYTES = 512, PATH_BYTES_MOST = 512 };

struct content {
    unsigned char *bytes;
    size_t size;
    size_t capacity;
};

struct change {
    bool truncation; /* to offset */
    size_t offset;
    size_t size;
    unsigned char *bytes;
};

struct file_node {
    char *name; /* NULL: temporary */
    bool linked;
    bool linked_durably;
    struct content visible;
    struct content durable;
    VEC(struct change) changes;
    /* Locks of this generation. */
    int shared;
    const void *reserved, *exclusive; /* the open file that has it */
    int map_users;
    int map_shared[SQLITE_SHM_NLOCK];
    bool map_exclusive[SQLITE_SHM_NLOCK];
    VEC(void *) map;
};

struct fault_vfs {
    sqlite3_vfs base;
    pthread_mutex_t lock; /* recursive: of all below, and of all files */
    struct prng prng;
    VEC(struct file_node *) nodes;
    VEC(void *) old_maps; /* of earlier generations: dead files may still look at them */
    uint64_t operations;
    uint64_t fault_from, fault_to; /* numbers of operations */
    enum fault_kind fault;
    int generation;
    bool crashed;
};

struct open_file {
    sqlite3_file base;
    struct fault_vfs *vfs;
    struct file_node *node;
    int generation;
    int level;       /* SQLITE_LOCK_* */
    bool folder_due; /* a log or journal: its first sync is the folder's too, as in SQLite's own */
    bool mapped;
    unsigned map_shared, map_exclusive; /* bits of locks held */
};

static pthread_mutex_t *take_lock(const struct fault_vfs *vfs)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&vfs->lock;
    pthread_mutex_lock(lock);
    return lock;
}

static void lock_scope(pthread_mutex_t **lock)
{
    pthread_mutex_unlock(*lock);
}

/* Until the end of the function. */
#define LOCKED(vfs)                                                                                \
    __attribute__((unused)) SCOPED(lock_scope) pthread_mutex_t *locked = take_lock(vfs)

/* ---- contents ------------------------------------------------------------------------------- */

static void content_resize(struct content *content, size_t size)
{
    if (size > content->capacity) {
        content->capacity = size + size / 2 + 4096;
        content->bytes = mem_resize(content->bytes, content->capacity, 1);
    }
    if (size > content->size)
        memset(content->bytes + content->size, 0, size - content->size);
    content->size = size;
}

static void content_write(
    struct content *content, size_t offset, const unsigned char *bytes, size_t size)
{
    if (size == 0)
        return;
    if (offset + size > content->size)
        content_resize(content, offset + size);
    memcpy(content->bytes + offset, bytes, size);
}

static void content_apply(struct content *content, const struct change *change)
{
    if (!change->truncation)
        content_write(content, change->offset, change->bytes, change->size);
    else if (change->offset < content->size)
        content_resize(content, change->offset);
}

static void node_forget_changes(struct file_node *node)
{
    for (size_t i = 0; i < node->changes.count; i++)
        free(node->changes.items[i].bytes);
    vec_clear(&node->changes);
}

static void node_sync(struct file_node *node)
{
    for (size_t i = 0; i < node->changes.count; i++)
        content_apply(&node->durable, &node->changes.items[i]);
    node_forget_changes(node);
}

static void change_survive_in_part(
    struct fault_vfs *vfs, struct file_node *node, const struct change *change)
{
    if (change->truncation) {
        if (prng_below(&vfs->prng, 2))
            content_apply(&node->durable, change);
        return;
    }
    size_t next;
    for (size_t at = 0; at < change->size; at = next) {
        size_t sector_end = (change->offset + at) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES;
        next =
            sector_end - change->offset < change->size ? sector_end - change->offset : change->size;
        if (prng_below(&vfs->prng, 2))
            content_write(&node->durable, change->offset + at, change->bytes + at, next - at);
    }
}

/* Nothing, all, or a random part of what was not synced becomes durable. */
static void node_sync_in_part(struct fault_vfs *vfs, struct file_node *node)
{
    uint64_t how = prng_below(&vfs->prng, 3);
    for (size_t i = 0; how > 0 && i < node->changes.count; i++) {
        const struct change *change = &node->changes.items[i];
        if (how == 1)
            content_apply(&node->durable, change);
        else
            change_survive_in_part(vfs, node, change);
    }
    node_forget_changes(node);
}

/* ---- the machine ---------------------------------------------------------------------------- */

static void folder_sync(struct fault_vfs *vfs)
{
    for (size_t i = 0; i < vfs->nodes.count; i++)
        vfs->nodes.items[i]->linked_durably = vfs->nodes.items[i]->linked;
}

static void node_crash(struct fault_vfs *vfs, struct file_node *node)
{
    node_sync_in_part(vfs, node);
    node->linked = node->linked_durably;
    node->visible.size = 0;
    content_write(&node->visible, 0, node->durable.bytes, node->durable.size);
    node->shared = node->map_users = 0;
    node->reserved = node->exclusive = NULL;
    memset(node->map_shared, 0, sizeof node->map_shared);
    memset(node->map_exclusive, 0, sizeof node->map_exclusive);
    for (size_t i = 0; i < node->map.count; i++)
        vec_push(&vfs->old_maps, node->map.items[i]);
    vec_clear(&node->map);
}

void fault_vfs_crash(struct fault_vfs *vfs)
{
    LOCKED(vfs);
    if (prng_below(&vfs->prng, 2)) /* the folder may have reached the disk by itself */
        folder_sync(vfs);
    for (size_t i = 0; i < vfs->nodes.count; i++)
        node_crash(vfs, vfs->nodes.items[i]);
    vfs->generation++;
    vfs->crashed = true;
    vfs->fault = FAULT_NONE;
}

bool fault_vfs_restarted(struct fault_vfs *vfs)
{
    LOCKED(vfs);
    bool crashed = vfs->crashed;
    if (crashed)
        vfs->fault = FAULT_NONE;
    vfs->crashed = false;
    return crashed;
}

void fault_vfs_plan(struct fault_vfs *vfs, enum fault_kind kind, uint64_t after, uint64_t count)
{
    LOCKED(vfs);
    vfs->fault = kind;
    vfs->fault_from = vfs->operations + after;
    vfs->fault_to = vfs->fault_from + count;
}

uint64_t fault_vfs_operations(const struct fault_vfs *vfs)
{
    LOCKED(vfs);
    return vfs->operations;
}

/* Counts an operation and says which fault meets it. */
static enum fault_kind next_fault(struct fault_vfs *vfs)
{
    uint64_t number = vfs->operations++;
    return number >= vfs->fault_from && number < vfs->fault_to ? vfs->fault : FAULT_NONE;
}

static bool dead(const struct open_file *file)
{
    return file->generation != file->vfs->generation;
}

/* ---- reading and writing -------------------------------------------------------------------- */

static int disk_read(sqlite3_file *base, void *out, int size, sqlite3_int64 offset)
{
    struct open_file *file = (struct open_file *)base;
    LOCKED(file->vfs);
    const struct content *content = &file->node->visible;
    size_t at = (size_t)offset, count = 0;

    if (dead(file))
        return SQLITE_IOERR_READ;
    if (at < content->size)
        count = content->size - at < (size_t)size ? content->size - at : (size_t)size;
    if (count > 0)
        memcpy(out, content->bytes + at, count);
    memset((char *)out + count, 0, (size_t)size - count);
    return count == (size_t)size ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static void node_write(
    struct file_node *node, const unsigned char *bytes, size_t size, size_t offset)
{
    struct change change = {.offset = offset, .size = size, .bytes = mem_alloc(size, 1)};
    memcpy(change.bytes, bytes, size);
    content_write(&node->visible, offset, bytes, size);
    vec_push(&node->changes, change);
}

static int disk_write(sqlite3_file *base, const void *bytes, int size, sqlite3_int64 offset)
{
    struct open_file *file = (struct open_file *)base;
    LOCKED(file->vfs);
    struct fault_vfs *vfs = file->vfs;
    if (dead(file))
        return SQLITE_IOERR_WRITE;
    enum fault_kind fault = next_fault(vfs);
    size_t whole = (size_t)size, at = (size_t)offset;

    if (fault == FAULT_FULL && at + whole > file->node->visible.size) {
        node_write(file->node, bytes, (size_t)prng_below(&vfs->prng, whole), at);
        return SQLITE_FULL;
    }
    if (fault == FAULT_IO || fault == FAULT_CRASH) {
        node_write(file->node, bytes, (size_t)prng_below(&vfs->prng, whole + 1), at);
        if (fault == FAULT_CRASH)
            fault_vfs_crash(vfs);
        return SQLITE_IOERR_WRITE;
    }
    node_write(file->node, bytes, whole, at);
    return SQLITE_OK;
}

static int disk_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    struct open_file *file = (struct open_file *)base;
    LOCKED(file->vfs);
    if (dead(file))
        return SQLITE_IOERR_TRUNCATE;
    enum fault_kind fault = next_fault(file->vfs);
    struct change change = {.truncation = true, .offset = (size_t)size};

    if (fault == FAULT_IO)
        return SQLITE_IOERR_TRUNCATE;
    content_apply(&file->node->visible, &change);
    vec_push(&file->node->changes, change);
    if (fault != FAULT_CRASH)
        return SQLITE_OK;
    fault_vfs_crash(file->vfs);
    return SQLITE_IOERR_TRUNCATE;
}

static int disk_sync(sqlite3_file *base, int flags)
{
    struct open_file *file = (struct open_file *)base;
    LOCKED(file->vfs);
    (void)flags;
    if (dead(file))
        return SQLITE_IOERR_FSYNC;
    enum fault_kind fault = next_fault(file->vfs);

    if (fault == FAULT_CRASH)
        fault_vfs_crash(file->vfs);
    else if (fault == FAULT_IO || fault == FAULT_SYNC)
        node_sync_in_part(file->vfs, file->node);
    if (fault != FAULT_NONE && fault != FAULT_FULL)
        return SQLITE_IOERR_FSYNC;
    node_sync(file->node);
    if (file->folder_due)
        folder_sync(file->vfs);
    file->folder_due = false;
    return SQLITE_OK;
}

static int disk_size(sqlite3_file *base, sqlite3_int64 *size)
{
    struct open_file *file = (struct open_file *)base;
    LOCKED(file->vfs);
    if (dead(file))
        return SQLITE_IOERR_FSTAT;
    *size = (sqlite3_int64)file->node->visible.size;
    return SQLITE_OK;
}

/* ---- locks --------------------------------------------------------------------------------------
 */

static int disk_lock(sqlite3_file *base, int level)
{
    struct open_file *file = (struct open_file *)base;
    LOCKED(file->vfs);
    struct file_node *node = file->node;

    if (dead(file))
        return SQLITE_IOERR_LOCK;
    if (level <= file->level)
        return SQLITE_OK;
    if (node->exclusive && node->exclusive != file)
        return SQLITE_BUSY;
    if (file->level == SQLITE_LOCK_NONE) {
        node->shared++;
        file->level = SQLITE_LOCK_SHARED;
    }
    if (level >= SQLITE_LOCK_RESERVED) {
        if (node->reserved && node->reserved != file)
            return SQLITE_BUSY;
        if (level == SQLITE_LOCK_EXCLUSIVE && node->shared > 1)
            return SQLITE_BUSY;
        node->reserved = file;
    }
    if (level == SQLITE_LOCK_EXCLUSIVE)
        node->exclusive = file;
    file->level = level;
    return SQLITE_OK;
}

static int disk_unlock(sqlite3_file *base, int level)
{
    struct open_file *file = (struct open_file *)base;
    LOCKED(file->vfs);
    struct file_node *node = file->node;

    if (dead(file) || level >= file->level)
        return SQLITE_OK;
    if (node->exclusive == file)
        node->exclusive = NULL;
    if (node->reserved == file)
        node->reserved = NULL;
    if (level == SQLITE_LOCK_NONE)
        node->shared--;
    file->level = level;
    return SQLITE_OK;
}

static int disk_check_reserved(sqlite3_file *base, int *reserved)
{
    struct open_file *file = (struct open_file *)base;
    LOCKED(file->vfs);
    *reserved = file->node->reserved != NULL;
    return SQLITE_OK;
}

/* ---- the log's index, which connections share in memory
 * --------------------------------------------- */

static int map_get(sqlite3_file *base, int region, int size, int extend, void volatile **ret_region)
{
    struct open_file *file = (struct open_file *)base;
    LOCKED(file->vfs);
    struct file_node *node = file->node;

    if (dead(file))
        return SQLITE_IOERR_SHMMAP;
    if (!file->mapped) {
        file->mapped = true;
        node->map_users++;
    }
    *ret_region = NULL;
    while (extend && node->map.count <= (size_t)region)
        vec_push(&node->map, mem_alloc((size_t)size, 1));
    if (node->map.count > (size_t)region)
        *ret_region = node->map.items[region];
    return SQLITE_OK;
}

static void map_unlock(struct open_file *file, unsigned bits)
{
    for (int i = 0; i < SQLITE_SHM_NLOCK; i++) {
        if (file->map_shared & bits & (1u << i))
            file->node->map_shared[i]--;
        if (file->map_exclusive & bits & (1u << i))
            file->node->map_exclusive[i] = false;
    }
    file->map_shared &= ~bits;
    file->map_exclusive &= ~bits;
}

static int map_lock(sqlite3_file *base, int offset, int count, int flags)
{
    struct open_file *file = (struct open_file *)base;
    LOCKED(file->vfs);
    struct file_node *node = file->node;
    unsigned bits = ((1u << count) - 1) << offset;
    bool exclusive = flags & SQLITE_SHM_EXCLUSIVE;

    if (dead(file))
        return SQLITE_IOERR_SHMLOCK;
    if (flags & SQLITE_SHM_UNLOCK) {
        map_unlock(file, bits);
        return SQLITE_OK;
    }
    for (int i = offset; i < offset + count; i++)
        if (node->map_exclusive[i] || (exclusive && node->map_shared[i] > 0))
            return SQLITE_BUSY;
    for (int i = offset; i < offset + count; i++) {
        node->map_exclusive[i] = exclusive;
        node->map_shared[i] += !exclusive;
    }
    *(exclusive ? &file->map_exclusive : &file->map_shared) |= bits;
    return SQLITE_OK;
}

static void map_barrier(sqlite3_file *base)
{
    (void)base;
}

static int map_drop(sqlite3_file *base, int delete_map)
{
    struct open_file *file = (struct open_file *)base;
    LOCKED(file->vfs);
    struct file_node *node = file->node;
    (void)delete_map;

    if (dead(file) || !file->mapped)
        return SQLITE_OK;
    map_unlock(file, ~0u);
    file->mapped = false;
    if (--node->map_users > 0)
        return SQLITE_OK;
    for (size_t i = 0; i < node->map.count; i++)
        free(node->map.items[i]);
    vec_clear(&node->map);
    return SQLITE_OK;
}

/* ---- opening and closing
 * -------------------------------------------------------------------------- */

static int disk_close(sqlite3_file *base)
{
    struct open_file *file = (struct open_file *)base;
    LOCKED(file->vfs);
    map_drop(base, 0);
    disk_unlock(base, SQLITE_LOCK_NONE);
    file->base.pMethods = NULL;
    return SQLITE_OK;
}

static int disk_control(sqlite3_file *base, int operation, void *argument)
{
    (void)base, (void)operation, (void)argument;
    return SQLITE_NOTFOUND;
}

static int disk_sector_bytes(sqlite3_file *base)
{
    (void)base;
    return SECTOR_BYTES;
}

/* As SQLite assumes of Linux's file systems: a write leaves the bytes beside it alone. */
static int disk_characteristics(sqlite3_file *base)
{
    (void)base;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods disk_methods = {
    .iVersion = 2,
    .xClose = disk_close,
    .xRead = disk_read,
    .xWrite = disk_write,
    .xTruncate = disk_truncate,
    .xSync = disk_sync,
    .xFileSize = disk_size,
    .xLock = disk_lock,
    .xUnlock = disk_unlock,
    .xCheckReservedLock = disk_check_reserved,
    .xFileControl = disk_control,
    .xSectorSize = disk_sector_bytes,
    .xDeviceCharacteristics = disk_characteristics,
    .xShmMap = map_get,
    .xShmLock = map_lock,
    .xShmBarrier = map_barrier,
    .xShmUnmap = map_drop,
};

static struct file_node *find_node(struct fault_vfs *vfs, const char *name)
{
    for (size_t i = 0; name && i < vfs->nodes.count; i++) {
        struct file_node *node = vfs->nodes.items[i];
        if (node->linked && strcmp(node->name, name) == 0)
            return node;
    }
    return NULL;
}

static struct file_node *make_node(struct fault_vfs *vfs, const char *name)
{
    struct file_node *node = mem_alloc(1, sizeof *node);
    node->name = mem_strdup(name);
    node->linked = name != NULL;
    vec_push(&vfs->nodes, node);
    return node;
}

static int vfs_open(
    sqlite3_vfs *base, const char *name, sqlite3_file *out, int flags, int *ret_flags)
{
    struct fault_vfs *vfs = (struct fault_vfs *)base;
    LOCKED(vfs);
    struct open_file *file = (struct open_file *)out;
    struct file_node *node = find_node(vfs, name);

    memset(file, 0, sizeof *file);
    if (vfs->crashed || (!node && name && !(flags & SQLITE_OPEN_CREATE)))
        return SQLITE_CANTOPEN;
    if (!node) {
        enum fault_kind fault = next_fault(vfs);
        if (fault == FAULT_CRASH)
            fault_vfs_crash(vfs);
        if (fault == FAULT_IO || fault == FAULT_CRASH)
            return SQLITE_CANTOPEN;
        node = make_node(vfs, name);
    }
    file->base.pMethods = &disk_methods;
    file->vfs = vfs;
    file->node = node;
    file->generation = vfs->generation;
    file->folder_due = flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL);
    if (ret_flags)
        *ret_flags = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *base, const char *name, int sync_folder)
{
    struct fault_vfs *vfs = (struct fault_vfs *)base;
    LOCKED(vfs);
    struct file_node *node = find_node(vfs, name);

    if (vfs->crashed)
        return SQLITE_IOERR_DELETE;
    if (!node)
        return SQLITE_IOERR_DELETE_NOENT;
    enum fault_kind fault = next_fault(vfs);
    if (fault == FAULT_IO)
        return SQLITE_IOERR_DELETE;
    node->linked = false;
    if (fault == FAULT_CRASH) {
        fault_vfs_crash(vfs);
        return SQLITE_IOERR_DELETE;
    }
    if (sync_folder)
        folder_sync(vfs);
    return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *base, const char *name, int flags, int *ret)
{
    struct fault_vfs *vfs = (struct fault_vfs *)base;
    LOCKED(vfs);
    const struct file_node *node = find_node(vfs, name);
    if (vfs->crashed)
        return SQLITE_IOERR_ACCESS;
    /* As SQLite's own layer: an empty file does not count as existing. */
    *ret = node && (flags != SQLITE_ACCESS_EXISTS || node->visible.size > 0);
    return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *base, const char *name, int size, char *out)
{
    (void)base;
    return snprintf(out, (size_t)size, "%s", name) < size ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int vfs_random(sqlite3_vfs *base, int size, char *out)
{
    struct fault_vfs *vfs = (struct fault_vfs *)base;
    LOCKED(vfs);
    for (int i = 0; i < size; i++)
        out[i] = (char)prng_next(&vfs->prng);
    return size;
}

static int vfs_sleep(sqlite3_vfs *base, int microseconds)
{
    (void)base;
    return microseconds; /* nobody else runs: waiting would change nothing */
}

static int vfs_time(sqlite3_vfs *base, sqlite3_int64 *ret)
{
    (void)base;
    *ret = 0;
    return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *base, int size, char *out)
{
    (void)base, (void)size, (void)out;
    return 0;
}

struct fault_vfs *fault_vfs_create(const char *name, uint64_t seed)
{
    struct fault_vfs *vfs = mem_alloc(1, sizeof *vfs);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&vfs->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    vfs->prng.state = seed;
    vfs->base = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = sizeof(struct open_file),
        .mxPathname = PATH_BYTES_MOST,
        .zName = name,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_path,
        .xRandomness = vfs_random,
        .xSleep = vfs_sleep,
        .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = vfs_time,
    };
    int rc = sqlite3_vfs_register(&vfs->base, 0);
    assert(rc == SQLITE_OK);
    (void)rc;
    return vfs;
}

static void node_destroy(struct file_node *node)
{
    node_forget_changes(node);
    vec_free(&node->changes);
    for (size_t i = 0; i < node->map.count; i++)
        free(node->map.items[i]);
    vec_free(&node->map);
    free(node->visible.bytes);
    free(node->durable.bytes);
    free(node->name);
    free(node);
}

void fault_vfs_destroy(struct fault_vfs *vfs)
{
    if (!vfs)
        return;
    sqlite3_vfs_unregister(&vfs->base);
    for (size_t i = 0; i < vfs->nodes.count; i++)
        node_destroy(vfs->nodes.items[i]);
    vec_free(&vfs->nodes);
    for (size_t i = 0; i < vfs->old_maps.count; i++)
        free(vfs->old_maps.items[i]);
    vec_free(&vfs->old_maps);
    pthread_mutex_destroy(&vfs->lock);
    free(vfs);
}
