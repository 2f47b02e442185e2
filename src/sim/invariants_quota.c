/* The invariant checker: what teams hold and may hold. */
#include "sim/invariants_parts.h"

#include <string.h>

/* How much of a quota's resource a rank of this shape holds. */
static int64_t shape_amount(
    const struct sim_store *store, const struct shape_row *shape, uint32_t resource)
{
    static const struct {
        const char *name;
        size_t offset;
    } fields[] = {
        {"cpu", offsetof(struct shape_row, cpu_milli)},
        {"memory", offsetof(struct shape_row, memory_bytes)},
        {"disk", offsetof(struct shape_row, disk_bytes)},
        {"accelerators", offsetof(struct shape_row, accelerator_milli)},
    };
    const char *name = sim_store_symbol(store, resource);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (strcmp(name, fields[i].name) == 0)
            return *(const int64_t *)((const char *)shape + fields[i].offset);
    return shape->accelerator == resource ? shape->accelerator_milli : 0;
}

enum { TEAM_DEPTH_MAX = 64 };

static bool team_is_in(const struct sim_store *store, uint64_t team, uint64_t in)
{
    for (int depth = 0; team && depth < TEAM_DEPTH_MAX; depth++) {
        if (team == in)
            return true;
        const struct team_row *row = sim_store_row(store, ROW_TEAM, team);
        team = row ? row->parent : 0;
    }
    return false;
}

static int64_t team_usage(const struct sim_store *store, uint64_t team, uint32_t resource)
{
    const struct attempt_row *attempt;
    int64_t usage = 0;
    for (each_row(attempt_row, attempt, store, ROW_ATTEMPT)) {
        const struct job_row *job = sim_store_row(store, ROW_JOB, attempt->job);
        if (!team_is_in(store, job->team, team))
            continue;
        const struct shape_row *shape = sim_store_row(store, ROW_SHAPE, job->shape);
        usage += attempt->size * shape_amount(store, shape, resource);
    }
    return usage;
}

/* What the team may hold of the quota's resource; -1: any amount. */
static int64_t quota_most(const struct sim_store *store, const struct quota_row *quota)
{
    const struct team_row *team = sim_store_row(store, ROW_TEAM, quota->team);
    if (!team->borrow && (quota->limit < 0 || quota->guarantee < quota->limit))
        return quota->guarantee;
    return quota->limit;
}

int invariants_quota_kept(
    const struct sim_store *store, const struct job_row *job, struct error *err)
{
    const struct shape_row *shape = sim_store_row(store, ROW_SHAPE, job->shape);
    const struct quota_row *quota;
    for (each_row(quota_row, quota, store, ROW_QUOTA)) {
        int64_t most = quota_most(store, quota);
        if (most < 0 || !shape_amount(store, shape, quota->resource) ||
            !team_is_in(store, job->team, quota->team))
            continue;
        int64_t usage = team_usage(store, quota->team, quota->resource);
        if (usage > most)
            return broken(err, 4,
                "job %llu got a place and team %llu holds %lld of %s, allowed"
                " are %lld",
                (ull)job->id, (ull)quota->team, (long long)usage,
                sim_store_symbol(store, quota->resource), (long long)most);
    }
    return 0;
}

/* What can not be preempted may only borrow what nobody is guaranteed: with guarantees about, it
 * may wait rightly. */
static bool may_wait_for_guarantees(const struct sim_store *store, const struct job_row *job)
{
    const struct quota_row *quota;
    bool firm =
        !job->preemptible || job->service || job->min_runtime_ms > 0 || job->preemptions_max >= 0;
    if (!firm)
        return false;
    for (each_row(quota_row, quota, store, ROW_QUOTA))
        if (quota->guarantee > 0)
            return true;
    return false;
}

bool invariants_quota_allows(
    const struct sim_store *store, const struct job_row *job, int64_t ranks)
{
    const struct shape_row *shape = sim_store_row(store, ROW_SHAPE, job->shape);
    const struct quota_row *quota;
    if (may_wait_for_guarantees(store, job))
        return false;
    for (each_row(quota_row, quota, store, ROW_QUOTA)) {
        int64_t most = quota_most(store, quota);
        if (most < 0 || !team_is_in(store, job->team, quota->team))
            continue;
        int64_t asks = ranks * shape_amount(store, shape, quota->resource);
        if (asks && team_usage(store, quota->team, quota->resource) + asks > most)
            return false;
    }
    return true;
}
