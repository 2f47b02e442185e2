/* Rollouts: the state of each, moved by commands, readiness, evidence and time.
 *
 *     idle ---renewed, and a replica was ready once---> starting --arms ready--> testing
 *     starting, testing --alarm, abort, patience--> aborted
 *     testing --last step passed, or promote--> promoted
 *     any --renewed--> starting
 *
 * While it starts or tests, the service's main replicas are of the stable revision, and its arms
 * are wanted beside them. Promoted, the canaries become main replicas of what is then the wanted
 * revision, and the usual roll does the rest; aborted, the stable revision stays wanted and the
 * arms are not. A revision that is renewed while another is tried takes its place: the stable one
 * stays.
 *
 * Arms are extra: they count neither for `replicas` nor for its surge. What is wanted of them
 * follows from the row and the service's replicas alone.
 *
 * Invariants: a row has evidence for the canary and, by the strategy canary, for the baseline,
 * exactly while it starts, tests, or shows how it ended. A paused rollout moves only by an alarm or
 * a command. Evidence only grows, and is set to nothing by a new revision. */
#include "core/rollout.h"

#include "core/job.h"
#include "core/limits.h"
#include "core/service.h"
#include "core/sort.h"
#include "core/state.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* ---- rows ------------------------------------------------------------------------------------
 */

static bool is_under_way(const struct rollout_row *row)
{
    return row->state == ROLLOUT_STARTING || row->state == ROLLOUT_TESTING;
}

static void evidence_reset(struct core *core, struct live_rollout *rollout)
{
    for (int arm = ARM_BASELINE; arm < ARM_COUNT; arm++) {
        struct live_evidence *seen = rollout->seen[arm];
        if (seen)
            change_delete(core, &seen->item);
        rollout->seen[arm] = NULL;
        if (arm == ARM_BASELINE && rollout->row.plan.strategy != ROLLOUT_CANARY)
            continue;
        seen = mem_alloc(1, sizeof *seen);
        seen->row.rollout = rollout->row.id;
        seen->row.arm = arm;
        change_new(core, ROW_EVIDENCE, &seen->item);
        rollout->seen[arm] = seen;
    }
}

void rollout_vanish(struct core *core, struct live_service *service)
{
    struct live_rollout *rollout = service->rollout;
    if (!rollout)
        return;
    for (int arm = 0; arm < ARM_COUNT; arm++) {
        if (rollout->seen[arm])
            change_delete(core, &rollout->seen[arm]->item);
    }
    service->rollout = NULL;
    change_delete(core, &rollout->item);
}

static void rollout_decide(
    struct core *core, const struct live_rollout *rollout, enum decision_kind kind)
{
    decide(core, (struct core_decision){.kind = kind,
                     .team = rollout->service->row.team,
                     .service = rollout->row.service,
                     .why = rollout->row.reason,
                     .step = kind == DECISION_ROLLOUT_STEP ? rollout->row.step + 1 : 0});
}

/* It changed: what is wanted and counted is looked at again. */
static void rollout_changed(struct core *core, struct live_rollout *rollout)
{
    struct live_service *service = rollout->service;
    rollout->changed = true;
    change_put(core, &rollout->item);
    service->counts = replicas_count(service);
    service_touch(core, service);
}

/* ---- what it wants --------------------------------------------------------------------------- */

int32_t rollout_revision(const struct live_service *service, enum replica_arm arm)
{
    return arm == ARM_CANARY ? service->row.revision : service_goal(service);
}

int32_t rollout_wants(const struct live_service *service, enum replica_arm arm)
{
    const struct live_rollout *rollout = service->rollout;
    int64_t replicas = service->row.replicas;
    if (arm == ARM_MAIN || !rollout || !is_under_way(&rollout->row) || replicas == 0)
        return 0;
    const struct rollout_plan *plan = &rollout->row.plan;
    if (arm == ARM_BASELINE && plan->strategy != ROLLOUT_CANARY)
        return 0;
    if (plan->strategy == ROLLOUT_BLUE_GREEN)
        return (int32_t)replicas;
    int64_t part = replicas * plan->weights[rollout->row.step];
    return (int32_t)most((part + 99) / 100, 1);
}

