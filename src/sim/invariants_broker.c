/* The invariant checker: pools that a job may come to, budgets, what is brought to sites, and
 * preemptions in one pool alone.
 *
 * Nothing is in two pools at once, whatever became of reports: not an attempt, not two attempts of
 * a job, not what preemptions keep for one. Preemptions for a job are made where its place is kept,
 * and it comes to no pool under a burst policy while that lasts. */
#include "sim/invariants_parts.h"

static const struct pool_row *pool_of_attempt(const struct sim_store *store, uint64_t attempt)
{
    const struct placement_row *placement;
    for (each_row(placement_row, placement, store, ROW_PLACEMENT))
        if (placement->attempt == attempt) {
            const struct node_row *node = sim_store_row(store, ROW_NODE, placement->node);
            return sim_store_row(store, ROW_POOL, node->pool);
        }
    return NULL;
}

static const struct broker_row *broker_of(const struct sim_store *store, uint64_t job)
{
    const struct broker_row *row;
    for (each_row(broker_row, row, store, ROW_BROKER))
        if (row->job == job)
            return row;
    return NULL;
}

static bool came_by_burst(const struct sim_txn *txn, uint64_t attempt)
{
    for (size_t i = 0; i < txn->decisions.count; i++)
        if (txn->decisions.items[i].kind == DECISION_BURST &&
            txn->decisions.items[i].attempt == attempt)
            return true;
    return false;
}

static int check_budget(
    const struct sim_store *store, const struct pool_row *pool, struct error *err)
{
    const struct broker_row *row;
    __int128 taken = pool->burst_spent_micro;
    for (each_row(broker_row, row, store, ROW_BROKER))
        taken += row->pool == pool->id ? row->reserved_micro : 0;
    if (taken > pool->burst_budget_micro)
        return broken(err, 4, "pool %llu has a budget of %lld, and %lld are taken", (ull)pool->id,
            (long long)pool->burst_budget_micro, (long long)taken);
    return 0;
}

/* Whether all that preemptions keep for the job is in that pool; 0: nothing is kept. */
static bool one_pool(const struct sim_store *store, uint64_t job, uint64_t pool)
{
    const struct claim_row *claim;
    for (each_row(claim_row, claim, store, ROW_CLAIM)) {
        const struct node_row *node = sim_store_row(store, ROW_NODE, claim->node);
        if (claim->job == job && node->pool != pool)
            return false;
    }
    return true;
}

/* Whether the job is a replica that serves, in no arm of a rollout. */
static bool serves(const struct sim_store *store, uint64_t job)
{
    const struct replica_row *row;
    for (each_row(replica_row, row, store, ROW_REPLICA))
        if (row->job == job)
            return row->arm == ARM_MAIN;
    return false;
}

static int check_burst(
    const struct sim_store *store, const struct core_decision *decision, struct error *err)
{
    const struct pool_row *pool = pool_of_attempt(store, decision->attempt);
    const struct job_row *job = sim_store_row(store, ROW_JOB, decision->job);
    const struct broker_row *row = broker_of(store, decision->job);
    if (!pool || pool->id != decision->pool || !pool->burst_budget_micro)
        return broken(
            err, 5, "job %llu came to a pool that has no burst policy", (ull)decision->job);
    if (!row || row->pool != pool->id || row->reserved_micro != decision->cost_micro)
        return broken(err, 5, "nothing is reserved for job %llu", (ull)decision->job);
    if (job->service ? !serves(store, job->id) || !row->lease_ms
                     : !job->time_limit_ms && !job->deadline_ms)
        return broken(err, 5, "nothing bounds what job %llu costs", (ull)decision->job);
    if (decision->burst == BURST_FOR_WAIT && decision->wait_ms <= pool->burst_after_ms)
        return broken(
            err, 5, "job %llu came to pool %llu too soon", (ull)decision->job, (ull)pool->id);
    if (!one_pool(store, decision->job, 0))
        return broken(err, 6, "job %llu came to pool %llu while others are preempted for it",
            (ull)decision->job, (ull)pool->id);
    return check_budget(store, pool, err);
}

