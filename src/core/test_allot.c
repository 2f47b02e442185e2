/* Rounds of allotment policies, through the core: small cases worked out by hand, and what holds
 * whatever a policy says. Rounds are a minute apart, from START_MS on. */
#include "core/allot.h"
#include "core/test_help.h"

#include <stdio.h>

static void begin(struct world *world, const char *allotment, int64_t nodes, int64_t devices)
{
    const struct core_options options = {
        .allotment = allotment, .round_ms = MINUTE_MS, .round_anchor_ms = START_MS};
    struct node node = node_make("n", 64, 256, devices);
    world_begin(world, &options);
    node.count = nodes;
    world_pool(world, "here", &node, 1);
    world_team(world, "t");
}

/* So many ranks of a device each. */
static uint64_t submit(
    struct world *world, const char *name, int64_t size, int64_t low, int64_t high)
{
    struct job job = job_make("t", name, 1, 1);
    job.gang = (struct gang){.size = size, .min = low, .max = high};
    return world_submit(world, &job);
}

/* It has so much work left and makes `one` a second with a rank, in thousandths, and what follows
 * with two, .. */
static void say(struct world *world, uint64_t job, int64_t remaining, const int64_t *rates,
    size_t count, int64_t restart_ms)
{
    struct core_speed speeds[8];
    for (size_t i = 0; i < count; i++)
        speeds[i] = (struct core_speed){(int32_t)i + 1, 1, rates[i]};
    const struct core_progress progress = {
        .remaining = remaining, .restart_ms = restart_ms, .speeds = speeds, .speed_count = count};
    assert_int_equal(core_job_progress(world->core, job, &progress, NULL), 0);
}

static const int64_t linear[] = {1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000};

/* Ranks that it runs with and was not told to give up. */
static int32_t running(struct world *world, uint64_t job)
{
    const struct job_row *row = core_job(world->core, job);
    const struct attempt_row *attempt = row ? core_attempt(world->core, row->attempt) : NULL;
    return attempt && attempt->stop_reason == END_NONE ? attempt->size : 0;
}

/* The engine does what is wished, until nothing is. */
static void obey(void *context, const struct attempt_row *attempt, const struct attempt_wish *wish)
{
    VEC(struct core_report) *reports = context;
    struct core_report report = {.attempt = attempt->id, .reason = END_SIGNAL};
    report.kind = wish->stop ? REPORT_ENDED : REPORT_STARTED;
    if (wish->stop || attempt->state < ATTEMPT_STARTED)
        vec_push(reports, report);
}

static void settle(struct world *world)
{
    for (;;) {
        VEC(struct core_report) reports = {0};
        core_attempt_each(world->core, obey, &reports);
        size_t count = reports.count;
        for (size_t i = 0; i < count; i++)
            core_attempt_report(world->core, &reports.items[i]);
        vec_free(&reports);
        if (count == 0)
            return;
        world_tick(world, 0);
    }
}

static void pass(struct world *world, int64_t ms)
{
    world_tick(world, ms);
    settle(world);
}

/* ---- rounds -------------------------------------------------------------------------------- */

static void between_rounds_nothing_is_admitted(void **state)
{
    struct world *world = *state;
    begin(world, "tiresias", 1, 4);
    pass(world, 1000);
    core_begin(world->core, world->now_ms);
    uint64_t first = submit(world, "first", 4, 0, 0);
    pass(world, 1000);
    assert_int_equal(running(world, first), 0);
    assert_int_equal(core_next_ms(world->core), START_MS + MINUTE_MS);
    pass(world, MINUTE_MS - 2000);
    assert_int_equal(running(world, first), 4);
    uint64_t second = submit(world, "second", 4, 0, 0);
    pass(world, 1000);
    world_end(world, first, END_SUCCEEDED);
    pass(world, 1000);
    assert_int_equal(running(world, second), 0);
    pass(world, MINUTE_MS - 2000);
    assert_int_equal(running(world, second), 4);
}

