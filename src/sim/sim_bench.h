/* Decisions a second: a cluster that is filled with jobs of ten shapes. For `make bench`. */
#pragma once

#include "base/error.h"

#include <stdint.h>

struct sim_bench_result {
    int64_t placed;      /* ranks that got a place */
    int64_t decisions;   /* attempts that were admitted */
    int64_t submit_ns;   /* time to take the jobs in */
    int64_t schedule_ns; /* time of the passes that placed them */
    int64_t jobs_live;
    int64_t bytes; /* memory of the state with all jobs in it */
};

/* Submits `jobs` jobs to `nodes` nodes and schedules until nothing more is placed. clock_ns says
 * what time it is. -1 with the core's error. */
MUST_CHECK int sim_bench(int64_t nodes, int64_t jobs, int64_t (*clock_ns)(void),
    struct sim_bench_result *ret_result, struct error *err);
