/* Forecasts for the broker: see waits.h.
 *
 * One run is of all pools, and the broker acts in it: jobs go to pools with a burst policy as they
 * would. Only those that are asked about turn these down, so that the wait of each is the one it
 * would have if it stayed. As all of them stay, a moment is an upper bound once some have gone,
 * which the next forecast, a minute later, brings down. */
#include "planner/waits.h"

#include "planner/forecast.h"

#include <stdlib.h>

enum { RUNS = 5 };
#define HORIZON_MS ((int64_t)30 * 24 * 3600 * 1000)

struct wanted {
    uint64_t jobs[CORE_FORECASTS_MAX];
    size_t count;
};

static void list_wanted(void *context, uint64_t job)
{
    struct wanted *wanted = context;
    wanted->jobs[wanted->count++] = job;
}

/* They come in the order in which policies asked about them, which is that of priorities. */
static int by_id(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* The median of the moments at which it starts; 0: too little is known. */
static int64_t start_of(const struct forecast *forecast, uint64_t job, int64_t horizon_ms)
{
    int64_t moments[FORECAST_RUNS_MAX];
    size_t i = forecast_find(forecast, job);
    int count = forecast_runs(forecast), told = 0;
    for (int run = 0; i != SIZE_MAX && run < count; run++) {
        int64_t reached_ms, start_ms = forecast_start(forecast, run, i);
        bool cut = forecast_cut(forecast, run, &reached_ms) && reached_ms < horizon_ms;
        if (start_ms || !cut)
            moments[told++] = start_ms ? start_ms : horizon_ms;
    }
    if (told * 2 <= count)
        return 0;
    struct spread spread;
    spread_of(moments, told, &spread);
    return spread.median;
}

struct doc *waits_answer(
    struct arena *arena, struct core *core, const struct waits_options *options, struct error *err)
{
    struct wanted wanted = {.count = 0};
    struct doc *list = doc_list(arena);
    struct forecast_options forward = {.history = options->history,
        .runs = RUNS,
        .now_ms = options->now_ms,
        .horizon_ms = HORIZON_MS,
        .budget_ms = options->budget_ms};
    core_forecast_wanted(core, list_wanted, &wanted);
    if (!wanted.count)
        return list;
    qsort(wanted.jobs, wanted.count, sizeof *wanted.jobs, by_id);
    forward.staying = wanted.jobs;
    forward.staying_count = wanted.count;
    struct forecast *forecast = forecast_make(core, &forward, err);
    if (!forecast)
        return NULL;
    for (size_t i = 0; i < wanted.count; i++) {
        int64_t start_ms = start_of(forecast, wanted.jobs[i], options->now_ms + forward.horizon_ms);
        if (!start_ms)
            continue;
        struct doc *one = doc_append(list, doc_map(arena));
        doc_set_int(arena, one, "job", (int64_t)wanted.jobs[i]);
        doc_set_int(arena, one, "atMs", options->now_ms);
        doc_set_int(arena, one, "startMs", start_ms);
    }
    forecast_free(forecast);
    return list;
}
