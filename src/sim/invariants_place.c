/* The invariant checker: constraints of placements, and whether a job could start.
 *
 * Constraints are judged on the state after the tick: commands and reports come before decisions,
 * so what stood when a place was given out stands there, but for the attempts that this tick only
 * told to stop, which hold their places until they end. */
#include "sim/invariants_parts.h"

enum { RULE_TOLERATE = 16, RULE_NEAR = 17, RULE_APART = 18, EFFECT_LABEL = -1 };

/* The value of a node's label, or 0. */
static uint32_t node_label(const struct sim_store *store, uint64_t node, uint32_t key)
{
    const struct node_label_row *label;
    for (each_row(node_label_row, label, store, ROW_NODE_LABEL))
        if (label->node == node && label->effect == EFFECT_LABEL && label->key == key)
            return label->value;
    return 0;
}

static bool taint_tolerated(
    const struct sim_store *store, uint64_t shape, const struct node_label_row *taint)
{
    const struct rule_row *rule;
    for (each_row(rule_row, rule, store, ROW_RULE))
        if (rule->shape == shape && rule->rule == RULE_TOLERATE && rule->key == taint->key &&
            (rule->value == 0 || rule->value == taint->value))
            return true;
    return false;
}

static int check_taints(
    const struct sim_store *store, uint64_t shape, uint64_t node, struct error *err)
{
    const struct node_label_row *taint;
    for (each_row(node_label_row, taint, store, ROW_NODE_LABEL))
        if (taint->node == node && taint->effect != EFFECT_LABEL &&
            !taint_tolerated(store, shape, taint))
            return broken(err, 5, "taint %s is not tolerated", sim_store_symbol(store, taint->key));
    return 0;
}

/* Another job with that label holds a place on the node. */
static bool node_runs_label(
    const struct sim_store *store, uint64_t node, uint64_t but_job, uint32_t key, uint32_t value)
{
    const struct placement_row *placement;
    for (each_row(placement_row, placement, store, ROW_PLACEMENT)) {
        if (placement->node != node)
            continue;
        const struct attempt_row *attempt = sim_store_row(store, ROW_ATTEMPT, placement->attempt);
        if (attempt && attempt->job != but_job &&
            invariants_job_has_label(store, attempt->job, key, value))
            return true;
    }
    return false;
}

/* LABEL_IN: one of the values that the shape names for this key. */
static bool rule_in_holds(const struct sim_store *store, const struct rule_row *of, uint32_t has)
{
    const struct rule_row *rule;
    for (each_row(rule_row, rule, store, ROW_RULE))
        if (rule->shape == of->shape && rule->rule == LABEL_IN && rule->key == of->key &&
            rule->value == has)
            return true;
    return false;
}

static bool rule_near_holds(const struct sim_store *store, const struct job_row *job, uint64_t node)
{
    const struct rule_row *rule;
    for (each_row(rule_row, rule, store, ROW_RULE))
        if (rule->shape == job->shape && rule->rule == RULE_NEAR &&
            node_runs_label(store, node, job->id, rule->key, rule->value))
            return true;
    return false;
}

static int check_rule(const struct sim_store *store, const struct job_row *job,
    const struct rule_row *rule, uint64_t node, struct error *err)
{
    uint32_t has = node_label(store, node, rule->key);
    bool holds = true;
    switch (rule->rule) {
    case LABEL_IN: holds = has && rule_in_holds(store, rule, has); break;
    case LABEL_NOT_IN: holds = has != rule->value; break;
    case LABEL_EXISTS: holds = has != 0; break;
    case LABEL_ABSENT: holds = has == 0; break;
    case RULE_NEAR: holds = rule_near_holds(store, job, node); break;
    case RULE_APART: holds = !node_runs_label(store, node, job->id, rule->key, rule->value); break;
    }
    return holds ? 0
                 : broken(err, 5, "rule %llu (%d, %s) does not hold", (ull)rule->id, rule->rule,
                       sim_store_symbol(store, rule->key));
}

