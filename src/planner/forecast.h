/* A forecast: several forward runs of one state, each in a process of its own, and what they say of
 * each job. With nine runs the least and the greatest moment hold the true one eight times in ten,
 * as far as the draws are like the future. */
#pragma once

#include "core/core.h"
#include "planner/history.h"

enum { FORECAST_RUNS_MAX = 9 };

struct forecast_options {
    const struct history *history;
    int runs; /* 1 to FORECAST_RUNS_MAX */
    int64_t now_ms;
    int64_t horizon_ms; /* a run goes no further than this */
    int64_t budget_ms;  /* wall time for all runs; a run that has used its share is cut */
    uint64_t target;    /* runs end when this job starts; 0: when all is done */
    /* The target turns down each pool that it is offered, until there is none or it has gone on for
     * FORECAST_ON_MS after its first: so a run says of every pool when it would have started there.
     */
    bool every_pool;
    /* These turn down pools with a burst policy, and wait on. Ids ascending. */
    const uint64_t *staying;
    size_t staying_count;
};
#define FORECAST_ON_MS ((int64_t)24 * 3600 * 1000)

struct forecast;

/* Runs; blocks for as long as that takes, one run after the other. The core is as it was. NULL with
 * ERR_IO when no process or memory was to be had. */
MUST_CHECK struct forecast *forecast_make(
    struct core *core, const struct forecast_options *options, struct error *err);
void forecast_free(struct forecast *forecast); /* NULL is fine */

/* Jobs that were live, ids ascending. */
size_t forecast_count(const struct forecast *forecast);
uint64_t forecast_job(const struct forecast *forecast, size_t i);
/* The place of a job; SIZE_MAX when it was not live. */
size_t forecast_find(const struct forecast *forecast, uint64_t job);
/* How many runs came to an end of any kind. */
int forecast_runs(const struct forecast *forecast);
/* In a run: the moment at which the job started or ended, 0 when it did not; nanos it cost from now
 * on. */
int64_t forecast_start(const struct forecast *forecast, int run, size_t i);
int64_t forecast_end(const struct forecast *forecast, int run, size_t i);
int64_t forecast_cost(const struct forecast *forecast, int run, size_t i);
/* With every_pool: when the target would have started in the pool, 0: it was not offered a place
 * there. Its forecast_start is the first of these. */
int64_t forecast_offer(const struct forecast *forecast, int run, uint64_t pool);
/* Whether the run was cut, and the moment it had come to. */
bool forecast_cut(const struct forecast *forecast, int run, int64_t *ret_reached_ms);
int64_t forecast_ticks(const struct forecast *forecast);

/* What several runs say of one moment. */
struct spread {
    int of, known;             /* runs, and those in which it came */
    int64_t low, median, high; /* INT64_MAX: it did not come in that one */
};
/* Of `count` moments, 0 where it did not come. The median is the lower one of two. */
void spread_of(const int64_t *moments, int count, struct spread *ret);
