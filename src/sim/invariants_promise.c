/* The invariant checker: promises of a place and a moment, and gangs within one domain.
 *
 * A promise is judged by what is stored: on each of its nodes, what it keeps and what attempts hold
 * there beyond its moment fit together. So nothing that starts can take away what is kept. */
#include "sim/invariants_parts.h"

#include "core/limits.h"
#include "spec/kinds.h"

#include <string.h>

static int64_t sum_ms(int64_t a, int64_t b)
{
    return a > MOMENT_NEVER - b ? MOMENT_NEVER : a + b;
}

/* The last moment at which the attempt is there, if its engine does as it is told. */
static int64_t leaves_ms(const struct job_row *job, const struct attempt_row *attempt)
{
    int64_t end_ms = MOMENT_NEVER;
    if (job->time_limit_ms)
        end_ms = sum_ms(attempt->admitted_ms, job->time_limit_ms);
    if (job->deadline_ms && job->deadline_ms < end_ms)
        end_ms = job->deadline_ms;
    if (attempt->stop_reason != END_NONE && attempt->stop_ms < end_ms)
        end_ms = attempt->stop_ms;
    return sum_ms(end_ms, job->grace_ms);
}

static bool stays(const struct sim_store *store, const struct promise_row *promise,
    const struct attempt_row *attempt)
{
    const struct job_row *job = sim_store_row(store, ROW_JOB, attempt->job);
    int64_t end_ms = leaves_ms(job, attempt);
    if (end_ms <= promise->begin_ms)
        return false;
    bool waited_for = promise->open && attempt->id <= promise->last_attempt;
    return !(waited_for && !job->time_limit_ms && !job->deadline_ms && !job->service);
}

struct held {
    int64_t cpu_milli, memory_bytes, disk_bytes;
    int64_t devices[DEVICES_MAX];
};

static void hold(struct held *held, const struct shape_row *shape, int64_t ranks, uint64_t devices,
    int64_t device_milli)
{
    struct holding holding = invariants_holding(shape, ranks);
    held->cpu_milli += holding.cpu_milli;
    held->memory_bytes += holding.memory_bytes;
    held->disk_bytes += holding.disk_bytes;
    for (int d = 0; d < DEVICES_MAX; d++)
        held->devices[d] += (devices >> d & 1) ? device_milli : 0;
}

static bool over(int64_t kept, int64_t held, int64_t has)
{
    return kept > 0 && kept + held > has;
}

/* Everything that the promise of this row's job keeps of its node, and what stays there. */
static int check_node(
    const struct sim_store *store, const struct promise_row *promise, struct error *err)
{
    const struct node_row *node = sim_store_row(store, ROW_NODE, promise->node);
    const struct job_row *job = sim_store_row(store, ROW_JOB, promise->job);
    const struct promise_row *other;
    const struct placement_row *placement;
    struct held kept = {0}, held = {0};
    for (each_row(promise_row, other, store, ROW_PROMISE)) {
        if (other->node != node->id)
            continue;
        if (other->job != job->id)
            return broken(err, 10, "node %llu is promised to two jobs", (ull)node->id);
        hold(&kept, sim_store_row(store, ROW_SHAPE, job->shape), other->ranks, other->devices,
            other->device_milli);
    }
    for (each_row(placement_row, placement, store, ROW_PLACEMENT)) {
        const struct attempt_row *attempt = sim_store_row(store, ROW_ATTEMPT, placement->attempt);
        if (placement->node == node->id && stays(store, promise, attempt))
            hold(&held, invariants_shape(store, attempt->id), placement->ranks, placement->devices,
                placement->device_milli);
    }
    bool full = over(kept.cpu_milli, held.cpu_milli, node->cpu_milli) ||
                over(kept.memory_bytes, held.memory_bytes, node->memory_bytes) ||
                over(kept.disk_bytes, held.disk_bytes, node->disk_bytes);
    for (int d = 0; d < DEVICES_MAX; d++)
        full |= over(kept.devices[d], held.devices[d], 1000);
    return full ? broken(err, 10, "what is promised to job %llu of node %llu is held beyond %lld",
                      (ull)job->id, (ull)node->id, (long long)promise->begin_ms)
                : 0;
}

