/* Rollouts: the tests' numbers worked out by hand, how often a good canary is aborted and how soon
 * a bad one is, and the state over ticks. */
#include "base/prng.h"
#include "core/rollout.h"
#include "core/sort.h"
#include "core/test_help.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- bits ------------------------------------------------------------------------------------ */

/* In millionths, of which the expectations are rounded. */
static void assert_bits(int64_t bits, int64_t micro)
{
    int64_t got = bits * 15625 / (BITS_ONE / 64);
    if (got > micro + 20 || got < micro - 20)
        fail_msg("%lld millionths of a bit, expected %lld", (long long)got, (long long)micro);
}

static void test_log2(void **state)
{
    (void)state;
    assert_int_equal(bits_log2(8, 1), 3 * BITS_ONE);
    assert_int_equal(bits_log2(1, 16), -4 * BITS_ONE);
    assert_int_equal(bits_log2(5, 5), 0);
    assert_bits(bits_log2(3, 2), 584963);
    assert_bits(bits_log2(20, 1), 4321929);
    assert_bits(bits_log2(1, 3), -1584962);
    assert_bits(bits_log2(1000001, 1000000), 1);
    for (uint64_t n = 1; n < 3000; n++)
        assert_true(bits_log2(n, 1000) <= bits_log2(n + 1, 1000));
}

static int64_t worse(int64_t canary, int64_t baseline, int64_t of)
{
    struct bets_odds odds;
    struct bets bets = {.canary = {of - canary, canary}, .baseline = {of - baseline, baseline}};
    bets_odds(2, 0, &odds);
    return bets_worse(&odds, &bets);
}

static int64_t no_worse(int64_t canary, int64_t baseline, int64_t of, int64_t margin_ppm)
{
    struct bets_odds odds;
    struct bets bets = {.canary = {of - canary, canary}, .baseline = {of - baseline, baseline}};
    bets_odds(2, margin_ppm, &odds);
    return bets_no_worse(&odds, &bets);
}

/* lambda 60/64: log2(1.9375) = 0.954196 a failure of the canary's, an eighth of the capital. */
static void test_worse_by_hand(void **state)
{
    (void)state;
    assert_bits(worse(10, 0, 1000), 10 * 954196 - 3000000);
    /* As many on either side: the least lambda loses least, log2(1 - 1/4096) each pair. */
    assert_bits(worse(10, 10, 1000), -10 * 353 - 3000000);
    /* 2 against 1: lambda 1/4 has 20 * log2(1.25) + 10 * log2(0.75), 1/2 less. */
    assert_bits(worse(20, 10, 1000), 20 * 321928 - 10 * 415037 - 3000000);
    /* Successes alone say nothing. */
    assert_int_equal(worse(0, 0, 100000), -3 * BITS_ONE);
}

/* Margin 1%: without failures each request gives log2(1 + 60/64 * 0.005) = 0.006747. */
static void test_no_worse_by_hand(void **state)
{
    (void)state;
    assert_int_equal(no_worse(0, 0, 0, 10000), -3 * BITS_ONE);
    int64_t bits = no_worse(0, 0, 1000, 10000);
    assert_true(bits <= 2000 * (int64_t)6747 * BITS_ONE / 1000000 - 3 * BITS_ONE);
    assert_true(bits >= 2000 * (int64_t)6740 * BITS_ONE / 1000000 - 3 * BITS_ONE);
    /* Five more in a hundred: more requests say ever less that it is within one. */
    assert_true(no_worse(50, 0, 1000, 10000) < 0);
    assert_true(no_worse(500, 0, 10000, 10000) < no_worse(50, 0, 1000, 10000));
}

/* 3 of 3 differ where a half may: lambda 60/64, log2(1 + 0.9375) each. */
static void test_lone_by_hand(void **state)
{
    (void)state;
    assert_bits(bets_above(3, 3, 500000), 3 * 954196 - 3000000);
    assert_bits(bets_below(0, 3, 500000), 3 * 954196 - 3000000);
    /* 1%: each that is equal gives log2(1 + 60/64 / 99) = 0.013598. */
    assert_true(bets_below(0, 600, 10000) > (int64_t)5 * BITS_ONE);
    assert_true(bets_below(0, 500, 10000) < (int64_t)4 * BITS_ONE);
    assert_true(bets_above(0, 100000, 10000) < 0);
}

