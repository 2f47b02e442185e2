/* Bursting: jobs wait for the pools that cost nothing extra, and come to a priced one by its policy
 * alone. Moments and amounts are worked out by hand. */
#include "core/test_help.h"

#include <stdio.h>

enum { DEVICES = 4 };

/* Two pools of one node with four devices: "own" costs nothing, "cloud" 3.00 for a device-hour. */
static void pools_put(struct world *world, struct burst policy, const char *jurisdiction)
{
    struct node own_node = node_make("own", 32, 128, DEVICES);
    struct node cloud_node = node_make("cloud", 64, 256, 2 * DEVICES);
    struct named_price price = {cloud_node.capacity.accelerator, 3000000};
    struct pool own = {.metadata.name = "own", .jurisdiction = "eu", .nodes = {&own_node, 1}};
    struct pool cloud = {.metadata.name = "cloud",
        .jurisdiction = jurisdiction,
        .burst = policy,
        .nodes = {&cloud_node, 1},
        .prices = {.currency = "EUR", .accelerators = {&price, 1}}};
    assert_int_equal(core_pool_put(world->core, &cloud, NULL), 0);
    assert_int_equal(core_pool_put(world->core, &own, NULL), 0);
    world_team(world, "t");
}

static struct burst policy_of(int64_t after_ms, int64_t budget_eur)
{
    return (struct burst){after_ms, budget_eur * 1000000, 24 * HOUR_MS};
}

static uint64_t submit(
    struct world *world, const char *name, int64_t devices, int64_t limit_ms, const char *where)
{
    struct job job = job_make("t", name, 1, devices);
    job.time_limit_ms = limit_ms;
    job.grace_ms = 0;
    job.placement.jurisdiction = where;
    return world_submit(world, &job);
}

static const struct core_decision *decision_of(
    struct world *world, enum decision_kind kind, uint64_t job)
{
    for (size_t i = 0; i < world->decisions.count; i++) {
        const struct core_decision *one = &world->decisions.items[i];
        if (one->kind == kind && one->job == job)
            return one;
    }
    return NULL;
}

static const struct pool_row *cloud_row(struct world *world)
{
    return core_pool(world->core, core_pool_find(world->core, "cloud"));
}

static void the_own_pool_goes_first(void **state)
{
    struct world *world = *state;
    pools_put(world, policy_of(0, 1000), "eu");
    uint64_t job = submit(world, "a", 4, HOUR_MS, NULL);
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, job), "own");
    assert_null(decision_of(world, DECISION_BURST, job));
}

/* What runs ends by its limit in an hour, which is more than the policy's half. */
static void a_wait_that_is_foreseen_counts(void **state)
{
    struct world *world = *state;
    pools_put(world, policy_of(30 * MINUTE_MS, 1000), "eu");
    submit(world, "first", 4, HOUR_MS, NULL);
    world_tick(world, 0);
    uint64_t second = submit(world, "second", 4, HOUR_MS, NULL);
    world_tick(world, 0);
    const struct core_decision *burst = decision_of(world, DECISION_BURST, second);
    assert_non_null(burst);
    assert_int_equal(burst->burst, BURST_FOR_WAIT);
    assert_int_equal(burst->wait_ms, HOUR_MS);
    assert_int_equal(burst->cost_micro, 12000000); /* 4 devices, 3.00, an hour */
    assert_string_equal(world_node_of(world, second), "cloud");
}

static void a_job_that_starts_soon_enough_waits(void **state)
{
    struct world *world = *state;
    pools_put(world, policy_of(60 * MINUTE_MS, 1000), "eu");
    uint64_t first = submit(world, "first", 4, HOUR_MS, NULL);
    world_tick(world, 0);
    world_start(world, first);
    uint64_t second = submit(world, "second", 4, HOUR_MS, NULL);
    world_tick(world, 0);
    assert_int_equal(world_state(world, second), JOB_QUEUED);
    /* A third waits for two: what is foreseen for it is two hours. */
    uint64_t third = submit(world, "third", 4, HOUR_MS, NULL);
    world_tick(world, 0);
    assert_int_equal(world_state(world, third), JOB_QUEUED); /* the second's turn is before it */
    world_tick(world, 59 * MINUTE_MS);
    world_end(world, first, END_SUCCEEDED);
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, second), "own");
}