static void others_are_scheduled_as_ever_beside(void **state)
{
    struct world *world = *state;
    begin(world, "elastic", 1, 4);
    struct job plain = job_make("t", "plain", 1, 0), part = job_make("t", "service", 1, 1);
    part.service = true;
    uint64_t one = world_submit(world, &plain), two = world_submit(world, &part);
    pass(world, 1000);
    assert_int_equal(running(world, one), 1);
    assert_int_equal(running(world, two), 1);
    /* Three are left to what the policy governs. */
    uint64_t gang = submit(world, "gang", 1, 1, 4);
    pass(world, MINUTE_MS);
    assert_int_equal(running(world, gang), 3);
}

static void a_core_that_is_loaded_holds_its_rounds_at_the_same_moments(void **state)
{
    struct world *world = *state;
    begin(world, "tiresias", 1, 4);
    submit(world, "first", 2, 0, 0);
    pass(world, MINUTE_MS);
    pass(world, 1000);
    world_reload(world);
    uint64_t second = submit(world, "second", 2, 0, 0);
    pass(world, 1000);
    assert_int_equal(running(world, second), 0);
    assert_int_equal(core_next_ms(world->core), START_MS + 2 * MINUTE_MS);
    pass(world, MINUTE_MS - 2000);
    assert_int_equal(running(world, second), 2);
}

/* ---- Tiresias ------------------------------------------------------------------------------ */

/* A long gang of 4 has 16 device-hours after 4 hours: a round later it is in the second queue, and
 * the two that came later and ask for 3 and 2 have their turn first; the 3 fit, the 2 do not, and
 * neither does the 4. */
static void what_attained_much_gives_way(void **state)
{
    struct world *world = *state;
    begin(world, "tiresias", 1, 4);
    uint64_t old = submit(world, "old", 4, 0, 0);
    pass(world, MINUTE_MS);
    uint64_t three = submit(world, "three", 3, 0, 0), two = submit(world, "two", 2, 0, 0);
    for (int i = 0; i < 239; i++)
        pass(world, MINUTE_MS);
    assert_int_equal(running(world, old), 4);
    pass(world, MINUTE_MS);
    assert_int_equal(running(world, old), 0);
    assert_int_equal(running(world, three), 3);
    assert_int_equal(running(world, two), 0);
    assert_int_equal(core_job(world->core, old)->preemptions, 1);
    world_end(world, three, END_SUCCEEDED);
    pass(world, MINUTE_MS);
    assert_int_equal(running(world, two), 2); /* and the old one still does not fit */
    world_end(world, two, END_SUCCEEDED);
    pass(world, MINUTE_MS);
    assert_int_equal(running(world, old), 4);
}

/* Two nodes of 4, of which the first has 3 free and the second 4: a gang of 2 goes to the second,
 * and one of 3 then to the first. */
static void gangs_take_the_emptiest_node(void **state)
{
    struct world *world = *state;
    begin(world, "tiresias", 2, 4);
    uint64_t one = submit(world, "one", 1, 0, 0);
    pass(world, MINUTE_MS);
    uint64_t two = submit(world, "two", 2, 0, 0), three = submit(world, "three", 3, 0, 0);
    pass(world, MINUTE_MS);
    assert_string_equal(world_node_of(world, one), "n-1");
    assert_string_equal(world_node_of(world, two), "n-2");
    assert_string_equal(world_node_of(world, three), "n-1");
}

/* ---- elastic ------------------------------------------------------------------------------- */

/* Alone a job that becomes faster with each rank has all; of two with the same work each has half:
 * a change from 8 to 4 ranks brings the other one's end nearer by more than it costs. */
static void devices_go_where_they_bring_ends_nearest(void **state)
{
    struct world *world = *state;
    begin(world, "elastic", 2, 4);
    uint64_t first = submit(world, "first", 1, 1, 8);
    say(world, first, 100000, linear, 8, 30000);
    pass(world, MINUTE_MS);
    assert_int_equal(running(world, first), 8);
    uint64_t second = submit(world, "second", 1, 1, 8);
    say(world, second, 100000, linear, 8, 30000);
    pass(world, MINUTE_MS);
    assert_int_equal(running(world, first), 4);
    assert_int_equal(running(world, second), 4);
    assert_int_equal(core_job(world->core, first)->preemptions, 0); /* resized */
}

