/* SQLite, set up one way.
 *
 * SQLite 3.40.1 can lose a checkpoint when one connection resets the write-ahead log while another
 * checkpoints. So exactly one connection, the writer's, writes, checkpoints and backs up: it turns
 * automatic checkpoints off and does them by hand, and readers neither checkpoint nor write. */
#include "store/sql.h"

#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { BUSY_MS = 5000 };

static const struct sql_setting {
    int flags;
    const char *pragmas;
} settings[] = {
    [SQL_WRITER] = {SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
        "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=67108864;"
        "PRAGMA cache_spill=OFF; PRAGMA cache_size=-4096;"},
    [SQL_READER] = {SQLITE_OPEN_READONLY, "PRAGMA query_only=ON; PRAGMA cache_size=-512;"},
    [SQL_SOLITARY] = {SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
        "PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL; PRAGMA cache_size=-1024;"},
    [SQL_IMMUTABLE] = {SQLITE_OPEN_READONLY | SQLITE_OPEN_URI,
        "PRAGMA query_only=ON; PRAGMA cache_size=-1024;"},
};

static const char common_pragmas[] =
    "PRAGMA mmap_size=0; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;"
    "PRAGMA temp_store=MEMORY;";

static const struct sql_failure {
    int sqlite;
    enum error_code code;
} failures[] = {
    {SQLITE_FULL, ERR_FULL},
    {SQLITE_IOERR, ERR_IO},
    {SQLITE_CANTOPEN, ERR_IO},
    {SQLITE_READONLY, ERR_IO},
    {SQLITE_PERM, ERR_IO},
    {SQLITE_BUSY, ERR_UNAVAILABLE},
    {SQLITE_LOCKED, ERR_UNAVAILABLE},
    {SQLITE_PROTOCOL, ERR_UNAVAILABLE},
    {SQLITE_NOMEM, ERR_UNAVAILABLE},
    {SQLITE_INTERRUPT, ERR_UNAVAILABLE},
    {SQLITE_CORRUPT, ERR_CORRUPT},
    {SQLITE_NOTADB, ERR_CORRUPT},
};

/* SQLite keeps no errno for a COMMIT that failed; the log's file does. 0: none is known. */
static int system_errno(sqlite3 *db)
{
    sqlite3_file *log = NULL;
    int last = sqlite3_system_errno(db);

    if (last || (sqlite3_errcode(db) & 0xff) != SQLITE_IOERR)
        return last;
    if (sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK && log &&
        log->pMethods)
        (void)log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &last);
    return last;
}

static enum error_code code_of(sqlite3 *db)
{
    int primary = sqlite3_errcode(db) & 0xff;
    int system = system_errno(db);

    /* A quota or a file size limit that stops a write is a full disk to us; SQLite knows ENOSPC
     * alone as one. A sync that fails so is another matter: the write was accepted. */
    if (sqlite3_extended_errcode(db) == SQLITE_IOERR_WRITE && (system == EDQUOT || system == EFBIG))
        return ERR_FULL;
    for (size_t i = 0; i < ARRAY_LEN(failures); i++)
        if (failures[i].sqlite == primary)
            return failures[i].code;
    return ERR_INTERNAL;
}

int sql_error(sqlite3 *db, struct error *err, const char *doing)
{
    assert(db);
    int system = system_errno(db);
    int primary = sqlite3_errcode(db) & 0xff;
    bool from_system = system && (primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN);
    return error_set(err, code_of(db), "the store cannot %s: %s (SQLite %d)%s%s", doing,
        sqlite3_errmsg(db), sqlite3_extended_errcode(db), from_system ? ": " : "",
        from_system ? strerror(system) : "");
}

static int configure(sqlite3 *db, enum sql_mode mode, struct error *err)
{
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, BUSY_MS);
    if (sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL) != SQLITE_OK ||
        sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, mode == SQL_READER, NULL) !=
            SQLITE_OK)
        return sql_error(db, err, "configure a connection");
    if (sql_exec(db, common_pragmas, err) < 0)
        return -1;
    return sql_exec(db, settings[mode].pragmas, err);
}

