/* Facts about a job that waits: see explain.h; what it waits for is in explain_waits.c. Takes a
 * look at every node and attempt; runs in a process that was forked for the question, or without a
 * forecast in the server. */
#include "planner/explain.h"

#include "base/map.h"
#include "base/vec.h"
#include "planner/explain_parts.h"
#include "planner/forecast.h"
#include "planner/forward.h"

#include <assert.h>
#include <string.h>

/* ---- forecast ------------------------------------------------------------------------------ */

struct doc *explain_set_spread(
    struct arena *arena, struct doc *map, const char *key, const struct spread *spread)
{
    struct doc *doc = doc_set(arena, map, key, doc_map(arena));
    doc_set_int(arena, doc, "of", spread->of);
    doc_set_int(arena, doc, "known", spread->known);
    if (spread->low != INT64_MAX)
        doc_set_int(arena, doc, "low", spread->low);
    if (spread->median != INT64_MAX)
        doc_set_int(arena, doc, "median", spread->median);
    if (spread->high != INT64_MAX)
        doc_set_int(arena, doc, "high", spread->high);
    return doc;
}

/* Draws of when an attempt that runs ends by itself, as far as can be told without anything else.
 */
static void draw_ends(
    const struct explain *in, const struct job_row *job, int64_t moments[FORECAST_RUNS_MAX])
{
    const struct attempt_row *attempt = core_attempt(in->core, job->attempt);
    struct history_job known;
    assert(attempt);
    int64_t begun_ms = attempt->started_ms ? attempt->started_ms : in->options->now_ms;
    int64_t elapsed_ms = in->options->now_ms - begun_ms;
    forward_describe(in->core, job, &known);
    for (int run = 0; run < FORECAST_RUNS_MAX; run++) {
        moments[run] = 0;
        if (!job->service)
            moments[run] = begun_ms + history_draw(in->options->history, &known, job->id,
                                          elapsed_ms > 0 ? elapsed_ms : 0, run, FORECAST_RUNS_MAX);
        if (attempt->stop_reason != END_NONE)
            moments[run] = in->options->now_ms;
    }
}

void explain_end_of(const struct explain *in, const struct job_row *job, struct spread *ret)
{
    int64_t moments[FORECAST_RUNS_MAX];
    draw_ends(in, job, moments);
    spread_of(moments, FORECAST_RUNS_MAX, ret);
}

static void set_basis(const struct explain *in, struct doc *out, const struct history_job *known)
{
    struct doc *basis = doc_set(in->arena, out, "basis", doc_map(in->arena));
    int level;
    doc_set_int(in->arena, basis, "samples", history_samples(in->options->history, known, &level));
    doc_set_string(in->arena, basis, "of", history_level_names[level]);
}

static void set_deadline(const struct explain *in, struct doc *out, const int64_t *ends, int runs)
{
    int late = 0;
    if (!in->job->deadline_ms)
        return;
    for (int run = 0; run < runs; run++)
        late += ends[run] == 0 || ends[run] > in->job->deadline_ms;
    struct doc *deadline = doc_set(in->arena, out, "deadline", doc_map(in->arena));
    doc_set_int(in->arena, deadline, "at", in->job->deadline_ms);
    doc_set_int(in->arena, deadline, "late", late);
    doc_set_int(in->arena, deadline, "of", runs);
}

/* It does not come before the least moment that a run came to without it. */
void explain_set_reached(const struct explain *in, struct doc *start,
    const struct forecast *forecast, const int64_t *moments)
{
    int64_t least = INT64_MAX, reached;
    for (int run = 0; run < forecast_runs(forecast); run++) {
        if (moments[run] == 0 && forecast_cut(forecast, run, &reached) && reached < least)
            least = reached;
    }
    if (least != INT64_MAX)
        doc_set_int(in->arena, start, "reached", least);
}

static void set_start(const struct explain *in, struct doc *out, const struct forecast *forecast)
{
    int64_t starts[FORECAST_RUNS_MAX] = {0}, ends[FORECAST_RUNS_MAX] = {0};
    struct history_job known;
    struct spread spread;
    size_t i = forecast_find(forecast, in->job->id);
    int runs = forecast_runs(forecast);
    forward_describe(in->core, in->job, &known);
    for (int run = 0; i != SIZE_MAX && run < runs; run++) {
        starts[run] = forecast_start(forecast, run, i);
        if (starts[run])
            ends[run] = starts[run] + history_draw(in->options->history, &known, in->job->id, 0,
                                          run, FORECAST_RUNS_MAX);
    }
    spread_of(starts, runs, &spread);
    explain_set_reached(in, explain_set_spread(in->arena, out, "start", &spread), forecast, starts);
    spread_of(ends, runs, &spread);
    if (!in->job->service)
        explain_set_spread(in->arena, out, "end", &spread);
    set_deadline(in, out, ends, runs);
    set_basis(in, out, &known);
}

static void set_running(const struct explain *in, struct doc *out)
{
    struct history_job known;
    struct spread spread;
    int64_t ends[FORECAST_RUNS_MAX];
    if (in->job->service)
        return;
    forward_describe(in->core, in->job, &known);
    draw_ends(in, in->job, ends);
    spread_of(ends, FORECAST_RUNS_MAX, &spread);
    explain_set_spread(in->arena, out, "end", &spread);
    set_deadline(in, out, ends, FORECAST_RUNS_MAX);
    set_basis(in, out, &known);
}

/* ---- all of it ----------------------------------------------------------------------------- */

static bool may_start(enum block_kind kind)
{
    return kind != BLOCK_HELD && kind != BLOCK_IMPOSSIBLE;
}

/* The forecast is one of all pools, so that it says of each when the job would start there. */
static struct forecast *forecast_of(const struct explain *in)
{
    struct forecast_options options = {.history = in->options->history,
        .runs = FORECAST_RUNS_MAX,
        .now_ms = in->options->now_ms,
        .horizon_ms = EXPLAIN_HORIZON_MS,
        .budget_ms = in->options->budget_ms,
        .target = in->job->id,
        .every_pool = true};
    struct error err;
    struct forecast *forecast = forecast_make(in->core, &options, &err);
    if (forecast && forecast_runs(forecast) > 0)
        return forecast;
    forecast_free(forecast);
    return NULL;
}

static void set_future(const struct explain *in, struct doc *out)
{
    struct forecast *forecast = may_start(in->block.kind) ? forecast_of(in) : NULL;
    explain_set_pools(in, out, forecast);
    explain_set_holders(in, out);
    if (forecast) {
        set_start(in, out, forecast);
        explain_set_ahead(in, out, forecast);
    }
    forecast_free(forecast);
}

struct doc *explain_job(
    struct arena *arena, struct core *core, uint64_t job, const struct explain_options *options)
{
    struct explain in = {.arena = arena, .core = core, .options = options};
    in.job = core_job(core, job);
    if (!in.job)
        return NULL;
    struct doc *out = doc_map(arena);
    core_job_blocked(core, job, &in.block);
    doc_set_int(arena, out, "now", options->now_ms);
    doc_set_string(arena, out, "state", job_state_names[in.job->state]);
    if (in.block.kind != BLOCK_NONE)
        doc_set(arena, out, "waits", explain_waits(&in));
    if (options->history && in.block.kind != BLOCK_NONE) {
        set_future(&in, out);
        return out;
    }
    explain_set_pools(&in, out, NULL);
    if (options->history)
        set_running(&in, out);
    return out;
}
