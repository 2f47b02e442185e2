/* The gateway: the inference data plane, a process of its own, so that a restart of the server
 * never drops a request. Workers, each with its own thread and loop, take requests of the Open
 * Inference Protocol v2 and of the OpenAI API, find the service that they name, check the key, and
 * pass them on to the replica with the fewest requests outstanding, streaming both ways.
 *
 * The server pushes routes over the gateway's control socket; the gateway keeps the last ones it
 * took on disk, and starts with them when the server is away. What it counts lives in mapped files
 * (gateway/usage.h), which survive SIGKILL. */
#pragma once

#include "base/error.h"
#include "gateway/cache_shared.h"
#include "gateway/limit_shared.h"
#include "gateway/trace.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct gateway_config {
    const char *data_dir; /* the server's, absolute: state is kept in <data_dir>/gateway */
    const char *listen;   /* "127.0.0.1:8080"; NULL: that */
    const char *tls_cert; /* PEM files; NULL: plain HTTP, only for loopback addresses */
    const char *tls_key;
    const char *trust; /* PEM file of certificates: of hooks and classifiers; NULL: the system's */
    int workers;       /* 0: one for each CPU, at most 16 */
    int64_t requests_per_s;   /* of a peer at one worker, which all requests of a connection are
                               * with; 0: no limit */
    int64_t access_log_bytes; /* a file of the access log; 0: 64 MiB; the one before is kept */
    int64_t cache_bytes;      /* answers that are kept, of all services; 0: 256 MiB */
    int64_t drain_ms;         /* on SIGTERM: for requests under way; 0: 30 s */
    int64_t keep_alive_ms;    /* of silence in an event stream before a comment; 0: 15 s */
    bool replace;             /* takes over from the gateway that runs there, if one does */
    struct limit_shared_options limits; /* address NULL: limits hold at this gateway alone */
    struct cache_shared_options cache;  /* address NULL: answers are kept here alone */
    struct tracer_options traces; /* address NULL: no collector; `instance` is not looked at */
    int ready_fd;                 /* one byte is written when it answers; -1: none */
};

/* Begins with the sockets of systemd (LISTEN_FDS) if it gave any. With replace: with those of the
 * gateway that runs, which then ends as its requests do. SIGUSR2 starts the program anew with
 * replace. Runs until SIGTERM or SIGINT, then drains. SIGHUP reloads certificates and opens the
 * access log anew. 0 on an orderly end; -1: it could not start, and err says why (ERR_CONFLICT:
 * another gateway has this state). */
MUST_CHECK int gateway_run(const struct gateway_config *config, struct error *err);

/* The process of the gateway that runs on the data directory, 0 without one. */
pid_t gateway_running(const char *data_dir);
/* Sends SIGTERM to the gateway that runs on the data directory, if there is one. */
void gateway_stop(const char *data_dir);

/* ---- where things are, for the server -------------------------------------------------------
 *
 * Everything is in <data_dir>/gateway (mode 0700): lock (flock, for as long as a gateway lives),
 * routes.json (the last document taken), usage/ (gateway/usage.h), access.log and access.log.1.
 *
 * The control socket, <data_dir>/gateway/control.sock (mode 0600; its path has to be shorter than
 * 108 bytes), speaks HTTP to root and to the gateway's own user:
 *
 *     PUT /routes     a route document (gateway/routes.h). 204: it is on disk and every worker uses
 *                     it: no new request goes to a replica that is not in it. 409: an older
 *                     generation than the one in use (the same one is taken again, so that an
 * answer that got lost can be asked for again). 400: refused as a whole, with a problem. 507, 500:
 * it could not be kept on disk, and the routes are as they were. GET /status     {"generation",
 * "incarnation", "pid", "workers", "uptimeMs", "listen", "tls", "draining", "requests", "failed",
 * "retried", "open", "waiting", "heldBytes", "logLinesDropped", "endpoints": [{"replica", "routed",
 * "outstanding", "requests", "failures", "lastMs"}]}: outstanding counts requests under way at a
 *                     replica, also at those which are no longer in the routes ("routed": false).
 *                     A replica that changed its address is there twice until the old one is idle:
 *                     add up. A replica is gone from the list once it is in no routes and idle.
 *                     After a 204 a replica that is draining, or not in the routes, only ever has
 *                     fewer requests outstanding.
 *     GET /metrics    the figures in Prometheus' text form.
 *     GET /load       {"incarnation", "services": [{"service", "arrived", "ended", "open",
 * "waiting", "held", "busyUs", "latency"}]} of services that are measured: requests since the
 * gateway began, now, and how long they were there together; latency is a histogram of
 * base/histogram.h, in microseconds. GET /load/next  the same after a second, or as soon as a
 * service without replicas holds requests that it did not hold before.
 *
 * A server that comes back with older state (a restored backup) has to go on above the generation
 * that GET /status gives. */
