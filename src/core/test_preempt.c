/* Preemption: who goes, who gets the place, and that it is kept. */
#include "core/test_help.h"

#include <stdio.h>

static uint64_t submit_running(
    struct world *world, const char *team, const char *name, int64_t devices, int32_t priority)
{
    struct job job = job_make(team, name, 1, devices);
    job.priority = priority;
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(world_state(world, id), JOB_STARTING);
    world_start(world, id);
    return id;
}

static uint64_t submit_urgent(
    struct world *world, const char *team, const char *name, int64_t devices)
{
    struct job job = job_make(team, name, 1, devices);
    job.priority = PRIORITY_URGENT;
    return world_submit(world, &job);
}

/* Two training jobs of one device each. One wrote a checkpoint a minute ago, the other's is ten
 * minutes old: the first loses less, although it is the bigger share of nothing else. */
static void stops_the_one_that_loses_least(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 2)};
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    uint64_t a = submit_running(world, "t", "a", 1, PRIORITY_NORMAL);
    uint64_t b = submit_running(world, "t", "b", 1, PRIORITY_NORMAL);
    world_tick(world, 20 * MINUTE_MS);
    world_checkpoint(world, a, world->now_ms - 10 * MINUTE_MS);
    world_checkpoint(world, b, world->now_ms - MINUTE_MS);
    uint64_t urgent = submit_urgent(world, "t", "urgent", 1);
    world_tick(world, 0);
    assert_int_equal(world_state(world, a), JOB_RUNNING);
    assert_int_equal(world_state(world, b), JOB_STOPPING);
    assert_int_equal(world_state(world, urgent), JOB_QUEUED);
    const struct core_decision *stop = NULL;
    for (size_t i = 0; i < world->decisions.count; i++) {
        if (world->decisions.items[i].kind == DECISION_STOP)
            stop = &world->decisions.items[i];
    }
    assert_non_null(stop);
    assert_int_equal(stop->job, b);
    assert_int_equal(stop->for_job, urgent);
    assert_int_equal(stop->reason, END_PREEMPTED);
    assert_int_equal(stop->lost_ms, MINUTE_MS);
    assert_int_equal(world_decided(world, DECISION_CLAIM), 1);
    assert_int_equal(world_row_count(world, ROW_CLAIM), 1);
}

/* Two devices are wanted. One job of two devices lost 3 minutes x 2, two jobs of one device each
 * 2 minutes and 5 minutes: 6 against 7, so the bigger one goes. */
static void compares_whole_sets(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 4)};
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    uint64_t small1 = submit_running(world, "t", "s1", 1, PRIORITY_NORMAL);
    uint64_t small2 = submit_running(world, "t", "s2", 1, PRIORITY_NORMAL);
    uint64_t big = submit_running(world, "t", "big", 2, PRIORITY_NORMAL);
    world_tick(world, 10 * MINUTE_MS);
    world_checkpoint(world, small1, world->now_ms - 2 * MINUTE_MS);
    world_checkpoint(world, small2, world->now_ms - 5 * MINUTE_MS);
    world_checkpoint(world, big, world->now_ms - 3 * MINUTE_MS);
    submit_urgent(world, "t", "urgent", 2);
    world_tick(world, 0);
    assert_int_equal(world_state(world, small1), JOB_RUNNING);
    assert_int_equal(world_state(world, small2), JOB_RUNNING);
    assert_int_equal(world_state(world, big), JOB_STOPPING);
}

static void keeps_the_place_for_the_one_it_was_made_for(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 2)};
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    uint64_t a = submit_running(world, "t", "a", 1, PRIORITY_LOW);
    uint64_t b = submit_running(world, "t", "b", 1, PRIORITY_LOW);
    uint64_t urgent = submit_urgent(world, "t", "urgent", 2);
    world_tick(world, 1000);
    assert_int_equal(world_state(world, a), JOB_STOPPING);
    assert_int_equal(world_state(world, b), JOB_STOPPING);
    world_end(world, a, END_SIGNAL);
    struct job other = job_make("t", "other", 1, 1);
    other.priority = PRIORITY_HIGH;
    uint64_t thief = world_submit(world, &other);
    world_tick(world, 1000);
    assert_int_equal(world_state(world, a), JOB_QUEUED);
    assert_int_equal(world_state(world, thief), JOB_QUEUED);
    assert_int_equal(world_state(world, urgent), JOB_QUEUED);
    world_reload(world);
    world_end(world, b, END_SIGNAL);
    world_tick(world, 1000);
    assert_int_equal(world_state(world, urgent), JOB_STARTING);
    assert_int_equal(world_state(world, thief), JOB_QUEUED);
    const struct job_row *victim = world_job(world, a);
    assert_int_equal(victim->preemptions, 1);
    assert_int_equal(victim->retries_left, 0);
}

