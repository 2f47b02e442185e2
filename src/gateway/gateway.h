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

#include <stdint.h>

struct gateway_config {
    const char *data_dir; /* the server's: state is kept in <data_dir>/gateway */
    const char *listen;   /* "127.0.0.1:8080"; NULL: that */
    const char *tls_cert; /* PEM files; NULL: plain HTTP, only for loopback addresses */
    const char *tls_key;
    int workers;              /* 0: one for each CPU, at most 16 */
    int64_t requests_per_s;   /* of a peer; 0: no limit */
    int64_t access_log_bytes; /* a file of the access log; 0: 64 MiB; the one before is kept */
    int64_t drain_ms;         /* on SIGTERM: for requests under way; 0: 30 s */
    int ready_fd;             /* one byte is written when it answers; -1: none */
};

/* Runs until SIGTERM or SIGINT, then drains. SIGHUP reloads certificates and opens the access log
 * anew. 0 on an orderly end; -1: it could not start, and err says why (ERR_CONFLICT: another
 * gateway has this state). */
MUST_CHECK int gateway_run(const struct gateway_config *config, struct error *err);

/* ---- where things are, for the server -------------------------------------------------------
 *
 * The control socket, <data_dir>/gateway/control.sock (mode 0600), speaks HTTP:
 *
 *     PUT /routes     a route document (gateway/routes.h). 204: it is on disk and every worker uses
 *                     it: no new request goes to a replica that is not in it. 409: an older
 *                     generation than the one in use. 400: refused as a whole, with a problem.
 *     GET /status     {"generation", "incarnation", "pid", "workers", "uptimeMs", "listen",
 *                     "endpoints": [{"replica", "outstanding", "requests", "failures",
 *                     "lastMs"}], ...}: outstanding counts requests under way at a replica, also
 *                     at those which are no longer in the routes. */
