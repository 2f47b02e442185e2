/* Open files of the file layer for tests: what SQLite may ask of one, and which fault meets it. */
#include "store/fault_parts.h"

#include <string.h>

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

const sqlite3_io_methods disk_methods = {
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
