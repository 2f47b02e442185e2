/* Running the job that made a version again: the same manifest, the same exact inputs; what it
 * writes is compared with the version and makes none (see outputs_expect). */
#pragma once

#include "base/error.h"
#include "spec/spec.h"

#include <stdint.h>

struct arena;
struct identity;
struct server;
struct tick;
struct version;

struct reproduction {
    struct manifest manifest;
    const struct doc *reproduces;
    const char *name; /* of the job */
    uint64_t job;     /* once it runs */
};

/* Makes the job. Everything is of the arena. ERR_CONFLICT: the version was uploaded, or what its
 * job needs is gone; ERR_DENIED; ERR_INVALID as when a job is submitted. */
MUST_CHECK int reproduce_prepare(struct server *server, const struct identity *identity,
    struct arena *arena, const struct version *version, struct reproduction *ret,
    struct error *err);
/* Submits it within a tick. */
MUST_CHECK int reproduce_run(
    struct tick *tick, struct reproduction *reproduction, struct error *err);
