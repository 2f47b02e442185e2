/* Tests of promises: cases worked out by hand, and the bound on waiting as a property over seeds.
 */
#include "base/prng.h"
#include "core/limits.h"
#include "core/test_help.h"

#include <stdio.h>
#include <stdlib.h>

#define AFTER_MS (5 * MINUTE_MS) /* the default of reserve_after_ms */

static struct core_block blocked(struct world *world, uint64_t job)
{
    struct core_block block;
    core_job_blocked(world->core, job, &block);
    return block;
}

static void nodes_of_two(struct world *world, int64_t count)
{
    struct node node = node_make("n", 8, 32, 2);
    node.count = count;
    world_pool(world, "p", &node, 1);
    world_team(world, "t");
}

static uint64_t submit(
    struct world *world, const char *name, int64_t devices, int64_t ranks, int64_t limit_ms)
{
    struct job job = job_make("t", name, 1, devices);
    job.gang.size = ranks;
    job.time_limit_ms = limit_ms;
    job.grace_ms = 0;
    return world_submit(world, &job);
}

static uint64_t submit_running(
    struct world *world, const char *name, int64_t devices, int64_t ranks, int64_t limit_ms)
{
    uint64_t id = submit(world, name, devices, ranks, limit_ms);
    world_tick(world, 0);
    world_start(world, id);
    return id;
}

/* Node 1 is taken for an hour, node 2 for two. A gang of 2 x 2 waits; after 5 minutes it is told
 * the end of the second. What ends before starts, what does not waits, whatever is free. */
static void others_start_only_if_they_end_before(void **state)
{
    struct world *world = *state;
    nodes_of_two(world, 2);
    uint64_t first = submit_running(world, "first", 2, 1, HOUR_MS);
    uint64_t second = submit_running(world, "second", 2, 1, 2 * HOUR_MS);
    uint64_t gang = submit(world, "gang", 2, 2, HOUR_MS);
    world_tick(world, 0);
    assert_int_equal(blocked(world, gang).kind, BLOCK_ROOM);
    assert_int_equal(core_next_ms(world->core), START_MS + AFTER_MS);
    world_tick(world, AFTER_MS);
    struct core_block block = blocked(world, gang);
    assert_int_equal(block.kind, BLOCK_PROMISE);
    assert_int_equal(block.until_ms, START_MS + 2 * HOUR_MS);
    assert_false(block.until_open);
    assert_int_equal(block.other_nodes, 1);
    assert_int_equal(world_decided(world, DECISION_PROMISE), 1);
    world_end(world, first, END_SUCCEEDED);
    world_tick(world, 0);
    /* 115 minutes are left. */
    uint64_t late = submit(world, "late", 2, 1, 116 * MINUTE_MS);
    uint64_t never = submit(world, "never", 2, 1, 0);
    world_tick(world, 0);
    assert_int_equal(blocked(world, late).kind, BLOCK_KEPT);
    assert_int_equal(blocked(world, late).job, gang);
    assert_int_equal(blocked(world, never).kind, BLOCK_KEPT);
    uint64_t in_time = submit(world, "in-time", 2, 1, 115 * MINUTE_MS);
    world_tick(world, 0);
    assert_int_equal(world_state(world, in_time), JOB_STARTING);
    world_start(world, in_time);
    world_tick(world, 115 * MINUTE_MS);
    world_end(world, in_time, END_TIME_LIMIT);
    world_end(world, second, END_TIME_LIMIT);
    world_tick(world, 0);
    assert_int_equal(world_state(world, gang), JOB_STARTING);
    assert_int_equal(world_state(world, late), JOB_QUEUED);
}

