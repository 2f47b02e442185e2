/* The two ways to run a trace, each with a file of its own. */
#pragma once

#include "simulate/run.h"

enum { RUN_PROGRESS_EVERY = 512 }; /* jobs from one progress report to the next */

/* As run_simulate, into metrics that are initialised. */
MUST_CHECK int run_arrivals(
    const struct run_options *options, struct metrics *metrics, struct error *err);
MUST_CHECK int run_events(
    const struct run_options *options, struct metrics *metrics, struct error *err);
