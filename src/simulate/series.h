/* How something went over time, in bounded memory: means over periods of equal length, which double
 * when there are too many of them. */
#pragma once

#include <stdint.h>

enum { SERIES_PERIODS = 512, SERIES_LINES = 3 };

struct series {
    int64_t begin_ms;                  /* of the first period */
    int64_t period_ms;                 /* 0: nothing was added yet */
    int32_t count;                     /* periods that were begun */
    int64_t length_ms[SERIES_PERIODS]; /* of each, what was added */
    double sum[SERIES_LINES][SERIES_PERIODS];
};

/* From then until then the values were these; intervals come in order of time. */
void series_add(
    struct series *series, int64_t from_ms, int64_t to_ms, const double values[SERIES_LINES]);
/* The mean of a line in a period; 0 where nothing was added. */
double series_mean(const struct series *series, int line, int32_t period);
