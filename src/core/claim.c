/* Claims: a place that preemption made is kept for the job it was made for, until the job starts
 * there or elsewhere, or does not want it any more.
 *
 * Invariants: only a queued job has claims, and then for its whole gang; a claim counts against
 * everybody else on its node, and against its team's quota like an attempt. While victims leave,
 * held and claimed together may pass what the node has; held alone never does. */
#include "core/allot.h"
#include "core/attempt.h"
#include "core/backfill.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/preempt.h"
#include "core/queue.h"
#include "core/resource.h"
#include "core/shape.h"
#include "core/state.h"
#include "core/table.h"
#include "core/team.h"

#include <assert.h>

void claim_amounts(const struct live_claim *claim, struct amounts *ret)
{
    amounts_of_shape(claim->job->shape, claim->row.ranks, claim->node->resource, ret);
}

static void claim_count(struct core *core, struct live_claim *claim, int sign)
{
    struct amounts amounts;
    claim_amounts(claim, &amounts);
    quota_hold(core, claim->job->team, &amounts, job_firm(claim->job), sign);
    node_claim(claim->node, &claim->job->shape->row, claim->row.devices, claim->row.device_milli,
        claim->row.ranks, sign);
}

void claim_link(struct core *core, struct live_claim *claim)
{
    struct live_job *job = claim->job;
    if (!job->links->claims) {
        vec_push(&core->claimants, job);
        array_count(job, 1);
    }
    LIST_APPEND(job_link(core, job)->claims, claim, next);
    vec_push(&claim->node->claims, claim);
    claim_count(core, claim, 1);
}

void claims_make(struct core *core, struct live_job *job, const struct plan *plan)
{
    assert(!job->links->claims && job->row.state == JOB_QUEUED);
    queue_remove(core, job);
    for (size_t i = 0; i < plan->parts.count; i++) {
        const struct plan_part *part = &plan->parts.items[i];
        struct live_claim *claim = mem_alloc(1, sizeof *claim);
        claim->row = (struct claim_row){
            .job = job->row.id,
            .node = part->node->row.id,
            .devices = part->devices,
            .device_milli = part->device_milli,
            .ranks = part->ranks,
        };
        claim->job = job;
        claim->node = part->node;
        change_new(core, ROW_CLAIM, &claim->item);
        claim_link(core, claim);
    }
    decide(core, (struct core_decision){.kind = DECISION_CLAIM,
                     .job = job->row.id,
                     .team = job->row.team,
                     .for_job = job->row.id,
                     .node = plan->parts.items[0].node->row.id,
                     .pool = plan->parts.items[0].node->row.pool});
}

static void claimant_remove(struct core *core, struct live_job *job)
{
    size_t at = 0;
    while (core->claimants.items[at] != job)
        at++;
    vec_remove(&core->claimants, at);
}

void claims_release(struct core *core, struct live_job *job)
{
    assert(job->links->claims);
    for (struct live_claim *claim = job->links->claims, *next; claim; claim = next) {
        next = claim->next;
        struct live_node *node = claim->node;
        size_t at = 0;
        while (node->claims.items[at] != claim)
            at++;
        vec_remove(&node->claims, at);
        claim_count(core, claim, -1);
        change_delete(core, &claim->item);
    }
    job_link(core, job)->claims = NULL;
    claimant_remove(core, job);
    array_count(job, -1);
    core->free_version++;
    core->stir_version++;
    promises_touch(core);
    core->pass_wanted = true;
    if (job->row.state == JOB_QUEUED)
        queue_add(core, job);
}

void claims_drop_node(struct core *core, struct live_node *node)
{
    while (node->claims.count)
        claims_release(core, node->claims.items[0]->job);
}

void claims_release_node(struct core *core, struct live_node *node)
{
    promise_release_node(core, node);
    claims_drop_node(core, node);
}

/* The place that the claims keep, as a plan. */
static void claims_plan(const struct live_job *job, struct plan *plan)
{
    for (const struct live_claim *claim = job->links->claims; claim; claim = claim->next) {
        vec_push(&plan->parts, ((struct plan_part){claim->node, claim->row.devices,
                                   claim->row.device_milli, claim->row.ranks}));
        plan->size += claim->row.ranks;
    }
}