static int check_admit(const struct sim_store *store, const struct sim_txn *txn,
    const struct core_decision *decision, struct error *err)
{
    const struct pool_row *pool = pool_of_attempt(store, decision->attempt);
    if (pool && pool->burst_budget_micro && !came_by_burst(txn, decision->attempt))
        return broken(err, 5, "attempt %llu is in pool %llu and came under no burst policy",
            (ull)decision->attempt, (ull)pool->id);
    return 0;
}

/* The first victim of a job in the transaction says which pool. */
static int check_victims(const struct sim_store *store, const struct sim_txn *txn,
    const struct core_decision *decision, struct error *err)
{
    const struct pool_row *pool = pool_of_attempt(store, decision->attempt);
    for (size_t i = 0; pool && i < txn->decisions.count; i++) {
        const struct core_decision *other = &txn->decisions.items[i];
        if (other->kind != DECISION_STOP || other->reason != END_PREEMPTED ||
            other->for_job != decision->for_job)
            continue;
        const struct pool_row *there = pool_of_attempt(store, other->attempt);
        if (there && there != pool)
            return broken(err, 6, "for job %llu others are preempted in pools %llu and %llu",
                (ull)decision->for_job, (ull)pool->id, (ull)there->id);
    }
    if (pool && !one_pool(store, decision->for_job, pool->id))
        return broken(err, 6,
            "for job %llu others are preempted in pool %llu, and a place is kept "
            "for it elsewhere",
            (ull)decision->for_job, (ull)pool->id);
    if (pool && pool->burst_budget_micro)
        return broken(err, 6, "job %llu is preempted in pool %llu, which has a burst policy",
            (ull)decision->job, (ull)pool->id);
    return 0;
}

/* ---- copies of what jobs read ---------------------------------------------------------------- */

static const struct copy_row *copy_at(
    const struct sim_store *store, uint32_t version, uint32_t site)
{
    const struct copy_row *row;
    for (each_row(copy_row, row, store, ROW_COPY))
        if (row->version == version && row->site == site)
            return row;
    return NULL;
}

/* What the transaction counted for bringing an attempt's data. */
static int64_t egress_of(const struct sim_txn *txn, uint64_t attempt)
{
    int64_t egress_micro = 0;
    for (size_t i = 0; i < txn->decisions.count; i++)
        if (txn->decisions.items[i].kind == DECISION_DATA_COPY &&
            txn->decisions.items[i].attempt == attempt)
            egress_micro += txn->decisions.items[i].cost_micro;
    return egress_micro;
}

/* Whether a pool may stand elsewhere since this transaction. */
static bool moved(const struct sim_txn *txn, uint64_t pool)
{
    for (size_t i = 0; i < txn->decisions.count; i++)
        if (txn->decisions.items[i].kind == DECISION_POOL_PUT &&
            txn->decisions.items[i].pool == pool)
            return true;
    return false;
}

/* What has started has what it reads, and its budget pays for what came with it, no more. */
static int check_start(const struct sim_store *store, const struct sim_txn *txn,
    const struct core_decision *decision, struct error *err)
{
    const struct pool_row *pool = pool_of_attempt(store, decision->attempt);
    const struct broker_row *broker = broker_of(store, decision->job);
    const struct data_row *data;
    if (!pool || moved(txn, pool->id))
        return 0; /* it ended in the same tick, or what its pool is changed in it */
    for (each_row(data_row, data, store, ROW_DATA))
        if (data->job == decision->job && data->version && pool->site && data->site != pool->site &&
            !copy_at(store, data->version, pool->site))
            return broken(err, 7, "job %llu started in pool %llu, and what it reads did not come",
                (ull)decision->job, (ull)pool->id);
    if (broker && broker->pool == pool->id &&
        broker->egress_micro > egress_of(txn, decision->attempt))
        return broken(err, 4, "job %llu pays for what was there before it", (ull)decision->job);
    return 0;
}