/* Nobody knows when what has no limit ends: then only what the job has waited counts. */
static void what_is_not_known_is_not_foreseen(void **state)
{
    struct world *world = *state;
    pools_put(world, policy_of(30 * MINUTE_MS, 1000), "eu");
    submit(world, "endless", 4, 0, NULL);
    world_tick(world, 0);
    uint64_t job = submit(world, "job", 4, HOUR_MS, NULL);
    world_tick(world, 0);
    assert_int_equal(world_state(world, job), JOB_QUEUED);
    assert_true(core_next_ms(world->core) <= world->now_ms + 30 * MINUTE_MS + 1);
    world_tick(world, 30 * MINUTE_MS);
    assert_int_equal(world_state(world, job), JOB_QUEUED);
    world_tick(world, 1);
    assert_string_equal(world_node_of(world, job), "cloud");
    assert_int_equal(decision_of(world, DECISION_BURST, job)->wait_ms, 30 * MINUTE_MS + 1);
}

/* 30.00 a day: two jobs of 4 devices for an hour are 24.00, a third would be 36.00. The first runs
 * for half an hour and has cost 6.00 then: 6.00 + 12.00 + 12.00 are within it. */
static void the_budget_holds(void **state)
{
    struct world *world = *state;
    struct node node = node_make("own", 32, 128, 1);
    pools_put(world, policy_of(0, 30), "eu");
    struct pool own = {.metadata.name = "own", .jurisdiction = "eu", .nodes = {&node, 1}};
    assert_int_equal(core_pool_put(world->core, &own, NULL), 0);
    uint64_t first = submit(world, "first", 4, HOUR_MS, NULL);
    uint64_t second = submit(world, "second", 4, HOUR_MS, NULL);
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, first), "cloud");
    assert_int_equal(decision_of(world, DECISION_BURST, first)->burst, BURST_FOR_LACK);
    assert_string_equal(world_node_of(world, second), "cloud");
    world_start(world, first);
    world_tick(world, 30 * MINUTE_MS);
    world_end(world, first, END_SUCCEEDED);
    world_tick(world, 0);
    assert_int_equal(cloud_row(world)->burst_spent_micro, 6000000);
    uint64_t third = submit(world, "third", 4, HOUR_MS, NULL);
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, third), "cloud");
    world_end(world, third, END_SUCCEEDED); /* at once: it cost nothing */
    world_tick(world, 0);
    uint64_t large = submit(world, "large", 4, 2 * HOUR_MS, NULL);
    world_tick(world, 0);
    const struct core_decision *refused = decision_of(world, DECISION_BURST_REFUSED, large);
    assert_non_null(refused);
    assert_int_equal(refused->burst, BURST_OVER_BUDGET);
    assert_int_equal(world_state(world, large), JOB_QUEUED);
    /* It is said once, and the day after there is a new budget. */
    world_tick(world, MINUTE_MS);
    assert_null(decision_of(world, DECISION_BURST_REFUSED, large));
    world_end(world, second, END_SUCCEEDED);
    world_tick(world, 24 * HOUR_MS);
    assert_string_equal(world_node_of(world, large), "cloud");
}

static void data_that_may_not_leave_do_not_and_that_is_audited(void **state)
{
    struct world *world = *state;
    pools_put(world, policy_of(0, 1000), "us");
    submit(world, "first", 4, HOUR_MS, NULL);
    world_tick(world, 0);
    uint64_t bound = submit(world, "bound", 2, HOUR_MS, "eu");
    world_tick(world, 0);
    const struct core_decision *refused = decision_of(world, DECISION_BURST_REFUSED, bound);
    assert_non_null(refused);
    assert_int_equal(refused->burst, BURST_JURISDICTION);
    assert_int_equal(refused->pool, core_pool_find(world->core, "cloud"));
    assert_int_equal(world_state(world, bound), JOB_QUEUED);
    world_tick(world, 2 * HOUR_MS);
    assert_null(decision_of(world, DECISION_BURST_REFUSED, bound));
    assert_null(decision_of(world, DECISION_BURST, bound));
}

