/* Tests of what a waiting job says it waits for, one for each kind, with its numbers. */
#include "core/test_help.h"

static void pool_of(struct world *world, int64_t cpus)
{
    struct node nodes[] = {node_make("n", cpus, 64, 2)};
    world_pool(world, "p", nodes, 1);
}

static struct core_block blocked(struct world *world, uint64_t job)
{
    struct core_block block;
    core_job_blocked(world->core, job, &block);
    return block;
}

static void a_job_with_an_attempt_waits_for_nothing(void **state)
{
    struct world *world = *state;
    pool_of(world, 8);
    world_team(world, "t");
    struct job job = job_make("t", "a", 1, 0);
    uint64_t a = world_submit(world, &job);
    assert_int_equal(blocked(world, a).kind, BLOCK_TURN); /* until the next pass */
    world_tick(world, 0);
    assert_int_equal(blocked(world, a).kind, BLOCK_NONE);
    assert_int_equal(blocked(world, a + 1).kind, BLOCK_NONE);
}

static void holds_dependencies_and_moments_are_told_apart(void **state)
{
    struct world *world = *state;
    struct dependency on[] = {{.job = "a"}, {.job = "b"}};
    pool_of(world, 8);
    world_team(world, "t");
    struct job job = job_make("t", "a", 1, 0);
    job.hold = true;
    uint64_t a = world_submit(world, &job);
    assert_int_equal(blocked(world, a).kind, BLOCK_HELD);
    job = job_make("t", "b", 1, 0);
    job.start_after_ms = world->now_ms + MINUTE_MS;
    uint64_t b = world_submit(world, &job);
    assert_int_equal(blocked(world, b).kind, BLOCK_MOMENT);
    assert_true(blocked(world, b).until_ms == world->now_ms + MINUTE_MS);
    job = job_make("t", "c", 1, 0);
    job.depends_on.items = on;
    job.depends_on.count = 2;
    struct core_block block = blocked(world, world_submit(world, &job));
    assert_int_equal(block.kind, BLOCK_DEPENDENCY);
    assert_true(block.job == a && block.other_jobs == 1);
}

static void the_team_at_its_limit_is_named(void **state)
{
    struct world *world = *state;
    pool_of(world, 8);
    world_team_quota(world, "all", NULL, "cpu", 0, 3000);
    world_team_quota(world, "t", "all", "cpu", 0, 5000);
    struct job job = job_make("t", "a", 2, 0);
    (void)world_submit(world, &job);
    world_tick(world, 0);
    job.metadata.name = "b";
    struct core_block block = blocked(world, world_submit(world, &job));
    assert_int_equal(block.kind, BLOCK_LIMIT);
    assert_true(block.team == core_team_find(world->core, "all"));
    assert_string_equal(block.resource, "cpu");
    assert_true(block.held == 2000 && block.need == 2000 && block.limit == 3000);
}

static void what_is_guaranteed_to_others_is_not_for_what_stays(void **state)
{
    struct world *world = *state;
    pool_of(world, 8);
    world_team_quota(world, "owner", NULL, "cpu", 7000, -1);
    world_team(world, "t");
    struct job job = job_make("t", "a", 2, 0);
    job.preemptible = false;
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    struct core_block block = blocked(world, a);
    assert_int_equal(block.kind, BLOCK_GUARANTEE);
    assert_true(block.team == core_team_find(world->core, "t") && block.need == 2000);
    assert_string_equal(block.resource, "cpu");
}

static void an_array_at_its_bound_says_so(void **state)
{
    struct world *world = *state;
    pool_of(world, 8);
    world_team(world, "t");
    struct job job = job_make("t", "a", 1, 0);
    job.array.count = 3;
    job.array.parallel = 2;
    uint64_t first = world_submit(world, &job);
    world_tick(world, 0);
    struct core_block block = blocked(world, first + 2);
    assert_int_equal(block.kind, BLOCK_ARRAY);
    assert_true(block.held == 2 && block.limit == 2);
}

static void a_full_a_closed_and_a_shrunk_pool_are_told_apart(void **state)
{
    struct world *world = *state;
    struct error err;
    pool_of(world, 8);
    world_team(world, "t");
    struct job job = job_make("t", "a", 5, 0);
    (void)world_submit(world, &job);
    world_tick(world, 0);
    job = job_make("t", "b", 3, 0);
    job.gang.size = 2;
    uint64_t b = world_submit(world, &job);
    world_tick(world, 0);
    struct core_block block = blocked(world, b);
    assert_int_equal(block.kind, BLOCK_ROOM);
    assert_true(block.held == 1 && block.need == 2);
    assert_int_equal(core_node_wish(world->core, "p", "n", NODE_CORDON, &err), 0);
    assert_int_equal(blocked(world, b).kind, BLOCK_CLOSED);
    pool_of(world, 5);
    world_tick(world, 0);
    assert_int_equal(blocked(world, b).kind, BLOCK_IMPOSSIBLE);
    assert_int_equal(world_state(world, b), JOB_QUEUED); /* the pool may grow again */
}

