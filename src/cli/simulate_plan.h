/* What `muster simulate` was asked for: its options, checked and turned into runs. */
#pragma once

#include "base/vec.h"
#include "cli/cli.h"
#include "simulate/run.h"

struct simulate_plan {
    const struct trace_format *format;
    const struct model_type *model;
    const char *jobs;
    const char *policy; /* as it was asked for */
    uint64_t first_seed, last_seed;
    int64_t tune_milli;
    bool steady;
    int64_t repeat;
    struct run_options run; /* all but what differs between seeds */
    struct model_options speeds;
    struct trace_cluster cluster;
    struct trace_events events;
    struct fragment_mix *mix;
    struct trace_list *known;
    struct trace_mark mark;
};

extern const struct option_spec simulate_options[];

/* Reads options and machines. 0 or -1; in both cases simulate_plan_finish is called after it. */
MUST_CHECK int simulate_plan_make(struct cli *cli, struct simulate_plan *plan, struct error *err);
void simulate_plan_finish(struct simulate_plan *plan);
/* One run; the metrics are the caller's to finish. */
MUST_CHECK int simulate_plan_run(const struct simulate_plan *plan, uint64_t seed,
    const struct run_observer *observer, struct metrics *ret_metrics, struct error *err);