/* ---- 1,000 rollouts ---------------------------------------------------------------------------
 */

static const struct rollout_plan plan = {
    .strategy = ROLLOUT_CANARY,
    .steps = 1,
    .weights = {10},
    .patience_ms = HOUR_MS,
    .requests_min = 500,
    .alpha_ppm = 50000,
    .error_margin_ppm = 10000,
    .latency_margin_ppm = 100000,
    .guard_requests = 100,
    .guard_errors_ppm = 500000,
    .differences_ppm = 10000,
};

/* How an arm answers: errors in millionths, latency a median of 8 ms times 2^(z * spread). */
struct behaviour {
    int64_t errors_ppm;
    int64_t slower_percent; /* 100: as the baseline */
};

/* A triangle-like bell of four draws, -2 to 2 octaves, in 1/1024 octaves. */
static int64_t draw_latency_us(struct prng *prng, int64_t slower_percent)
{
    int64_t z = 0;
    for (int i = 0; i < 4; i++)
        z += (int64_t)prng_below(prng, 1025) - 512;
    int64_t us = z >= 0 ? 8000 << (z / 1024) : 8000 >> (-z / 1024 + 1);
    int64_t part = z >= 0 ? z % 1024 : 1024 - -z % 1024;
    return (us + us * part / 1024) * slower_percent / 100;
}

static int32_t bucket_of(int64_t us)
{
    int32_t i = 0;
    while (i < ROLLOUT_BUCKETS - 1 && us > (int64_t)64 << i)
        i++;
    return i;
}

static void serve(struct prng *prng, struct evidence_row *arm, const struct behaviour *how)
{
    arm->requests++;
    arm->errors += (int64_t)prng_below(prng, 1000000) < how->errors_ppm;
    arm->within[bucket_of(draw_latency_us(prng, how->slower_percent))]++;
}

struct outcome {
    enum rollout_reason alarm;
    int64_t alarmed; /* requests of both arms by then; 0: never */
    int64_t passed;  /* by which it passed, had it not been gone on with; 0: never */
};

/* Looks every 20 requests at first and every 200 then, whatever has passed before. */
static struct outcome simulate(
    uint64_t seed, const struct behaviour *baseline, const struct behaviour *canary, int64_t most)
{
    struct prng prng = {seed};
    struct rollout_row row = {.plan = plan, .state = ROLLOUT_TESTING};
    struct evidence_row arms[2] = {{.arm = ARM_BASELINE}, {.arm = ARM_CANARY}};
    struct outcome outcome = {0};
    for (int64_t n = 1; n <= most && !outcome.alarmed; n++) {
        bool which = prng_below(&prng, 2);
        serve(&prng, &arms[which], which ? canary : baseline);
        if (n % (n < 1000 ? 20 : 200))
            continue;
        struct rollout_verdict verdict = core_rollout_judge(&row, &arms[0], &arms[1], 0);
        outcome.alarm = verdict.alarm;
        outcome.alarmed = verdict.alarm != REASON_NONE ? n : 0;
        if (!outcome.passed && verdict.alarm == REASON_NONE && verdict.missing == REASON_NONE)
            outcome.passed = n;
    }
    return outcome;
}

enum { ROLLOUTS = 1000, AA_REQUESTS = 10000 };

static const struct behaviour usual = {10000, 100};

/* Alpha is 5%, for a canary that is looked at 95 times and never promoted in between. */
static void test_false_alarms(void **state)
{
    int alarms = 0, passed = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= ROLLOUTS; seed++) {
        struct outcome outcome = simulate(seed, &usual, &usual, AA_REQUESTS);
        alarms += outcome.alarmed > 0;
        passed += outcome.passed > 0;
    }
    print_message("A/A: %d of %d aborted, %d passed within %d requests\n", alarms, ROLLOUTS, passed,
        AA_REQUESTS);
    assert_true(alarms <= ROLLOUTS * 5 / 100);
    assert_true(passed >= ROLLOUTS * 9 / 10);
}

