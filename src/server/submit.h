/* Accepting objects: what the server checks and adds before the core sees them. Used by apply, by
 * the creation of single jobs and by the first start. */
#pragma once

#include "base/error.h"
#include "server/identity.h"
#include "spec/spec.h"

#include <stdint.h>

struct server;
struct tick;

/* Whether the object may be applied as far as that can be said without doing it: the caller's role,
 * engines that are there, obligatory labels, host network, snapshots, secrets. Adds errors at
 * path; returns 0 or -1. Completes the object (owner label, a local pool's capacity) on the way. */
MUST_CHECK int submit_check(struct server *server, const struct identity *identity,
    struct arena *arena, struct manifest *manifest, const char *path, struct field_errors *errors);
/* -1 with ERR_DENIED when the identity may not apply such an object. */
MUST_CHECK int submit_allowed(struct server *server, const struct identity *identity,
    const struct manifest *manifest, struct error *err);

enum submit_action { SUBMIT_CREATED, SUBMIT_CHANGED, SUBMIT_UNCHANGED };
extern const char *const submit_action_names[];

struct submit_plan {
    enum submit_action action;
    struct doc_changes changes;
    uint64_t job; /* SUBMIT_UNCHANGED: the job that it is */
};
/* What applying it would do. ERR_CONFLICT: a live job of that name differs. */
MUST_CHECK int submit_plan(struct server *server, struct arena *arena,
    const struct manifest *manifest, struct submit_plan *ret_plan, struct error *err);

/* Does it, within a tick. ret_job (may be NULL) gets a job's id. On -1 nothing was changed, or the
 * tick is spoiled. */
MUST_CHECK int submit_apply(
    struct tick *tick, const struct manifest *manifest, uint64_t *ret_job, struct error *err);
/* The same for a job that is run again: what it writes is compared, see outputs_expect. */
MUST_CHECK int submit_apply_reproduction(struct tick *tick, const struct manifest *manifest,
    const struct doc *reproduces, uint64_t *ret_job, struct error *err);
