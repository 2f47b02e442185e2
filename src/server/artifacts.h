/* Artifacts on their way: what a job reads is laid out before it starts, what it wrote is taken in
 * when it has succeeded. The registry's work is done on a thread of its own. */
#pragma once

#include "base/error.h"
#include "spec/kinds.h"

#include <stdbool.h>
#include <stdint.h>

struct artifacts;
struct registry;
struct server;
struct tick;

/* Opens the registry and starts its thread. NULL: ERR_IO, ERR_INVALID (no hard links there). */
MUST_CHECK struct artifacts *artifacts_create(struct server *server, struct error *err);
void artifacts_destroy(struct artifacts *artifacts); /* NULL is fine */
struct registry *artifacts_registry(struct artifacts *artifacts);

/* Where a tree lies as plain files, if it does: valid until the loop is returned to. Otherwise
 * NULL; it is then being laid out, and the reconciler runs again when it is there or has failed
 * (err then says why, and later calls try again after a while). */
const char *artifacts_path(struct artifacts *artifacts, const char *tree, struct error *err);

/* Resolves a job's inputs when it is submitted: replaces every reference by the exact version that
 * it means now ("team/name:3"), checks that the submitter may read each, and narrows the job's
 * placement to the jurisdictions of what it reads (ERR_CONFLICT when they exclude each other, or
 * what the job asks for). */
MUST_CHECK int artifacts_pin_inputs(struct server *server, struct arena *arena, const char *team,
    struct job *job, struct error *err);