static void gives_the_place_back_when_nobody_wants_it(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 1)};
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    uint64_t a = submit_running(world, "t", "a", 1, PRIORITY_LOW);
    uint64_t urgent = submit_urgent(world, "t", "urgent", 1);
    world_tick(world, 1000);
    assert_int_equal(core_job_cancel(world->core, urgent, NULL), 0);
    world_end(world, a, END_EXIT);
    world_tick(world, 1000);
    assert_int_equal(world_state(world, urgent), JOB_CANCELLED);
    assert_int_equal(world_state(world, a), JOB_STARTING);
}

static void never_stops_equal_or_higher_priority(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 1)};
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    uint64_t a = submit_running(world, "t", "a", 1, PRIORITY_URGENT);
    uint64_t urgent = submit_urgent(world, "t", "urgent", 1);
    world_tick(world, 48 * HOUR_MS);
    assert_int_equal(world_state(world, a), JOB_RUNNING);
    assert_int_equal(world_state(world, urgent), JOB_QUEUED);
}

static void waits_for_the_minimum_run_time(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 1)};
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    struct job job = job_make("t", "a", 1, 1);
    job.min_runtime_ms = 10 * MINUTE_MS;
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, a);
    uint64_t urgent = submit_urgent(world, "t", "urgent", 1);
    world_tick(world, MINUTE_MS);
    assert_int_equal(world_state(world, a), JOB_RUNNING);
    assert_int_equal(core_next_ms(world->core), START_MS + 5 * MINUTE_MS); /* for a promise */
    world_tick(world, 5 * MINUTE_MS);
    assert_int_equal(world_state(world, a), JOB_RUNNING);
    assert_int_equal(core_next_ms(world->core), START_MS + 10 * MINUTE_MS);
    world_tick(world, 4 * MINUTE_MS);
    assert_int_equal(world_state(world, a), JOB_STOPPING);
    assert_int_equal(world_state(world, urgent), JOB_QUEUED);
}

static void stops_nobody_more_often_than_it_allows(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 1)};
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    struct job job = job_make("t", "a", 1, 1);
    job.preemptions_max = 1;
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, a);
    uint64_t first = submit_urgent(world, "t", "first", 1);
    world_tick(world, MINUTE_MS);
    world_end(world, a, END_SIGNAL);
    world_tick(world, 0);
    world_end(world, first, END_SUCCEEDED);
    world_tick(world, 0);
    world_start(world, a);
    uint64_t second = submit_urgent(world, "t", "second", 1);
    world_tick(world, MINUTE_MS);
    assert_int_equal(world_state(world, a), JOB_RUNNING);
    assert_int_equal(world_state(world, second), JOB_QUEUED);
}

static void a_preempted_job_that_says_it_is_complete_has_succeeded(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 1)};
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    uint64_t a = submit_running(world, "t", "a", 1, PRIORITY_LOW);
    submit_urgent(world, "t", "urgent", 1);
    world_tick(world, 1000);
    world_end_complete(world, a, true);
    world_tick(world, 1000);
    assert_int_equal(world_state(world, a), JOB_SUCCEEDED);
}

/* Four jobs of two GPUs on two nodes of four; a gang of four GPUs on one node has to take two of
 * the same node, also where the cheapest two are on different ones. */
