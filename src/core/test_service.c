/* Services: which replicas are wanted and which are stopped, readiness, restarts. The test plays
 * the driver that makes the jobs of wanted replicas, as the server does. */
#include "core/test_help.h"

#include <stdio.h>

enum { WANTED_MAX = 64 };

struct wants {
    struct core_wanted items[WANTED_MAX];
    size_t count;
};

static void keep_wanted(void *context, const struct core_wanted *wanted)
{
    struct wants *wants = context;
    assert_true(wants->count < WANTED_MAX);
    wants->items[wants->count++] = *wanted;
}

static struct wants wants_now(struct world *world)
{
    struct wants wants = {0};
    core_service_wanted(world->core, keep_wanted, &wants);
    return wants;
}

static void big_pool(struct world *world)
{
    struct node nodes[] = {node_make("n", 64, 256, 0)};
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
}

static uint64_t put(
    struct world *world, int32_t replicas, int32_t surge, int32_t unavailable, bool renew)
{
    struct core_service service = {.team = "t",
        .name = "web",
        .replicas = replicas,
        .surge = surge,
        .unavailable = unavailable,
        .renew = renew};
    struct error err;
    uint64_t id = 0;
    if (core_service_put(world->core, &service, &id, NULL, &err) < 0)
        fail_msg("%s", err.text);
    return id;
}

static int submit_replica(
    struct world *world, const struct core_wanted *wanted, uint64_t *ret_job, struct error *err)
{
    char name[32];
    snprintf(name, sizeof name, "web-%d", wanted->number);
    struct job job = job_make("t", name, 1, 0);
    job.service = true;
    job.retries.backoff_ms = 1000;
    job.retries.backoff_max_ms = 60000;
    return core_replica_submit(world->core, wanted, &job, ret_job, err);
}

/* Makes at most so many of the replicas that are wanted; returns the newest one's job. */
static uint64_t make_replicas(struct world *world, size_t most)
{
    struct wants wants = wants_now(world);
    uint64_t job = 0;
    struct error err;
    for (size_t i = 0; i < wants.count && i < most; i++) {
        if (submit_replica(world, &wants.items[i], &job, &err) < 0)
            fail_msg("%s", err.text);
    }
    return job;
}

/* A tick as the daemon has it, again until nothing more happens at this moment. */
static void tick(struct world *world, int64_t ms)
{
    for (int round = 0; round < 100; round++, ms = 0) {
        core_begin(world->core, world->now_ms + ms);
        make_replicas(world, WANTED_MAX);
        world_tick(world, ms);
        if (core_next_ms(world->core) > world->now_ms)
            return;
    }
    fail_msg("it does not come to rest");
}

struct rows {
    struct replica_row items[WANTED_MAX];
    size_t count;
};

static void keep_replica(void *context, enum row_kind kind, const void *row)
{
    struct rows *rows = context;
    assert_int_equal(kind, ROW_REPLICA);
    rows->items[rows->count++] = *(const struct replica_row *)row;
}

/* Replicas that were not told to end, numbers ascending. */
static struct rows replicas(struct world *world)
{
    struct rows all = {0}, kept = {0};
    core_row_each(world->core, ROW_REPLICA, keep_replica, &all);
    for (size_t i = 0; i < all.count; i++) {
        if (!world_job(world, all.items[i].job)->cancel)
            kept.items[kept.count++] = all.items[i];
    }
    return kept;
}

static bool report(struct world *world, uint64_t job, enum replica_report what)
{
    return core_replica_report(world->core, job, world_job(world, job)->attempt, what);
}

/* Every replica that starts runs; every one of that revision gets ready. */
static void run_all(struct world *world, int32_t ready_revision)
{
    struct rows rows = replicas(world);
    for (size_t i = 0; i < rows.count; i++) {
        uint64_t job = rows.items[i].job;
        if (world_state(world, job) == JOB_STARTING)
            world_start(world, job);
        if (world_state(world, job) == JOB_RUNNING && rows.items[i].revision == ready_revision)
            report(world, job, REPLICA_READY);
    }
}

