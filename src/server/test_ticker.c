/* The ticker on a disk that fails: what was answered is stored, what failed never was, and the
 * server goes on. */
#include "server/test_world.h"

#include "server/catalog.h"
#include "server/tokens.h"

#include <event2/event.h>
#include <string.h>

enum { FAULTS_MAX = 200, FOR_LONG = 1000000 };

static int setup(void **state)
{
    *state = world_create();
    return 0;
}

static int teardown(void **state)
{
    world_destroy(*state);
    return 0;
}

static void a_command_is_answered_once_and_after_its_commit(void **state)
{
    struct world *world = *state;
    struct probe probe = {.key = "a"};
    assert_int_equal(probe_submit(world, &probe), 0);
    assert_int_equal(probe.answered, 0);
    world_settle(world);
    assert_int_equal(probe.ran, 1);
    assert_int_equal(probe.answered, 1);
    assert_true(probe.stored);
}

static void a_refused_command_leaves_the_others_of_its_tick_alone(void **state)
{
    struct world *world = *state;
    struct probe first = {.key = "a"}, refused = {.key = "b", .fail = true}, last = {.key = "c"};
    struct ticker_stats before, after;
    ticker_stats(world->server.ticker, &before);
    assert_int_equal(probe_submit(world, &first), 0);
    assert_int_equal(probe_submit(world, &refused), 0);
    assert_int_equal(probe_submit(world, &last), 0);
    world_settle(world);
    ticker_stats(world->server.ticker, &after);
    assert_true(first.stored && last.stored);
    assert_int_equal(refused.error.code, ERR_CONFLICT);
    assert_false(probe_is_stored(world, &refused));
    assert_int_equal(after.reloads, before.reloads);
}

static void a_spoiled_command_takes_back_only_itself(void **state)
{
    struct world *world = *state;
    struct probe first = {.key = "a"}, spoiled = {.key = "b", .spoil = true}, last = {.key = "c"};
    assert_int_equal(probe_submit(world, &first), 0);
    assert_int_equal(probe_submit(world, &spoiled), 0);
    assert_int_equal(probe_submit(world, &last), 0);
    world_settle(world);
    assert_true(first.stored && last.stored);
    assert_int_equal(first.answered, 1);
    assert_int_equal(spoiled.answered, 1);
    assert_int_equal(last.answered, 1);
    assert_int_equal(spoiled.error.code, ERR_CONFLICT);
    assert_false(probe_is_stored(world, &spoiled));
}

static void ignore_answer(void *context, const struct error *err)
{
    (void)context, (void)err;
}

static int run_careful(struct tick *tick, void *context, struct error *err)
{
    int *allowed = context;
    if (!tick_may_spoil(tick))
        return error_set(err, ERR_BUSY, "too often");
    (*allowed)++;
    tick_spoil(tick);
    return error_set(err, ERR_CONFLICT, "spoiled, as asked");
}

static void nobody_makes_the_server_load_itself_over_and_over(void **state)
{
    struct world *world = *state;
    struct ticker_stats before, after;
    int allowed = 0;
    struct error err;
    ticker_stats(world->server.ticker, &before);
    for (int i = 0; i < 100; i++)
        assert_int_equal(ticker_submit(world->server.ticker, "tester", run_careful, ignore_answer,
                             &allowed, &err),
            0);
    world_settle(world);
    ticker_stats(world->server.ticker, &after);
    assert_true(after.reloads - before.reloads < 100);
    assert_int_equal(after.reloads - before.reloads, allowed);
}

static void a_full_disk_refuses_and_reading_goes_on(void **state)
{
    struct world *world = *state;
    struct probe refused = {.key = "a"}, later = {.key = "b"};
    fault_vfs_plan(world->vfs, FAULT_FULL, 0, FOR_LONG);
    assert_int_equal(probe_submit(world, &refused), 0);
    world_work(world);
    assert_int_equal(refused.answered, 1);
    assert_true(refused.error.code != ERR_NONE);
    assert_non_null(catalog_find(world->server.catalog, KIND_TEAM, "root"));

    fault_vfs_plan(world->vfs, FAULT_NONE, 0, 0);
    world_settle(world);
    assert_int_equal(probe_submit(world, &later), 0);
    world_settle(world);
    assert_true(later.stored);
    assert_false(probe_is_stored(world, &refused));
}

struct issued {
    char text[TOKEN_TEXT];
    char id[TOKEN_TEXT];
};

static int run_issue(struct tick *tick, void *context, struct error *err)
{
    struct issued *issued = context;
    (void)err;
    struct token_request request = {.user = "ada"};
    tokens_issue(tick_server(tick)->tokens, tick, &request, issued->text, issued->id);
    return 0;
}