static void frees_one_node_rather_than_scattered_devices(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("x", 8, 32, 4), node_make("y", 8, 32, 4)};
    world_pool(world, "p", nodes, 2);
    world_team(world, "t");
    uint64_t jobs[4];
    static const char *const names[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++)
        jobs[i] = submit_running(world, "t", names[i], 2, PRIORITY_LOW);
    assert_string_equal(world_node_of(world, jobs[0]), "x");
    assert_string_equal(world_node_of(world, jobs[1]), "x");
    assert_string_equal(world_node_of(world, jobs[2]), "y");
    world_tick(world, 10 * MINUTE_MS);
    /* Losses in minutes: a 1, b 8 on x; c 2, d 4 on y. */
    world_checkpoint(world, jobs[0], world->now_ms - 1 * MINUTE_MS);
    world_checkpoint(world, jobs[1], world->now_ms - 8 * MINUTE_MS);
    world_checkpoint(world, jobs[2], world->now_ms - 2 * MINUTE_MS);
    world_checkpoint(world, jobs[3], world->now_ms - 4 * MINUTE_MS);
    submit_urgent(world, "t", "urgent", 4);
    world_tick(world, 0);
    assert_int_equal(world_state(world, jobs[0]), JOB_RUNNING);
    assert_int_equal(world_state(world, jobs[1]), JOB_RUNNING);
    assert_int_equal(world_state(world, jobs[2]), JOB_STOPPING);
    assert_int_equal(world_state(world, jobs[3]), JOB_STOPPING);
}

/* All three ran for an hour without a checkpoint. The service loses its start, a minute; the one
 * that saves when it is told to, nothing; so that goes first, then the service, the training last.
 */
static void knows_who_loses_nothing(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 3)};
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    uint64_t training = submit_running(world, "t", "training", 1, PRIORITY_NORMAL);
    struct job job = job_make("t", "service", 1, 1);
    job.service = true;
    uint64_t service = world_submit(world, &job);
    job = job_make("t", "saver", 1, 1);
    job.checkpoint.on_stop = true;
    uint64_t saver = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, service);
    world_start(world, saver);
    world_tick(world, HOUR_MS);
    submit_urgent(world, "t", "first", 1);
    world_tick(world, 0);
    assert_int_equal(world_state(world, saver), JOB_STOPPING);
    assert_int_equal(world_state(world, service), JOB_RUNNING);
    submit_urgent(world, "t", "second", 1);
    world_tick(world, 0);
    assert_int_equal(world_state(world, service), JOB_STOPPING);
    assert_int_equal(world_state(world, training), JOB_RUNNING);
}

/* Preempted twice before it saved anything it tries again at once; the third time it waits a
 * minute, the fourth two. */
static void waits_after_running_in_vain(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 1)};
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    uint64_t low = submit_running(world, "t", "low", 1, PRIORITY_LOW);
    for (int time = 1; time <= 4; time++) {
        char name[16];
        snprintf(name, sizeof name, "urgent%d", time);
        uint64_t urgent = submit_urgent(world, "t", name, 1);
        world_tick(world, 1000);
        assert_int_equal(world_state(world, low), JOB_STOPPING);
        world_end(world, low, END_SIGNAL);
        world_tick(world, 0);
        world_end(world, urgent, END_SUCCEEDED);
        world_tick(world, 0);
        int64_t wait_ms = time < 3 ? 0 : time == 3 ? MINUTE_MS : 2 * MINUTE_MS;
        assert_int_equal(world_state(world, low), wait_ms ? JOB_WAITING : JOB_STARTING);
        world_tick(world, wait_ms);
        assert_int_equal(world_state(world, low), JOB_STARTING);
        world_start(world, low);
    }
}

static void put_quotas(struct world *world, const char *name, struct quota *quotas, size_t count)
{
    struct error err;
    struct team team = team_make(name, NULL);
    team.quotas.items = quotas;
    team.quotas.count = count;
    if (core_team_put(world->core, &team, &err) < 0)
        fail_msg("%s", err.text);
}

/* The owner is guaranteed 4 accelerators, of them 1 of type gpu, and runs one job on 2 accelerators
 * of any type: 2 of 4, although both happen to be gpus. Measured by the gpus that it got, its place
 * would be borrowed: the urgent guest would take it, and the owner, entitled again by what it asks
 * for, would take it back, for ever. */