/* Of node 2, one device is promised. The other is nobody's at the moment of the promise. */
static void what_is_not_kept_may_be_used(void **state)
{
    struct world *world = *state;
    nodes_of_two(world, 2);
    submit_running(world, "whole", 2, 1, HOUR_MS);
    uint64_t half = submit_running(world, "half", 1, 1, 0);
    uint64_t gang = submit(world, "gang", 1, 3, 0);
    world_tick(world, 0);
    world_tick(world, AFTER_MS);
    assert_int_equal(blocked(world, gang).kind, BLOCK_PROMISE);
    assert_int_equal(blocked(world, gang).until_ms, START_MS + HOUR_MS);
    /* The gang will have 2 of node 1 and 1 of node 2: the free one. Nothing is left over. */
    uint64_t small = submit(world, "small", 1, 1, 0);
    world_tick(world, 0);
    assert_int_equal(world_state(world, small), JOB_QUEUED);
    /* Half ends, one device of node 2 is beyond what is promised. */
    world_end(world, half, END_SUCCEEDED);
    world_tick(world, 0);
    assert_int_equal(world_state(world, small), JOB_STARTING);
    assert_int_equal(blocked(world, gang).until_ms, START_MS + HOUR_MS);
}

/* Attempts without a limit have no known end. The gang's nodes are those where fewest of them have
 * to end, and no new one comes there. */
static void without_limits_nodes_are_drained(void **state)
{
    struct world *world = *state;
    nodes_of_two(world, 2);
    uint64_t a = submit_running(world, "a", 1, 1, 0);
    uint64_t b = submit_running(world, "b", 1, 1, 0);
    uint64_t c = submit_running(world, "c", 2, 1, 0);
    uint64_t whole = submit(world, "whole", 2, 1, 0);
    world_tick(world, 0);
    world_tick(world, AFTER_MS);
    struct core_block block = blocked(world, whole);
    assert_int_equal(block.kind, BLOCK_PROMISE);
    assert_true(block.until_open);
    assert_string_equal(core_symbol(world->core, core_node(world->core, block.node)->name), "n-2");
    uint64_t small = submit(world, "small", 1, 1, 0);
    world_tick(world, 0);
    world_end(world, a, END_SUCCEEDED);
    world_tick(world, 0);
    assert_int_equal(world_state(world, small), JOB_STARTING); /* where a was */
    assert_string_equal(world_node_of(world, small), "n-1");
    uint64_t other = submit(world, "other", 1, 1, 0);
    world_end(world, c, END_SUCCEEDED);
    world_tick(world, 0);
    assert_int_equal(world_state(world, whole), JOB_STARTING);
    assert_int_equal(world_state(world, other), JOB_QUEUED);
    assert_int_equal(world_state(world, b), JOB_RUNNING);
}

/* A service ends when somebody wants it to: nothing waits for that. */
static void nothing_is_promised_where_a_service_runs(void **state)
{
    struct world *world = *state;
    nodes_of_two(world, 1);
    struct job job = job_make("t", "service", 1, 1);
    job.service = true;
    world_submit(world, &job);
    world_tick(world, 0);
    uint64_t whole = submit(world, "whole", 2, 1, 0);
    world_tick(world, 0);
    world_tick(world, HOUR_MS);
    assert_int_equal(blocked(world, whole).kind, BLOCK_ROOM);
}

/* An urgent gang takes the promise over, a normal one does not; what is urgent and small is not
 * held up by a promise to what is normal. */
static void higher_priority_takes_it_over(void **state)
{
    struct world *world = *state;
    nodes_of_two(world, 2);
    struct job job = job_make("t", "firm", 1, 2);
    job.preemptible = false;
    job.time_limit_ms = HOUR_MS;
    job.grace_ms = 0;
    uint64_t firm = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, firm);
    uint64_t gang = submit(world, "gang", 2, 2, 0);
    world_tick(world, 0);
    world_tick(world, AFTER_MS);
    assert_int_equal(blocked(world, gang).kind, BLOCK_PROMISE);
    uint64_t equal = submit(world, "equal", 2, 2, 0);
    job = job_make("t", "urgent", 1, 2);
    job.gang.size = 2;
    job.priority = PRIORITY_URGENT;
    uint64_t urgent = world_submit(world, &job);
    world_tick(world, 0);
    world_tick(world, AFTER_MS);
    assert_int_equal(blocked(world, urgent).kind, BLOCK_PROMISE);
    assert_int_equal(blocked(world, gang).kind, BLOCK_ROOM);
    assert_int_equal(blocked(world, equal).kind, BLOCK_ROOM);
    assert_int_equal(core_job_cancel(world->core, urgent, NULL), 0);
    world_tick(world, 0);
    assert_int_equal(blocked(world, gang).kind, BLOCK_PROMISE);
    job.metadata.name = "small";
    job.gang.size = 1;
    uint64_t small = world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(world_state(world, small), JOB_STARTING);
}

