/* Where things are in the data directory, and whose they are:
 *
 *     run/ATTEMPT/                 the server's user only, mode 0700
 *         lock, status, launch, control, diagnostics
 *     trash/                       the server's user only: what is being removed, see trash.h
 *     serve/ATTEMPT/               the team's user: the socket of a replica
 *     jobs/JOB/checkpoint/         the team's user; the same for every attempt
 *     jobs/JOB/output/             the server's user only
 *         NAME/                    the team's user; the same for every attempt
 *         NAME/PART/               or, with parts, NAME is the server's and the parts the team's
 *     jobs/JOB/attempt-N/          the server's user only
 *         work/ tmp/ job/ log/     the team's user
 *
 * run/, serve/ and jobs/ are closed to everybody but the server's user, so the team's folders are
 * only reachable through what the shim opened or showed before it gave up its rights. */
#pragma once

#include "base/error.h"
#include "engine/engine.h"

#include <stdint.h>
#include <sys/types.h>

/* Each returns a path to be freed by the caller. name may be NULL: the folder itself. */
char *layout_run(const char *data, uint64_t attempt, const char *name);
char *layout_job(const char *data, uint64_t job, const char *name);
char *layout_attempt(const char *data, uint64_t job, uint32_t attempt_number, const char *name);
/* part may be NULL: the folder of the whole output. */
char *layout_output(const char *data, uint64_t job, const char *name, const char *part);
char *layout_serve(const char *data, uint64_t attempt, const char *name);

/* Makes the folders of an attempt; those of the team belong to uid and gid. Fine when there. */
MUST_CHECK int layout_make(
    const char *data, const struct launch *launch, uid_t uid, gid_t gid, struct error *err);