static void a_job_without_a_bound_does_not_come(void **state)
{
    struct world *world = *state;
    pools_put(world, policy_of(0, 1000), "eu");
    submit(world, "first", 4, HOUR_MS, NULL);
    world_tick(world, 0);
    uint64_t job = submit(world, "endless", 4, 0, NULL);
    world_tick(world, 0);
    assert_int_equal(decision_of(world, DECISION_BURST_REFUSED, job)->burst, BURST_UNBOUNDED);
    assert_int_equal(world_state(world, job), JOB_QUEUED);
}

/* Elsewhere it would start in an hour and end an hour later; its deadline is in 90 minutes. */
static void a_deadline_is_a_reason(void **state)
{
    struct world *world = *state;
    pools_put(world, policy_of(10 * HOUR_MS, 1000), "eu");
    submit(world, "first", 4, HOUR_MS, NULL);
    world_tick(world, 0);
    struct job job = job_make("t", "urgent", 1, 4);
    job.time_limit_ms = HOUR_MS;
    job.deadline_ms = world->now_ms + 90 * MINUTE_MS;
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(decision_of(world, DECISION_BURST, id)->burst, BURST_FOR_DEADLINE);
}

/* Nobody is preempted in the cloud, however urgent the other is; nor is a place promised there. */
static void the_cloud_is_not_preempted(void **state)
{
    struct world *world = *state;
    pools_put(world, policy_of(0, 1000), "eu");
    struct job job = job_make("t", "low", 1, 8);
    job.time_limit_ms = 10 * HOUR_MS;
    job.preemptible = true;
    job.priority = PRIORITY_LOW;
    uint64_t low = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, low), "cloud");
    job.metadata.name = "urgent";
    job.priority = PRIORITY_URGENT;
    uint64_t urgent = world_submit(world, &job);
    world_tick(world, 0);
    world_tick(world, HOUR_MS);
    assert_int_equal(world_state(world, urgent), JOB_QUEUED);
    assert_int_equal(world_decided(world, DECISION_STOP), 0);
    assert_int_equal(world_state(world, low), JOB_STARTING);
}

static void a_policy_that_is_taken_away_opens_the_pool(void **state)
{
    struct world *world = *state;
    pools_put(world, policy_of(0, 1), "eu");
    uint64_t job = submit(world, "job", 8, HOUR_MS, NULL); /* 24.00: beyond the budget */
    world_tick(world, 0);
    assert_int_equal(world_state(world, job), JOB_QUEUED);
    pools_put(world, policy_of(0, 25), "eu");
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, job), "cloud");
    assert_non_null(decision_of(world, DECISION_BURST, job));
    pools_put(world, (struct burst){0}, "eu");
    world_end(world, job, END_SUCCEEDED);
    uint64_t other = submit(world, "other", 8, 0, NULL);
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, other), "cloud");
    assert_null(decision_of(world, DECISION_BURST, other));
}

/* ---- forecasts --------------------------------------------------------------------------------
 */

static void say_start(struct world *world, uint64_t job, int64_t start_ms)
{
    struct core_forecast forecast = {job, world->now_ms, start_ms};
    assert_int_equal(core_forecast_put(world->core, &forecast, 1, NULL), 0);
}

static void count_wanted(void *context, uint64_t job)
{
    (void)job;
    ++*(int *)context;
}

static int wanted(struct world *world)
{
    int count = 0;
    core_forecast_wanted(world->core, count_wanted, &count);
    return count;
}

/* What runs may run for ten hours, which is what the core's own bound knows. A forecast knows that
 * it ends in ten minutes. */
