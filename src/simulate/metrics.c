/* The shares of the cluster at which runs of arrivals are measured; what metrics own. */
#include "simulate/metrics.h"

const int metrics_points[METRICS_POINTS] = {50, 80, 90, 95, 100, 110, 130};

void metrics_finish(struct metrics *metrics)
{
    quantile_finish(&metrics->waiting_ms);
    quantile_finish(&metrics->urgent_ms);
    quantile_finish(&metrics->completion_ms);
    quantile_finish(&metrics->fairness_micro);
    quantile_finish(&metrics->slowdown_micro);
    *metrics = (struct metrics){0};
}
