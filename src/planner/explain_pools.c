/* Why a job is in its pool, or which it waits for, and what the others lack: facts. */
#include "planner/explain_parts.h"

struct pools_view {
    const struct explain *in;
    struct doc *list;
};

static void set_known(struct arena *arena, struct doc *map, const char *key, int64_t value)
{
    if (value)
        doc_set_int(arena, map, key, value);
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
}

void explain_set_pools(const struct explain *in, struct doc *out)
{
    struct pools_view pools = {in, doc_list(in->arena)};
    core_job_pools(in->core, in->job->id, set_pool, &pools);
    if (pools.list->count > 1)
        doc_set(in->arena, out, "pools", pools.list);
}
