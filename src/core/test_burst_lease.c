/* Replicas that come to a pool under its burst policy: when they come, what is reserved, and how
 * they come home. The test makes the jobs of wanted replicas, as the server does. */
#include "core/test_help.h"

#include <stdio.h>

#define AFTER_MS (5 * MINUTE_MS)

/* "own" has room for so many replicas of a device each, "cloud" for eight, at 3.00 an hour each. */
static void pools_put(struct world *world, int64_t own_devices, int64_t budget_eur)
{
    struct node own_node = node_make("own", 32, 128, own_devices);
    struct node cloud_node = node_make("cloud", 64, 256, 8);
    struct named_price price = {cloud_node.capacity.accelerator, 3000000};
    struct pool own = {.metadata.name = "own", .jurisdiction = "eu", .nodes = {&own_node, 1}};
    struct pool cloud = {.metadata.name = "cloud",
        .jurisdiction = "us",
        .burst = {AFTER_MS, budget_eur * 1000000, 24 * HOUR_MS},
        .nodes = {&cloud_node, 1},
        .prices = {.currency = "EUR", .accelerators = {&price, 1}}};
    assert_int_equal(core_pool_put(world->core, &own, NULL), 0);
    assert_int_equal(core_pool_put(world->core, &cloud, NULL), 0);
}

static uint64_t service_put(struct world *world, int32_t replicas, int32_t surge, int32_t less)
{
    struct core_service service = {
        .team = "t", .name = "web", .replicas = replicas, .surge = surge, .unavailable = less};
    uint64_t id = 0;
    assert_int_equal(core_service_put(world->core, &service, &id, NULL, NULL), 0);
    return id;
}

struct maker {
    struct core_wanted wanted[32];
    size_t count;
};

static void keep_wanted(void *context, const struct core_wanted *wanted)
{
    struct maker *maker = context;
    maker->wanted[maker->count++] = *wanted;
}

static void replicas_make(struct world *world, const char *jurisdiction)
{
    struct maker maker = {.count = 0};
    core_service_wanted(world->core, keep_wanted, &maker);
    for (size_t i = 0; i < maker.count; i++) {
        char name[32];
        uint64_t id;
        snprintf(name, sizeof name, "web-%d", maker.wanted[i].number);
        struct job job = job_make("t", name, 1, 1);
        job.service = true;
        job.grace_ms = 0;
        job.placement.jurisdiction = jurisdiction;
        assert_int_equal(core_replica_submit(world->core, &maker.wanted[i], &job, &id, NULL), 0);
    }
}

/* Every replica that has a place is started and ready, who is told to stop ends; until nothing
 * happens any more. */
struct todo {
    VEC(struct core_report) reports;
};

static void obey(void *context, const struct attempt_row *attempt, const struct attempt_wish *wish)
{
    struct todo *todo = context;
    struct core_report report = {.attempt = attempt->id, .reason = END_SIGNAL};
    report.kind = wish->stop ? REPORT_ENDED : REPORT_STARTED;
    if (wish->stop || attempt->state < ATTEMPT_STARTED)
        vec_push(&todo->reports, report);
}

static void ready_all(struct world *world)
{
    VEC(struct replica_row) rows = {0};
    for (size_t i = 0; i < world->rows.count; i++) {
        if (world->rows.items[i].kind == ROW_REPLICA && world->rows.items[i].live)
            vec_push(&rows, *(struct replica_row *)world->rows.items[i].bytes);
    }
    for (size_t i = 0; i < rows.count; i++) {
        const struct job_row *job = core_job(world->core, rows.items[i].job);
        if (job)
            core_replica_report(world->core, job->id, job->attempt, REPLICA_READY);
    }
    vec_free(&rows);
}

static size_t recalls, refusals;

static void settle(struct world *world, int64_t ms)
{
    recalls = refusals = 0;
    for (int round = 0; round < 12; round++, ms = 0) {
        struct todo todo = {{0}};
        core_attempt_each(world->core, obey, &todo);
        for (size_t i = 0; i < todo.reports.count; i++)
            core_attempt_report(world->core, &todo.reports.items[i]);
        vec_free(&todo.reports);
        ready_all(world);
        replicas_make(world, NULL);
        world_tick(world, ms);
        recalls += world_decided(world, DECISION_BURST_RECALL);
        refusals += world_decided(world, DECISION_BURST_REFUSED);
    }
}

/* How many replicas hold a place on the node. */
static int on(struct world *world, const char *node)
{
    int count = 0;
    for (size_t i = 0; i < world->rows.count; i++) {
        const struct stored_row *row = &world->rows.items[i];
        if (row->kind == ROW_REPLICA && row->live)
            count +=
                strcmp(world_node_of(world, ((struct replica_row *)row->bytes)->job), node) == 0;
    }
    return count;
}

static const struct pool_row *cloud_row(struct world *world)
{
    return core_pool(world->core, core_pool_find(world->core, "cloud"));
}

/* A service of two in a pool of its own that has room for one: the other is away. The service. */
static uint64_t one_away(struct world *world, int64_t budget_eur, int32_t surge, int32_t less)
{
    world_team(world, "t");
    pools_put(world, 1, budget_eur);
    uint64_t service = service_put(world, 2, surge, less);
    settle(world, 0);
    settle(world, AFTER_MS + 1);
    assert_true(on(world, "own") == 1 && on(world, "cloud") == 1);
    return service;
}