static int by_number(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

struct power {
    const char *what;
    struct behaviour baseline, canary;
    int64_t p95_most;
};

static void test_power(void **state)
{
    static const struct power cases[] = {
        {"latency 2x", {10000, 100}, {10000, 200}, 400},
        {"errors 0% to 1%", {0, 100}, {10000, 100}, 4000},
        {"errors 0.1% to 1.1%", {1000, 100}, {11000, 100}, 7000},
        {"errors 1% to 2%", {10000, 100}, {20000, 100}, 30000},
        {"errors 1% to 10%", {10000, 100}, {100000, 100}, 600},
    };
    int64_t found[ROLLOUTS];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (uint64_t seed = 1; seed <= ROLLOUTS; seed++) {
            struct outcome outcome = simulate(seed, &cases[i].baseline, &cases[i].canary, 100000);
            found[seed - 1] = outcome.alarmed ? outcome.alarmed : INT64_MAX;
        }
        qsort(found, ROLLOUTS, sizeof *found, by_number);
        print_message(
            "%-20s requests of both arms to the alarm: median %lld, p95 %lld, most %lld\n",
            cases[i].what, (long long)found[ROLLOUTS / 2], (long long)found[ROLLOUTS * 95 / 100],
            (long long)found[ROLLOUTS - 1]);
        assert_true(found[ROLLOUTS * 95 / 100] <= cases[i].p95_most);
    }
}

/* ---- over ticks -------------------------------------------------------------------------------
 */

enum { MADE_MAX = 64 };

struct found {
    struct core_wanted wanted[MADE_MAX];
    struct replica_row replicas[MADE_MAX];
    size_t wanted_count, replica_count;
};

static void take_wanted(void *context, const struct core_wanted *wanted)
{
    struct found *found = context;
    found->wanted[found->wanted_count++] = *wanted;
}

static void take_replica(void *context, enum row_kind kind, const void *row)
{
    struct found *found = context;
    assert_int_equal(kind, ROW_REPLICA);
    found->replicas[found->replica_count++] = *(const struct replica_row *)row;
}

static struct found replicas_of(struct world *world)
{
    struct found all = {0}, kept = {0};
    core_row_each(world->core, ROW_REPLICA, take_replica, &all);
    for (size_t i = 0; i < all.replica_count; i++) {
        if (!world_job(world, all.replicas[i].job)->cancel)
            kept.replicas[kept.replica_count++] = all.replicas[i];
    }
    return kept;
}

/* How many there are of the revision in the arm. */
static int count_of(struct world *world, int32_t revision, enum replica_arm arm)
{
    struct found found = replicas_of(world);
    int count = 0;
    for (size_t i = 0; i < found.replica_count; i++)
        count += found.replicas[i].revision == revision && found.replicas[i].arm == (int32_t)arm;
    return count;
}

/* Replicas that are wanted are made, those that were made run, those told to end have ended. */
static void rest(struct world *world, int64_t ms, bool ready)
{
    for (int round = 0; round < 60; round++, ms = 0) {
        struct found found = {0}, all = {0};
        struct error err;
        core_begin(world->core, world->now_ms + ms);
        core_service_wanted(world->core, take_wanted, &found);
        for (size_t i = 0; i < found.wanted_count; i++) {
            char name[32];
            uint64_t id;
            snprintf(name, sizeof name, "web-%d", found.wanted[i].number);
            struct job job = job_make("t", name, 1, 0);
            job.service = true;
            if (core_replica_submit(world->core, &found.wanted[i], &job, &id, &err) < 0)
                fail_msg("%s", err.text);
        }
        world_tick(world, ms);
        core_row_each(world->core, ROW_REPLICA, take_replica, &all);
        for (size_t i = 0; i < all.replica_count; i++) {
            uint64_t job = all.replicas[i].job;
            if (world_state(world, job) == JOB_STARTING)
                world_start(world, job);
            if (world_state(world, job) == JOB_RUNNING && ready)
                core_replica_report(
                    world->core, job, world_job(world, job)->attempt, REPLICA_READY);
            if (world_state(world, job) == JOB_STOPPING)
                world_end(world, job, END_SIGNAL);
        }
    }
}