static uint64_t submit_cpus(struct world *world, const char *name, int64_t cpus, int64_t priority,
    int64_t limit_ms, int64_t grace_ms)
{
    struct job job = job_make("t", name, cpus, 0);
    job.priority = priority;
    job.preemptible = priority < PRIORITY_HIGH;
    job.time_limit_ms = limit_ms;
    job.grace_ms = grace_ms;
    return world_submit(world, &job);
}

/* Of 8 CPUs a firm job has 4 for an hour, a low one 4 for half of it; all 8 are promised for the
 * end of the hour. Who takes ten minutes may start in what is free, but has nobody stopped for it:
 * when it would start, and so end, depends on whom it stops. */
static void a_short_time_limit_claims_nothing_that_is_promised(void **state)
{
    struct world *world = *state;
    nodes_of_two(world, 1);
    submit_cpus(world, "firm", 4, PRIORITY_HIGH, HOUR_MS, 0);
    uint64_t low = submit_cpus(world, "low", 4, PRIORITY_LOW, HOUR_MS / 2, 0);
    world_tick(world, 0);
    uint64_t whole = submit_cpus(world, "whole", 8, PRIORITY_NORMAL, HOUR_MS, 0);
    world_tick(world, 0);
    world_tick(world, AFTER_MS);
    assert_int_equal(blocked(world, whole).kind, BLOCK_PROMISE);
    assert_int_equal(blocked(world, whole).until_ms, START_MS + HOUR_MS);
    uint64_t brief = submit_cpus(world, "brief", 4, PRIORITY_NORMAL, 10 * MINUTE_MS, 0);
    world_tick(world, 0);
    assert_int_equal(world_state(world, low), JOB_STARTING);
    assert_int_equal(world_decided(world, DECISION_CLAIM), 0);
    assert_int_equal(blocked(world, whole).until_ms, START_MS + HOUR_MS);
    world_start(world, low);
    world_end(world, low, END_SUCCEEDED);
    world_tick(world, 0);
    assert_int_equal(world_state(world, brief), JOB_STARTING);
    assert_int_equal(blocked(world, whole).until_ms, START_MS + HOUR_MS);
}

/* Of 8 CPUs 4 are held for long, 2 for an hour, and 2 are free: 4 are promised for the end of the
 * hour. After 50 minutes two go before that: one takes the free 2, one stops who holds 4, for the
 * place of 2 of them. That leaves 4 in the end, but not within the hour: the one that was stopped
 * has 30 minutes of grace, and that is the new moment. */
static void the_grace_of_victims_counts(void **state)
{
    struct world *world = *state;
    nodes_of_two(world, 1);
    uint64_t stays = submit_cpus(world, "stays", 4, PRIORITY_NORMAL, 10 * HOUR_MS, 30 * MINUTE_MS);
    submit_cpus(world, "firm", 2, PRIORITY_HIGH, HOUR_MS, 0);
    world_tick(world, 0);
    world_start(world, stays);
    uint64_t four = submit_cpus(world, "four", 4, PRIORITY_NORMAL, HOUR_MS, 0);
    world_tick(world, 0);
    world_tick(world, AFTER_MS);
    assert_int_equal(blocked(world, four).until_ms, START_MS + HOUR_MS);
    world_tick(world, 45 * MINUTE_MS);
    assert_int_equal(blocked(world, four).until_ms, START_MS + HOUR_MS);
    uint64_t takes = submit_cpus(world, "takes", 2, PRIORITY_URGENT, 0, 0);
    submit_cpus(world, "claims", 2, PRIORITY_URGENT, 0, 0);
    world_tick(world, 0);
    assert_int_equal(world_state(world, takes), JOB_STARTING);
    assert_int_equal(world_state(world, stays), JOB_STOPPING);
    assert_int_equal(world_decided(world, DECISION_CLAIM), 1);
    assert_int_equal(blocked(world, four).kind, BLOCK_PROMISE);
    assert_int_equal(blocked(world, four).until_ms, START_MS + 80 * MINUTE_MS);
}

