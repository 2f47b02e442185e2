/* Attempts: a job's gang on its nodes, from admission to its end.
 *
 * Invariants: an attempt holds all ranks of its size from admission until its end, whatever it was
 * told; a job has at most one attempt that has not ended; what an attempt is stopped for first
 * stays the reason, but for a cancellation, which is final. */
#include "core/attempt.h"
#include "core/allot.h"
#include "core/backfill.h"
#include "core/broker.h"
#include "core/copies.h"
#include "core/core.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/resource.h"
#include "core/service.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/spot.h"
#include "core/state.h"
#include "core/table.h"
#include "core/team.h"

#include <assert.h>

void placement_amounts(const struct live_placement *placement, struct amounts *ret)
{
    amounts_of_shape(
        placement->attempt->job->shape, placement->row.ranks, placement->node->resource, ret);
}

void attempt_amounts(const struct live_attempt *attempt, struct amounts *ret)
{
    if (attempt->placements && !attempt->placements->next) {
        placement_amounts(attempt->placements, ret);
        return;
    }
    *ret = (struct amounts){0};
    for (const struct live_placement *one = attempt->placements; one; one = one->next) {
        struct amounts part;
        placement_amounts(one, &part);
        for (int i = 0; i < RESOURCE_MAX; i++)
            ret->of[i] += part.of[i];
    }
}

void placement_link(struct core *core, struct live_placement *placement)
{
    (void)core;
    LIST_APPEND(placement->attempt->placements, placement, next);
    vec_push(&placement->node->placements, placement);
    node_hold(placement->node, &placement->attempt->job->shape->row, placement->row.devices,
        placement->row.device_milli, placement->row.ranks, 1);
}

static void placements_make(
    struct core *core, struct live_attempt *attempt, const struct plan *plan)
{
    int32_t rank = 0;
    for (size_t i = 0; i < plan->parts.count; i++) {
        const struct plan_part *part = &plan->parts.items[i];
        struct live_placement *placement = item_alloc(core, ROW_PLACEMENT, sizeof *placement);
        placement->row = (struct placement_row){
            .attempt = attempt->row.id,
            .node = part->node->row.id,
            .devices = part->devices,
            .device_milli = part->device_milli,
            .first_rank = rank,
            .ranks = part->ranks,
            .since_ms = core->now_ms,
        };
        placement->attempt = attempt;
        placement->node = part->node;
        change_new(core, ROW_PLACEMENT, &placement->item);
        placement_link(core, placement);
        rank += part->ranks;
    }
    assert(rank == plan->size);
}