/* What was told to end has ended. */
static void stop_all(struct world *world)
{
    struct rows all = {0};
    core_row_each(world->core, ROW_REPLICA, keep_replica, &all);
    for (size_t i = 0; i < all.count; i++) {
        if (world_state(world, all.items[i].job) == JOB_STOPPING)
            world_end(world, all.items[i].job, END_SIGNAL);
    }
}

/* ---- rolling updates -------------------------------------------------------------------- */

/* Replicas of the older and of the newest revision. */
struct some {
    int32_t old_ready, old_unready, new_ready, new_unready;
};

static struct some some_now(struct world *world, int32_t newest)
{
    struct rows rows = replicas(world);
    struct some some = {0};
    for (size_t i = 0; i < rows.count; i++) {
        bool is_new = rows.items[i].revision == newest, ready = rows.items[i].ready;
        some.old_ready += !is_new && ready;
        some.old_unready += !is_new && !ready;
        some.new_ready += is_new && ready;
        some.new_unready += is_new && !ready;
    }
    return some;
}

static void make_some(struct world *world, size_t ready, size_t unready)
{
    make_replicas(world, ready + unready);
    world_tick(world, 0);
    struct rows rows = replicas(world);
    for (size_t i = rows.count - ready - unready; i < rows.count; i++)
        world_start(world, rows.items[i].job);
    for (size_t i = rows.count - ready - unready; i < rows.count - unready; i++)
        assert_true(report(world, rows.items[i].job, REPLICA_READY));
    world_tick(world, 0);
}

struct situation {
    const char *name;
    int32_t replicas, surge, unavailable;
    struct some before, stopped;
    int32_t wanted;
};

static const struct situation situations[] = {
    {"nothing to do", 3, 1, 0, {0, 0, 3, 0}, {0, 0, 0, 0}, 0},
    {"a roll begins with a surge", 3, 1, 0, {3, 0, 0, 0}, {0, 0, 0, 0}, 1},
    {"the surge is not ready yet", 3, 1, 0, {3, 0, 0, 1}, {0, 0, 0, 0}, 0},
    {"the surge is ready", 3, 1, 0, {3, 0, 1, 0}, {1, 0, 0, 0}, 1},
    {"the last old one", 3, 1, 0, {1, 0, 3, 0}, {1, 0, 0, 0}, 0},
    {"a roll begins without surge", 3, 0, 1, {3, 0, 0, 0}, {1, 0, 0, 0}, 1},
    {"without surge, not ready", 3, 0, 1, {2, 0, 0, 1}, {0, 0, 0, 0}, 0},
    {"without surge, ready", 3, 0, 1, {2, 0, 1, 0}, {1, 0, 0, 0}, 1},
    {"both ways", 3, 1, 1, {3, 0, 0, 0}, {1, 0, 0, 0}, 2},
    {"scaled up", 5, 1, 0, {0, 0, 3, 0}, {0, 0, 0, 0}, 2},
    {"scaled down", 1, 1, 0, {0, 0, 3, 0}, {0, 0, 2, 0}, 0},
    {"scaled down, one not ready", 2, 1, 0, {0, 0, 2, 1}, {0, 0, 0, 1}, 0},
    {"scaled to nothing", 0, 1, 0, {1, 1, 1, 1}, {1, 1, 1, 1}, 0},
    {"an old one that is not ready", 3, 1, 0, {2, 1, 1, 0}, {0, 1, 0, 0}, 1},
    {"the same, and the surge is not ready", 3, 1, 0, {2, 1, 0, 1}, {0, 0, 0, 0}, 0},
    {"the old revision never worked", 3, 1, 0, {0, 3, 0, 0}, {0, 0, 0, 0}, 1},
    {"the new one does", 3, 1, 0, {0, 3, 1, 0}, {0, 1, 0, 0}, 1},
    {"surge lowered", 3, 1, 0, {3, 0, 0, 3}, {0, 0, 0, 2}, 0},
    {"scaled down while it rolls", 1, 1, 0, {3, 0, 0, 1}, {2, 0, 0, 0}, 0},
    {"scaled down, none works", 1, 1, 0, {0, 0, 0, 3}, {0, 0, 0, 2}, 0},
    {"all may be unavailable", 2, 0, 3, {2, 0, 0, 0}, {2, 0, 0, 0}, 2},
};

