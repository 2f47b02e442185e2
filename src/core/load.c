/* Loading stored rows: the table of who loads which kind, and what is derived from all of them at
 * the end, after which everything is checked. */
#include "core/load.h"
#include "core/attempt.h"
#include "core/broker.h"
#include "core/copies.h"
#include "core/job.h"
#include "core/pool.h"
#include "core/preempt.h"
#include "core/queue.h"
#include "core/resource.h"
#include "core/service.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/spot.h"
#include "core/symbol.h"
#include "core/team.h"
#include "core/topology.h"

#include <inttypes.h>

int load_corrupt(const struct loader *in, enum row_kind kind, const char *what)
{
    return error_set(in->err, ERR_CORRUPT, "%s %" PRIu64 ": %s", row_type(kind)->name,
        *(const uint64_t *)in->row, what);
}

void load_known(const struct loader *in, enum row_kind kind, struct item *item)
{
    memcpy(item_row(item), in->row, row_type(kind)->size);
    table_add(in->core, kind, item);
    symbols_hold(in->core, item);
}

void *load_object(const struct loader *in, enum row_kind kind, size_t size)
{
    struct item *item = item_alloc(in->core, kind, size);
    load_known(in, kind, item);
    return item;
}

static int load_counter(const struct loader *in)
{
    struct core *core = in->core;
    const struct counter_row *row = in->row;
    if (!memchr(row->name, '\0', sizeof row->name) || row->last < 0)
        return load_corrupt(in, ROW_COUNTER, "not a counter");
    struct live_counter *counter = LOAD(in, ROW_COUNTER, struct live_counter);
    if (strcmp(row->name, "clock") == 0) {
        core->clock = counter;
        core->now_ms = most(core->now_ms, least(row->last, TIME_MS_MAX));
    }
    if (strcmp(row->name, "round") == 0)
        core->round = counter;
    if (strcmp(row->name, "forecast") == 0)
        core->forecast_wait = counter;
    if (strcmp(row->name, "stir") == 0)
        core->stirs = counter;
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++) {
        if (strcmp(row->name, row_type((enum row_kind)kind)->name) == 0)
            core->counters[kind] = counter;
    }
    return 0;
}

static int load_symbol(const struct loader *in)
{
    const struct symbol_row *row = in->row;
    if (!memchr(row->text, '\0', sizeof row->text) || !row->text[0] || row->id > UINT32_MAX)
        return load_corrupt(in, ROW_SYMBOL, "not a text");
    if (symbol_find(in->core, row->text))
        return load_corrupt(in, ROW_SYMBOL, "its text is there twice");
    symbol_load(in->core, row);
    return 0;
}

static load_fn *const loaders[ROW_KIND_COUNT] = {
    [ROW_COUNTER] = load_counter,
    [ROW_SYMBOL] = load_symbol,
    [ROW_POOL] = load_pool,
    [ROW_PRICE] = load_price,
    [ROW_LEVEL] = load_level,
    [ROW_NODE] = load_node,
    [ROW_NODE_LABEL] = load_node_label,
    [ROW_RESERVATION] = load_reservation,
    [ROW_TEAM] = load_team,
    [ROW_QUOTA] = load_quota,
    [ROW_SHAPE] = load_shape,
    [ROW_RULE] = load_rule,
    [ROW_JOB] = load_job,
    [ROW_JOB_LABEL] = load_job_label,
    [ROW_DEPENDENCY] = load_dependency,
    [ROW_ATTEMPT] = load_attempt,
    [ROW_PLACEMENT] = load_placement,
    [ROW_SPAN] = load_span,
    [ROW_CLAIM] = load_claim,
    [ROW_PROMISE] = load_promise,
    [ROW_SERVICE] = load_service,
    [ROW_REPLICA] = load_replica,
    [ROW_ALLOTMENT] = load_allotment,
    [ROW_SPEED] = load_speed,
    [ROW_SPOT] = load_spot,
    [ROW_ROLLOUT] = load_rollout,
    [ROW_EVIDENCE] = load_evidence,
    [ROW_DATA] = load_data,
    [ROW_BROKER] = load_broker,
    [ROW_COPY] = load_copy,
};

