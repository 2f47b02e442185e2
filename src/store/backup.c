/* Backup and restore.
 *
 * A backup is written beside its name (".part"), turned into a single file without a log, synced,
 * and only then linked to its name, which must not exist: what has the name is whole. The copy runs
 * on the writer's connection: SQLite then carries every commit made meanwhile into the pages that
 * were copied already, so it never starts over. */
#include "store/backup.h"

#include "base/file.h"
#include "base/memory.h"
#include "store/audit.h"
#include "store/schema.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEP_PAGES = 256, RESTORE_STEPS_MOST = 1 << 24 };

struct store_backup {
    char *path;
    char *part;
    sqlite3 *copy;
    sqlite3_backup *handle; /* NULL once aborted or finished */
};

static int sync_path(const char *path, int flags, struct error *err)
{
    SCOPED(fd_scope) int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return error_set_errno(err, "cannot sync %s", path);
    return 0;
}

/* Gives a finished file its name, which must be free, durably. */
static int publish(const char *part, const char *path, struct error *err)
{
    SCOPED(mem_scope) char *copy = mem_strdup(path);
    if (sync_path(part, O_RDONLY, err) < 0)
        return -1;
    if (link(part, path) < 0) {
        if (errno == EEXIST)
            return error_set(err, ERR_CONFLICT, "%s exists already", path);
        return error_set_errno(err, "cannot link %s to %s", part, path);
    }
    if (unlink(part) < 0)
        return error_set_errno(err, "cannot remove %s", part);
    return sync_path(dirname(copy), O_RDONLY | O_DIRECTORY, err);
}

/* A new, empty file only we can read; what an earlier, broken attempt left is removed. */
static int make_part(const char *part, struct error *err)
{
    if (unlink(part) < 0 && errno != ENOENT)
        return error_set_errno(err, "cannot remove %s", part);
    SCOPED(fd_scope) int fd = open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_set_errno(err, "cannot create %s", part);
    return 0;
}

static int copy_begin(struct store_backup *backup, sqlite3 *db, struct error *err)
{
    if (make_part(backup->part, err) < 0 ||
        sql_open(backup->part, NULL, SQL_SOLITARY, &backup->copy, err) < 0)
        return -1;
    backup->handle = sqlite3_backup_init(backup->copy, "main", db, "main");
    return backup->handle ? 0 : sql_error(backup->copy, err, "begin a backup");
}

static void backup_scope(struct store_backup **backup)
{
    store_backup_destroy(*backup);
}

int store_backup_create(sqlite3 *db, const char *path, struct store_backup **ret, struct error *err)
{
    assert(db && path && ret);
    SCOPED(strbuf_finish) struct strbuf part = {0};
    if (access(path, F_OK) == 0)
        return error_set(err, ERR_CONFLICT, "%s exists already", path);
    SCOPED(backup_scope) struct store_backup *backup = mem_alloc(1, sizeof *backup);
    strbuf_printf(&part, "%s.part", path);
    backup->path = mem_strdup(path);
    backup->part = strbuf_steal(&part);
    if (copy_begin(backup, db, err) < 0)
        return error_prefix(err, "%s", path);
    *ret = backup;
    backup = NULL;
    return 0;
}

void store_backup_abort(struct store_backup *backup)
{
    (void)sqlite3_backup_finish(backup->handle);
    backup->handle = NULL;
}

void store_backup_destroy(struct store_backup *backup)
{
    if (!backup)
        return;
    store_backup_abort(backup);
    sql_close(backup->copy);
    if (backup->part)
        unlink(backup->part);
    free(backup->part);
    free(backup->path);
    free(backup);
}

/* The copy of a database with a log says that it has one: undo that, and it is a single file. */
static int copy_finish(struct store_backup *backup, struct error *err)
{
    int rc = sqlite3_backup_finish(backup->handle);
    backup->handle = NULL;
    if (rc != SQLITE_OK)
        return sql_error(backup->copy, err, "finish a backup");
    if (sql_exec(backup->copy, "PRAGMA journal_mode=DELETE", err) < 0)
        return -1;
    sql_close(backup->copy);
    backup->copy = NULL;
    return publish(backup->part, backup->path, err);
}

