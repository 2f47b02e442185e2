/* Periods of a second at first; each doubling halves how many there are. */
#include "simulate/series.h"

#include <stdbool.h>

enum { PERIOD_FIRST_MS = 1000 };

/* Two periods become one. */
static void halve(struct series *series)
{
    enum { HALF = SERIES_PERIODS / 2 };
    for (int32_t to = 0; to < SERIES_PERIODS; to++) {
        int32_t from = 2 * to;
        bool there = to < HALF;
        series->length_ms[to] = there ? series->length_ms[from] + series->length_ms[from + 1] : 0;
        for (int line = 0; line < SERIES_LINES; line++) {
            double *sum = series->sum[line];
            sum[to] = there ? sum[from] + sum[from + 1] : 0;
        }
    }
    series->period_ms *= 2;
    series->count = (series->count + 1) / 2;
}

void series_add(
    struct series *series, int64_t from_ms, int64_t to_ms, const double values[SERIES_LINES])
{
    if (to_ms <= from_ms)
        return;
    if (series->period_ms == 0) {
        series->period_ms = PERIOD_FIRST_MS;
        series->begin_ms = from_ms;
    }
    while (to_ms - series->begin_ms > series->period_ms * SERIES_PERIODS)
        halve(series);
    while (from_ms < to_ms) {
        int64_t at = (from_ms - series->begin_ms) / series->period_ms;
        int64_t end_ms = series->begin_ms + (at + 1) * series->period_ms;
        int64_t length_ms = (end_ms < to_ms ? end_ms : to_ms) - from_ms;
        series->length_ms[at] += length_ms;
        for (int line = 0; line < SERIES_LINES; line++)
            series->sum[line][at] += values[line] * (double)length_ms;
        if (at + 1 > series->count)
            series->count = (int32_t)at + 1;
        from_ms += length_ms;
    }
}

double series_mean(const struct series *series, int line, int32_t period)
{
    int64_t length_ms = series->length_ms[period];
    return length_ms ? series->sum[line][period] / (double)length_ms : 0;
}
