/* Spot capacity under deadlines: what each policy chooses, by hand; that no policy misses a
 * deadline whatever the capacity does; and jobs that wait, move and come back in a whole core. */
#include "base/prng.h"
#include "core/spot.h"
#include "core/test_help.h"

#include <stdlib.h>

/* Ten hours of work in twenty, six minutes for a start; nothing done yet. */
static struct spot_case case_make(void)
{
    return (struct spot_case){.left_ms = 20 * HOUR_MS,
        .work_ms = 10 * HOUR_MS,
        .total_ms = 10 * HOUR_MS,
        .span_ms = 20 * HOUR_MS,
        .change_ms = 6 * MINUTE_MS,
        .spot_price = 910,
        .demand_price = 3060};
}

static struct spot_choice choose(const char *policy, const struct spot_case *of)
{
    const struct spot_policy *found = spot_policy_find(policy);
    assert_non_null(found);
    return found->choose(of);
}

static void uniform_progress_keeps_to_its_rules(void **state)
{
    (void)state;
    struct spot_case of = case_make();
    /* Idle and on the line: waits. A second later it is behind: on-demand. */
    assert_int_equal(choose("uniform-progress", &of).to, SPOT_NOWHERE);
    of.left_ms -= 1000;
    of.there = false;
    assert_int_equal(choose("uniform-progress", &of).to, SPOT_ON_DEMAND);
    /* Taking risks: spot capacity when it is there, though it is behind; and until it is gone. */
    of.there = true;
    assert_int_equal(choose("uniform-progress", &of).to, SPOT_ON_SPOT);
    of.at = SPOT_ON_SPOT;
    of.left_ms = of.work_ms;
    assert_int_equal(choose("uniform-progress", &of).to, SPOT_ON_SPOT);
    /* Hysteresis: after four hours two should be done, and on on-demand capacity 2 h 6 min, what
     * is due two starts later. */
    of = case_make();
    of.at = SPOT_ON_DEMAND;
    of.there = true;
    of.left_ms = 16 * HOUR_MS;
    of.work_ms = 8 * HOUR_MS - 5 * MINUTE_MS;
    assert_int_equal(choose("uniform-progress", &of).to, SPOT_ON_DEMAND);
    of.work_ms = 8 * HOUR_MS - 6 * MINUTE_MS;
    assert_int_equal(choose("uniform-progress", &of).to, SPOT_ON_SPOT);
    of.there = false;
    assert_int_equal(choose("uniform-progress", &of).to, SPOT_NOWHERE);
    /* The safety net: two starts of slack are left. */
    of = case_make();
    of.there = true;
    of.left_ms = of.work_ms + 12 * MINUTE_MS;
    assert_int_equal(choose("uniform-progress", &of).to, SPOT_ON_DEMAND);
}

/* Capacity that stays for 3 hours and is away for 1 comes and goes five times in 20: it keeps two
 * starts for each, an hour in all, and two for the safety net. */
static void slack_is_kept_for_changeovers(void **state)
{
    (void)state;
    struct spot_case of = case_make();
    of.up_ms = 3 * HOUR_MS;
    of.down_ms = HOUR_MS;
    struct spot_choice choice = choose("slack", &of);
    assert_int_equal(choice.to, SPOT_NOWHERE);
    assert_int_equal(choice.again_ms, 10 * HOUR_MS - HOUR_MS - 12 * MINUTE_MS);
    of.work_ms = of.left_ms - HOUR_MS - 12 * MINUTE_MS;
    assert_int_equal(choose("slack", &of).to, SPOT_ON_DEMAND);
    of.at = SPOT_ON_DEMAND;
    of.there = true;
    assert_int_equal(choose("slack", &of).to, SPOT_ON_SPOT);
    /* It has to stay for 12 minutes * 3060 / 2150, 17 minutes, to be worth two starts. */
    of.up_ms = 17 * MINUTE_MS;
    assert_int_equal(choose("slack", &of).to, SPOT_ON_DEMAND);
    of.up_ms = 18 * MINUTE_MS;
    assert_int_equal(choose("slack", &of).to, SPOT_ON_SPOT);
    of.left_ms = of.work_ms + 12 * MINUTE_MS;
    assert_int_equal(choose("slack", &of).to, SPOT_ON_DEMAND);
}

