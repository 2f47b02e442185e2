/* Services: makes the replicas that the core wants, checks them, tells the gateway where they are,
 * and lets none be stopped before the gateway has let go of it. */
#pragma once

#include "base/error.h"
#include "engine/engine.h"
#include "spec/spec.h"

#include <stdbool.h>

struct doc;
struct server;
struct services;
struct tick;

/* Knows nothing before the first services_committed. NULL: ERR_IO. */
MUST_CHECK struct services *services_create(struct server *server, struct error *err);
void services_destroy(struct services *services); /* NULL is fine */
/* Within a tick, between the commands and core_schedule: makes the jobs of wanted replicas. */
void services_run(struct services *services, struct tick *tick);
/* Applies or deletes a Service within a tick: see submit.h. */
MUST_CHECK int services_put(struct tick *tick, const struct service *service, struct error *err);
MUST_CHECK int services_delete(
    struct tick *tick, const char *team, const char *name, struct error *err);
/* A stage moved, or a version was added: services that follow it are renewed, in the same tick. */
MUST_CHECK int services_follow(
    struct tick *tick, const char *team, const char *model, struct error *err);
/* Fills what a launch needs when the job is a replica. */
void services_launch(struct services *services, uint64_t job, struct launch *launch);
/* Whether the attempt of a replica may be told to stop now: the gateway sends it nothing any more
 * and nothing is under way there, its drain time is over, no gateway is there, or it is unhealthy.
 * When it may not, the reconciler runs again once that changes. */
bool services_may_stop(struct services *services, const struct attempt_row *attempt);
/* After every commit: routes and checks follow what is stored now. */
void services_committed(struct services *services);
/* What describe shows of a service: replicas with state, readiness, restarts and why. */
struct doc *services_status(
    struct services *services, struct arena *arena, const char *team, const char *name);