static int check_rules(
    const struct sim_store *store, const struct job_row *job, uint64_t node, struct error *err)
{
    const struct rule_row *rule;
    for (each_row(rule_row, rule, store, ROW_RULE))
        if (rule->shape == job->shape && check_rule(store, job, rule, node, err) < 0)
            return -1;
    return 0;
}

static int check_reservations(const struct sim_store *store, const struct job_row *job,
    uint64_t node, int64_t now_ms, struct error *err)
{
    const struct reservation_row *reservation;
    for (each_row(reservation_row, reservation, store, ROW_RESERVATION)) {
        if (reservation->node != node || reservation->end_ms <= now_ms)
            continue;
        if (!job->time_limit_ms || now_ms + job->time_limit_ms > reservation->begin_ms)
            return broken(err, 5, "maintenance from %lld to %lld is in the way",
                (long long)reservation->begin_ms, (long long)reservation->end_ms);
    }
    return 0;
}

/* Whether a job that moves between spot pools and others may be placed in the pool now. */
static bool spot_allows(const struct sim_store *store, uint64_t job, const struct pool_row *pool)
{
    const struct spot_row *row;
    for (each_row(spot_row, row, store, ROW_SPOT))
        if (row->job == job && row->now)
            return (row->now == SPOT_ON_SPOT) == pool->spot;
    return true;
}

int invariants_node_allowed(const struct sim_store *store, const struct job_row *job,
    const struct node_row *node, int64_t now_ms, struct error *err)
{
    const struct shape_row *shape = sim_store_row(store, ROW_SHAPE, job->shape);
    const struct pool_row *pool = sim_store_row(store, ROW_POOL, node->pool);
    if (node->state != NODE_UP || node->cordoned || node->draining)
        return broken(err, 5, "it takes nothing new");
    if (shape->pool && shape->pool != pool->name)
        return broken(err, 5, "another pool was asked for");
    if (shape->node_type && shape->node_type != node->type)
        return broken(err, 5, "another node type was asked for");
    if ((shape->spot == SPOT_NEVER && pool->spot) || (shape->spot == SPOT_ONLY && !pool->spot) ||
        !spot_allows(store, job->id, pool))
        return broken(err, 5, "spot capacity, or other, was asked for");
    if (shape->jurisdiction && shape->jurisdiction != pool->jurisdiction)
        return broken(err, 5, "another jurisdiction was asked for");
    if (shape->accelerator_milli && shape->accelerator != node->accelerator)
        return broken(err, 5, "another accelerator was asked for");
    if (shape->accelerator_milli % 1000 && !node->fractional)
        return broken(err, 5, "its devices are not shared");
    if (check_taints(store, job->shape, node->id, err) < 0)
        return -1;
    if (check_reservations(store, job, node->id, now_ms, err) < 0)
        return -1;
    return check_rules(store, job, node->id, err);
}

/* ---- admissions ------------------------------------------------------------------------ */

static int check_dependency(const struct sim_store *store, const struct dependency_row *dependency,
    uint64_t job, struct error *err)
{
    if (dependency->job != job)
        return 0;
    const struct job_row *on = sim_store_retired(store, ROW_JOB, dependency->on_job);
    if (on && (dependency->condition == DEPENDENCY_ENDED || on->state == JOB_SUCCEEDED))
        return 0;
    return broken(err, 1, "job %llu got a place before job %llu, on which it depends", (ull)job,
        (ull)dependency->on_job);
}

/* Dependencies are retired when what they waited for has ended: both kinds count. */
static int check_dependencies(const struct sim_store *store, uint64_t job, struct error *err)
{
    const struct dependency_row *dependency;
    for (each_row(dependency_row, dependency, store, ROW_DEPENDENCY))
        if (check_dependency(store, dependency, job, err) < 0)
            return -1;
    for (size_t i = 0; i < sim_store_retired_count(store, ROW_DEPENDENCY); i++)
        if (check_dependency(store, sim_store_retired_at(store, ROW_DEPENDENCY, i), job, err) < 0)
            return -1;
    return 0;
}

static int check_one_pool(const struct attempt_row *attempt, const struct node_row *node,
    uint64_t *pool, struct error *err)
{
    if (*pool && node->pool != *pool)
        return broken(err, 3, "attempt %llu is spread over pools %llu and %llu", (ull)attempt->id,
            (ull)*pool, (ull)node->pool);
    *pool = node->pool;
    return 0;
}

