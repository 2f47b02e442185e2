/* The way of one job's outputs from its folders to versions, for outputs*.c alone. */
#pragma once

#include "base/memory.h"
#include "registry/registry.h"
#include "server/context.h"
#include "server/ticker.h"
#include "spec/spec.h"
#include "wire/doc.h"

struct comparison;

#define TAKING_PENDING "job-pending" /* the collection of what is still to be done */

/* One output of a job on its way. */
struct taken {
    const char *name;
    enum kind kind;
    const char *artifact;
    const struct doc *doc; /* of the manifest */
    int fd;                /* -1: there is none, see err */
    bool kept;             /* its tree is kept from collections */
    struct artifact_facts facts;
    struct error err;
};

enum taking_state { TAKING_WAITS, TAKING_WORKS };

struct taking {
    struct outputs *outputs;
    uint64_t job;
    enum taking_state state;
    int64_t next_ms;
    int64_t backoff_ms;
    int tries;
    struct error err; /* why it is tried again */
    /* while it works: */
    struct arena *arena;
    const struct doc *manifest;
    const struct doc *pending;
    const char *team;
    struct taken *items;
    size_t count;
    struct doc *environment;
    struct comparison *comparison; /* of a reproduction */
    char skip[120];                /* why nothing is taken in: the job did not succeed */
};

/* ---- outputs_store.c ----------------------------------------------------------------------- */

/* The stored document of a job of what is still to be done, in `arena`; NULL: there is none. */
const struct doc *taking_pending(const struct server *server, struct arena *arena, uint64_t job);
/* The stored document of what came of it; NULL: nothing yet. */
const struct doc *taking_result(const struct server *server, struct arena *arena, uint64_t job);
/* Stores what is to be done for `job`. */
void taking_expect(struct tick *tick, uint64_t job, const struct doc *pending);
/* The command of a tick that makes versions of what `context`, a taking, has taken in, and puts the
 * result in the place of what was to be done. -1: nothing is stored, and may be tried again. */
int taking_store(struct tick *tick, void *context, struct error *err);