/* Above its team's limit nothing is promised, and what was is given back. */
static void a_team_at_its_limit_reserves_nothing(void **state)
{
    struct world *world = *state;
    nodes_of_two(world, 2);
    world_team_quota(world, "capped", NULL, "accelerators", 0, 4000);
    submit_running(world, "all", 2, 2, HOUR_MS);
    struct job job = job_make("capped", "four", 1, 2);
    job.gang.size = 2;
    uint64_t four = world_submit(world, &job);
    world_team_quota(world, "capped", NULL, "accelerators", 0, 2000);
    job.metadata.name = "two";
    job.gang.size = 1;
    uint64_t two = world_submit(world, &job);
    world_tick(world, 0);
    world_tick(world, AFTER_MS);
    assert_int_equal(blocked(world, four).kind, BLOCK_LIMIT);
    assert_int_equal(blocked(world, two).kind, BLOCK_PROMISE);
    world_team_quota(world, "capped", NULL, "accelerators", 0, 1000);
    world_tick(world, 0);
    assert_int_equal(blocked(world, two).kind, BLOCK_LIMIT);
}

/* A place is promised past maintenance, and a promise does not outlive a node. */
static void maintenance_and_lost_nodes_are_respected(void **state)
{
    struct world *world = *state;
    nodes_of_two(world, 1);
    submit_running(world, "now", 2, 1, HOUR_MS);
    uint64_t next = submit(world, "next", 2, 1, HOUR_MS);
    world_tick(world, 0);
    world_tick(world, AFTER_MS);
    assert_int_equal(blocked(world, next).until_ms, START_MS + HOUR_MS);
    assert_int_equal(core_node_reserve(world->core, "p", "n", START_MS + 2 * HOUR_MS - 1,
                         START_MS + 3 * HOUR_MS, NULL),
        0);
    world_tick(world, 0);
    assert_int_equal(blocked(world, next).until_ms, START_MS + 3 * HOUR_MS);
    assert_true(core_node_report(world->core, "p", "n", false));
    world_tick(world, 0);
    assert_int_equal(blocked(world, next).kind, BLOCK_CLOSED);
}

/* An attempt that ends early brings the moment forward; nothing moves it back. */
static void an_early_end_brings_it_forward(void **state)
{
    struct world *world = *state;
    nodes_of_two(world, 3);
    submit_running(world, "one", 2, 1, HOUR_MS);
    uint64_t two = submit_running(world, "two", 2, 1, 3 * HOUR_MS);
    submit_running(world, "ten", 2, 1, 10 * HOUR_MS);
    uint64_t gang = submit(world, "gang", 2, 2, HOUR_MS);
    world_tick(world, 0);
    world_tick(world, AFTER_MS);
    assert_int_equal(blocked(world, gang).until_ms, START_MS + 3 * HOUR_MS);
    world_end(world, two, END_SUCCEEDED);
    world_tick(world, 0);
    int64_t look_ms = core_next_ms(world->core);
    assert_true(look_ms > world->now_ms && look_ms < START_MS + HOUR_MS);
    world_tick(world, look_ms - world->now_ms);
    assert_int_equal(blocked(world, gang).until_ms, START_MS + HOUR_MS);
    uint64_t late = submit(world, "late", 2, 1, HOUR_MS);
    world_tick(world, 0);
    assert_int_equal(world_state(world, late), JOB_QUEUED);
    assert_int_equal(blocked(world, gang).until_ms, START_MS + HOUR_MS);
}

