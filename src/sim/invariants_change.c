/* The invariant checker: what changes from one stored state to the next.
 *
 * Invariants of its own: `accounts` has one entry for each attempt that was charged and has not
 * ended; `accepted` has the id of every job that was answered as accepted, ascending by time. */
#include "sim/invariants_parts.h"

#include "base/map.h"
#include "base/vec.h"

#include <stdlib.h>

/* What was charged of an attempt so far: amounts times milliseconds. */
struct account {
    __int128 cpu, memory, disk, accelerators;
};

struct invariants {
    VEC(uint64_t) accepted;
    struct idmap accounts;
    VEC(struct account *) owned;
    struct invariants_counts counts;
};

struct invariants *invariants_create(void)
{
    return mem_alloc(1, sizeof(struct invariants));
}

void invariants_destroy(struct invariants *inv)
{
    if (!inv)
        return;
    for (size_t i = 0; i < inv->owned.count; i++)
        free(inv->owned.items[i]);
    vec_free(&inv->owned);
    vec_free(&inv->accepted);
    idmap_finish(&inv->accounts);
    free(inv);
}

int invariants_services_settled(
    struct invariants *inv, const struct sim_store *store, struct error *err)
{
    int settled = invariants_settled(store, err);
    inv->counts.services_settled += settled > 0 ? (uint64_t)settled : 0;
    return settled < 0 ? -1 : 0;
}

const struct invariants_counts *invariants_count(const struct invariants *inv)
{
    return &inv->counts;
}

/* ---- decisions ------------------------------------------------------------------------- */

static int need_decision(const struct sim_txn *txn, enum decision_kind kind, enum decision_field of,
    uint64_t id, struct error *err)
{
    if (sim_txn_decision(txn, kind, of, id))
        return 0;
    return broken(err, 8, "a change of %llu has no decision %s", (ull)id, decision_names[kind]);
}

static const struct core_change *find_change(
    const struct sim_txn *txn, enum row_kind kind, uint64_t id)
{
    for (size_t i = 0; i < txn->changes.count; i++)
        if (txn->changes.items[i].kind == kind && sim_row_id(txn->changes.items[i].row) == id)
            return &txn->changes.items[i];
    return NULL;
}

/* Which row has to change for a decision to be true. */
static int check_decision(
    const struct sim_txn *txn, const struct core_decision *decision, struct error *err)
{
    static const struct {
        enum row_kind kind;
        enum decision_field of;
        bool one; /* the row of that id has to change; elsewhere several may, or none */
    } changes[DECISION_KIND_COUNT] = {
        [DECISION_JOB_SUBMIT] = {ROW_JOB, DECISION_OF_JOB, true},
        [DECISION_NODE_LOST] = {ROW_NODE, DECISION_OF_NODE, true},
        [DECISION_NODE_UP] = {ROW_NODE, DECISION_OF_NODE, true},
        [DECISION_ADMIT] = {ROW_ATTEMPT, DECISION_OF_ATTEMPT, true},
        [DECISION_START] = {ROW_ATTEMPT, DECISION_OF_ATTEMPT, true},
        [DECISION_STOP] = {ROW_ATTEMPT, DECISION_OF_ATTEMPT, true},
        [DECISION_END] = {ROW_ATTEMPT, DECISION_OF_ATTEMPT, true},
        [DECISION_REQUEUE] = {ROW_JOB, DECISION_OF_JOB, true},
        [DECISION_JOB_END] = {ROW_JOB, DECISION_OF_JOB, true},
    };
    uint64_t id = changes[decision->kind].of == DECISION_OF_JOB       ? decision->job
                  : changes[decision->kind].of == DECISION_OF_ATTEMPT ? decision->attempt
                                                                      : decision->node;
    if (changes[decision->kind].one && !find_change(txn, changes[decision->kind].kind, id))
        return broken(
            err, 8, "decision %s of %llu changed nothing", decision_names[decision->kind], (ull)id);
    return 0;
}