static void a_place_in_the_making_is_named(void **state)
{
    struct world *world = *state;
    pool_of(world, 4);
    world_team(world, "t");
    struct job job = job_make("t", "low", 4, 0);
    job.priority = PRIORITY_LOW;
    uint64_t low = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, low);
    job = job_make("t", "high", 4, 0);
    job.priority = PRIORITY_HIGH;
    uint64_t high = world_submit(world, &job);
    world_tick(world, 0);
    struct core_block block = blocked(world, high);
    assert_int_equal(block.kind, BLOCK_CLAIM);
    assert_string_equal(core_symbol(world->core, core_node(world->core, block.node)->name), "n");
}

/* A job of low priority, all of the pool or a part, that says how often it saves. */
static uint64_t saving(struct world *world, const char *name, int64_t cpus, int64_t interval_ms)
{
    struct job job = job_make("t", name, cpus, 0);
    job.priority = PRIORITY_LOW;
    job.checkpoint.interval_ms = interval_ms;
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, id);
    return id;
}

/* To be asked changes nothing: not the state, not when the core wants to be called again. */
static struct core_block blocked_quietly(struct world *world, uint64_t job)
{
    uint64_t digest = core_digest(world->core);
    int64_t next_ms = core_next_ms(world->core);
    struct error err;
    struct core_block block = blocked(world, job);
    assert_true(core_digest(world->core) == digest);
    assert_int_equal(core_next_ms(world->core), next_ms);
    assert_int_equal(core_check(world->core, &err), 0);
    return block;
}

static void a_checkpoint_that_is_waited_for_is_named(void **state)
{
    struct world *world = *state;
    pool_of(world, 4);
    world_team(world, "t");
    uint64_t low = saving(world, "low", 4, 25 * MINUTE_MS);
    world_tick(world, 20 * MINUTE_MS);
    struct job job = job_make("t", "normal", 4, 0);
    uint64_t normal = world_submit(world, &job);
    assert_int_equal(blocked_quietly(world, normal).kind, BLOCK_ROOM); /* nobody looked yet */
    world_tick(world, 0);
    int64_t since_ms = world->now_ms;
    for (int i = 0; i < 4; i++) {
        struct core_block block = blocked_quietly(world, normal);
        assert_int_equal(block.kind, BLOCK_CHECKPOINT);
        assert_true(block.job == low && block.other_jobs == 0);
        assert_true(block.held == 0 && block.need == 1);
        assert_true(block.due_ms == since_ms + 5 * MINUTE_MS);
        assert_true(block.until_ms >= since_ms + 20 * MINUTE_MS);
        assert_true(block.until_ms < since_ms + 21 * MINUTE_MS);
        world_tick(world, MINUTE_MS);
    }
    world_checkpoint(world, low, since_ms + 5 * MINUTE_MS);
    world_tick(world, MINUTE_MS);
    assert_int_equal(world_state(world, low), JOB_STOPPING);
    assert_int_equal(blocked_quietly(world, normal).kind, BLOCK_CLAIM);
}

/* The one whose checkpoint is due first is named, the other one counted. */
static void of_several_checkpoints_the_first_is_named(void **state)
{
    struct world *world = *state;
    pool_of(world, 4);
    world_team(world, "t");
    (void)saving(world, "later", 2, 27 * MINUTE_MS);
    uint64_t first = saving(world, "first", 2, 25 * MINUTE_MS);
    world_tick(world, 20 * MINUTE_MS);
    struct job job = job_make("t", "gang", 2, 0);
    job.gang.size = 2;
    uint64_t gang = world_submit(world, &job);
    world_tick(world, 0);
    struct core_block block = blocked_quietly(world, gang);
    assert_int_equal(block.kind, BLOCK_CHECKPOINT);
    assert_true(block.job == first && block.other_jobs == 1 && block.need == 2);
    assert_true(block.due_ms == world->now_ms + 5 * MINUTE_MS);
}

/* Neither who stops others at once nor who may stop nobody. */
static void who_may_not_wait_names_no_checkpoint(void **state)
{
    struct world *world = *state;
    pool_of(world, 4);
    world_team(world, "t");
    uint64_t low = saving(world, "low", 4, 25 * MINUTE_MS);
    world_tick(world, 20 * MINUTE_MS);
    struct job job = job_make("t", "high", 4, 0);
    job.priority = PRIORITY_HIGH;
    uint64_t high = world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(world_state(world, low), JOB_STOPPING);
    assert_int_equal(blocked_quietly(world, high).kind, BLOCK_CLAIM);
    job = job_make("t", "low too", 4, 0);
    job.priority = PRIORITY_LOW;
    uint64_t other = world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(blocked_quietly(world, other).kind, BLOCK_ROOM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_job_with_an_attempt_waits_for_nothing),
        TEST(holds_dependencies_and_moments_are_told_apart),
        TEST(the_team_at_its_limit_is_named),
        TEST(what_is_guaranteed_to_others_is_not_for_what_stays),
        TEST(an_array_at_its_bound_says_so),
        TEST(a_full_a_closed_and_a_shrunk_pool_are_told_apart),
        TEST(a_place_in_the_making_is_named),
        TEST(a_checkpoint_that_is_waited_for_is_named),
        TEST(of_several_checkpoints_the_first_is_named),
        TEST(who_may_not_wait_names_no_checkpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
