/* The invariant checker: services and their replicas (invariant 9).
 *
 * Of the rules of a roll it checks what somebody outside would complain about: too many replicas,
 * too few that are ready because one was stopped by choice, a number given out twice, a restart
 * without its pause, and a service that does not become what it should be although nothing is in
 * its way. In which order replicas are stopped is the core's own business. */
#include "sim/invariants_parts.h"

#include "base/vec.h"

const void *invariants_row_after(
    const struct sim_store *before, const struct sim_txn *txn, enum row_kind kind, uint64_t id)
{
    for (size_t i = 0; i < txn->changes.count; i++)
        if (txn->changes.items[i].kind == kind && sim_row_id(txn->changes.items[i].row) == id)
            return txn->changes.items[i].row;
    return sim_store_row(before, kind, id);
}

/* ---- every state --------------------------------------------------------------------------- */

static int check_replica(const struct sim_store *store, const struct replica_row *replica,
    const struct service_row *service, struct error *err)
{
    const struct job_row *job = sim_store_row(store, ROW_JOB, replica->job);
    const struct replica_row *other;
    if (!job->service || job->team != service->team || job->state == JOB_HELD)
        return broken(err, 9, "job %llu can not be a replica of service %llu", (ull)job->id,
            (ull)service->id);
    if (replica->revision < 1 || replica->revision > service->revision || replica->number < 1 ||
        replica->number > service->number)
        return broken(err, 9, "replica %llu: revision %d of %d, number %d of %d", (ull)replica->id,
            replica->revision, service->revision, replica->number, service->number);
    if (replica->ready && (job->state != JOB_RUNNING || job->attempt != replica->attempt))
        return broken(
            err, 9, "replica %llu is ready and its job in state %d", (ull)replica->id, job->state);
    for (each_row(replica_row, other, store, ROW_REPLICA))
        if (other->id != replica->id &&
            (other->job == job->id ||
                (other->service == service->id && other->number == replica->number)))
            return broken(err, 9, "replicas %llu and %llu have the same job or number",
                (ull)replica->id, (ull)other->id);
    return 0;
}

/* Replicas of a service's arm that were not told to end. */
static int32_t existing(const struct sim_store *store, uint64_t service, int32_t arm)
{
    const struct replica_row *replica;
    int32_t count = 0;
    for (each_row(replica_row, replica, store, ROW_REPLICA)) {
        const struct job_row *job = sim_store_row(store, ROW_JOB, replica->job);
        count += replica->service == service && replica->arm == arm && !job->cancel;
    }
    return count;
}

static int check_count(const struct sim_store *store, const struct service_row *service,
    int32_t arm, struct error *err)
{
    int32_t surge = arm == ARM_MAIN && !service->deleted ? service->surge : 0;
    int32_t wanted = invariants_arm_wanted(store, service, arm);
    int32_t count = existing(store, service->id, arm);
    if (count <= wanted + surge)
        return 0;
    return broken(err, 9, "service %llu has %d replicas in arm %d, %d and a surge of %d are wanted",
        (ull)service->id, count, arm, wanted, surge);
}

int invariants_services(const struct sim_store *store, struct error *err)
{
    const struct replica_row *replica;
    const struct service_row *service;
    for (each_row(replica_row, replica, store, ROW_REPLICA)) {
        service = sim_store_row(store, ROW_SERVICE, replica->service);
        if (check_replica(store, replica, service, err) < 0)
            return -1;
    }
    for (each_row(service_row, service, store, ROW_SERVICE))
        for (int32_t arm = 0; arm < ARM_COUNT; arm++)
            if (check_count(store, service, arm, err) < 0)
                return -1;
    return invariants_rollouts(store, err);
}

/* ---- changes ------------------------------------------------------------------------------- */

static bool decided(
    const struct sim_txn *txn, enum decision_kind kind, uint64_t service, uint64_t job)
{
    for (size_t i = 0; i < txn->decisions.count; i++) {
        const struct core_decision *decision = &txn->decisions.items[i];
        if (decision->kind == kind && decision->service == service && decision->job == job)
            return true;
    }
    return false;
}

static int check_service_change(const struct sim_txn *txn, const struct service_row *old,
    const struct core_change *change, struct error *err)
{
    const struct service_row *service = change->row;
    const struct service_row none = {0};
    uint64_t id = service->id;
    if (change->change == CHANGE_DELETE || (change->change == CHANGE_RETIRE && !service->deleted))
        return broken(err, 9, "service %llu is gone and was not deleted", (ull)id);
    bool is_new = !old;
    old = old ? old : &none;
    if (service->revision < old->revision || service->number < old->number ||
        (!is_new && (service->team != old->team || service->name != old->name)))
        return broken(err, 9, "service %llu is another one than before", (ull)id);
    bool put = service->revision != old->revision || service->surge != old->surge ||
               service->unavailable != old->unavailable ||
               (service->replicas != old->replicas && !service->deleted);
    bool scaled = service->replicas != old->replicas && service->revision == old->revision &&
                  decided(txn, DECISION_SERVICE_SCALE, id, 0);
    if (put && !scaled && !decided(txn, DECISION_SERVICE_PUT, id, 0))
        return broken(err, 8, "service %llu was changed by nobody", (ull)id);
    if (service->deleted && !old->deleted && !decided(txn, DECISION_SERVICE_DELETE, id, 0))
        return broken(err, 8, "service %llu was deleted by nobody", (ull)id);
    return 0;
}

