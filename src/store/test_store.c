/* The store as its users see it: what is committed is there, and the fence holds. */
#include "store/test_support.h"

#include "base/memory.h"
#include "base/vec.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct fixture {
    char *folder;
    struct store *store;
};

static int set_up(void **state)
{
    struct fixture *fixture = mem_alloc(1, sizeof *fixture);
    fixture->folder = test_folder();
    assert_done(store_open(fixture->folder, NULL, &fixture->store, err));
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    store_close(fixture->store);
    test_folder_remove(fixture->folder);
    free(fixture);
    return 0;
}

static void open_again(struct fixture *fixture)
{
    store_close(fixture->store);
    fixture->store = NULL;
    assert_done(store_open(fixture->folder, NULL, &fixture->store, err));
}

static struct store_reader *open_reader(struct fixture *fixture)
{
    struct store_reader *reader = NULL;
    assert_done(store_reader_open(fixture->folder, NULL, &reader, err));
    return reader;
}

struct loaded {
    VEC(struct job_row) jobs;
    size_t others;
    size_t stop_after;
};

static int collect(void *context, enum row_kind kind, const void *row, struct error *err)
{
    struct loaded *loaded = context;
    if (kind == ROW_JOB)
        vec_push(&loaded->jobs, *(const struct job_row *)row);
    else
        loaded->others++;
    if (loaded->stop_after && loaded->jobs.count == loaded->stop_after)
        return error_set(err, ERR_INVALID, "enough");
    return 0;
}

static void put_job(struct store *store, uint64_t id, int32_t state)
{
    struct store_txn *txn = test_txn(store);
    struct job_row job = test_job(id, state);
    store_txn_put_row(txn, ROW_JOB, &job);
    test_commit(store, txn);
}

static void a_row_comes_back_as_it_was(void **state)
{
    struct fixture *fixture = *state;
    struct store_txn *txn = test_txn(fixture->store);
    struct job_row job = test_job(INT64_MAX, JOB_QUEUED);
    struct placement_row placement = {
        .id = 1, .attempt = 2, .node = 3, .devices = UINT64_MAX, .device_milli = -5, .ranks = 9};
    struct symbol_row symbol = test_symbol(UINT32_MAX, "na\xc3\xafve \"'; DROP");
    struct placement_row placement_read;
    struct symbol_row symbol_read;
    struct job_row read;

    store_txn_put_row(txn, ROW_JOB, &job);
    store_txn_put_row(txn, ROW_PLACEMENT, &placement);
    store_txn_put_row(txn, ROW_SYMBOL, &symbol);
    test_commit(fixture->store, txn);
    struct store_reader *reader = open_reader(fixture);
    assert_done(reader_row(reader, ROW_JOB, INT64_MAX, &read, err));
    assert_done(reader_row(reader, ROW_PLACEMENT, 1, &placement_read, err));
    assert_done(reader_row(reader, ROW_SYMBOL, UINT32_MAX, &symbol_read, err));
    assert_true(test_jobs_same(&read, &job));
    assert_memory_equal(&placement_read, &placement, sizeof placement);
    assert_string_equal(symbol_read.text, symbol.text);
    assert_error(reader_row(reader, ROW_JOB, 5, &read, err), ERR_NOT_FOUND);
    store_reader_close(reader);
}

static void live_rows_are_loaded_in_order_and_others_are_not(void **state)
{
    struct fixture *fixture = *state;
    struct loaded loaded = {0};
    struct store_txn *txn = test_txn(fixture->store);
    struct charge_row charge = {.id = 1, .job = 1};

    for (uint64_t id = 5; id > 0; id--) {
        struct job_row job = test_job(id, JOB_QUEUED);
        store_txn_put_row(txn, ROW_JOB, &job);
    }
    struct job_row ended = test_job(2, JOB_SUCCEEDED);
    store_txn_retire_row(txn, ROW_JOB, &ended);
    store_txn_delete_row(txn, ROW_JOB, 4);
    store_txn_put_row(txn, ROW_CHARGE, &charge);
    test_commit(fixture->store, txn);
    open_again(fixture);
    assert_done(store_load(fixture->store, collect, &loaded, err));
    assert_int_equal(loaded.jobs.count, 3);
    assert_int_equal(loaded.jobs.items[0].id, 1);
    assert_int_equal(loaded.jobs.items[1].id, 3);
    assert_int_equal(loaded.jobs.items[2].id, 5);
    assert_int_equal(loaded.others, 0);
    vec_free(&loaded.jobs);
}

