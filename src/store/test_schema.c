/* Old databases become today's, whole or not at all; newer ones are left alone. */
#include "store/test_support.h"

#include "base/memory.h"
#include "store/schema.h"

#include <string.h>

struct thing_row {
    uint64_t id;
    int64_t amount;
    char note[32];
};

static const struct column old_columns[] = {
    {.name = "id", .type = COLUMN_ID, .offset = offsetof(struct thing_row, id), .size = 8},
};
static const struct column new_columns[] = {
    {.name = "id", .type = COLUMN_ID, .offset = offsetof(struct thing_row, id), .size = 8},
    {.name = "amount",
        .type = COLUMN_INT,
        .offset = offsetof(struct thing_row, amount),
        .size = 8,
        .indexed = true},
    {.name = "note", .type = COLUMN_TEXT, .offset = offsetof(struct thing_row, note), .size = 32},
};
static const struct row_type old_type = {"thing", 8, old_columns, 1, false};
static const struct row_type new_type = {"thing", sizeof(struct thing_row), new_columns, 3, false};

static const struct row_type *type_old(int kind)
{
    (void)kind;
    return &old_type;
}

static const struct row_type *type_new(int kind)
{
    (void)kind;
    return &new_type;
}

static const char first_step[] =
    "CREATE TABLE schema_version(version INTEGER, tables TEXT);"
    "INSERT INTO schema_version VALUES(0, '');"
    "CREATE TABLE fence(epoch INTEGER); INSERT INTO fence VALUES(0);"
    "CREATE TABLE symbol(id INTEGER PRIMARY KEY, text TEXT);"
    "CREATE TABLE word(text TEXT); INSERT INTO word VALUES('one'), ('two');";
static const struct schema_step old_steps[] = {{.sql = first_step}};
static const struct schema_step new_steps[] = {{.sql = first_step},
    {.sql = "ALTER TABLE word RENAME COLUMN text TO spelling;", .table = "word", .column = "text"},
    {.sql = "ALTER TABLE word ADD COLUMN length INTEGER NOT NULL DEFAULT 0;"
            "UPDATE word SET length = length(spelling);"},
    {.sql = "ALTER TABLE word DROP COLUMN gone;", .table = "word", .column = "gone"}};
static const struct schema_step broken_steps[] = {{.sql = first_step},
    {.sql = "ALTER TABLE word RENAME COLUMN text TO spelling;"},
    {.sql = "ALTER TABLE nothing RENAME TO something;"}};

static const struct schema schema_old = {old_steps, 1, type_old, 1};
static const struct schema schema_new = {new_steps, 4, type_new, 1};
static const struct schema schema_broken = {broken_steps, 3, type_new, 1};

static int64_t number(sqlite3 *db, const char *sql)
{
    int64_t value = 0;
    assert_done(sql_number(db, sql, &value, err));
    return value;
}

static int set_up(void **state)
{
    *state = test_folder();
    return 0;
}

static int tear_down(void **state)
{
    test_folder_remove(*state);
    return 0;
}

/* A database as the older program left it, with a row in it. */
static sqlite3 *open_old(const char *folder)
{
    sqlite3 *db = NULL;
    int64_t epoch = 0;
    assert_done(sql_open(test_path(folder, "old.db"), NULL, SQL_SOLITARY, &db, err));
    assert_done(schema_prepare(db, &schema_old, &epoch, err));
    assert_int_equal(epoch, 1);
    assert_done(sql_exec(db, "INSERT INTO thing(id, live) VALUES(5, 1)", err));
    return db;
}