/* ---- jobs ------------------------------------------------------------------------------ */

/* Ends after which a job with retries left tries again. */
static bool is_retried(int32_t reason)
{
    static const bool retried[END_REASON_COUNT] = {[END_EXIT] = true,
        [END_SIGNAL] = true,
        [END_OUT_OF_MEMORY] = true,
        [END_DISK_QUOTA] = true,
        [END_START_FAILED] = true,
        [END_NODE_LOST] = true,
        [END_LOST] = true};
    return retried[reason];
}

static int check_job_end(const struct job_row *job, int64_t now_ms, struct error *err)
{
    if (job->service && job->state != JOB_CANCELLED && job->end_reason != END_DEADLINE &&
        job->end_reason != END_DEPENDENCY)
        return broken(err, 1,
            "job %llu is a service, nobody stopped it, and it ended for reason %d", (ull)job->id,
            job->end_reason);
    if (!job_state_ended(job->state))
        return broken(err, 1, "job %llu is retired in state %d", (ull)job->id, job->state);
    if (job->ended_ms <= 0 || job->ended_ms > now_ms || job->attempt)
        return broken(err, 1, "job %llu ended at %lld with attempt %llu", (ull)job->id,
            (long long)job->ended_ms, (ull)job->attempt);
    if ((job->state == JOB_SUCCEEDED) != (job->end_reason == END_SUCCEEDED) ||
        job->end_reason == END_NONE)
        return broken(err, 1, "job %llu is in state %d for reason %d", (ull)job->id, job->state,
            job->end_reason);
    if (job->state == JOB_FAILED && job->retries_left > 0 && is_retried(job->end_reason))
        return broken(
            err, 1, "job %llu failed with %d retries left", (ull)job->id, job->retries_left);
    return 0;
}

/* What a job has used up while it competes again: a retry for a failure, nothing for a
 * preemption, a drain or a change of size. */
static int check_requeue(const struct sim_store *before, const struct sim_txn *txn,
    const struct job_row *old, const struct job_row *job, struct error *err)
{
    const struct core_change *end = find_change(txn, ROW_ATTEMPT, old->attempt);
    if (!end || end->change != CHANGE_RETIRE || !sim_store_row(before, ROW_ATTEMPT, old->attempt))
        return broken(err, 2, "job %llu let go of attempt %llu, which has not ended", (ull)job->id,
            (ull)old->attempt);
    const struct attempt_row *attempt = end->row;
    if (invariants_restart(old, job, attempt, err) < 0)
        return -1;
    int32_t used = old->retries_left - job->retries_left;
    bool is_free = attempt->end_reason == END_PREEMPTED || attempt->end_reason == END_DRAINED ||
                   attempt->end_reason == END_RESIZED || attempt->end_reason == END_MOVED ||
                   attempt->end_reason == END_HANDED_OVER;
    if (is_free ? used != 0 : used < 0 || used > 1)
        return broken(err, 1, "job %llu used %d retries for reason %d", (ull)job->id, used,
            attempt->end_reason);
    return need_decision(txn, DECISION_REQUEUE, DECISION_OF_JOB, job->id, err);
}

/* Its service told it to stop. */
static bool is_replaced(const struct sim_txn *txn, uint64_t job)
{
    for (size_t i = 0; i < txn->decisions.count; i++)
        if (txn->decisions.items[i].job == job && txn->decisions.items[i].kind == DECISION_STOP &&
            txn->decisions.items[i].reason == END_REPLACED)
            return true;
    return false;
}

