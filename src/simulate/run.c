/* One entry for both ways to run a trace. */
#include "simulate/run.h"

#include "simulate/run_internal.h"

int run_simulate(const struct run_options *options, struct metrics *ret_metrics, struct error *err)
{
    struct metrics metrics = {.seed = options->seed};
    int failed = options->mode == RUN_ARRIVALS ? run_arrivals(options, &metrics, err)
                                               : run_events(options, &metrics, err);
    if (failed < 0) {
        metrics_finish(&metrics);
        return -1;
    }
    *ret_metrics = metrics;
    return 0;
}