static void a_forecast_keeps_a_job_that_a_limit_would_send(void **state)
{
    struct world *world = *state;
    pools_put(world, policy_of(30 * MINUTE_MS, 1000), "eu");
    core_forecast_expect(world->core, 15000);
    uint64_t first = submit(world, "first", 4, 10 * HOUR_MS, NULL);
    world_tick(world, 0);
    world_start(world, first);
    uint64_t second = submit(world, "second", 4, HOUR_MS, NULL);
    world_tick(world, 0);
    assert_int_equal(world_state(world, second), JOB_QUEUED); /* held back for its forecast */
    assert_int_equal(wanted(world), 1);
    world_tick(world, 2000);
    say_start(world, second, world->now_ms + 10 * MINUTE_MS);
    assert_int_equal(wanted(world), 0);
    world_tick(world, 0);
    world_tick(world, 20000); /* nothing is held back any more: it is the forecast that keeps it */
    assert_int_equal(world_state(world, second), JOB_QUEUED);
    for (int i = 9; i >= 0; i--) {
        world_tick(world, MINUTE_MS);
        assert_int_equal(wanted(world), 1);
        say_start(world, second, world->now_ms + i * MINUTE_MS);
    }
    world_end(world, first, END_SUCCEEDED);
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, second), "own");
}

/* Nobody knows by limits when what runs ends. A forecast does: in two hours. */
static void a_forecast_sends_a_job_that_a_limit_would_keep(void **state)
{
    struct world *world = *state;
    pools_put(world, policy_of(30 * MINUTE_MS, 1000), "eu");
    submit(world, "endless", 4, 0, NULL);
    world_tick(world, 0);
    uint64_t job = submit(world, "job", 4, HOUR_MS, NULL);
    world_tick(world, 0);
    assert_int_equal(world_state(world, job), JOB_QUEUED);
    int64_t made_ms = world->now_ms;
    say_start(world, job, made_ms + 2 * HOUR_MS);
    world_tick(world, 1000);
    const struct core_decision *burst = decision_of(world, DECISION_BURST, job);
    assert_non_null(burst);
    assert_int_equal(burst->burst, BURST_FOR_WAIT);
    assert_true(burst->wait_ms == 2 * HOUR_MS && burst->forecast_ms == made_ms);
    assert_string_equal(world_node_of(world, job), "cloud");
}

/* Where nobody brings the forecast that was expected, the core's own bound decides, a little
 * later; so it does when the last one is old. */
static void without_a_fresh_forecast_the_bound_decides(void **state)
{
    struct world *world = *state;
    pools_put(world, policy_of(30 * MINUTE_MS, 1000), "eu");
    core_forecast_expect(world->core, 15000);
    submit(world, "first", 4, HOUR_MS, NULL);
    world_tick(world, 0);
    uint64_t told = submit(world, "told", 2, HOUR_MS, NULL);
    uint64_t untold = submit(world, "untold", 3, HOUR_MS, NULL);
    world_tick(world, 0);
    say_start(world, told, world->now_ms + MINUTE_MS);
    world_tick(world, 14999);
    assert_int_equal(world_state(world, untold), JOB_QUEUED);
    assert_true(core_next_ms(world->core) <= world->now_ms + 1);
    world_tick(world, 1);
    assert_string_equal(world_node_of(world, untold), "cloud");
    assert_int_equal(decision_of(world, DECISION_BURST, untold)->forecast_ms, 0);
    world_tick(world, CORE_FORECAST_FRESH_MS - 15000);
    assert_int_equal(world_state(world, told), JOB_QUEUED);
    world_tick(world, 31000);
    assert_string_equal(world_node_of(world, told), "cloud");
    assert_int_equal(decision_of(world, DECISION_BURST, told)->forecast_ms, 0);
}

