/* Fairness over time and deadlines: single rounds worked out by hand, and promises and bounds over
 * many seeds, with jobs that run exactly as fast as they say. */
#include "base/prng.h"
#include "core/allot_plan.h"
#include "core/allot_policies.h"
#include "core/sort.h"
#include "core/test_help.h"

#include <stdlib.h>

enum { JOBS_MAX = 64, ROUND_MS = 60000 };

/* A round with jobs of one device a rank; speeds are in ranks: with n of them n units a second. */
struct scene {
    struct allot_round round;
    struct allot_job jobs[JOBS_MAX];
    struct job_row rows[JOBS_MAX];
    struct allot_job *order[JOBS_MAX];
    size_t count;
};

static const struct allot_speed linear[] = {
    {1, 1, 1000}, {2, 1, 2000}, {4, 1, 4000}, {8, 1, 8000}, {16, 1, 16000}};

static void scene_begin(struct scene *scene, int64_t devices)
{
    memset(scene, 0, sizeof *scene);
    scene->round = (struct allot_round){
        .now_ms = START_MS, .round_ms = ROUND_MS, .devices = devices, .node_devices = 16};
}

/* It asks for `size` of `low` to `high` ranks and has so many rank-hours of work. */
static struct allot_job *scene_job(
    struct scene *scene, int32_t size, int32_t low, int32_t high, int64_t hours)
{
    assert_true(scene->count < JOBS_MAX);
    struct job_row *row = &scene->rows[scene->count];
    struct allot_job *job = &scene->jobs[scene->count++];
    *row = (struct job_row){.id = scene->count,
        .size = size,
        .size_min = low,
        .size_max = high,
        .priority = PRIORITY_NORMAL,
        .submitted_ms = START_MS};
    *job = (struct allot_job){.row = row,
        .size_min = low,
        .size_max = high,
        .devices = 1,
        .remaining = hours * 3600,
        .speeds = linear,
        .speed_count = ARRAY_LEN(linear)};
    return job;
}

static void scene_decide(struct scene *scene, void (*policy)(struct allot_round *))
{
    int64_t given = 0;
    for (size_t i = 0; i < scene->count; i++)
        scene->order[i] = &scene->jobs[i];
    scene->round.jobs = scene->order;
    scene->round.count = scene->count;
    policy(&scene->round);
    for (size_t i = 0; i < scene->count; i++) {
        const struct allot_job *job = &scene->jobs[i];
        assert_true(job->target == 0 || job->target >= job->size_min);
        assert_true(job->target <= job->size_max);
        given += (int64_t)job->target * job->devices;
    }
    assert_true(given <= scene->round.devices);
}

/* ---- fairness over time -------------------------------------------------------------------- */

/* Ten hours beside five of one hour on three devices: all of it takes five hours at least, so the
 * long one runs although it is the longest; beside it the first two of the short ones. */
static void who_decides_the_end_runs_first(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, 3);
    struct allot_job *shorts[5];
    for (int i = 0; i < 5; i++)
        shorts[i] = scene_job(&scene, 1, 1, 1, 1);
    struct allot_job *longest = scene_job(&scene, 1, 1, 1, 10);
    scene_decide(&scene, allot_fairness);
    assert_int_equal(longest->target, 1);
    assert_ptr_equal(scene.order[0], longest);
    assert_int_equal(shorts[0]->target, 1);
    assert_int_equal(shorts[1]->target, 1);
    assert_int_equal(shorts[2]->target, 0);
}

/* Four jobs on one device: a fair share makes each take four times as long, and 1.2 of that is
 * what it may. The one of two hours may be 9.6 hours old at its end: after 7 h 40 min of waiting
 * there are no two rounds left, and it goes before the shorter ones; the longest job, of five hours
 * of eleven, does not decide the end. */
static void who_can_not_wait_longer_goes_before_shorter_ones(void **state)
{
    (void)state;
    struct scene scene;
    for (int late = 0; late < 2; late++) {
        scene_begin(&scene, 1);
        struct allot_job *brief = scene_job(&scene, 1, 1, 1, 1);
        scene_job(&scene, 1, 1, 1, 3);
        scene_job(&scene, 1, 1, 1, 5);
        struct allot_job *waiting = scene_job(&scene, 1, 1, 1, 2);
        scene.rows[3].submitted_ms = START_MS - (late ? 460 : 450) * MINUTE_MS;
        scene_decide(&scene, allot_fairness);
        assert_int_equal(waiting->target, late);
        assert_int_equal(brief->target, !late);
    }
}