/* A second rank that adds nothing is not taken: one has 1, the other the 7 that are left. */
static void what_does_not_speed_up_is_not_given(void **state)
{
    static const int64_t flat[] = {1000, 1000, 1000, 1000};
    struct world *world = *state;
    begin(world, "elastic", 2, 4);
    uint64_t slow = submit(world, "slow", 1, 1, 4), fast = submit(world, "fast", 1, 1, 8);
    say(world, slow, 100000, flat, 4, 30000);
    say(world, fast, 100000, linear, 8, 30000);
    pass(world, MINUTE_MS);
    assert_int_equal(running(world, slow), 1);
    assert_int_equal(running(world, fast), 7);
}

/* The first would be done in 25 s: 4 x 100 s for a change to fewer ranks are more than that is
 * worth, and the second waits for it. */
static void who_is_nearly_done_is_left_alone(void **state)
{
    struct world *world = *state;
    begin(world, "elastic", 1, 4);
    uint64_t first = submit(world, "first", 1, 1, 4);
    say(world, first, 100000, linear, 4, 100000);
    pass(world, MINUTE_MS);
    say(world, first, 100, linear, 4, 100000);
    uint64_t second = submit(world, "second", 1, 1, 4);
    say(world, second, 1000000, linear, 4, 100000);
    pass(world, MINUTE_MS);
    assert_int_equal(running(world, first), 4);
    assert_int_equal(running(world, second), 0);
}

/* Short work before long, where there is no room for both. */
static void the_short_one_goes_first(void **state)
{
    struct world *world = *state;
    begin(world, "elastic", 1, 4);
    uint64_t hours = submit(world, "hours", 4, 0, 0), minutes = submit(world, "minutes", 4, 0, 0);
    say(world, hours, 40000, linear, 4, 30000);
    say(world, minutes, 400, linear, 4, 30000);
    pass(world, MINUTE_MS);
    assert_int_equal(running(world, hours), 0);
    assert_int_equal(running(world, minutes), 4);
}

/* However long what comes is not: who waited for four hours has its smallest gang. */
static void nobody_waits_for_ever(void **state)
{
    struct world *world = *state;
    begin(world, "elastic", 1, 4);
    uint64_t hours = submit(world, "hours", 4, 0, 0);
    say(world, hours, 400000, linear, 4, 30000);
    int64_t waited_ms = 0;
    for (int i = 0; running(world, hours) == 0; i++) {
        char name[32];
        snprintf(name, sizeof name, "short%d", i);
        uint64_t one = submit(world, name, 4, 0, 0);
        say(world, one, 400, linear, 4, 30000);
        pass(world, MINUTE_MS);
        waited_ms += MINUTE_MS;
        if (running(world, one) > 0)
            world_end(world, one, END_SUCCEEDED);
        assert_true(waited_ms <= 4 * HOUR_MS + 2 * MINUTE_MS);
    }
    assert_true(waited_ms > 4 * HOUR_MS);
}

/* ---- what no policy can change --------------------------------------------------------------- */

static void limits_and_guarantees_hold(void **state)
{
    struct world *world = *state;
    begin(world, "elastic", 2, 4);
    world_team_quota(world, "few", NULL, "accelerators", 0, 3000);
    world_team_quota(world, "sure", NULL, "accelerators", 2000, -1);
    struct job job = job_make("few", "wants-all", 1, 1);
    job.gang = (struct gang){.size = 1, .max = 8};
    uint64_t few = world_submit(world, &job);
    say(world, few, 100, linear, 8, 30000);
    uint64_t other = submit(world, "other", 1, 1, 8);
    say(world, other, 1000, linear, 8, 30000);
    pass(world, MINUTE_MS);
    assert_true(running(world, few) <= 3);
    assert_int_equal(running(world, few) + running(world, other), 8);
    /* Its work is so long that the policy alone would give it nothing. */
    job = job_make("sure", "long", 1, 1);
    job.gang = (struct gang){.size = 2};
    uint64_t sure = world_submit(world, &job);
    say(world, sure, 100000000, linear, 8, 30000);
    pass(world, MINUTE_MS);
    assert_int_equal(running(world, sure), 2);
}

