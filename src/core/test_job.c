/* The life of a job: waits, retries, deadlines, dependencies, arrays, holds, lost nodes. */
#include "core/test_help.h"

#include <stdio.h>

static void one_node(struct world *world, int64_t devices)
{
    struct node nodes[] = {node_make("n", 8, 32, devices)};
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
}

static int submit_error(struct world *world, const struct job *job)
{
    struct error err = {0};
    uint64_t id = 0;
    assert_int_equal(core_job_submit(world->core, job, &id, &err), -1);
    assert_int_equal(id, 0);
    assert_true(err.text[0] != '\0');
    return err.code;
}

static void a_failed_attempt_is_tried_again_with_growing_waits(void **state)
{
    struct world *world = *state;
    one_node(world, 0);
    struct job job = job_make("t", "a", 1, 0);
    job.retries.limit = 3;
    job.retries.backoff_ms = 1000;
    job.retries.backoff_max_ms = 3000;
    uint64_t a = world_submit(world, &job);
    static const int64_t waits_ms[] = {1000, 2000, 3000}; /* 4000 is above the bound */
    world_tick(world, 0);
    for (int i = 0; i < 3; i++) {
        world_start(world, a);
        world_end(world, a, END_EXIT);
        world_tick(world, 0);
        assert_int_equal(world_state(world, a), JOB_WAITING);
        assert_int_equal(core_next_ms(world->core), world->now_ms + waits_ms[i]);
        world_tick(world, waits_ms[i] - 1);
        assert_int_equal(world_state(world, a), JOB_WAITING);
        world_tick(world, 1);
        assert_int_equal(world_state(world, a), JOB_STARTING);
        assert_int_equal(world_job(world, a)->attempts, i + 2);
    }
    world_end(world, a, END_OUT_OF_MEMORY);
    world_tick(world, 0);
    assert_int_equal(world_state(world, a), JOB_FAILED);
    assert_int_equal(world_job(world, a)->end_reason, END_OUT_OF_MEMORY);
}

static void a_deadline_ends_waiting_and_running_jobs(void **state)
{
    struct world *world = *state;
    one_node(world, 1);
    struct job job = job_make("t", "a", 1, 1);
    job.deadline_ms = START_MS + HOUR_MS;
    uint64_t a = world_submit(world, &job);
    job.metadata.name = "b";
    uint64_t b = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, a);
    world_tick(world, HOUR_MS - 1);
    assert_int_equal(world_state(world, b), JOB_QUEUED);
    world_tick(world, 1);
    assert_int_equal(world_state(world, a), JOB_STOPPING);
    assert_int_equal(world_state(world, b), JOB_FAILED);
    assert_int_equal(world_job(world, b)->end_reason, END_DEADLINE);
    world_end(world, a, END_SIGNAL);
    world_tick(world, 0);
    assert_int_equal(world_state(world, a), JOB_FAILED);
    assert_int_equal(world_job(world, a)->end_reason, END_DEADLINE);
}

static void a_time_limit_counts_from_the_start_of_the_attempt(void **state)
{
    struct world *world = *state;
    one_node(world, 0);
    struct job job = job_make("t", "a", 1, 0);
    job.time_limit_ms = HOUR_MS;
    job.retries.limit = 5;
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    world_tick(world, HOUR_MS);
    world_start(world, a);
    world_tick(world, HOUR_MS - 1);
    assert_int_equal(world_state(world, a), JOB_RUNNING);
    world_tick(world, 1);
    assert_int_equal(world_state(world, a), JOB_STOPPING);
    world_end(world, a, END_EXIT);
    world_tick(world, 0);
    assert_int_equal(world_state(world, a), JOB_FAILED);
    assert_int_equal(world_job(world, a)->end_reason, END_TIME_LIMIT);
}