static bool arms_ready(const struct live_service *service)
{
    const struct replica_counts *counts = &service->counts;
    bool all = service->rollout->row.plan.strategy == ROLLOUT_BLUE_GREEN;
    for (int arm = ARM_BASELINE; arm < ARM_COUNT; arm++) {
        int32_t wanted = rollout_wants(service, (enum replica_arm)arm);
        if (wanted > 0 && counts->arms_ready[arm] < (all ? wanted : 1))
            return false;
    }
    return rollout_wants(service, ARM_CANARY) > 0;
}

struct rollout_split core_rollout_split(const struct core *core, uint64_t id)
{
    const struct live_service *service = service_find(core, id);
    const struct live_rollout *rollout = service ? service->rollout : NULL;
    struct rollout_split split = {{100}, false};
    if (!rollout || rollout->row.state != ROLLOUT_TESTING)
        return split;
    int32_t weight = rollout->row.plan.weights[rollout->row.step];
    bool all = rollout->row.plan.strategy == ROLLOUT_BLUE_GREEN;
    for (int arm = ARM_BASELINE; arm < ARM_COUNT; arm++) {
        if (rollout_wants(service, (enum replica_arm)arm) > 0 &&
            service->counts.arms_ready[arm] == 0)
            return split;
    }
    if (rollout->row.plan.strategy == ROLLOUT_SHADOW) {
        split.shadow = true;
        split.percent[ARM_CANARY] = weight;
        return split;
    }
    split.percent[ARM_CANARY] = all ? 100 : weight;
    split.percent[ARM_BASELINE] = rollout_wants(service, ARM_BASELINE) > 0 ? weight : 0;
    split.percent[ARM_MAIN] = 100 - split.percent[ARM_CANARY] - split.percent[ARM_BASELINE];
    return split;
}

/* ---- moves ----------------------------------------------------------------------------------- */

static int64_t seen_of(const struct live_rollout *rollout, int arm)
{
    const struct live_evidence *seen = rollout->seen[arm];
    if (!seen)
        return 0;
    return rollout->row.plan.strategy == ROLLOUT_SHADOW ? seen->row.compared : seen->row.requests;
}

static void step_begin(struct core *core, struct live_rollout *rollout, int32_t step)
{
    rollout->row.state = ROLLOUT_TESTING;
    rollout->row.step = step;
    rollout->row.step_ms = core->now_ms;
    for (int arm = 0; arm < ARM_COUNT; arm++)
        rollout->row.step_seen[arm] = seen_of(rollout, arm);
    rollout_changed(core, rollout);
    rollout_decide(core, rollout, DECISION_ROLLOUT_STEP);
}

/* Replicas of the tried revision serve on as main ones; the baseline has nothing to do any more. */
static void take_in_canaries(struct core *core, struct live_service *service)
{
    for (size_t i = 0; i < service->replicas.count; i++) {
        struct live_replica *replica = service->replicas.items[i];
        if (replica->row.arm != ARM_CANARY || replica->row.revision != service->row.revision)
            continue;
        replica->row.arm = ARM_MAIN;
        change_put(core, &replica->item);
        timer_set(
            core, replica->job); /* before its site ends it another one is wanted from now on */
    }
}

static void rollout_end(
    struct core *core, struct live_rollout *rollout, bool passed, enum rollout_reason reason)
{
    struct live_service *service = rollout->service;
    bool was_ready =
        rollout->row.state == ROLLOUT_TESTING || service->counts.arms_ready[ARM_CANARY] > 0;
    if (passed && was_ready) /* main replicas of it may never get ready again: they are */
        rollout->row.proven = service->row.revision;
    rollout->row.state = passed ? ROLLOUT_PROMOTED : ROLLOUT_ABORTED;
    rollout->row.reason = (int32_t)reason;
    rollout->row.paused = 0;
    if (passed)
        take_in_canaries(core, service);
    rollout_changed(core, rollout);
    rollout_decide(core, rollout, passed ? DECISION_ROLLOUT_PROMOTE : DECISION_ROLLOUT_ABORT);
}

