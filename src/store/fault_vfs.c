/* The file layer for tests, as SQLite sees it: names, opening, and what is neither a disk nor a
 * clock. See fault_vfs.h. */
#include "store/fault_parts.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { PATH_BYTES_MOST = 512 };

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