static uint64_t put(struct world *world, const struct rollout_plan *with, bool renew)
{
    struct core_service service = {
        .team = "t", .name = "web", .replicas = 4, .surge = 1, .renew = renew, .rollout = *with};
    uint64_t id;
    struct error err;
    if (core_service_put(world->core, &service, &id, NULL, &err) < 0)
        fail_msg("%s", err.text);
    return id;
}

/* A service whose first revision is ready, and a second one that was just put. */
static uint64_t second_revision(struct world *world, const struct rollout_plan *with)
{
    struct node nodes[] = {node_make("n", 64, 256, 0)};
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    uint64_t id = put(world, with, true);
    rest(world, 1000, true);
    assert_int_equal(count_of(world, 1, ARM_MAIN), 4);
    put(world, with, true);
    return id;
}

/* Requests of both arms, by the revision's and arm's first replica. */
static void see(struct world *world, enum replica_arm arm, int64_t requests, int64_t errors)
{
    struct found found = replicas_of(world);
    struct core_evidence grown = {.requests = requests, .errors = errors};
    grown.within[7] = requests;
    for (size_t i = 0; i < found.replica_count; i++) {
        if (found.replicas[i].arm != (int32_t)arm)
            continue;
        assert_true(core_rollout_evidence(world->core, found.replicas[i].job, &grown));
        return;
    }
    fail_msg("there is no replica of the arm");
}

static void see_both(struct world *world, int64_t requests)
{
    see(world, ARM_BASELINE, requests, 0);
    see(world, ARM_CANARY, requests, 0);
}

static int32_t state_of(struct world *world, uint64_t id)
{
    return core_rollout(world->core, id)->state;
}

static const struct rollout_plan two_steps = {
    .strategy = ROLLOUT_CANARY,
    .steps = 2,
    .weights = {10, 50},
    .bakes_ms = {0, 5 * MINUTE_MS},
    .patience_ms = HOUR_MS,
    .requests_min = 500,
    .alpha_ppm = 50000,
    .error_margin_ppm = 10000,
    .latency_margin_ppm = 100000,
    .guard_requests = 100,
    .guard_errors_ppm = 500000,
    .differences_ppm = 10000,
};

static void test_a_good_canary_is_promoted(void **state)
{
    struct world *world = *state;
    uint64_t id = second_revision(world, &two_steps);
    assert_int_equal(state_of(world, id), ROLLOUT_STARTING);
    assert_int_equal(core_rollout_split(world->core, id).percent[ARM_MAIN], 100);
    rest(world, 1000, true);
    assert_int_equal(state_of(world, id), ROLLOUT_TESTING);
    assert_int_equal(count_of(world, 1, ARM_MAIN), 4);
    assert_int_equal(count_of(world, 1, ARM_BASELINE), 1);
    assert_int_equal(count_of(world, 2, ARM_CANARY), 1);
    assert_int_equal(core_rollout_split(world->core, id).percent[ARM_MAIN], 80);
    assert_int_equal(core_rollout_split(world->core, id).percent[ARM_CANARY], 10);
    /* No data, and too little of it, pass nothing. */
    rest(world, 10 * MINUTE_MS, true);
    see_both(world, 499);
    rest(world, 1000, true);
    assert_int_equal(core_rollout(world->core, id)->step, 0);
    see_both(world, 800);
    rest(world, 1000, true);
    assert_int_equal(core_rollout(world->core, id)->step, 1);
    assert_int_equal(count_of(world, 1, ARM_BASELINE), 2);
    assert_int_equal(count_of(world, 2, ARM_CANARY), 2);
    /* Each step wants its own sample, and its time. */
    see_both(world, 400);
    rest(world, 1000, true);
    see_both(world, 400);
    rest(world, 1000, true);
    assert_int_equal(state_of(world, id), ROLLOUT_TESTING);
    rest(world, 5 * MINUTE_MS, true);
    assert_int_equal(state_of(world, id), ROLLOUT_PROMOTED);
    assert_int_equal(core_rollout(world->core, id)->reason, REASON_PASSED);
    rest(world, 1000, true);
    assert_int_equal(count_of(world, 2, ARM_MAIN), 4);
    assert_int_equal(replicas_of(world).replica_count, 4);
}