static void check_situation(struct world *world, const struct situation *one)
{
    int32_t old = one->before.old_ready + one->before.old_unready;
    int32_t total = old + one->before.new_ready + one->before.new_unready;
    big_pool(world);
    put(world, total, total, 0, false);
    make_some(world, (size_t)one->before.old_ready, (size_t)one->before.old_unready);
    if (old)
        put(world, total, total, 0, true);
    make_some(world, (size_t)one->before.new_ready, (size_t)one->before.new_unready);
    int32_t newest = old ? 2 : 1;
    struct some before = some_now(world, newest);
    assert_memory_equal(&before, &one->before, sizeof before);

    put(world, one->replicas, one->surge, one->unavailable, false);
    world_tick(world, 0);
    struct some after = some_now(world, newest);
    struct some stopped = {before.old_ready - after.old_ready,
        before.old_unready - after.old_unready, before.new_ready - after.new_ready,
        before.new_unready - after.new_unready};
    struct wants wants = wants_now(world);
    if (memcmp(&stopped, &one->stopped, sizeof stopped) != 0 || (int32_t)wants.count != one->wanted)
        fail_msg("%s: stopped %d %d %d %d, wanted %zu", one->name, stopped.old_ready,
            stopped.old_unready, stopped.new_ready, stopped.new_unready, wants.count);
    assert_int_equal(core_next_ms(world->core) == world->now_ms, one->wanted > 0);
}

static void every_situation_of_a_roll(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(situations); i++) {
        void *world;
        world_setup(&world);
        check_situation(world, &situations[i]);
        world_teardown(&world);
    }
}

/* Three replicas, surge 1: at every moment three are ready, and at most four exist. */
static void a_roll_goes_one_by_one_to_its_end(void **state)
{
    struct world *world = *state;
    big_pool(world);
    put(world, 3, 1, 0, false);
    tick(world, 0);
    run_all(world, 1);
    tick(world, 0);
    put(world, 3, 1, 0, true);
    for (int round = 0; round < 4; round++) {
        tick(world, 1000);
        run_all(world, 2);
        tick(world, 1000);
        struct some some = some_now(world, 2);
        assert_true(some.old_ready + some.new_ready == 3);
        assert_true(replicas(world).count <= 4);
        stop_all(world);
    }
    tick(world, 0);
    struct some some = some_now(world, 2);
    assert_int_equal(some.new_ready, 3);
    assert_int_equal(some.old_ready + some.old_unready + some.new_unready, 0);
    assert_int_equal(world_row_count(world, ROW_REPLICA), 6);
    assert_int_equal(core_next_ms(world->core), INT64_MAX);
}

/* Oldest revision first, of that what is not ready, then the youngest. */
static void what_is_stopped_first(void **state)
{
    struct world *world = *state;
    big_pool(world);
    put(world, 6, 6, 0, false);
    make_some(world, 2, 0); /* 1 and 2: revision 1 */
    put(world, 6, 6, 0, true);
    make_some(world, 2, 0); /* 3 and 4: revision 2 */
    put(world, 6, 6, 0, true);
    make_some(world, 1, 1); /* 5 and 6: revision 3 */
    struct rows rows = replicas(world);
    assert_true(report(world, rows.items[0].job, REPLICA_UNREADY));
    world_tick(world, 0);
    put(world, 0, 1, 0, false);
    world_tick(world, 0);
    static const int32_t order[] = {1, 2, 4, 3, 6, 5};
    size_t at = 0;
    for (size_t i = 0; i < world->decisions.count; i++) {
        const struct core_decision *decision = &world->decisions.items[i];
        if (decision->kind != DECISION_STOP)
            continue;
        assert_true(at < ARRAY_LEN(order));
        assert_int_equal(decision->reason, END_REPLACED);
        assert_int_equal(decision->job, rows.items[order[at] - 1].job);
        at++;
    }
    assert_int_equal(at, ARRAY_LEN(order));
    stop_all(world);
    world_tick(world, 0);
    assert_int_equal(world_state(world, rows.items[0].job), JOB_CANCELLED);
    assert_int_equal(world_job(world, rows.items[0].job)->end_reason, END_REPLACED);
}

