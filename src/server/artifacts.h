/* Artifacts on their way: what a job reads is laid out before it starts, what is uploaded or taken
 * in gets into the registry. The registry's work is done on threads of its own: a few for the many
 * short ones, most of which wait for the disk to sync a chunk, and one each for what takes long
 * (verifying, collecting) and for laying out, so that these do not hold up the short ones. */
#pragma once

#include "base/error.h"
#include "engine/worker.h"
#include "spec/kinds.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct artifacts;
struct doc;
struct identity;
struct registry;
struct server;

/* Opens the registry and starts its threads. NULL: ERR_IO, ERR_INVALID (no hard links there). */
MUST_CHECK struct artifacts *artifacts_create(struct server *server, struct error *err);
/* Finishes what the threads were given, without calling anybody back. Comes before the HTTP server
 * is destroyed, in whose requests the threads' work may live. NULL is fine. */
void artifacts_stop(struct artifacts *artifacts);
void artifacts_destroy(struct artifacts *artifacts); /* NULL is fine */
struct registry *artifacts_registry(struct artifacts *artifacts);
bool artifacts_stopped(const struct artifacts *artifacts);

/* Where a tree lies as plain files, if it does: valid until the loop is returned to. Otherwise
 * NULL, and err says why: ERR_BUSY while it is being laid out, ERR_CORRUPT or ERR_NOT_FOUND (it
 * names file and chunk) when it cannot be, anything else (a full disk) when it is tried again after
 * a while. The reconciler runs again whenever that may have changed. */
const char *artifacts_path(struct artifacts *artifacts, const char *tree, struct error *err);
/* Whether an error of artifacts_path is one to wait out. */
bool artifacts_may_come(const struct error *err);
/* Why a job's attempt waits for its inputs, for people; text NULL: it does not any more. */
void artifacts_set_wait(struct artifacts *artifacts, uint64_t job, const char *text);
const char *artifacts_wait(const struct artifacts *artifacts, uint64_t job); /* or NULL */
/* Whether it waits and nothing has happened since that could change it: saves a look at its
 * manifest in every tick. */
bool artifacts_waits_still(const struct artifacts *artifacts, uint64_t job);

/* Resolves a job's inputs when it is submitted: replaces every reference by the exact version that
 * it means now ("team/name:3"), checks that identity may read each (a viewer of the team it belongs
 * to), that the job's outputs name Datasets and Models of its team, and narrows the job's placement
 * to the jurisdictions of what it reads and writes. ERR_CONFLICT when these exclude each other, or
 * what the job asks for; ERR_NOT_FOUND, also for what identity may not see; ERR_INVALID. The error
 * begins with the field. */
MUST_CHECK int artifacts_pin_inputs(struct server *server, const struct identity *identity,
    struct arena *arena, const char *team, struct job *job, struct error *err);

/* Whether what a job writes has a Dataset or Model of its team to go to. Asked within the tick, so
 * that those which are applied together with the job count. ERR_NOT_FOUND. */
MUST_CHECK int artifacts_check_outputs(
    const struct server *server, const struct job *job, struct error *err);
/* What a Dataset says about its versions: its jurisdiction goes to *ret_jurisdiction where it has
 * one (valid until the catalogue changes), its consent label is added to the list consent. Either
 * may be NULL. */
void artifacts_dataset_terms(const struct server *server, struct arena *arena, const char *team,
    const char *name, const char **ret_jurisdiction, struct doc *consent);

/* Gives work to one of the threads: short (a chunk, a question; several threads, so that two of
 * these may end in another order than they were given), long (an upload's end, outputs, a
 * collection), or layouts, which jobs wait for and no upload may hold up. See worker_run. */
enum artifacts_thread { ARTIFACTS_SHORT, ARTIFACTS_LONG, ARTIFACTS_LAYOUTS, ARTIFACTS_THREADS };
MUST_CHECK int artifacts_run(struct artifacts *artifacts, enum artifacts_thread thread,
    worker_fn *work, worker_fn *done, void *context, struct error *err);
/* ERR_FULL when less than a tenth of the disk is free: nothing is taken in then. Any thread. */
MUST_CHECK int artifacts_check_room(const struct server *server, struct error *err);

/* Bounds on what goes on at once: false when there is no more room; otherwise artifacts_leave comes
 * afterwards. */
enum artifacts_bound {
    ARTIFACTS_CHUNKS,
    ARTIFACTS_TREES,
    ARTIFACTS_STREAMS,
    ARTIFACTS_CHECKS,
    ARTIFACTS_BOUNDS
};
MUST_CHECK int artifacts_enter(
    struct artifacts *artifacts, enum artifacts_bound bound, struct error *err);
void artifacts_leave(struct artifacts *artifacts, enum artifacts_bound bound);
/* A chunk of a team, which is bounded as ARTIFACTS_CHUNKS and by the team's share of these: one
 * team cannot keep the others from sending. ERR_BUSY; otherwise artifacts_leave_chunk comes
 * afterwards, and not artifacts_leave. */
MUST_CHECK int artifacts_enter_chunk(
    struct artifacts *artifacts, const char *team, struct error *err);
void artifacts_leave_chunk(struct artifacts *artifacts, const char *team);

/* Trees that are in the registry and in no version yet: a collection must not take them. Called on
 * the thread that puts the tree there, and on the loop once its version is stored or given up. */
void artifacts_keep(struct artifacts *artifacts, const char *team, const char *tree);
void artifacts_release(struct artifacts *artifacts, const char *team, const char *tree);
/* Visits them, on any thread. */
void artifacts_kept(struct artifacts *artifacts,
    void (*visit)(void *context, const char *team, const char *tree), void *context);