/* One hour on one device alone, 3 h old beside one of twenty: two jobs, so 2.4 h are fair, and more
 * than one hour beyond that it goes before the one that decides the end. */
static void who_waited_far_too_long_goes_before_all(void **state)
{
    (void)state;
    struct scene scene;
    for (int late = 0; late < 2; late++) {
        scene_begin(&scene, 1);
        struct allot_job *longest = scene_job(&scene, 1, 1, 1, 20);
        struct allot_job *waiting = scene_job(&scene, 1, 1, 1, 1);
        scene.rows[1].submitted_ms = START_MS - (late ? 145 : 143) * MINUTE_MS;
        scene_decide(&scene, allot_fairness);
        assert_int_equal(waiting->target, late);
        assert_int_equal(longest->target, !late);
    }
}

static void priorities_come_before_fairness(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, 1);
    struct allot_job *waiting = scene_job(&scene, 1, 1, 1, 1);
    struct allot_job *urgent = scene_job(&scene, 1, 1, 1, 1);
    scene.rows[0].submitted_ms = START_MS - 100 * HOUR_MS;
    scene.rows[1].priority = PRIORITY_URGENT;
    scene_decide(&scene, allot_fairness);
    assert_int_equal(urgent->target, 1);
    assert_int_equal(waiting->target, 0);
}

/* Of six devices a gang of four gets its four, one of 2 to 8 that asks for four what is left, and
 * one that can not be stopped keeps what it has before both. */
static void gangs_get_what_they_ask_for_or_what_fits(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, 7);
    struct allot_job *fixed = scene_job(&scene, 1, 1, 1, 9);
    struct allot_job *first = scene_job(&scene, 4, 4, 4, 4);
    struct allot_job *second = scene_job(&scene, 4, 2, 8, 8);
    struct allot_job *third = scene_job(&scene, 4, 4, 4, 8);
    fixed->fixed = true;
    fixed->size = 1;
    scene_decide(&scene, allot_fairness);
    assert_int_equal(fixed->target, 1);
    assert_int_equal(first->target, 4);
    assert_int_equal(second->target, 2);
    assert_int_equal(third->target, 0);
}

/* What is left over goes to a gang that starts, not to one that would have to start again. */
static void what_is_left_over_goes_to_gangs_that_start(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, 8);
    struct allot_job *running = scene_job(&scene, 2, 1, 8, 4);
    struct allot_job *starting = scene_job(&scene, 2, 1, 5, 4);
    running->size = 2;
    scene_decide(&scene, allot_fairness);
    assert_int_equal(running->target, 2);
    assert_int_equal(starting->target, 5);
}

/* ---- deadlines ----------------------------------------------------------------------------- */

static struct allot_job *scene_deadline(
    struct scene *scene, int32_t high, int64_t hours, int64_t minutes)
{
    struct allot_job *job = scene_job(scene, 1, 1, high, hours);
    scene->rows[scene->count - 1].deadline_ms = START_MS + minutes * MINUTE_MS;
    return job;
}

/* Four hours of work within 125 minutes: two ranks, if they start now. The plan has them for two
 * hours, and all devices after that. */
static void the_least_gang_that_is_in_time_is_taken(void **state)
{
    (void)state;
    struct scene scene;
    struct plan plan;
    struct plan_job one;
    scene_begin(&scene, 8);
    struct allot_job *job = scene_deadline(&scene, 8, 4, 125);
    plan_open(&plan, START_MS, ROUND_MS, 8);
    plan_job_open(&one, job, &scene.round);
    assert_int_equal(one.level_count, 4);
    assert_true(plan_fit(&plan, &one));
    assert_int_equal(one.base, 2);
    assert_int_equal(plan.count, 2);
    assert_int_equal(plan.steps[0].free, 6);
    assert_int_equal(plan.steps[1].at_ms, START_MS + 2 * HOUR_MS);
    assert_int_equal(plan.steps[1].free, 8);
}

/* The same with a restart of ten minutes: two ranks are late then. */
static void a_restart_is_part_of_the_plan(void **state)
{
    (void)state;
    struct scene scene;
    struct plan plan;
    struct plan_job one;
    scene_begin(&scene, 8);
    struct allot_job *job = scene_deadline(&scene, 8, 4, 125);
    job->restart_ms = 10 * MINUTE_MS;
    plan_open(&plan, START_MS, ROUND_MS, 8);
    plan_job_open(&one, job, &scene.round);
    assert_true(plan_fit(&plan, &one));
    assert_int_equal(one.base, 4);
    job->size = 2; /* it runs with two already */
    plan_open(&plan, START_MS, ROUND_MS, 8);
    plan_job_open(&one, job, &scene.round);
    assert_true(plan_fit(&plan, &one));
    assert_int_equal(one.base, 2);
}