int core_load_row(struct core *core, enum row_kind kind, const void *row, struct error *err)
{
    assert((unsigned)kind < ROW_KIND_COUNT);
    struct loader in = {core, row, err};
    core->loading = true;
    if (!loaders[kind])
        return load_corrupt(&in, kind, "a history row is not live");
    if (*(const uint64_t *)row <= core->tables[kind].last_id)
        return load_corrupt(&in, kind, "ids do not ascend");
    if (!symbols_known(core, kind, row))
        return load_corrupt(&in, kind, "it names a symbol that is not there, or not pinned");
    return loaders[kind](&in);
}

static int link_teams(struct core *core, struct error *err)
{
    TABLE_EACH (core, ROW_TEAM, struct live_team, team) {
        team->parent = (struct live_team *)table_find(core, ROW_TEAM, team->row.parent);
        if (team->row.parent && !team->parent)
            return error_set(err, ERR_CORRUPT, "team %" PRIu64 ": no parent", team->row.id);
    }
    TABLE_EACH (core, ROW_TEAM, struct live_team, team) {
        int depth = 0;
        for (const struct live_team *at = team; at; at = at->parent) {
            if (++depth > TEAM_DEPTH_MAX * 2)
                return error_set(err, ERR_CORRUPT, "team %" PRIu64 ": a cycle", team->row.id);
        }
        team_link(core, team);
    }
    /* Children have to be derived before their parents: deriving goes up from each. */
    TABLE_EACH (core, ROW_TEAM, struct live_team, team)
        quota_derive(core, team);
    return 0;
}

static int link_counters(struct core *core, struct error *err)
{
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++) {
        const struct table *table = &core->tables[kind];
        const struct live_counter *counter = core->counters[kind];
        if (kind == ROW_COUNTER || !table->last_id)
            continue;
        if (!counter || (uint64_t)counter->row.last < table->last_id)
            return error_set(err, ERR_CORRUPT, "table %s: ids beyond its counter",
                row_type((enum row_kind)kind)->name);
    }
    return 0;
}

static void hold_all(struct core *core)
{
    struct amounts amounts;
    TABLE_EACH (core, ROW_ATTEMPT, struct live_attempt, attempt) {
        attempt_amounts(attempt, &amounts);
        quota_hold(core, attempt->job->team, &amounts, job_firm(attempt->job), 1);
    }
    TABLE_EACH (core, ROW_CLAIM, struct live_claim, claim) {
        claim_amounts(claim, &amounts);
        quota_hold(core, claim->job->team, &amounts, job_firm(claim->job), 1);
    }
}

static int link_jobs(struct core *core, struct error *err)
{
    TABLE_EACH (core, ROW_JOB, struct live_job, job) {
        int32_t state = job->row.state;
        bool active = state >= JOB_STARTING;
        bool started = job->attempt && job->attempt->row.state == ATTEMPT_STARTED;
        if (active != (job->attempt != NULL) || (active && !job->attempt->placements) ||
            (state == JOB_RUNNING && !started) || (job->links->claims && state != JOB_QUEUED) ||
            (job->links->depends && state > JOB_WAITING))
            return error_set(
                err, ERR_CORRUPT, "job %" PRIu64 ": its state contradicts its rows", job->row.id);
        core->jobs_queued += state == JOB_QUEUED;
        core->jobs_running += state == JOB_RUNNING;
        if (state == JOB_QUEUED && !job->links->claims)
            queue_add(core, job);
        timer_set(core, job);
    }
    return 0;
}

int core_load_end(struct core *core, struct error *err)
{
    TABLE_EACH (core, ROW_SHAPE, struct live_shape, shape)
        shape_index(core, shape);
    if (link_counters(core, err) < 0 || link_teams(core, err) < 0)
        return -1;
    hold_all(core);
    if (link_jobs(core, err) < 0)
        return -1;
    mix_index(core);
    services_index(core);
    reservations_index(core);
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool)
        topology_derive(pool);
    topology_changed(core);
    spot_seen(core);
    burst_leases_index(core);
    copies_index(core);
    core->stirs_version = core->free_version;
    core->loading = false;
    return core_check(core, err);
}