static void forecasts_that_can_not_be_are_refused(void **state)
{
    struct world *world = *state;
    pools_put(world, policy_of(30 * MINUTE_MS, 1000), "eu");
    submit(world, "first", 4, 0, NULL);
    world_tick(world, 0);
    uint64_t job = submit(world, "job", 4, HOUR_MS, NULL);
    world_tick(world, 0);
    int64_t now_ms = world->now_ms;
    const struct core_forecast bad[] = {{job, now_ms + 1, now_ms + 2}, {job, now_ms, now_ms - 1},
        {job, 0, now_ms}, {job, now_ms, INT64_MAX}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error err;
        assert_int_equal(core_forecast_put(world->core, &bad[i], 1, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
    }
    static struct core_forecast many[CORE_FORECASTS_MAX + 1];
    assert_int_equal(core_forecast_put(world->core, many, CORE_FORECASTS_MAX + 1, NULL), -1);
    /* About a job that there is not, and one that runs: nothing. */
    say_start(world, job + 1000, now_ms + HOUR_MS);
    /* One of an older state does not replace a newer. */
    say_start(world, job, now_ms + MINUTE_MS);
    struct core_forecast older = {job, now_ms - 1, now_ms + 5 * HOUR_MS};
    assert_int_equal(core_forecast_put(world->core, &older, 1, NULL), 0);
    world_tick(world, 0);
    assert_int_equal(world_state(world, job), JOB_QUEUED);
}

/* It is preempted after three hours: what it waited before that is no wait of now. */
static void what_ran_has_not_waited(void **state)
{
    struct world *world = *state;
    pools_put(world, policy_of(30 * MINUTE_MS, 1000), "eu");
    struct job low = job_make("t", "low", 1, 4);
    low.preemptible = true;
    low.priority = PRIORITY_LOW;
    low.time_limit_ms = 10 * HOUR_MS;
    uint64_t id = world_submit(world, &low);
    world_tick(world, 0);
    world_start(world, id);
    world_tick(world, 3 * HOUR_MS);
    struct job urgent = job_make("t", "urgent", 1, 4);
    urgent.priority = PRIORITY_URGENT;
    uint64_t first = world_submit(world, &urgent);
    world_tick(world, 0);
    assert_int_equal(world_state(world, id), JOB_STOPPING);
    world_end(world, id, END_SIGNAL);
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, first), "own");
    assert_int_equal(world_state(world, id), JOB_QUEUED);
    world_tick(world, 30 * MINUTE_MS);
    assert_int_equal(world_state(world, id), JOB_QUEUED);
    world_tick(world, 1);
    assert_string_equal(world_node_of(world, id), "cloud");
}

/* A round gives the device to the older one; the other would wait for as long as that runs. */
static void jobs_of_rounds_come_whole_and_are_no_rounds_any_more(void **state)
{
    struct world *world = *state;
    const struct core_options options = {
        .allotment = "elastic", .round_ms = MINUTE_MS, .round_anchor_ms = START_MS};
    world_begin(world, &options);
    pools_put(world, policy_of(30 * MINUTE_MS, 1000), "eu");
    struct job job = job_make("t", "first", 1, 4);
    job.time_limit_ms = 10 * HOUR_MS;
    job.preemptible = false;
    uint64_t first = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, first);
    job.metadata.name = "second";
    job.resources.accelerator_milli = 1000;
    job.gang = (struct gang){.size = 4, .min = 2, .max = 4};
    uint64_t second = world_submit(world, &job);
    world_tick(world, MINUTE_MS);
    for (int i = 0; i < 32 && world_state(world, second) == JOB_QUEUED; i++)
        world_tick(world, MINUTE_MS);
    assert_string_equal(world_node_of(world, second), "cloud");
    world_start(world, second);
    const struct attempt_row *attempt =
        core_attempt(world->core, world_job(world, second)->attempt);
    assert_int_equal(attempt->size, 2);
    for (int i = 0; i < 5; i++)
        world_tick(world, MINUTE_MS);
    attempt = core_attempt(world->core, world_job(world, second)->attempt);
    assert_true(attempt->stop_reason == END_NONE && attempt->size == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_own_pool_goes_first),
        TEST(a_wait_that_is_foreseen_counts),
        TEST(a_job_that_starts_soon_enough_waits),
        TEST(what_is_not_known_is_not_foreseen),
        TEST(the_budget_holds),
        TEST(data_that_may_not_leave_do_not_and_that_is_audited),
        TEST(a_job_without_a_bound_does_not_come),
        TEST(a_deadline_is_a_reason),
        TEST(the_cloud_is_not_preempted),
        TEST(a_policy_that_is_taken_away_opens_the_pool),
        TEST(a_forecast_keeps_a_job_that_a_limit_would_send),
        TEST(a_forecast_sends_a_job_that_a_limit_would_keep),
        TEST(without_a_fresh_forecast_the_bound_decides),
        TEST(forecasts_that_can_not_be_are_refused),
        TEST(what_ran_has_not_waited),
        TEST(jobs_of_rounds_come_whole_and_are_no_rounds_any_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