static void a_dependency_is_waited_for(void **state)
{
    struct world *world = *state;
    one_node(world, 0);
    struct job job = job_make("t", "a", 1, 0);
    uint64_t a = world_submit(world, &job);
    struct dependency needs = {"a", DEPENDENCY_SUCCEEDED};
    job.metadata.name = "b";
    job.depends_on.items = &needs;
    job.depends_on.count = 1;
    uint64_t b = world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(world_state(world, b), JOB_WAITING);
    world_start(world, a);
    world_end(world, a, END_SUCCEEDED);
    world_tick(world, 0);
    assert_int_equal(world_state(world, b), JOB_STARTING);
}

/* c waits for a's success, d for c's success, e for c's end whatever it is. */
static void what_depended_on_a_success_fails_with_it(void **state)
{
    struct world *world = *state;
    one_node(world, 0);
    struct job job = job_make("t", "a", 1, 0);
    uint64_t a = world_submit(world, &job);
    struct dependency needs = {"a", DEPENDENCY_SUCCEEDED};
    job.depends_on.items = &needs;
    job.depends_on.count = 1;
    job.metadata.name = "c";
    uint64_t c = world_submit(world, &job);
    needs.job = "c";
    job.metadata.name = "d";
    uint64_t d = world_submit(world, &job);
    needs.condition = DEPENDENCY_ENDED;
    job.metadata.name = "e";
    uint64_t e = world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(core_job_cancel(world->core, a, NULL), 0);
    world_end(world, a, END_SIGNAL);
    world_tick(world, 0);
    assert_int_equal(world_state(world, a), JOB_CANCELLED);
    assert_int_equal(world_state(world, c), JOB_FAILED);
    assert_int_equal(world_job(world, d)->end_reason, END_DEPENDENCY);
    assert_int_equal(world_state(world, e), JOB_STARTING);
    needs.job = "a";
    job.metadata.name = "f";
    assert_int_equal(submit_error(world, &job), ERR_NOT_FOUND); /* it has ended */
}

static void an_array_runs_so_many_at_once(void **state)
{
    struct world *world = *state;
    one_node(world, 0);
    struct job job = job_make("t", "sweep", 1, 0);
    job.array.count = 4;
    job.array.parallel = 2;
    uint64_t first = world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(core_job_find(world->core, "t", "sweep[0]"), first);
    assert_int_equal(core_job_find(world->core, "t", "sweep[3]"), first + 3);
    assert_int_equal(world_state(world, first + 1), JOB_STARTING);
    assert_int_equal(world_state(world, first + 2), JOB_QUEUED);
    struct dependency needs = {"sweep", DEPENDENCY_SUCCEEDED};
    struct job after = job_make("t", "after", 1, 0);
    after.depends_on.items = &needs;
    after.depends_on.count = 1;
    uint64_t last = world_submit(world, &after);
    for (uint64_t i = 0; i < 4; i++) {
        assert_int_equal(world_state(world, last), JOB_WAITING);
        world_start(world, first + i);
        world_end(world, first + i, END_SUCCEEDED);
        world_tick(world, 1000);
    }
    assert_int_equal(world_state(world, last), JOB_STARTING);
}