/* A job against capacity that comes and goes as drawn; steps of a minute. */
static bool meets_deadline(const struct spot_policy *policy, struct prng *prng)
{
    struct spot_case of = case_make();
    int64_t start = 1 + (int64_t)prng_below(prng, 15), work = 1 + (int64_t)prng_below(prng, 300);
    int64_t span = work + 2 * start + (int64_t)prng_below(prng, (uint64_t)work + 1);
    uint64_t flips = 1 + prng_below(prng, 300);
    int64_t left = work, starting = 0;
    bool there = false;
    of.change_ms = start * MINUTE_MS;
    of.total_ms = work * MINUTE_MS;
    of.span_ms = span * MINUTE_MS;
    of.up_ms = (int64_t)prng_below(prng, 100) * MINUTE_MS;
    of.down_ms = (int64_t)prng_below(prng, 100) * MINUTE_MS;
    for (int64_t step = 0; step < span; step++) {
        there = prng_below(prng, 1000) < flips ? !there : there;
        of.there = there;
        if (of.at == SPOT_ON_SPOT && !there)
            of.at = SPOT_NOWHERE;
        of.left_ms = (span - step) * MINUTE_MS;
        of.work_ms = left * MINUTE_MS;
        enum spot_place to = policy->choose(&of).to;
        assert_true(to != SPOT_ON_SPOT || there || of.at == SPOT_ON_SPOT);
        starting = to == of.at ? starting : start;
        of.at = to;
        if (to != SPOT_NOWHERE && starting > 0)
            starting--;
        else if (to != SPOT_NOWHERE && --left == 0)
            return true;
    }
    return false;
}

static void no_policy_misses_a_deadline(void **state)
{
    (void)state;
    const struct spot_policy *policy;
    for (int i = 0; (policy = spot_policy_at(i)); i++) {
        struct prng prng = {(uint64_t)i};
        for (int run = 0; run < 3000; run++) {
            if (!meets_deadline(policy, &prng))
                fail_msg("%s, run %d: too late", policy->name, run);
        }
    }
}

/* ---- in a core --------------------------------------------------------------------------- */

/* One spot node and one other, a device each. */
static void pools_make(struct world *world)
{
    struct error err;
    struct node node = node_make("n", 8, 32, 1);
    struct named_price cheap = {"gpu", 910000}, dear = {"gpu", 3060000};
    struct pool spot = {.metadata.name = "spot", .spot = true, .nodes = {&node, 1}};
    struct pool demand = {.metadata.name = "demand", .nodes = {&node, 1}};
    spot.prices.accelerators.items = &cheap;
    demand.prices.accelerators.items = &dear;
    spot.prices.accelerators.count = demand.prices.accelerators.count = 1;
    if (core_pool_put(world->core, &demand, &err) < 0 ||
        core_pool_put(world->core, &spot, &err) < 0)
        fail_msg("%s", err.text);
    world_team(world, "t");
}

/* An hour of work with a deadline; a changeover is 2 min to restart, 30 s grace, 5 min between
 * checkpoints and 10 s: 7 min 40 s. */
static struct job job_with_deadline(struct world *world, int64_t span_ms)
{
    struct job job = job_make("t", "job", 1, 1);
    job.deadline_ms = world->now_ms + span_ms;
    job.duration_ms = HOUR_MS;
    job.checkpoint.interval_ms = 5 * MINUTE_MS;
    job.checkpoint.restart_ms = 2 * MINUTE_MS;
    return job;
}

