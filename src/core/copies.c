/* Where versions have been brought: see copies.h.
 *
 * A copy is dropped once no attempt at its site has read it for as long as pools there keep what
 * they were given (the longest of them, pool_row.keep_ms), which is also what an engine is told
 * that lays inputs out at its site. While an attempt that reads it is live it stays.
 *
 * Invariants:
 * - At most one row of a version at a site, none at the site where it lies by itself.
 * - The egress of a version to a site is counted once, with the start that makes its row, until
 *   the row is dropped.
 * - users is the number of live attempts in pools of the site whose jobs read the version. */
#include "core/copies.h"

#include "core/attempt.h"
#include "core/broker.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/pool.h"
#include "core/sort.h"
#include "core/state.h"

#include <assert.h>

enum {
    KEEP_MS = 10 * 60 * 1000, /* where pools say nothing */
    COPIES_MAX = 100000,      /* beyond that nothing more is recorded */
};

static uint64_t place_key(uint32_t version, uint32_t site)
{
    return (uint64_t)version << 32 | site;
}

static struct live_copy *copy_at(const struct core *core, uint32_t version, uint32_t site)
{
    return version && site ? idmap_get(&core->copies, place_key(version, site)) : NULL;
}

bool copies_have(const struct core *core, const struct data_row *data, const struct live_pool *pool)
{
    return data->site == pool->row.site || copy_at(core, data->version, pool->row.site);
}

bool copies_link(struct core *core, struct live_copy *copy)
{
    uint64_t key = place_key(copy->row.version, copy->row.site);
    if (idmap_get(&core->copies, key))
        return false;
    idmap_put(&core->copies, key, copy);
    return true;
}

/* ---- who uses them -------------------------------------------------------------------------- */

static const struct live_pool *pool_of(const struct live_attempt *attempt)
{
    return attempt->placements->node->pool;
}

static int32_t count_users(const struct core *core, const struct live_copy *copy)
{
    int32_t users = 0;
    TABLE_EACH (core, ROW_ATTEMPT, struct live_attempt, attempt) {
        const struct live_data *data = attempt->job->links->data;
        if (!data || pool_of(attempt)->row.site != copy->row.site)
            continue;
        for (; data; data = data->next)
            users += data->row.version == copy->row.version;
    }
    return users;
}

static int64_t kept_ms(const struct core *core, uint32_t site)
{
    int64_t kept_ms = 0;
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool)
        kept_ms = pool->row.site == site ? most(kept_ms, pool->row.keep_ms) : kept_ms;
    return kept_ms ? kept_ms : KEEP_MS;
}

static int64_t until_ms(const struct core *core, const struct live_copy *copy)
{
    return copy->users ? MOMENT_NEVER : copy->row.used_ms + kept_ms(core, copy->row.site);
}

static void use(struct core *core, struct live_copy *copy, int32_t change)
{
    copy->users += change;
    assert(copy->users >= 0);
    copy->row.used_ms = core->now_ms;
    change_put(core, &copy->item);
    core->copies_next_ms = least(core->copies_next_ms, until_ms(core, copy));
}

static void use_all(struct core *core, const struct live_attempt *attempt, int32_t change)
{
    uint32_t site = pool_of(attempt)->row.site;
    for (const struct live_data *data = attempt->job->links->data; data; data = data->next) {
        struct live_copy *copy = copy_at(core, data->row.version, site);
        if (copy)
            use(core, copy, change);
    }
}

void copies_hold(struct core *core, const struct live_attempt *attempt)
{
    use_all(core, attempt, 1);
}

void copies_release(struct core *core, const struct live_attempt *attempt)
{
    use_all(core, attempt, -1);
}

/* ---- coming and going ----------------------------------------------------------------------- */

static void copy_decide(struct core *core, enum decision_kind kind, const struct live_copy *copy,
    const struct live_attempt *attempt)
{
    decide(core, (struct core_decision){.kind = kind,
                     .job = attempt ? attempt->row.job : 0,
                     .attempt = attempt ? attempt->row.id : 0,
                     .team = attempt ? attempt->job->row.team : 0,
                     .pool = attempt ? pool_of(attempt)->row.id : 0,
                     .site = copy->row.site,
                     .version = copy->row.version,
                     .cost_micro = copy->row.egress_micro});
}