/* On two devices one hour of the first is promised; the second needs both from now on for its four
 * hours within 125 minutes: it is refused, and yet runs on what is left over. */
static void who_can_not_be_promised_runs_on_what_is_left(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, 2);
    struct allot_job *first = scene_deadline(&scene, 1, 1, 65);
    struct allot_job *second = scene_deadline(&scene, 2, 4, 125);
    scene_decide(&scene, allot_deadline);
    assert_int_equal(first->level, 1);
    assert_int_equal(first->target, 1);
    assert_int_equal(second->level, 2);
    assert_int_equal(second->target, 1);
}

/* The big one was promised; a small one that needs a device now comes too late, though it is due
 * earlier. When the big one has ended early it gets its promise after all. */
static void a_promise_is_kept_against_who_comes_later(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, 2);
    struct allot_job *big = scene_deadline(&scene, 2, 4, 125);
    scene_decide(&scene, allot_deadline);
    assert_int_equal(big->level, 1);
    assert_int_equal(big->target, 2);
    big->size = 2;
    struct allot_job *small = scene_deadline(&scene, 1, 1, 70);
    scene_decide(&scene, allot_deadline);
    assert_int_equal(big->target, 2);
    assert_int_equal(small->target, 0);
    assert_int_equal(small->level, 2);
    big->remaining = 60;
    scene_decide(&scene, allot_deadline);
    assert_int_equal(small->level, 1);
    small->level = 2;
    scene_decide(&scene, allot_elasticflow); /* who refused once does so for ever */
    assert_int_equal(small->level, 2);
}

/* Both fit if the one that is promised gives way for an hour: it was promised for later. */
static void promises_make_room_where_they_can(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, 1);
    struct allot_job *first = scene_deadline(&scene, 1, 1, 200);
    scene_decide(&scene, allot_deadline);
    assert_int_equal(first->level, 1);
    assert_int_equal(first->target, 1);
    struct allot_job *second = scene_deadline(&scene, 1, 1, 70);
    scene_decide(&scene, allot_deadline);
    assert_int_equal(second->level, 1);
    assert_int_equal(second->target, 1);
    assert_int_equal(first->target, 0);
}

/* What is free goes where a device more speeds a job up most: all have the same curve, so each gets
 * two before one gets four; a running one grows only if it ends sooner by twice its restart. */
static void what_is_free_goes_where_it_helps_most(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, 7);
    struct allot_job *first = scene_deadline(&scene, 8, 2, 1000);
    struct allot_job *second = scene_deadline(&scene, 8, 2, 1000);
    scene_decide(&scene, allot_deadline);
    assert_int_equal(first->target, 4);
    assert_int_equal(second->target, 2);
    first->size = second->size = 1;
    first->restart_ms = second->restart_ms = 45 * MINUTE_MS;
    scene_decide(&scene, allot_deadline);
    assert_int_equal(first->target, 1);
    assert_int_equal(second->target, 1);
}

/* It is late, and goes on; without a deadline there is what is left over. */
static void the_late_and_the_timeless_go_on(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, 2);
    struct allot_job *late = scene_deadline(&scene, 1, 2, -10);
    struct allot_job *timeless = scene_job(&scene, 1, 1, 1, 2);
    struct allot_job *more = scene_job(&scene, 1, 1, 1, 2);
    scene_decide(&scene, allot_deadline);
    assert_int_equal(late->target, 1);
    assert_int_equal(timeless->target, 1);
    assert_int_equal(more->target, 0);
}

/* Nothing is known of how fast it is: what it asks for, until its deadline. */
static void who_says_nothing_is_promised_its_gang_to_the_end(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, 3);
    struct allot_job *silent = scene_job(&scene, 2, 1, 4, 0);
    scene.rows[0].deadline_ms = START_MS + HOUR_MS;
    silent->remaining = -1;
    silent->speed_count = 0;
    scene_decide(&scene, allot_deadline);
    assert_int_equal(silent->level, 1);
    struct allot_job *other = scene_deadline(&scene, 2, 2, 65);
    silent->size = 2;
    scene_decide(&scene, allot_deadline);
    assert_int_equal(silent->target, 2);
    assert_int_equal(other->level, 2);
    assert_int_equal(other->target, 1);
}

