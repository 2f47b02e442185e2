/* Applying transactions to the database.
 *
 * Invariants: 1. between calls no transaction is open, or the writer is not usable. 2. The first
 * statement of a transaction moves the fence from (epoch, tick - 1) to (epoch, tick), so what a
 * deposed leader or a stale tick writes is refused before anything else is touched. 3. Nothing of a
 * transaction reaches the log before COMMIT (cache_spill is off), so a failure before it means
 * that nothing is stored; see commit_error() for a failure at it. */
#include "store/writer.h"

#include "store/retention.h"
#include "store/row_sql.h"

#include <assert.h>
#include <string.h>

enum fixed_statement {
    STATEMENT_BEGIN,
    STATEMENT_COMMIT,
    STATEMENT_FENCE,
    STATEMENT_FENCE_AUDIT,
    STATEMENT_PUT_DOCUMENT,
    STATEMENT_DELETE_DOCUMENT,
    STATEMENT_AUDIT,
    STATEMENT_COUNT
};

static const char *const fixed_sql[] = {
    [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_FENCE] = "UPDATE fence SET tick = ?2 WHERE id = 1 AND epoch = ?1 AND tick = ?2 - 1",
    [STATEMENT_FENCE_AUDIT] = "UPDATE fence SET audit_sequence = ?, audit_hash = ? WHERE id = 1",
    [STATEMENT_PUT_DOCUMENT] =
        "INSERT INTO document(collection, key, scope, revision, at_ms, json)"
        " VALUES(?, ?, ?, ?, ?, ?) ON CONFLICT(collection, key) DO UPDATE SET"
        " scope = excluded.scope, revision = excluded.revision, at_ms = excluded.at_ms,"
        " json = excluded.json",
    [STATEMENT_DELETE_DOCUMENT] = "DELETE FROM document WHERE collection = ? AND key = ?",
    [STATEMENT_AUDIT] =
        ("INSERT INTO audit(sequence, tick, at_ms, actor, action, kind, name, team, detail, hash)"
         " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
};

struct writer {
    sqlite3 *db;
    int log_pages;
    int tried_pages; /* of the log when a checkpoint was last tried */
    sqlite3_stmt *fixed[STATEMENT_COUNT];
    sqlite3_stmt *put[ROW_KIND_COUNT][2]; /* of rows that are not live, of live ones */
    sqlite3_stmt *delete[ROW_KIND_COUNT];
};

/* What operations share while a transaction is applied. */
struct application {
    struct writer *writer;
    int64_t tick;
    struct audit_head head;
    const struct audit_key *key;
};

static int count_log_pages(void *context, sqlite3 *db, const char *database, int pages)
{
    struct writer *writer = context;
    (void)db, (void)database;
    writer->log_pages = pages;
    if (pages < writer->tried_pages) /* the log began anew */
        writer->tried_pages = 0;
    return SQLITE_OK;
}

/* Where there is no shared memory SQLite falls back to a journal, and readers would block us. */
static int check_log_mode(sqlite3 *db, struct error *err)
{
    SCOPED(sql_statement_scope) sqlite3_stmt *statement = NULL;
    if (sql_prepare(db, "PRAGMA journal_mode", &statement, err) < 0 || sql_next(statement, err) < 0)
        return -1;
    if (strcmp(sql_text(statement, 0), "wal") != 0)
        return error_set(err, ERR_UNAVAILABLE,
            "the file system of the store cannot keep a write-ahead log (it has mode %s)",
            sql_text(statement, 0));
    return 0;
}

int writer_open(const char *path, const char *vfs, struct writer **ret, struct error *err)
{
    assert(path && ret);
    SCOPED(sql_scope) sqlite3 *db = NULL;
    if (sql_open(path, vfs, SQL_WRITER, &db, err) < 0 || check_log_mode(db, err) < 0)
        return -1;
    struct writer *writer = mem_alloc(1, sizeof *writer);
    writer->db = db;
    db = NULL;
    sqlite3_wal_hook(writer->db, count_log_pages, writer);
    *ret = writer;
    return 0;
}

void writer_close(struct writer *writer)
{
    if (!writer)
        return;
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(writer->fixed[i]);
    for (size_t i = 0; i < ROW_KIND_COUNT; i++) {
        sqlite3_finalize(writer->put[i][false]);
        sqlite3_finalize(writer->put[i][true]);
        sqlite3_finalize(writer->delete[i]);
    }
    sql_close(writer->db);
    free(writer);
}

sqlite3 *writer_database(struct writer *writer)
{
    assert(writer);
    return writer->db;
}

bool writer_usable(const struct writer *writer)
{
    return writer && sqlite3_get_autocommit(writer->db);
}

int writer_log_pages(const struct writer *writer)
{
    return writer->log_pages - writer->tried_pages;
}

void writer_checkpoint(struct writer *writer)
{
    assert(writer_usable(writer));
    /* Whatever comes of it, the next try waits for more: a reader that stays long would otherwise
     * make every commit try in vain. */
    (void)sqlite3_wal_checkpoint_v2(writer->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    writer->tried_pages = writer->log_pages;
}

/* ---- statements, prepared at first use ------------------------------------------------------ */

static int fixed_statement(
    struct writer *writer, enum fixed_statement which, sqlite3_stmt **ret, struct error *err)
{
    sqlite3_stmt **slot = &writer->fixed[which];
    if (!*slot && sql_prepare(writer->db, fixed_sql[which], slot, err) < 0)
        return -1;
    *ret = *slot;
    return 0;
}

static int put_statement(
    struct writer *writer, enum row_kind kind, bool live, sqlite3_stmt **ret, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf sql = {0};
    sqlite3_stmt **slot = &writer->put[kind][live];
    if (!*slot) {
        row_sql_put(&sql, row_type(kind), live);
        if (sql_prepare(writer->db, strbuf_text(&sql), slot, err) < 0)
            return -1;
    }
    *ret = *slot;
    return 0;
}

static int delete_statement(
    struct writer *writer, enum row_kind kind, sqlite3_stmt **ret, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf sql = {0};
    if (!writer->delete[kind]) {
        strbuf_printf(&sql, "DELETE FROM \"%s\" WHERE id = ?", row_type(kind)->name);
        if (sql_prepare(writer->db, strbuf_text(&sql), &writer->delete[kind], err) < 0)
            return -1;
    }
    *ret = writer->delete[kind];
    return 0;
}

static int run_fixed(struct writer *writer, enum fixed_statement which, struct error *err)
{
    sqlite3_stmt *statement = NULL;
    if (fixed_statement(writer, which, &statement, err) < 0)
        return -1;
    return sql_run(statement, err);
}

/* ---- one function for each kind of operation ------------------------------------------------ */

static int apply_put_row(
    struct application *application, const struct operation *operation, struct error *err)
{
    sqlite3_stmt *statement = NULL;
    enum row_kind kind = operation->row.kind;
    if (put_statement(application->writer, kind, operation->row.live, &statement, err) < 0)
        return -1;
    row_bind(statement, row_type(kind), operation->row.bytes);
    return sql_run(statement, err);
}

static int apply_delete_row(
    struct application *application, const struct operation *operation, struct error *err)
{
    sqlite3_stmt *statement = NULL;
    if (delete_statement(application->writer, operation->row_id.kind, &statement, err) < 0)
        return -1;
    sqlite3_bind_int64(statement, 1, (int64_t)operation->row_id.id);
    return sql_run(statement, err);
}

static int apply_put_document(
    struct application *application, const struct operation *operation, struct error *err)
{
    sqlite3_stmt *statement = NULL;
    if (fixed_statement(application->writer, STATEMENT_PUT_DOCUMENT, &statement, err) < 0)
        return -1;
    sql_bind_text(statement, 1, operation->document.collection);
    sql_bind_text(statement, 2, operation->document.key);
    sql_bind_text(statement, 3, operation->document.scope);
    sqlite3_bind_int64(statement, 4, application->tick);
    sqlite3_bind_int64(statement, 5, operation->document.at_ms);
    sql_bind_text(statement, 6, operation->document.json);
    return sql_run(statement, err);
}

static int apply_delete_document(
    struct application *application, const struct operation *operation, struct error *err)
{
    sqlite3_stmt *statement = NULL;
    if (fixed_statement(application->writer, STATEMENT_DELETE_DOCUMENT, &statement, err) < 0)
        return -1;
    sql_bind_text(statement, 1, operation->document.collection);
    sql_bind_text(statement, 2, operation->document.key);
    return sql_run(statement, err);
}

static int apply_audit(
    struct application *application, const struct operation *operation, struct error *err)
{
    sqlite3_stmt *statement = NULL;
    const struct audit_event *event = &operation->audit;
    struct audit_head *head = &application->head;

    if (fixed_statement(application->writer, STATEMENT_AUDIT, &statement, err) < 0)
        return -1;
    audit_extend(head, application->tick, event);
    sqlite3_bind_int64(statement, 1, head->sequence);
    sqlite3_bind_int64(statement, 2, application->tick);
    sqlite3_bind_int64(statement, 3, event->at_ms);
    sql_bind_text(statement, 4, event->actor);
    sql_bind_text(statement, 5, event->action);
    sql_bind_text(statement, 6, event->kind);
    sql_bind_text(statement, 7, event->name);
    sql_bind_text(statement, 8, event->team);
    sql_bind_text(statement, 9, event->detail);
    sqlite3_bind_blob(statement, 10, head->hash, sizeof head->hash, SQLITE_STATIC);
    return sql_run(statement, err);
}

static int apply_audit_prune(
    struct application *application, const struct operation *operation, struct error *err)
{
    assert(application->key);
    return audit_prune(application->writer->db, operation->prune.before_ms, operation->prune.most,
        application->key, err);
}

static int apply_jobs_prune(
    struct application *application, const struct operation *operation, struct error *err)
{
    return retention_prune_jobs(
        application->writer->db, operation->prune.before_ms, operation->prune.most, err);
}

static int apply_forget_job(
    struct application *application, const struct operation *operation, struct error *err)
{
    return retention_forget_job(application->writer->db, operation->job, err);
}

typedef int apply_fn(
    struct application *application, const struct operation *operation, struct error *err);

static apply_fn *const appliers[] = {
    [OPERATION_PUT_ROW] = apply_put_row,
    [OPERATION_DELETE_ROW] = apply_delete_row,
    [OPERATION_PUT_DOCUMENT] = apply_put_document,
    [OPERATION_DELETE_DOCUMENT] = apply_delete_document,
    [OPERATION_AUDIT] = apply_audit,
    [OPERATION_AUDIT_PRUNE] = apply_audit_prune,
    [OPERATION_JOBS_PRUNE] = apply_jobs_prune,
    [OPERATION_FORGET_JOB] = apply_forget_job,
};
_Static_assert(ARRAY_LEN(appliers) == OPERATION_KIND_COUNT, "an operation has no function");

/* ---- the transaction ---------------------------------------------------------------------- */

static int move_fence(
    struct application *application, const struct store_txn *txn, struct error *err)
{
    sqlite3_stmt *statement = NULL;
    struct writer *writer = application->writer;
    if (fixed_statement(writer, STATEMENT_FENCE, &statement, err) < 0)
        return -1;
    sqlite3_bind_int64(statement, 1, txn->epoch);
    sqlite3_bind_int64(statement, 2, txn->tick);
    if (sql_run(statement, err) < 0)
        return -1;
    if (sqlite3_changes(writer->db) != 1)
        return error_set(err, ERR_CONFLICT,
            "the store is no longer at epoch %lld, tick %lld: somebody else leads",
            (long long)txn->epoch, (long long)txn->tick - 1);
    return 0;
}

static int write_head(struct application *application, struct error *err)
{
    sqlite3_stmt *statement = NULL;
    if (fixed_statement(application->writer, STATEMENT_FENCE_AUDIT, &statement, err) < 0)
        return -1;
    sqlite3_bind_int64(statement, 1, application->head.sequence);
    sqlite3_bind_blob(
        statement, 2, application->head.hash, sizeof application->head.hash, SQLITE_STATIC);
    return sql_run(statement, err);
}

static int apply(struct application *application, const struct store_txn *txn, struct error *err)
{
    int64_t sequence = application->head.sequence;
    if (move_fence(application, txn, err) < 0)
        return -1;
    for (size_t i = 0; i < txn->operations.count; i++) {
        const struct operation *operation = &txn->operations.items[i];
        if (appliers[operation->kind](application, operation, err) < 0)
            return -1;
    }
    return application->head.sequence == sequence ? 0 : write_head(application, err);
}

/* COMMIT writes the log's frames, the last of them with the commit's mark, and syncs. With no
 * space a write of a frame failed, so the mark is not there whole; when the lock was not had,
 * nothing was written. After any other failure the mark may be on the disk. */
static int commit_error(struct error *err)
{
    if (err->code != ERR_FULL && err->code != ERR_UNAVAILABLE)
        err->code = ERR_UNKNOWN;
    return -1;
}

static int commit(struct writer *writer, struct error *err)
{
    struct error failure = {0};
    if (run_fixed(writer, STATEMENT_COMMIT, &failure) == 0)
        return 0;
    commit_error(&failure);
    return error_set(err, failure.code, "%s", failure.text);
}

static void roll_back(struct writer *writer)
{
    if (!sqlite3_get_autocommit(writer->db))
        (void)sqlite3_exec(writer->db, "ROLLBACK", NULL, NULL, NULL);
}

int writer_commit(struct writer *writer, const struct store_txn *txn, struct audit_head *head,
    const struct audit_key *key, struct error *err)
{
    assert(writer_usable(writer) && txn && head);
    struct application application = {
        .writer = writer, .tick = txn->tick, .head = *head, .key = key};

    if (run_fixed(writer, STATEMENT_BEGIN, err) < 0)
        return -1;
    if (apply(&application, txn, err) < 0 || commit(writer, err) < 0) {
        roll_back(writer);
        return -1;
    }
    *head = application.head;
    return 0;
}

int writer_touch_fence(struct writer *writer, int64_t epoch, struct error *err)
{
    SCOPED(sql_statement_scope) sqlite3_stmt *statement = NULL;
    assert(writer_usable(writer));
    if (sql_prepare(writer->db, "UPDATE fence SET settled = settled + 1 WHERE epoch = ?",
            &statement, err) < 0)
        return -1;
    sqlite3_bind_int64(statement, 1, epoch);
    if (sql_run(statement, err) < 0)
        return -1;
    if (sqlite3_changes(writer->db) != 1)
        return error_set(err, ERR_CONFLICT, "the store has another epoch: somebody else leads");
    return 0;
}