static void rollout_pause(
    struct core *core, struct live_rollout *rollout, enum rollout_reason reason)
{
    rollout->row.paused = 1;
    rollout->row.reason = (int32_t)reason;
    rollout_changed(core, rollout);
    rollout_decide(core, rollout, DECISION_ROLLOUT_PAUSE);
}

static void give_up(struct core *core, struct live_rollout *rollout)
{
    if (rollout->row.plan.give_up)
        rollout_end(core, rollout, false, REASON_PATIENCE);
    else
        rollout_pause(core, rollout, REASON_PATIENCE);
}

/* One move, if there is one to make. */
static void rollout_move(struct core *core, struct live_rollout *rollout)
{
    struct rollout_row *row = &rollout->row;
    bool late = core->now_ms - row->step_ms >= row->plan.patience_ms;
    const struct live_evidence *baseline = rollout->seen[ARM_BASELINE];
    if (row->state == ROLLOUT_STARTING) {
        if (!row->paused && arms_ready(rollout->service))
            step_begin(core, rollout, 0);
        else if (!row->paused && late)
            give_up(core, rollout);
        return;
    }
    struct rollout_verdict verdict = core_rollout_judge(
        row, baseline ? &baseline->row : NULL, &rollout->seen[ARM_CANARY]->row, core->now_ms);
    if (verdict.alarm != REASON_NONE)
        rollout_end(core, rollout, false, verdict.alarm);
    else if (row->paused)
        return;
    else if (verdict.missing == REASON_NONE && row->step + 1 == row->plan.steps)
        rollout_end(core, rollout, true, REASON_PASSED);
    else if (verdict.missing == REASON_NONE)
        step_begin(core, rollout, row->step + 1);
    else if (late && verdict.missing != REASON_BAKE)
        give_up(core, rollout);
}

/* The next moment at which time alone moves it. */
static int64_t next_ms(const struct core *core, const struct live_rollout *rollout)
{
    const struct rollout_row *row = &rollout->row;
    int64_t late_ms = row->step_ms + row->plan.patience_ms, next = MOMENT_NEVER;
    int64_t baked_ms = row->step_ms + row->plan.bakes_ms[row->step];
    if (rollout->changed)
        return core->now_ms;
    if (!is_under_way(row) || row->paused)
        return MOMENT_NEVER;
    next = late_ms > core->now_ms ? late_ms : MOMENT_NEVER;
    return row->state == ROLLOUT_TESTING && baked_ms > core->now_ms ? least(next, baked_ms) : next;
}

int64_t rollouts_next_ms(const struct core *core)
{
    int64_t next = MOMENT_NEVER;
    TABLE_EACH (core, ROW_ROLLOUT, struct live_rollout, rollout)
        next = least(next, next_ms(core, rollout));
    return next;
}

/* A move may make another possible, which has its turn in the next tick: that comes at once. */
void rollouts_settle(struct core *core)
{
    TABLE_EACH (core, ROW_ROLLOUT, struct live_rollout, rollout) {
        if (!rollout->changed && core->now_ms < rollout->look_ms)
            continue;
        rollout->changed = false;
        if (is_under_way(&rollout->row) && !rollout->service->row.deleted)
            rollout_move(core, rollout);
        rollout->look_ms = next_ms(core, rollout);
    }
}

/* ---- what happens to the service ------------------------------------------------------------- */

