/* What the files of the gateway's main thread share. Not for other files.
 *
 *     gateway.c          opens and closes everything; signals, news of the workers
 *     gateway_routes.c   the routes on disk, their tables
 *     gateway_place.c    folder, lock, sockets; from one gateway to the next
 *     gateway_workers.c  the workers together
 *     gateway_control.c  what the control socket is asked for */
#pragma once

#include "base/vec.h"
#include "gateway/gateway.h"
#include "gateway/handover.h"
#include "gateway/table.h"
#include "wire/signals.h"

#include <event2/util.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct access_log;
struct control;
struct event;
struct event_base;
struct gateway_worker;
struct hook;
struct limit_store;
struct post_office;
struct recorder;
struct redis_library;
struct tracer;

enum { PATH_BYTES = 4096, GATEWAY_INCARNATION_BYTES = 17 };

struct gateway {
    struct gateway_config config;
    struct event_base *base;
    struct signal_watch signals;
    struct event *news;
    int news_fd; /* the workers' */
    int lock_fd;
    char incarnation[GATEWAY_INCARNATION_BYTES];
    char listen[300];
    int64_t started_ns;
    bool stopping;
    struct access_log *log;
    struct tracer *tracer; /* NULL: no collector */
    struct recorder *recorder;
    struct hook *hook;
    struct control *control;
    struct handover_sockets sockets; /* where all workers listen, to be handed over */
    int old_link;                    /* to the gateway that is replaced; -1: none */
    struct handover_old *old;        /* it, while it ends; NULL: none */
    bool left;                       /* another gateway took over */
    struct handover *handover;
    struct event *upgrade; /* SIGUSR2 */
    struct replica_states *states;
    struct redis_library *redis;      /* NULL: nothing is shared */
    struct limit_store *limits;       /* NULL: no routes needed it yet */
    VEC(struct route_table *) tables; /* the last is the newest; the others are on their way out */
    uint64_t sequence;
    struct post_office *office;
    struct gateway_worker *workers[GATEWAY_WORKERS_MAX];
    int worker_count;
};

/* ---- gateway_routes.c ---- */

/* The table that the workers were offered last. */
struct route_table *gateway_newest(const struct gateway *gateway);
/* Up to which sequence all workers use theirs. */
uint64_t gateway_sequence_used(const struct gateway *gateway);
/* Frees the tables before that one, which no worker uses any more. */
void gateway_free_tables(struct gateway *gateway, uint64_t used);
/* Takes a route document, as control_host has it. context: the gateway. */
MUST_CHECK int gateway_put_routes(
    void *context, const char *text, size_t length, uint64_t *ret_sequence, struct error *err);
/* The table of what is on disk, or one without routes. */
MUST_CHECK int gateway_load_routes(struct gateway *gateway, struct error *err);

/* ---- gateway_place.c ---- */

/* The path of a name in the gateway's folder; "": of the folder. */
void gateway_path(const struct gateway *gateway, const char *name, char out[PATH_BYTES]);
/* Makes the folder, and takes the lock or, with `replace`, the sockets of the gateway that runs;
 * names this run. */
MUST_CHECK int gateway_make_folders(struct gateway *gateway, struct error *err);
/* From here on another gateway may ask for the sockets. */
MUST_CHECK int gateway_open_handover(struct gateway *gateway, struct error *err);
/* The gateway that is replaced lets go, and this one has the lock. */
MUST_CHECK int gateway_replace_old(struct gateway *gateway, struct error *err);
/* SIGUSR2: starts the program anew, to take over. */
void gateway_on_upgrade(evutil_socket_t number, short what, void *context);

/* ---- gateway_workers.c ---- */

typedef bool worker_test_fn(const struct gateway_worker *worker);
/* Whether it is so of all of them. */
bool gateway_all_workers(const struct gateway *gateway, worker_test_fn *test);
/* Has all loops end. */
void gateway_end_loops(struct gateway *gateway);
/* How many there are to be. */
int gateway_worker_number(const struct gateway *gateway);
/* Starts them; all listen at the same address. */
MUST_CHECK int gateway_start_workers(struct gateway *gateway, struct error *err);
/* Drains, ends and frees those that were started. */
void gateway_end_workers(struct gateway *gateway);

/* ---- gateway_control.c ---- */

/* Opens the control socket, or takes over that of the gateway before. */
MUST_CHECK int gateway_open_control(struct gateway *gateway, struct error *err);
