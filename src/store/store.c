/* The store: a folder with its lock, the writer on its database, epoch and tick.
 *
 * After a commit that failed for certain, the writer rolled back and goes on. After one whose
 * outcome is unknown the store refuses to write until store_settle has found it out: it writes the
 * log's bytes anew and syncs them, since a sync that failed once may well succeed the next time
 * without having stored anything; opens the database again; reads the fence; and commits a change
 * of the fence alone, which ends the log behind whatever it found there. Only then is its word
 * good, in either direction, even if the machine stops a moment later. */
#include "store/store.h"

#include "base/file.h"
#include "base/memory.h"
#include "store/backup.h"
#include "store/log_file.h"
#include "store/row_sql.h"
#include "store/schema.h"
#include "store/writer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    LOG_PAGES_DUE = 2000,    /* 8 MB: a checkpoint is worth its syncs */
    LOG_PAGES_MOST = 16000,  /* 64 MB: commits make one themselves */
    CHECK_PAGES_MOST = 4096, /* an opening reads the whole of a database up to 16 MB */
    AUDIT_PRUNE_MOST = 100000,
};

struct store {
    char *dir;
    char *path;
    char *vfs;
    int lock_fd;
    struct writer *writer; /* NULL after a failed reopening */
    int64_t epoch;
    int64_t next_tick;
    int log_pages_due;
    bool unsettled; /* the last commit's outcome is unknown */
    struct audit_head head;
    struct audit_key key;
    bool has_key;
    struct store_backup *backup; /* under way, or NULL */
};

int64_t store_epoch(const struct store *store)
{
    return store->epoch;
}

int64_t store_next_tick(const struct store *store)
{
    return store->next_tick;
}

/* ---- opening -------------------------------------------------------------------------------- */