/* Numbers go up, also over what is not stored any more: the service remembers the last. */
static int check_replica_new(const struct sim_store *before, const struct sim_txn *txn,
    const struct replica_row *replica, struct error *err)
{
    const struct service_row *service = sim_store_row(before, ROW_SERVICE, replica->service);
    if (service && replica->number <= service->number)
        return broken(err, 9, "replica %llu has number %d, which service %llu gave out before",
            (ull)replica->id, replica->number, (ull)service->id);
    for (size_t i = 0; i < txn->changes.count; i++) {
        const struct core_change *change = &txn->changes.items[i];
        const struct replica_row *other = change->row;
        if (change->kind == ROW_REPLICA && other->id != replica->id &&
            other->service == replica->service && other->number == replica->number)
            return broken(err, 9, "replicas %llu and %llu have the same number", (ull)replica->id,
                (ull)other->id);
    }
    return 0;
}

static int check_replica_change(const struct sim_store *before, const struct sim_txn *txn,
    const struct replica_row *old, const struct core_change *change, struct error *err)
{
    const struct replica_row *replica = change->row;
    if (change->change == CHANGE_DELETE)
        return broken(err, 9, "replica %llu is deleted", (ull)replica->id);
    if (!old && (check_replica_new(before, txn, replica, err) < 0 ||
                    invariants_replica_revision(before, txn, replica, err) < 0))
        return -1;
    if (old && old->arm != replica->arm &&
        (old->arm != ARM_CANARY || replica->arm != ARM_MAIN ||
            !decided(txn, DECISION_ROLLOUT_PROMOTE, replica->service, 0)))
        return broken(err, 9, "replica %llu left its arm and nobody promoted it", (ull)replica->id);
    if (old && (old->service != replica->service || old->job != replica->job ||
                   old->revision != replica->revision || old->number != replica->number))
        return broken(err, 9, "replica %llu is another one than before", (ull)replica->id);
    bool was_ready = old && old->ready;
    if (was_ready != replica->ready &&
        !decided(txn, was_ready ? DECISION_REPLICA_UNREADY : DECISION_REPLICA_READY,
            replica->service, replica->job))
        return broken(
            err, 8, "replica %llu got ready or unready without a decision", (ull)replica->id);
    const struct job_row *job = invariants_row_after(before, txn, ROW_JOB, replica->job);
    if (change->change == CHANGE_RETIRE && (!job || !job_state_ended(job->state)))
        return broken(err, 9, "replica %llu is gone and its job has not ended", (ull)replica->id);
    return 0;
}

int invariants_service_change(const struct sim_store *before, const struct sim_txn *txn,
    const struct core_change *change, struct error *err)
{
    const void *old = sim_store_row(before, change->kind, sim_row_id(change->row));
    if (change->kind == ROW_SERVICE)
        return check_service_change(txn, old, change, err);
    return check_replica_change(before, txn, old, change, err);
}

/* ---- stopping by choice -------------------------------------------------------------------- */

struct ready {
    uint64_t service, job;
};

/* Arms of a rollout serve what they are given and stop as it ends: only main replicas count. */
static bool is_main(const struct sim_store *before, const struct sim_txn *txn, uint64_t job)
{
    const struct replica_row *replica;
    for (size_t i = 0; i < txn->changes.count; i++) {
        replica = txn->changes.items[i].row;
        if (txn->changes.items[i].kind == ROW_REPLICA && replica->job == job)
            return replica->arm == ARM_MAIN;
    }
    for (each_row(replica_row, replica, before, ROW_REPLICA))
        if (replica->job == job)
            return replica->arm == ARM_MAIN;
    return true;
}

/* Those that are ready, as the decisions of a transaction go by. */
struct ready_list {
    struct ready *items;
    size_t count;
    size_t capacity;
};

static void ready_follow(struct ready_list *list, const struct core_decision *decision)
{
    if (decision->kind == DECISION_REPLICA_READY)
        vec_push(list, ((struct ready){decision->service, decision->job}));
    for (size_t i = 0; decision->kind == DECISION_REPLICA_UNREADY && i < list->count; i++) {
        if (list->items[i].job != decision->job)
            continue;
        vec_remove(list, i);
        return;
    }
}