void rollout_plan_put(
    struct core *core, struct live_service *service, const struct rollout_plan *plan)
{
    struct live_rollout *rollout = service->rollout;
    if (plan->strategy == ROLLOUT_PLAIN) {
        if (rollout && is_under_way(&rollout->row))
            rollout_end(core, rollout, true, REASON_COMMAND);
        rollout_vanish(core, service);
        service->counts = replicas_count(service);
        return;
    }
    assert(plan->steps >= 1 && plan->steps <= ROLLOUT_STEPS_MAX);
    if (!rollout) {
        rollout = mem_alloc(1, sizeof *rollout);
        rollout->service = service;
        rollout->row.service = service->row.id;
        rollout->row.proven = service->counts.newest_ready > 0 ? service->row.revision : 0;
        change_new(core, ROW_ROLLOUT, &rollout->item);
        service->rollout = rollout;
    }
    bool other = rollout->row.plan.strategy != plan->strategy;
    rollout->row.plan = *plan;
    if (rollout->row.step >= plan->steps)
        rollout->row.step = plan->steps - 1;
    if (other)
        evidence_reset(core, rollout);
    if (other && is_under_way(&rollout->row))
        rollout_renewed(core, service);
    rollout_changed(core, rollout);
}

/* The stable revision is the one wanted until now: what is not proven is replaced plainly, since
 * there is nothing to compare with and nothing to lose. */
void rollout_renewed(struct core *core, struct live_service *service)
{
    struct live_rollout *rollout = service->rollout;
    if (!rollout)
        return;
    struct rollout_row *row = &rollout->row;
    bool kept = is_under_way(row) || row->state == ROLLOUT_ABORTED;
    int32_t older = row->proven == service->row.revision - 1 ? row->proven : 0;
    int32_t stable = kept ? row->stable : older;
    row->step = 0;
    row->paused = 0;
    row->reason = REASON_NONE;
    row->state = stable > 0 ? ROLLOUT_STARTING : ROLLOUT_IDLE;
    row->stable = stable;
    row->began_ms = row->step_ms = core->now_ms;
    memset(row->step_seen, 0, sizeof row->step_seen);
    evidence_reset(core, rollout);
    rollout_changed(core, rollout);
    if (stable > 0)
        rollout_decide(core, rollout, DECISION_ROLLOUT_BEGIN);
}

void rollout_scaled(struct live_service *service)
{
    if (service->rollout)
        service->rollout->changed = true;
}

void rollout_proven(struct core *core, struct live_service *service, int32_t revision)
{
    struct live_rollout *rollout = service->rollout;
    if (!rollout)
        return;
    rollout->changed = true;
    if (revision != service_goal(service) || rollout->row.proven == revision)
        return;
    rollout->row.proven = revision;
    change_put(core, &rollout->item);
}

/* ---- commands and evidence --------------------------------------------------------------------
 */

int core_rollout_command(
    struct core *core, uint64_t id, enum rollout_command command, struct error *err)
{
    struct live_service *service = service_find(core, id);
    struct live_rollout *rollout = service ? service->rollout : NULL;
    if (!service)
        return error_set(err, ERR_NOT_FOUND, "there is no service %" PRIu64, id);
    if (!rollout || !is_under_way(&rollout->row))
        return error_set(err, ERR_CONFLICT, "no revision of the service is being rolled out%s%s",
            rollout ? ": it is " : "; its spec.rollout.strategy is none",
            rollout ? rollout_state_names[rollout->row.state] : "");
    bool paused = rollout->row.paused;
    if (command == ROLLOUT_DO_PAUSE && paused)
        return error_set(err, ERR_CONFLICT, "the rollout is paused already");
    if (command == ROLLOUT_DO_RESUME && !paused)
        return error_set(err, ERR_CONFLICT, "the rollout is not paused");
    if (command == ROLLOUT_DO_PAUSE)
        rollout_pause(core, rollout, REASON_COMMAND);
    else if (command != ROLLOUT_DO_RESUME)
        rollout_end(core, rollout, command == ROLLOUT_DO_PROMOTE, REASON_COMMAND);
    if (command != ROLLOUT_DO_RESUME)
        return 0;
    rollout->row.paused = 0;
    rollout->row.reason = REASON_COMMAND;
    rollout->row.step_ms = core->now_ms;
    rollout_changed(core, rollout);
    rollout_decide(core, rollout, DECISION_ROLLOUT_RESUME);
    return 0;
}