static void holding_releasing_and_cancelling(void **state)
{
    struct world *world = *state;
    one_node(world, 0);
    struct job job = job_make("t", "a", 1, 0);
    job.hold = true;
    uint64_t a = world_submit(world, &job);
    struct error err;
    world_tick(world, 0);
    assert_int_equal(world_state(world, a), JOB_HELD);
    assert_int_equal(core_job_hold(world->core, a, &err), 0);
    assert_int_equal(core_job_release(world->core, a, &err), 0);
    assert_int_equal(core_job_release(world->core, a, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    world_tick(world, 0);
    assert_int_equal(core_job_hold(world->core, a, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_int_equal(core_job_cancel(world->core, a, &err), 0);
    assert_int_equal(core_job_cancel(world->core, a, &err), 0);
    assert_int_equal(world_state(world, a), JOB_STOPPING);
    world_end_complete(world, a, true);
    world_tick(world, 0);
    assert_int_equal(world_state(world, a), JOB_CANCELLED);
    assert_int_equal(core_job_cancel(world->core, a, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void an_elastic_gang_takes_what_there_is(void **state)
{
    struct world *world = *state;
    one_node(world, 3);
    struct job job = job_make("t", "a", 1, 1);
    job.gang = (struct gang){.size = 4, .min = 2, .max = 8};
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(world_state(world, a), JOB_STARTING);
    assert_int_equal(world_job(world, a)->size_now, 3);
}

static void a_gang_that_may_shrink_outlives_a_lost_node(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("x", 8, 32, 2), node_make("y", 8, 32, 2)};
    world_pool(world, "p", nodes, 2);
    world_team(world, "t");
    struct job job = job_make("t", "a", 1, 1);
    job.gang = (struct gang){.size = 4, .min = 1};
    job.shrink_on_node_loss = true;
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, a);
    assert_true(core_node_report(world->core, "p", "y", false));
    assert_false(core_node_report(world->core, "p", "y", false));
    world_tick(world, 1000);
    assert_int_equal(world_state(world, a), JOB_STOPPING);
    world_end(world, a, END_SIGNAL);
    world_tick(world, 0);
    assert_int_equal(world_state(world, a), JOB_STARTING);
    assert_int_equal(world_job(world, a)->size_now, 2);
    assert_int_equal(world_job(world, a)->failures, 0);
}

static void a_gang_whose_nodes_are_all_lost_ends_at_once(void **state)
{
    struct world *world = *state;
    one_node(world, 0);
    struct job job = job_make("t", "a", 1, 0);
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, a);
    core_node_report(world->core, "p", "n", false);
    world_tick(world, 1000);
    assert_int_equal(world_state(world, a), JOB_FAILED);
    assert_int_equal(world_job(world, a)->end_reason, END_NODE_LOST);
}

static void stale_and_senseless_reports_change_nothing(void **state)
{
    struct world *world = *state;
    one_node(world, 0);
    struct job job = job_make("t", "a", 1, 0);
    job.retries.limit = 1;
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    struct core_report report = {.attempt = world_job(world, a)->attempt,
        .kind = REPORT_ENDED,
        .reason = END_EXIT,
        .exit_status = 3};
    assert_true(core_attempt_report(world->core, &report));
    assert_false(core_attempt_report(world->core, &report));
    world_tick(world, 0); /* the second attempt */
    assert_false(core_attempt_report(world->core, &report));
    report.attempt = 12345;
    assert_false(core_attempt_report(world->core, &report));
    report.attempt = world_job(world, a)->attempt;
    report.kind = REPORT_CHECKPOINT; /* before it started */
    report.at_ms = world->now_ms;
    assert_false(core_attempt_report(world->core, &report));
    world_start(world, a);
    report.kind = REPORT_SUBMITTED;
    assert_false(core_attempt_report(world->core, &report));
    world_tick(world, 0);
    assert_int_equal(world_state(world, a), JOB_RUNNING);
}

static void what_could_never_run_is_refused(void **state)
{
    struct world *world = *state;
    one_node(world, 2);
    struct job job = job_make("t", "a", 9, 0);
    assert_int_equal(submit_error(world, &job), ERR_INVALID);
    job = job_make("t", "a", 1, 3);
    assert_int_equal(submit_error(world, &job), ERR_INVALID);
    job = job_make("t", "a", 1, 1);
    job.gang.size = 3;
    assert_int_equal(submit_error(world, &job), ERR_INVALID);
    job.gang.min = 2;
    world_submit(world, &job);
    job.metadata.name = "a"; /* taken now */
    assert_int_equal(submit_error(world, &job), ERR_CONFLICT);
    job = job_make("nobody", "b", 1, 0);
    assert_int_equal(submit_error(world, &job), ERR_NOT_FOUND);
    job = job_make("t", "b", 1, 0);
    job.resources.accelerator_milli = 1500;
    assert_int_equal(submit_error(world, &job), ERR_INVALID);
    size_t symbols = world_row_count(world, ROW_SYMBOL);
    world_tick(world, 0);
    symbols = world_row_count(world, ROW_SYMBOL);
    job = job_make("t", "never-seen", 100, 0);
    assert_int_equal(submit_error(world, &job), ERR_INVALID);
    world_tick(world, 0);
    assert_int_equal(world_row_count(world, ROW_SYMBOL), symbols); /* nothing is left of it */
}

static void ids_are_never_used_again(void **state)
{
    struct world *world = *state;
    one_node(world, 0);
    struct job job = job_make("t", "a", 1, 0);
    uint64_t first = world_submit(world, &job);
    assert_int_equal(core_job_cancel(world->core, first, NULL), 0);
    world_tick(world, 0);
    world->now_ms -= HOUR_MS; /* somebody sets the clock back */
    world_reload(world);
    uint64_t second = world_submit(world, &job);
    assert_true(second > first);
    world->now_ms += HOUR_MS;
    world_tick(world, 0);
}

/* Ageing lifts by a point a minute. A normal job (500) has waited 300 minutes and stands at 800; it
 * goes before a job of 800 that came later, and behind one of 801, however long it waits. */
static void waiting_lifts_a_job_to_the_next_named_priority_and_no_further(void **state)
{
    struct world *world = *state;
    one_node(world, 1);
    struct job job = job_make("t", "running", 1, 1);
    job.preemptible = false;
    uint64_t running = world_submit(world, &job);
    world_tick(world, 0);
    job.metadata.name = "old";
    uint64_t old = world_submit(world, &job);
    world_tick(world, 5000 * MINUTE_MS);
    job.metadata.name = "high";
    job.priority = PRIORITY_HIGH;
    uint64_t high = world_submit(world, &job);
    job.metadata.name = "higher";
    job.priority = PRIORITY_HIGH + 1;
    uint64_t higher = world_submit(world, &job);
    world_tick(world, 0);
    const uint64_t order[] = {running, higher, old, high};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        assert_int_equal(world_state(world, order[i]), JOB_STARTING);
        world_end(world, order[i], END_SUCCEEDED);
        world_tick(world, 0);
    }
}

/* ---- sites that end attempts ---------------------------------------------------------------- */

enum { SLACK_MS = 30 * 1000 };

static uint64_t running_job(struct world *world, int64_t grace_ms, int64_t time_limit_ms)
{
    one_node(world, 1);
    struct job job = job_make("t", "long", 1, 0);
    job.grace_ms = grace_ms;
    job.time_limit_ms = time_limit_ms;
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, id);
    world_tick(world, 0);
    return id;
}

static void a_job_is_handed_over_before_its_site_ends_it(void **state)
{
    struct world *world = *state;
    uint64_t id = running_job(world, MINUTE_MS, 0);
    int32_t retries = world_job(world, id)->retries_left;
    world_site_end(world, id, world->now_ms + HOUR_MS);
    world_tick(world, HOUR_MS - MINUTE_MS - SLACK_MS - 1);
    world_reload(world);
    assert_int_equal(world_state(world, id), JOB_RUNNING);
    world_tick(world, 1);
    assert_int_equal(world_state(world, id), JOB_STOPPING);
    assert_int_equal(
        core_attempt(world->core, world_job(world, id)->attempt)->stop_reason, END_HANDED_OVER);
    world_end(world, id, END_SIGNAL);
    world_tick(world, 0);
    assert_int_equal(world_state(world, id), JOB_STARTING);
    assert_int_equal(world_job(world, id)->attempts, 2);
    assert_int_equal(world_job(world, id)->retries_left, retries);
    assert_int_equal(world_job(world, id)->preemptions, 0);
}

static void a_site_may_change_its_mind_about_the_end(void **state)
{
    struct world *world = *state;
    uint64_t id = running_job(world, MINUTE_MS, 0);
    int64_t start_ms = world->now_ms;
    world_site_end(world, id, start_ms + HOUR_MS);
    world_tick(world, 50 * MINUTE_MS);
    world_site_end(world, id, start_ms + 2 * HOUR_MS);
    world_tick(world, 50 * MINUTE_MS);
    assert_int_equal(world_state(world, id), JOB_RUNNING);
    world_site_end(world, id, 0);
    world_tick(world, 50 * MINUTE_MS);
    assert_int_equal(world_state(world, id), JOB_RUNNING);
    world_site_end(world, id, start_ms + 2 * HOUR_MS); /* which is past by now */
    world_tick(world, 0);
    assert_int_equal(world_state(world, id), JOB_STOPPING);
}

static void its_own_time_limit_comes_first(void **state)
{
    struct world *world = *state;
    uint64_t id = running_job(world, MINUTE_MS, HOUR_MS);
    world_site_end(world, id, world->now_ms + HOUR_MS + 2);
    world_tick(world, HOUR_MS);
    assert_int_equal(
        core_attempt(world->core, world_job(world, id)->attempt)->stop_reason, END_TIME_LIMIT);
}

/* Whatever an engine says, an attempt has half of the time, and ten seconds at least. */
static void no_site_leaves_an_attempt_without_time(void **state)
{
    struct world *world = *state;
    uint64_t id = running_job(world, HOUR_MS, 0);
    int64_t start_ms = world->now_ms;
    const int64_t lies[] = {1, start_ms - HOUR_MS, start_ms, start_ms + 9999};
    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        world_site_end(world, id, lies[i]);
        world_tick(world, 1);
        assert_int_equal(world_state(world, id), JOB_RUNNING);
    }
    world_site_end(world, id, start_ms + MINUTE_MS); /* its grace is longer than that */
    world_tick(world, start_ms + MINUTE_MS / 2 - 1 - world->now_ms);
    assert_int_equal(world_state(world, id), JOB_RUNNING);
    world_tick(world, 1);
    assert_int_equal(world_state(world, id), JOB_STOPPING);
    struct core_report wrong = {
        .attempt = world_job(world, id)->attempt, .kind = REPORT_SITE_END, .at_ms = INT64_MAX};
    assert_false(core_attempt_report(world->core, &wrong));
}

/* Many teams have jobs of the same names: each is found by its own, and no more once it ended. */
static void jobs_are_found_by_team_and_name(void **state)
{
    struct world *world = *state;
    enum { TEAMS = 40, NAMES = 10, JOBS = TEAMS * NAMES };
    uint64_t ids[JOBS];
    char name[16], team[16];
    one_node(world, 0);
    for (int i = 0; i < JOBS; i++) {
        snprintf(team, sizeof team, "team-%d", i % TEAMS);
        snprintf(name, sizeof name, "j%d", i / TEAMS);
        if (i < TEAMS)
            world_team(world, team);
        struct job job = job_make(team, name, 1, 0);
        ids[i] = world_submit(world, &job);
    }
    world_tick(world, 0);
    for (int i = 0; i < JOBS; i += 3)
        assert_int_equal(core_job_cancel(world->core, ids[i], NULL), 0);
    world_tick(world, 0);
    for (int i = 0; i < JOBS; i++) {
        snprintf(team, sizeof team, "team-%d", i % TEAMS);
        snprintf(name, sizeof name, "j%d", i / TEAMS);
        bool ended = job_state_ended(world_state(world, ids[i]));
        assert_true(core_job_find(world->core, team, name) == (ended ? 0 : ids[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_failed_attempt_is_tried_again_with_growing_waits),
        TEST(a_deadline_ends_waiting_and_running_jobs),
        TEST(a_time_limit_counts_from_the_start_of_the_attempt),
        TEST(a_dependency_is_waited_for),
        TEST(what_depended_on_a_success_fails_with_it),
        TEST(an_array_runs_so_many_at_once),
        TEST(holding_releasing_and_cancelling),
        TEST(an_elastic_gang_takes_what_there_is),
        TEST(a_gang_that_may_shrink_outlives_a_lost_node),
        TEST(a_gang_whose_nodes_are_all_lost_ends_at_once),
        TEST(stale_and_senseless_reports_change_nothing),
        TEST(what_could_never_run_is_refused),
        TEST(ids_are_never_used_again),
        TEST(a_job_is_handed_over_before_its_site_ends_it),
        TEST(a_site_may_change_its_mind_about_the_end),
        TEST(its_own_time_limit_comes_first),
        TEST(no_site_leaves_an_attempt_without_time),
        TEST(waiting_lifts_a_job_to_the_next_named_priority_and_no_further),
        TEST(jobs_are_found_by_team_and_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
