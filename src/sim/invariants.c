/* The invariant checker: what a single stored state must be, whatever came before it. */
#include "sim/invariants_parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

const struct job_row *invariants_job(const struct sim_store *store, uint64_t job)
{
    const struct job_row *row = sim_store_row(store, ROW_JOB, job);
    return row ? row : sim_store_retired(store, ROW_JOB, job);
}

const struct shape_row *invariants_shape(const struct sim_store *store, uint64_t attempt)
{
    const struct attempt_row *row = sim_store_row(store, ROW_ATTEMPT, attempt);
    const struct job_row *job = row ? invariants_job(store, row->job) : NULL;
    return job ? sim_store_row(store, ROW_SHAPE, job->shape) : NULL;
}

struct holding invariants_holding(const struct shape_row *shape, int64_t ranks)
{
    return (struct holding){shape->cpu_milli * ranks, shape->memory_bytes * ranks,
        shape->disk_bytes * ranks, shape->accelerator_milli * ranks};
}

bool invariants_job_has_label(
    const struct sim_store *store, uint64_t job, uint32_t key, uint32_t value)
{
    const struct job_label_row *label;
    for (each_row(job_label_row, label, store, ROW_JOB_LABEL))
        if (label->job == job && label->key == key && label->value == value)
            return true;
    return false;
}

/* ---- references ------------------------------------------------------------------------ */

static const struct {
    enum row_kind kind;
    const char *column;
    enum row_kind to;
} references[] = {
    {ROW_PRICE, "pool", ROW_POOL},
    {ROW_LEVEL, "pool", ROW_POOL},
    {ROW_NODE, "pool", ROW_POOL},
    {ROW_NODE_LABEL, "node", ROW_NODE},
    {ROW_RESERVATION, "node", ROW_NODE},
    {ROW_TEAM, "parent", ROW_TEAM},
    {ROW_QUOTA, "team", ROW_TEAM},
    {ROW_RULE, "shape", ROW_SHAPE},
    {ROW_JOB, "team", ROW_TEAM},
    {ROW_JOB, "shape", ROW_SHAPE},
    {ROW_JOB, "attempt", ROW_ATTEMPT},
    {ROW_JOB_LABEL, "job", ROW_JOB},
    {ROW_DEPENDENCY, "job", ROW_JOB},
    {ROW_ATTEMPT, "job", ROW_JOB},
    {ROW_PLACEMENT, "attempt", ROW_ATTEMPT},
    {ROW_PLACEMENT, "node", ROW_NODE},
    {ROW_SPAN, "placement", ROW_PLACEMENT},
    {ROW_SERVICE, "team", ROW_TEAM},
    {ROW_REPLICA, "service", ROW_SERVICE},
    {ROW_REPLICA, "job", ROW_JOB},
    {ROW_ROLLOUT, "service", ROW_SERVICE},
    {ROW_EVIDENCE, "rollout", ROW_ROLLOUT},
    {ROW_ALLOTMENT, "job", ROW_JOB},
    {ROW_SPEED, "allotment", ROW_ALLOTMENT},
    {ROW_SPOT, "job", ROW_JOB},
    {ROW_DATA, "job", ROW_JOB},
    {ROW_BROKER, "job", ROW_JOB},
    {ROW_BROKER, "pool", ROW_POOL},
    {ROW_CLAIM, "job", ROW_JOB},
    {ROW_CLAIM, "node", ROW_NODE},
    {ROW_PROMISE, "job", ROW_JOB},
    {ROW_PROMISE, "node", ROW_NODE},
};

static const struct column *column_find(enum row_kind kind, const char *name)
{
    const struct row_type *type = row_type(kind);
    for (size_t i = 0; i < type->column_count; i++)
        if (strcmp(type->columns[i].name, name) == 0)
            return &type->columns[i];
    return NULL;
}