/* file:PATH?immutable=1, with what a URI would misread written as %XX. */
static char *immutable_uri(const char *path)
{
    static const char hex[] = "0123456789ABCDEF";
    char *uri = mem_alloc(strlen(path) * 3 + 32, 1), *out = uri + sprintf(uri, "file:");
    for (const char *s = path; *s; s++) {
        if (!strchr("%?#", *s)) {
            *out++ = *s;
            continue;
        }
        *out++ = '%';
        *out++ = hex[(unsigned char)*s >> 4];
        *out++ = hex[*s & 15];
    }
    strcpy(out, "?immutable=1");
    return uri;
}

int sql_open(
    const char *path, const char *vfs, enum sql_mode mode, sqlite3 **ret, struct error *err)
{
    assert(path && ret);
    SCOPED(mem_scope) char *uri = mode == SQL_IMMUTABLE ? immutable_uri(path) : NULL;
    SCOPED(sql_scope) sqlite3 *db = NULL;
    int flags = settings[mode].flags | SQLITE_OPEN_NOMUTEX;

    if (sqlite3_open_v2(uri ? uri : path, &db, flags, vfs) != SQLITE_OK) {
        if (!db)
            return error_set(err, ERR_UNAVAILABLE, "no memory to open %s", path);
        sql_error(db, err, "open its database");
        return error_prefix(err, "%s", path);
    }
    if (configure(db, mode, err) < 0)
        return error_prefix(err, "%s", path);
    *ret = db;
    db = NULL;
    return 0;
}

void sql_close(sqlite3 *db)
{
    if (!db)
        return;
    int rc = sqlite3_close(db);
    assert(rc == SQLITE_OK); /* otherwise a statement or a backup is still open */
    (void)rc;
}

int sql_exec(sqlite3 *db, const char *sql, struct error *err)
{
    assert(db && sql);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return sql_error(db, err, "run a statement");
    return 0;
}

int sql_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret, struct error *err)
{
    assert(db && sql && ret);
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) != SQLITE_OK)
        return sql_error(db, err, "prepare a statement");
    *ret = statement;
    return 0;
}

int sql_next(sqlite3_stmt *statement, struct error *err)
{
    assert(statement);
    int rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        return 1;
    if (rc != SQLITE_DONE)
        sql_error(sqlite3_db_handle(statement), err, "run a statement");
    sqlite3_reset(statement);
    return rc == SQLITE_DONE ? 0 : -1;
}

int sql_run(sqlite3_stmt *statement, struct error *err)
{
    for (;;) {
        int more = sql_next(statement, err);
        if (more <= 0)
            return more;
    }
}

int sql_number(sqlite3 *db, const char *sql, int64_t *ret, struct error *err)
{
    SCOPED(sql_statement_scope) sqlite3_stmt *statement = NULL;
    if (sql_prepare(db, sql, &statement, err) < 0)
        return -1;
    int more = sql_next(statement, err);
    if (more < 0)
        return -1;
    if (more == 0)
        return error_set(err, ERR_NOT_FOUND, "the store has no such row");
    *ret = sqlite3_column_int64(statement, 0);
    return 0;
}

int sql_check(sqlite3 *db, bool thoroughly, struct error *err)
{
    const char *sql = thoroughly ? "PRAGMA integrity_check(1)" : "PRAGMA quick_check(1)";
    SCOPED(sql_statement_scope) sqlite3_stmt *statement = NULL;
    if (sql_prepare(db, sql, &statement, err) < 0 || sql_next(statement, err) < 0)
        return -1;
    const char *found = sql_text(statement, 0);
    if (strcmp(found, "ok") != 0)
        return error_set(err, ERR_CORRUPT, "the store's database is damaged: %s", found);
    return 0;
}

const char *sql_text(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    return text ? text : "";
}

void sql_bind_text(sqlite3_stmt *statement, int index, const char *text)
{
    int rc = sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
    assert(rc == SQLITE_OK);
    (void)rc;
}

void sql_scope(sqlite3 **db)
{
    sql_close(*db);
}

void sql_statement_scope(sqlite3_stmt **statement)
{
    sqlite3_finalize(*statement);
}

void sql_reset_scope(sqlite3_stmt **statement)
{
    sqlite3_reset(*statement);
}