static int64_t copy_make(
    struct core *core, const struct live_attempt *attempt, const struct live_data *data)
{
    const struct live_pool *pool = pool_of(attempt);
    struct pool_cost cost = broker_transfer(core, &data->row, pool);
    struct live_copy *copy = mem_alloc(1, sizeof *copy);
    copy->row = (struct copy_row){.site = pool->row.site,
        .version = data->row.version,
        .bytes = data->row.bytes,
        .since_ms = core->now_ms,
        .used_ms = core->now_ms,
        .transfer_ms = cost.transfer_ms,
        .egress_micro = cost.egress_micro,
        .currency = pool->row.currency};
    change_new(core, ROW_COPY, &copy->item);
    bool alone = copies_link(core, copy);
    assert(alone);
    (void)alone;
    copy->users = count_users(core, copy);
    copy_decide(core, DECISION_DATA_COPY, copy, attempt);
    return cost.egress_micro;
}

int64_t copies_come(struct core *core, const struct live_attempt *attempt)
{
    const struct live_pool *pool = pool_of(attempt);
    int64_t egress_micro = 0;
    for (const struct live_data *data = attempt->job->links->data; data; data = data->next) {
        if (pool->row.site && data->row.version && !copies_have(core, &data->row, pool) &&
            core->tables[ROW_COPY].live < COPIES_MAX)
            egress_micro += copy_make(core, attempt, data);
    }
    return least(egress_micro, BROKER_COST_MAX);
}

void copies_run(struct core *core)
{
    if (core->copies_next_ms > core->now_ms)
        return;
    core->copies_next_ms = MOMENT_NEVER;
    TABLE_EACH (core, ROW_COPY, struct live_copy, copy) {
        int64_t end_ms = until_ms(core, copy);
        if (end_ms > core->now_ms) {
            core->copies_next_ms = least(core->copies_next_ms, end_ms);
            continue;
        }
        copy_decide(core, DECISION_DATA_DROP, copy, NULL);
        idmap_remove(&core->copies, place_key(copy->row.version, copy->row.site));
        change_delete(core, &copy->item);
    }
}

/* Of all at once, by their positions in the table: each looking for its own would take copies times
 * attempts. The caller frees it. */
static int32_t *count_all_users(const struct core *core)
{
    int32_t *users = mem_alloc(core->tables[ROW_COPY].entries.count, sizeof *users);
    TABLE_EACH (core, ROW_ATTEMPT, struct live_attempt, attempt) {
        uint32_t site = pool_of(attempt)->row.site;
        for (const struct live_data *data = attempt->job->links->data; data; data = data->next) {
            const struct live_copy *copy = copy_at(core, data->row.version, site);
            if (copy)
                users[copy->item.position]++;
        }
    }
    return users;
}

void copies_index(struct core *core)
{
    SCOPED(mem_scope) int32_t *users = count_all_users(core);
    core->copies_next_ms = MOMENT_NEVER;
    TABLE_EACH (core, ROW_COPY, struct live_copy, copy) {
        copy->users = users[copy->item.position];
        core->copies_next_ms = least(core->copies_next_ms, until_ms(core, copy));
    }
}

bool copies_check(const struct core *core)
{
    SCOPED(mem_scope) int32_t *users = count_all_users(core);
    TABLE_EACH (core, ROW_COPY, struct live_copy, copy) {
        if (copy_at(core, copy->row.version, copy->row.site) != copy ||
            copy->users != users[copy->item.position] ||
            core->copies_next_ms > until_ms(core, copy))
            return false;
    }
    return true;
}

int64_t core_copy_until_ms(const struct core *core, uint64_t id)
{
    const struct live_copy *copy = (const struct live_copy *)table_find(core, ROW_COPY, id);
    int64_t end_ms = copy ? until_ms(core, copy) : MOMENT_NEVER;
    return end_ms == MOMENT_NEVER ? 0 : end_ms;
}

void core_data_each(const struct core *core, uint64_t id, core_row_fn *visit, void *context)
{
    const struct live_job *job = (const struct live_job *)table_find(core, ROW_JOB, id);
    for (const struct live_data *data = job ? job->links->data : NULL; data; data = data->next)
        visit(context, ROW_DATA, &data->row);
}