static int check_job_change(const struct sim_store *before, const struct sim_txn *txn,
    const struct job_row *old, const struct core_change *change, int64_t now_ms, struct error *err)
{
    const struct job_row *job = change->row;
    if (change->change == CHANGE_DELETE)
        return broken(err, 1, "job %llu is deleted", (ull)job->id);
    if (old && (job->team != old->team || job->name != old->name || job->size != old->size ||
                   job->array != old->array || job->submitted_ms != old->submitted_ms ||
                   job->attempts < old->attempts || job->preemptions < old->preemptions))
        return broken(err, 1, "job %llu is another one than before", (ull)job->id);
    uint64_t submitted = job->array ? job->array : job->id;
    if (!old && need_decision(txn, DECISION_JOB_SUBMIT, DECISION_OF_JOB, submitted, err) < 0)
        return -1;
    if (old && old->attempt && old->attempt != job->attempt && change->change == CHANGE_PUT &&
        check_requeue(before, txn, old, job, err) < 0)
        return -1;
    if (old && !old->cancel && job->cancel && job->end_reason != END_REPLACED &&
        !is_replaced(txn, job->id) &&
        need_decision(txn, DECISION_JOB_CANCEL, DECISION_OF_JOB, job->id, err) < 0)
        return -1;
    if (change->change == CHANGE_PUT)
        return 0;
    if (need_decision(txn, DECISION_JOB_END, DECISION_OF_JOB, job->id, err) < 0)
        return -1;
    return check_job_end(job, now_ms, err);
}

/* ---- attempts -------------------------------------------------------------------------- */

static int check_attempt_new(const struct sim_store *before, const struct sim_txn *txn,
    const struct attempt_row *attempt, int64_t now_ms, struct error *err)
{
    const struct job_row *job = sim_store_row(before, ROW_JOB, attempt->job);
    int32_t earlier = job ? job->attempts : 0;
    if (attempt->number != earlier + 1)
        return broken(err, 2, "job %llu had %d attempts, attempt %llu has number %d",
            (ull)attempt->job, earlier, (ull)attempt->id, attempt->number);
    if (job && job->attempt && sim_store_row(before, ROW_ATTEMPT, job->attempt)) {
        const struct core_change *end = find_change(txn, ROW_ATTEMPT, job->attempt);
        if (!end || end->change != CHANGE_RETIRE)
            return broken(err, 2, "job %llu has attempt %llu while %llu lives", (ull)job->id,
                (ull)attempt->id, (ull)job->attempt);
    }
    if (attempt->admitted_ms != now_ms)
        return broken(err, 8, "attempt %llu is admitted at %lld, it is %lld", (ull)attempt->id,
            (long long)attempt->admitted_ms, (long long)now_ms);
    return need_decision(txn, DECISION_ADMIT, DECISION_OF_ATTEMPT, attempt->id, err);
}

static int check_attempt_end(const struct attempt_row *attempt, int64_t now_ms, struct error *err)
{
    if (attempt->state != ATTEMPT_ENDED || attempt->end_reason == END_NONE ||
        attempt->ended_ms < attempt->admitted_ms || attempt->ended_ms > now_ms)
        return broken(err, 2, "attempt %llu is retired in state %d, reason %d, at %lld",
            (ull)attempt->id, attempt->state, attempt->end_reason, (long long)attempt->ended_ms);
    return 0;
}

static int check_attempt_change(const struct sim_store *before, const struct sim_txn *txn,
    const struct attempt_row *old, const struct core_change *change, int64_t now_ms,
    struct error *err)
{
    const struct attempt_row *attempt = change->row;
    if (change->change == CHANGE_DELETE)
        return broken(err, 2, "attempt %llu is deleted", (ull)attempt->id);
    if (!old && check_attempt_new(before, txn, attempt, now_ms, err) < 0)
        return -1;
    if (old &&
        (old->job != attempt->job || old->size != attempt->size || old->number != attempt->number ||
            old->state > attempt->state || old->admitted_ms != attempt->admitted_ms ||
            (old->started_ms && old->started_ms != attempt->started_ms) ||
            (old->stop_ms && old->stop_ms != attempt->stop_ms)))
        return broken(err, 2, "attempt %llu is another one than before", (ull)attempt->id);
    bool started = attempt->started_ms && !(old && old->started_ms);
    if (started && need_decision(txn, DECISION_START, DECISION_OF_ATTEMPT, attempt->id, err) < 0)
        return -1;
    bool stopped = attempt->stop_reason != END_NONE && !(old && old->stop_reason != END_NONE);
    if (stopped && need_decision(txn, DECISION_STOP, DECISION_OF_ATTEMPT, attempt->id, err) < 0)
        return -1;
    if (change->change == CHANGE_PUT)
        return 0;
    if (need_decision(txn, DECISION_END, DECISION_OF_ATTEMPT, attempt->id, err) < 0)
        return -1;
    return check_attempt_end(attempt, now_ms, err);
}

