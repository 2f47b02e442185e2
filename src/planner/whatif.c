/* What if: see whatif.h. */
#include "planner/whatif.h"

#include "base/map.h"
#include "base/vec.h"
#include "core/policy.h"
#include "planner/explain_parts.h"
#include "planner/forecast.h"
#include "spec/spec.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { WHATIF_RUNS = 5, JOBS_SHOWN = 200 };

struct whatif {
    struct arena *arena;
    const struct whatif_options *options;
    const struct doc *ask;
    struct core *core;         /* as it is */
    struct forecast *sides[2]; /* today, changed */
    int runs;                  /* that both have */
};

static const char *const side_names[2] = {"today", "changed"};

/* ---- the two futures ----------------------------------------------------------------------- */

static int apply_one(
    const struct whatif *in, struct core *core, const struct doc *doc, struct error *err)
{
    struct manifest manifest;
    struct field_errors errors = {0};
    if (manifest_decode(in->arena, doc, NULL, &manifest, &errors) < 0)
        return field_errors_summary(&errors, err);
    switch (manifest.kind) {
    case KIND_POOL: return core_pool_put(core, &manifest.pool, err);
    case KIND_TEAM: return core_team_put(core, &manifest.team, err);
    default:
        return error_set(
            err, ERR_INVALID, "%s: only Pools and Teams can be tried", kind_name(manifest.kind));
    }
}

static int apply_changes(const struct whatif *in, struct core *core, struct error *err)
{
    const struct doc *changes = doc_get(in->ask, "changes");
    int failed = 0;
    core_begin(core, in->options->now_ms);
    for (const struct doc *doc = changes ? changes->first : NULL; doc && !failed; doc = doc->next)
        failed = apply_one(in, core, doc, err);
    core_end(core);
    return failed;
}

static struct forecast *run_side(const struct whatif *in, struct core *core, struct error *err)
{
    struct forecast_options options = {.history = in->options->history,
        .runs = WHATIF_RUNS,
        .now_ms = in->options->now_ms,
        .horizon_ms = EXPLAIN_HORIZON_MS,
        .budget_ms = in->options->budget_ms / 2};
    return forecast_make(core, &options, err);
}

static int run_both(struct whatif *in, struct error *err)
{
    const struct core_options *today_options = in->options->core;
    struct core_options options = today_options ? *today_options : (struct core_options){0};
    if (policy_choose(&options, doc_get_string(in->ask, "policy"), err) < 0)
        return -1;
    struct core *changed = copy_load(in->options->copy, &options, err);
    if (!changed)
        return -1;
    in->core = copy_load(in->options->copy, today_options, err);
    if (in->core && apply_changes(in, changed, err) == 0) {
        in->sides[0] = run_side(in, in->core, err);
        in->sides[1] = in->sides[0] ? run_side(in, changed, err) : NULL;
    }
    core_destroy(changed);
    if (!in->sides[1])
        return -1;
    int today = forecast_runs(in->sides[0]), then = forecast_runs(in->sides[1]);
    in->runs = today < then ? today : then;
    return in->runs > 0 ? 0 : error_set(err, ERR_UNAVAILABLE, "no run came to an end");
}

/* ---- figures ------------------------------------------------------------------------------- */

/* Sums of one run over the jobs of a group. */
struct sums {
    int64_t wait_ms, started, last_end_ms, cost_nano;
};

struct group {
    uint64_t team; /* 0: all */
    const char *name;
    int64_t waiting;
    struct sums sums[2][WHATIF_RUNS];
};

struct groups {
    VEC(struct group *) items; /* the first is that of all */
    struct idmap by_team;
};

static bool may_see(const struct whatif *in, uint64_t team)
{
    const struct doc *teams = doc_get(in->ask, "teams");
    int64_t id;
    if (!teams)
        return true;
    for (const struct doc *one = teams->first; one; one = one->next) {
        if (doc_as_int(one, &id) && (uint64_t)id == team)
            return true;
    }
    return false;
}

