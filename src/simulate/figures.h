/* The figures of runs, by name: what tables, JSON, CSV and reports all print. docs/simulate.md
 * defines each. */
#pragma once

#include "base/strbuf.h"
#include "simulate/metrics.h"

#include <stdbool.h>
#include <stddef.h>

enum figure_unit {
    FIGURE_COUNT,
    FIGURE_PERCENT,
    FIGURE_SECONDS,
    FIGURE_RATIO,
    FIGURE_HOURS,
    FIGURE_MONEY
};

struct figure {
    const char *name;  /* in JSON and CSV: "jct_mean_seconds" */
    const char *title; /* for people: "JCT mean" */
    enum figure_unit unit;
    /* Whether the run has it, and it. */
    bool (*get)(const struct metrics *metrics, double *ret);
};

/* Of runs from event to event; a name of NULL ends the list. */
extern const struct figure figures_events[];
/* Of runs with arrivals alone, beside those at the points of metrics.h. */
extern const struct figure figures_arrivals[];

/* The mean over the runs that have it; false when none has. */
bool figure_mean(
    const struct figure *figure, const struct metrics *runs, size_t count, double *ret);
typedef bool figure_point_fn(const struct metrics *metrics, int point, double *ret);
/* Allocated and fragmented devices at a point, in per cent of the cluster's; whether reached. */
bool figure_allocated(const struct metrics *metrics, int point, double *ret);
bool figure_fragmented(const struct metrics *metrics, int point, double *ret);

/* Appends a number as JSON, with at most 4 decimals. */
void figure_json(struct strbuf *out, double value);
/* Appends it for people, with its unit. */
void figure_text(struct strbuf *out, const struct figure *figure, double value);
