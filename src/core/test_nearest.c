/* Tests of the node that comes nearest to what fits nowhere, and of digests of slices. */
#include "core/test_help.h"

#include <stdio.h>

static void two_pools(struct world *world)
{
    struct node small[] = {node_make("s", 4, 64, 2)};
    struct node large[] = {node_make("l", 64, 256, 8)};
    world_pool(world, "a", small, 1);
    world_pool(world, "b", large, 1);
    world_team(world, "t");
}

static const char *refused(struct world *world, const struct job *job, struct error *err)
{
    uint64_t id;
    core_begin(world->core, world->now_ms);
    assert_int_equal(core_job_submit(world->core, job, &id, err), -1);
    assert_int_equal(err->code, ERR_INVALID);
    core_end(world->core);
    return err->text;
}

static void a_refusal_names_the_largest_node(void **state)
{
    struct world *world = *state;
    struct error err;
    two_pools(world);
    struct job job = job_make("t", "a", 1, 16);
    assert_non_null(strstr(refused(world, &job, &err),
        "it asks 16 accelerators, and the nearest node, l of pool b, has 8"));
    job = job_make("t", "a", 65, 8);
    assert_non_null(strstr(
        refused(world, &job, &err), "it asks 65 cpu, and the nearest node, l of pool b, has 64"));
}

static void a_refusal_of_a_gang_says_how_many_ranks_fit(void **state)
{
    struct world *world = *state;
    struct error err;
    two_pools(world);
    struct job job = job_make("t", "a", 1, 4);
    job.gang.size = 5;
    assert_non_null(strstr(refused(world, &job, &err),
        "no pool, idle, could hold 5 ranks of this size at once: the pool b holds 2 of them"));
}

static void a_pool_that_is_named_is_one_condition(void **state)
{
    struct world *world = *state;
    struct error err;
    two_pools(world);
    struct job job = job_make("t", "a", 8, 2);
    job.placement.pool = "a";
    /* s of a lacks CPUs and l of b the name: one condition each. Of the amount half is there, of
     * the name nothing is measured, so l is nearer. */
    assert_non_null(strstr(
        refused(world, &job, &err), "it asks pool a, and the nearest node, l of pool b, has b"));
    job.resources.accelerator_milli = 16000;
    /* Now l lacks two and s two as well: 4 of 8 CPUs and 2 of 16 devices; l has 8 of 16. */
    assert_non_null(strstr(
        refused(world, &job, &err), "it asks pool a, and the nearest node, l of pool b, has b"));
}

/* A job waits for nodes that may come back, if it may go to their pool; not for ever larger ones of
 * pools whose nodes are all there. */
static void a_pool_whose_nodes_are_away_lets_jobs_wait(void **state)
{
    struct world *world = *state;
    struct error err;
    struct pool away = {.metadata.name = "away", .partial = true};
    two_pools(world);
    assert_int_equal(core_pool_put(world->core, &away, NULL), 0);
    world_tick(world, 0);
    struct job job = job_make("t", "elsewhere", 1, 16);
    job.placement.pool = "b";
    refused(world, &job, &err);
    job = job_make("t", "waits", 1, 16);
    uint64_t waits = world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(world_state(world, waits), JOB_QUEUED);
    world_reload(world);
    struct node back = node_make("n", 64, 256, 16);
    away = (struct pool){.metadata.name = "away", .nodes = {&back, 1}};
    assert_int_equal(core_pool_put(world->core, &away, NULL), 0);
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, waits), "n");
    job = job_make("t", "never", 1, 32);
    refused(world, &job, &err);
}

static void what_a_live_job_lacks_can_be_asked(void **state)
{
    struct world *world = *state;
    struct core_nearest nearest;
    two_pools(world);
    struct job job = job_make("t", "a", 8, 8);
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    core_job_nearest(world->core, a, &nearest);
    assert_int_equal(nearest.lack_count, 0);
    assert_true(nearest.ranks == 1 && nearest.need == 1);
    uint64_t s = core_job(world->core, a)->id;
    assert_false(core_job_matches(world->core, s, 1));
    assert_true(core_job_matches(world->core, s, 2));
    uint64_t attempt = core_job(world->core, a)->attempt;
    assert_true(core_attempt_holds(world->core, attempt, "cpu") == 8000);
    assert_true(core_attempt_holds(world->core, attempt, "gpu") == 8000);
    assert_true(core_attempt_holds(world->core, attempt, "nothing") == 0);
}

static void slices_cover_every_row_once(void **state)
{
    struct world *world = *state;
    two_pools(world);
    for (int i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof name, "j%d", i);
        struct job job = job_make("t", name, 1, 0);
        (void)world_submit(world, &job);
    }
    world_tick(world, 0);
    uint64_t after = 0, last = 0;
    size_t slices = 0;
    for (; last != UINT64_MAX; slices++, after = last) {
        uint64_t digest = core_digest_slice(world->core, ROW_JOB, after, 3, &last);
        uint64_t expected = CORE_DIGEST_START;
        for (size_t i = 0; i < world->rows.count; i++) {
            const struct stored_row *row = &world->rows.items[i];
            if (row->kind == ROW_JOB && row->live && row->id > after && row->id <= last)
                expected = core_digest_row(expected, ROW_JOB, row->bytes);
        }
        assert_true(digest == expected);
    }
    assert_int_equal(slices, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_refusal_names_the_largest_node),
        TEST(a_refusal_of_a_gang_says_how_many_ranks_fit),
        TEST(a_pool_that_is_named_is_one_condition),
        TEST(a_pool_whose_nodes_are_away_lets_jobs_wait),
        TEST(what_a_live_job_lacks_can_be_asked),
        TEST(slices_cover_every_row_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
