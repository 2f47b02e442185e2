/* The log as a file, reached through SQLite's own file layer, so that a test's faults meet it. */
#include "store/log_file.h"

#include "base/memory.h"
#include "base/strbuf.h"

#include <assert.h>
#include <sqlite3.h>

enum { PIECE_BYTES = 64 * 1024 };

static int rewrite(sqlite3_file *file, struct error *err)
{
    SCOPED(mem_scope) char *piece = mem_alloc(PIECE_BYTES, 1);
    sqlite3_int64 size = 0;

    if (file->pMethods->xFileSize(file, &size) != SQLITE_OK)
        return error_set(err, ERR_IO, "cannot tell the size of the store's log");
    for (sqlite3_int64 at = 0; at < size; at += PIECE_BYTES) {
        int count = size - at < PIECE_BYTES ? (int)(size - at) : PIECE_BYTES;
        if (file->pMethods->xRead(file, piece, count, at) != SQLITE_OK)
            return error_set(err, ERR_IO, "cannot read the store's log");
        if (file->pMethods->xWrite(file, piece, count, at) != SQLITE_OK)
            return error_set(err, ERR_IO, "cannot write the store's log");
    }
    if (file->pMethods->xSync(file, SQLITE_SYNC_NORMAL) != SQLITE_OK)
        return error_set(err, ERR_IO, "cannot sync the store's log");
    return 0;
}

static int open_and_rewrite(sqlite3_vfs *layer, const char *log_path, struct error *err)
{
    SCOPED(mem_scope) sqlite3_file *file = mem_alloc(1, (size_t)layer->szOsFile);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_WAL, exists = 0;

    if (layer->xAccess(layer, log_path, SQLITE_ACCESS_EXISTS, &exists) != SQLITE_OK)
        return error_set(err, ERR_IO, "cannot look for the store's log");
    if (!exists)
        return 0;
    if (layer->xOpen(layer, log_path, file, flags, &flags) != SQLITE_OK)
        return error_set(err, ERR_IO, "cannot open the store's log");
    int result = rewrite(file, err);
    file->pMethods->xClose(file);
    return result;
}

int log_file_rewrite(const char *path, const char *vfs, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf log = {0};
    SCOPED(strbuf_finish) struct strbuf journal = {0};
    sqlite3_vfs *layer = sqlite3_vfs_find(vfs);

    assert(path && layer);
    strbuf_printf(&log, "%s-wal", path);
    strbuf_printf(&journal, "%s-journal", path);
    /* Names that a file layer gets have to be made by SQLite: it looks behind their ends. */
    sqlite3_filename name = sqlite3_create_filename(path, journal.text, log.text, 0, NULL);
    if (!name)
        return error_set(err, ERR_UNAVAILABLE, "no memory for a file name");
    int result = open_and_rewrite(layer, sqlite3_filename_wal(name), err);
    sqlite3_free_filename(name);
    return result;
}
