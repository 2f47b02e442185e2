/* Retention of ended jobs. Charges and capacity stay: they are the ledger.
 *
 * What belongs to a job: rows that name it, placements that name its attempts, and documents in
 * collections whose names begin with "job-", under the key ID or ID/anything. */
#include "store/retention.h"

#include "base/memory.h"
#include "core/rows.h"

#include <assert.h>

/* In this order: placements are found through attempts. */
static const char *const prune_steps[] = {
    "DELETE FROM placement WHERE attempt IN"
    " (SELECT id FROM attempt WHERE job IN (SELECT id FROM temp.pruned))",
    "DELETE FROM attempt WHERE job IN (SELECT id FROM temp.pruned)",
    "DELETE FROM job_label WHERE job IN (SELECT id FROM temp.pruned)",
    "DELETE FROM dependency WHERE job IN (SELECT id FROM temp.pruned)",
    "DELETE FROM claim WHERE job IN (SELECT id FROM temp.pruned)",
    "DELETE FROM document WHERE collection IN (SELECT name FROM temp.pruned_in) AND key IN"
    " (SELECT CAST(id AS TEXT) FROM temp.pruned)",
    /* '0' is the character after '/'. */
    "DELETE FROM document WHERE rowid IN (SELECT document.rowid"
    " FROM temp.pruned, temp.pruned_in CROSS JOIN document ON document.collection = pruned_in.name"
    " AND document.key > pruned.id || '/' AND document.key < pruned.id || '0')",
    "DELETE FROM job WHERE id IN (SELECT id FROM temp.pruned)",
    "DELETE FROM temp.pruned",
    "DELETE FROM temp.pruned_in",
};

/* The names are found by jumping from one to the next: as many look-ups as there are names. */
static const char find_collections[] =
    "INSERT INTO temp.pruned_in WITH RECURSIVE names(name) AS ("
    " SELECT min(collection) FROM document WHERE collection >= 'job-' AND collection < 'job.'"
    " UNION ALL SELECT (SELECT min(collection) FROM document"
    "   WHERE collection > names.name AND collection < 'job.') FROM names WHERE name IS NOT NULL)"
    " SELECT name FROM names WHERE name IS NOT NULL";

static int make_tables(sqlite3 *db, struct error *err)
{
    return sql_exec(db,
        "CREATE TEMP TABLE IF NOT EXISTS pruned(id INTEGER PRIMARY KEY);"
        "CREATE TEMP TABLE IF NOT EXISTS pruned_in(name TEXT PRIMARY KEY)",
        err);
}

static int choose_jobs(sqlite3 *db, int64_t before_ms, int64_t most, struct error *err)
{
    SCOPED(sql_statement_scope) sqlite3_stmt *statement = NULL;
    if (sql_prepare(db,
            "INSERT INTO temp.pruned SELECT id FROM job WHERE live = 0 AND state >= ?1"
            " AND ended_ms > 0 AND ended_ms < ?2 ORDER BY ended_ms LIMIT ?3",
            &statement, err) < 0)
        return -1;
    sqlite3_bind_int(statement, 1, JOB_SUCCEEDED);
    sqlite3_bind_int64(statement, 2, before_ms);
    sqlite3_bind_int64(statement, 3, most);
    return sql_run(statement, err);
}

static int choose_job(sqlite3 *db, uint64_t job, struct error *err)
{
    SCOPED(sql_statement_scope) sqlite3_stmt *statement = NULL;
    if (sql_prepare(db, "INSERT INTO temp.pruned SELECT id FROM job WHERE id = ?1 AND live = 0",
            &statement, err) < 0)
        return -1;
    sqlite3_bind_int64(statement, 1, (int64_t)job);
    return sql_run(statement, err);
}

static int remove_chosen(sqlite3 *db, struct error *err)
{
    if (sql_exec(db, find_collections, err) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(prune_steps); i++)
        if (sql_exec(db, prune_steps[i], err) < 0)
            return error_prefix(err, "removing ended jobs");
    return 0;
}

int retention_prune_jobs(sqlite3 *db, int64_t before_ms, int64_t most, struct error *err)
{
    assert(!sqlite3_get_autocommit(db) && most > 0);
    if (make_tables(db, err) < 0 || choose_jobs(db, before_ms, most, err) < 0)
        return -1;
    return remove_chosen(db, err);
}

int retention_forget_job(sqlite3 *db, uint64_t job, struct error *err)
{
    assert(!sqlite3_get_autocommit(db) && job > 0);
    if (make_tables(db, err) < 0 || choose_job(db, job, err) < 0)
        return -1;
    return remove_chosen(db, err);
}
