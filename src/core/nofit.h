/* What is known not to fit, and what that says of the lanes of a pass. */
#pragma once

#include <stdbool.h>

struct core;
struct lane;
struct live_job;
struct plan;

/* ---- nofit.c ----------------------------------------------------------------------------------
 */

/* Whether no plan can be made for the job, as far as that is known without making one. */
bool nofit_known(struct core *core, const struct live_job *job);
/* The same for the first job of a lane that nobody tries now: nothing is remembered of it. */
bool nofit_foreseen(struct core *core, const struct lane *lane);
/* Remembers that no plan could be made for the job; `plan` says how far it was from that. */
void nofit_remember(struct core *core, const struct live_job *job, const struct plan *plan);

bool nofit_check(const struct core *core, const struct live_job *job); /* for core_check */

/* ---- outlook.c --------------------------------------------------------------------------------
 */

/* Sets the outlook of every lane that waits. True: in this pass nothing comes of those that are
 * stuck, so that they need no turn; who has waited long enough for a promise later on is in
 * core->wake_ms then. */
bool lanes_foresee(struct core *core);
