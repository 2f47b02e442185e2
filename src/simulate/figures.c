/* Each figure is a function of the metrics of one run; means are over runs. Only for showing: no
 * decision depends on floating point. */
#include "simulate/figures.h"

#include "base/quantity.h"
#include "base/strbuf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool ratio(double part, double whole, double *ret)
{
    if (whole <= 0)
        return false;
    *ret = part / whole;
    return true;
}

static bool percent(double part, double whole, double *ret)
{
    return ratio(100 * part, whole, ret);
}

#define COUNT_OF(field)                                                                            \
    static bool get_##field(const struct metrics *metrics, double *ret)                            \
    {                                                                                              \
        *ret = (double)metrics->field;                                                             \
        return true;                                                                               \
    }
COUNT_OF(jobs)
COUNT_OF(impossible)
COUNT_OF(dropped)
COUNT_OF(succeeded)
COUNT_OF(failed)
COUNT_OF(unfinished)
COUNT_OF(starts)
COUNT_OF(preemptions)
COUNT_OF(resizes)
COUNT_OF(node_losses)

static bool seconds_at(const struct quantile *quantile, int per_mille, double *ret)
{
    return ratio((double)quantile_at(quantile, per_mille), quantile->count ? 1000 : 0, ret);
}

static bool seconds_mean(const struct quantile *quantile, double *ret)
{
    return ratio((double)quantile->sum, (double)quantile->count * 1000, ret);
}

#define SECONDS_OF(name, field)                                                                    \
    static bool get_##name##_mean(const struct metrics *metrics, double *ret)                      \
    {                                                                                              \
        return seconds_mean(&metrics->field, ret);                                                 \
    }                                                                                              \
    static bool get_##name##_p50(const struct metrics *metrics, double *ret)                       \
    {                                                                                              \
        return seconds_at(&metrics->field, 500, ret);                                              \
    }                                                                                              \
    static bool get_##name##_p99(const struct metrics *metrics, double *ret)                       \
    {                                                                                              \
        return seconds_at(&metrics->field, 990, ret);                                              \
    }
SECONDS_OF(waiting, waiting_ms)
SECONDS_OF(urgent, urgent_ms)
SECONDS_OF(jct, completion_ms)

static bool get_makespan(const struct metrics *metrics, double *ret)
{
    bool any = metrics->first_submit_ms >= 0 && metrics->last_end_ms > 0;
    return ratio((double)(metrics->last_end_ms - metrics->first_submit_ms), any ? 1000 : 0, ret);
}

static bool get_fairness_mean(const struct metrics *metrics, double *ret)
{
    const struct quantile *fairness = &metrics->fairness_micro;
    return ratio((double)fairness->sum, (double)fairness->count * 1e6, ret);
}

static bool get_fairness_worst(const struct metrics *metrics, double *ret)
{
    const struct quantile *fairness = &metrics->fairness_micro;
    return ratio((double)fairness->most, fairness->count ? 1e6 : 0, ret);
}

static bool get_unfair(const struct metrics *metrics, double *ret)
{
    return percent((double)metrics->unfair, (double)metrics->fairness_micro.count, ret);
}

/* Finish-time fairness as Shockwave's authors count it: against the share that a job would have if
 * all jobs of the trace were there all the time. */
static double share_of_all(const struct metrics *metrics)
{
    double crowd = (double)metrics->jobs * 1000 / (double)metrics->capacity_milli;
    return crowd > 1 ? crowd : 1;
}

static bool get_share_worst(const struct metrics *metrics, double *ret)
{
    return ratio((double)metrics->slowdown_micro.most / 1e6,
        metrics->slowdown_micro.count ? share_of_all(metrics) : 0, ret);
}

static bool get_share_unfair(const struct metrics *metrics, double *ret)
{
    int64_t fair = (int64_t)(1.05e6 * share_of_all(metrics));
    return percent((double)quantile_above(&metrics->slowdown_micro, fair),
        (double)metrics->slowdown_micro.count, ret);
}

static bool get_in_time(const struct metrics *metrics, double *ret)
{
    return percent((double)metrics->in_time, (double)metrics->with_deadline, ret);
}

static bool get_utilisation(const struct metrics *metrics, double *ret)
{
    return percent((double)metrics->device_held_ms, (double)metrics->device_there_ms, ret);
}

static bool get_fragmented(const struct metrics *metrics, double *ret)
{
    return percent((double)metrics->fragmented_ms, (double)metrics->sampled_ms, ret);
}

static bool get_lost_hours(const struct metrics *metrics, double *ret)
{
    *ret = (double)metrics->device_lost_ms / 1000 / 3600000;
    return true;
}

static bool get_lost_percent(const struct metrics *metrics, double *ret)
{
    return percent((double)metrics->device_lost_ms, (double)metrics->device_held_ms, ret);
}

static bool get_cost(const struct metrics *metrics, double *ret)
{
    *ret = (double)metrics->cost_nano / 1e9;
    return metrics->cost_nano > 0;
}

