/* The invariant checker: rollouts (invariant 9).
 *
 * What somebody outside would complain about: replicas in the arms of a rollout that has ended, or
 * more of them than its step allows; a replica of a revision that is not wanted; a revision that
 * passes although nothing was seen of it; a rollout that begins by taking away what was wanted.
 *
 * What an arm may have is worked out from the rows alone: none unless a rollout is under way. */
#include "sim/invariants_parts.h"

static bool under_way(const struct rollout_row *rollout)
{
    return rollout->state == ROLLOUT_STARTING || rollout->state == ROLLOUT_TESTING;
}

const struct rollout_row *invariants_rollout(const struct sim_store *store, uint64_t service)
{
    const struct rollout_row *rollout;
    for (each_row(rollout_row, rollout, store, ROW_ROLLOUT))
        if (rollout->service == service)
            return rollout;
    return NULL;
}

static int32_t goal_of(const struct service_row *service, const struct rollout_row *rollout)
{
    bool stays = rollout && (under_way(rollout) || rollout->state == ROLLOUT_ABORTED);
    return stays ? rollout->stable : service->revision;
}

int32_t invariants_goal(const struct sim_store *store, const struct service_row *service)
{
    return goal_of(service, invariants_rollout(store, service->id));
}

int32_t invariants_arm_wanted(
    const struct sim_store *store, const struct service_row *service, int32_t arm)
{
    const struct rollout_row *rollout = invariants_rollout(store, service->id);
    if (arm == ARM_MAIN)
        return service->deleted ? 0 : service->replicas;
    if (!rollout || !under_way(rollout) || service->deleted || !service->replicas)
        return 0;
    if (arm == ARM_BASELINE && rollout->plan.strategy != ROLLOUT_CANARY)
        return 0;
    if (rollout->plan.strategy == ROLLOUT_BLUE_GREEN)
        return service->replicas;
    int32_t wanted = 1;
    while (wanted * 100 < service->replicas * rollout->plan.weights[rollout->step])
        wanted++;
    return wanted;
}

/* ---- every state --------------------------------------------------------------------------- */

static int check_evidence(
    const struct sim_store *store, const struct rollout_row *rollout, struct error *err)
{
    const struct evidence_row *seen;
    int32_t arms[ARM_COUNT] = {0};
    for (each_row(evidence_row, seen, store, ROW_EVIDENCE)) {
        if (seen->rollout != rollout->id)
            continue;
        arms[seen->arm]++;
        if (seen->requests < 0 || seen->errors < 0 || seen->compared < 0 || seen->differing < 0)
            return broken(err, 9, "evidence %llu is less than none", (ull)seen->id);
    }
    if (arms[ARM_MAIN] || arms[ARM_CANARY] != 1 ||
        arms[ARM_BASELINE] != (rollout->plan.strategy == ROLLOUT_CANARY))
        return broken(err, 9, "rollout %llu: evidence of %d canaries and %d baselines",
            (ull)rollout->id, arms[ARM_CANARY], arms[ARM_BASELINE]);
    return 0;
}

