/* Why a job is in its pool, or which it waits for, and what the others lack: facts. */
#include "planner/explain_parts.h"

struct pools_view {
    const struct explain *in;
    const struct forecast *forecast;
    struct doc *list;
};

static void set_known(struct arena *arena, struct doc *map, const char *key, int64_t value)
{
    if (value)
        doc_set_int(arena, map, key, value);
}

/* When the job would start there, by the runs. */
static void set_start(const struct pools_view *pools, struct doc *map, uint64_t pool)
{
    const struct forecast *forecast = pools->forecast;
    int64_t moments[FORECAST_RUNS_MAX];
    struct spread spread;
    int runs = forecast_runs(forecast);
    for (int run = 0; run < runs; run++)
        moments[run] = forecast_offer(forecast, run, pool);
    spread_of(moments, runs, &spread);
    struct doc *start = explain_set_spread(pools->in->arena, map, "start", &spread);
    explain_set_reached(pools->in, start, forecast, moments);
}

static void set_pool(void *context, const struct core_pool_view *view)
{
    const struct pools_view *pools = context;
    const struct core *core = pools->in->core;
    struct arena *arena = pools->in->arena;
    const struct pool_row *row = core_pool(core, view->pool);
    struct doc *map = doc_append(pools->list, doc_map(arena));
    doc_set_string(arena, map, "pool", core_symbol(core, row->name));
    doc_set_string(arena, map, "verdict", pool_verdict_names[view->verdict]);
    if (view->burst != BURST_NONE)
        doc_set_string(arena, map, "burst", burst_verdict_names[view->burst]);
    if (view->lacks)
        doc_set_string(arena, map, "lacks", view->lacks);
    if (view->verdict == POOL_NO_ROOM) {
        doc_set_int(arena, map, "held", view->held);
        doc_set_int(arena, map, "need", view->need);
    }
    if (view->lacks)
        return;
    doc_set_string(arena, map, "currency", core_symbol(core, row->currency));
    doc_set_int(arena, map, "hourMicro", view->hour_micro);
    doc_set_int(arena, map, "costMicro", view->cost_micro);
    set_known(arena, map, "egressMicro", view->egress_micro);
    set_known(arena, map, "transferMs", view->transfer_ms);
    set_known(arena, map, "waitMs", view->wait_ms);
    if (view->forecast_ms) {
        doc_set_int(arena, map, "forecastMs", view->forecast_ms);
        doc_set_int(arena, map, "startMs", view->start_ms);
    }
    if (view->unsure)
        doc_set_bool(arena, map, "unsure", true);
    if (row->burst_budget_micro)
        doc_set_int(arena, map, "leftMicro", view->left_micro);
    if (view->late)
        doc_set_bool(arena, map, "late", true);
    if (pools->forecast)
        set_start(pools, map, view->pool);
}

/* ---- what it reads, and where that is ---------------------------------------------------------
 */

struct reads_view {
    const struct explain *in;
    struct doc *list, *one, *copies; /* of the one; NULL: none so far */
    const struct data_row *data;
};

static void add_copy(void *context, enum row_kind kind, const void *row)
{
    struct reads_view *reads = context;
    const struct core *core = reads->in->core;
    const struct copy_row *copy = row;
    struct arena *arena = reads->in->arena;
    (void)kind;
    if (copy->version != reads->data->version)
        return;
    if (!reads->copies)
        reads->copies = doc_set(arena, reads->one, "copies", doc_list(arena));
    struct doc *map = doc_append(reads->copies, doc_map(arena));
    doc_set_string(arena, map, "site", core_symbol(core, copy->site));
    doc_set_int(arena, map, "since", copy->since_ms);
    set_known(arena, map, "until", core_copy_until_ms(core, copy->id));
}

static void add_data(void *context, enum row_kind kind, const void *row)
{
    struct reads_view *reads = context;
    const struct core *core = reads->in->core;
    struct arena *arena = reads->in->arena;
    (void)kind;
    reads->data = row;
    if (!reads->data->version)
        return;
    reads->one = doc_append(reads->list, doc_map(arena));
    reads->copies = NULL;
    doc_set_string(arena, reads->one, "version", core_symbol(core, reads->data->version));
    doc_set_string(arena, reads->one, "site", core_symbol(core, reads->data->site));
    doc_set_int(arena, reads->one, "bytes", reads->data->bytes);
    core_row_each(core, ROW_COPY, add_copy, reads);
}

static void set_reads(const struct explain *in, struct doc *out)
{
    struct reads_view reads = {.in = in, .list = doc_list(in->arena)};
    core_data_each(in->core, in->job->id, add_data, &reads);
    if (reads.list->count)
        doc_set(in->arena, out, "reads", reads.list);
}

void explain_set_pools(const struct explain *in, struct doc *out, const struct forecast *forecast)
{
    struct pools_view pools = {in, forecast, doc_list(in->arena)};
    core_job_pools(in->core, in->job->id, set_pool, &pools);
    if (pools.list->count > 1)
        doc_set(in->arena, out, "pools", pools.list);
    set_reads(in, out);
}
