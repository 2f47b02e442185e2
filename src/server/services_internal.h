/* What the files of services share: the parts of struct services. Not for other files.
 *
 *     services.c          jobs of wanted replicas, life
 *     services_put.c      what is applied, what follows stages and runtimes
 *     services_revisions.c  their documents
 *     services_probe.c    a state for each live replica, its checks
 *     services_gateway.c  the route document, its way to the gateway, draining
 *     services_status.c   what describe shows */
#pragma once

#include "base/map.h"
#include "base/vec.h"
#include "server/context.h"
#include "server/programs.h"
#include "server/services.h"
#include "server/services_compose.h"
#include "wire/http_agent.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct cached_revision;
struct event;
struct gateway_link;
struct quiet_clock;
struct scaling;
struct services;

enum {
    REVISION_KEY = 160,
    TROUBLE_TEXT = 240,
    SERVICES_REVISIONS_MAX = 4096, /* that are kept once they were read */
};

enum check { CHECK_STARTUP, CHECK_READINESS, CHECK_LIVENESS, CHECK_COUNT };

/* A replica whose job has an attempt that started. It goes with the attempt. */
struct replica {
    struct services *services;
    uint64_t job, attempt, service;
    int32_t revision;
    bool seen;     /* during a walk */
    bool stopping; /* its attempt was told to stop: it is checked no more */
    /* Checks: one exchange at a time. */
    struct http_endpoint *endpoint; /* NULL: it is not known yet where it is asked */
    struct http_exchange *exchange; /* NULL: none under way */
    enum check check;               /* of the exchange */
    int status;                     /* of its answer; 0: no head yet */
    size_t length;                  /* of its body so far */
    struct event *timer;            /* the next check, or the end of the one under way */
    bool started;                   /* the startup check held */
    int64_t due_ms[CHECK_COUNT];    /* monotonic */
    int64_t failures[CHECK_COUNT];  /* in a row */
    char trouble[TROUBLE_TEXT];     /* what the last failed check said; "": the last one held */
    /* Draining. */
    bool draining;      /* the reconciler wants to stop it and was told to wait */
    bool idle;          /* the gateway said that nothing is under way there any more */
    int64_t drain_ends; /* wall clock: not waited for longer */
};

struct services {
    struct server *server;
    struct http_agent *agent;
    struct gateway_link *link;
    struct trials *trials;
    struct quiet_clock *quiet;
    struct scaling *scaling;
    TAILQ_HEAD(, figures_ask) asks; /* services_figures.c */
    struct strmap revisions;        /* key of the document: struct cached_revision */
    VEC(struct cached_revision *) cached;
    struct idmap refused; /* service id: char *, why its replicas cannot be made now */
    VEC(uint64_t) refused_ids;
    VEC(struct replica *) replicas;
    struct idmap by_job;
    struct event *kick; /* runs the reconciler as soon as it may */
    size_t checks;      /* exchanges under way */
    bool dirty;         /* routes have to be looked at again */
};

/* ---- services_figures.c ---- */

/* Gives up what is under way: its calls are not answered any more. */
void services_figures_finish(struct services *services);

/* ---- services.c ---- */

/* The folder of the runtimes' programs as a replica sees it. */
#define SERVICES_PROGRAMS ENGINE_INPUTS_PATH "/" PROGRAMS_INPUT
/* Why its replicas cannot be made now, or NULL. */
const char *services_refusal(const struct services *services, uint64_t service);
/* Runs the reconciler as soon as no commit is under way. */
void services_kick(struct services *services);

/* ---- services_put.c ---- */

/* Services that may be quiet are composed anew in the next tick. */
void services_follow_quiet(struct services *services);
/* The same of all, after a start. */
void services_follow_all(struct server *server);

/* ---- services_revisions.c ---- */

/* The revision of a live service of the core, read from the store at most once; NULL when there is
 * none. Valid until the loop is returned to. */
const struct revision *services_revision_of(
    struct services *services, uint64_t service, int32_t number);
/* The same by names. */
const struct revision *services_revision_named(
    struct services *services, const char *team, const char *name, int32_t number);
/* Stores the newest revision of a service, and removes those that it leaves without use. */
MUST_CHECK int services_add_revision(struct tick *tick, const char *team, const char *name,
    int32_t number, const struct doc *doc, struct error *err);
/* Removes what no service needs any more, in a tick to come. */
void services_sweep_revisions(struct server *server);
/* Lets go of what was read: it is read anew when it is asked for. */
void services_forget_revisions(struct services *services);

/* ---- services_probe.c ---- */

/* States follow the rows of the core: those of attempts that are gone go, checks of new ones begin.
 */
void probes_follow(struct services *services);
void probes_finish(struct services *services);
struct replica *services_replica(const struct services *services, uint64_t job);

/* ---- services_routes.c ---- */

/* The route document as text, with generation 0, so that what changed is seen by comparing texts;
 * to be freed. */
char *services_compose_routes(struct services *services);

/* ---- services_gateway.c ---- */

/* NULL: ERR_IO. */
MUST_CHECK struct gateway_link *gateway_link_create(struct services *services, struct error *err);
void gateway_link_destroy(struct gateway_link *link); /* NULL is fine */
/* Makes the document anew and pushes it if it changed. */
void gateway_link_follow(struct gateway_link *link);
/* For people: where the routes are. */
const char *gateway_link_text(const struct gateway_link *link, struct arena *arena);