int store_backup_step(struct store_backup *backup, bool *ret_done, struct error *err)
{
    assert(backup && ret_done);
    if (!backup->handle)
        return error_set(
            err, ERR_UNAVAILABLE, "the backup was broken off: the store was opened anew");
    int rc = sqlite3_backup_step(backup->handle, STEP_PAGES);
    if (rc == SQLITE_DONE) {
        if (copy_finish(backup, err) < 0)
            return -1;
        *ret_done = true;
        return 0;
    }
    if (rc != SQLITE_OK) {
        int finished = sqlite3_backup_finish(backup->handle);
        backup->handle = NULL;
        (void)finished; /* the same code as rc; it leaves the text with the copy's connection */
        return sql_error(backup->copy, err, "copy its database");
    }
    *ret_done = false;
    return 0;
}

/* ---- restoring --------------------------------------------------------------------------------
 */

static int check_backup(sqlite3 *db, struct error *err)
{
    if (sql_check(db, true, err) < 0 || schema_check(db, &schema_current, err) < 0)
        return -1;
    return audit_verify(db, NULL, NULL, err);
}

/* The key is no part of a backup: the restored store has a new one, and the checkpoint, whose
 * signature was checked, is signed with it. */
static int sign_again(const char *part, const char *dir, struct error *err)
{
    SCOPED(sql_scope) sqlite3 *db = NULL;
    struct audit_checkpoint checkpoint;
    struct audit_key key;
    struct error failure = {0};

    if (sql_open(part, NULL, SQL_SOLITARY, &db, err) < 0)
        return -1;
    if (audit_checkpoint_read(db, &checkpoint, &failure) < 0)
        return failure.code == ERR_NOT_FOUND ? 0 : error_set(err, failure.code, "%s", failure.text);
    if (audit_key_load(dir, true, &key, err) < 0)
        return -1;
    return audit_checkpoint_write(db, &checkpoint, &key, err);
}

static int copy_checked(const char *backup_path, const char *part, struct error *err)
{
    SCOPED(sql_scope) sqlite3 *db = NULL;
    SCOPED(backup_scope) struct store_backup *copy = mem_alloc(1, sizeof *copy);
    int rc = SQLITE_OK;

    if (sql_open(backup_path, NULL, SQL_IMMUTABLE, &db, err) < 0 || check_backup(db, err) < 0)
        return error_prefix(err, "%s", backup_path);
    copy->part = mem_strdup(part);
    if (copy_begin(copy, db, err) < 0)
        return -1;
    for (int i = 0; rc == SQLITE_OK && i < RESTORE_STEPS_MOST; i++)
        rc = sqlite3_backup_step(copy->handle, STEP_PAGES);
    store_backup_abort(copy);
    if (rc != SQLITE_DONE)
        return sql_error(copy->copy, err, "copy a backup");
    free(copy->part); /* finished: it is not to be removed */
    copy->part = NULL;
    return 0;
}

/* A log left behind by a store that is gone counts as one: SQLite would replay it. */
static int refuse_used(const char *path, struct error *err)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        SCOPED(strbuf_finish) struct strbuf file = {0};
        strbuf_printf(&file, "%s%s", path, ends[i]);
        if (access(file.text, F_OK) == 0)
            return error_set(err, ERR_CONFLICT, "there is a store already: %s", file.text);
    }
    return 0;
}

int store_restore(const char *dir, const char *backup_path, struct error *err)
{
    assert(dir && backup_path);
    SCOPED(strbuf_finish) struct strbuf path = {0};
    SCOPED(strbuf_finish) struct strbuf part = {0};

    strbuf_printf(&path, "%s/%s", dir, STORE_FILE);
    strbuf_printf(&part, "%s.part", path.text);
    if (refuse_used(path.text, err) < 0)
        return -1;
    if (access(backup_path, R_OK) < 0)
        return error_set(err, ERR_NOT_FOUND, "cannot read %s: %s", backup_path, strerror(errno));
    if (file_make_dirs(dir, 0700, err) < 0 || copy_checked(backup_path, part.text, err) < 0)
        return -1;
    if (sign_again(part.text, dir, err) < 0 || publish(part.text, path.text, err) < 0) {
        unlink(part.text);
        return -1;
    }
    return 0;
}