static void a_replica_comes_after_the_wait_and_not_before(void **state)
{
    struct world *world = *state;
    world_team(world, "t");
    pools_put(world, 1, 100);
    service_put(world, 2, 1, 0);
    settle(world, 0);
    assert_int_equal(on(world, "own"), 1);
    settle(world, AFTER_MS);
    assert_int_equal(on(world, "cloud"), 0);
    settle(world, 1);
    assert_true(on(world, "own") == 1 && on(world, "cloud") == 1);
}

/* 3.00 are reserved, then spent, by the hour: a day's budget of 10.00 pays for three. */
static void leases_are_paid_as_long_as_the_budget_lasts(void **state)
{
    struct world *world = *state;
    one_away(world, 10, 1, 0);
    assert_int_equal(cloud_row(world)->burst_spent_micro, 0);
    settle(world, HOUR_MS);
    assert_int_equal(cloud_row(world)->burst_spent_micro, 3000000);
    world_reload(world);
    settle(world, HOUR_MS);
    assert_int_equal(cloud_row(world)->burst_spent_micro, 6000000);
    assert_int_equal(on(world, "cloud"), 1);
    settle(world, HOUR_MS);
    assert_int_equal(cloud_row(world)->burst_spent_micro, 9000000);
    assert_int_equal(on(world, "cloud"), 0);
    assert_true(refusals >= 1);
    /* The day after there is a new budget, and it has waited. */
    settle(world, 24 * HOUR_MS);
    assert_int_equal(on(world, "cloud"), 1);
}

static void it_comes_home_when_there_is_room_and_another_is_ready(void **state)
{
    struct world *world = *state;
    uint64_t service = one_away(world, 100, 1, 0);
    settle(world, 2 * MINUTE_MS);
    assert_int_equal(recalls, 0); /* no room, no recall */
    pools_put(world, 2, 100);
    world_tick(world, MINUTE_MS); /* recalled; it serves on until another is ready */
    assert_int_equal(world_decided(world, DECISION_BURST_RECALL), 1);
    assert_int_equal(world_decided(world, DECISION_STOP), 0);
    replicas_make(world, NULL);
    world_tick(world, 0);
    assert_true(on(world, "own") == 2 && on(world, "cloud") == 1);
    assert_int_equal(world_decided(world, DECISION_STOP), 0);
    settle(world, 0);
    assert_true(on(world, "own") == 2 && on(world, "cloud") == 0);
    assert_int_equal(core_service(world->core, service)->replicas, 2);
}

/* The room that was seen is taken by somebody else before the one that is made gets there. */
static void a_recall_is_taken_back_when_the_room_has_gone(void **state)
{
    struct world *world = *state;
    one_away(world, 100, 1, 0);
    pools_put(world, 2, 100);
    world_tick(world, MINUTE_MS);
    assert_int_equal(world_decided(world, DECISION_BURST_RECALL), 1);
    struct job job = job_make("t", "urgent", 1, 1);
    job.priority = PRIORITY_URGENT;
    job.time_limit_ms = HOUR_MS;
    uint64_t urgent = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, urgent), "own");
    replicas_make(world, NULL);
    world_tick(world, 0);
    assert_int_equal(on(world, "cloud"), 1);
    settle(world, 2 * MINUTE_MS);
    settle(world, 2 * AFTER_MS);
    assert_true(on(world, "own") == 1 && on(world, "cloud") == 1);
}

/* None may be missing by choice, and none may be more: so one may be missing. It goes first. */
static void without_surge_the_one_away_goes_first(void **state)
{
    struct world *world = *state;
    one_away(world, 100, 0, 1);
    pools_put(world, 2, 100);
    settle(world, MINUTE_MS);
    assert_true(on(world, "own") == 2 && on(world, "cloud") == 0);
}

static void the_one_that_costs_extra_goes_first_when_fewer_are_wanted(void **state)
{
    struct world *world = *state;
    uint64_t service = one_away(world, 100, 1, 0);
    assert_int_equal(core_service_scale(world->core, service, 1, 0, NULL), 0);
    settle(world, 0);
    assert_true(on(world, "own") == 1 && on(world, "cloud") == 0);
}

static void what_may_not_leave_does_not(void **state)
{
    struct world *world = *state;
    world_team(world, "t");
    pools_put(world, 1, 100);
    service_put(world, 2, 1, 0);
    replicas_make(world, "eu");
    settle(world, 0);
    settle(world, AFTER_MS + 1);
    assert_true(on(world, "own") == 1 && on(world, "cloud") == 0);
    assert_int_equal(refusals, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_replica_comes_after_the_wait_and_not_before),
        TEST(leases_are_paid_as_long_as_the_budget_lasts),
        TEST(it_comes_home_when_there_is_room_and_another_is_ready),
        TEST(a_recall_is_taken_back_when_the_room_has_gone),
        TEST(without_surge_the_one_away_goes_first),
        TEST(the_one_that_costs_extra_goes_first_when_fewer_are_wanted),
        TEST(what_may_not_leave_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