/* The new revision ends as soon as it starts, for a day: the old replicas stay, ready. */
static void a_revision_that_crashes_leaves_the_old_one_alone(void **state)
{
    struct world *world = *state;
    big_pool(world);
    put(world, 3, 1, 0, false);
    tick(world, 0);
    run_all(world, 1);
    tick(world, 0);
    put(world, 3, 1, 0, true);
    tick(world, 0);
    uint64_t job = replicas(world).items[3].job;
    int64_t last_ms = 0;
    for (int starts = 1; starts <= 40; starts++) {
        assert_int_equal(world_state(world, job), JOB_STARTING);
        int64_t pause_ms = world->now_ms - last_ms;
        static const int64_t pauses_ms[] = {0, 0, 1000, 2000, 4000, 8000, 16000, 32000, 60000};
        if (starts > 1)
            assert_int_equal(pause_ms, pauses_ms[starts < 8 ? starts : 8]);
        last_ms = world->now_ms;
        world_start(world, job);
        if (starts % 2)
            world_end(world, job, END_EXIT);
        else
            world_end_complete(world, job, true);
        tick(world, 0);
        struct some some = some_now(world, 2);
        assert_int_equal(some.old_ready, 3);
        assert_int_equal(some.new_unready, 1);
        assert_int_equal(world_state(world, job), JOB_WAITING);
        tick(world, core_next_ms(world->core) - world->now_ms);
    }
    assert_int_equal(world_job(world, job)->failures, 40);
}

/* ---- restarts ------------------------------------------------------------------------------ */

static void a_service_never_succeeds(void **state)
{
    struct world *world = *state;
    big_pool(world);
    struct job job = job_make("t", "alone", 1, 0);
    job.service = true; /* says nothing of retries: 1 s, doubling to 5 min */
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    for (int i = 1; i <= 12; i++) {
        world_start(world, a);
        world_end_complete(world, a, true);
        world_tick(world, 0);
        assert_int_equal(world_state(world, a), JOB_WAITING);
        int64_t wait_ms = i < 10 ? (int64_t)1000 << (i - 1) : 300000;
        assert_int_equal(core_next_ms(world->core) - world->now_ms, wait_ms);
        world_tick(world, wait_ms);
    }
    /* It ran for longer than the longest pause: that ends the row. */
    world_start(world, a);
    world_tick(world, 300001);
    world_end(world, a, END_SUCCEEDED);
    world_tick(world, 0);
    assert_int_equal(core_next_ms(world->core) - world->now_ms, 1000);
    assert_int_equal(world_job(world, a)->retries_left, 0);
    assert_int_equal(core_job_cancel(world->core, a, NULL), 0);
    world_tick(world, 0);
    assert_int_equal(world_job(world, a)->end_reason, END_CANCELLED);
}

static void ready_for_long_ends_the_row_of_failures(void **state)
{
    struct world *world = *state;
    big_pool(world);
    put(world, 1, 1, 0, false);
    tick(world, 0);
    uint64_t job = replicas(world).items[0].job;
    static const struct {
        int64_t unready_ms, ready_ms;
        int32_t failures;
    } runs[] = {
        {0, 0, 1},
        {600000, 0, 2}, /* alive is not ready */
        {0, 60000, 3},
        {0, 60001, 1}, /* longer than the longest backoff: the row ended before this failure */
        {5000, 30000, 2},
    };
    for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
        assert_int_equal(world_state(world, job), JOB_STARTING);
        world_start(world, job);
        tick(world, runs[i].unready_ms);
        if (runs[i].ready_ms)
            assert_true(report(world, job, REPLICA_READY));
        tick(world, runs[i].ready_ms);
        assert_true(report(world, job, REPLICA_UNHEALTHY));
        assert_false(report(world, job, REPLICA_UNHEALTHY));
        tick(world, 0);
        assert_int_equal(world_state(world, job), JOB_STOPPING);
        world_end(world, job, END_SUCCEEDED);
        tick(world, 0);
        assert_int_equal(world_job(world, job)->failures, runs[i].failures);
        tick(world, core_next_ms(world->core) - world->now_ms);
    }
}