enum { MANY = 600 };

/* When each node is empty, by the time limits of what is on it. */
struct empty {
    struct world *world;
    uint64_t nodes[MANY];
    int64_t at_ms[MANY];
    size_t count;
};

static void see_placement(void *context, enum row_kind kind, const void *row)
{
    struct empty *empty = context;
    const struct placement_row *placement = row;
    const struct attempt_row *attempt = core_attempt(empty->world->core, placement->attempt);
    int64_t end_ms =
        attempt->admitted_ms + core_job(empty->world->core, attempt->job)->time_limit_ms;
    size_t at = 0;
    assert_int_equal(kind, ROW_PLACEMENT);
    while (at < empty->count && empty->nodes[at] != placement->node)
        at++;
    assert_in_range(at, 0, MANY - 1);
    empty->nodes[at] = placement->node;
    empty->at_ms[at] = end_ms > empty->at_ms[at] ? end_ms : empty->at_ms[at];
    empty->count += at == empty->count;
}

static int by_moment(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* 600 nodes of 8 devices, more placements than are followed one by one. Two whole nodes are there
 * when the second of them is empty. */
static void many_nodes_are_narrowed_to_those_empty_first(void **state)
{
    struct world *world = *state;
    struct empty empty = {.world = world};
    struct node node = node_make("n", 16, 64, 8);
    char name[32];
    node.count = MANY;
    world_pool(world, "p", &node, 1);
    world_team(world, "t");
    for (int i = 0; i < MANY * 8; i++) {
        snprintf(name, sizeof name, "job%d", i);
        submit(world, name, 1, 1, HOUR_MS + i / 8 * MINUTE_MS);
    }
    core_schedule(world->core);
    core_end(world->core);
    core_row_each(world->core, ROW_PLACEMENT, see_placement, &empty);
    assert_int_equal(empty.count, MANY);
    qsort(empty.at_ms, MANY, sizeof empty.at_ms[0], by_moment);
    uint64_t gang = submit(world, "gang", 8, 2, 0);
    core_schedule(world->core);
    core_begin(world->core, START_MS + AFTER_MS);
    core_schedule(world->core);
    core_end(world->core);
    struct core_block block = blocked(world, gang);
    assert_int_equal(block.kind, BLOCK_PROMISE);
    assert_int_equal(block.until_ms, empty.at_ms[1]);
    assert_int_equal(block.other_nodes, 1);
}

/* ---- what users of other schedulers ask for ------------------------------------------------ */

static uint64_t submit_low(struct world *world, const char *name)
{
    struct job job = job_make("t", name, 1, 1);
    job.priority = PRIORITY_LOW;
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, id);
    return id;
}

/* A job of two devices on one node: preemption frees both on one node, and the job starts there;
 * what is left of the victims elsewhere is of no use to it. */
static void preemption_frees_what_the_job_can_use(void **state)
{
    struct world *world = *state;
    char name[32];
    uint64_t low[4];
    nodes_of_two(world, 2);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "low%d", i);
        low[i] = submit_low(world, name);
    }
    uint64_t whole = submit(world, "whole", 2, 1, 0);
    world_tick(world, 0);
    const char *node = NULL;
    for (int i = 0; i < 4; i++) {
        if (world_state(world, low[i]) != JOB_STOPPING)
            continue;
        assert_true(!node || strcmp(node, world_node_of(world, low[i])) == 0);
        node = world_node_of(world, low[i]);
        world_end(world, low[i], END_PREEMPTED);
    }
    assert_non_null(node);
    world_tick(world, 0);
    assert_int_equal(world_state(world, whole), JOB_STARTING);
}

/* The team's quota leaves two devices, and there are two, on two nodes. The job that wants both on
 * one node holds nothing of the quota while it waits, and the small one behind it goes on. */
