/* The control plane: one event loop that owns the core, the store, the engines and the API. */
#pragma once

#include "base/error.h"
#include "core/core.h"
#include "gateway/trace.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct server_config {
    const char *data_dir;    /* absolute; made when missing */
    const char *socket_path; /* NULL: <data_dir>/muster.sock */
    const char *listen;      /* "127.0.0.1:8443": TLS; NULL: the socket only */
    const char *tls_cert;    /* with listen; NULL: <data_dir>/tls/cert.pem, made at first start */
    const char *tls_key;
    const char *trust;      /* PEM: whom to trust at endpoints over https; NULL: the system's CAs */
    bool embedded_defaults; /* makes the pool "local" and the teams "root" and "default" when the
                             * store is new */
    int64_t requests_per_s; /* for each peer address; 0: 200 */
    int64_t retention_ms;   /* ended jobs and audit events are kept this long; 0: for ever */
    struct core_options core;     /* policies, rounds, promises; the planner is told them */
    struct tracer_options traces; /* of jobs; address NULL: none */
    const char *vfs;              /* SQLite VFS, for tests; NULL: the system's */
    int ready_fd;                 /* one byte is written when the server answers; -1: none */
};

/* Runs until SIGTERM or SIGINT; jobs go on running afterwards. SIGHUP reloads certificates. 0 on an
 * orderly end. -1: it could not start (says why) or lost its store. */
MUST_CHECK int server_run(const struct server_config *config, struct error *err);

/* Writes the OpenAPI 3.1 document of the API as JSON, to be freed by the caller. */
char *server_openapi(void);