/* The group of a team that may be seen, else NULL. */
static struct group *group_of(const struct whatif *in, struct groups *groups, uint64_t team)
{
    struct group *group = idmap_get(&groups->by_team, team);
    if (group)
        return group->team ? group : NULL;
    const struct team_row *row = core_team(in->core, team);
    bool seen = row && may_see(in, team);
    group = arena_alloc(in->arena, 1, sizeof *group);
    group->team = seen ? team : 0;
    idmap_put(&groups->by_team, team, group);
    if (!seen)
        return NULL;
    group->name = core_symbol(in->core, row->name);
    vec_push(&groups->items, group);
    return group;
}

/* What became of the job in one run of one side. */
static void add_run(const struct forecast *forecast, int run, const struct job_row *job, size_t at,
    struct sums *sums)
{
    int64_t start_ms = forecast_start(forecast, run, at);
    int64_t end_ms = forecast_end(forecast, run, at);
    if (job->attempt == 0 && start_ms) {
        sums->wait_ms += start_ms - job->submitted_ms;
        sums->started++;
    }
    if (!job->service && end_ms > sums->last_end_ms)
        sums->last_end_ms = end_ms;
    sums->cost_nano += forecast_cost(forecast, run, at);
}

static void add_job(
    const struct whatif *in, struct group *group, const struct job_row *job, size_t at)
{
    group->waiting += job->attempt == 0;
    for (int side = 0; side < 2; side++) {
        for (int run = 0; run < in->runs; run++)
            add_run(in->sides[side], run, job, at, &group->sums[side][run]);
    }
}