static void what_a_failed_commit_put_in_memory_is_taken_back(void **state)
{
    struct world *world = *state;
    struct issued issued;
    struct error err;
    fault_vfs_plan(world->vfs, FAULT_FULL, 0, FOR_LONG);
    assert_int_equal(
        ticker_submit(world->server.ticker, "tester", run_issue, ignore_answer, &issued, &err), 0);
    world_work(world);
    fault_vfs_plan(world->vfs, FAULT_NONE, 0, 0);
    world_settle(world);
    struct token_owner owner;
    assert_int_equal(tokens_check(world->server.tokens, issued.text, 0, &owner), -1);
    assert_null(tokens_user(world->server.tokens, issued.id));
}

static void what_waited_for_a_failed_commit_is_refused_and_does_not_run(void **state)
{
    struct world *world = *state;
    struct probe failed = {.key = "a"}, waited = {.key = "b"};
    fault_vfs_plan(world->vfs, FAULT_FULL, 0, FOR_LONG);
    assert_int_equal(probe_submit(world, &failed), 0);
    while (!ticker_busy(world->server.ticker))
        event_base_loop(world->server.base, EVLOOP_ONCE);
    assert_int_equal(probe_submit(world, &waited), 0);
    world_work(world);
    assert_true(failed.error.code != ERR_NONE);
    assert_int_equal(waited.answered, 1);
    assert_int_equal(waited.error.code, ERR_UNAVAILABLE);
    assert_int_equal(waited.ran, 0);
}

/* One disk operation of a commit fails: the answer tells the truth. An answer that the outcome is
 * not known promises nothing. */
static bool try_fault(struct world *world, enum fault_kind kind, uint64_t number)
{
    char key[32];
    snprintf(key, sizeof key, "%d-%d", (int)kind, (int)number);
    struct probe probe = {.key = key}, after = {.key = "after"};
    uint64_t start = fault_vfs_operations(world->vfs);
    fault_vfs_plan(world->vfs, kind, number, 1);
    assert_int_equal(probe_submit(world, &probe), 0);
    world_settle(world);
    bool reached = fault_vfs_operations(world->vfs) > start + number;
    fault_vfs_plan(world->vfs, FAULT_NONE, 0, 0);
    assert_int_equal(probe.answered, 1);
    if (probe.error.code == ERR_NONE)
        assert_true(probe.stored);
    else if (probe.error.code != ERR_UNKNOWN)
        assert_false(probe_is_stored(world, &probe));
    assert_int_equal(probe_submit(world, &after), 0);
    world_settle(world);
    assert_true(after.stored);
    return reached;
}

static void an_answer_is_true_whichever_disk_operation_fails(void **state)
{
    struct world *world = *state;
    static const enum fault_kind kinds[] = {FAULT_IO, FAULT_SYNC};
    struct ticker_stats stats;
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        uint64_t number = 0;
        while (number < FAULTS_MAX && try_fault(world, kinds[k], number))
            number++;
        assert_in_range(number, 1, FAULTS_MAX - 1);
    }
    ticker_stats(world->server.ticker, &stats);
    assert_true(stats.commits_unknown > 0);
    assert_true(stats.commits_failed > 0);
}

static void a_full_disk_is_told_until_a_write_succeeds(void **state)
{
    struct world *world = *state;
    struct probe probe = {.key = "a"};
    assert_null(ticker_trouble(world->server.ticker));
    fault_vfs_plan(world->vfs, FAULT_FULL, 0, FOR_LONG);
    assert_int_equal(probe_submit(world, &probe), 0);
    world_work(world);
    assert_non_null(ticker_trouble(world->server.ticker));
    fault_vfs_plan(world->vfs, FAULT_NONE, 0, 0);
    world_settle(world);
    assert_null(ticker_trouble(world->server.ticker));
}

static void a_server_that_stops_accepts_nothing(void **state)
{
    struct world *world = *state;
    struct probe probe = {.key = "a"};
    world->server.stopping = true;
    assert_int_equal(probe_submit(world, &probe), -1);
    assert_int_equal(probe.error.code, ERR_UNAVAILABLE);
    world->server.stopping = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_command_is_answered_once_and_after_its_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_refused_command_leaves_the_others_of_its_tick_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_spoiled_command_takes_back_only_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(
            nobody_makes_the_server_load_itself_over_and_over, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_refuses_and_reading_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(
            what_a_failed_commit_put_in_memory_is_taken_back, setup, teardown),
        cmocka_unit_test_setup_teardown(
            what_waited_for_a_failed_commit_is_refused_and_does_not_run, setup, teardown),
        cmocka_unit_test_setup_teardown(
            an_answer_is_true_whichever_disk_operation_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_full_disk_is_told_until_a_write_succeeds, setup, teardown),
        cmocka_unit_test_setup_teardown(a_server_that_stops_accepts_nothing, setup, teardown),
    };
    return cmocka_run_group_tests_name("server_ticker", tests, NULL, NULL);
}
