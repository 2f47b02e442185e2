/* Why a job waits. The same questions as a scheduling pass asks, in an order that puts first what
 * no amount of waiting changes; the answer is for people and decides nothing. Of a job that was put
 * off the search for victims is made again, which puts back all that it changes.
 *
 * A job that no pool could hold any more goes on waiting, for pools are changed by people who may
 * not be done: it says BLOCK_IMPOSSIBLE, and its deadline or its owner ends it. */
#include "core/allot.h"
#include "core/backfill.h"
#include "core/core.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/preempt.h"
#include "core/resource.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/spot.h"
#include "core/state.h"
#include "core/table.h"
#include "core/team.h"
#include "core/topology.h"

static void blocked_waiting(const struct live_job *job, struct core_block *ret)
{
    ret->until_ms = job->row.not_before_ms;
    ret->kind = BLOCK_MOMENT;
    if (!job->links->depends)
        return;
    ret->kind = BLOCK_DEPENDENCY;
    ret->job = job->links->depends->on->row.id;
    ret->other_jobs = -1;
    for (const struct live_dependency *one = job->links->depends; one; one = one->next_of_job) {
        ret->job = one->on->row.id < ret->job ? one->on->row.id : ret->job;
        ret->other_jobs++;
    }
}

static void set_quota(const struct core *core, const struct live_team *team, int resource,
    const struct amounts *ask, struct core_block *ret)
{
    ret->team = team->row.id;
    ret->resource = resource_name(core, resource);
    ret->held = team->held[resource];
    ret->need = ask->of[resource];
    ret->limit = team->limit[resource];
}

/* Limits and guarantees, for the smallest gang that the job takes. */
static bool blocked_by_quota(
    const struct core *core, const struct live_job *job, struct core_block *ret)
{
    struct amounts ask;
    int resource;
    amounts_of_shape(job->shape, job->row.size_min, job->shape->resource, &ask);
    const struct live_team *over = quota_limit_over(job->team, &ask, &resource);
    ret->kind = BLOCK_LIMIT;
    if (!over && job_firm(job)) {
        amounts_possible(job->shape, job->row.size_min, &ask);
        over = quota_firm_over(core, job->team, &ask, &resource);
        ret->kind = BLOCK_GUARANTEE;
    }
    if (over)
        set_quota(core, over, resource, &ask, ret);
    return over != NULL;
}

static int64_t ranks_of_node(
    const struct core *core, const struct live_job *job, const struct live_node *node, bool kept)
{
    struct live_node open = *node;
    if (kept)
        return fit_ranks(core, job, node, job->row.size_min);
    open.promises = NULL;
    return fit_ranks(core, job, &open, job->row.size_min);
}

/* How many ranks fit into the pool now, within one domain where the job requires that; kept: with
 * what is promised to others kept. */
static int64_t ranks_of_pool(
    const struct core *core, const struct live_job *job, const struct live_pool *pool, bool kept)
{
    VEC(struct live_node *) nodes = {0};
    const struct live_shape *shape = job->shape;
    for (size_t i = 0; i < pool->nodes.count; i++) {
        if (node_takes_work(pool->nodes.items[i]) && fit_matches(core, shape, pool->nodes.items[i]))
            vec_push(&nodes, pool->nodes.items[i]);
    }
    if (shape->row.topology == WISH_REQUIRED)
        topology_sort(core, shape, nodes.items, nodes.count);
    int64_t best = 0;
    for (size_t begin = 0, end; begin < nodes.count; begin = end) {
        int64_t ranks = 0;
        end = plan_pool_end(core, shape, nodes.items, begin, nodes.count);
        for (size_t i = begin; i < end && ranks < job->row.size_min; i++)
            ranks += ranks_of_node(core, job, nodes.items[i], kept);
        best = most(best, ranks);
    }
    vec_free(&nodes);
    return least(best, job->row.size_min);
}

int64_t pool_room_now(
    const struct core *core, const struct live_job *job, const struct live_pool *pool)
{
    return ranks_of_pool(core, job, pool, true);
}

/* How many ranks fit now, in the pool that has most room for them. */
static int64_t ranks_now(const struct core *core, const struct live_job *job)
{
    int64_t best = 0;
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool)
        best = most(best, ranks_of_pool(core, job, pool, true));
    return best;
}

static void blocked_by_topology(
    const struct core *core, const struct live_job *job, struct core_block *ret)
{
    struct topology_shortage shortage;
    if (job->shape->row.topology != WISH_REQUIRED)
        return;
    topology_shortage(core, job->shape, job->row.size_min, &shortage);
    ret->level = shortage.level;
    ret->domain = shortage.domain;
    ret->resource = shortage.what;
    ret->need = shortage.need;
    ret->held = shortage.largest;
}

