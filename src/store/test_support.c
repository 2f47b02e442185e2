/* See test_support.h. */
#include "store/test_support.h"

#include "base/file.h"
#include "base/memory.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *test_folder(void)
{
    char *folder = mem_strdup("/tmp/muster-store-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return folder;
}

void test_folder_remove(char *folder)
{
    assert_done(file_remove_tree(folder, err));
    free(folder);
}

const char *test_path(const char *folder, const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

struct store_txn *test_txn(const struct store *store)
{
    return store_txn_create(store_epoch(store), store_next_tick(store));
}

void test_commit(struct store *store, struct store_txn *txn)
{
    assert_done(store_commit(store, txn, err));
    store_txn_destroy(txn);
}

struct job_row test_job(uint64_t id, int32_t state)
{
    return (struct job_row){
        .id = id,
        .team = 7,
        .shape = 3,
        .name = 12,
        .state = state,
        .exit_status = -1,
        .size = 2,
        .size_min = 1,
        .size_max = 4,
        .preemptible = 1,
        .submitted_ms = 1700000000000 + (int64_t)(id % 1000000),
        .ended_ms = job_state_ended(state) ? 1700000100000 + (int64_t)(id % 1000000) : 0,
    };
}

struct symbol_row test_symbol(uint64_t id, const char *text)
{
    struct symbol_row row = {.id = id};
    snprintf(row.text, sizeof row.text, "%s", text);
    return row;
}

void test_audit_event(struct store_txn *txn, int64_t at_ms, const char *action, const char *team)
{
    const struct audit_event event = {
        .at_ms = at_ms,
        .actor = "root",
        .action = action,
        .kind = "job",
        .name = "train",
        .team = team,
        .detail = "{\"size\":2}",
    };
    store_txn_audit(txn, &event);
}

void test_tamper(const char *folder, const char *sql)
{
    sqlite3 *db = NULL;
    char *text = NULL;
    assert_int_equal(sqlite3_open(test_path(folder, STORE_FILE), &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK)
        fail_msg("%s: %s", sql, text);
    sqlite3_close(db);
}

bool test_jobs_same(const struct job_row *one, const struct job_row *other)
{
    return row_same(row_type(ROW_JOB), one, other);
}