/* ---- nodes, pools, teams, claims ---------------------------------------------------------- */

static int check_node_change(const struct sim_txn *txn, const struct node_row *old,
    const struct core_change *change, struct error *err)
{
    const struct node_row *node = change->row;
    if (change->change != CHANGE_PUT || !old)
        return sim_txn_decision(
                   txn, DECISION_POOL_PUT, DECISION_OF_POOL, old ? old->pool : node->pool) ||
                       change->change != CHANGE_PUT
                   ? 0
                   : broken(err, 8, "node %llu appeared without a pool's change", (ull)node->id);
    if (old->state != node->state)
        return need_decision(txn, node->state == NODE_LOST ? DECISION_NODE_LOST : DECISION_NODE_UP,
            DECISION_OF_NODE, node->id, err);
    if (old->draining != node->draining && node->draining)
        return need_decision(txn, DECISION_NODE_DRAIN, DECISION_OF_NODE, node->id, err);
    return 0;
}

/* Whether only what was seen of its spot nodes differs, or what ended attempts took of its budget.
 */
static bool only_seen(const struct pool_row *old, const struct pool_row *pool)
{
    struct pool_row other;
    memcpy(&other, old, sizeof other);
    if (pool->spot) {
        other.spot_up_ms = pool->spot_up_ms;
        other.spot_down_ms = pool->spot_down_ms;
        other.spot_losses = pool->spot_losses;
        other.spot_at_ms = pool->spot_at_ms;
    }
    other.burst_spent_micro = pool->burst_spent_micro;
    other.burst_begin_ms = pool->burst_begin_ms;
    return memcmp(&other, pool, sizeof other) == 0;
}

static int check_other_change(const struct sim_store *before, const struct sim_txn *txn,
    const void *old, const struct core_change *change, struct error *err)
{
    uint64_t id = sim_row_id(change->row);
    bool gone = change->change != CHANGE_PUT;
    if (change->kind == ROW_POOL && !gone && old && only_seen(old, change->row))
        return 0;
    if (change->kind == ROW_POOL)
        return need_decision(
            txn, gone ? DECISION_POOL_DELETE : DECISION_POOL_PUT, DECISION_OF_POOL, id, err);
    if (change->kind == ROW_TEAM && (gone || !old))
        return need_decision(
            txn, gone ? DECISION_TEAM_DELETE : DECISION_TEAM_PUT, DECISION_OF_TEAM, id, err);
    if (change->kind == ROW_CLAIM && !gone && !old)
        return need_decision(txn, DECISION_CLAIM, DECISION_OF_JOB,
            ((const struct claim_row *)change->row)->job, err);
    if (change->kind == ROW_PROMISE && !gone && !old)
        return need_decision(txn, DECISION_PROMISE, DECISION_OF_JOB,
                   ((const struct promise_row *)change->row)->job, err) < 0
                   ? -1
                   : invariants_promise_change(before, txn, change->row, err);
    return 0;
}

/* ---- charges --------------------------------------------------------------------------- */

static struct account *account_of(struct invariants *inv, uint64_t attempt)
{
    struct account *account = idmap_get(&inv->accounts, attempt);
    if (account)
        return account;
    account = mem_alloc(1, sizeof *account);
    vec_push(&inv->owned, account);
    idmap_put(&inv->accounts, attempt, account);
    return account;
}