/* Of a version one row at a site, and in a transaction one decision to each. */
static int check_copies(const struct sim_store *store, const struct sim_txn *txn, struct error *err)
{
    const struct copy_row *row, *other;
    for (each_row(copy_row, row, store, ROW_COPY))
        for (each_row(copy_row, other, store, ROW_COPY))
            if (row != other && row->version == other->version && row->site == other->site)
                return broken(err, 4, "copies %llu and %llu are of one version at one site",
                    (ull)row->id, (ull)other->id);
    for (size_t i = 0; i < txn->decisions.count; i++)
        for (size_t k = 0; k < i; k++) {
            const struct core_decision *a = &txn->decisions.items[i];
            const struct core_decision *b = &txn->decisions.items[k];
            if (a->kind == DECISION_DATA_COPY && b->kind == DECISION_DATA_COPY &&
                a->version == b->version && a->site == b->site)
                return broken(err, 4, "egress of one version to one site is counted twice");
        }
    return 0;
}

/* Live attempts of a job, and what each of them holds, are in one pool. */
static int check_one_place(
    const struct sim_store *store, const struct placement_row *placement, struct error *err)
{
    const struct attempt_row *attempt = sim_store_row(store, ROW_ATTEMPT, placement->attempt);
    const struct node_row *node = sim_store_row(store, ROW_NODE, placement->node);
    const struct placement_row *other;
    for (each_row(placement_row, other, store, ROW_PLACEMENT)) {
        const struct attempt_row *of = sim_store_row(store, ROW_ATTEMPT, other->attempt);
        const struct node_row *there = sim_store_row(store, ROW_NODE, other->node);
        if (of->job == attempt->job && there->pool != node->pool)
            return broken(err, 2, "job %llu is in pools %llu and %llu at once", (ull)attempt->job,
                (ull)node->pool, (ull)there->pool);
    }
    return 0;
}

static int check_places(const struct sim_store *store, struct error *err)
{
    const struct placement_row *placement;
    const struct claim_row *claim;
    for (each_row(placement_row, placement, store, ROW_PLACEMENT))
        if (check_one_place(store, placement, err) < 0)
            return -1;
    for (each_row(claim_row, claim, store, ROW_CLAIM)) {
        const struct node_row *node = sim_store_row(store, ROW_NODE, claim->node);
        if (!one_pool(store, claim->job, node->pool))
            return broken(err, 6, "places are kept for job %llu in two pools", (ull)claim->job);
    }
    return 0;
}

/* A reservation lasts as long as its attempt. */
static int check_rows(const struct sim_store *store, struct error *err)
{
    const struct broker_row *row;
    for (each_row(broker_row, row, store, ROW_BROKER)) {
        const struct job_row *job = sim_store_row(store, ROW_JOB, row->job);
        const struct pool_row *pool = job->attempt ? pool_of_attempt(store, job->attempt) : NULL;
        if (row->pool && (!pool || pool->id != row->pool))
            return broken(err, 5, "job %llu has a reservation in pool %llu and is not there",
                (ull)row->job, (ull)row->pool);
        if (row->lease_ms && (!row->pool || !serves(store, job->id)))
            return broken(err, 5, "job %llu has a lease, and no place or an end", (ull)row->job);
        if (!row->pool && (row->reserved_micro || row->egress_micro || row->booked_micro))
            return broken(err, 5, "job %llu has a reservation and no pool", (ull)row->job);
    }
    return 0;
}

int invariants_pools(const struct sim_store *after, const struct sim_txn *txn, struct error *err)
{
    for (size_t i = 0; i < txn->decisions.count; i++) {
        const struct core_decision *decision = &txn->decisions.items[i];
        int rc = 0;
        if (decision->kind == DECISION_BURST)
            rc = check_burst(after, decision, err);
        else if (decision->kind == DECISION_ADMIT)
            rc = check_admit(after, txn, decision, err);
        else if (decision->kind == DECISION_START)
            rc = check_start(after, txn, decision, err);
        else if (decision->kind == DECISION_STOP && decision->reason == END_PREEMPTED &&
                 decision->for_job)
            rc = check_victims(after, txn, decision, err);
        if (rc < 0)
            return -1;
    }
    if (check_copies(after, txn, err) < 0 || check_places(after, err) < 0)
        return -1;
    return check_rows(after, err);
}
