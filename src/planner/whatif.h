/* What if a quota, a pool, a price or a policy were another: the same state run forward twice, as
 * it is and with the changes, with the same draws.
 *
 *     {"now", "runs", "currency" (left out: none, or several),
 *      "total": {"waiting", "today": FIGURES, "changed": FIGURES},
 *      "teams": [{"team", "waiting", "today": FIGURES, "changed": FIGURES}], names ascending
 *      "jobs": {"count", "items": [{"job", "name", "team", "today": SPREAD, "changed": SPREAD}]}}
 *
 *     FIGURES: {"waitMs", "notStarted", "lastEnd", "costNano"}, medians over the runs
 *
 * waitMs is the mean from submission to start of the jobs that wait now, notStarted counts those of
 * them that do not start, lastEnd and costNano are of all live jobs (services have no end), the
 * cost from now on. SPREAD is as in explain.h, of the start. The job that was asked about comes
 * first, then those whose start moves most. */
#pragma once

#include "base/error.h"
#include "planner/copy.h"
#include "planner/history.h"
#include "wire/doc.h"

struct whatif_options {
    const struct copy *copy;
    const struct core_options *core; /* what the live core was made with; NULL: defaults */
    const struct history *history;
    int64_t now_ms;
    int64_t budget_ms;
};

/* NULL with the core's error when a change is refused, ERR_INVALID for a wrong question. */
MUST_CHECK struct doc *whatif_answer(struct arena *arena, const struct whatif_options *options,
    const struct doc *ask, struct error *err);