static void grow(int64_t *sums, const int64_t *grown, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sums[i] += most(grown[i], 0);
}

bool core_rollout_evidence(struct core *core, uint64_t job, const struct core_evidence *grown)
{
    const struct replica_row *replica = core_replica_of(core, job);
    struct live_service *service = replica ? service_find(core, replica->service) : NULL;
    struct live_rollout *rollout = service ? service->rollout : NULL;
    if (!rollout || rollout->row.state != ROLLOUT_TESTING || replica->arm == ARM_MAIN ||
        replica->revision != rollout_revision(service, (enum replica_arm)replica->arm))
        return false;
    struct live_evidence *seen = rollout->seen[replica->arm];
    if (!seen)
        return false;
    grow(&seen->row.requests, &grown->requests, 1);
    grow(&seen->row.errors, &grown->errors, 1);
    grow(seen->row.within, grown->within, ROLLOUT_BUCKETS);
    grow(seen->row.scores, grown->scores, ROLLOUT_SCORES);
    grow(&seen->row.compared, &grown->compared, 1);
    grow(&seen->row.differing, &grown->differing, 1);
    change_put(core, &seen->item);
    rollout->changed = true;
    return true;
}

/* ---- loading, checking, reading ---------------------------------------------------------------
 */

const char *rollout_link(struct live_rollout *rollout, struct live_service *service)
{
    const struct rollout_row *row = &rollout->row;
    const struct rollout_plan *plan = &row->plan;
    if (service->rollout)
        return "its service has another";
    if (plan->steps < 1 || plan->steps > ROLLOUT_STEPS_MAX || row->step < 0 ||
        row->step >= plan->steps || plan->alpha_ppm < 1 || plan->alpha_ppm > 1000000 ||
        plan->strategy == ROLLOUT_PLAIN || plan->differences_ppm < 1 ||
        plan->differences_ppm > 999999 || row->stable < 0 || row->stable > service->row.revision)
        return "numbers out of range";
    rollout->service = service;
    rollout->changed = true;
    service->rollout = rollout;
    return NULL;
}

const char *evidence_link(struct live_evidence *evidence, struct live_rollout *rollout)
{
    int32_t arm = evidence->row.arm;
    if ((arm != ARM_BASELINE && arm != ARM_CANARY) || rollout->seen[arm])
        return "no arm, or one that has evidence";
    rollout->seen[arm] = evidence;
    return NULL;
}

const char *rollout_fault(const struct live_service *service)
{
    const struct live_rollout *rollout = service->rollout;
    if (!rollout)
        return NULL;
    bool baseline = rollout->row.plan.strategy == ROLLOUT_CANARY;
    if (!rollout->seen[ARM_CANARY] || (rollout->seen[ARM_BASELINE] != NULL) != baseline)
        return "its rollout has too little evidence, or too much";
    if (is_under_way(&rollout->row) &&
        (rollout->row.stable < 1 || rollout->row.stable >= service->row.revision))
        return "its rollout has no stable revision";
    return NULL;
}

const struct rollout_row *core_rollout(const struct core *core, uint64_t id)
{
    const struct live_service *service = service_find(core, id);
    return service && service->rollout ? &service->rollout->row : NULL;
}

const struct evidence_row *core_rollout_seen(
    const struct core *core, uint64_t id, enum replica_arm arm)
{
    const struct live_service *service = service_find(core, id);
    const struct live_evidence *seen =
        service && service->rollout ? service->rollout->seen[arm] : NULL;
    return seen ? &seen->row : NULL;
}

int32_t core_service_goal(const struct core *core, uint64_t id)
{
    const struct live_service *service = service_find(core, id);
    return service ? service_goal(service) : 0;
}
