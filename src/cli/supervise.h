/* muster up: a small parent of the server, the gateway and the planner. */
#pragma once

#include "base/error.h"

/* How the server's process is made: called in a child of its own, returns its exit status. */
typedef int supervise_server_fn(void *context);

struct supervise_options {
    supervise_server_fn *server;
    void *context;
    const char *data;
    const char *gateway; /* where the gateway listens; NULL: there is none */
    const char *cert, *key;
    const char *trust; /* NULL: the system's certificates */
    const char *log;   /* the level, or NULL */
};

/* Runs all of them until SIGTERM or SIGINT, or until the server ends by itself; whatever of them
 * dies by a signal is started again, after a pause that grows to 30 s. Server and planner die with
 * this process; the gateway does not: when this process is killed it goes on, and the next `up` on
 * the same data directory leaves it alone and takes its place once it is gone. Sets *ret_status to
 * the server's exit status. ERR_IO: no process could be made. */
MUST_CHECK int supervise(
    const struct supervise_options *options, int *ret_status, struct error *err);