static void test_a_bad_canary_is_aborted(void **state)
{
    struct world *world = *state;
    uint64_t id = second_revision(world, &two_steps);
    rest(world, 1000, true);
    see(world, ARM_BASELINE, 90, 0);
    see(world, ARM_CANARY, 90, 9);
    rest(world, 1000, true);
    assert_int_equal(state_of(world, id), ROLLOUT_ABORTED);
    assert_int_equal(core_rollout(world->core, id)->reason, REASON_ERRORS);
    assert_int_equal(count_of(world, 1, ARM_MAIN), 4);
    assert_int_equal(replicas_of(world).replica_count, 4);
    assert_int_equal(core_rollout_split(world->core, id).percent[ARM_MAIN], 100);
    /* The next one is compared with the same stable revision. */
    put(world, &two_steps, true);
    rest(world, 1000, true);
    assert_int_equal(count_of(world, 3, ARM_CANARY), 1);
    assert_int_equal(count_of(world, 1, ARM_BASELINE), 1);
    assert_int_equal(core_rollout_seen(world->core, id, ARM_CANARY)->requests, 0);
}

static void test_guard(void **state)
{
    struct world *world = *state;
    struct rollout_plan guarded = two_steps;
    guarded.guard_errors_ppm = 20000;
    uint64_t id = second_revision(world, &guarded);
    rest(world, 1000, true);
    /* As bad as the baseline, and above what is borne: from the hundredth request on. */
    see(world, ARM_BASELINE, 99, 3);
    see(world, ARM_CANARY, 99, 3);
    rest(world, 1000, true);
    assert_int_equal(state_of(world, id), ROLLOUT_TESTING);
    see(world, ARM_CANARY, 1, 0);
    rest(world, 1000, true);
    assert_int_equal(state_of(world, id), ROLLOUT_ABORTED);
    assert_int_equal(core_rollout(world->core, id)->reason, REASON_GUARD_ERRORS);
}