static void loading_stops_at_the_first_refusal(void **state)
{
    struct fixture *fixture = *state;
    struct loaded loaded = {.stop_after = 2};
    for (uint64_t id = 1; id <= 3; id++)
        put_job(fixture->store, id, JOB_QUEUED);
    assert_error(store_load(fixture->store, collect, &loaded, err), ERR_INVALID);
    assert_int_equal(loaded.jobs.count, 2);
    put_job(fixture->store, 4, JOB_QUEUED);
    vec_free(&loaded.jobs);
}

static void each_opening_begins_an_epoch_and_ticks_go_on(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(store_epoch(fixture->store), 1);
    assert_int_equal(store_next_tick(fixture->store), 1);
    put_job(fixture->store, 1, JOB_QUEUED);
    put_job(fixture->store, 2, JOB_QUEUED);
    open_again(fixture);
    assert_int_equal(store_epoch(fixture->store), 2);
    assert_int_equal(store_next_tick(fixture->store), 3);
}

static void a_folder_has_one_store_at_a_time(void **state)
{
    struct fixture *fixture = *state;
    struct store *other = NULL;
    assert_error(store_open(fixture->folder, NULL, &other, err), ERR_CONFLICT);
    assert_null(other);
}

static void a_wrong_tick_or_epoch_is_refused_and_stores_nothing(void **state)
{
    struct fixture *fixture = *state;
    static const int64_t wrong[][2] = {{1, 1}, {1, 3}, {2, 2}};
    struct job_row job = test_job(9, JOB_QUEUED), read;

    put_job(fixture->store, 1, JOB_QUEUED);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct store_txn *txn = store_txn_create(wrong[i][0], wrong[i][1]);
        store_txn_put_row(txn, ROW_JOB, &job);
        assert_error(store_commit(fixture->store, txn, err), ERR_CONFLICT);
        store_txn_destroy(txn);
    }
    struct store_reader *reader = open_reader(fixture);
    assert_error(reader_row(reader, ROW_JOB, 9, &read, err), ERR_NOT_FOUND);
    store_reader_close(reader);
    put_job(fixture->store, 9, JOB_QUEUED);
}

static void settling_says_what_is_there(void **state)
{
    struct fixture *fixture = *state;
    bool committed = false;
    put_job(fixture->store, 1, JOB_QUEUED);
    assert_done(store_settle(fixture->store, 1, &committed, err));
    assert_true(committed);
    assert_done(store_settle(fixture->store, 2, &committed, err));
    assert_false(committed);
    assert_int_equal(store_epoch(fixture->store), 1);
    put_job(fixture->store, 2, JOB_QUEUED);
}

static int count_rows(void *context, const void *row, struct error *err)
{
    VEC(uint64_t) *ids = context;
    (void)err;
    vec_push(ids, *(const uint64_t *)row);
    return 0;
}

