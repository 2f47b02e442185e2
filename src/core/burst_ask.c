/* Asking one pool with a burst policy about a job: how long the others make it wait, whether the
 * pool could hold it, has room, and what that costs at most. Looks at nodes and decides nothing:
 * the answer is burst.c's to act on. */
#include "core/attempt.h"
#include "core/backfill.h"
#include "core/broker.h"
#include "core/burst.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/pool.h"
#include "core/queue.h"
#include "core/resource.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/team.h"
#include "core/topology.h"

enum {
    AHEAD_JOBS_MAX = 100000, /* that are counted */
};
#define HOUR_MS ((int64_t)3600 * 1000) /* also what jobs are taken to run for that do not say */

/* ---- what is foreseen elsewhere ------------------------------------------------------------- */

/* Whether both compete for the same resource. */
static bool same_resource(const struct shape_row *a, const struct shape_row *b)
{
    if (!a->accelerator_milli || !b->accelerator_milli)
        return !a->accelerator_milli == !b->accelerator_milli;
    return !a->accelerator || !b->accelerator || a->accelerator == b->accelerator;
}

static int64_t rank_amount(const struct shape_row *shape)
{
    return shape->accelerator_milli ? shape->accelerator_milli : shape->cpu_milli;
}

/* Thousandths of a device, or of a CPU, times milliseconds that the lane needs before the job. */
static __int128 lane_work(const struct lane *lane, const struct live_job *job, int64_t *counted)
{
    int64_t jobs = 0, run_ms = lane->key.time_limit_ms ? lane->key.time_limit_ms : HOUR_MS;
    if (lane->key.priority < job->row.priority ||
        !same_resource(&lane->key.shape->row, &job->shape->row))
        return 0;
    for (const struct live_job *one = lane->first; one && *counted < AHEAD_JOBS_MAX;
         one = one->lane_next) {
        bool before = one->row.queued_ms < job->row.queued_ms ||
                      (one->row.queued_ms == job->row.queued_ms && one->row.id < job->row.id);
        if (lane->key.priority == job->row.priority && !before)
            break;
        jobs++;
        ++*counted;
    }
    return (__int128)jobs * lane->key.size_min * rank_amount(&lane->key.shape->row) * run_ms;
}

static int64_t ahead_ms(const struct core *core, const struct live_job *job)
{
    __int128 work = 0, capacity = 0;
    int64_t counted = 0;
    const struct live_shape *shape = job->shape;
    for (size_t t = 0; t < core->waiting.count; t++) {
        const struct live_team *team = core->waiting.items[t];
        for (size_t i = 0; i < team->lanes.count; i++)
            work += lane_work(team->lanes.items[i], job, &counted);
    }
    for (size_t i = 0; i < shape->candidates.count; i++) {
        const struct node_row *node = &shape->candidates.items[i]->row;
        capacity +=
            shape->row.accelerator_milli ? (int64_t)node->devices * DEVICE_MILLI : node->cpu_milli;
    }
    work = capacity ? work / capacity : 0;
    return work > TIME_MS_MAX ? TIME_MS_MAX : (int64_t)work;
}

/* The earliest moment at which those that run leave room; MOMENT_NEVER: none is known. */
static int64_t begin_ms(struct core *core, const struct live_job *job)
{
    int64_t begin_ms = MOMENT_NEVER;
    struct live_node *const *nodes = job->shape->candidates.items;
    size_t count = job->shape->candidates.count;
    for (size_t begin = 0, end; begin < count; begin = end) {
        struct projection projection;
        end = plan_pool_end(core, job->shape, nodes, begin, count);
        if (!project(core, job, nodes + begin, end - begin, &projection))
            continue;
        if (!projection.open)
            begin_ms = least(begin_ms, projection.begin_ms);
        plan_finish(&projection.plan);
    }
    return begin_ms;
}

/* The core's own bound: by time limits, and by how much waits before it. */
static int64_t bound_ms(struct core *core, const struct live_job *job)
{
    int64_t room_ms = begin_ms(core, job);
    int64_t left_ms = room_ms == MOMENT_NEVER ? 0 : most(room_ms - core->now_ms, 0);
    return least(left_ms + ahead_ms(core, job), TIME_MS_MAX);
}

struct elsewhere burst_elsewhere(struct core *core, const struct live_job *job)
{
    struct elsewhere ret = {.lack = !fit_possible_here(core, job->shape, job->row.size_min),
        .waited_ms = most(core->now_ms - burst_since_ms(job), 0)};
    const struct live_broker *broker = job->links->broker;
    shape_candidates(core, job->shape);
    if (ret.lack) {
        ret.left_ms = ret.wait_ms = TIME_MS_MAX;
        return ret;
    }
    if (forecast_fresh(core, broker)) {
        ret.forecast_ms = broker->row.forecast_ms;
        ret.start_ms = broker->row.start_ms;
        ret.left_ms = most(ret.start_ms - core->now_ms, 0);
    } else {
        ret.left_ms = bound_ms(core, job);
        ret.sure_ms = core->forward ? 0 : forecast_awaited_ms(core, job);
    }
    bool counts = ret.forecast_ms || !core->forward;
    ret.wait_ms = least((counts ? ret.left_ms : 0) + ret.waited_ms, TIME_MS_MAX);
    return ret;
}

/* ---- one pool -------------------------------------------------------------------------------- */

typedef VEC(struct live_node *) node_vec;