/* Where the priority is, or would be. */
static size_t yielding_at(const struct core *core, int32_t priority)
{
    size_t low = 0, high = core->yielding.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (core->yielding.items[middle].priority < priority)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void attempt_yields(struct core *core, const struct live_attempt *attempt, int sign)
{
    int32_t priority = attempt->job->row.priority;
    if (job_firm(attempt->job))
        return;
    size_t at = yielding_at(core, priority);
    bool found = at < core->yielding.count && core->yielding.items[at].priority == priority;
    assert(found || sign > 0);
    if (!found)
        vec_insert(&core->yielding, at, ((struct priority_count){.priority = priority}));
    core->yielding.items[at].attempts += sign;
    assert(core->yielding.items[at].attempts >= 0);
    if (core->yielding.items[at].attempts == 0)
        vec_remove(&core->yielding, at);
}

void attempt_admit(struct core *core, struct live_job *job, const struct plan *plan)
{
    assert(!job->attempt && !job->links->claims && job->row.state == JOB_QUEUED);
    struct live_attempt *attempt = item_alloc(core, ROW_ATTEMPT, sizeof *attempt);
    attempt->job = job;
    attempt->row = (struct attempt_row){
        .job = job->row.id,
        .number = ++job->row.attempts,
        .state = ATTEMPT_ADMITTED,
        .size = plan->size,
        .admitted_ms = core->now_ms,
    };
    change_new(core, ROW_ATTEMPT, &attempt->item);
    placements_make(core, attempt, plan);
    job->attempt = attempt;
    job->row.attempt = attempt->row.id;
    job->row.size_now = plan->size;
    job->row.put_off_s = 0;
    struct amounts amounts;
    attempt_amounts(attempt, &amounts);
    assert(quota_allows(job->team, &amounts));
    quota_hold(core, job->team, &amounts, job_firm(job), 1);
    attempt_yields(core, attempt, 1);
    array_count(job, 1);
    copies_hold(core, attempt);
    job_set_state(core, job, JOB_STARTING);
    decide(core, (struct core_decision){.kind = DECISION_ADMIT,
                     .job = job->row.id,
                     .attempt = attempt->row.id,
                     .team = job->row.team,
                     .node = plan->parts.items[0].node->row.id,
                     .pool = plan->parts.items[0].node->row.pool});
}

void attempt_set_away(struct live_attempt *attempt, bool away)
{
    assert(attempt->away != away);
    attempt->away = away;
    for (struct live_placement *one = attempt->placements; one; one = one->next)
        node_hold(one->node, &attempt->job->shape->row, one->row.devices, one->row.device_milli,
            one->row.ranks, away ? -1 : 1);
}

/* From when on the work would be lost. */
static int64_t lost_since_ms(const struct core *core, const struct live_attempt *attempt)
{
    if (!attempt->row.started_ms)
        return core->now_ms;
    return most(attempt->row.started_ms, attempt->row.checkpoint_ms);
}

/* A service loses no work with its end, however long it ran: only its start, counted as so much. */
enum { SERVICE_START_MS = 60 * 1000 };

int64_t attempt_loss_ms(const struct core *core, const struct live_attempt *attempt)
{
    const struct job_row *job = &attempt->job->row;
    int64_t since_ms = most(core->now_ms - lost_since_ms(core, attempt), 0);
    if (job->saves_on_stop)
        return 0;
    return job->service ? least(since_ms, SERVICE_START_MS) : since_ms;
}

int64_t attempt_loss(const struct core *core, const struct live_attempt *attempt)
{
    struct amounts amounts;
    attempt_amounts(attempt, &amounts);
    int64_t share = dominant_share(core, amounts.of);
    __int128 loss = (__int128)attempt_loss_ms(core, attempt) * share;
    return loss > INT64_MAX / 1024 ? INT64_MAX / 1024 : (int64_t)loss;
}

/* Device-milliseconds, for people: without devices a rank counts as one. */
static int64_t device_loss_ms(const struct core *core, const struct live_attempt *attempt)
{
    int64_t milli = attempt->job->shape->row.accelerator_milli;
    milli = (milli ? milli : DEVICE_MILLI) * attempt->row.size;
    return scale_round(attempt_loss_ms(core, attempt), milli, DEVICE_MILLI);
}

/* Whether its job ends with it, whatever else was meant before: nothing comes after these. */
static bool ends_for_good(int32_t reason)
{
    return reason == END_CANCELLED || reason == END_REPLACED;
}

void attempt_stop(struct core *core, struct live_attempt *attempt, enum end_reason reason,
    const struct live_job *for_job)
{
    assert(reason != END_NONE && attempt->row.state != ATTEMPT_ENDED);
    struct live_job *job = attempt->job;
    bool stopping = attempt->row.stop_reason != END_NONE;
    if (stopping && (!ends_for_good((int32_t)reason) || ends_for_good(attempt->row.stop_reason)))
        return;
    replica_unready(core, job, reason);
    attempt->row.stop_reason = (int32_t)reason;
    core->attempts_stopping += !stopping;
    if (!stopping)
        attempt->row.stop_ms = core->now_ms;
    if (reason != END_PREEMPTED)
        core->pass_wanted = true; /* others may claim the place that it leaves */
    core->stir_version++;         /* who has to respect promises may see more room */
    promises_touch(core);
    for (struct live_placement *one = attempt->placements; one; one = one->next)
        one->node->empty_key = 0;
    change_put(core, &attempt->item);
    job_set_state(core, job, JOB_STOPPING);
    decide(core, (struct core_decision){.kind = DECISION_STOP,
                     .job = job->row.id,
                     .attempt = attempt->row.id,
                     .team = job->row.team,
                     .for_job = for_job ? for_job->row.id : 0,
                     .reason = (int32_t)reason,
                     .lost_ms = reason == END_PREEMPTED ? device_loss_ms(core, attempt) : 0});
}

/* Whether the job goes on for free after an end like that. */
static bool ends_innocently(const struct live_attempt *attempt, enum end_reason reason)
{
    const struct job_row *job = &attempt->job->row;
    bool spot = attempt->placements->node->pool->row.spot; /* which may go: nobody's failure */
    return reason == END_PREEMPTED || reason == END_DRAINED || reason == END_RESIZED ||
           reason == END_MOVED || reason == END_HANDED_OVER ||
           (reason == END_NODE_LOST && (job->shrink_on_node_loss || job->service || spot));
}

/* So often a job goes on for free after attempts that were lost before they started. */
enum { LOST_UNSTARTED_MAX = 8 };

/* Whether the attempt was lost without having run anything: the engine's caller was stopped between
 * accepting and starting it. The job need not pay for that, but an engine that loses everything
 * must not keep it for ever. */
static bool lost_unstarted(const struct live_attempt *attempt, enum end_reason reason)
{
    return reason == END_LOST && attempt->row.started_ms == 0 &&
           attempt->job->row.failures < LOST_UNSTARTED_MAX;
}

/* From when on work counts as wasted, MOMENT_NEVER: none does. */
static int64_t wasted_since_ms(const struct live_attempt *attempt, enum end_reason reason)
{
    /* What a service has answered is not undone by its end. */
    if (reason == END_SUCCEEDED || ends_for_good((int32_t)reason) || attempt->job->row.service)
        return MOMENT_NEVER;
    return most(attempt->row.admitted_ms, attempt->row.checkpoint_ms);
}

static void placements_release(
    struct core *core, struct live_attempt *attempt, enum end_reason reason)
{
    struct live_job *job = attempt->job;
    struct amounts amounts;
    attempt_amounts(attempt, &amounts);
    quota_hold(core, job->team, &amounts, job_firm(job), -1);
    int64_t since_ms = wasted_since_ms(attempt, reason);
    for (struct live_placement *one = attempt->placements; one; one = one->next)
        charge_placement(core, one, since_ms);
    for (struct live_placement *one = attempt->placements, *next; one; one = next) {
        next = one->next;
        struct live_node *node = one->node;
        size_t at = 0;
        while (node->placements.items[at] != one)
            at++;
        vec_remove(&node->placements, at);
        node_hold(
            node, &job->shape->row, one->row.devices, one->row.device_milli, one->row.ranks, -1);
        change_retire(core, &one->item);
    }
}

/* Nodes that were only waiting for this attempt. Its placements are still readable here. */
static void leave_nodes(struct core *core, const struct live_attempt *attempt)
{
    for (const struct live_placement *one = attempt->placements; one; one = one->next)
        node_vanish_if_left(core, one->node);
}

static int64_t backoff_ms(const struct job_row *row)
{
    int64_t delay = row->backoff_ms;
    for (int32_t i = 1; i < row->failures && delay < row->backoff_max_ms; i++)
        delay *= 2;
    return row->backoff_max_ms ? least(delay, row->backoff_max_ms) : row->backoff_ms;
}

/* A job that is preempted or handed over again and again before it has saved anything only wastes
 * what it holds: from the third time on it waits before it tries again, twice as long each time. */
enum { VAIN_FREE = 2, VAIN_WAIT_MS = 60 * 1000, VAIN_WAIT_MS_MAX = 3600 * 1000 };

static void count_vain(struct core *core, const struct live_attempt *attempt)
{
    struct job_row *job = &attempt->job->row;
    bool saved = attempt->row.checkpoint_ms > 0 || job->saves_on_stop || job->service;
    job->vain = saved ? 0 : job->vain + (job->vain < INT32_MAX);
    if (job->vain <= VAIN_FREE)
        return;
    int32_t doublings = (int32_t)least(job->vain - VAIN_FREE - 1, 6);
    int64_t wait_ms = least((int64_t)VAIN_WAIT_MS << doublings, VAIN_WAIT_MS_MAX);
    job->not_before_ms = core->now_ms + wait_ms;
}

static void job_requeue(struct core *core, struct live_job *job, enum end_reason reason)
{
    job_decide(core, DECISION_REQUEUE, job, (int32_t)reason);
    burst_requeued(core, job);
    job_ready(core, job);
}

static void job_retry(struct core *core, struct live_job *job, enum end_reason reason)
{
    job->row.retries_left -= job->row.service ? 0 : 1; /* a service has as many as it takes */
    job->row.failures += job->row.failures < INT32_MAX;
    job->row.not_before_ms = core->now_ms + backoff_ms(&job->row);
    job->row.queued_ms = 0;
    job_requeue(core, job, reason);
}

/* A service runs until it is stopped for good: any other end of an attempt, success included, is a
 * failure in a row. The row ends with an attempt that ran for longer than the longest backoff; of a
 * replica it has to have been ready for that long (replica.c). */
static bool service_goes_on(
    const struct core *core, const struct live_attempt *attempt, enum end_reason reason)
{
    struct live_job *job = attempt->job;
    int64_t started_ms = attempt->row.started_ms;
    if (!job->row.service || reason == END_DEADLINE)
        return false;
    if (!job->links->replica && started_ms && core->now_ms - started_ms > job->row.backoff_max_ms)
        job->row.failures = 0;
    return true;
}

static void job_after_attempt(struct core *core, const struct live_attempt *attempt,
    enum end_reason reason, int32_t exit_status)
{
    struct live_job *job = attempt->job;
    if (job->row.cancel && attempt->row.stop_reason == END_REPLACED)
        job_end(core, job, JOB_CANCELLED, END_REPLACED, exit_status);
    else if (job->row.cancel)
        job_end(core, job, JOB_CANCELLED, END_CANCELLED, exit_status);
    else if (ends_innocently(attempt, reason)) {
        if (reason == END_PREEMPTED || reason == END_HANDED_OVER)
            count_vain(core, attempt);
        job_requeue(core, job, reason);
    } else if (service_goes_on(core, attempt, reason))
        job_retry(core, job, reason);
    else if (reason == END_SUCCEEDED)
        job_end(core, job, JOB_SUCCEEDED, END_SUCCEEDED, 0);
    else if (reason == END_DEADLINE || reason == END_TIME_LIMIT || job->row.retries_left <= 0)
        job_end(core, job, JOB_FAILED, reason, exit_status);
    else
        job_retry(core, job, reason);
}

void attempt_end(
    struct core *core, struct live_attempt *attempt, enum end_reason reason, int32_t exit_status)
{
    assert(attempt->row.state != ATTEMPT_ENDED && reason != END_NONE);
    struct live_job *job = attempt->job;
    replica_unready(core, job, reason);
    replica_leaving_set(core, job, false);
    allot_served(core, attempt);
    spot_ended(core, attempt, reason);
    burst_ended(core, attempt);
    copies_release(core, attempt);
    placements_release(core, attempt, reason);
    attempt->row.state = ATTEMPT_ENDED;
    attempt->row.end_reason = (int32_t)reason;
    attempt->row.exit_status = exit_status;
    attempt->row.ended_ms = core->now_ms;
    decide(core, (struct core_decision){.kind = DECISION_END,
                     .job = job->row.id,
                     .attempt = attempt->row.id,
                     .team = job->row.team,
                     .reason = (int32_t)reason,
                     .exit_status = exit_status});
    change_retire(core, &attempt->item);
    attempt_yields(core, attempt, -1);
    core->attempts_stopping -= attempt->row.stop_reason != END_NONE;
    job->attempt = NULL;
    job->row.attempt = 0;
    job->row.preemptions += reason == END_PREEMPTED;
    array_count(job, -1);
    core->free_version++;
    promises_touch(core);
    core->pass_wanted = true;
    leave_nodes(core, attempt);
    if (lost_unstarted(attempt, reason) && !job->row.cancel) {
        job->row.failures++;
        job_requeue(core, job, reason);
        return;
    }
    job_after_attempt(core, attempt, reason, exit_status);
}

static struct attempt_wish wish_of(const struct live_attempt *attempt)
{
    return (struct attempt_wish){
        .stop = attempt->row.stop_reason != END_NONE,
        .grace_ms = attempt->job->row.grace_ms,
    };
}

void core_attempt_each(const struct core *core, core_attempt_fn *visit, void *context)
{
    TABLE_EACH (core, ROW_ATTEMPT, struct live_attempt, attempt) {
        const struct attempt_wish wish = wish_of(attempt);
        visit(context, &attempt->row, &wish);
    }
}

const struct attempt_row *core_attempt_wanted(
    const struct core *core, uint64_t id, struct attempt_wish *ret_wish)
{
    const struct live_attempt *attempt =
        (const struct live_attempt *)table_find(core, ROW_ATTEMPT, id);
    *ret_wish = attempt ? wish_of(attempt) : (struct attempt_wish){0};
    return attempt ? &attempt->row : NULL;
}

const struct attempt_row *core_attempt(const struct core *core, uint64_t id)
{
    const struct item *item = table_find(core, ROW_ATTEMPT, id);
    return item ? &((const struct live_attempt *)item)->row : NULL;
}

void core_placement_each(
    const struct core *core, uint64_t attempt, core_row_fn *visit, void *context)
{
    const struct live_attempt *of =
        (const struct live_attempt *)table_find(core, ROW_ATTEMPT, attempt);
    for (const struct live_placement *one = of ? of->placements : NULL; one; one = one->next)
        visit(context, ROW_PLACEMENT, &one->row);
}