static const char *pool_of(struct world *world, uint64_t job)
{
    const struct job_row *row = core_job(world->core, job);
    if (!row || !row->attempt)
        return "";
    for (size_t i = 0; i < world->rows.count; i++) {
        const struct placement_row *one = world->rows.items[i].bytes;
        if (world->rows.items[i].kind == ROW_PLACEMENT && world->rows.items[i].live &&
            one->attempt == row->attempt)
            return core_symbol(
                world->core, core_pool(world->core, core_node(world->core, one->node)->pool)->name);
    }
    return "";
}

static const struct spot_row *spot_of(struct world *world, uint64_t job)
{
    for (size_t i = 0; i < world->rows.count; i++) {
        const struct spot_row *one = world->rows.items[i].bytes;
        if (world->rows.items[i].kind == ROW_SPOT && world->rows.items[i].live && one->job == job)
            return one;
    }
    return NULL;
}

static void see_pool(void *context, const struct core_pool_view *view)
{
    struct core_pool_view *views = context;
    views[view->pool == views[0].pool ? 0 : 1] = *view;
}

/* What of the pool "demand" keeps the job out; NULL: nothing does. */
static const char *demand_lacks(struct world *world, uint64_t job)
{
    struct core_pool_view views[2] = {{.pool = core_pool_find(world->core, "demand")}};
    core_job_pools(world->core, job, see_pool, views);
    assert_true(views[0].need == 1 && views[1].need == 1);
    return views[0].lacks;
}

/* With 3 hours for one of work it waits for spot capacity until what is left of its slack is kept
 * for changeovers: six, of 7 min 40 s, before the last moment. */
static void waits_for_spot_while_slack_allows(void **state)
{
    struct world *world = *state;
    pools_make(world);
    core_node_report(world->core, "spot", "n", false);
    struct job job = job_with_deadline(world, 3 * HOUR_MS);
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(world_state(world, id), JOB_QUEUED);
    int64_t until_ms = START_MS + 2 * HOUR_MS - 6 * (7 * MINUTE_MS + 40000);
    assert_int_equal(spot_of(world, id)->again_ms, until_ms);
    struct core_block block;
    core_job_blocked(world->core, id, &block);
    assert_int_equal(block.kind, BLOCK_SPOT);
    assert_string_equal(block.policy, "slack");
    assert_true(block.held == 0 && block.need == 1 && block.elsewhere == 1);
    assert_true(block.until_ms == until_ms);
    assert_string_equal(demand_lacks(world, id), "on-spot");
    world_tick(world, until_ms - START_MS - 1);
    assert_int_equal(world_state(world, id), JOB_QUEUED);
    world_tick(world, 1);
    assert_null(demand_lacks(world, id));
    assert_int_equal(world_state(world, id), JOB_STARTING);
    assert_string_equal(pool_of(world, id), "demand");
}

/* It moves when capacity comes and it has just saved its work, goes on on spot capacity, and its
 * node's end there is nobody's failure. */
static void moves_to_spot_and_back(void **state)
{
    struct world *world = *state;
    pools_make(world);
    core_node_report(world->core, "spot", "n", false);
    struct job job = job_with_deadline(world, 2 * HOUR_MS);
    uint64_t id = world_submit(world, &job);
    int64_t now_ms = world->now_ms;
    world_tick(world, 0);
    while (world_state(world, id) == JOB_QUEUED)
        world_tick(world, core_next_ms(world->core) - world->now_ms);
    assert_string_equal(pool_of(world, id), "demand");
    world_start(world, id);
    world_tick(world, 4 * MINUTE_MS);
    core_node_report(world->core, "spot", "n", true);
    world_tick(world, 0);
    assert_int_equal(world_state(world, id), JOB_RUNNING); /* four minutes would be lost */
    world_tick(world, MINUTE_MS);
    world_checkpoint(world, id, world->now_ms);
    world_tick(world, 0);
    assert_int_equal(world_state(world, id), JOB_STOPPING);
    world_end(world, id, END_SIGNAL);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, id), "spot");
    assert_int_equal(spot_of(world, id)->saved_ms, 5 * MINUTE_MS);
    world_start(world, id);
    world_tick(world, MINUTE_MS);
    core_node_report(world->core, "spot", "n", false);
    world_tick(world, 0);
    assert_int_equal(world_job(world, id)->failures, 0);
    while (world_state(world, id) == JOB_QUEUED)
        world_tick(world, core_next_ms(world->core) - world->now_ms);
    assert_string_equal(pool_of(world, id), "demand");
    assert_true(world->now_ms - now_ms < HOUR_MS);
}