static void a_quota_is_not_held_by_what_no_node_has_room_for(void **state)
{
    struct world *world = *state;
    nodes_of_two(world, 2);
    world_team_quota(world, "capped", NULL, "accelerators", 0, 2000);
    submit_running(world, "one", 1, 1, 0);
    struct job apart = job_make("t", "two", 8, 1); /* all CPUs but those of the first: node 2 */
    apart.resources.cpu_milli = 7500;
    uint64_t two = world_submit(world, &apart);
    world_tick(world, 0);
    world_start(world, two);
    struct job job = job_make("capped", "whole", 1, 2);
    job.resources.cpu_milli = 100;
    uint64_t whole = world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(blocked(world, whole).kind, BLOCK_ROOM);
    job.metadata.name = "small";
    job.resources.accelerator_milli = 1000;
    uint64_t small = world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(world_state(world, small), JOB_STARTING);
    job.metadata.name = "impossible";
    job.resources.accelerator_milli = 4000;
    struct error err;
    uint64_t id;
    assert_int_equal(core_job_submit(world->core, &job, &id, &err), -1);
    assert_string_equal(err.text,
        "no node of any pool, idle, could hold a rank: it asks 4 accelerators, and the nearest "
        "node, n-1 of pool p, has 2: check spec.resources and spec.placement");
}

/* A gang of 3 that makes do with 2 loses a node. It is never left with fewer than it needs: it
 * stops, starts again with 2, and when the node is back nobody has to repair anything. */
static void a_gang_is_whole_after_a_node_was_repaired(void **state)
{
    struct world *world = *state;
    nodes_of_two(world, 3);
    struct job job = job_make("t", "gang", 1, 2);
    job.gang = (struct gang){.size = 3, .min = 2};
    job.shrink_on_node_loss = true;
    uint64_t gang = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, gang);
    assert_true(core_node_report(world->core, "p", "n-2", false));
    world_tick(world, 0);
    assert_int_equal(world_state(world, gang), JOB_STOPPING);
    world_end(world, gang, END_NODE_LOST);
    world_tick(world, 0);
    assert_int_equal(world_state(world, gang), JOB_STARTING);
    assert_int_equal(world_job(world, gang)->size_now, 2);
    assert_true(core_node_report(world->core, "p", "n-2", true));
    world_tick(world, 0);
    assert_int_equal(world_job(world, gang)->size_now, 2);
    assert_int_equal(world_job(world, gang)->retries_left, 0);
}

/* ---- the bound, over seeds --------------------------------------------------------------- */

struct stream {
    struct world *world;
    struct prng prng;
    int names;
    int64_t latest_ms; /* end of any attempt that ran when the gang got its promise */
};

static void see_limit(
    void *context, const struct attempt_row *attempt, const struct attempt_wish *w)
{
    struct stream *stream = context;
    const struct job_row *job = core_job(stream->world->core, attempt->job);
    int64_t end_ms = attempt->admitted_ms + job->time_limit_ms;
    (void)w;
    stream->latest_ms = end_ms > stream->latest_ms ? end_ms : stream->latest_ms;
}

typedef VEC(struct core_report) report_vec;

/* Starts at once; ends at its limit, or before it now and then. */
static void engine(
    void *context, const struct attempt_row *attempt, const struct attempt_wish *wish)
{
    report_vec *reports = context;
    struct core_report report = {.attempt = attempt->id, .kind = REPORT_STARTED};
    if (wish->stop || (attempt->state == ATTEMPT_STARTED && attempt->id % 64 == 5))
        report = (struct core_report){
            .attempt = attempt->id, .kind = REPORT_ENDED, .reason = END_SUCCEEDED};
    else if (attempt->state == ATTEMPT_STARTED)
        return;
    vec_push(reports, report);
}