static void nodes_collect(const struct core *core, const struct live_shape *shape,
    const struct live_pool *pool, node_vec *nodes)
{
    for (size_t i = 0; i < pool->nodes.count; i++) {
        if (node_takes_work(pool->nodes.items[i]) && fit_suits(core, shape, pool->nodes.items[i]))
            vec_push(nodes, pool->nodes.items[i]);
    }
    if (shape->row.topology == WISH_REQUIRED)
        topology_sort(core, shape, nodes->items, nodes->count);
}

static bool could_hold(const struct live_shape *shape, const node_vec *nodes, int32_t size)
{
    int64_t ranks = 0;
    for (size_t i = 0; i < nodes->count && ranks < size; i++)
        ranks += fit_idle_ranks(&shape->row, nodes->items[i], size);
    return ranks >= size;
}

/* Whether the pool could hold the job if it were not for its jurisdiction. */
static bool only_jurisdiction(
    const struct core *core, const struct live_job *job, const struct live_pool *pool)
{
    struct live_shape shape = *job->shape;
    node_vec nodes = {0};
    if (!shape.row.jurisdiction || shape.row.jurisdiction == pool->row.jurisdiction)
        return false;
    shape.row.jurisdiction = 0;
    nodes_collect(core, &shape, pool, &nodes);
    bool could = could_hold(&shape, &nodes, job->row.size_min);
    vec_free(&nodes);
    return could;
}

static bool plan_among(
    struct core *core, const struct live_job *job, const node_vec *nodes, struct plan *plan)
{
    int32_t size = job->row.size_min;
    for (size_t begin = 0, end; begin < nodes->count; begin = end) {
        end = plan_pool_end(core, job->shape, nodes->items, begin, nodes->count);
        if (plan_make_pool(core, job, nodes->items + begin, end - begin, size, size, plan))
            return true;
        plan_finish(plan);
    }
    return false;
}

/* The most that the job may cost in its place. */
static int64_t cost_most(
    const struct core *core, const struct live_job *job, const struct burst_answer *answer)
{
    __int128 hour_micro = 0;
    for (size_t i = 0; i < answer->plan.parts.count; i++) {
        const struct plan_part *part = &answer->plan.parts.items[i];
        hour_micro += shape_hour_micro(job->shape, part->node, part->ranks);
    }
    int64_t held_ms = most(job_leaves_ms(core, job) - core->now_ms, 0);
    if (burst_leases(job))
        held_ms = burst_lease_held_ms(job);
    __int128 cost = (hour_micro * held_ms + HOUR_MS - 1) / HOUR_MS + answer->egress_micro;
    return cost > BROKER_COST_MAX ? BROKER_COST_MAX : (int64_t)cost;
}

static enum burst_verdict why_it_comes(const struct core *core, const struct live_job *job,
    const struct elsewhere *elsewhere, const struct live_pool *pool, const struct pool_cost *cost)
{
    int64_t run_ms = broker_run_ms(job), deadline_ms = job->row.deadline_ms;
    if (elsewhere->lack)
        return BURST_FOR_LACK;
    int64_t wait_ms = elsewhere->sure_ms ? elsewhere->waited_ms : elsewhere->wait_ms;
    if (wait_ms > pool->row.burst_after_ms)
        return BURST_FOR_WAIT;
    if (elsewhere->sure_ms)
        return BURST_SOON;
    if (deadline_ms && run_ms && !cost->late &&
        core->now_ms + elsewhere->left_ms + run_ms > deadline_ms)
        return BURST_FOR_DEADLINE;
    return BURST_SOON;
}

static enum burst_verdict find_place(struct core *core, const struct live_job *job,
    const node_vec *nodes, struct burst_answer *answer)
{
    struct amounts amounts;
    if (!plan_among(core, job, nodes, &answer->plan))
        return BURST_NO_ROOM;
    plan_amounts(&answer->plan, job, &amounts);
    if (!quota_allows(job->team, &amounts))
        return BURST_NO_ROOM;
    answer->reserve_micro = cost_most(core, job, answer);
    if (answer->reserve_micro > burst_left_micro(core, answer->pool))
        return BURST_OVER_BUDGET;
    return BURST_NONE;
}

void burst_ask(struct core *core, const struct live_job *job, const struct elsewhere *elsewhere,
    struct live_pool *pool, struct burst_answer *ret)
{
    node_vec nodes = {0};
    int64_t hour_micro = 0;
    *ret = (struct burst_answer){.pool = pool};
    nodes_collect(core, job->shape, pool, &nodes);
    bool suits = could_hold(job->shape, &nodes, job->row.size_min);
    bool barred = !suits && only_jurisdiction(core, job, pool);
    (void)broker_hour_micro(core, job->shape, pool, &hour_micro);
    struct pool_cost cost = broker_cost(core, job, pool, hour_micro);
    enum burst_verdict why = why_it_comes(core, job, elsewhere, pool, &cost);
    ret->egress_micro = cost.egress_micro;
    if (!suits && !barred)
        ret->verdict = BURST_UNFIT;
    else if (why == BURST_SOON)
        ret->verdict = BURST_SOON;
    else if (barred)
        ret->verdict = BURST_JURISDICTION;
    else if (job_leaves_ms(core, job) == MOMENT_NEVER && !burst_leases(job))
        ret->verdict = BURST_UNBOUNDED;
    else
        ret->verdict = find_place(core, job, &nodes, ret);
    if (ret->verdict == BURST_NONE)
        ret->verdict = why;
    vec_free(&nodes);
}