static int check_charge(struct invariants *inv, const struct sim_store *before,
    const struct charge_row *charge, struct error *err)
{
    int64_t length_ms = charge->end_ms - charge->begin_ms;
    struct account *account = account_of(inv, charge->attempt);
    if (invariants_charge(before, charge, err) < 0)
        return -1;
    account->cpu += (__int128)charge->cpu_milli * length_ms;
    account->memory += (__int128)charge->memory_bytes * length_ms;
    account->disk += (__int128)charge->disk_bytes * length_ms;
    account->accelerators += (__int128)charge->accelerator_milli * length_ms;
    inv->counts.charges++;
    return 0;
}

/* An attempt that ended was charged for exactly what it held, from admission to end. */
static int check_account(struct invariants *inv, const struct sim_store *before,
    const struct attempt_row *attempt, struct error *err)
{
    const struct job_row *job = sim_store_row(before, ROW_JOB, attempt->job);
    const struct shape_row *shape = job ? sim_store_row(before, ROW_SHAPE, job->shape) : NULL;
    const struct account *account = account_of(inv, attempt->id);
    if (!shape)
        return broken(err, 8, "attempt %llu has no shape", (ull)attempt->id);
    if (shape->exclusive)
        return 0; /* pays for whole nodes, whatever it asked for */
    __int128 length_ms = attempt->ended_ms - attempt->admitted_ms;
    length_ms *= attempt->size;
    if (account->cpu != length_ms * shape->cpu_milli ||
        account->memory != length_ms * shape->memory_bytes ||
        account->disk != length_ms * shape->disk_bytes ||
        account->accelerators != length_ms * shape->accelerator_milli)
        return broken(err, 8, "attempt %llu: %lld of %lld CPU milliseconds are charged",
            (ull)attempt->id, (long long)(account->cpu / 1000),
            (long long)(length_ms * shape->cpu_milli / 1000));
    return 0;
}

/* ---- transactions ---------------------------------------------------------------------- */

static int check_change(struct invariants *inv, const struct sim_store *before,
    const struct sim_txn *txn, const struct core_change *change, int64_t now_ms, struct error *err)
{
    uint64_t id = sim_row_id(change->row);
    const void *old = sim_store_row(before, change->kind, id);
    if (!old && change->change != CHANGE_DELETE && id <= sim_store_last_id(before, change->kind))
        return broken(
            err, 1, "%s %llu: the id was used before", row_type(change->kind)->name, (ull)id);
    switch (change->kind) {
    case ROW_JOB: return check_job_change(before, txn, old, change, now_ms, err);
    case ROW_ATTEMPT: return check_attempt_change(before, txn, old, change, now_ms, err);
    case ROW_NODE: return check_node_change(txn, old, change, err);
    case ROW_CAPACITY: return invariants_capacity(before, change->row, err);
    case ROW_SPAN:
        return change->change == CHANGE_PUT ? invariants_span(before, change->row, err) : 0;
    case ROW_CHARGE: return check_charge(inv, before, change->row, err);
    case ROW_SERVICE:
    case ROW_REPLICA: return invariants_service_change(before, txn, change, err);
    case ROW_ROLLOUT: return invariants_rollout_change(before, txn, change, err);
    default: return check_other_change(before, txn, old, change, err);
    }
}

static void count_change(struct invariants *inv, const struct core_change *change)
{
    const struct job_row *job = change->row;
    const struct attempt_row *attempt = change->row;
    if (change->change != CHANGE_RETIRE)
        return;
    if (change->kind == ROW_ATTEMPT) {
        inv->counts.attempts++;
        inv->counts.preemptions += attempt->stop_reason == END_PREEMPTED;
    } else if (change->kind == ROW_REPLICA) {
        inv->counts.replicas++;
    } else if (change->kind == ROW_JOB) {
        inv->counts.jobs_succeeded += job->state == JOB_SUCCEEDED;
        inv->counts.jobs_failed += job->state == JOB_FAILED;
        inv->counts.jobs_cancelled += job->state == JOB_CANCELLED;
    }
}

