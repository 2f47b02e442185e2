/* Locks of the file layer for tests: of files, and of the log's index. */
#include "store/fault_parts.h"

#include <stdlib.h>

/* ---- of a file -------------------------------------------------------------------------------
 */

int disk_lock(sqlite3_file *base, int level)
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

int disk_unlock(sqlite3_file *base, int level)
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

int disk_check_reserved(sqlite3_file *base, int *reserved)
{
    struct open_file *file = (struct open_file *)base;
    LOCKED(file->vfs);
    *reserved = file->node->reserved != NULL;
    return SQLITE_OK;
}

/* ---- the log's index, which connections share in memory --------------------------------------
 */

int map_get(sqlite3_file *base, int region, int size, int extend, void volatile **ret_region)
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

int map_lock(sqlite3_file *base, int offset, int count, int flags)
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

void map_barrier(sqlite3_file *base)
{
    (void)base;
}

int map_drop(sqlite3_file *base, int delete_map)
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
