/* The simulated store does what a real one would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sim/sim_store.h"

#include <stdio.h>
#include <string.h>

struct fixture {
    struct sim_store *store;
    struct sim_txn txn;
};

static int setup(void **context)
{
    struct fixture *fixture = test_calloc(1, sizeof *fixture);
    fixture->store = sim_store_create();
    sim_txn_init(&fixture->txn);
    fixture->txn.tick = sim_store_next_tick(fixture->store);
    struct team_row team = {.id = 7, .weight_micro = 1};
    sim_txn_add(&fixture->txn, CHANGE_PUT, ROW_TEAM, &team);
    *context = fixture;
    return 0;
}

static int teardown(void **context)
{
    struct fixture *fixture = *context;
    sim_txn_finish(&fixture->txn);
    sim_store_destroy(fixture->store);
    test_free(fixture);
    return 0;
}

static void a_failed_commit_stores_nothing(void **context)
{
    struct fixture *fixture = *context;
    struct error err = {0};
    assert_int_equal(sim_store_commit(fixture->store, &fixture->txn, COMMIT_FAILS, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_null(sim_store_row(fixture->store, ROW_TEAM, 7));
    assert_false(sim_store_settle(fixture->store, fixture->txn.tick));
}

static void an_unknown_commit_is_settled_either_way(void **context)
{
    struct fixture *fixture = *context;
    struct error err = {0};
    assert_int_equal(
        sim_store_commit(fixture->store, &fixture->txn, COMMIT_UNKNOWN_LOST, &err), -1);
    assert_int_equal(err.code, ERR_UNKNOWN);
    assert_false(sim_store_settle(fixture->store, fixture->txn.tick));
    assert_int_equal(
        sim_store_commit(fixture->store, &fixture->txn, COMMIT_UNKNOWN_DONE, &err), -1);
    assert_int_equal(err.code, ERR_UNKNOWN);
    assert_true(sim_store_settle(fixture->store, fixture->txn.tick));
    assert_non_null(sim_store_row(fixture->store, ROW_TEAM, 7));
}

static void a_tick_is_stored_once(void **context)
{
    struct fixture *fixture = *context;
    struct error err = {0};
    assert_int_equal(sim_store_commit(fixture->store, &fixture->txn, COMMIT_DONE, &err), 0);
    assert_int_equal(sim_store_commit(fixture->store, &fixture->txn, COMMIT_DONE, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
}

static void rows_are_kept_in_the_order_of_their_ids(void **context)
{
    struct fixture *fixture = *context;
    static const uint64_t ids[] = {5, 1, 9, 3};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        struct team_row team = {.id = ids[i]};
        sim_store_put(fixture->store, ROW_TEAM, &team);
    }
    assert_int_equal(sim_store_count(fixture->store, ROW_TEAM), ARRAY_LEN(ids));
    for (size_t i = 1; i < ARRAY_LEN(ids); i++)
        assert_true(sim_row_id(sim_store_at(fixture->store, ROW_TEAM, i - 1)) <
                    sim_row_id(sim_store_at(fixture->store, ROW_TEAM, i)));
    assert_int_equal(sim_store_last_id(fixture->store, ROW_TEAM), 9);
}

static void a_retired_row_is_readable_and_not_live(void **context)
{
    struct fixture *fixture = *context;
    struct error err = {0};
    struct job_row job = {.id = 3, .state = JOB_SUCCEEDED};
    sim_txn_add(&fixture->txn, CHANGE_RETIRE, ROW_JOB, &job);
    assert_int_equal(sim_store_commit(fixture->store, &fixture->txn, COMMIT_DONE, &err), 0);
    assert_null(sim_store_row(fixture->store, ROW_JOB, 3));
    const struct job_row *retired = sim_store_retired(fixture->store, ROW_JOB, 3);
    assert_non_null(retired);
    assert_int_equal(retired->state, JOB_SUCCEEDED);
}

static void padding_does_not_make_rows_differ(void **context)
{
    (void)context;
    struct job_row a, b;
    const struct column *column = NULL;
    memset(&a, 0, sizeof a);
    memset(&b, 0xff, sizeof b);
    const struct row_type *type = row_type(ROW_JOB);
    for (size_t i = 0; i < type->column_count; i++)
        memset((char *)&b + type->columns[i].offset, 0, type->columns[i].size);
    assert_true(sim_row_equal(ROW_JOB, &a, &b, &column));
    b.priority = 1;
    assert_false(sim_row_equal(ROW_JOB, &a, &b, &column));
    assert_string_equal(column->name, "priority");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

/* ---- rollouts are loaded as they were -------------------------------------------------------- */

static void put_rollout(struct sim_store *store, int64_t requests)
{
    struct team_row team = {.id = 7, .name = 1, .weight_micro = 1};
    struct service_row service = {
        .id = 1, .team = 7, .name = 2, .revision = 2, .replicas = 1, .surge = 1};
    struct rollout_row rollout = {.id = 1,
        .service = 1,
        .state = ROLLOUT_TESTING,
        .stable = 1,
        .plan = {.strategy = ROLLOUT_SHADOW,
            .steps = 1,
            .weights = {10},
            .alpha_ppm = 50000,
            .differences_ppm = 1000}};
    struct evidence_row seen = {.id = 1, .rollout = 1, .arm = ARM_CANARY, .requests = requests};
    struct symbol_row symbols[] = {
        {.id = 1, .pinned = 1, .text = "product"}, {.id = 2, .pinned = 1, .text = "chat"}};
    for (size_t i = 0; i < ARRAY_LEN(symbols); i++)
        sim_store_put(store, ROW_SYMBOL, &symbols[i]);
    static const enum row_kind kinds[] = {
        ROW_SYMBOL, ROW_TEAM, ROW_SERVICE, ROW_ROLLOUT, ROW_EVIDENCE};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct counter_row counter = {.id = kinds[i] + 1u, .last = 7};
        snprintf(counter.name, sizeof counter.name, "%s", row_type(kinds[i])->name);
        sim_store_put(store, ROW_COUNTER, &counter);
    }
    sim_store_put(store, ROW_TEAM, &team);
    sim_store_put(store, ROW_SERVICE, &service);
    sim_store_put(store, ROW_ROLLOUT, &rollout);
    sim_store_put(store, ROW_EVIDENCE, &seen);
}

static void a_rollout_is_loaded_as_it_was(void **context)
{
    struct fixture *fixture = *context;
    struct error err = {0};
    struct core_options options = {0};
    put_rollout(fixture->store, 40);
    struct core *core = sim_store_load(fixture->store, &options, &err);
    if (!core)
        fail_msg("%s", err.text);
    assert_int_equal(sim_store_compare(fixture->store, core, &err), 0);
    put_rollout(fixture->store, 41); /* what was measured meanwhile */
    assert_int_equal(sim_store_compare(fixture->store, core, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    struct core *other = sim_store_load(fixture->store, &options, &err);
    assert_true(core_digest(core) != core_digest(other));
    core_destroy(core);
    core_destroy(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_rollout_is_loaded_as_it_was),
        TEST(a_failed_commit_stores_nothing),
        TEST(an_unknown_commit_is_settled_either_way),
        TEST(a_tick_is_stored_once),
        TEST(rows_are_kept_in_the_order_of_their_ids),
        TEST(a_retired_row_is_readable_and_not_live),
        cmocka_unit_test(padding_does_not_make_rows_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
