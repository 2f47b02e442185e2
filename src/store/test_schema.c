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
static const char *const old_steps[] = {first_step};
static const char *const new_steps[] = {first_step,
    "ALTER TABLE word RENAME COLUMN text TO spelling;",
    "ALTER TABLE word ADD COLUMN length INTEGER NOT NULL DEFAULT 0;"
    "UPDATE word SET length = length(spelling);"};
static const char *const broken_steps[] = {first_step,
    "ALTER TABLE word RENAME COLUMN text TO spelling;", "ALTER TABLE nothing RENAME TO something;"};

static const struct schema schema_old = {old_steps, 1, type_old, 1};
static const struct schema schema_new = {new_steps, 3, type_new, 1};
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
    assert_int_equal(number(db, "SELECT version FROM schema_version"), 3);
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
    assert_memory_equal(&read, &job, sizeof job);
    job.ended_ms = 11;
    txn = test_txn(store);
    store_txn_put_row(txn, ROW_JOB, &job);
    test_commit(store, txn);
    assert_done(reader_row(reader, ROW_JOB, 3, &read, err));
    assert_memory_equal(&read, &job, sizeof job);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