static int check_admitted(const struct sim_store *store, const struct attempt_row *attempt,
    int64_t now_ms, struct error *err)
{
    const struct job_row *job = sim_store_row(store, ROW_JOB, attempt->job);
    const struct placement_row *placement;
    uint64_t pool = 0;
    const struct node_row *first = NULL;
    if (job->not_before_ms > now_ms)
        return broken(err, 1, "job %llu got a place before its moment", (ull)job->id);
    if (job->cancel)
        return broken(err, 1, "job %llu got a place although it is cancelled", (ull)job->id);
    if (check_dependencies(store, job->id, err) < 0)
        return -1;
    for (each_row(placement_row, placement, store, ROW_PLACEMENT)) {
        if (placement->attempt != attempt->id)
            continue;
        const struct node_row *node = sim_store_row(store, ROW_NODE, placement->node);
        if (check_one_pool(attempt, node, &pool, err) < 0)
            return -1;
        first = first ? first : node;
        if (!invariants_same_domain(
                store, sim_store_row(store, ROW_SHAPE, job->shape), first, node))
            return broken(err, 5, "attempt %llu is in two domains", (ull)attempt->id);
        if (invariants_node_allowed(store, job, node, now_ms, err) < 0)
            return error_prefix(err, "attempt %llu of job %llu on node %llu", (ull)attempt->id,
                (ull)job->id, (ull)node->id);
    }
    return invariants_quota_kept(store, job, err);
}

/* A team takes in no more jobs than it may have; a bound that was lowered since is no fault. */
static int check_submitted(const struct sim_store *store, const struct sim_txn *txn,
    const struct core_decision *decision, struct error *err)
{
    const struct job_row *submitted = sim_store_row(store, ROW_JOB, decision->job);
    const struct team_row *team =
        submitted ? sim_store_row(store, ROW_TEAM, submitted->team) : NULL;
    const struct job_row *job;
    int64_t count = 0;
    if (!team || sim_txn_decision(txn, DECISION_TEAM_PUT, DECISION_OF_TEAM, team->id))
        return 0;
    for (each_row(job_row, job, store, ROW_JOB))
        count += job->team == team->id;
    return count <= team->jobs_max
               ? 0
               : broken(err, 4, "team %llu has %lld jobs, allowed are %lld", (ull)team->id,
                     (long long)count, (long long)team->jobs_max);
}