static int check_job(
    const struct sim_store *store, const struct promise_row *promise, struct error *err)
{
    const struct job_row *job = sim_store_row(store, ROW_JOB, promise->job);
    const struct node_row *node = sim_store_row(store, ROW_NODE, promise->node);
    const struct promise_row *other;
    int64_t ranks = 0;
    if (job->state != JOB_QUEUED)
        return broken(
            err, 10, "job %llu is in state %d and has a promise", (ull)job->id, job->state);
    for (each_row(promise_row, other, store, ROW_PROMISE)) {
        const struct node_row *there = sim_store_row(store, ROW_NODE, other->node);
        ranks += other->job == job->id ? other->ranks : 0;
        if ((other->job == job->id) != (there->pool == node->pool))
            return broken(
                err, 10, "pool %llu promises to two jobs, or two to one", (ull)node->pool);
    }
    if (ranks != job->size_min)
        return broken(err, 10, "job %llu is promised %lld ranks of %d", (ull)job->id,
            (long long)ranks, job->size_min);
    return 0;
}

int invariants_promises(const struct sim_store *store, struct error *err)
{
    const struct promise_row *promise;
    for (each_row(promise_row, promise, store, ROW_PROMISE))
        if (check_job(store, promise, err) < 0 || check_node(store, promise, err) < 0)
            return -1;
    return 0;
}

/* Whether a decision of the transaction may move the promise of the job: nodes or limits changed,
 * something happened to the job itself, or one that goes before it got a place or a promise. */
static bool may_move(const struct sim_store *before, const struct core_decision *decision,
    const struct job_row *job, bool guarantees)
{
    const struct job_row *other = sim_store_row(before, ROW_JOB, decision->job);
    switch (decision->kind) {
    case DECISION_ADMIT:
    case DECISION_CLAIM:
    case DECISION_PROMISE:
        if (decision->job == job->id)
            return decision->kind != DECISION_PROMISE;
        return !other || guarantees || other->priority > job->priority;
    case DECISION_START:
    case DECISION_STOP:
    case DECISION_END:
    case DECISION_JOB_SUBMIT: return false;
    default: return true;
    }
}

static bool has_guarantees(const struct sim_store *store)
{
    const struct quota_row *quota;
    for (each_row(quota_row, quota, store, ROW_QUOTA))
        if (quota->guarantee > 0)
            return true;
    return false;
}

static const struct promise_row *promise_of(const struct sim_store *store, uint64_t job)
{
    const struct promise_row *promise;
    for (each_row(promise_row, promise, store, ROW_PROMISE))
        if (promise->job == job)
            return promise;
    return NULL;
}

int invariants_promise_change(const struct sim_store *before, const struct sim_txn *txn,
    const struct promise_row *promise, struct error *err)
{
    const struct promise_row *old = promise_of(before, promise->job);
    const struct job_row *job = sim_store_row(before, ROW_JOB, promise->job);
    if (!old || !job)
        return 0;
    bool later = promise->open != old->open ? promise->open : promise->begin_ms > old->begin_ms;
    bool reason = !later;
    bool guarantees = has_guarantees(before);
    for (size_t i = 0; i < txn->decisions.count && !reason; i++)
        reason = may_move(before, &txn->decisions.items[i], job, guarantees);
    return reason ? 0
                  : broken(err, 10, "job %llu was promised %lld and is now promised %lld",
                        (ull)job->id, (long long)old->begin_ms, (long long)promise->begin_ms);
}

/* ---- topology ---------------------------------------------------------------------------- */

static uint32_t label_value(const struct sim_store *store, uint64_t node, uint32_t key)
{
    const struct node_label_row *label;
    for (each_row(node_label_row, label, store, ROW_NODE_LABEL))
        if (label->node == node && label->effect < 0 && label->key == key)
            return label->value;
    return 0;
}

static bool has_level(const struct sim_store *store, uint64_t pool, uint32_t name)
{
    const struct level_row *level;
    for (each_row(level_row, level, store, ROW_LEVEL))
        if (level->pool == pool && level->name == name)
            return true;
    return false;
}

bool invariants_same_domain(const struct sim_store *store, const struct shape_row *shape,
    const struct node_row *a, const struct node_row *b)
{
    const struct level_row *level;
    if (shape->topology != WISH_REQUIRED || a->pool != b->pool)
        return a->pool == b->pool;
    if (!has_level(store, a->pool, shape->within)) {
        const struct symbol_row *within = sim_store_row(store, ROW_SYMBOL, shape->within);
        return a->id == b->id && within &&
               (strcmp(within->text, "node") == 0 || strcmp(within->text, "socket") == 0);
    }
    for (each_row(level_row, level, store, ROW_LEVEL)) {
        if (level->pool != a->pool)
            continue;
        uint32_t value = label_value(store, a->id, level->label);
        if (value == 0 || value != label_value(store, b->id, level->label))
            return false;
        if (level->name == shape->within)
            break;
    }
    return true;
}