static void edf_gives_all_to_the_first(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, 8);
    struct allot_job *later = scene_deadline(&scene, 4, 2, 1000);
    struct allot_job *sooner = scene_deadline(&scene, 16, 2, 100);
    scene_decide(&scene, allot_edf);
    assert_int_equal(sooner->target, 8);
    assert_int_equal(later->target, 0);
}

/* ---- over seeds ---------------------------------------------------------------------------- */

struct promises {
    int64_t given, late;
};

/* Nobody is forgotten, and a promise is not taken back; counts those that were kept. */
static void run_promises(uint64_t seed, struct promises *ret)
{
    struct prng prng = {seed};
    struct scene scene;
    scene_begin(&scene, 4 + (int64_t)prng_below(&prng, 12));
    int64_t left[JOBS_MAX], idle[JOBS_MAX];
    size_t open = 0, coming = 20 + prng_below(&prng, 40);
    for (int64_t rounds = 0; coming || open; rounds++) {
        assert_true(rounds < 20000);
        while (coming && prng_below(&prng, 30) == 0) {
            int64_t hours = 1 + (int64_t)prng_below(&prng, 8);
            struct allot_job *job = scene_deadline(&scene, 1 << prng_below(&prng, 5), hours, 0);
            struct job_row *row = &scene.rows[scene.count - 1];
            row->submitted_ms = scene.round.now_ms;
            row->deadline_ms =
                scene.round.now_ms + MINUTE_MS * (20 + (int64_t)prng_below(&prng, 60 * 10));
            job->restart_ms = ROUND_MS;
            left[scene.count - 1] = hours * 3600000; /* rank-milliseconds */
            coming--;
            open++;
        }
        struct scene now = scene;
        size_t at[JOBS_MAX];
        now.count = 0;
        for (size_t i = 0; i < scene.count; i++) {
            if (left[i] <= 0)
                continue;
            at[now.count] = i;
            now.jobs[now.count++] = scene.jobs[i];
        }
        scene_decide(&now, allot_deadline);
        for (size_t k = 0; k < now.count; k++) {
            struct allot_job *job = &scene.jobs[at[k]];
            size_t i = at[k];
            bool moved = now.jobs[k].target != job->size;
            bool was = job->level == 1;
            *job = now.jobs[k];
            assert_true(!was || job->level == 1);
            idle[i] = moved ? job->restart_ms : job->size ? idle[i] : 0;
            job->size = job->target;
            int64_t waits = idle[i] < ROUND_MS ? idle[i] : ROUND_MS;
            idle[i] -= waits;
            int64_t need_ms = job->size ? (left[i] + job->size - 1) / job->size : INT64_MAX / 2;
            left[i] -= (ROUND_MS - waits) * job->size;
            job->remaining = left[i] / 1000 + 1;
            if (left[i] > 0)
                continue;
            open--;
            if (job->level != 1)
                continue;
            ret->given++;
            ret->late += scene.round.now_ms + waits + need_ms > job->row->deadline_ms + 1000;
        }
        scene.round.now_ms += ROUND_MS;
    }
}

/* Least gangs last long, and what was promised later may then stand in the way: rare, and bounded
 * here; a cluster as full as these, with restarts of a whole round, is hard on promises. */
static void promises_hold_over_seeds(void **state)
{
    (void)state;
    struct promises all = {0};
    for (uint64_t seed = 1; seed <= 200; seed++)
        run_promises(seed, &all);
    assert_true(all.given > 5000);
    assert_true(all.late * 1000 <= all.given);
}

/* A gang of all devices, beside a stream of short jobs that never ends, starts within its fair time
 * and its own length, however many they are. */