static void never_and_only_are_kept(void **state)
{
    struct world *world = *state;
    pools_make(world);
    struct job job = job_make("t", "never", 1, 1);
    job.placement.spot = SPOT_NEVER;
    uint64_t never = world_submit(world, &job);
    job.metadata.name = "never2";
    uint64_t waits = world_submit(world, &job);
    job.metadata.name = "only";
    job.placement.spot = SPOT_ONLY;
    uint64_t only = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, never), "demand");
    assert_int_equal(world_state(world, waits), JOB_QUEUED);
    assert_string_equal(pool_of(world, only), "spot");
}

/* Without a deadline or a duration nothing waits: it takes what is there. */
static void others_are_left_alone(void **state)
{
    struct world *world = *state;
    pools_make(world);
    core_node_report(world->core, "spot", "n", false);
    struct job job = job_with_deadline(world, 3 * HOUR_MS);
    job.duration_ms = 0;
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, id), "demand");
    assert_null(spot_of(world, id));
}

/* A unit of work is a second of it. */
static void say_remaining(struct world *world, uint64_t id, int64_t remaining_ms)
{
    const struct core_speed speed = {1, 1, 1000};
    const struct core_progress progress = {
        .remaining = remaining_ms / 1000, .speeds = &speed, .speed_count = 1};
    assert_int_equal(core_job_progress(world->core, id, &progress, NULL), 0);
}

/* An hour by its duration, two and a half by what it says: 21 min 20 s are left for spot capacity,
 * the minute since its checkpoint being lost; and none without the checkpoint. */
static void says_more_than_its_duration(struct world *world, bool saved)
{
    pools_make(world);
    struct job job = job_with_deadline(world, 3 * HOUR_MS);
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, id), "spot");
    world_start(world, id);
    world_tick(world, 30 * MINUTE_MS);
    if (saved)
        world_checkpoint(world, id, world->now_ms - MINUTE_MS);
    say_remaining(world, id, 2 * HOUR_MS);
    world_tick(world, 0);
    assert_int_equal(world_state(world, id), saved ? JOB_RUNNING : JOB_STOPPING);
    if (saved) {
        assert_int_equal(spot_of(world, id)->again_ms, world->now_ms + 21 * MINUTE_MS + 20000);
        world_tick(world, 21 * MINUTE_MS + 20000);
        assert_int_equal(world_state(world, id), JOB_STOPPING);
    }
    world_end(world, id, END_SIGNAL);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, id), "demand");
    /* What it will begin with: a minute more than it said, or all that it had done. */
    const struct allotment_row *row = NULL;
    for (size_t i = 0; i < world->rows.count; i++) {
        if (world->rows.items[i].kind == ROW_ALLOTMENT && world->rows.items[i].live)
            row = world->rows.items[i].bytes;
    }
    assert_non_null(row);
    assert_int_equal(row->remaining, 2 * 3600 + (saved ? 60 : 30 * 60));
}

static void what_a_job_says_counts_more_than_its_duration(void **state)
{
    says_more_than_its_duration(*state, true);
}

static void what_is_not_saved_is_left(void **state)
{
    says_more_than_its_duration(*state, false);
}

/* Its duration is twice what it needs: it stays on spot capacity for as long as what it says
 * allows. */