static int check_replaced(const struct sim_store *before, const struct sim_txn *txn,
    const struct ready_list *list, uint64_t id, struct error *err)
{
    const struct service_row *service = invariants_row_after(before, txn, ROW_SERVICE, id);
    int32_t others = 0;
    for (size_t i = 0; i < list->count; i++)
        others += list->items[i].service == id && is_main(before, txn, list->items[i].job);
    if (service && others >= service->replicas - service->unavailable)
        return 0;
    return broken(err, 9, "a ready replica of service %llu is stopped by choice, %d others are",
        (ull)id, others);
}

int invariants_replaced(
    const struct sim_store *before, const struct sim_txn *txn, struct error *err)
{
    struct ready_list list = {0};
    const struct replica_row *replica;
    int result = 0;
    for (each_row(replica_row, replica, before, ROW_REPLICA))
        if (replica->ready)
            vec_push(&list, ((struct ready){replica->service, replica->job}));
    for (size_t i = 0; i < txn->decisions.count && result == 0; i++) {
        const struct core_decision *decision = &txn->decisions.items[i];
        ready_follow(&list, decision);
        if (decision->kind == DECISION_REPLICA_UNREADY && decision->reason == END_REPLACED &&
            is_main(before, txn, decision->job))
            result = check_replaced(before, txn, &list, decision->service, err);
    }
    vec_free(&list);
    return result;
}

/* ---- restarts ------------------------------------------------------------------------------ */

/* Ends that are no failure of the service. */
static bool is_innocent(const struct attempt_row *attempt)
{
    int32_t reason = attempt->end_reason;
    bool unstarted = reason == END_LOST && !attempt->started_ms;
    return reason == END_PREEMPTED || reason == END_DRAINED || reason == END_RESIZED ||
           reason == END_NODE_LOST || reason == END_MOVED || reason == END_HANDED_OVER || unstarted;
}

int invariants_restart(const struct job_row *old, const struct job_row *job,
    const struct attempt_row *attempt, struct error *err)
{
    if (!job->service || is_innocent(attempt))
        return 0;
    bool long_run =
        attempt->started_ms && attempt->ended_ms - attempt->started_ms > job->backoff_max_ms;
    if (job->failures != old->failures + 1 && !(long_run && job->failures == 1))
        return broken(err, 9, "job %llu, a service, failed %d times in a row and then %d",
            (ull)job->id, old->failures, job->failures);
    int64_t pause_ms = job->backoff_ms;
    for (int32_t i = 1; i < job->failures && pause_ms < job->backoff_max_ms; i++)
        pause_ms *= 2;
    pause_ms = pause_ms < job->backoff_max_ms ? pause_ms : job->backoff_max_ms;
    if (pause_ms > 0 && job->not_before_ms == attempt->ended_ms + pause_ms)
        return 0;
    return broken(err, 9, "job %llu, a service, failed %d times in a row and waits %lld of %lld ms",
        (ull)job->id, job->failures, (long long)(job->not_before_ms - attempt->ended_ms),
        (long long)pause_ms);
}

/* ---- rest ---------------------------------------------------------------------------------- */

/* 1: it has what it wants; 0: one of its replicas waits for room; -1. */
static int check_settled(
    const struct sim_store *store, const struct service_row *service, struct error *err)
{
    const struct replica_row *replica;
    int32_t good = 0, waiting = 0, goal = invariants_goal(store, service);
    for (each_row(replica_row, replica, store, ROW_REPLICA)) {
        const struct job_row *job = sim_store_row(store, ROW_JOB, replica->job);
        if (replica->service != service->id || job->cancel)
            continue;
        waiting += job->state == JOB_QUEUED;
        good += replica->arm == ARM_MAIN && replica->revision == goal && replica->ready;
    }
    int32_t count = existing(store, service->id, ARM_MAIN);
    if (waiting)
        return 0;
    for (int32_t arm = ARM_BASELINE; arm < ARM_COUNT; arm++)
        if (existing(store, service->id, arm) != invariants_arm_wanted(store, service, arm))
            return broken(err, 9, "service %llu is at rest with %d replicas in arm %d",
                (ull)service->id, existing(store, service->id, arm), arm);
    if (good == service->replicas && count == good)
        return 1;
    return broken(err, 9,
        "service %llu is at rest with %d replicas, %d of them of the wanted revision and ready;"
        " %d are wanted",
        (ull)service->id, count, good, service->replicas);
}

int invariants_settled(const struct sim_store *store, struct error *err)
{
    const struct service_row *service;
    int settled = 0;
    for (each_row(service_row, service, store, ROW_SERVICE)) {
        int one = check_settled(store, service, err);
        if (one < 0)
            return -1;
        settled += one;
    }
    return settled;
}