static int by_value(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

static int64_t median(int64_t *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[(count - 1) / 2];
}

static void set_figures(
    const struct whatif *in, struct doc *map, const struct group *group, bool priced)
{
    for (int side = 0; side < 2; side++) {
        int64_t waits[WHATIF_RUNS], left[WHATIF_RUNS], ends[WHATIF_RUNS], costs[WHATIF_RUNS];
        struct doc *doc = doc_set(in->arena, map, side_names[side], doc_map(in->arena));
        for (int run = 0; run < in->runs; run++) {
            const struct sums *sums = &group->sums[side][run];
            waits[run] = sums->started ? sums->wait_ms / sums->started : 0;
            left[run] = group->waiting - sums->started;
            ends[run] = sums->last_end_ms;
            costs[run] = sums->cost_nano;
        }
        doc_set_int(in->arena, doc, "waitMs", median(waits, in->runs));
        doc_set_int(in->arena, doc, "notStarted", median(left, in->runs));
        int64_t last = median(ends, in->runs);
        if (last)
            doc_set_int(in->arena, doc, "lastEnd", last);
        if (priced)
            doc_set_int(in->arena, doc, "costNano", median(costs, in->runs));
    }
}

/* ---- jobs ---------------------------------------------------------------------------------- */

struct moved {
    uint64_t job;
    size_t at;
    int64_t by_ms; /* how far its start moves; the greatest for one that starts on one side only */
    bool asked;
};

static void spread_at(const struct whatif *in, int side, size_t at, struct spread *ret)
{
    int64_t starts[FORECAST_RUNS_MAX];
    for (int run = 0; run < in->runs; run++)
        starts[run] = forecast_start(in->sides[side], run, at);
    spread_of(starts, in->runs, ret);
}

static int64_t movement(const struct whatif *in, size_t at)
{
    struct spread today, then;
    spread_at(in, 0, at, &today);
    spread_at(in, 1, at, &then);
    if (today.median == then.median)
        return 0;
    if (today.median == INT64_MAX || then.median == INT64_MAX)
        return INT64_MAX;
    return llabs(today.median - then.median);
}

static int by_movement(const void *a, const void *b)
{
    const struct moved *left = a, *right = b;
    if (left->asked != right->asked)
        return left->asked ? -1 : 1;
    if (left->by_ms != right->by_ms)
        return left->by_ms > right->by_ms ? -1 : 1;
    return left->job < right->job ? -1 : left->job > right->job;
}

static void set_job(const struct whatif *in, struct doc *list, const struct moved *moved)
{
    struct explain names = {.arena = in->arena, .core = in->core};
    struct doc *item = doc_append(list, doc_map(in->arena));
    explain_set_job(&names, item, moved->job);
    for (int side = 0; side < 2; side++) {
        struct spread spread;
        spread_at(in, side, moved->at, &spread);
        explain_set_spread(in->arena, item, side_names[side], &spread);
    }
}

struct jobs {
    VEC(struct moved) items;
};

static void set_jobs(const struct whatif *in, struct doc *out, struct jobs *jobs)
{
    struct doc *map = doc_set(in->arena, out, "jobs", doc_map(in->arena));
    struct doc *list = doc_set(in->arena, map, "items", doc_list(in->arena));
    doc_set_int(in->arena, map, "count", (int64_t)jobs->items.count);
    if (jobs->items.count > 0)
        qsort(jobs->items.items, jobs->items.count, sizeof *jobs->items.items, by_movement);
    for (size_t i = 0; i < jobs->items.count && i < JOBS_SHOWN; i++)
        set_job(in, list, &jobs->items.items[i]);
}

/* ---- all of it ----------------------------------------------------------------------------- */

struct currency {
    uint32_t symbol;
    bool several;
};

static void look_at_pool(void *context, enum row_kind kind, const void *row)
{
    struct currency *currency = context;
    uint32_t symbol = ((const struct pool_row *)row)->currency;
    (void)kind;
    currency->several = currency->several || (currency->symbol && symbol != currency->symbol);
    currency->symbol = symbol ? symbol : currency->symbol;
}

static void collect(const struct whatif *in, struct groups *groups, struct jobs *jobs)
{
    uint64_t asked = (uint64_t)doc_get_int(in->ask, "job", 0);
    for (size_t at = 0; at < forecast_count(in->sides[0]); at++) {
        const struct job_row *job = core_job(in->core, forecast_job(in->sides[0], at));
        struct group *group = group_of(in, groups, job->team);
        if (!group)
            continue;
        add_job(in, groups->items.items[0], job, at);
        add_job(in, group, job, at);
        if (job->attempt == 0)
            vec_push(&jobs->items, ((struct moved){.job = job->id,
                                       .at = at,
                                       .by_ms = movement(in, at),
                                       .asked = job->id == asked}));
    }
}

static int by_name(const void *a, const void *b)
{
    const struct group *left = *(struct group *const *)a, *right = *(struct group *const *)b;
    return strcmp(left->name, right->name);
}

static struct doc *write_answer(const struct whatif *in)
{
    struct groups groups = {{0}, {0}};
    struct jobs jobs = {{0}};
    struct currency currency = {0};
    struct doc *out = doc_map(in->arena);
    core_row_each(in->core, ROW_POOL, look_at_pool, &currency);
    bool priced = currency.symbol && !currency.several;
    vec_push(&groups.items, arena_alloc(in->arena, 1, sizeof(struct group)));
    collect(in, &groups, &jobs);
    doc_set_int(in->arena, out, "now", in->options->now_ms);
    doc_set_int(in->arena, out, "runs", in->runs);
    if (priced)
        doc_set_string(in->arena, out, "currency", core_symbol(in->core, currency.symbol));
    struct doc *total = doc_set(in->arena, out, "total", doc_map(in->arena));
    doc_set_int(in->arena, total, "waiting", groups.items.items[0]->waiting);
    set_figures(in, total, groups.items.items[0], priced);
    struct doc *teams = doc_set(in->arena, out, "teams", doc_list(in->arena));
    qsort(groups.items.items + 1, groups.items.count - 1, sizeof *groups.items.items, by_name);
    for (size_t i = 1; i < groups.items.count; i++) {
        struct doc *team = doc_append(teams, doc_map(in->arena));
        doc_set_string(in->arena, team, "team", groups.items.items[i]->name);
        doc_set_int(in->arena, team, "waiting", groups.items.items[i]->waiting);
        set_figures(in, team, groups.items.items[i], priced);
    }
    set_jobs(in, out, &jobs);
    vec_free(&groups.items);
    idmap_finish(&groups.by_team);
    vec_free(&jobs.items);
    return out;
}

struct doc *whatif_answer(struct arena *arena, const struct whatif_options *options,
    const struct doc *ask, struct error *err)
{
    struct whatif in = {.arena = arena, .options = options, .ask = ask};
    struct doc *out = run_both(&in, err) == 0 ? write_answer(&in) : NULL;
    forecast_free(in.sides[0]);
    forecast_free(in.sides[1]);
    core_destroy(in.core);
    return out;
}
