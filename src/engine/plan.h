/* The plan: what the shim tells init to run. A record in a memory file, since it has the secrets:
 *
 *     fsize, nofile, nproc       bounds for every process
 *     relay_port                 what the replica's socket is relayed to; absent: nothing
 *     folder                     where to start
 *     argument ...               the command
 *     env NAME=VALUE ...         for every rank
 *     secret NAME, content ...   files to make
 *     rank N, out FD, err FD, cores LIST, env NAME=VALUE ...   once for each rank; no cores where
 *                                it is not pinned */
#pragma once

#include "base/strbuf.h"
#include "engine/cores.h"
#include "engine/launch.h"
#include "engine/record.h"

struct plan_streams {
    int out[ENGINE_RANKS_MAX]; /* the descriptors init inherits for each rank's output */
    int err[ENGINE_RANKS_MAX];
};

struct plan_input {
    const struct launch *launch;
    const struct launch_placement *place;
    const struct record *secrets; /* as secrets_encode makes it; may have no fields */
    const struct plan_streams *streams;
    const struct core_list *cores; /* of all ranks together */
    uint16_t master_port;
};

/* Writes the plan that init reads, secrets included. */
void plan_encode(struct strbuf *out, const struct plan_input *input);

/* The secrets of a launch as the server hands them to the shim: fields `variable` or `file`, each
 * followed by `content`. */
void secrets_encode(struct strbuf *out, const struct launch *launch);
