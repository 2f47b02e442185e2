/* Who holds what a job waits for, and who goes before it.
 *
 * For a limit: the attempts of the team at its limit and of those below it. For room: the attempts
 * on nodes that could hold the job. For a claim: those on the node that is being cleared. The ones
 * that end soonest are shown. Ahead of a job are the waiting ones that start earlier in most runs.
 */
#include "planner/explain_parts.h"

#include "base/map.h"
#include "base/vec.h"

#include <stdlib.h>
#include <string.h>

enum { HOLDERS_SHOWN = 10, AHEAD_SHOWN = 5 };

struct holder {
    uint64_t attempt;
    const struct job_row *job;
    int64_t nodes;
    struct spread end;
};

struct holders {
    const struct explain *in;
    VEC(struct holder) items;
    struct idmap by_attempt; /* index + 1 */
};

static void add_holder(struct holders *holders, uint64_t id, int64_t nodes)
{
    const struct attempt_row *attempt = core_attempt(holders->in->core, id);
    const struct job_row *job = attempt ? core_job(holders->in->core, attempt->job) : NULL;
    size_t known = (size_t)(uintptr_t)idmap_get(&holders->by_attempt, id);
    if (!job)
        return;
    if (known) {
        holders->items.items[known - 1].nodes += nodes;
        return;
    }
    vec_push(&holders->items, ((struct holder){.attempt = id, .job = job, .nodes = nodes}));
    idmap_put(&holders->by_attempt, id, (void *)(uintptr_t)holders->items.count);
}

static bool team_within(const struct core *core, uint64_t team, uint64_t above)
{
    for (int depth = 0; team && depth < 100; depth++) {
        if (team == above)
            return true;
        const struct team_row *row = core_team(core, team);
        team = row ? row->parent : 0;
    }
    return false;
}

static void on_attempt(void *context, enum row_kind kind, const void *row)
{
    struct holders *holders = context;
    const struct attempt_row *attempt = row;
    const struct job_row *job = core_job(holders->in->core, attempt->job);
    (void)kind;
    if (job && team_within(holders->in->core, job->team, holders->in->block.team))
        add_holder(holders, attempt->id, 0);
}

static void on_placement(void *context, enum row_kind kind, const void *row)
{
    struct holders *holders = context;
    const struct placement_row *placement = row;
    const struct explain *in = holders->in;
    (void)kind;
    if (in->block.kind == BLOCK_CLAIM ? placement->node == in->block.node
                                      : core_job_matches(in->core, in->job->id, placement->node))
        add_holder(holders, placement->attempt, 1);
}

static int by_end(const void *a, const void *b)
{
    const struct holder *left = a, *right = b;
    if (left->end.median != right->end.median)
        return left->end.median < right->end.median ? -1 : 1;
    return left->attempt < right->attempt ? -1 : left->attempt > right->attempt;
}

/* The resource whose amounts are shown. */
static const char *resource_shown(const struct explain *in)
{
    const struct shape_row *shape = core_shape(in->core, in->job->shape);
    if (in->block.resource)
        return in->block.resource;
    return shape && shape->accelerator_milli ? "accelerators" : "cpu";
}

static void write_holders(const struct explain *in, struct holders *holders, struct doc *out)
{
    const char *resource = resource_shown(in);
    struct doc *map = doc_set(in->arena, out, "holders", doc_map(in->arena));
    struct doc *list = doc_set(in->arena, map, "items", doc_list(in->arena));
    int64_t count = 0;
    for (size_t i = 0; i < holders->items.count; i++) {
        const struct holder *holder = &holders->items.items[i];
        int64_t holds = core_attempt_holds(in->core, holder->attempt, resource);
        count += holds > 0;
        if (holds == 0 || list->count >= HOLDERS_SHOWN)
            continue;
        struct doc *item = doc_append(list, doc_map(in->arena));
        explain_set_job(in, item, holder->job->id);
        doc_set_int(in->arena, item, "holds", holds);
        doc_set_string(in->arena, item, "resource", resource);
        if (holder->nodes)
            doc_set_int(in->arena, item, "nodes", holder->nodes);
        explain_set_spread(in->arena, item, "end", &holder->end);
    }
    doc_set_int(in->arena, map, "count", count);
}

void explain_set_holders(const struct explain *in, struct doc *out)
{
    struct holders holders = {.in = in};
    switch (in->block.kind) {
    case BLOCK_LIMIT:
    case BLOCK_GUARANTEE: core_row_each(in->core, ROW_ATTEMPT, on_attempt, &holders); break;
    case BLOCK_CHECKPOINT:
    case BLOCK_PROMISE:
    case BLOCK_ROUND:
    case BLOCK_SPOT:
    case BLOCK_ROOM:
    case BLOCK_CLAIM: core_row_each(in->core, ROW_PLACEMENT, on_placement, &holders); break;
    default: return;
    }
    for (size_t i = 0; i < holders.items.count; i++)
        explain_end_of(in, holders.items.items[i].job, &holders.items.items[i].end);
    if (holders.items.count > 0)
        qsort(holders.items.items, holders.items.count, sizeof *holders.items.items, by_end);
    write_holders(in, &holders, out);
    vec_free(&holders.items);
    idmap_finish(&holders.by_attempt);
}

/* ---- who goes first ------------------------------------------------------------------------ */

struct ahead {
    uint64_t job;
    struct spread start;
};

static int by_start(const void *a, const void *b)
{
    const struct ahead *left = a, *right = b;
    if (left->start.median != right->start.median)
        return left->start.median < right->start.median ? -1 : 1;
    return left->job < right->job ? -1 : left->job > right->job;
}

/* Whether job i starts before the target in most runs. */
static bool goes_first(const struct forecast *forecast, size_t i, size_t target, int64_t *starts)
{
    int first = 0, runs = forecast_runs(forecast);
    for (int run = 0; run < runs; run++) {
        int64_t own = forecast_start(forecast, run, target);
        starts[run] = forecast_start(forecast, run, i);
        first += starts[run] && (!own || starts[run] < own || (starts[run] == own && i < target));
    }
    return first * 2 > runs;
}

void explain_set_ahead(const struct explain *in, struct doc *out, const struct forecast *forecast)
{
    VEC(struct ahead) list = {0};
    int64_t starts[FORECAST_RUNS_MAX];
    size_t target = forecast_find(forecast, in->job->id);
    for (size_t i = 0; target != SIZE_MAX && i < forecast_count(forecast); i++) {
        struct ahead one = {.job = forecast_job(forecast, i)};
        if (i == target || !goes_first(forecast, i, target, starts))
            continue;
        spread_of(starts, forecast_runs(forecast), &one.start);
        vec_push(&list, one);
    }
    if (list.count > 0)
        qsort(list.items, list.count, sizeof *list.items, by_start);
    struct doc *map = doc_set(in->arena, out, "ahead", doc_map(in->arena));
    struct doc *items = doc_set(in->arena, map, "items", doc_list(in->arena));
    doc_set_int(in->arena, map, "count", (int64_t)list.count);
    for (size_t i = 0; i < list.count && i < AHEAD_SHOWN; i++) {
        struct doc *item = doc_append(items, doc_map(in->arena));
        explain_set_job(in, item, list.items[i].job);
        explain_set_spread(in->arena, item, "start", &list.items[i].start);
    }
    vec_free(&list);
}
