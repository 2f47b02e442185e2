/* The quota tree and fair share. */
#include "core/test_help.h"

static uint64_t submit(struct world *world, const char *team, const char *name, int64_t devices)
{
    struct job job = job_make(team, name, 1, devices);
    return world_submit(world, &job);
}

static void pool_of_devices(struct world *world, int64_t count)
{
    struct node nodes[] = {node_make("n", 8, 32, 1)};
    nodes[0].count = count;
    world_pool(world, "p", nodes, 1);
}

static void a_limit_is_never_passed(void **state)
{
    struct world *world = *state;
    pool_of_devices(world, 4);
    world_team_quota(world, "t", NULL, "accelerators", 0, 2000);
    uint64_t a = submit(world, "t", "a", 1), b = submit(world, "t", "b", 1);
    uint64_t c = submit(world, "t", "c", 1);
    world_tick(world, 1000);
    assert_int_equal(world_state(world, a), JOB_STARTING);
    assert_int_equal(world_state(world, b), JOB_STARTING);
    assert_int_equal(world_state(world, c), JOB_QUEUED);
}

static void a_parents_limit_counts_its_children_together(void **state)
{
    struct world *world = *state;
    pool_of_devices(world, 4);
    world_team_quota(world, "top", NULL, "gpu", 0, 3000);
    world_team_quota(world, "x", "top", "gpu", 0, -1);
    world_team_quota(world, "y", "top", "gpu", 0, -1);
    uint64_t ids[4] = {submit(world, "x", "a", 1), submit(world, "x", "b", 1),
        submit(world, "y", "c", 1), submit(world, "y", "d", 1)};
    world_tick(world, 1000);
    int running = 0;
    for (int i = 0; i < 4; i++)
        running += world_state(world, ids[i]) == JOB_STARTING;
    assert_int_equal(running, 3);
}

static void what_is_guaranteed_is_borrowed_and_taken_back(void **state)
{
    struct world *world = *state;
    pool_of_devices(world, 4);
    world_team_quota(world, "owner", NULL, "accelerators", 2000, -1);
    world_team_quota(world, "guest", NULL, "accelerators", 2000, -1);
    uint64_t ids[4];
    static const char *const names[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++)
        ids[i] = submit(world, "guest", names[i], 1);
    world_tick(world, 1000);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(world_state(world, ids[i]), JOB_STARTING);
        world_start(world, ids[i]);
    }
    uint64_t back[3] = {submit(world, "owner", "x", 1), submit(world, "owner", "y", 1),
        submit(world, "owner", "z", 1)};
    world_tick(world, 1000);
    int stopping = 0;
    for (int i = 0; i < 4; i++)
        stopping += world_state(world, ids[i]) == JOB_STOPPING;
    assert_int_equal(stopping, 2); /* the guest keeps what it is guaranteed */
    for (int i = 0; i < 4; i++) {
        if (world_state(world, ids[i]) == JOB_STOPPING)
            world_end(world, ids[i], END_SIGNAL);
    }
    world_tick(world, 1000);
    assert_int_equal(world_state(world, back[0]), JOB_STARTING);
    assert_int_equal(world_state(world, back[1]), JOB_STARTING);
    assert_int_equal(world_state(world, back[2]), JOB_QUEUED);
    world_tick(world, HOUR_MS);
    assert_int_equal(world_decided(world, DECISION_STOP), 0); /* and nobody takes it back */
}

static void priority_does_not_break_a_guarantee(void **state)
{
    struct world *world = *state;
    pool_of_devices(world, 2);
    world_team_quota(world, "owner", NULL, "accelerators", 2000, -1);
    world_team(world, "other");
    uint64_t a = submit(world, "owner", "a", 1);
    uint64_t b = submit(world, "owner", "b", 1);
    world_tick(world, 1000);
    world_start(world, a);
    world_start(world, b);
    struct job job = job_make("other", "urgent", 1, 1);
    job.priority = PRIORITY_URGENT;
    uint64_t urgent = world_submit(world, &job);
    world_tick(world, MINUTE_MS);
    assert_int_equal(world_state(world, a), JOB_RUNNING);
    assert_int_equal(world_state(world, b), JOB_RUNNING);
    assert_int_equal(world_state(world, urgent), JOB_QUEUED);
}

static void what_can_not_be_preempted_borrows_nobodys_guarantee(void **state)
{
    struct world *world = *state;
    pool_of_devices(world, 4);
    world_team_quota(world, "owner", NULL, "accelerators", 3000, -1);
    world_team(world, "guest");
    uint64_t ids[2];
    for (int i = 0; i < 2; i++) {
        struct job job = job_make("guest", i ? "b" : "a", 1, 1);
        job.preemptible = false;
        ids[i] = world_submit(world, &job);
    }
    world_tick(world, 1000);
    assert_int_equal(world_state(world, ids[0]), JOB_STARTING);
    assert_int_equal(world_state(world, ids[1]), JOB_QUEUED);
}