int invariants_admission(
    const struct sim_store *after, const struct sim_txn *txn, int64_t now_ms, struct error *err)
{
    if (invariants_pools(after, txn, err) < 0)
        return -1;
    for (size_t i = 0; i < txn->decisions.count; i++) {
        const struct core_decision *decision = &txn->decisions.items[i];
        if (decision->kind == DECISION_JOB_SUBMIT && check_submitted(after, txn, decision, err) < 0)
            return -1;
        if (decision->kind == DECISION_STOP && decision->reason == END_PREEMPTED &&
            invariants_preempted(after, decision, now_ms, err) < 0)
            return -1;
        if (decision->kind == DECISION_STOP && decision->reason == END_RESIZED &&
            invariants_resized(after, decision, now_ms, err) < 0)
            return -1;
        if (decision->kind != DECISION_ADMIT)
            continue;
        const struct attempt_row *attempt = sim_store_row(after, ROW_ATTEMPT, decision->attempt);
        if (!attempt)
            return broken(
                err, 8, "attempt %llu got a place and is not stored", (ull)decision->attempt);
        if (check_admitted(after, attempt, now_ms, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- starvation ------------------------------------------------------------------------ */

static int64_t fits(int64_t has, int64_t asks)
{
    return asks > 0 ? has / asks : INT64_MAX;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* How many ranks an idle node could hold. */
static int64_t node_ranks(const struct node_row *node, const struct shape_row *shape)
{
    int64_t ranks = fits(node->cpu_milli, shape->cpu_milli);
    ranks = least(ranks, fits(node->memory_bytes, shape->memory_bytes));
    ranks = least(ranks, fits(node->disk_bytes, shape->disk_bytes));
    if (shape->accelerator_milli >= 1000)
        return least(ranks, node->devices * (int64_t)1000 / shape->accelerator_milli);
    if (shape->accelerator_milli > 0)
        return node->fractional ? least(ranks, node->devices * (1000 / shape->accelerator_milli))
                                : 0;
    return ranks;
}

/* How many ranks the idle nodes of a node's domain could hold, or of its pool. */
static int64_t domain_ranks(const struct sim_store *store, const struct job_row *job,
    const struct node_row *first, int64_t now_ms)
{
    const struct shape_row *shape = sim_store_row(store, ROW_SHAPE, job->shape);
    const struct node_row *node;
    int64_t ranks = 0;
    for (each_row(node_row, node, store, ROW_NODE))
        if (invariants_same_domain(store, shape, first, node) &&
            invariants_node_allowed(store, job, node, now_ms, NULL) == 0)
            ranks += least(node_ranks(node, shape), 1 << 20);
    return ranks;
}

/* A gang stays within one pool. */
static bool could_start(const struct sim_store *store, const struct job_row *job, int64_t now_ms)
{
    const struct node_row *node;
    if (job->state != JOB_QUEUED || job->cancel || !invariants_quota_allows(store, job, job->size))
        return false;
    for (each_row(node_row, node, store, ROW_NODE)) {
        const struct pool_row *pool = sim_store_row(store, ROW_POOL, node->pool);
        if (!pool->burst_budget_micro && domain_ranks(store, job, node, now_ms) >= job->size)
            return true;
    }
    return false;
}

int invariants_idle(const struct sim_store *store, int64_t now_ms, struct error *err)
{
    const struct job_row *job;
    if (sim_store_count(store, ROW_ATTEMPT))
        return 0;
    for (each_row(job_row, job, store, ROW_JOB))
        if (could_start(store, job, now_ms))
            return broken(err, 4,
                "job %llu fits into the idle cluster and its team's limits, and"
                " does not start",
                (ull)job->id);
    return 0;
}

/* Maintenance has begun: whoever is on the node was told to stop. */
static int check_maintenance(const struct sim_store *store,
    const struct reservation_row *reservation, int64_t now_ms, struct error *err)
{
    const struct placement_row *placement;
    if (reservation->begin_ms > now_ms || reservation->end_ms <= now_ms)
        return 0;
    for (each_row(placement_row, placement, store, ROW_PLACEMENT)) {
        const struct attempt_row *attempt = sim_store_row(store, ROW_ATTEMPT, placement->attempt);
        if (placement->node == reservation->node && attempt->stop_reason == END_NONE)
            return broken(err, 5, "attempt %llu runs on node %llu into its maintenance",
                (ull)attempt->id, (ull)placement->node);
    }
    return 0;
}

int invariants_time(const struct sim_store *store, int64_t now_ms, struct error *err)
{
    const struct attempt_row *attempt;
    for (each_row(attempt_row, attempt, store, ROW_ATTEMPT)) {
        const struct job_row *job = sim_store_row(store, ROW_JOB, attempt->job);
        if (attempt->stop_reason != END_NONE)
            continue;
        if (job->time_limit_ms && attempt->state == ATTEMPT_STARTED &&
            attempt->started_ms + job->time_limit_ms <= now_ms)
            return broken(err, 1, "attempt %llu is beyond its time limit and not told to stop",
                (ull)attempt->id);
        if (job->cancel)
            return broken(
                err, 1, "attempt %llu of a cancelled job is not told to stop", (ull)attempt->id);
    }
    const struct reservation_row *reservation;
    for (each_row(reservation_row, reservation, store, ROW_RESERVATION))
        if (check_maintenance(store, reservation, now_ms, err) < 0)
            return -1;
    const struct job_row *job;
    for (each_row(job_row, job, store, ROW_JOB))
        if (job->deadline_ms && job->deadline_ms < now_ms && job->state != JOB_STOPPING)
            return broken(err, 1, "job %llu is beyond its deadline", (ull)job->id);
    return 0;
}
