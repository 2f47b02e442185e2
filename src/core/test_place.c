/* Placement: which node, which devices, whole gangs. */
#include "core/test_help.h"

static void takes_the_node_that_is_left_fullest(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("big", 16, 64, 0), node_make("small", 4, 16, 0)};
    world_pool(world, "p", nodes, 2);
    world_team(world, "t");
    struct job job = job_make("t", "a", 3, 0);
    uint64_t a = world_submit(world, &job);
    world_tick(world, 1000);
    assert_string_equal(world_node_of(world, a), "small");
    assert_int_equal(world_state(world, a), JOB_STARTING);
}

static void keeps_accelerator_nodes_free_of_other_work(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("gpu", 8, 32, 4), node_make("cpu", 64, 256, 0)};
    world_pool(world, "p", nodes, 2);
    world_team(world, "t");
    struct job job = job_make("t", "a", 8, 0);
    uint64_t a = world_submit(world, &job);
    world_tick(world, 1000);
    assert_string_equal(world_node_of(world, a), "cpu");
}

static void admits_a_gang_whole_or_not_at_all(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 2)};
    nodes[0].count = 2;
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    struct job one = job_make("t", "one", 1, 1);
    uint64_t first = world_submit(world, &one);
    world_tick(world, 1000);
    world_start(world, first);
    struct job gang = job_make("t", "gang", 1, 1);
    gang.gang.size = 4;
    uint64_t four = world_submit(world, &gang);
    world_tick(world, 1000);
    assert_int_equal(world_state(world, four), JOB_QUEUED);
    struct core_counts counts;
    core_count(world->core, &counts);
    assert_int_equal(counts.attempts_live, 1);
    world_end(world, first, END_SUCCEEDED);
    world_tick(world, 1000);
    assert_int_equal(world_state(world, first), JOB_SUCCEEDED);
    assert_int_equal(world_state(world, four), JOB_STARTING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(takes_the_node_that_is_left_fullest),
        TEST(keeps_accelerator_nodes_free_of_other_work),
        TEST(admits_a_gang_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