/* A place is kept for it. */
static void blocked_promise(const struct live_job *job, struct core_block *ret)
{
    const struct live_promise *first = job->links->promises;
    uint64_t last = first->row.node;
    ret->kind = BLOCK_PROMISE;
    ret->node = first->row.node;
    ret->until_ms = first->row.begin_ms;
    ret->until_open = first->row.open;
    for (const struct live_promise *one = first; one; one = one->next) {
        ret->other_nodes += one->row.node != last;
        last = one->row.node;
    }
}

/* Whether it would fit if nothing were kept for one of the jobs that have promises. */
static void blocked_by_promise(
    const struct core *core, const struct live_job *job, struct core_block *ret)
{
    for (size_t i = 0; i < core->promised.count; i++) {
        const struct live_job *holder = core->promised.items[i];
        const struct live_pool *pool = holder->links->promises->node->pool;
        if (ranks_of_pool(core, job, pool, false) < job->row.size_min)
            continue;
        ret->kind = BLOCK_KEPT;
        ret->job = holder->row.id;
        ret->node = holder->links->promises->row.node;
        ret->until_ms = holder->links->promises->row.begin_ms;
        ret->until_open = holder->links->promises->row.open;
        return;
    }
}

/* Its policy would have it on spot capacity, and that has no room. */
static bool blocked_by_spot(
    const struct core *core, const struct live_job *job, struct core_block *ret)
{
    if (!spot_governs(core, job) || job_spot(job) != SPOT_ON_SPOT)
        return false;
    struct spot_probe elsewhere;
    ret->kind = BLOCK_SPOT;
    ret->policy = core->options.spot;
    ret->elsewhere = ranks_now(core, spot_probe(&elsewhere, job, SPOT_ON_DEMAND));
    ret->until_ms = job->links->spot->row.again_ms;
    return true;
}

static void blocked_by_round(
    const struct core *core, const struct live_job *job, struct core_block *ret)
{
    int64_t next_ms = allot_next_ms(core);
    ret->kind = BLOCK_ROUND;
    ret->policy = core->allotment->name;
    ret->target = job->links->allotment ? job->links->allotment->row.target : 0;
    ret->until_ms = next_ms > core->now_ms && next_ms != MOMENT_NEVER ? next_ms : 0;
}

/* It was put off for the sake of a checkpoint, and would be now. */
static bool blocked_by_checkpoint(struct core *core, struct live_job *job, struct core_block *ret)
{
    struct awaited awaited;
    preempt_awaited(core, job, &awaited);
    if (!awaited.job)
        return false;
    ret->kind = BLOCK_CHECKPOINT;
    ret->job = awaited.job->row.id;
    ret->due_ms = awaited.due_ms;
    ret->until_ms = awaited.until_ms;
    ret->other_jobs = awaited.others;
    return true;
}

/* Quotas and others let it, if there is room. */
static void blocked_by_room(struct core *core, struct live_job *job, struct core_block *ret)
{
    ret->held = ranks_now(core, job);
    ret->need = job->row.size_min;
    ret->kind = ret->held < ret->need ? BLOCK_ROOM : BLOCK_TURN;
    if (allot_governs(core, job))
        blocked_by_round(core, job, ret);
    else if (ret->held < ret->need && blocked_by_checkpoint(core, job, ret))
        return;
    else if (job->links->promises)
        blocked_promise(job, ret);
    else if (ret->held < ret->need && !blocked_by_spot(core, job, ret))
        blocked_by_promise(core, job, ret);
}

static void blocked_queued(struct core *core, struct live_job *job, struct core_block *ret)
{
    if (job->links->claims) {
        ret->kind = BLOCK_CLAIM;
        ret->node = job->links->claims->row.node;
    } else if (!fit_possible(core, job->shape, job->row.size_min, false)) {
        ret->kind = BLOCK_IMPOSSIBLE;
        blocked_by_topology(core, job, ret);
    } else if (!fit_possible(core, job->shape, job->row.size_min, true)) {
        ret->kind = BLOCK_CLOSED;
    } else if (array_full(job)) {
        ret->kind = BLOCK_ARRAY;
        ret->held = job->array->active;
        ret->limit = job->array->parallel;
    } else if (!blocked_by_quota(core, job, ret)) {
        blocked_by_room(core, job, ret);
    }
}

void core_job_blocked(struct core *core, uint64_t id, struct core_block *ret)
{
    struct live_job *job = (struct live_job *)table_find(core, ROW_JOB, id);
    *ret = (struct core_block){.kind = BLOCK_NONE};
    if (!job)
        return;
    switch (job->row.state) {
    case JOB_HELD: ret->kind = BLOCK_HELD; break;
    case JOB_WAITING: blocked_waiting(job, ret); break;
    case JOB_QUEUED: blocked_queued(core, job, ret); break;
    default: assert(job->attempt); break;
    }
}