static void an_older_schema_is_brought_forward_with_its_data(void **state)
{
    sqlite3 *db = open_old(*state);
    int64_t epoch = 0;
    assert_done(schema_prepare(db, &schema_new, &epoch, err));
    assert_int_equal(epoch, 2);
    assert_int_equal(number(db, "SELECT version FROM schema_version"), 4);
    assert_int_equal(number(db, "SELECT length FROM word WHERE spelling = 'two'"), 3);
    assert_int_equal(number(db, "SELECT amount FROM thing WHERE id = 5 AND note = ''"), 0);
    assert_int_equal(
        number(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'thing.amount'"), 1);
    sql_close(db);
}

static void a_step_that_fails_leaves_the_older_schema_whole(void **state)
{
    sqlite3 *db = open_old(*state);
    int64_t epoch = 0;
    assert_error(schema_prepare(db, &schema_broken, &epoch, err), ERR_INTERNAL);
    assert_int_equal(epoch, 0);
    assert_int_equal(number(db, "SELECT version FROM schema_version"), 1);
    assert_int_equal(number(db, "SELECT epoch FROM fence"), 1);
    assert_int_equal(number(db, "SELECT count(*) FROM word WHERE text = 'two'"), 1);
    assert_done(schema_prepare(db, &schema_new, &epoch, err));
    sql_close(db);
}

static void a_newer_version_is_refused(void **state)
{
    sqlite3 *db = open_old(*state);
    int64_t epoch = 0;
    assert_done(schema_prepare(db, &schema_new, &epoch, err));
    assert_error(schema_prepare(db, &schema_old, &epoch, err), ERR_INVALID);
    assert_error(schema_check(db, &schema_old, err), ERR_INVALID);
    assert_done(schema_check(db, &schema_new, err));
    sql_close(db);
}

static void a_column_of_a_newer_program_is_refused(void **state)
{
    sqlite3 *db = open_old(*state);
    int64_t epoch = 0;
    assert_done(sql_exec(db,
        "ALTER TABLE thing ADD COLUMN later INTEGER; UPDATE schema_version SET tables = 'newer'",
        err));
    assert_error(schema_prepare(db, &schema_old, &epoch, err), ERR_INVALID);
    assert_error(schema_check(db, &schema_old, err), ERR_INVALID);
    sql_close(db);
}

static void another_programs_database_is_refused(void **state)
{
    struct store *store = NULL;
    test_tamper(*state, "CREATE TABLE notes(text)");
    assert_error(store_open(*state, NULL, &store, err), ERR_CORRUPT);
}

static void a_store_without_a_column_gains_it(void **state)
{
    struct store *store = NULL;
    struct store_reader *reader = NULL;
    struct job_row job = test_job(3, JOB_QUEUED), read;

    assert_done(store_open(*state, NULL, &store, err));
    struct store_txn *txn = test_txn(store);
    store_txn_put_row(txn, ROW_JOB, &job);
    test_commit(store, txn);
    store_close(store);
    test_tamper(*state,
        "DROP INDEX \"job.ended_ms\"; ALTER TABLE job DROP COLUMN ended_ms;"
        "ALTER TABLE job DROP COLUMN exit_status; UPDATE schema_version SET tables = 'older'");
    assert_done(store_open(*state, NULL, &store, err));
    assert_done(store_reader_open(*state, NULL, &reader, err));
    assert_done(reader_row(reader, ROW_JOB, 3, &read, err));
    job.ended_ms = 0;
    job.exit_status = 0;
    assert_true(test_jobs_same(&read, &job));
    job.ended_ms = 11;
    txn = test_txn(store);
    store_txn_put_row(txn, ROW_JOB, &job);
    test_commit(store, txn);
    assert_done(reader_row(reader, ROW_JOB, 3, &read, err));
    assert_true(test_jobs_same(&read, &job));
    store_reader_close(reader);
    store_close(store);
}

/* As version 1 had it: what jobs need that move to spot pools stood in their own rows. */
static const char spot_in_jobs[] =
    "DROP TABLE spot; DELETE FROM counter WHERE name = 'spot';"
    "ALTER TABLE job DROP COLUMN interval_ms; ALTER TABLE job DROP COLUMN put_off_s;" /* later ones
                                                                                       */
    "ALTER TABLE job ADD COLUMN duration_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE job ADD COLUMN interval_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE job ADD COLUMN restart_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE job ADD COLUMN saved_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE job ADD COLUMN spot_since_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE job ADD COLUMN spot_now INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE job ADD COLUMN spot_again_ms INTEGER NOT NULL DEFAULT 0;"
    "UPDATE job SET duration_ms = 100 + id, interval_ms = 11, restart_ms = 12, saved_ms = 13,"
    " spot_since_ms = CASE WHEN id = 3 THEN 0 ELSE 20 END, spot_now = 2, spot_again_ms = 30;"
    "UPDATE schema_version SET version = 1, tables = 'older'";

/* Of four jobs two live and move: these have the row, in order, and a counter that knows them. */
static void jobs_that_move_to_spot_pools_get_a_row_of_their_own(void **state)
{
    struct store *store = NULL;
    struct store_reader *reader = NULL;
    struct spot_row spot;
    struct job_row read, job = test_job(5, JOB_QUEUED);
    struct counter_row counter = {.id = 4, .name = "job", .last = 6};

    assert_done(store_open(*state, NULL, &store, err));
    struct store_txn *txn = test_txn(store);
    for (uint64_t id = 3; id <= 4; id++)
        store_txn_put_row(txn, ROW_JOB, &(struct job_row){.id = id});
    store_txn_put_row(txn, ROW_JOB, &job);
    store_txn_retire_row(txn, ROW_JOB, &(struct job_row){.id = 6});
    store_txn_put_row(txn, ROW_COUNTER, &counter);
    test_commit(store, txn);
    store_close(store);
    test_tamper(*state, spot_in_jobs);
    assert_done(store_open(*state, NULL, &store, err));
    assert_done(store_reader_open(*state, NULL, &reader, err));
    assert_done(reader_row(reader, ROW_SPOT, 2, &spot, err));
    const struct spot_row expected = {2, 5, 105, 11, 12, 13, 20, 30, SPOT_ON_DEMAND};
    assert_int_equal(spot.job, expected.job);
    assert_int_equal(spot.duration_ms, expected.duration_ms);
    assert_int_equal(spot.interval_ms, expected.interval_ms);
    assert_int_equal(spot.restart_ms, expected.restart_ms);
    assert_int_equal(spot.saved_ms, expected.saved_ms);
    assert_int_equal(spot.since_ms, expected.since_ms);
    assert_int_equal(spot.again_ms, expected.again_ms);
    assert_int_equal(spot.now, expected.now);
    assert_done(reader_row(reader, ROW_SPOT, 1, &spot, err));
    assert_int_equal(spot.job, 4);
    assert_error(reader_row(reader, ROW_SPOT, 3, &spot, err), ERR_NOT_FOUND);
    assert_done(reader_row(reader, ROW_COUNTER, 5, &counter, err));
    assert_string_equal(counter.name, "spot");
    assert_int_equal(counter.last, 2);
    assert_done(reader_row(reader, ROW_JOB, 5, &read, err));
    assert_true(test_jobs_same(&read, &job));
    store_reader_close(reader);
    store_close(store);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_older_schema_is_brought_forward_with_its_data),
        TEST(a_step_that_fails_leaves_the_older_schema_whole),
        TEST(a_newer_version_is_refused),
        TEST(a_column_of_a_newer_program_is_refused),
        TEST(another_programs_database_is_refused),
        TEST(a_store_without_a_column_gains_it),
        TEST(jobs_that_move_to_spot_pools_get_a_row_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