/* A replica that gives way comes back by itself, and that is no failure. */
static void a_preempted_replica_comes_back(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 2, 256, 0)};
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    put(world, 2, 1, 0, false);
    tick(world, 0);
    run_all(world, 1);
    tick(world, 0);
    struct job urgent = job_make("t", "urgent", 1, 0);
    urgent.priority = PRIORITY_URGENT;
    uint64_t winner = world_submit(world, &urgent);
    tick(world, 1000);
    struct some some = some_now(world, 1);
    assert_int_equal(some.new_ready, 1);
    assert_int_equal(some.new_unready, 1);
    assert_int_equal(world_decided(world, DECISION_REPLICA_UNREADY), 1);
    struct rows rows = replicas(world);
    assert_int_equal(rows.count, 2);
    uint64_t victim = rows.items[rows.items[0].ready ? 1 : 0].job;
    world_end_complete(world, victim, true); /* it ended well: it was still preempted */
    tick(world, 0);
    assert_int_equal(world_state(world, victim), JOB_QUEUED);
    assert_int_equal(world_job(world, victim)->failures, 0);
    world_start(world, winner);
    world_end(world, winner, END_SUCCEEDED);
    tick(world, 0);
    assert_int_equal(world_state(world, victim), JOB_STARTING);
    core_node_report(world->core, "p", "n", false);
    tick(world, 0);
    assert_int_equal(world_state(world, victim), JOB_QUEUED);
    assert_int_equal(world_job(world, victim)->failures, 0);
    assert_int_equal(world_row_count(world, ROW_REPLICA), 2);
}

/* ---- readiness ----------------------------------------------------------------------------- */

static void only_an_attempt_that_runs_gets_ready(void **state)
{
    struct world *world = *state;
    big_pool(world);
    put(world, 1, 1, 0, false);
    tick(world, 0);
    uint64_t job = replicas(world).items[0].job;
    assert_false(report(world, job, REPLICA_READY)); /* it has not started */
    assert_false(report(world, job, REPLICA_UNHEALTHY));
    world_start(world, job);
    uint64_t first = world_job(world, job)->attempt;
    assert_false(core_replica_report(world->core, job, first + 1, REPLICA_READY));
    assert_false(core_replica_report(world->core, job + 1, first, REPLICA_READY));
    assert_false(report(world, job, REPLICA_UNREADY)); /* it never was */
    assert_true(report(world, job, REPLICA_READY));
    assert_false(report(world, job, REPLICA_READY));
    tick(world, 1000);
    assert_int_equal(core_replica_of(world->core, job)->attempt, first);
    world_end(world, job, END_EXIT);
    assert_false(core_replica_of(world->core, job)->ready);
    assert_int_equal(core_replica_of(world->core, job)->since_ms, world->now_ms);
    tick(world, 1000);
    world_start(world, job);
    assert_false(core_replica_report(world->core, job, first, REPLICA_READY));
    struct job plain = job_make("t", "plain", 1, 0);
    uint64_t other = world_submit(world, &plain);
    tick(world, 0);
    world_start(world, other);
    assert_false(report(world, other, REPLICA_READY));
    assert_null(core_replica_of(world->core, other));
}

/* ---- commands ------------------------------------------------------------------------------ */