static void who_asks_for_any_type_is_not_measured_by_the_one_it_got(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 2)};
    struct quota quotas[] = {{.resource = "accelerators", .guarantee = 4000, .limit = -1},
        {.resource = "gpu", .guarantee = 1000, .limit = -1}};
    world_pool(world, "p", nodes, 1);
    put_quotas(world, "owner", quotas, ARRAY_LEN(quotas));
    world_team(world, "guest");
    struct job job = job_make("owner", "any", 1, 2);
    job.resources.accelerator = NULL;
    uint64_t any = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, any);
    uint64_t urgent = submit_urgent(world, "guest", "urgent", 2);
    world_tick(world, MINUTE_MS);
    assert_int_equal(world_state(world, any), JOB_RUNNING);
    assert_int_equal(world_state(world, urgent), JOB_QUEUED);
    assert_int_equal(world_decided(world, DECISION_STOP), 0);
    /* The other way round the guest borrows: one gpu is less than the job might get, so it has no
     * claim to the place before two are guaranteed; then it gets it back, and keeps it. */
    assert_int_equal(core_job_cancel(world->core, any, NULL), 0);
    world_end(world, any, END_CANCELLED);
    world_tick(world, 0);
    world_start(world, urgent);
    job.metadata.name = "again";
    uint64_t again = world_submit(world, &job);
    world_tick(world, MINUTE_MS);
    assert_int_equal(world_state(world, urgent), JOB_RUNNING);
    quotas[1].guarantee = 2000;
    put_quotas(world, "owner", quotas, ARRAY_LEN(quotas));
    world_tick(world, 0);
    assert_int_equal(world_state(world, urgent), JOB_STOPPING);
    world_end(world, urgent, END_SIGNAL);
    world_tick(world, 0);
    world_start(world, again);
    world_tick(world, MINUTE_MS);
    assert_int_equal(world_state(world, again), JOB_RUNNING);
    assert_int_equal(world_state(world, urgent), JOB_QUEUED);
}

/* A job of a device that says when it saves, which it last did `ago_ms` before now. */
static uint64_t submit_saving(
    struct world *world, const char *name, int64_t interval_ms, int64_t ago_ms)
{
    struct job job = job_make("t", name, 1, 1);
    job.priority = PRIORITY_LOW;
    job.checkpoint.interval_ms = interval_ms;
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, id);
    world_tick(world, ago_ms);
    return id;
}

static uint64_t submit_at(struct world *world, const char *name, int32_t priority)
{
    struct job job = job_make("t", name, 1, 1);
    job.priority = priority;
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    return id;
}

static void device_pool(struct world *world, int64_t devices)
{
    struct node nodes[] = {node_make("n", 8, 32, devices)};
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
}

/* Twenty minutes are at stake and the checkpoint is due in five: the job waits for it, and then
 * nothing is lost. The core asks to be called at that moment. */
static void waits_for_a_checkpoint_that_is_due(void **state)
{
    struct world *world = *state;
    device_pool(world, 1);
    uint64_t saving = submit_saving(world, "saving", 25 * MINUTE_MS, 20 * MINUTE_MS);
    submit_at(world, "normal", PRIORITY_NORMAL);
    assert_int_equal(world_state(world, saving), JOB_RUNNING);
    assert_int_equal(core_next_ms(world->core), world->now_ms + 5 * MINUTE_MS);
    world_tick(world, 4 * MINUTE_MS);
    assert_int_equal(world_state(world, saving), JOB_RUNNING);
    world_checkpoint(world, saving, world->now_ms + MINUTE_MS);
    world_tick(world, MINUTE_MS);
    assert_int_equal(world_state(world, saving), JOB_STOPPING);
}

/* The same, and the checkpoint does not come: it is not waited for a second time. */
static void a_late_checkpoint_is_not_waited_for(void **state)
{
    struct world *world = *state;
    device_pool(world, 1);
    uint64_t saving = submit_saving(world, "saving", 25 * MINUTE_MS, 20 * MINUTE_MS);
    submit_at(world, "normal", PRIORITY_NORMAL);
    world_tick(world, 5 * MINUTE_MS);
    assert_int_equal(world_state(world, saving), JOB_STOPPING);
}