static void rows_are_found_by_conditions_and_in_pages(void **state)
{
    struct fixture *fixture = *state;
    VEC(uint64_t) ids = {0};
    struct store_txn *txn = test_txn(fixture->store);
    for (uint64_t id = 1; id <= 20; id++) {
        struct job_row job = test_job(id, id % 2 ? JOB_QUEUED : JOB_SUCCEEDED);
        if (id % 2)
            store_txn_put_row(txn, ROW_JOB, &job);
        else
            store_txn_retire_row(txn, ROW_JOB, &job);
    }
    test_commit(fixture->store, txn);
    struct store_reader *reader = open_reader(fixture);
    const struct row_condition conditions[] = {
        {"live", ROW_EQUAL, 0}, {"submitted_ms", ROW_GREATER, 1700000000004}};
    struct row_query query = {
        .kind = ROW_JOB, .conditions = conditions, .condition_count = 2, .limit = 3};
    int64_t count = 0;

    assert_done(reader_rows(reader, &query, count_rows, &ids, err));
    assert_int_equal(ids.count, 3);
    assert_int_equal(ids.items[0], 6);
    assert_int_equal(ids.items[2], 10);
    query.after = 10;
    query.descending = true;
    vec_clear(&ids);
    assert_done(reader_rows(reader, &query, count_rows, &ids, err));
    assert_int_equal(ids.count, 2);
    assert_int_equal(ids.items[0], 8);
    assert_done(reader_count(reader, &query, &count, err));
    assert_int_equal(count, 8);
    query.conditions = &(struct row_condition){"nothing", ROW_EQUAL, 0};
    query.condition_count = 1;
    assert_error(reader_count(reader, &query, &count, err), ERR_INVALID);
    vec_free(&ids);
    store_reader_close(reader);
}

static int add_cost(void *context, const struct charge_row *charge, struct error *err)
{
    (void)err;
    *(int64_t *)context += charge->cost_nano;
    return 0;
}

static void charges_are_found_by_team_job_and_overlap(void **state)
{
    struct fixture *fixture = *state;
    struct store_txn *txn = test_txn(fixture->store);
    int64_t cost = 0;
    for (uint64_t id = 1; id <= 4; id++) {
        struct charge_row charge = {.id = id,
            .team = 1 + id % 2,
            .job = id,
            .begin_ms = (int64_t)id * 100,
            .end_ms = (int64_t)id * 100 + 100,
            .cost_nano = 1 << id};
        store_txn_put_row(txn, ROW_CHARGE, &charge);
    }
    test_commit(fixture->store, txn);
    struct store_reader *reader = open_reader(fixture);
    assert_done(reader_charges(reader, &(struct charge_filter){0}, add_cost, &cost, err));
    assert_int_equal(cost, 2 + 4 + 8 + 16);
    cost = 0;
    assert_done(reader_charges(
        reader, &(struct charge_filter){.from_ms = 200, .to_ms = 400}, add_cost, &cost, err));
    assert_int_equal(cost, 4 + 8);
    cost = 0;
    assert_done(
        reader_charges(reader, &(struct charge_filter){.team = 2, .job = 3}, add_cost, &cost, err));
    assert_int_equal(cost, 8);
    store_reader_close(reader);
}

static void symbols_are_read_once(void **state)
{
    struct fixture *fixture = *state;
    struct store_txn *txn = test_txn(fixture->store);
    struct symbol_row symbol = test_symbol(41, "a100");
    store_txn_put_row(txn, ROW_SYMBOL, &symbol);
    test_commit(fixture->store, txn);
    struct store_reader *reader = open_reader(fixture);
    const char *text = reader_symbol(reader, 41);
    assert_string_equal(text, "a100");
    assert_ptr_equal(reader_symbol(reader, 41), text);
    assert_string_equal(reader_symbol(reader, 42), "");
    assert_string_equal(reader_symbol(reader, 0), "");
    store_reader_close(reader);
}

static void symbols_that_were_read_long_ago_are_read_again(void **state)
{
    enum { FIRST = 1000, COUNT = READER_TEXTS + 10 };
    struct fixture *fixture = *state;
    struct store_txn *txn = test_txn(fixture->store);
    char text[32];
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(text, sizeof text, "name-%u", i);
        struct symbol_row symbol = test_symbol(FIRST + i, text);
        store_txn_put_row(txn, ROW_SYMBOL, &symbol);
    }
    test_commit(fixture->store, txn);
    struct store_reader *reader = open_reader(fixture);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            snprintf(text, sizeof text, "name-%u", i);
            assert_string_equal(reader_symbol(reader, FIRST + i), text);
        }
    }
    store_reader_close(reader);
}