/* Live rows refer to live rows: what is loaded back needs nothing that is gone. */
static int check_references(const struct sim_store *store, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(references); i++) {
        const struct column *column = column_find(references[i].kind, references[i].column);
        assert(column);
        const void *row;
        for (each_row(void, row, store, references[i].kind)) {
            uint64_t id = sim_column_value(column, row);
            if (id && !sim_store_row(store, references[i].to, id))
                return broken(err, 7, "%s %llu: there is no %s %llu",
                    row_type(references[i].kind)->name, (ull)sim_row_id(row),
                    row_type(references[i].to)->name, (ull)id);
        }
    }
    return 0;
}

/* ---- jobs and attempts ------------------------------------------------------------------ */

static bool state_has_attempt(int32_t state)
{
    return state == JOB_STARTING || state == JOB_RUNNING || state == JOB_STOPPING;
}

static int check_job(const struct sim_store *store, const struct job_row *job, struct error *err)
{
    if (job_state_ended(job->state))
        return broken(err, 1, "job %llu has ended and is still live", (ull)job->id);
    if (state_has_attempt(job->state) != (job->attempt != 0))
        return broken(err, 2, "job %llu is in state %d and its attempt is %llu", (ull)job->id,
            job->state, (ull)job->attempt);
    if (job->preemptions_max >= 0 && job->preemptions > job->preemptions_max)
        return broken(err, 6, "job %llu was preempted %d times, %d are allowed", (ull)job->id,
            job->preemptions, job->preemptions_max);
    if (!job->attempt)
        return 0;
    const struct attempt_row *attempt = sim_store_row(store, ROW_ATTEMPT, job->attempt);
    if (attempt->job != job->id)
        return broken(err, 2, "job %llu: attempt %llu is of job %llu", (ull)job->id,
            (ull)attempt->id, (ull)attempt->job);
    if ((attempt->stop_reason != END_NONE) != (job->state == JOB_STOPPING))
        return broken(err, 2, "job %llu is in state %d, its attempt's stop reason is %d",
            (ull)job->id, job->state, attempt->stop_reason);
    int64_t least = job->size_min > 0 ? job->size_min : job->size;
    int64_t most = job->size_max > 0 ? job->size_max : job->size;
    if (attempt->size < least || attempt->size > most)
        return broken(err, 3, "job %llu asks for %lld to %lld ranks, attempt %llu has %d",
            (ull)job->id, (long long)least, (long long)most, (ull)attempt->id, attempt->size);
    return 0;
}

/* Every rank of the gang has exactly one place: places are first..first+ranks, each once. */
static int check_gang(
    const struct sim_store *store, const struct attempt_row *attempt, struct error *err)
{
    const struct placement_row *placement;
    int64_t ranks = 0;
    uint64_t seen[16] = {0}; /* the first 1024 ranks, which is more than any world here has */
    for (each_row(placement_row, placement, store, ROW_PLACEMENT)) {
        if (placement->attempt != attempt->id)
            continue;
        if (placement->ranks < 1 || placement->first_rank < 0 ||
            placement->first_rank + placement->ranks > attempt->size)
            return broken(err, 3, "attempt %llu of size %d: placement %llu has ranks %d + %d",
                (ull)attempt->id, attempt->size, (ull)placement->id, placement->first_rank,
                placement->ranks);
        for (int32_t r = placement->first_rank; r < placement->first_rank + placement->ranks; r++) {
            if (r < 1024 && seen[r / 64] >> r % 64 & 1)
                return broken(err, 3, "attempt %llu: rank %d has two places", (ull)attempt->id, r);
            if (r < 1024)
                seen[r / 64] |= (uint64_t)1 << r % 64;
        }
        ranks += placement->ranks;
    }
    if (ranks != attempt->size)
        return broken(err, 3, "attempt %llu has places for %lld of its %d ranks", (ull)attempt->id,
            (long long)ranks, attempt->size);
    return 0;
}

