/* What the broker thinks of every pool for one job: for people, it decides nothing. It asks the
 * same questions as a scheduling pass, of all pools instead of until one is found. */
#include "core/attempt.h"
#include "core/broker.h"
#include "core/burst.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/shape.h"
#include "core/state.h"
#include "core/table.h"

#include <assert.h>

const char *const pool_verdict_names[] = {
    "here", "next", "ahead", "behind", "no-room", "unfit", "burst", NULL};
static_assert(ARRAY_LEN(pool_verdict_names) == POOL_BURST + 2, "a name for each verdict");

/* What no amount of waiting gives the pool; NULL: nothing. */
static const char *lacks(
    const struct core *core, const struct live_job *job, const struct live_pool *pool)
{
    const struct shape_row *shape = &job->shape->row;
    int64_t ranks = 0;
    if (shape->pool && shape->pool != pool->row.name)
        return "pool";
    if (shape->jurisdiction && shape->jurisdiction != pool->row.jurisdiction)
        return "jurisdiction";
    if ((shape->spot == SPOT_NEVER && pool->row.spot) ||
        (shape->spot == SPOT_ONLY && !pool->row.spot))
        return "spot";
    for (size_t i = 0; i < pool->nodes.count && ranks < job->row.size_min; i++) {
        const struct live_node *node = pool->nodes.items[i];
        if (node_takes_work(node) && fit_suits(core, job->shape, node))
            ranks += fit_idle_ranks(shape, node, job->row.size_min);
    }
    if (ranks == 0)
        return "nodes";
    return ranks < job->row.size_min ? "size" : NULL;
}

/* What keeps a job out for now that moves between spot pools and others: where it is to run, by its
 * deadline and the work that is left; NULL: nothing does. */
static const char *kept_out(const struct live_job *job, const struct live_pool *pool)
{
    int32_t place = job_spot(job);
    if (place == SPOT_NOWHERE || (place == SPOT_ON_SPOT) == (pool->row.spot != 0))
        return NULL;
    return place == SPOT_ON_SPOT ? "on-spot" : "on-demand";
}

static const struct live_pool *pool_of(const struct live_job *job)
{
    return job->attempt ? job->attempt->placements->node->pool : NULL;
}

/* The pool that the job would go to now, of those with room. */
static const struct live_pool *pool_next(struct core *core, const struct live_job *job)
{
    const struct live_pool *next = NULL;
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool) {
        bool room = !pool->row.burst_budget_micro && !lacks(core, job, pool) &&
                    pool_room_now(core, job, pool) >= job->row.size_min;
        if (room && (!next || broker_before(core, job, pool, next)))
            next = pool;
    }
    return next;
}

static void view_cost(const struct core *core, const struct live_job *job,
    const struct live_pool *pool, struct core_pool_view *view)
{
    int64_t hour_micro;
    if (!broker_hour_micro(core, job->shape, pool, &hour_micro))
        return;
    struct pool_cost cost = broker_cost(core, job, pool, hour_micro);
    view->hour_micro = cost.hour_micro;
    view->egress_micro = cost.egress_micro;
    view->transfer_ms = cost.transfer_ms;
    view->cost_micro = cost.cost_micro;
    view->late = cost.late;
}

static enum pool_verdict with_room(struct core *core, const struct live_job *job,
    const struct live_pool *pool, const struct live_pool *next)
{
    const struct live_pool *here = pool_of(job);
    if (here && !here->row.burst_budget_micro)
        return broker_before(core, job, pool, here) ? POOL_AHEAD : POOL_BEHIND;
    if (here)
        return POOL_AHEAD;
    return pool == next ? POOL_NEXT : POOL_BEHIND;
}

/* What its policy says. A job that runs somewhere has waited, and waits no more. */
static void view_burst(
    struct core *core, struct live_job *job, struct live_pool *pool, struct core_pool_view *view)
{
    view->verdict = POOL_BURST;
    if (job->row.service && !burst_leases(job))
        view->burst = BURST_UNBOUNDED;
    else if (!job->attempt)
        burst_judge(core, job, pool, view);
    else
        view->burst = view->lacks ? BURST_UNFIT : BURST_SOON;
}

static void view_fill(struct core *core, struct live_job *job, struct live_pool *pool,
    const struct live_pool *next, struct core_pool_view *view)
{
    *view = (struct core_pool_view){.pool = pool->row.id, .need = job->row.size_min};
    view->lacks = lacks(core, job, pool);
    view_cost(core, job, pool, view);
    if (pool->row.burst_budget_micro)
        view->left_micro = burst_left_micro(core, pool);
    if (pool == pool_of(job)) {
        view->verdict = POOL_HERE;
        view->held = view->need;
        view->lacks = NULL;
        if (job->links->broker && job->links->broker->row.pool == pool->row.id) {
            view->burst = (enum burst_verdict)job->links->broker->row.verdict;
            view->wait_ms = job->links->broker->row.wait_ms;
            view->forecast_ms = job->links->broker->row.forecast_ms;
            view->start_ms = job->links->broker->row.start_ms;
        }
    } else if (pool->row.burst_budget_micro) {
        view_burst(core, job, pool, view);
    } else if (view->lacks || (view->lacks = kept_out(job, pool))) {
        view->verdict = POOL_UNFIT;
    } else {
        view->held = pool_room_now(core, job, pool);
        view->verdict = view->held < view->need ? POOL_NO_ROOM : with_room(core, job, pool, next);
    }
}

void core_job_pools(struct core *core, uint64_t id, core_pool_fn *visit, void *context)
{
    struct live_job *job = (struct live_job *)table_find(core, ROW_JOB, id);
    if (!job)
        return;
    const struct live_pool *next = job->attempt ? NULL : pool_next(core, job);
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool) {
        struct core_pool_view view;
        view_fill(core, job, pool, next, &view);
        visit(context, &view);
    }
}
