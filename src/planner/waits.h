/* How long jobs would wait for the pools without a burst policy: what the core asks a forecast for
 * (core_forecast_wanted). */
#pragma once

#include "core/core.h"
#include "planner/history.h"
#include "wire/doc.h"

struct waits_options {
    const struct history *history;
    int64_t now_ms;
    int64_t budget_ms; /* wall time for all runs */
};

/* [{"job", "atMs", "startMs"}, ..], at most CORE_FORECASTS_MAX: the median of the runs; the horizon
 * for a job that never starts; a job of which too few runs came far enough is left out. The core is
 * at now_ms. NULL as forecast_make. */
MUST_CHECK struct doc *waits_answer(
    struct arena *arena, struct core *core, const struct waits_options *options, struct error *err);
