/* The launch of an attempt: its checks, and the file that keeps it beside a running attempt. */
#pragma once

#include "base/memory.h"
#include "base/strbuf.h"
#include "engine/engine.h"

enum { LAUNCH_BYTES_MAX = 1 << 20 };

/* -1: ERR_INVALID with what is wrong. */
MUST_CHECK int launch_check(const struct launch *launch, struct error *err);
/* Appends the launch as a record, without secrets and without the snapshot. */
void launch_encode(struct strbuf *out, const struct launch *launch);
/* Everything is in the arena. snapshot_fd is -1 and there are no secrets. -1: ERR_CORRUPT,
 * ERR_TOO_LARGE or ERR_INVALID. */
MUST_CHECK int launch_decode(struct arena *arena, const char *text, size_t size,
    struct launch *ret_launch, struct error *err);
/* The placement on the node, or NULL when the launch has none there. */
const struct launch_placement *launch_placement_on(const struct launch *launch, const char *node);

/* The same without inputs that need not be there: the programs of this machine's runtimes, which an
 * upgrade replaces, where what a site is shown is taken never to change. Borrows from it and the
 * arena. */
struct launch launch_without_optional(struct arena *arena, const struct launch *launch);

/* The names of inputs, outputs and parts: [a-z0-9][a-z0-9._-]*, at most 255 bytes. Such a name is
 * one component of a path and never "." or "..". False for NULL too. */
bool launch_is_artifact_name(const char *name);
/* Appends the variable of an input or output: the prefix ("MUSTER_INPUT_") and the name in upper
 * case, '-' and '.' as '_'. */
void launch_artifact_variable(struct strbuf *out, const char *prefix, const char *name);
/* Whether its ranks have less than a whole accelerator each. */
bool launch_has_share(const struct launch *launch);
/* The job whose folder has the outputs: output_job, or the job itself. */
uint64_t launch_output_job(const struct launch *launch);
