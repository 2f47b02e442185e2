/* Serving a model over the Open Inference Protocol v2, on one loop: predictions of a request take
 * microseconds, and more processors are used by more replicas. */
#pragma once

#include "base/error.h"

#include <stdint.h>

struct booster;

struct serve_options {
    const char *name;    /* of the model, as clients ask for it */
    const char *version; /* of the model */
    const char *socket;  /* the path of a Unix socket; or NULL: */
    uint16_t port;       /* on the loopback */
};

/* Listens, says so on standard output, and serves until SIGTERM or SIGINT; requests under way are
 * answered. -1: ERR_IO or ERR_CONFLICT, it could not listen. */
MUST_CHECK int serve(
    struct booster *booster, const struct serve_options *options, struct error *err);
