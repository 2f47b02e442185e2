/* What jobs write: when a job (of an array: every element of it) has succeeded, each of its output
 * folders is taken into the registry and becomes a version, exactly once, whatever crashes.
 *
 * What is still to be taken in is stored: a document "job-pending" under the job's id, made in the
 * tick that accepts the job and deleted in the tick that adds its versions. What became of it stays
 * under "job-outputs":
 *
 *     {"state": "collected" | "failed" | "skipped", "text": why,
 *      "outputs": [{"name", "kind", "artifact", "version", "digest", "bytes", "files" | "error"}],
 *      "reproduction": {...}}
 *
 * A failure that may pass (a full disk) is tried again with backoff; one that cannot (an empty or a
 * hostile folder) is recorded. */
#pragma once

#include "base/error.h"
#include "core/rows.h"

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct doc;
struct job;
struct outputs;
struct server;
struct tick;

/* Finds in the store what is still to be taken in. NULL: it cannot be read. */
MUST_CHECK struct outputs *outputs_create(struct server *server, struct error *err);
void outputs_destroy(struct outputs *outputs); /* NULL is fine. After artifacts_stop. */

/* Within the tick that accepts a job (the first of an array): notes what it reads and that its
 * outputs are to be taken in. With reproduces ({"kind", "team", "name", "version", "output"}) the
 * output is compared with that version and no version is made. */
void outputs_expect(
    struct tick *tick, uint64_t id, const struct job *job, const struct doc *reproduces);
/* After the commit: a job has ended. */
void outputs_job_ended(struct outputs *outputs, const struct job_row *row);
/* Whether a job's outputs are still to be taken in: it is not forgotten before. */
bool outputs_pending(const struct server *server, uint64_t job);
/* Within the tick that forgets a job: takes back what outputs_expect noted. */
void outputs_forget(struct tick *tick, const struct job_row *row);
/* What describe shows: the document above, or {"state": "pending", "text": why it takes long};
 * NULL for a job without outputs. */
struct doc *outputs_status(struct server *server, struct arena *arena, uint64_t job);
