/* Services: makes the replicas that the core wants, checks them, tells the gateway where they are,
 * and lets none be stopped before the gateway has let go of it.
 *
 * What replicas of a revision are made of is a document of its own, collection "service-revision",
 * key "team/name/00000003", scope team: {"service": the manifest, "runtime": the Runtime's with the
 * service's command and probes laid over it, "model": {"team", "name", "version", "tree", "digest",
 * "jurisdiction"}}. A replica that starts again is made of the same whatever became of the Service,
 * the Runtime and the Model's stages since. The model is left out while there is no version that
 * the service could serve. */
#pragma once

#include "base/error.h"
#include "engine/engine.h"
#include "spec/spec.h"

#include <stdbool.h>

struct arena;
struct attempt_row;
struct doc;
struct server;
struct service_row;
struct services;
struct tick;
struct trials;

/* Knows nothing before the first services_committed. NULL: ERR_IO. */
MUST_CHECK struct services *services_create(struct server *server, struct error *err);
void services_destroy(struct services *services); /* NULL is fine */
/* What was remembered of a tick that was taken back is forgotten: the core was loaded again. */
void services_reloaded(struct services *services);
/* Within a tick, between the commands and core_schedule: makes the jobs of wanted replicas. */
void services_run(struct services *services, struct tick *tick);
/* Applies or deletes a Service within a tick: see submit.h. ERR_NOT_FOUND (its model, its version,
 * its runtime), ERR_CONFLICT (another service has its route, or it is being deleted). A stage that
 * no version holds yet is waited for. */
MUST_CHECK int services_put(struct tick *tick, const struct service *service, struct error *err);
MUST_CHECK int services_delete(
    struct tick *tick, const char *team, const char *name, struct error *err);
/* A stage moved, or a version was added: services that follow it are renewed in the next tick,
 * which sees in the store what this one did. It is also looked at when the server starts. */
void services_follow(struct tick *tick, const char *team, const char *model);
/* The same for a Runtime that was changed. */
void services_follow_runtime(struct tick *tick, const char *runtime);
/* Fills what a launch needs when the job is a replica: where it listens at that engine, and its
 * variables, with what they need from the arena. */
void services_launch(struct services *services, struct arena *arena, const struct engine *engine,
    struct launch *launch);
/* Whether the attempt of a replica may be told to stop now: the gateway sends it nothing any more
 * and nothing is under way there, its drain time is over, no gateway is there, or it is unhealthy.
 * When it may not, the reconciler runs again once that changes. True for other jobs. */
bool services_may_stop(struct services *services, const struct attempt_row *attempt);
/* Within a tick: a deleted service lost its last replica. Its revisions go with the next tick. */
void services_retired(struct services *services, const struct service_row *row); /* NULL is fine */
/* A tick changes what routes are made of: a service or replica, an object that is kept, a token. */
void services_touch(struct services *services); /* NULL is fine */
/* For trials (trials.h); as long as services. */
struct trials *services_trials(const struct services *services);
/* After every commit: routes and checks follow what is stored now. */
void services_committed(struct services *services);
/* What describe shows of a HorizontalPodAutoscaler: the service's scaling, in words. */
struct doc *services_hpa_status(
    struct services *services, struct arena *arena, const char *team, const char *name);
/* What describe shows of a service: replicas with state, readiness, restarts and why. */
struct doc *services_status(
    struct services *services, struct arena *arena, const char *team, const char *name);

struct http_request;
/* The gateway's figures in Prometheus' text form, once it has given them; "" when there is none or
 * it does not answer. Not called when the request's client goes away first, and it is the only one
 * who waits for that. */
typedef void services_figures_fn(void *context, const char *text, size_t length);
void services_figures(struct services *services, struct http_request *request,
    services_figures_fn *done, void *context); /* services NULL: done at once */
