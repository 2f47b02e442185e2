/* What the verbs about a service's answers share: opening a trial of it at the server, and making
 * requests in that (server/trials.h). */
#pragma once

#include "base/error.h"
#include "base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct api;
struct arena;
struct cli;
struct doc;

/* A service as people name it ("team/name", or a name of the verb's team) as the API does. */
const char *trial_service(const struct cli *cli, const char *name);
/* The document of the service, with its status. */
MUST_CHECK int trial_describe(struct cli *cli, struct api *api, const char *service,
    const struct doc **ret, struct error *err);
/* Opens a trial by the options version, replica and unready, where the verb has them; *ret is the
 * path where requests go. */
MUST_CHECK int trial_start(struct cli *cli, struct api *api, const char *service, const char *note,
    const char **ret, struct error *err);

struct trial_body {
    const char *path;
    const char *type;    /* of its content; NULL: none is said */
    const char *tensors; /* Inference-Header-Content-Length, or NULL */
    const char *bytes;
    size_t length;
    const char *timeout; /* "10s"; NULL: the server's */
};
/* Asks; *ret is what the server says of the answer. Everything is of the arena. */
MUST_CHECK int trial_post(struct api *api, struct arena *arena, const char *target,
    const struct trial_body *body, const struct doc **ret, struct error *err);
/* Where a body is for, by its outermost members: "/v2/models/ROUTE/infer", "/v1/embeddings". NULL:
 * it cannot be told. */
const char *trial_guess_path(
    struct arena *arena, const char *route, const char *bytes, size_t length);