static int take_lock(struct store *store, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf path = {0};
    strbuf_printf(&path, "%s/lock", store->dir);
    store->lock_fd = open(path.text, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (store->lock_fd < 0)
        return error_set_errno(err, "cannot open %s", path.text);
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return error_set(err, ERR_CONFLICT, "another process uses the store in %s", store->dir);
    return error_set_errno(err, "cannot lock %s", path.text);
}

static int sync_folder(const char *dir, struct error *err)
{
    SCOPED(fd_scope) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return error_set_errno(err, "cannot sync the folder %s", dir);
    return 0;
}

/* SQLite would make the file readable by all; the log gets the mode of the database. */
static int make_database_file(const struct store *store, struct error *err)
{
    SCOPED(fd_scope) int fd = open(store->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno != EEXIST)
        return error_set_errno(err, "cannot create %s", store->path);
    return fd < 0 ? 0 : sync_folder(store->dir, err);
}

/* A large database is read through by backup's restore and `verify`, not at each start: SQLite
 * finds a damaged page when it comes to it. */
static int check_whole(sqlite3 *db, struct error *err)
{
    int64_t pages = 0;
    if (sql_number(db, "PRAGMA page_count", &pages, err) < 0)
        return -1;
    return pages > CHECK_PAGES_MOST ? 0 : sql_check(db, false, err);
}

/* Takes over what the database says of the tick and the chain. ERR_CONFLICT: another epoch. */
static int adopt_fence(struct store *store, struct error *err)
{
    sqlite3 *db = writer_database(store->writer);
    int64_t epoch = 0, tick = 0;
    struct audit_head head;

    if (sql_number(db, "SELECT epoch FROM fence", &epoch, err) < 0 ||
        sql_number(db, "SELECT tick FROM fence", &tick, err) < 0 ||
        audit_verify_head(db, &head, err) < 0)
        return -1;
    if (epoch != store->epoch)
        return error_set(err, ERR_CONFLICT, "the store is at epoch %lld, not %lld: somebody leads",
            (long long)epoch, (long long)store->epoch);
    store->next_tick = tick + 1;
    store->head = head;
    return 0;
}

static int open_database(struct store *store, struct error *err)
{
    /* The last process may have ended on a failed sync: what its log shows us is then not on the
     * disk, and nothing that is written behind it would survive. */
    if (make_database_file(store, err) < 0 || log_file_rewrite(store->path, store->vfs, err) < 0 ||
        writer_open(store->path, store->vfs, &store->writer, err) < 0)
        return -1;
    sqlite3 *db = writer_database(store->writer);
    if (check_whole(db, err) < 0 || schema_prepare(db, &schema_current, &store->epoch, err) < 0)
        return -1;
    return adopt_fence(store, err);
}

static void store_scope(struct store **store)
{
    store_close(*store);
}

int store_open(const char *dir, const struct store_options *options, struct store **ret_store,
    struct error *err)
{
    assert(dir && ret_store);
    SCOPED(store_scope) struct store *store = mem_alloc(1, sizeof *store);
    SCOPED(strbuf_finish) struct strbuf path = {0};

    strbuf_printf(&path, "%s/%s", dir, STORE_FILE);
    store->lock_fd = -1;
    store->dir = mem_strdup(dir);
    store->path = strbuf_steal(&path);
    store->vfs = mem_strdup(options ? options->vfs : NULL);
    store->log_pages_due =
        options && options->log_pages_due ? options->log_pages_due : LOG_PAGES_DUE;
    if (file_make_dirs(dir, 0700, err) < 0 || take_lock(store, err) < 0)
        return -1;
    if (open_database(store, err) < 0)
        return error_prefix(err, "%s", dir);
    *ret_store = store;
    store = NULL;
    return 0;
}

static void close_writer(struct store *store)
{
    if (store->backup)
        store_backup_abort(store->backup);
    store->backup = NULL;
    writer_close(store->writer);
    store->writer = NULL;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    close_writer(store);
    fd_scope(&store->lock_fd);
    sodium_memzero(&store->key, sizeof store->key);
    free(store->vfs);
    free(store->path);
    free(store->dir);
    free(store);
}

/* Opens the database anew in the same epoch. */
static int reopen(struct store *store, struct error *err)
{
    close_writer(store);
    if (writer_open(store->path, store->vfs, &store->writer, err) < 0)
        return -1;
    if (adopt_fence(store, err) == 0)
        return 0;
    close_writer(store);
    return -1;
}

/* ---- loading -------------------------------------------------------------------------------- */

static int load_kind(
    sqlite3 *db, enum row_kind kind, store_row_fn *visit, void *context, struct error *err)
{
    const struct row_type *type = row_type(kind);
    SCOPED(strbuf_finish) struct strbuf sql = {0};
    SCOPED(sql_statement_scope) sqlite3_stmt *statement = NULL;
    SCOPED(mem_scope) void *row = mem_alloc(1, type->size);
    int more;

    row_sql_select(&sql, type);
    strbuf_puts(&sql, " WHERE live = 1 ORDER BY id");
    if (sql_prepare(db, sql.text, &statement, err) < 0)
        return -1;
    while ((more = sql_next(statement, err)) > 0)
        if (row_read(statement, type, row, err) < 0 || visit(context, kind, row, err) < 0)
            return -1;
    return more;
}

static int load_kinds(sqlite3 *db, store_row_fn *visit, void *context, struct error *err)
{
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++)
        if (!row_type((enum row_kind)kind)->history &&
            load_kind(db, (enum row_kind)kind, visit, context, err) < 0)
            return -1;
    return 0;
}