int invariants_rollouts(const struct sim_store *store, struct error *err)
{
    const struct rollout_row *rollout;
    for (each_row(rollout_row, rollout, store, ROW_ROLLOUT)) {
        const struct service_row *service = sim_store_row(store, ROW_SERVICE, rollout->service);
        bool tried = under_way(rollout) || rollout->state == ROLLOUT_ABORTED;
        if (invariants_rollout(store, rollout->service) != rollout)
            return broken(err, 9, "service %llu has two rollouts", (ull)service->id);
        if (rollout->proven > service->revision ||
            (tried && (rollout->stable < 1 || rollout->stable >= service->revision)))
            return broken(err, 9, "rollout %llu: stable %d and proven %d of %d", (ull)rollout->id,
                rollout->stable, rollout->proven, service->revision);
        if (rollout->paused && !under_way(rollout))
            return broken(err, 9, "rollout %llu is paused and has ended", (ull)rollout->id);
        if (check_evidence(store, rollout, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- changes ------------------------------------------------------------------------------- */

static int32_t decided(const struct sim_txn *txn, uint64_t service, enum decision_kind kind)
{
    int32_t count = 0;
    for (size_t i = 0; i < txn->decisions.count; i++) {
        const struct core_decision *decision = &txn->decisions.items[i];
        count += decision->service == service && decision->kind == kind;
    }
    return count;
}

/* What was stored of the arm, with what the transaction adds. */
static const struct evidence_row *seen_of(const struct sim_store *before, const struct sim_txn *txn,
    const struct rollout_row *rollout, int32_t arm)
{
    const struct evidence_row *seen;
    for (each_row(evidence_row, seen, before, ROW_EVIDENCE))
        if (seen->rollout == rollout->id && seen->arm == arm)
            return invariants_row_after(before, txn, ROW_EVIDENCE, seen->id);
    return NULL;
}

/* A step that the core itself found passed: its sample was there. */
static int check_passed(const struct sim_store *before, const struct sim_txn *txn,
    const struct rollout_row *old, const struct rollout_row *rollout, struct error *err)
{
    bool shadow = rollout->plan.strategy == ROLLOUT_SHADOW;
    if (!old || old->state != ROLLOUT_TESTING)
        return broken(err, 9, "rollout %llu passed and was not tested", (ull)rollout->id);
    for (int32_t arm = ARM_BASELINE; arm < ARM_COUNT; arm++) {
        if (arm == ARM_BASELINE && rollout->plan.strategy != ROLLOUT_CANARY)
            continue;
        const struct evidence_row *seen = seen_of(before, txn, rollout, arm);
        int64_t count = !seen ? 0 : shadow ? seen->compared : seen->requests;
        if (count <= 0 || count - old->step_seen[arm] < rollout->plan.requests_min)
            return broken(err, 9, "rollout %llu passed step %d with %lld of %lld requests",
                (ull)rollout->id, old->step, (long long)(count - old->step_seen[arm]),
                (long long)rollout->plan.requests_min);
    }
    return 0;
}

/* With one put and no command more, what is wanted beside the new revision is what was wanted. */
static int check_begin(const struct sim_store *before, const struct sim_txn *txn,
    const struct rollout_row *rollout, struct error *err)
{
    uint64_t id = rollout->service;
    const struct service_row *service = sim_store_row(before, ROW_SERVICE, id);
    if (!service || decided(txn, id, DECISION_SERVICE_PUT) != 1 ||
        decided(txn, id, DECISION_ROLLOUT_PROMOTE) || decided(txn, id, DECISION_ROLLOUT_ABORT) ||
        rollout->stable == invariants_goal(before, service))
        return 0;
    return broken(err, 9, "rollout %llu begins with revision %d as the stable one, %d was wanted",
        (ull)rollout->id, rollout->stable, invariants_goal(before, service));
}

int invariants_rollout_change(const struct sim_store *before, const struct sim_txn *txn,
    const struct core_change *change, struct error *err)
{
    const struct rollout_row *rollout = change->row;
    if (change->change == CHANGE_DELETE)
        return 0;
    const struct rollout_row *old = sim_store_row(before, ROW_ROLLOUT, rollout->id);
    uint64_t id = rollout->service;
    bool began = decided(txn, id, DECISION_ROLLOUT_BEGIN) > 0;
    bool ended = !under_way(rollout) && rollout->state != ROLLOUT_IDLE;
    if (ended && old && under_way(old) &&
        !decided(txn, id,
            rollout->state == ROLLOUT_PROMOTED ? DECISION_ROLLOUT_PROMOTE : DECISION_ROLLOUT_ABORT))
        return broken(err, 8, "rollout %llu ended without a decision", (ull)rollout->id);
    if (rollout->state == ROLLOUT_STARTING && (!old || !under_way(old)) && !began)
        return broken(err, 8, "rollout %llu began without a decision", (ull)rollout->id);
    bool promoted = rollout->state == ROLLOUT_PROMOTED && rollout->reason != REASON_COMMAND &&
                    (!old || old->state != ROLLOUT_PROMOTED);
    bool stepped = rollout->state == ROLLOUT_TESTING && rollout->step > 0 &&
                   decided(txn, id, DECISION_ROLLOUT_STEP);
    if ((promoted || stepped) && check_passed(before, txn, old, rollout, err) < 0)
        return -1;
    return began && under_way(rollout) ? check_begin(before, txn, rollout, err) : 0;
}

/* The rollout of a service as the transaction leaves it, and whether that changes it. */
static const struct rollout_row *rollout_after(
    const struct sim_store *before, const struct sim_txn *txn, uint64_t service, bool *ret_changed)
{
    const struct rollout_row *rollout = invariants_rollout(before, service);
    *ret_changed = false;
    for (size_t i = 0; i < txn->changes.count; i++) {
        const struct core_change *change = &txn->changes.items[i];
        const struct rollout_row *row = change->row;
        if (change->kind != ROW_ROLLOUT)
            continue;
        if (change->change == CHANGE_DELETE ? rollout && rollout->id == row->id
                                            : row->service == service) {
            rollout = change->change == CHANGE_DELETE ? NULL : row;
            *ret_changed = true;
        }
    }
    return rollout;
}

int invariants_replica_revision(const struct sim_store *before, const struct sim_txn *txn,
    const struct replica_row *replica, struct error *err)
{
    bool changed;
    const struct service_row *service =
        invariants_row_after(before, txn, ROW_SERVICE, replica->service);
    const struct rollout_row *rollout = rollout_after(before, txn, replica->service, &changed);
    /* It was submitted before the rollout ended in the same tick. */
    bool just = changed && rollout && !under_way(rollout);
    int32_t arm = replica->arm, goal = goal_of(service, rollout);
    bool of_canary = replica->revision == service->revision;
    bool right = arm == ARM_CANARY ? of_canary : replica->revision == goal;
    if (just && arm != ARM_CANARY)
        right = of_canary || replica->revision == rollout->stable;
    if (right)
        return 0;
    return broken(err, 9, "replica %llu, arm %d, is new and of revision %d; %d is wanted",
        (ull)replica->id, arm, replica->revision, arm == ARM_CANARY ? service->revision : goal);
}
