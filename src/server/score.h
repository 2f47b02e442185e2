/* Scoring: what a job that names a runtime in spec.score runs. The runtime's score command is taken
 * over as it stands, placeholders and all, when the job is submitted, so that a retry and a repeat
 * do the same whatever becomes of the Runtime; what the placeholders stand for is filled in when an
 * attempt is launched, for each element of an array its own share. A job that has spec.score and a
 * command has that in place of the runtime's, with the same placeholders. */
#pragma once

#include "base/error.h"
#include "core/rows.h"
#include "spec/kinds.h"

struct arena;
struct server;

/* Completes a scoring job as it is submitted, its inputs pinned: command, and the runtime's
 * variables beside its own. Nothing happens to other jobs. ERR_NOT_FOUND (there is no such
 * Runtime), ERR_INVALID (it cannot score, an unknown placeholder, an input with the name that is
 * needed). */
MUST_CHECK int score_complete(
    const struct server *server, struct arena *arena, struct job *job, struct error *err);
/* Fills in the command of a scoring job for one attempt, in place. */
void score_expand(struct arena *arena, struct job *job, const struct job_row *row);
