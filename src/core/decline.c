/* Places that a job turns down: how a forward run finds out when each pool would have had room for
 * it, with one queue and one broker that acts for everybody else.
 *
 * The job gives the place back in the tick in which it got it, and waits on with its place in the
 * queue. That it may not go there again is a matter of its shape, which is its own from then on;
 * since it is in no row, a state in which a job has declined can not be stored. */
#include "core/attempt.h"
#include "core/broker.h"
#include "core/job.h"
#include "core/packing_mix.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/queue.h"
#include "core/shape.h"
#include "core/state.h"
#include "core/table.h"

#include <assert.h>

void core_run_forward(struct core *core)
{
    core->forward = true;
}

static void bar(struct core *core, struct live_job *job, const struct live_pool *pool)
{
    struct live_shape *shape = shape_without(core, job->shape, pool);
    mix_count(core, job->shape, -job->row.size);
    shape_unref(core, job->shape);
    job->shape = shape;
    job->row.shape = shape->row.id;
    mix_count(core, shape, job->row.size);
}

static void bar_all(struct core *core, struct live_job *job, const struct live_pool *declined)
{
    bar(core, job, declined);
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool) {
        if (!declined->row.burst_budget_micro && pool->row.burst_budget_micro)
            bar(core, job, pool);
    }
}

static bool somewhere_left(const struct core *core, const struct live_job *job)
{
    return fit_possible(core, job->shape, job->row.size_min, true);
}

bool core_job_decline(struct core *core, uint64_t id)
{
    struct live_attempt *attempt = (struct live_attempt *)table_find(core, ROW_ATTEMPT, id);
    assert(attempt && attempt->row.state == ATTEMPT_ADMITTED);
    struct live_job *job = attempt->job;
    const struct live_pool *pool = attempt->placements->node->pool;
    int64_t since_ms = job->links->broker ? job->links->broker->row.since_ms : 0;
    attempt_end(core, attempt, END_MOVED, 0);
    if (job->links->broker)
        job->links->broker->row.since_ms = since_ms;
    bool queued = job->lane != NULL;
    if (queued)
        queue_remove(core, job);
    bar_all(core, job, pool);
    if (queued)
        queue_add(core, job);
    change_put(core, &job->item);
    return somewhere_left(core, job);
}