int store_load(struct store *store, store_row_fn *visit, void *context, struct error *err)
{
    assert(store && visit);
    if (!writer_usable(store->writer) && reopen(store, err) < 0)
        return -1;
    sqlite3 *db = writer_database(store->writer);
    if (sql_exec(db, "BEGIN", err) < 0)
        return -1;
    int result = load_kinds(db, visit, context, err);
    (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return result;
}

/* ---- committing ----------------------------------------------------------------------------- */

int store_commit(struct store *store, struct store_txn *txn, struct error *err)
{
    assert(store && txn);
    struct error failure = {0};
    if (store->unsettled)
        return error_set(err, ERR_UNAVAILABLE, "the last commit has to be settled first");
    if (!writer_usable(store->writer) && reopen(store, err) < 0)
        return -1;
    if (writer_commit(
            store->writer, txn, &store->head, store->has_key ? &store->key : NULL, &failure) < 0) {
        store->unsettled = failure.code == ERR_UNKNOWN;
        return error_set(err, failure.code, "%s", failure.text);
    }
    store->next_tick = txn->tick + 1;
    if (writer_log_pages(store->writer) >= LOG_PAGES_MOST)
        writer_checkpoint(store->writer);
    return 0;
}

int store_settle(struct store *store, int64_t tick, bool *ret_committed, struct error *err)
{
    assert(store && tick > 0 && ret_committed);
    close_writer(store);
    store->unsettled = true;
    if (log_file_rewrite(store->path, store->vfs, err) < 0 || reopen(store, err) < 0 ||
        writer_touch_fence(store->writer, store->epoch, err) < 0)
        return error_prefix(
            err, "what became of tick %lld cannot be found out now", (long long)tick);
    store->unsettled = false;
    *ret_committed = store->next_tick > tick;
    return 0;
}

void store_checkpoint(struct store *store)
{
    if (!store->unsettled && writer_usable(store->writer) &&
        writer_log_pages(store->writer) >= store->log_pages_due)
        writer_checkpoint(store->writer);
}

int64_t store_free_bytes(const struct store *store)
{
    struct statvfs volume;
    if (statvfs(store->dir, &volume) < 0)
        return 0;
    return (int64_t)volume.f_bavail * (int64_t)volume.f_frsize;
}

/* ---- retention and backup: what needs the store's own ------------------------------------------
 */

/* A key is made only while nothing was ever signed: a lost one is not replaced in silence. */
static int need_key(struct store *store, struct error *err)
{
    int64_t signed_count = 0;
    if (store->has_key)
        return 0;
    if (!writer_usable(store->writer) && reopen(store, err) < 0)
        return -1;
    if (sql_number(writer_database(store->writer), "SELECT count(*) FROM audit_checkpoint",
            &signed_count, err) < 0 ||
        audit_key_load(store->dir, signed_count == 0, &store->key, err) < 0)
        return -1;
    store->has_key = true;
    return 0;
}

int store_txn_audit_prune(
    struct store *store, struct store_txn *txn, int64_t before_ms, struct error *err)
{
    assert(store && txn);
    if (need_key(store, err) < 0)
        return -1;
    struct operation *operation = store_txn_add(txn, OPERATION_AUDIT_PRUNE);
    operation->prune.before_ms = before_ms;
    operation->prune.most = AUDIT_PRUNE_MOST;
    return 0;
}

int store_backup_begin(
    struct store *store, const char *path, struct store_backup **ret, struct error *err)
{
    assert(store && path && ret);
    if (store->backup)
        return error_set(err, ERR_CONFLICT, "a backup is already under way");
    if (store->unsettled)
        return error_set(err, ERR_UNAVAILABLE, "the last commit has to be settled first");
    if (!writer_usable(store->writer) && reopen(store, err) < 0)
        return -1;
    if (store_backup_create(writer_database(store->writer), path, &store->backup, err) < 0)
        return -1;
    *ret = store->backup;
    return 0;
}

void store_backup_end(struct store *store, struct store_backup *backup)
{
    if (!backup)
        return;
    if (store->backup == backup)
        store->backup = NULL;
    store_backup_destroy(backup);
}

int store_backup(struct store *store, const char *path, struct error *err)
{
    struct store_backup *backup = NULL;
    bool done = false;
    int result = 0;

    if (store_backup_begin(store, path, &backup, err) < 0)
        return -1;
    while (result == 0 && !done)
        result = store_backup_step(backup, &done, err);
    store_backup_end(store, backup);
    return result;
}