static void obey(struct stream *stream)
{
    report_vec reports = {0};
    core_attempt_each(stream->world->core, engine, &reports);
    for (size_t i = 0; i < reports.count; i++)
        core_attempt_report(stream->world->core, &reports.items[i]);
    vec_free(&reports);
}

/* As many small jobs as keep every device busy for ever. */
static void flood(struct stream *stream)
{
    char name[32];
    while (core_job_find(stream->world->core, "t", "none") == 0) {
        struct core_counts counts;
        core_count(stream->world->core, &counts);
        if (counts.jobs_queued >= 6)
            return;
        snprintf(name, sizeof name, "small%d", stream->names++);
        int64_t limit_ms = MINUTE_MS * (1 + (int64_t)prng_below(&stream->prng, 60));
        submit(stream->world, name, 1, 1, limit_ms);
    }
}

/* The moment at which the gang started, or 0 when it had not after a day. */
static int64_t gang_starts_ms(uint64_t seed, bool promises, int64_t *ret_bound_ms)
{
    void *state = NULL;
    struct core_options options = {.reserve_after_ms = promises ? 0 : -1};
    world_setup(&state);
    struct stream stream = {.world = state, .prng = {seed}};
    core_destroy(stream.world->core);
    stream.world->core = core_create(&options);
    core_begin(stream.world->core, START_MS);
    nodes_of_two(stream.world, 3);
    flood(&stream);
    world_tick(stream.world, 0);
    uint64_t gang = submit(stream.world, "gang", 2, 2, HOUR_MS);
    int64_t starts_ms = 0;
    for (int minute = 0; minute < 24 * 60 && !starts_ms; minute++) {
        obey(&stream);
        flood(&stream);
        core_begin(stream.world->core, stream.world->now_ms += MINUTE_MS);
        core_schedule(stream.world->core);
        core_end(stream.world->core);
        if (blocked(stream.world, gang).kind == BLOCK_PROMISE && !stream.latest_ms)
            core_attempt_each(stream.world->core, see_limit, &stream);
        if (core_job(stream.world->core, gang)->attempt)
            starts_ms = stream.world->now_ms;
    }
    *ret_bound_ms = stream.latest_ms;
    world_teardown(&state);
    return starts_ms;
}

/* Small jobs come for ever. Without promises the gang hardly ever starts; with them it does, at the
 * latest when the last of those has ended that ran when it got its promise. The engine is asked
 * once a minute, hence two minutes: one to stop, one to end. */
static void a_gang_starts_within_the_bound(void **state)
{
    (void)state;
    int starved = 0, seeds = 40;
    for (uint64_t seed = 1; seed <= (uint64_t)seeds; seed++) {
        int64_t bound_ms = 0, none_ms = 0;
        int64_t starts_ms = gang_starts_ms(seed, true, &bound_ms);
        assert_int_not_equal(starts_ms, 0);
        assert_true(bound_ms == 0 || starts_ms <= bound_ms + 2 * MINUTE_MS);
        assert_true(bound_ms <= START_MS + AFTER_MS + HOUR_MS + MINUTE_MS);
        starved += gang_starts_ms(seed, false, &none_ms) == 0;
    }
    assert_true(starved > seeds / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(others_start_only_if_they_end_before),
        TEST(what_is_not_kept_may_be_used),
        TEST(without_limits_nodes_are_drained),
        TEST(nothing_is_promised_where_a_service_runs),
        TEST(higher_priority_takes_it_over),
        TEST(a_short_time_limit_claims_nothing_that_is_promised),
        TEST(the_grace_of_victims_counts),
        TEST(a_team_at_its_limit_reserves_nothing),
        TEST(maintenance_and_lost_nodes_are_respected),
        TEST(an_early_end_brings_it_forward),
        TEST(many_nodes_are_narrowed_to_those_empty_first),
        TEST(preemption_frees_what_the_job_can_use),
        TEST(a_quota_is_not_held_by_what_no_node_has_room_for),
        TEST(a_gang_is_whole_after_a_node_was_repaired),
        cmocka_unit_test(a_gang_starts_within_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