static int join_keys(void *context, const struct document *document, struct error *err)
{
    struct strbuf *keys = context;
    (void)err;
    strbuf_printf(keys, "%s@%lld ", document->key, (long long)document->revision);
    return 0;
}

static void assert_keys(struct strbuf *keys, const char *expected)
{
    assert_string_equal(strbuf_text(keys), expected);
    strbuf_clear(keys);
}

static void documents_have_revisions_scopes_and_prefixes(void **state)
{
    struct fixture *fixture = *state;
    SCOPED(strbuf_finish) struct strbuf keys = {0};
    SCOPED(mem_scope) char *json = NULL;
    int64_t revision = 0;
    struct store_txn *txn = test_txn(fixture->store);
    store_txn_put_document(txn, "job-progress", "7/1", "red", "{}", 1);
    store_txn_put_document(txn, "job-progress", "7/2", "red", "{}", 1);
    store_txn_put_document(txn, "job-progress", "70/1", "blue", "{}", 1);
    store_txn_put_document(txn, "pool", "local", "", "{\"old\":1}", 1);
    test_commit(fixture->store, txn);
    txn = test_txn(fixture->store);
    store_txn_put_document(txn, "pool", "local", "", "{\"new\":1}", 2);
    store_txn_delete_document(txn, "job-progress", "7/1");
    test_commit(fixture->store, txn);

    struct store_reader *reader = open_reader(fixture);
    assert_done(reader_document(reader, "pool", "local", &json, &revision, err));
    assert_string_equal(json, "{\"new\":1}");
    assert_int_equal(revision, 2);
    assert_error(reader_document(reader, "pool", "other", &json, &revision, err), ERR_NOT_FOUND);
    assert_done(reader_documents(reader, "job-progress", NULL, NULL, 0, join_keys, &keys, err));
    assert_keys(&keys, "7/2@1 70/1@1 ");
    assert_done(reader_documents(reader, "job-progress", "blue", "", 0, join_keys, &keys, err));
    assert_keys(&keys, "70/1@1 ");
    assert_done(reader_documents(reader, "pool", "", NULL, 0, join_keys, &keys, err));
    assert_keys(&keys, "local@2 ");
    assert_done(reader_documents(reader, "job-progress", NULL, "7/2", 1, join_keys, &keys, err));
    assert_keys(&keys, "70/1@1 ");
    assert_done(
        reader_documents_prefix(reader, "job-progress", "7/", NULL, 0, join_keys, &keys, err));
    assert_keys(&keys, "7/2@1 ");
    store_reader_close(reader);
}

static void a_reader_sees_one_moment_between_begin_and_end(void **state)
{
    struct fixture *fixture = *state;
    struct store_reader *reader = open_reader(fixture);
    struct job_row read;
    int64_t tick = -1;

    assert_done(reader_begin(reader, err));
    put_job(fixture->store, 1, JOB_QUEUED);
    assert_error(reader_row(reader, ROW_JOB, 1, &read, err), ERR_NOT_FOUND);
    assert_done(reader_tick(reader, &tick, err));
    assert_int_equal(tick, 0);
    reader_end(reader);
    assert_done(reader_row(reader, ROW_JOB, 1, &read, err));
    store_reader_close(reader);
}

static void many_different_queries_do_not_fill_the_reader(void **state)
{
    struct fixture *fixture = *state;
    struct store_reader *reader = open_reader(fixture);
    const struct row_type *type = row_type(ROW_JOB);
    struct row_condition conditions[2] = {0};
    struct row_query query = {.kind = ROW_JOB, .conditions = conditions, .condition_count = 2};
    int64_t count = -1;

    for (size_t i = 0; i < 300; i++) {
        conditions[0].column = type->columns[i % type->column_count].name;
        conditions[1].column = type->columns[i / type->column_count].name;
        assert_done(reader_count(reader, &query, &count, err));
        assert_int_equal(count, 0);
    }
    store_reader_close(reader);
}

