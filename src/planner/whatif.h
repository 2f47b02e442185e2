/* What if a quota, a pool, a price or a policy were another: the same state run forward twice, as
 * it is and with the changes, with the same draws.
 *
 *     {"now", "runs", "currency" (left out: none, or several),
 *      "total": {"waiting", "today": FIGURES, "changed": FIGURES},
 *      "teams": [{"team", "waiting", "today": FIGURES, "changed": FIGURES}], names ascending
 *      "jobs": {"count", "items": [{"job", "name", "team", "today": SPREAD, "changed": SPREAD}]}}
 *     FIGURES: medians over the runs: {"waitMs": mean from submission to start of the jobs that
 * wait now, "notStarted": of them, "lastEnd": of all live jobs but services, "costNano": of the
 * same, from now on} SPREAD: as in explain.h, of the start. Items: the job that was asked about
 * first, then those whose start moves most. */
#pragma once

#include "base/error.h"
#include "planner/copy.h"
#include "planner/history.h"
#include "wire/doc.h"

struct whatif_options {
    const struct copy *copy;
    const struct history *history;
    int64_t now_ms;
    int64_t budget_ms;
};

/* NULL with the core's error when a change is refused, ERR_INVALID for a wrong question. */
MUST_CHECK struct doc *whatif_answer(struct arena *arena, const struct whatif_options *options,
    const struct doc *ask, struct error *err);