int invariants_change(struct invariants *inv, const struct sim_store *before,
    const struct sim_txn *txn, int64_t now_ms, struct error *err)
{
    for (size_t i = 0; i < txn->changes.count; i++) {
        if (check_change(inv, before, txn, &txn->changes.items[i], now_ms, err) < 0)
            return -1;
        count_change(inv, &txn->changes.items[i]);
    }
    for (size_t i = 0; i < txn->changes.count; i++) {
        const struct core_change *change = &txn->changes.items[i];
        if (change->kind == ROW_ATTEMPT && change->change == CHANGE_RETIRE &&
            check_account(inv, before, change->row, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < txn->decisions.count; i++)
        if (check_decision(txn, &txn->decisions.items[i], err) < 0)
            return -1;
    return invariants_replaced(before, txn, err);
}

/* ---- answers --------------------------------------------------------------------------- */

static void accept_elements(
    struct invariants *inv, const struct sim_store *store, uint64_t array, int64_t *count)
{
    const struct job_row *job;
    for (each_row(job_row, job, store, ROW_JOB))
        if (job->array == array) {
            vec_push(&inv->accepted, job->id);
            ++*count;
        }
    for (size_t i = 0; i < sim_store_retired_count(store, ROW_JOB); i++) {
        job = sim_store_retired_at(store, ROW_JOB, i);
        if (job->array == array) {
            vec_push(&inv->accepted, job->id);
            ++*count;
        }
    }
}

static int answered_submit(struct invariants *inv, const struct sim_store *store,
    const struct sim_input *input, const struct sim_answer *answer, struct error *err)
{
    const struct job_row *job = invariants_job(store, answer->id);
    int64_t count = 0;
    if (!job)
        return broken(err, 7, "job %llu was accepted and is not stored", (ull)answer->id);
    if (job->array) {
        accept_elements(inv, store, job->array, &count);
    } else {
        vec_push(&inv->accepted, job->id);
        count = 1;
    }
    inv->counts.jobs_accepted += (uint64_t)count;
    int64_t asked = input->job.array.count > 0 ? input->job.array.count : 1;
    if (count != asked)
        return broken(err, 7, "job %llu: %lld elements were asked for, %lld are stored",
            (ull)answer->id, (long long)asked, (long long)count);
    return 0;
}

static int answered_job(
    const struct sim_store *store, const struct sim_input *input, struct error *err)
{
    const struct job_row *job = invariants_job(store, input->id);
    if (!job)
        return broken(err, 7, "job %llu was changed and is not stored", (ull)input->id);
    if (input->kind == INPUT_JOB_CANCEL && !job->cancel && !job_state_ended(job->state))
        return broken(err, 7, "job %llu was cancelled and is not", (ull)input->id);
    if (input->kind == INPUT_JOB_RELEASE && job->state == JOB_HELD)
        return broken(err, 7, "job %llu was released and is held", (ull)input->id);
    return 0;
}

static uint32_t symbol_find(const struct sim_store *store, const char *text)
{
    const struct symbol_row *symbol;
    for (each_row(symbol_row, symbol, store, ROW_SYMBOL))
        if (strcmp(symbol->text, text) == 0)
            return (uint32_t)symbol->id;
    return 0;
}

static bool team_stored(const struct sim_store *store, const char *name)
{
    uint32_t symbol = symbol_find(store, name);
    const struct team_row *team;
    for (each_row(team_row, team, store, ROW_TEAM))
        if (symbol && team->name == symbol)
            return true;
    return false;
}

static const struct pool_row *pool_stored(const struct sim_store *store, const char *name)
{
    uint32_t symbol = symbol_find(store, name);
    const struct pool_row *pool;
    for (each_row(pool_row, pool, store, ROW_POOL))
        if (symbol && pool->name == symbol)
            return pool;
    return NULL;
}

static int answered_pool(
    const struct sim_store *store, const struct sim_input *input, struct error *err)
{
    const struct pool_row *pool = pool_stored(store, input->pool.metadata.name);
    const struct node_row *node;
    int64_t asked = 0, stored = 0;
    if (!pool)
        return broken(err, 7, "pool %s was put and is not stored", input->pool.metadata.name);
    for (size_t i = 0; i < input->pool.nodes.count; i++)
        asked += input->pool.nodes.items[i].count;
    for (each_row(node_row, node, store, ROW_NODE))
        stored += node->pool == pool->id;
    if (stored < asked)
        return broken(err, 7, "pool %s has %lld nodes, %lld are stored", input->pool.metadata.name,
            (long long)asked, (long long)stored);
    return 0;
}

static int answered_scale(
    const struct sim_store *store, const struct sim_input *input, struct error *err)
{
    const struct service_row *service = sim_store_row(store, ROW_SERVICE, input->id);
    if (!service || service->deleted || service->replicas == input->replicas)
        return 0;
    return broken(err, 7, "service %llu was scaled to %d and has %d", (ull)input->id,
        input->replicas, service->replicas);
}

static int answered_service(
    const struct sim_store *store, const struct sim_input *input, uint64_t id, struct error *err)
{
    const struct service_row *service = sim_store_row(store, ROW_SERVICE, id);
    if (input->kind == INPUT_SERVICE_DELETE)
        return !service || service->deleted
                   ? 0
                   : broken(err, 7, "service %llu was deleted and is there", (ull)id);
    if (service ? service->deleted : sim_store_retired(store, ROW_SERVICE, id) != NULL)
        return 0; /* in the same step */
    if (!service || service->replicas != input->service.replicas ||
        service->surge != input->service.surge ||
        service->unavailable != input->service.unavailable)
        return broken(err, 7, "service %llu was put and is not stored", (ull)id);
    return 0;
}

int invariants_answered(struct invariants *inv, const struct sim_store *store,
    const struct sim_input *input, const struct sim_answer *answer, struct error *err)
{
    switch (input->kind) {
    case INPUT_SERVICE_PUT: return answered_service(store, input, answer->id, err);
    case INPUT_SERVICE_DELETE: return answered_service(store, input, input->id, err);
    case INPUT_SERVICE_SCALE: return answered_scale(store, input, err);
    case INPUT_REPLICA_SUBMIT:
    case INPUT_JOB_SUBMIT: return answered_submit(inv, store, input, answer, err);
    case INPUT_JOB_CANCEL:
    case INPUT_JOB_HOLD:
    case INPUT_JOB_RELEASE: return answered_job(store, input, err);
    case INPUT_POOL_PUT: return answered_pool(store, input, err);
    case INPUT_TEAM_PUT:
        return team_stored(store, input->team.metadata.name)
                   ? 0
                   : broken(err, 7, "team %s was put and is not stored", input->team.metadata.name);
    default: return 0;
    }
}

int invariants_final(const struct invariants *inv, const struct sim_store *store, struct error *err)
{
    static const enum row_kind empty[] = {ROW_JOB, ROW_JOB_LABEL, ROW_DEPENDENCY, ROW_ATTEMPT,
        ROW_PLACEMENT, ROW_SPAN, ROW_CLAIM, ROW_PROMISE, ROW_SERVICE, ROW_REPLICA, ROW_ALLOTMENT,
        ROW_SPEED, ROW_SPOT, ROW_DATA, ROW_BROKER, ROW_ROLLOUT, ROW_EVIDENCE};
    for (size_t i = 0; i < ARRAY_LEN(empty); i++)
        if (sim_store_count(store, empty[i]))
            return broken(err, 1, "at the end there is %s %llu", row_type(empty[i])->name,
                (ull)sim_row_id(sim_store_at(store, empty[i], 0)));
    for (size_t i = 0; i < inv->accepted.count; i++) {
        const struct job_row *job = sim_store_retired(store, ROW_JOB, inv->accepted.items[i]);
        if (!job || !job_state_ended(job->state))
            return broken(
                err, 1, "job %llu was accepted and has no end", (ull)inv->accepted.items[i]);
    }
    return 0;
}
