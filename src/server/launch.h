/* Turns an attempt of the core into a launch of an engine. */
#pragma once

#include "base/error.h"
#include "core/rows.h"
#include "engine/engine.h"

struct server;

/* Starts the attempt on its engine. -1: it cannot be started, and the error says why for people
 * (a secret is missing, the snapshot is gone, an input is corrupt, the engine refused). 1: not yet,
 * its inputs are still being laid out; the reconciler runs again when that may have changed. */
MUST_CHECK int launch_attempt(struct server *server, struct engine *engine,
    const struct attempt_row *attempt, struct error *err);
/* The uid that jobs of a team run as; 0 when the server cannot change uids. */
uid_t launch_team_uid(struct server *server, const char *team);