static int check_attempt(
    const struct sim_store *store, const struct attempt_row *attempt, struct error *err)
{
    const struct job_row *job = sim_store_row(store, ROW_JOB, attempt->job);
    if (attempt->state == ATTEMPT_ENDED)
        return broken(err, 2, "attempt %llu has ended and is still live", (ull)attempt->id);
    if (!job || job->attempt != attempt->id)
        return broken(err, 2, "attempt %llu is live and not its job's attempt", (ull)attempt->id);
    if (attempt->number != job->attempts)
        return broken(err, 2, "attempt %llu has number %d, its job counts %d", (ull)attempt->id,
            attempt->number, job->attempts);
    return check_gang(store, attempt, err);
}

/* ---- nodes ----------------------------------------------------------------------------- */

static int check_placement(
    const struct sim_store *store, const struct placement_row *placement, struct error *err)
{
    const struct node_row *node = sim_store_row(store, ROW_NODE, placement->node);
    const struct shape_row *shape = invariants_shape(store, placement->attempt);
    int count = __builtin_popcountll(placement->devices);
    if (!shape)
        return broken(err, 5, "placement %llu has no shape", (ull)placement->id);
    if (!shape->accelerator_milli)
        return count == 0 ? 0
                          : broken(err, 5, "placement %llu holds devices nobody asked for",
                                (ull)placement->id);
    if (node->devices < 64 && placement->devices >> node->devices)
        return broken(err, 5, "placement %llu holds a device that node %llu has not",
            (ull)placement->id, (ull)node->id);
    if (node->accelerator != shape->accelerator)
        return broken(err, 5, "placement %llu: node %llu has another type of accelerator",
            (ull)placement->id, (ull)node->id);
    if (shape->accelerator_milli >= 1000) {
        if (placement->device_milli != 1000 ||
            count * (int64_t)1000 != shape->accelerator_milli * placement->ranks)
            return broken(err, 5, "placement %llu holds %d devices of %lld for %d ranks of %lld",
                (ull)placement->id, count, (long long)placement->device_milli, placement->ranks,
                (long long)shape->accelerator_milli);
        return 0;
    }
    if (count != 1 || placement->ranks != 1 || placement->device_milli != shape->accelerator_milli)
        return broken(err, 5, "placement %llu: a share of %lld is held as %d devices of %lld",
            (ull)placement->id, (long long)shape->accelerator_milli, count,
            (long long)placement->device_milli);
    return 0;
}

struct load {
    struct holding held;
    int64_t devices[64];
    uint64_t exclusive; /* an attempt that wants the node alone */
    uint64_t attempt;   /* any that is there */
    uint64_t staying;   /* one that was not told to stop */
    bool shared;        /* more than one attempt */
};

static void load_add(
    const struct sim_store *store, const struct placement_row *placement, struct load *load)
{
    const struct shape_row *shape = invariants_shape(store, placement->attempt);
    struct holding held = invariants_holding(shape, placement->ranks);
    load->held.cpu_milli += held.cpu_milli;
    load->held.memory_bytes += held.memory_bytes;
    load->held.disk_bytes += held.disk_bytes;
    for (int device = 0; placement->devices && device < 64; device++)
        if (placement->devices >> device & 1)
            load->devices[device] += placement->device_milli;
    if (shape->exclusive)
        load->exclusive = placement->attempt;
    load->shared |= load->attempt && load->attempt != placement->attempt;
    load->attempt = placement->attempt;
    const struct attempt_row *attempt = sim_store_row(store, ROW_ATTEMPT, placement->attempt);
    if (attempt->stop_reason == END_NONE)
        load->staying = attempt->id;
}