static void test_pause_and_patience(void **state)
{
    struct world *world = *state;
    struct error err;
    uint64_t id = second_revision(world, &two_steps);
    rest(world, 1000, true);
    assert_int_equal(core_rollout_command(world->core, id, ROLLOUT_DO_RESUME, &err), -1);
    assert_int_equal(core_rollout_command(world->core, id, ROLLOUT_DO_PAUSE, &err), 0);
    see_both(world, 5000);
    rest(world, 2 * HOUR_MS, true);
    assert_int_equal(state_of(world, id), ROLLOUT_TESTING);
    assert_int_equal(core_rollout(world->core, id)->step, 0);
    assert_int_equal(core_rollout_command(world->core, id, ROLLOUT_DO_RESUME, &err), 0);
    rest(world, 1000, true);
    assert_int_equal(core_rollout(world->core, id)->step, 1);
    /* Nobody asks for an hour: it waits for somebody to decide. */
    rest(world, HOUR_MS, true);
    assert_true(core_rollout(world->core, id)->paused);
    assert_int_equal(core_rollout(world->core, id)->reason, REASON_PATIENCE);
    assert_int_equal(core_rollout_command(world->core, id, ROLLOUT_DO_PROMOTE, &err), 0);
    rest(world, 1000, true);
    assert_int_equal(count_of(world, 2, ARM_MAIN), 4);
    assert_int_equal(core_rollout_command(world->core, id, ROLLOUT_DO_ABORT, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
}

static void test_a_canary_that_never_gets_ready(void **state)
{
    struct world *world = *state;
    struct rollout_plan strict = two_steps;
    strict.give_up = 1;
    uint64_t id = second_revision(world, &strict);
    rest(world, 1000, false);
    assert_int_equal(state_of(world, id), ROLLOUT_STARTING);
    rest(world, HOUR_MS, false);
    assert_int_equal(state_of(world, id), ROLLOUT_ABORTED);
    assert_int_equal(count_of(world, 1, ARM_MAIN), 4);
    assert_int_equal(replicas_of(world).replica_count, 4);
}

static void test_blue_green(void **state)
{
    struct world *world = *state;
    struct rollout_plan green = two_steps;
    green.strategy = ROLLOUT_BLUE_GREEN;
    green.steps = 1;
    uint64_t id = second_revision(world, &green);
    rest(world, 1000, true);
    assert_int_equal(count_of(world, 2, ARM_CANARY), 4);
    assert_int_equal(count_of(world, 1, ARM_BASELINE), 0);
    assert_int_equal(core_rollout_split(world->core, id).percent[ARM_CANARY], 100);
    see(world, ARM_CANARY, 500, 0);
    rest(world, 1000, true);
    assert_int_equal(state_of(world, id), ROLLOUT_PROMOTED);
    assert_int_equal(count_of(world, 2, ARM_MAIN), 4);
}

/* All replicas are canaries that were ready before they passed: still the next revision is compared
 * with them, and not with what they replaced. */
static void test_what_was_promoted_is_the_next_stable_one(void **state)
{
    struct world *world = *state;
    struct rollout_plan green = two_steps;
    green.strategy = ROLLOUT_BLUE_GREEN;
    uint64_t id = second_revision(world, &green);
    rest(world, 1000, true);
    struct error err;
    assert_int_equal(core_rollout_command(world->core, id, ROLLOUT_DO_PROMOTE, &err), 0);
    rest(world, 1000, true);
    assert_int_equal(count_of(world, 2, ARM_MAIN), 4);
    put(world, &green, true);
    assert_int_equal(core_service_goal(world->core, id), 2);
    rest(world, 1000, true);
    assert_int_equal(count_of(world, 2, ARM_MAIN), 4);
    assert_int_equal(count_of(world, 1, ARM_MAIN), 0);
}

/* Promoted by hand and never ready: there is nothing to compare the next one with, and what was
 * replaced before is not wanted back. */
static void test_what_was_never_ready_is_replaced_plainly(void **state)
{
    struct world *world = *state;
    uint64_t id = second_revision(world, &two_steps);
    struct error err;
    assert_int_equal(core_rollout_command(world->core, id, ROLLOUT_DO_PROMOTE, &err), 0);
    put(world, &two_steps, true);
    assert_int_equal(state_of(world, id), ROLLOUT_IDLE);
    assert_int_equal(core_service_goal(world->core, id), 3);
    rest(world, 1000, true);
    assert_int_equal(count_of(world, 3, ARM_MAIN), 4);
}

/* Two of four green replicas are ready: enough as soon as two are wanted. */
static void test_fewer_replicas_make_arms_ready(void **state)
{
    struct world *world = *state;
    struct rollout_plan green = two_steps;
    struct error err;
    green.strategy = ROLLOUT_BLUE_GREEN;
    uint64_t id = second_revision(world, &green);
    rest(world, 1000, false);
    struct found found = replicas_of(world);
    for (size_t i = 0, ready = 0; i < found.replica_count && ready < 2; i++) {
        uint64_t job = found.replicas[i].job;
        if (found.replicas[i].arm == ARM_CANARY)
            ready += core_replica_report(
                world->core, job, world_job(world, job)->attempt, REPLICA_READY);
    }
    rest(world, 1000, false);
    assert_int_equal(state_of(world, id), ROLLOUT_STARTING);
    assert_int_equal(core_service_scale(world->core, id, 2, 0, &err), 0);
    rest(world, 1000, false);
    assert_int_equal(state_of(world, id), ROLLOUT_TESTING);
}

static void test_shadow(void **state)
{
    struct world *world = *state;
    struct rollout_plan shadow = two_steps;
    shadow.strategy = ROLLOUT_SHADOW;
    shadow.steps = 1;
    uint64_t id = second_revision(world, &shadow);
    rest(world, 1000, true);
    assert_true(core_rollout_split(world->core, id).shadow);
    assert_int_equal(core_rollout_split(world->core, id).percent[ARM_MAIN], 100);
    struct core_evidence grown = {.compared = 500, .differing = 5};
    struct found found = replicas_of(world);
    for (size_t i = 0; i < found.replica_count; i++)
        assert_int_equal(core_rollout_evidence(world->core, found.replicas[i].job, &grown),
            found.replicas[i].arm == ARM_CANARY);
    rest(world, 1000, true);
    assert_int_equal(state_of(world, id), ROLLOUT_TESTING);
    grown = (struct core_evidence){.compared = 300, .differing = 30};
    for (size_t i = 0; i < found.replica_count; i++)
        core_rollout_evidence(world->core, found.replicas[i].job, &grown);
    rest(world, 1000, true);
    assert_int_equal(core_rollout(world->core, id)->reason, REASON_DIFFERENCES);
    assert_int_equal(count_of(world, 2, ARM_CANARY), 0);
}

/* Counters are read one after the other while they grow: a loss may be seen before its request. */
static void test_losses_before_their_requests(void **state)
{
    (void)state;
    struct rollout_row row = {.plan = two_steps, .state = ROLLOUT_TESTING};
    struct evidence_row baseline = {.requests = 9}, canary = {.requests = 9, .errors = 10};
    struct rollout_verdict verdict = core_rollout_judge(&row, &baseline, &canary, 0);
    canary.errors = 9;
    struct rollout_verdict whole = core_rollout_judge(&row, &baseline, &canary, 0);
    assert_true(verdict.worse[TEST_ERRORS] == whole.worse[TEST_ERRORS]);
    row.plan.strategy = ROLLOUT_SHADOW;
    canary.compared = 9;
    canary.differing = 10;
    verdict = core_rollout_judge(&row, NULL, &canary, 0);
    canary.differing = 9;
    whole = core_rollout_judge(&row, NULL, &canary, 0);
    assert_true(verdict.worse[TEST_DIFFERENCES] == whole.worse[TEST_DIFFERENCES]);
}

static void test_without_a_strategy_it_goes_in(void **state)
{
    struct world *world = *state;
    uint64_t id = second_revision(world, &two_steps);
    rest(world, 1000, true);
    put(world, &(struct rollout_plan){0}, false);
    rest(world, 1000, true);
    assert_null(core_rollout(world->core, id));
    assert_int_equal(count_of(world, 2, ARM_MAIN), 4);
    assert_int_equal(replicas_of(world).replica_count, 4);
    struct error err;
    put(world, &two_steps, true);
    rest(world, 1000, true);
    assert_int_equal(state_of(world, id), ROLLOUT_TESTING);
    assert_int_equal(core_service_delete(world->core, id, &err), 0);
    rest(world, 1000, true);
    assert_int_equal(replicas_of(world).replica_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log2),
        cmocka_unit_test(test_worse_by_hand),
        cmocka_unit_test(test_no_worse_by_hand),
        cmocka_unit_test(test_lone_by_hand),
        cmocka_unit_test(test_false_alarms),
        cmocka_unit_test(test_power),
        TEST(test_a_good_canary_is_promoted),
        TEST(test_a_bad_canary_is_aborted),
        TEST(test_guard),
        TEST(test_pause_and_patience),
        TEST(test_a_canary_that_never_gets_ready),
        TEST(test_blue_green),
        TEST(test_what_was_promoted_is_the_next_stable_one),
        TEST(test_what_was_never_ready_is_replaced_plainly),
        TEST(test_fewer_replicas_make_arms_ready),
        TEST(test_shadow),
        TEST(test_losses_before_their_requests),
        TEST(test_without_a_strategy_it_goes_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