static void plan_hold(const struct live_job *job, const struct plan *plan, int sign)
{
    for (size_t i = 0; i < plan->parts.count; i++) {
        const struct plan_part *part = &plan->parts.items[i];
        node_hold(
            part->node, &job->shape->row, part->devices, part->device_milli, part->ranks, sign);
    }
}

static bool node_overfull(const struct live_node *node)
{
    for (int32_t d = 0; d < node->row.devices; d++) {
        if (node->device_held[d] > DEVICE_MILLI)
            return true;
    }
    return node->held.cpu_milli > node->row.cpu_milli ||
           node->held.memory_bytes > node->row.memory_bytes ||
           node->held.disk_bytes > node->row.disk_bytes;
}

/* Whether the job could start at its place now, other claims apart. */
static bool place_free(struct core *core, const struct live_job *job, const struct plan *plan)
{
    bool is_free = true;
    for (size_t i = 0; i < plan->parts.count && is_free; i++) {
        const struct live_node *node = plan->parts.items[i].node;
        is_free = node_takes_work(node) && fit_company(core, job, node) &&
                  reservation_allows(core, node, job->row.time_limit_ms);
    }
    journal_trial(core, 1);
    plan_hold(job, plan, 1);
    for (size_t i = 0; i < plan->parts.count; i++)
        is_free = is_free && !node_overfull(plan->parts.items[i].node) &&
                  !promise_crowded(core, job, plan->parts.items[i].node);
    plan_hold(job, plan, -1);
    journal_trial(core, -1);
    return is_free;
}

typedef VEC(struct live_attempt *) attempt_vec;

static void leaving_collect(const struct plan *plan, attempt_vec *leaving)
{
    for (size_t i = 0; i < plan->parts.count; i++) {
        const struct live_node *node = plan->parts.items[i].node;
        for (size_t p = 0; p < node->placements.count; p++) {
            struct live_attempt *attempt = node->placements.items[p]->attempt;
            if (attempt->row.stop_reason == END_NONE || attempt->away)
                continue;
            attempt_set_away(attempt, true);
            vec_push(leaving, attempt);
        }
    }
}

/* The same when everything that is stopping will have left. */
static bool place_will_be_free(
    struct core *core, const struct live_job *job, const struct plan *plan)
{
    attempt_vec leaving = {0};
    journal_trial(core, 1);
    leaving_collect(plan, &leaving);
    bool is_free = place_free(core, job, plan);
    for (size_t i = leaving.count; i-- > 0;)
        attempt_set_away(leaving.items[i], false);
    journal_trial(core, -1);
    vec_free(&leaving);
    return is_free;
}

static void claim_admit(struct core *core, struct live_job *job, const struct plan *plan)
{
    struct amounts amounts;
    plan_amounts(plan, job, &amounts);
    claims_release(core, job);
    /* A limit may have been lowered while the place was made. */
    if (quota_allows(job->team, &amounts))
        attempt_admit(core, job, plan);
}

/* One claimant: admitted at its place, or elsewhere, or it waits on, or it gives up its place and
 * competes again. */
static void claim_settle(struct core *core, struct live_job *job)
{
    struct plan plan = {0}, other = {0};
    claims_plan(job, &plan);
    int32_t size = plan.size;
    if (place_free(core, job, &plan))
        claim_admit(core, job, &plan);
    else if (allot_governs(core, job) && place_will_be_free(core, job, &plan))
        ; /* its round chose this place among those of all others */
    else if (plan_make(core, job, size, size, &other))
        claim_admit(core, job, &other);
    else if (!place_will_be_free(core, job, &plan))
        claims_release(core, job);
    plan_finish(&plan);
    plan_finish(&other);
}

void claims_settle(struct core *core)
{
    size_t count = core->claimants.count;
    if (!count)
        return;
    SCOPED(mem_scope) struct live_job **jobs = mem_alloc(count, sizeof *jobs);
    memcpy(jobs, core->claimants.items, count * sizeof *jobs);
    for (size_t i = 0; i < count; i++) {
        if (jobs[i]->links->claims)
            claim_settle(core, jobs[i]);
    }
}