/* Whoever is above it may have nothing: no other job shrinks for it. */
static void who_may_have_nothing_takes_nothing_from_others(void **state)
{
    struct world *world = *state;
    begin(world, "elastic", 1, 4);
    world_team_quota(world, "none", NULL, "accelerators", 0, 4000);
    uint64_t first = submit(world, "first", 1, 1, 4);
    say(world, first, 100000, linear, 4, 1000);
    pass(world, MINUTE_MS);
    assert_int_equal(running(world, first), 4);
    struct job job = job_make("none", "held", 1, 1);
    job.gang = (struct gang){.size = 2};
    uint64_t held = world_submit(world, &job);
    world_team_quota(world, "none", NULL, "accelerators", 0, 0);
    say(world, held, 10, linear, 2, 1000);
    pass(world, MINUTE_MS);
    assert_int_equal(running(world, first), 4);
    assert_int_equal(core_job(world->core, first)->attempts, 1);
    assert_int_equal(running(world, held), 0);
}

static void what_can_not_be_stopped_is_left_alone(void **state)
{
    struct world *world = *state;
    begin(world, "elastic", 1, 4);
    struct job job = job_make("t", "firm", 1, 1), young = job_make("t", "young", 1, 1);
    job.preemptible = false;
    job.gang = (struct gang){.size = 1, .max = 2};
    young.min_runtime_ms = 10 * MINUTE_MS;
    young.gang = (struct gang){.size = 1, .max = 2};
    uint64_t firm = world_submit(world, &job), held = world_submit(world, &young);
    pass(world, MINUTE_MS);
    assert_int_equal(running(world, firm), 2);
    assert_int_equal(running(world, held), 2);
    uint64_t other = submit(world, "short", 1, 1, 4);
    say(world, other, 10, linear, 4, 1000);
    pass(world, 5 * MINUTE_MS);
    assert_int_equal(running(world, other), 0);
    pass(world, 6 * MINUTE_MS);
    assert_int_equal(running(world, firm), 2);
    assert_true(running(world, other) > 0);
}

/* The gang wants a type that there is too little of: nobody is stopped for it, and what it can not
 * have goes to others. */
static void what_finds_no_place_keeps_nothing_from_others(void **state)
{
    struct world *world = *state;
    begin(world, "elastic", 1, 4);
    struct node other = node_make("o", 64, 256, 2);
    other.capacity.accelerator = "other";
    world_pool(world, "there", &other, 1);
    struct job rare = job_make("t", "rare", 1, 1);
    rare.resources.accelerator = "other";
    rare.gang = (struct gang){.size = 2};
    uint64_t first = world_submit(world, &rare);
    rare.metadata.name = "rare2";
    uint64_t second = world_submit(world, &rare);
    say(world, first, 10, linear, 2, 1000);
    say(world, second, 10, linear, 2, 1000);
    uint64_t gang = submit(world, "gang", 4, 0, 0);
    say(world, gang, 1000000, linear, 4, 1000);
    pass(world, MINUTE_MS);
    assert_int_equal(running(world, first) + running(world, second), 2);
    assert_int_equal(running(world, gang), 4);
    pass(world, MINUTE_MS);
    assert_int_equal(running(world, gang), 4);
    assert_int_equal(core_job(world->core, gang)->attempts, 1);
}

/* ---- speeds -------------------------------------------------------------------------------- */

/* 1, 2 and 4 ranks were reported, 4 of them on one node and on two: exact where it was, half-way
 * between 2 and 4 for 3, in proportion below, constant above. */
static void speeds_are_read_between_what_was_reported(void **state)
{
    (void)state;
    static const struct allot_speed speeds[] = {
        {2, 1, 1800}, {4, 1, 3000}, {4, 2, 2000}, {8, 2, 4000}};
    const struct allot_job job = {.devices = 1, .speeds = speeds, .speed_count = 4};
    assert_int_equal(allot_rate_milli(&job, 1, 4), 900);
    assert_int_equal(allot_rate_milli(&job, 2, 4), 1800);
    assert_int_equal(allot_rate_milli(&job, 3, 4), 2400);
    assert_int_equal(allot_rate_milli(&job, 4, 4), 3000);
    assert_int_equal(allot_rate_milli(&job, 4, 2), 2000);
    assert_int_equal(allot_rate_milli(&job, 6, 4), 3500);
    assert_int_equal(allot_rate_milli(&job, 16, 4), 4000);
    const struct allot_job silent = {.devices = 1};
    assert_int_equal(allot_rate_milli(&silent, 4, 4), 0);
}