static int check_load(const struct node_row *node, const struct load *load, struct error *err)
{
    if (load->held.cpu_milli > node->cpu_milli || load->held.memory_bytes > node->memory_bytes ||
        load->held.disk_bytes > node->disk_bytes)
        return broken(err, 5,
            "node %llu gives out cpu %lld of %lld, memory %lld of %lld, disk %lld"
            " of %lld",
            (ull)node->id, (long long)load->held.cpu_milli, (long long)node->cpu_milli,
            (long long)load->held.memory_bytes, (long long)node->memory_bytes,
            (long long)load->held.disk_bytes, (long long)node->disk_bytes);
    for (int device = 0; device < 64; device++)
        if (load->devices[device] > 1000)
            return broken(err, 5, "node %llu: %lld thousandths of device %d are given out",
                (ull)node->id, (long long)load->devices[device], device);
    if (load->exclusive && load->shared)
        return broken(err, 5, "node %llu is shared, attempt %llu has it for itself", (ull)node->id,
            (ull)load->exclusive);
    return 0;
}

static int check_node(const struct sim_store *store, const struct node_row *node, struct error *err)
{
    struct load load = {0};
    const struct placement_row *placement;
    for (each_row(placement_row, placement, store, ROW_PLACEMENT))
        if (placement->node == node->id)
            load_add(store, placement, &load);
    if (!load.attempt)
        return 0;
    if (node->state == NODE_LOST && load.staying)
        return broken(
            err, 5, "node %llu is lost and keeps attempt %llu", (ull)node->id, (ull)load.staying);
    return check_load(node, &load, err);
}

/* ---- claims ---------------------------------------------------------------------------- */

/* A claim sets nothing aside twice: among claims alone, no device is promised beyond its whole. */
static int check_claim(
    const struct sim_store *store, const struct claim_row *claim, struct error *err)
{
    const struct job_row *job = sim_store_row(store, ROW_JOB, claim->job);
    if (job->state != JOB_QUEUED)
        return broken(err, 6, "claim %llu is for job %llu, which is in state %d", (ull)claim->id,
            (ull)job->id, job->state);
    const struct claim_row *other;
    for (each_row(claim_row, other, store, ROW_CLAIM))
        if (other->id != claim->id && other->node == claim->node &&
            (other->devices & claim->devices) && other->device_milli + claim->device_milli > 1000)
            return broken(err, 6, "claims %llu and %llu promise the same device of node %llu",
                (ull)claim->id, (ull)other->id, (ull)claim->node);
    return 0;
}

/* ---- teams ----------------------------------------------------------------------------- */

/* Array elements share a name; all other live jobs of a team have their own. */
static int check_name(const struct sim_store *store, const struct job_row *job, struct error *err)
{
    const struct job_row *other;
    int64_t running = 0;
    for (each_row(job_row, other, store, ROW_JOB)) {
        if (other->id != job->id && other->team == job->team && other->name == job->name &&
            !(job->array && other->array == job->array))
            return broken(
                err, 1, "jobs %llu and %llu have the same name", (ull)job->id, (ull)other->id);
        running += job->array && other->array == job->array && other->attempt;
    }
    if (job->array && job->array_parallel > 0 && running > job->array_parallel)
        return broken(err, 4, "array %llu runs %lld elements at once, %d are allowed",
            (ull)job->array, (long long)running, job->array_parallel);
    return 0;
}

int invariants_state(const struct sim_store *store, struct error *err)
{
    if (check_references(store, err) < 0)
        return -1;
    const struct job_row *job;
    for (each_row(job_row, job, store, ROW_JOB))
        if (check_job(store, job, err) < 0 || check_name(store, job, err) < 0)
            return -1;
    const struct attempt_row *attempt;
    for (each_row(attempt_row, attempt, store, ROW_ATTEMPT))
        if (check_attempt(store, attempt, err) < 0)
            return -1;
    const struct placement_row *placement;
    for (each_row(placement_row, placement, store, ROW_PLACEMENT))
        if (check_placement(store, placement, err) < 0)
            return -1;
    const struct node_row *node;
    for (each_row(node_row, node, store, ROW_NODE))
        if (check_node(store, node, err) < 0)
            return -1;
    const struct claim_row *claim;
    for (each_row(claim_row, claim, store, ROW_CLAIM))
        if (check_claim(store, claim, err) < 0)
            return -1;
    return invariants_promises(store, err) < 0 ? -1 : invariants_services(store, err);
}