/* Who can not wait: a checkpoint is due in five minutes, and the job is stopped at once. */
static void urgent_jobs_wait_for_no_checkpoint(void **state)
{
    struct world *world = *state;
    device_pool(world, 2);
    uint64_t first = submit_saving(world, "first", 45 * MINUTE_MS, 20 * MINUTE_MS);
    uint64_t second = submit_saving(world, "second", 25 * MINUTE_MS, 20 * MINUTE_MS);
    submit_at(world, "urgent", PRIORITY_URGENT);
    assert_int_equal(world_state(world, second), JOB_STOPPING);
    submit_at(world, "high", PRIORITY_HIGH);
    assert_int_equal(world_state(world, first), JOB_STOPPING);
}

/* Two minutes are at stake and the checkpoint is due in four: waiting costs more than it saves. */
static void waits_for_no_checkpoint_that_is_not_worth_it(void **state)
{
    struct world *world = *state;
    device_pool(world, 1);
    uint64_t fresh = submit_saving(world, "fresh", 6 * MINUTE_MS, 2 * MINUTE_MS);
    submit_at(world, "normal", PRIORITY_NORMAL);
    assert_int_equal(world_state(world, fresh), JOB_STOPPING);
}

/* Worth it, but due in twenty-two minutes. */
static void waits_for_no_checkpoint_that_is_far(void **state)
{
    struct world *world = *state;
    device_pool(world, 1);
    uint64_t far = submit_saving(world, "far", 110 * MINUTE_MS, 88 * MINUTE_MS);
    submit_at(world, "normal", PRIORITY_NORMAL);
    assert_int_equal(world_state(world, far), JOB_STOPPING);
}

/* Jobs that save in turn, every one of them with more at stake than a moment is worth: who is put
 * off has its place made within twenty-one minutes all the same. */
static void is_put_off_for_minutes_in_all(void **state)
{
    struct world *world = *state;
    device_pool(world, 4);
    uint64_t saving[4];
    const char *names[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++)
        saving[i] = submit_saving(world, names[i], (24 + i) * MINUTE_MS, MINUTE_MS);
    world_tick(world, 18 * MINUTE_MS);
    struct job job = job_make("t", "gang", 1, 1);
    job.gang.size = 4;
    uint64_t gang = world_submit(world, &job);
    world_tick(world, 0);
    assert_int_not_equal(world_job(world, gang)->put_off_s, 0);
    int64_t since_ms = world->now_ms;
    while (world_state(world, saving[0]) == JOB_RUNNING) {
        assert_true(world->now_ms - since_ms <= 21 * MINUTE_MS);
        for (int i = 0; i < 4; i++) {
            const struct job_row *row = world_job(world, saving[i]);
            if ((world->now_ms / MINUTE_MS + i) % 3 == 0 && row->state == JOB_RUNNING)
                world_checkpoint(world, saving[i], world->now_ms);
        }
        world_tick(world, MINUTE_MS);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(world_state(world, saving[i]), JOB_STOPPING);
        world_end(world, saving[i], END_SIGNAL);
    }
    world_tick(world, 0);
    assert_int_equal(world_state(world, gang), JOB_STARTING);
    assert_int_equal(world_job(world, gang)->put_off_s, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(stops_the_one_that_loses_least),
        TEST(compares_whole_sets),
        TEST(keeps_the_place_for_the_one_it_was_made_for),
        TEST(gives_the_place_back_when_nobody_wants_it),
        TEST(never_stops_equal_or_higher_priority),
        TEST(waits_for_the_minimum_run_time),
        TEST(stops_nobody_more_often_than_it_allows),
        TEST(a_preempted_job_that_says_it_is_complete_has_succeeded),
        TEST(frees_one_node_rather_than_scattered_devices),
        TEST(waits_after_running_in_vain),
        TEST(knows_who_loses_nothing),
        TEST(waits_for_a_checkpoint_that_is_due),
        TEST(a_late_checkpoint_is_not_waited_for),
        TEST(urgent_jobs_wait_for_no_checkpoint),
        TEST(waits_for_no_checkpoint_that_is_not_worth_it),
        TEST(waits_for_no_checkpoint_that_is_far),
        TEST(is_put_off_for_minutes_in_all),
        TEST(who_asks_for_any_type_is_not_measured_by_the_one_it_got),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