static void a_cancelled_replica_is_replaced(void **state)
{
    struct world *world = *state;
    big_pool(world);
    uint64_t id = put(world, 2, 1, 0, false);
    tick(world, 0);
    run_all(world, 1);
    uint64_t job = replicas(world).items[0].job;
    struct error err;
    assert_int_equal(core_job_hold(world->core, job, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_int_equal(core_job_cancel(world->core, job, &err), 0);
    tick(world, 0);
    assert_int_equal(world_state(world, job), JOB_STOPPING);
    struct rows rows = replicas(world);
    assert_int_equal(rows.count, 2);
    assert_int_equal(rows.items[1].number, 3);
    assert_int_equal(core_service(world->core, id)->number, 3);
    stop_all(world);
    tick(world, 0);
    assert_int_equal(world_job(world, job)->end_reason, END_CANCELLED);
    assert_int_equal(replicas(world).count, 2);
}

static void a_service_is_deleted_while_it_rolls(void **state)
{
    struct world *world = *state;
    struct error err;
    big_pool(world);
    uint64_t id = put(world, 3, 1, 0, false);
    assert_int_equal(core_service_find(world->core, "t", "web"), id);
    tick(world, 0);
    run_all(world, 1);
    put(world, 3, 1, 0, true);
    tick(world, 0);
    assert_int_equal(core_service_delete(world->core, id, &err), 0);
    assert_int_equal(core_service_delete(world->core, id, &err), 0);
    assert_int_equal(core_service_delete(world->core, id + 1, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    struct core_service again = {.team = "t", .name = "web", .replicas = 1, .surge = 1};
    uint64_t other = 0;
    assert_int_equal(core_service_put(world->core, &again, &other, NULL, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    tick(world, 0);
    assert_int_equal(replicas(world).count, 0);
    assert_non_null(core_service(world->core, id));
    assert_int_equal(core_team_delete(world->core, "t", &err), -1);
    stop_all(world);
    tick(world, 0);
    assert_null(core_service(world->core, id));
    assert_int_equal(core_service_find(world->core, "t", "web"), 0);
    struct core_counts counts;
    core_count(world->core, &counts);
    assert_int_equal(counts.services + counts.replicas + counts.replicas_ready, 0);
    int32_t revision = 0;
    assert_int_equal(core_service_put(world->core, &again, &other, &revision, &err), 0);
    assert_int_equal(revision, 1);
    assert_true(other > id);
    world_tick(world, 0);
    assert_int_equal(core_team_delete(world->core, "t", &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_int_equal(core_service_delete(world->core, other, &err), 0); /* has no replica yet */
    assert_null(core_service(world->core, other));
    assert_int_equal(core_team_delete(world->core, "t", &err), 0);
    world_tick(world, 0);
}

static int put_error(struct world *world, struct core_service service)
{
    struct error err = {0};
    uint64_t id = 0;
    uint64_t before = core_digest(world->core);
    assert_int_equal(core_service_put(world->core, &service, &id, NULL, &err), -1);
    assert_true(err.text[0] != '\0');
    assert_int_equal(core_digest(world->core), before);
    return err.code;
}

static void what_makes_no_sense_is_refused(void **state)
{
    struct world *world = *state;
    big_pool(world);
    struct core_service service = {.team = "t", .name = "web", .replicas = 1};
    assert_int_equal(put_error(world, service), ERR_INVALID); /* could never roll */
    service.surge = 1;
    service.replicas = -1;
    assert_int_equal(put_error(world, service), ERR_INVALID);
    service.replicas = 1;
    service.name = "";
    assert_int_equal(put_error(world, service), ERR_INVALID);
    service.name = "web";
    service.team = "nobody";
    assert_int_equal(put_error(world, service), ERR_NOT_FOUND);

    put(world, 1, 1, 0, false);
    struct core_wanted wanted = wants_now(world).items[0];
    struct job job = job_make("t", "web-1", 1, 0);
    uint64_t id = 0;
    struct error err;
    assert_int_equal(core_replica_submit(world->core, &wanted, &job, &id, &err), -1);
    assert_int_equal(err.code, ERR_INVALID); /* no service */
    job.service = true;
    job.gang.size = 2;
    assert_int_equal(core_replica_submit(world->core, &wanted, &job, &id, &err), -1);
    job.gang.size = 1;
    job.hold = true;
    assert_int_equal(core_replica_submit(world->core, &wanted, &job, &id, &err), -1);
    job.hold = false;
    wanted.revision++;
    assert_int_equal(core_replica_submit(world->core, &wanted, &job, &id, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    wanted.revision--;
    assert_int_equal(core_replica_submit(world->core, &wanted, &job, &id, &err), 0);
    assert_int_equal(core_replica_submit(world->core, &wanted, &job, &id, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT); /* not wanted any more */
    world_tick(world, 0);
}

static void what_can_not_be_made_is_wanted_again_later(void **state)
{
    struct world *world = *state;
    big_pool(world);
    put(world, 3, 1, 0, false);
    static const int64_t waits_ms[] = {10000, 20000, 40000, 80000, 160000, 300000, 300000};
    for (size_t i = 0; i < ARRAY_LEN(waits_ms); i++) {
        struct wants wants = wants_now(world);
        assert_int_equal(wants.count, 3);
        assert_int_equal(wants.items[2].number, 3);
        core_replica_refused(world->core, &wants.items[0]);
        core_replica_refused(world->core, &wants.items[1]); /* once a tick */
        world_tick(world, 0);
        assert_int_equal(wants_now(world).count, 0);
        assert_int_equal(core_next_ms(world->core) - world->now_ms, waits_ms[i]);
        world_tick(world, waits_ms[i]);
    }
    make_replicas(world, 1);
    world_tick(world, 0);
    assert_int_equal(core_service(world->core, 1)->refusals, 0);
    core_replica_refused(world->core, &wants_now(world).items[0]);
    put(world, 3, 1, 0, false); /* whoever changes it need not wait */
    assert_int_equal(wants_now(world).count, 2);
    world_tick(world, 0);
}

/* No room for the surge, and none may be missing: it waits, and says why. */
static void a_roll_without_room_waits_and_says_so(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 2, 256, 0)};
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    put(world, 2, 1, 0, false);
    tick(world, 0);
    run_all(world, 1);
    tick(world, 0);
    put(world, 2, 1, 0, true);
    tick(world, HOUR_MS);
    struct rows rows = replicas(world);
    assert_int_equal(rows.count, 3);
    assert_int_equal(world_state(world, rows.items[2].job), JOB_QUEUED);
    struct core_block block;
    core_job_blocked(world->core, rows.items[2].job, &block);
    assert_int_equal(block.kind, BLOCK_ROOM);
    assert_int_equal(some_now(world, 2).old_ready, 2);
    put(world, 2, 0, 1, false); /* one may be missing: the one that waits is no surge any more */
    tick(world, 0);
    assert_int_equal(some_now(world, 2).old_ready, 1);
    stop_all(world);
    tick(world, 0);
    assert_int_equal(world_state(world, rows.items[2].job), JOB_STARTING);
}

/* The name of a service that is gone is not kept for ever. */
static void symbols_of_services_are_let_go(void **state)
{
    struct world *world = *state;
    big_pool(world);
    for (int i = 0; i < 3; i++) {
        uint64_t id = put(world, 1, 1, 0, false);
        world_tick(world, 0);
        assert_int_equal(core_service_delete(world->core, id, NULL), 0);
        world_tick(world, 0);
    }
    size_t named = 0;
    for (size_t i = 0; i < world->rows.count; i++) {
        const struct stored_row *row = &world->rows.items[i];
        named += row->kind == ROW_SYMBOL && row->live &&
                 strcmp(((const struct symbol_row *)row->bytes)->text, "web") == 0;
    }
    assert_int_equal(named, 0);
}

/* ---- reloading ----------------------------------------------------------------------------- */

/* A roll with everything that can happen in it; loaded anew after each tick, or never. */
static uint64_t eventful(struct world *world, bool reload)
{
    struct node nodes[] = {node_make("n", 5, 256, 0), node_make("m", 3, 256, 0)};
    world_pool(world, "p", nodes, 2);
    world_team(world, "t");
    uint64_t digest = 0;
    for (int step = 0; step < 40; step++) {
        if (step % 8 == 0)
            put(world, 3 + step % 3, step % 2 ? 0 : 1, step % 5 == 0, step > 0);
        if (step == 13)
            assert_int_equal(core_job_cancel(world->core, replicas(world).items[0].job, NULL), 0);
        if (step == 18)
            core_node_report(world->core, "p", "m", false);
        if (step == 22)
            core_node_report(world->core, "p", "m", true);
        if (step == 27) {
            struct rows rows = replicas(world);
            for (size_t i = 0; i < rows.count; i++)
                report(world, rows.items[i].job, REPLICA_UNHEALTHY);
        }
        run_all(world, core_service(world->core, 1)->revision - (step % 3 == 0));
        if (step % 4 == 3)
            stop_all(world);
        tick(world, 700);
        if (reload)
            world_reload(world);
        digest = digest * 31 + core_digest(world->core);
    }
    return digest;
}

static void a_reload_at_every_step_changes_nothing(void **state)
{
    void *other;
    world_setup(&other);
    assert_int_equal(eventful(*state, true), eventful(other, false));
    world_teardown(&other);
}

/* ---- sites that end replicas ---------------------------------------------------------------- */

/* A service of so many replicas, all ready; the first one's job ends at its site in an hour, and
 * another is wanted by now. */
static uint64_t ending_soon(struct world *world, int32_t count, int32_t surge, int32_t unavailable)
{
    big_pool(world);
    put(world, count, surge, unavailable, false);
    tick(world, 0);
    run_all(world, 1);
    tick(world, 0);
    uint64_t first = replicas(world).items[0].job;
    world_site_end(world, first, world->now_ms + 3600 * 1000);
    tick(world, 44 * 60 * 1000 - world_job(world, first)->grace_ms);
    assert_int_equal(replicas(world).count, (size_t)count);
    tick(world, 60 * 1000);
    return first;
}

static void another_replica_is_ready_before_a_site_ends_one(void **state)
{
    struct world *world = *state;
    uint64_t first = ending_soon(world, 2, 1, 0);
    assert_int_equal(replicas(world).count, 3);
    assert_int_equal(world_state(world, first), JOB_RUNNING);
    world_reload(world);
    tick(world, 0);
    assert_int_equal(replicas(world).count, 3);
    run_all(world, 1);
    tick(world, 0);
    struct rows rows = replicas(world);
    assert_int_equal(rows.count, 2);
    for (size_t i = 0; i < rows.count; i++)
        assert_true(rows.items[i].ready && rows.items[i].job != first);
    assert_int_equal(world_state(world, first), JOB_STOPPING);
    world_end(world, first, END_SIGNAL);
    tick(world, 0);
    assert_int_equal(replicas(world).count, 2);
}

static void without_room_for_another_one_goes_first(void **state)
{
    struct world *world = *state;
    uint64_t first = ending_soon(world, 2, 0, 1);
    assert_int_equal(world_state(world, first), JOB_STOPPING);
    assert_int_equal(replicas(world).count, 2);
}

/* The site's end is near and the other one is not ready: the old one saves what it can, and comes
 * back as the same replica; of the two the one that is not ready goes. */
static void a_replica_that_nobody_replaces_in_time_comes_back(void **state)
{
    struct world *world = *state;
    uint64_t first = ending_soon(world, 1, 1, 0);
    assert_int_equal(replicas(world).count, 2);
    tick(world, 15 * 60 * 1000);
    assert_int_equal(world_state(world, first), JOB_STOPPING);
    assert_int_equal(
        core_attempt(world->core, world_job(world, first)->attempt)->stop_reason, END_HANDED_OVER);
    world_end(world, first, END_SIGNAL);
    tick(world, 0);
    assert_int_equal(world_job(world, first)->failures, 0);
    assert_int_equal(replicas(world).count, 1);
    run_all(world, 1);
    tick(world, 0);
    assert_true(replicas(world).count == 1 && replicas(world).items[0].ready);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_situation_of_a_roll),
        TEST(a_roll_goes_one_by_one_to_its_end),
        TEST(what_is_stopped_first),
        TEST(a_revision_that_crashes_leaves_the_old_one_alone),
        TEST(a_service_never_succeeds),
        TEST(ready_for_long_ends_the_row_of_failures),
        TEST(a_preempted_replica_comes_back),
        TEST(another_replica_is_ready_before_a_site_ends_one),
        TEST(without_room_for_another_one_goes_first),
        TEST(a_replica_that_nobody_replaces_in_time_comes_back),
        TEST(only_an_attempt_that_runs_gets_ready),
        TEST(a_cancelled_replica_is_replaced),
        TEST(a_service_is_deleted_while_it_rolls),
        TEST(what_makes_no_sense_is_refused),
        TEST(what_can_not_be_made_is_wanted_again_later),
        TEST(a_roll_without_room_waits_and_says_so),
        TEST(symbols_of_services_are_let_go),
        TEST(a_reload_at_every_step_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
