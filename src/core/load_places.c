/* Loading places: attempts and what they hold, what is kept for claims, what is promised. */
#include "core/attempt.h"
#include "core/backfill.h"
#include "core/job.h"
#include "core/load.h"
#include "core/pool.h"
#include "core/preempt.h"
#include "core/shape.h"

int load_attempt(const struct loader *in)
{
    const struct attempt_row *row = in->row;
    struct live_job *job = FIND(in, ROW_JOB, struct live_job, row->job);
    if (!job || job->row.attempt != row->id || row->size < 1 || row->size > GANG_SIZE_MAX ||
        row->state < ATTEMPT_ADMITTED || row->state >= ATTEMPT_ENDED)
        return load_corrupt(in, ROW_ATTEMPT, "not its job's live attempt");
    if (row->site_end_ms < 0 || row->site_end_ms > TIME_MS_MAX)
        return load_corrupt(in, ROW_ATTEMPT, "its site ends it at no such moment");
    struct live_attempt *attempt = LOAD(in, ROW_ATTEMPT, struct live_attempt);
    attempt->job = job;
    job->attempt = attempt;
    attempt_yields(in->core, attempt, 1);
    in->core->attempts_stopping += attempt->row.stop_reason != END_NONE;
    array_count(job, 1);
    return 0;
}

/* Devices and ranks within what the node has; sums are checked at the end. */
static bool held_sane(const struct live_node *node, uint64_t devices, int64_t milli, int32_t ranks)
{
    uint64_t there = node->row.devices >= 64 ? UINT64_MAX : ((uint64_t)1 << node->row.devices) - 1;
    return (devices & ~there) == 0 && milli >= 0 && milli <= DEVICE_MILLI && ranks >= 1 &&
           ranks <= GANG_SIZE_MAX;
}

int load_placement(const struct loader *in)
{
    const struct placement_row *row = in->row;
    struct live_attempt *attempt = FIND(in, ROW_ATTEMPT, struct live_attempt, row->attempt);
    struct live_node *node = FIND(in, ROW_NODE, struct live_node, row->node);
    if (!attempt || !node)
        return load_corrupt(in, ROW_PLACEMENT, "no attempt or node");
    if (!held_sane(node, row->devices, row->device_milli, row->ranks))
        return load_corrupt(in, ROW_PLACEMENT, "devices or ranks out of range");
    struct live_placement *placement = LOAD(in, ROW_PLACEMENT, struct live_placement);
    placement->attempt = attempt;
    placement->node = node;
    placement_link(in->core, placement);
    return 0;
}

int load_span(const struct loader *in)
{
    const struct span_row *row = in->row;
    struct live_placement *placement =
        FIND(in, ROW_PLACEMENT, struct live_placement, row->placement);
    if (!placement || row->end_ms < row->begin_ms || row->hour_micro < 0)
        return load_corrupt(in, ROW_SPAN, "no placement, or numbers out of range");
    struct live_span *span = LOAD(in, ROW_SPAN, struct live_span);
    LIST_APPEND(placement->spans, span, next);
    return 0;
}

int load_claim(const struct loader *in)
{
    const struct claim_row *row = in->row;
    struct live_job *job = FIND(in, ROW_JOB, struct live_job, row->job);
    struct live_node *node = FIND(in, ROW_NODE, struct live_node, row->node);
    if (!job || !node || job->attempt)
        return load_corrupt(in, ROW_CLAIM, "no waiting job or no node");
    if (!held_sane(node, row->devices, row->device_milli, row->ranks))
        return load_corrupt(in, ROW_CLAIM, "devices or ranks out of range");
    struct live_claim *claim = LOAD(in, ROW_CLAIM, struct live_claim);
    claim->job = job;
    claim->node = node;
    if (!job->links->claims) {
        vec_push(&in->core->claimants, job);
        array_count(job, 1);
    }
    LIST_APPEND(job_link(in->core, job)->claims, claim, next);
    vec_push(&node->claims, claim);
    node_claim(node, &job->shape->row, row->devices, row->device_milli, row->ranks, 1);
    return 0;
}

int load_promise(const struct loader *in)
{
    const struct promise_row *row = in->row;
    struct live_job *job = FIND(in, ROW_JOB, struct live_job, row->job);
    struct live_node *node = FIND(in, ROW_NODE, struct live_node, row->node);
    if (!job || !node || job->attempt || job->links->claims || job->row.state != JOB_QUEUED)
        return load_corrupt(in, ROW_PROMISE, "no job that competes or no node");
    if (!held_sane(node, row->devices, row->device_milli, row->ranks) || row->begin_ms < 0)
        return load_corrupt(in, ROW_PROMISE, "devices, ranks or moment out of range");
    struct live_promise *promise = LOAD(in, ROW_PROMISE, struct live_promise);
    promise->job = job;
    promise->node = node;
    return promise_link(in->core, promise)
               ? 0
               : load_corrupt(in, ROW_PROMISE, "its node or pool is promised to another");
}