static void ended_jobs_are_pruned_with_all_that_is_theirs(void **state)
{
    struct fixture *fixture = *state;
    SCOPED(strbuf_finish) struct strbuf keys = {0};
    struct store_txn *txn = test_txn(fixture->store);
    for (uint64_t id = 1; id <= 4; id++) {
        struct job_row job = test_job(id, id == 1 ? JOB_RUNNING : JOB_FAILED);
        struct attempt_row attempt = {.id = id * 10, .job = id};
        struct placement_row placement = {.id = id * 100, .attempt = id * 10};
        struct charge_row charge = {.id = id, .job = id};
        char key[32];
        if (id == 1)
            store_txn_put_row(txn, ROW_JOB, &job);
        else
            store_txn_retire_row(txn, ROW_JOB, &job);
        store_txn_put_row(txn, ROW_ATTEMPT, &attempt);
        store_txn_put_row(txn, ROW_PLACEMENT, &placement);
        store_txn_put_row(txn, ROW_CHARGE, &charge);
        snprintf(key, sizeof key, "%d", (int)id);
        store_txn_put_document(txn, "job-spec", key, "red", "{}", 1);
        store_txn_put_document(txn, "pool", key, "", "{}", 1);
        snprintf(key, sizeof key, "%d/1", (int)id);
        store_txn_put_document(txn, "job-progress", key, "red", "{}", 1);
    }
    store_txn_put_document(txn, "job-progress", "20/1", "red", "{}", 1);
    test_commit(fixture->store, txn);
    txn = test_txn(fixture->store);
    store_txn_jobs_prune(txn, 1700000100004, 1);
    store_txn_jobs_prune(txn, 1700000100004, 10);
    test_commit(fixture->store, txn);

    struct store_reader *reader = open_reader(fixture);
    static const int64_t expected[][2] = {
        {ROW_JOB, 2}, {ROW_ATTEMPT, 2}, {ROW_PLACEMENT, 2}, {ROW_CHARGE, 4}};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        struct row_query query = {.kind = (enum row_kind)expected[i][0]};
        int64_t count = 0;
        assert_done(reader_count(reader, &query, &count, err));
        assert_int_equal(count, expected[i][1]);
    }
    assert_done(reader_documents(reader, "job-spec", NULL, NULL, 0, join_keys, &keys, err));
    assert_keys(&keys, "1@1 4@1 ");
    assert_done(reader_documents(reader, "job-progress", NULL, NULL, 0, join_keys, &keys, err));
    assert_keys(&keys, "1/1@1 20/1@1 4/1@1 ");
    assert_done(reader_documents(reader, "pool", NULL, NULL, 0, join_keys, &keys, err));
    assert_keys(&keys, "1@1 2@1 3@1 4@1 ");
    store_reader_close(reader);
}

static void only_the_owner_can_read_the_files(void **state)
{
    struct fixture *fixture = *state;
    static const char *const names[] = {STORE_FILE, STORE_FILE "-wal", "lock"};
    put_job(fixture->store, 1, JOB_QUEUED);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct stat st;
        assert_int_equal(stat(test_path(fixture->folder, names[i]), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_row_comes_back_as_it_was),
        TEST(live_rows_are_loaded_in_order_and_others_are_not),
        TEST(loading_stops_at_the_first_refusal),
        TEST(each_opening_begins_an_epoch_and_ticks_go_on),
        TEST(a_folder_has_one_store_at_a_time),
        TEST(a_wrong_tick_or_epoch_is_refused_and_stores_nothing),
        TEST(settling_says_what_is_there),
        TEST(rows_are_found_by_conditions_and_in_pages),
        TEST(charges_are_found_by_team_job_and_overlap),
        TEST(symbols_are_read_once),
        TEST(symbols_that_were_read_long_ago_are_read_again),
        TEST(documents_have_revisions_scopes_and_prefixes),
        TEST(a_reader_sees_one_moment_between_begin_and_end),
        TEST(many_different_queries_do_not_fill_the_reader),
        TEST(ended_jobs_are_pruned_with_all_that_is_theirs),
        TEST(only_the_owner_can_read_the_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
