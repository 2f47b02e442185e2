/* Claims: a place that preemption made is kept for the job it was made for, until the job starts
 * there or elsewhere, or does not want it any more.
 *
 * Invariants: only a queued job has claims, and then for its whole gang; a claim counts against
 * everybody else on its node, and against its team's quota like an attempt. While victims leave,
 * held and claimed together may pass what the node has; held alone never does. */
#include "core/core_state.h"

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
    if (!job->claims) {
        vec_push(&core->claimants, job);
        array_count(job, 1);
    }
    LIST_APPEND(job->claims, claim, next);
    vec_push(&claim->node->claims, claim);
    claim_count(core, claim, 1);
}

void claims_make(struct core *core, struct live_job *job, const struct plan *plan)
{
    assert(!job->claims && job->row.state == JOB_QUEUED);
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
    assert(job->claims);
    for (struct live_claim *claim = job->claims, *next; claim; claim = next) {
        next = claim->next;
        struct live_node *node = claim->node;
        size_t at = 0;
        while (node->claims.items[at] != claim)
            at++;
        vec_remove(&node->claims, at);
        claim_count(core, claim, -1);
        change_delete(core, &claim->item);
    }
    job->claims = NULL;
    claimant_remove(core, job);
    array_count(job, -1);
    core->free_version++;
    core->pass_wanted = true;
    if (job->row.state == JOB_QUEUED)
        queue_add(core, job);
}

void claims_release_node(struct core *core, struct live_node *node)
{
    while (node->claims.count)
        claims_release(core, node->claims.items[0]->job);
}

/* Whether what the claim keeps is free of attempts (leaving: or held by ones that are stopping). */
static bool claim_met(const struct live_claim *claim, bool leaving)
{
    const struct live_node *node = claim->node;
    struct bundle held = node->held;
    int16_t devices[DEVICES_MAX];
    memcpy(devices, node->device_held, sizeof devices);
    for (size_t i = 0; leaving && i < node->placements.count; i++) {
        const struct live_placement *one = node->placements.items[i];
        if (one->attempt->row.stop_reason == END_NONE)
            continue;
        struct bundle part = bundle_of_shape(&one->attempt->job->shape->row, one->row.ranks);
        held.cpu_milli -= part.cpu_milli;
        held.memory_bytes -= part.memory_bytes;
        held.disk_bytes -= part.disk_bytes;
        for (int d = 0; d < DEVICES_MAX; d++)
            devices[d] -= (int16_t)((one->row.devices >> d & 1) ? one->row.device_milli : 0);
    }
    for (int d = 0; d < DEVICES_MAX; d++) {
        if ((claim->row.devices >> d & 1) && devices[d] + claim->row.device_milli > DEVICE_MILLI)
            return false;
    }
    struct bundle ask = bundle_of_shape(&claim->job->shape->row, claim->row.ranks);
    return held.cpu_milli + ask.cpu_milli <= node->row.cpu_milli &&
           held.memory_bytes + ask.memory_bytes <= node->row.memory_bytes &&
           held.disk_bytes + ask.disk_bytes <= node->row.disk_bytes;
}

/* Taken together, on each node: several claims of one job may share it. */
static bool claims_met(const struct live_job *job, bool leaving)
{
    for (const struct live_claim *claim = job->claims; claim; claim = claim->next) {
        if (!node_takes_work(claim->node) || !claim_met(claim, leaving))
            return false;
    }
    return true;
}

static int32_t claims_plan(const struct live_job *job, struct plan *plan)
{
    for (const struct live_claim *claim = job->claims; claim; claim = claim->next) {
        vec_push(&plan->parts, ((struct plan_part){claim->node, claim->row.devices,
                                   claim->row.device_milli, claim->row.ranks}));
        plan->size += claim->row.ranks;
    }
    return plan->size;
}

/* Whether the plan, made just now, still fits when nothing but attempts counts: plain sums over
 * its parts were checked one by one, so they are checked together here. */
static bool plan_fits_now(struct core *core, const struct live_job *job, const struct plan *plan)
{
    bool fits = true;
    for (size_t i = 0; i < plan->parts.count; i++) {
        const struct plan_part *part = &plan->parts.items[i];
        node_hold(part->node, &job->shape->row, part->devices, part->device_milli, part->ranks, 1);
    }
    for (size_t i = 0; i < plan->parts.count; i++) {
        const struct live_node *node = plan->parts.items[i].node;
        fits = fits && node->held.cpu_milli <= node->row.cpu_milli &&
               node->held.memory_bytes <= node->row.memory_bytes &&
               node->held.disk_bytes <= node->row.disk_bytes;
        for (int32_t d = 0; d < node->row.devices; d++)
            fits = fits && node->device_held[d] <= DEVICE_MILLI;
    }
    for (size_t i = 0; i < plan->parts.count; i++) {
        const struct plan_part *part = &plan->parts.items[i];
        node_hold(part->node, &job->shape->row, part->devices, part->device_milli, part->ranks, -1);
    }
    (void)core;
    return fits;
}

/* One claimant: admitted where its claims are, or elsewhere, or it waits on, or gives up. */
static void claim_settle(struct core *core, struct live_job *job)
{
    struct plan plan = {0};
    bool admit = claims_met(job, false) && claims_plan(job, &plan) >= job->row.size_min &&
                 plan_fits_now(core, job, &plan);
    if (!admit) {
        plan_finish(&plan);
        bool waits = claims_met(job, true);
        admit = waits && plan_make(core, job, job->row.size_min, job->row.size_max, &plan);
        if (waits && !admit)
            return;
    }
    claims_release(core, job);
    if (admit)
        attempt_admit(core, job, &plan);
    plan_finish(&plan);
}

void claims_settle(struct core *core)
{
    size_t count = core->claimants.count;
    if (!count)
        return;
    SCOPED(mem_scope) struct live_job **jobs = mem_alloc(count, sizeof *jobs);
    memcpy(jobs, core->claimants.items, count * sizeof *jobs);
    for (size_t i = 0; i < count; i++) {
        if (jobs[i]->claims)
            claim_settle(core, jobs[i]);
    }
}