static void count_row(void *context, enum row_kind kind, const void *row)
{
    (void)kind;
    (void)row;
    ++*(size_t *)context;
}

static void reports_are_bounded_and_checked(void **state)
{
    struct world *world = *state;
    begin(world, "elastic", 1, 4);
    uint64_t job = submit(world, "job", 1, 1, 4);
    struct core_speed speeds[CORE_SPEEDS_MAX];
    for (int32_t i = 0; i < CORE_SPEEDS_MAX; i++)
        speeds[i] = (struct core_speed){i + 1, 1, 1000};
    struct core_progress progress = {
        .remaining = 1, .speeds = speeds, .speed_count = CORE_SPEEDS_MAX};
    assert_int_equal(core_job_progress(world->core, job, &progress, NULL), 0);
    world_tick(world, 0);
    assert_int_equal(world_row_count(world, ROW_SPEED), CORE_SPEEDS_MAX);
    const struct core_speed more = {1000, 7, 5000};
    progress.speeds = &more;
    progress.speed_count = 1;
    assert_int_equal(core_job_progress(world->core, job, &progress, NULL), 0);
    world_tick(world, 0);
    size_t kept = 0;
    core_row_each(world->core, ROW_SPEED, count_row, &kept);
    assert_int_equal(kept, CORE_SPEEDS_MAX);
    const struct core_speed wrong[] = {{0, 1, 1}, {4, 5, 1}, {1, 1, -1}};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        progress.speeds = &wrong[i];
        assert_int_equal(core_job_progress(world->core, job, &progress, NULL), -1);
    }
    progress.speed_count = CORE_SPEEDS_MAX + 1;
    assert_int_equal(core_job_progress(world->core, job, &progress, NULL), -1);
    assert_int_equal(core_job_progress(world->core, job + 1, &progress, NULL), -1);
}

/* Until a round has decided, then because of what it decided, with the moment of the next. */
static void what_waits_for_a_round_says_so(void **state)
{
    struct world *world = *state;
    struct core_block block;
    begin(world, "elastic", 1, 4);
    pass(world, 1000);
    uint64_t a = submit(world, "a", 4, 4, 4);
    core_job_blocked(world->core, a, &block);
    assert_int_equal(block.kind, BLOCK_ROUND);
    assert_string_equal(block.policy, "elastic");
    assert_true(block.target == 0 && block.held == 4 && block.need == 4);
    assert_true(block.until_ms == START_MS + MINUTE_MS);
    pass(world, MINUTE_MS);
    core_job_blocked(world->core, a, &block);
    assert_int_equal(block.kind, BLOCK_NONE);
    uint64_t b = submit(world, "b", 4, 4, 4);
    pass(world, MINUTE_MS);
    core_job_blocked(world->core, running(world, a) ? b : a, &block);
    assert_int_equal(block.kind, BLOCK_ROUND);
    assert_true(block.target == 0 && block.held == 0 && block.need == 4);
    assert_true(block.until_ms == START_MS + 3 * MINUTE_MS);
    struct job plain = job_make("t", "plain", 1, 0);
    core_job_blocked(world->core, world_submit(world, &plain), &block);
    assert_int_equal(block.kind, BLOCK_TURN); /* the allotment has no say in it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_waits_for_a_round_says_so),
        TEST(between_rounds_nothing_is_admitted),
        TEST(others_are_scheduled_as_ever_beside),
        TEST(a_core_that_is_loaded_holds_its_rounds_at_the_same_moments),
        TEST(what_attained_much_gives_way),
        TEST(gangs_take_the_emptiest_node),
        TEST(devices_go_where_they_bring_ends_nearest),
        TEST(what_does_not_speed_up_is_not_given),
        TEST(who_is_nearly_done_is_left_alone),
        TEST(the_short_one_goes_first),
        TEST(nobody_waits_for_ever),
        TEST(limits_and_guarantees_hold),
        TEST(who_may_have_nothing_takes_nothing_from_others),
        TEST(what_can_not_be_stopped_is_left_alone),
        TEST(what_finds_no_place_keeps_nothing_from_others),
        TEST(speeds_are_read_between_what_was_reported),
        TEST(reports_are_bounded_and_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