static void nobody_starves(uint64_t seed)
{
    struct prng prng = {seed};
    struct scene scene;
    int64_t devices = 2 + (int64_t)prng_below(&prng, 7), started = -1;
    scene_begin(&scene, devices);
    scene_job(&scene, (int32_t)devices, (int32_t)devices, (int32_t)devices, 1);
    scene.jobs[0].remaining = 3600 * devices;
    size_t busy = (size_t)devices * (2 + prng_below(&prng, 2));
    int64_t crowd_milli = (int64_t)(busy + 1) * 1000 / devices;
    for (int64_t round = 0; started < 0; round++) {
        int64_t waited_ms = scene.round.now_ms - START_MS;
        assert_true(waited_ms * 10 <= 12 * crowd_milli / 1000 * HOUR_MS + 12 * HOUR_MS);
        while (scene.count < busy + 1)
            scene_job(&scene, 1, 1, 1, 1 + (int64_t)prng_below(&prng, 2));
        for (size_t i = 1; i <= busy; i++) {
            struct allot_job *job = &scene.jobs[i];
            if (job->remaining > 1)
                continue;
            job->remaining = 3600 + (int64_t)prng_below(&prng, 3600);
            job->served_ms = 0;
            job->size = 0;
            scene.rows[i].submitted_ms = scene.round.now_ms;
            scene.rows[i].id += busy + 1;
        }
        scene_decide(&scene, allot_fairness);
        for (size_t i = 1; i <= busy; i++) {
            struct allot_job *job = &scene.jobs[i];
            job->size = job->target;
            job->served_ms += job->size ? ROUND_MS : 0;
            job->remaining = most(1, job->remaining - 60 * job->size);
        }
        started = scene.jobs[0].target ? round : -1;
        scene.round.now_ms += ROUND_MS;
    }
}

static void nobody_starves_over_seeds(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++)
        nobody_starves(seed);
}

/* ---- in the core ---------------------------------------------------------------------------- */

/* A deadline that passed ends a job under the default policy, and is a goal under this one. */
static void late_jobs_go_on_in_the_core(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 2)};
    static const struct core_options options = {.allotment = "deadline"};
    world_begin(world, &options);
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    struct job job = job_make("t", "late", 1, 1);
    job.deadline_ms = world->now_ms + 10 * MINUTE_MS;
    uint64_t id = world_submit(world, &job);
    world_tick(world, MINUTE_MS);
    world_tick(world, MINUTE_MS);
    assert_int_equal(world_state(world, id), JOB_STARTING);
    world_tick(world, HOUR_MS);
    assert_int_equal(world_state(world, id), JOB_STARTING);
}

/* Of time on accelerators, for the time since each came: a quarter, a half and nothing of two
 * devices' worth. The one of two ranks goes first though it had more in all, the new one before
 * all. */
static void who_had_least_for_its_time_goes_first(void **state)
{
    static struct scene scene;
    (void)state;
    scene_begin(&scene, 3);
    struct allot_job *old = scene_job(&scene, 2, 2, 2, 10);
    struct allot_job *young = scene_job(&scene, 1, 1, 1, 10);
    struct allot_job *new = scene_job(&scene, 1, 1, 1, 10);
    scene.rows[0].submitted_ms = START_MS - 8 * HOUR_MS;
    scene.rows[1].submitted_ms = START_MS - 2 * HOUR_MS;
    old->served_device_ms = 2 * HOUR_MS;
    young->served_device_ms = HOUR_MS;
    scene_decide(&scene, allot_max_min);
    assert_true(new->target == 1 && old->target == 2 && young->target == 0);
    old->served_device_ms = 5 * HOUR_MS; /* more than a half: it is the young one's turn.. */
    scene_decide(&scene, allot_max_min);
    assert_true(new->target == 1 && young->target == 1);
    assert_int_equal(old->target, 0); /* ..and one device is too few for the old one */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_decides_the_end_runs_first),
        cmocka_unit_test(who_had_least_for_its_time_goes_first),
        cmocka_unit_test(who_can_not_wait_longer_goes_before_shorter_ones),
        cmocka_unit_test(who_waited_far_too_long_goes_before_all),
        cmocka_unit_test(priorities_come_before_fairness),
        cmocka_unit_test(gangs_get_what_they_ask_for_or_what_fits),
        cmocka_unit_test(what_is_left_over_goes_to_gangs_that_start),
        cmocka_unit_test(the_least_gang_that_is_in_time_is_taken),
        cmocka_unit_test(a_restart_is_part_of_the_plan),
        cmocka_unit_test(who_can_not_be_promised_runs_on_what_is_left),
        cmocka_unit_test(a_promise_is_kept_against_who_comes_later),
        cmocka_unit_test(promises_make_room_where_they_can),
        cmocka_unit_test(what_is_free_goes_where_it_helps_most),
        cmocka_unit_test(the_late_and_the_timeless_go_on),
        cmocka_unit_test(who_says_nothing_is_promised_its_gang_to_the_end),
        cmocka_unit_test(edf_gives_all_to_the_first),
        cmocka_unit_test(promises_hold_over_seeds),
        cmocka_unit_test(nobody_starves_over_seeds),
        TEST(late_jobs_go_on_in_the_core),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
