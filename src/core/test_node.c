/* Nodes that are cordoned, drained, reserved, lost, changed and taken away. */
#include "core/limits.h"
#include "core/test_help.h"

static uint64_t one_running(struct world *world)
{
    struct node nodes[] = {node_make("x", 8, 32, 0), node_make("y", 16, 64, 0)};
    world_pool(world, "p", nodes, 2);
    world_team(world, "t");
    struct job job = job_make("t", "a", 2, 0);
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, a);
    assert_string_equal(world_node_of(world, a), "x");
    return a;
}

static void a_cordoned_node_keeps_what_it_has_and_takes_no_more(void **state)
{
    struct world *world = *state;
    uint64_t a = one_running(world);
    assert_int_equal(core_node_wish(world->core, "p", "x", NODE_CORDON, NULL), 0);
    struct job job = job_make("t", "b", 2, 0);
    uint64_t b = world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(world_state(world, a), JOB_RUNNING);
    assert_string_equal(world_node_of(world, b), "y");
    assert_int_equal(core_node_wish(world->core, "p", "x", NODE_UNCORDON, NULL), 0);
    job.metadata.name = "c";
    uint64_t c = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, c), "x");
}

static void a_drained_node_sends_its_jobs_elsewhere(void **state)
{
    struct world *world = *state;
    uint64_t a = one_running(world);
    assert_int_equal(core_node_wish(world->core, "p", "x", NODE_DRAIN, NULL), 0);
    world_tick(world, 0);
    assert_int_equal(world_state(world, a), JOB_STOPPING);
    world_end(world, a, END_SIGNAL);
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, a), "y");
    assert_int_equal(world_job(world, a)->failures, 0);
    assert_int_equal(world_job(world, a)->preemptions, 0);
}

static void maintenance_lets_in_only_what_ends_before_it(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("x", 8, 32, 0)};
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    int64_t begin_ms = START_MS + HOUR_MS;
    assert_int_equal(
        core_node_reserve(world->core, "p", "x", begin_ms, begin_ms + HOUR_MS, NULL), 0);
    struct job job = job_make("t", "short", 1, 0);
    job.time_limit_ms = HOUR_MS;
    uint64_t fits = world_submit(world, &job);
    job.metadata.name = "long";
    job.time_limit_ms = HOUR_MS + 1;
    uint64_t longer = world_submit(world, &job);
    job.metadata.name = "open";
    job.time_limit_ms = 0;
    uint64_t open = world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(world_state(world, fits), JOB_STARTING);
    assert_int_equal(world_state(world, longer), JOB_QUEUED);
    assert_int_equal(world_state(world, open), JOB_QUEUED);
    world_tick(world, 30 * MINUTE_MS);
    world_start(world, fits); /* late: it will still run when maintenance begins */
    world_tick(world, 0);
    assert_int_equal(core_next_ms(world->core), begin_ms);
    world_tick(world, 30 * MINUTE_MS);
    assert_int_equal(world_state(world, fits), JOB_STOPPING);
    world_end(world, fits, END_SIGNAL);
    world_tick(world, 0);
    assert_int_equal(world_state(world, fits), JOB_QUEUED);
    assert_true(core_next_ms(world->core) <= begin_ms + HOUR_MS);
    world_tick(world, HOUR_MS);
    assert_int_equal(world_state(world, open), JOB_STARTING);
    assert_int_equal(world_state(world, fits), JOB_STARTING);
}

static void a_node_that_leaves_its_pool_stays_until_it_is_empty(void **state)
{
    struct world *world = *state;
    uint64_t a = one_running(world);
    struct node only[] = {node_make("z", 8, 32, 0)};
    world_pool(world, "p", only, 1);
    world_tick(world, MINUTE_MS);
    struct core_counts counts;
    core_count(world->core, &counts);
    assert_int_equal(counts.nodes_up, 2); /* x, which is busy, and z */
    assert_int_equal(world_state(world, a), JOB_RUNNING);
    struct error err;
    assert_int_equal(core_pool_delete(world->core, "p", &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    world_end(world, a, END_SUCCEEDED);
    world_tick(world, 0);
    core_count(world->core, &counts);
    assert_int_equal(counts.nodes_up, 1);
    assert_int_equal(core_pool_delete(world->core, "p", &err), 0);
    world_tick(world, 0);
    assert_int_equal(core_pool_find(world->core, "p"), 0);
}

static void a_node_does_not_shrink_below_what_it_holds(void **state)
{
    struct world *world = *state;
    one_running(world);
    struct node smaller[] = {node_make("x", 1, 32, 0)};
    struct pool pool = {.metadata.name = "p", .nodes = {smaller, 1}};
    struct error err;
    assert_int_equal(core_pool_put(world->core, &pool, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    smaller[0].capacity.cpu_milli = 0;
    assert_int_equal(core_pool_put(world->core, &pool, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    world_tick(world, 0);
}

static void a_lost_node_comes_back(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("x", 8, 32, 0)};
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    assert_true(core_node_report(world->core, "p", "x", false));
    struct job job = job_make("t", "a", 1, 0);
    uint64_t a = world_submit(world, &job); /* it is lost, not gone: the job may wait for it */
    world_tick(world, MINUTE_MS);
    assert_int_equal(world_state(world, a), JOB_QUEUED);
    assert_true(core_node_report(world->core, "p", "x", true));
    world_tick(world, 0);
    assert_int_equal(world_state(world, a), JOB_STARTING);
}

static void what_does_not_tolerate_a_new_taint_has_to_go(void **state)
{
    struct world *world = *state;
    uint64_t a = one_running(world);
    struct taint broken = {"broken", "yes", TAINT_NO_EXECUTE};
    struct node nodes[] = {node_make("x", 8, 32, 0), node_make("y", 16, 64, 0)};
    nodes[0].taints.items = &broken;
    nodes[0].taints.count = 1;
    world_pool(world, "p", nodes, 2);
    world_tick(world, 0);
    assert_int_equal(world_state(world, a), JOB_STOPPING);
}

/* Every sum of what nodes have fits the numbers that it is counted with. */
static void more_than_can_be_counted_is_refused(void **state)
{
    struct world *world = *state;
    struct error err;
    struct node nodes[] = {node_make("n", 8, 32, 0)};
    nodes[0].capacity.disk_bytes = AMOUNT_MAX;
    nodes[0].count = 40000;
    struct pool pool = {.metadata.name = "p", .nodes = {nodes, 1}};
    assert_int_equal(core_pool_put(world->core, &pool, &err), -1);
    assert_int_equal(err.code, ERR_TOO_LARGE);
    nodes[0].count = 4;
    assert_int_equal(core_pool_put(world->core, &pool, &err), 0);
    world_tick(world, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_cordoned_node_keeps_what_it_has_and_takes_no_more),
        TEST(a_drained_node_sends_its_jobs_elsewhere),
        TEST(maintenance_lets_in_only_what_ends_before_it),
        TEST(a_node_that_leaves_its_pool_stays_until_it_is_empty),
        TEST(a_node_does_not_shrink_below_what_it_holds),
        TEST(a_lost_node_comes_back),
        TEST(what_does_not_tolerate_a_new_taint_has_to_go),
        TEST(more_than_can_be_counted_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