static void a_team_that_may_not_borrow_stays_within_its_guarantee(void **state)
{
    struct world *world = *state;
    pool_of_devices(world, 4);
    struct team team = team_make("t", NULL);
    struct quota quota = {.resource = "accelerators", .guarantee = 1000, .limit = -1};
    team.quotas.items = &quota;
    team.quotas.count = 1;
    team.borrow = false;
    assert_int_equal(core_team_put(world->core, &team, NULL), 0);
    uint64_t a = submit(world, "t", "a", 1), b = submit(world, "t", "b", 1);
    world_tick(world, 1000);
    assert_int_equal(world_state(world, a), JOB_STARTING);
    assert_int_equal(world_state(world, b), JOB_QUEUED);
}

static void guarantees_above_the_parents_are_refused(void **state)
{
    struct world *world = *state;
    world_team_quota(world, "top", NULL, "cpu", 4000, -1);
    world_team_quota(world, "x", "top", "cpu", 3000, -1);
    struct team team = team_make("y", "top");
    struct quota quota = {.resource = "cpu", .guarantee = 2000, .limit = -1};
    team.quotas.items = &quota;
    team.quotas.count = 1;
    struct error err;
    assert_int_equal(core_team_put(world->core, &team, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(core_team_find(world->core, "y"), 0);
    world_tick(world, 0);
    team = team_make("top", "x");
    assert_int_equal(core_team_put(world->core, &team, &err), -1); /* a cycle */
}

/* Weights 3 and 1 on four devices, all asking for more than there is: three to one. */
static void shares_follow_weights(void **state)
{
    struct world *world = *state;
    pool_of_devices(world, 4);
    struct team team = team_make("heavy", NULL);
    team.weight_micro = 3000000;
    assert_int_equal(core_team_put(world->core, &team, NULL), 0);
    world_team(world, "light");
    uint64_t heavy[4], light[4];
    static const char *const names[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++) {
        light[i] = submit(world, "light", names[i], 1);
        heavy[i] = submit(world, "heavy", names[i], 1);
    }
    world_tick(world, 1000);
    int heavy_running = 0, light_running = 0;
    for (int i = 0; i < 4; i++) {
        heavy_running += world_state(world, heavy[i]) == JOB_STARTING;
        light_running += world_state(world, light[i]) == JOB_STARTING;
    }
    assert_int_equal(heavy_running, 3);
    assert_int_equal(light_running, 1);
}

/* One team had the device for a half-life: its usage is half the cluster, and the other's turn. */
static void who_used_much_waits_behind_who_did_not(void **state)
{
    struct world *world = *state;
    pool_of_devices(world, 1);
    world_team(world, "first");
    world_team(world, "second");
    uint64_t a = submit(world, "first", "a", 1);
    world_tick(world, 0);
    world_start(world, a);
    world_tick(world, 7 * 24 * HOUR_MS);
    uint64_t b = submit(world, "first", "b", 1);
    uint64_t c = submit(world, "second", "c", 1);
    world_end(world, a, END_SUCCEEDED);
    world_tick(world, 0);
    assert_int_equal(world_state(world, b), JOB_QUEUED);
    assert_int_equal(world_state(world, c), JOB_STARTING);
    uint64_t team = core_team_find(world->core, "first");
    assert_int_equal(core_team(world->core, team)->usage, 500000000);
}

/* top is guaranteed four devices, of which its child x is guaranteed one; other took everything.
 * y, without a guarantee of its own, gets back what top is guaranteed; x takes its one from y, but
 * y, being a sibling without a guarantee, nothing from x. */
static void guarantees_work_level_by_level(void **state)
{
    struct world *world = *state;
    pool_of_devices(world, 4);
    world_team_quota(world, "top", NULL, "accelerators", 4000, -1);
    world_team_quota(world, "x", "top", "accelerators", 1000, -1);
    struct team team = team_make("y", "top");
    assert_int_equal(core_team_put(world->core, &team, NULL), 0);
    world_team(world, "other");
    static const char *const names[] = {"a", "b", "c", "d"};
    uint64_t taken[4], wanted[4];
    for (int i = 0; i < 4; i++)
        taken[i] = submit(world, "other", names[i], 1);
    world_tick(world, 1000);
    for (int i = 0; i < 4; i++)
        wanted[i] = submit(world, "y", names[i], 1);
    world_tick(world, 1000);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(world_state(world, taken[i]), JOB_STOPPING);
        world_end(world, taken[i], END_SIGNAL);
    }
    world_tick(world, 1000);
    for (int i = 0; i < 4; i++)
        assert_int_equal(world_state(world, wanted[i]), JOB_STARTING);
    uint64_t own = submit(world, "x", "own", 1);
    uint64_t second = submit(world, "x", "second", 1);
    world_tick(world, 1000);
    int stopping = 0;
    for (int i = 0; i < 4; i++) {
        stopping += world_state(world, wanted[i]) == JOB_STOPPING;
        if (world_state(world, wanted[i]) == JOB_STOPPING)
            world_end(world, wanted[i], END_SIGNAL);
    }
    assert_int_equal(stopping, 1);
    world_tick(world, 1000);
    assert_int_equal(world_state(world, own), JOB_STARTING);
    assert_int_equal(world_state(world, second), JOB_QUEUED);
    world_tick(world, HOUR_MS);
    assert_int_equal(world_decided(world, DECISION_STOP), 0);
}

/* low has its place by its team's guarantee of one device. A job of the same branch that wants two
 * would not: if it took the place, others could take it from there, and low take it from them. */
static void a_guaranteed_place_does_not_become_a_borrowed_one(void **state)
{
    struct world *world = *state;
    pool_of_devices(world, 2);
    world_team_quota(world, "top", NULL, "accelerators", 1000, -1);
    struct team team = team_make("child", "top");
    assert_int_equal(core_team_put(world->core, &team, NULL), 0);
    struct job job = job_make("top", "low", 1, 1);
    job.priority = PRIORITY_LOW;
    uint64_t low = world_submit(world, &job);
    world_tick(world, 1000);
    world_start(world, low);
    job = job_make("child", "gang", 1, 1);
    job.gang.size = 2;
    uint64_t gang = world_submit(world, &job);
    world_tick(world, 1000);
    assert_int_equal(world_state(world, low), JOB_RUNNING);
    assert_int_equal(world_state(world, gang), JOB_QUEUED);
    job = job_make("child", "one", 1, 1);
    uint64_t first = world_submit(world, &job);
    job.metadata.name = "two";
    uint64_t second = world_submit(world, &job);
    world_tick(world, 1000);
    assert_int_equal(world_state(world, first), JOB_STARTING); /* on the idle device */
    assert_int_equal(world_state(world, second), JOB_QUEUED);
}

/* Any type will do for the second job, but all there are would pass its team's guarantee of them.
 */
static void asking_for_any_type_is_not_a_way_around_a_guarantee(void **state)
{
    struct world *world = *state;
    pool_of_devices(world, 3);
    struct team team = team_make("a", NULL);
    struct quota quotas[] = {{.resource = "accelerators", .guarantee = 4000, .limit = -1},
        {.resource = "gpu", .guarantee = 1000, .limit = -1}};
    team.quotas.items = quotas;
    team.quotas.count = 2;
    assert_int_equal(core_team_put(world->core, &team, NULL), 0);
    world_team(world, "other");
    submit(world, "a", "first", 1);
    submit(world, "other", "x", 1);
    submit(world, "other", "y", 1);
    world_tick(world, 1000);
    struct job job = job_make("a", "any", 1, 1);
    job.resources.accelerator = NULL;
    uint64_t any = world_submit(world, &job);
    world_tick(world, 1000);
    assert_int_equal(world_state(world, any), JOB_QUEUED);
    assert_int_equal(world_decided(world, DECISION_STOP), 0);
}

/* What a team may never hold it is told when it asks, whoever above it sets the limit; a service
 * asks again when it may. */
static void what_is_above_a_limit_is_refused(void **state)
{
    struct world *world = *state;
    struct error err;
    uint64_t id;
    world_pool(world, "p", (struct node[]){node_make("n", 8, 64, 0)}, 1);
    world_team_quota(world, "above", NULL, "cpu", 0, 4000);
    world_team_quota(world, "below", "above", "memory", 0, 8 * GIB);
    struct job job = job_make("below", "wide", 2, 0);
    job.gang.size = 3;
    assert_int_equal(core_job_submit(world->core, &job, &id, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_string_equal(err.text,
        "team above may hold 4 cpu at most, and this needs 6 at once: check spec.resources and "
        "spec.gang, and spec.quota and spec.borrow of the team");
    job.gang.min = 2;
    assert_int_equal(core_job_submit(world->core, &job, &id, &err), 0);
    job = job_make("below", "large", 1, 0);
    job.resources.memory_bytes = 9 * GIB;
    assert_int_equal(core_job_submit(world->core, &job, &id, &err), -1);
    assert_non_null(strstr(err.text, "team below may hold 8Gi memory at most, and this needs 9Gi"));
    job.service = true;
    assert_int_equal(core_job_submit(world->core, &job, &id, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_limit_is_never_passed),
        TEST(what_is_above_a_limit_is_refused),
        TEST(a_parents_limit_counts_its_children_together),
        TEST(what_is_guaranteed_is_borrowed_and_taken_back),
        TEST(guarantees_work_level_by_level),
        TEST(a_guaranteed_place_does_not_become_a_borrowed_one),
        TEST(asking_for_any_type_is_not_a_way_around_a_guarantee),
        TEST(priority_does_not_break_a_guarantee),
        TEST(what_can_not_be_preempted_borrows_nobodys_guarantee),
        TEST(a_team_that_may_not_borrow_stays_within_its_guarantee),
        TEST(guarantees_above_the_parents_are_refused),
        TEST(shares_follow_weights),
        TEST(who_used_much_waits_behind_who_did_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