const struct figure figures_events[] = {
    {"jobs", "jobs", FIGURE_COUNT, get_jobs},
    {"succeeded", "succeeded", FIGURE_COUNT, get_succeeded},
    {"failed", "failed", FIGURE_COUNT, get_failed},
    {"unfinished", "unfinished", FIGURE_COUNT, get_unfinished},
    {"impossible", "impossible", FIGURE_COUNT, get_impossible},
    {"utilisation_percent", "utilisation", FIGURE_PERCENT, get_utilisation},
    {"fragmented_percent", "fragmented", FIGURE_PERCENT, get_fragmented},
    {"waiting_mean_seconds", "waiting mean", FIGURE_SECONDS, get_waiting_mean},
    {"waiting_p50_seconds", "waiting p50", FIGURE_SECONDS, get_waiting_p50},
    {"waiting_p99_seconds", "waiting p99", FIGURE_SECONDS, get_waiting_p99},
    {"urgent_waiting_mean_seconds", "urgent waiting mean", FIGURE_SECONDS, get_urgent_mean},
    {"urgent_waiting_p50_seconds", "urgent waiting p50", FIGURE_SECONDS, get_urgent_p50},
    {"urgent_waiting_p99_seconds", "urgent waiting p99", FIGURE_SECONDS, get_urgent_p99},
    {"jct_mean_seconds", "JCT mean", FIGURE_SECONDS, get_jct_mean},
    {"jct_p50_seconds", "JCT p50", FIGURE_SECONDS, get_jct_p50},
    {"jct_p99_seconds", "JCT p99", FIGURE_SECONDS, get_jct_p99},
    {"makespan_seconds", "makespan", FIGURE_SECONDS, get_makespan},
    {"fairness_mean", "finish-time fairness mean", FIGURE_RATIO, get_fairness_mean},
    {"fairness_worst", "finish-time fairness worst", FIGURE_RATIO, get_fairness_worst},
    {"unfair_percent", "unfair (above 1.05)", FIGURE_PERCENT, get_unfair},
    {"share_fairness_worst", "the same by jobs of the trace, worst", FIGURE_RATIO, get_share_worst},
    {"share_unfair_percent", "unfair by that", FIGURE_PERCENT, get_share_unfair},
    {"deadlines_met_percent", "deadlines met", FIGURE_PERCENT, get_in_time},
    {"starts", "starts", FIGURE_COUNT, get_starts},
    {"preemptions", "preemptions", FIGURE_COUNT, get_preemptions},
    {"resizes", "resizes", FIGURE_COUNT, get_resizes},
    {"node_losses", "attempts lost with a node", FIGURE_COUNT, get_node_losses},
    {"lost_device_hours", "work lost", FIGURE_HOURS, get_lost_hours},
    {"lost_percent", "work lost of what was held", FIGURE_PERCENT, get_lost_percent},
    {"cost", "cost", FIGURE_MONEY, get_cost},
    {NULL},
};

const struct figure figures_arrivals[] = {
    {"jobs", "jobs", FIGURE_COUNT, get_jobs},
    {"dropped", "dropped", FIGURE_COUNT, get_dropped},
    {"impossible", "impossible", FIGURE_COUNT, get_impossible},
    {NULL},
};

bool figure_mean(const struct figure *figure, const struct metrics *runs, size_t count, double *ret)
{
    double sum = 0, value;
    size_t having = 0;
    for (size_t i = 0; i < count; i++) {
        if (figure->get(&runs[i], &value)) {
            sum += value;
            having++;
        }
    }
    return ratio(sum, (double)having, ret);
}

static bool at_point(const struct metrics *metrics, int point, bool fragmented, double *ret)
{
    const struct metrics_point *at = &metrics->points[point];
    int64_t milli = fragmented ? at->fragmented_milli : at->allocated_milli;
    return at->reached && percent((double)milli, (double)metrics->accelerator_milli, ret);
}

bool figure_allocated(const struct metrics *metrics, int point, double *ret)
{
    return at_point(metrics, point, false, ret);
}

bool figure_fragmented(const struct metrics *metrics, int point, double *ret)
{
    return at_point(metrics, point, true, ret);
}

void figure_json(struct strbuf *out, double value)
{
    char text[64];
    int length = snprintf(text, sizeof text, "%.4f", value);
    while (length > 1 && text[length - 1] == '0')
        length--;
    length -= text[length - 1] == '.';
    strbuf_append(out, text, (size_t)length);
}

void figure_text(struct strbuf *out, const struct figure *figure, double value)
{
    char duration[QUANTITY_TEXT];
    switch (figure->unit) {
    case FIGURE_COUNT: strbuf_printf(out, "%.0f", value); break;
    case FIGURE_PERCENT: strbuf_printf(out, "%.2f%%", value); break;
    case FIGURE_SECONDS:
        strbuf_printf(out, "%.1f s", value);
        if (value >= 120)
            strbuf_printf(
                out, " (%s)", quantity_human_duration((int64_t)(value * 1000 + 0.5), duration));
        break;
    case FIGURE_RATIO: strbuf_printf(out, "%.3f", value); break;
    case FIGURE_HOURS: strbuf_printf(out, "%.1f h", value); break;
    case FIGURE_MONEY: strbuf_printf(out, "%.2f", value); break;
    }
}