static void a_job_that_is_nearly_done_stays(void **state)
{
    struct world *world = *state;
    pools_make(world);
    struct job job = job_with_deadline(world, 80 * MINUTE_MS);
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, id), "spot");
    world_start(world, id);
    world_tick(world, 10 * MINUTE_MS);
    world_checkpoint(world, id, world->now_ms);
    say_remaining(world, id, 20 * MINUTE_MS);
    world_tick(world, 0);
    assert_int_equal(spot_of(world, id)->again_ms,
        world->now_ms + 70 * MINUTE_MS - 20 * MINUTE_MS - (7 * MINUTE_MS + 40000));
}

/* A job as its machine sees it, in steps of a minute: it saves every five, says every minute how
 * far it is, and is back at what is saved when it ends. */
struct honest {
    uint64_t id, attempt;
    int64_t total, done, saved, idle, ran; /* minutes */
};

static void honest_step(struct world *world, struct honest *job)
{
    const struct job_row *row = core_job(world->core, job->id);
    if (row->attempt != job->attempt) {
        job->attempt = row->attempt;
        job->done = job->saved;
        job->ran = 0;
        job->idle = row->attempt && core_attempt(world->core, row->attempt)->number > 1 ? 2 : 0;
    }
    if (row->state == JOB_STARTING)
        world_start(world, job->id);
    else if (row->state == JOB_STOPPING)
        world_end(world, job->id, END_SIGNAL);
    if (row->state != JOB_RUNNING)
        return;
    if (job->idle > 0) {
        job->idle--;
        return;
    }
    if (++job->ran % 5 == 0) {
        job->saved = job->done + 1;
        world_checkpoint(world, job->id, world->now_ms);
    }
    if (++job->done >= job->total)
        world_end_complete(world, job->id, true);
    else
        say_remaining(world, job->id, (job->total - job->done) * MINUTE_MS);
}

/* Its duration may be half of the truth or twice that. It begins on spot capacity at once, and
 * other capacity is always there. */
static void honest_run(struct world *world, struct prng *prng)
{
    pools_make(world);
    struct honest honest = {.total = 20 + (int64_t)prng_below(prng, 100)};
    int64_t extra = 30 + (int64_t)prng_below(prng, 100);
    struct job job = job_with_deadline(world, (honest.total + extra) * MINUTE_MS);
    job.duration_ms = honest.total * MINUTE_MS * (500 + (int64_t)prng_below(prng, 1500)) / 1000;
    honest.id = world_submit(world, &job);
    bool there = true;
    for (int64_t step = 0; core_job(world->core, honest.id); step++) {
        world_tick(world, step ? MINUTE_MS : 0);
        if (!core_job(world->core, honest.id))
            break;
        honest_step(world, &honest);
        if (step > 8 && prng_below(prng, 20) == 0)
            core_node_report(world->core, "spot", "n", there = !there);
        world_tick(world, 0);
    }
    assert_int_equal(world_state(world, honest.id), JOB_SUCCEEDED);
}

static void jobs_that_say_how_far_they_are_are_in_time(void **state)
{
    (void)state;
    const char *seeds = getenv("CORE_SEEDS");
    int64_t runs = seeds ? atoll(seeds) : 40;
    for (int64_t seed = 1; seed <= runs; seed++) {
        struct prng prng = {(uint64_t)seed};
        void *world;
        world_setup(&world);
        honest_run(world, &prng);
        world_teardown(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uniform_progress_keeps_to_its_rules),
        cmocka_unit_test(slack_is_kept_for_changeovers),
        cmocka_unit_test(no_policy_misses_a_deadline),
        TEST(waits_for_spot_while_slack_allows),
        TEST(moves_to_spot_and_back),
        TEST(never_and_only_are_kept),
        TEST(others_are_left_alone),
        TEST(what_a_job_says_counts_more_than_its_duration),
        TEST(a_job_that_is_nearly_done_stays),
        TEST(what_is_not_saved_is_left),
        cmocka_unit_test(jobs_that_say_how_far_they_are_are_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
