/* What a request asks for: a table of the paths of both protocols. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TARGET_ROUTE_BYTES = 129 };

/* The shape of a request's answers, errors above all. */
enum protocol { PROTOCOL_NONE, PROTOCOL_OIP, PROTOCOL_OPENAI };

enum ask {
    ASK_LIVE,
    ASK_READY,
    ASK_SERVER,       /* GET /v2 */
    ASK_INDEX,        /* the models a key may see, as Triton's repository index */
    ASK_LOAD,         /* a model, or its unloading, as Triton's repository takes it: refused */
    ASK_MODEL_READY,  /* answered here: whether a replica is there */
    ASK_MODEL_LIST,   /* of the OpenAI API */
    ASK_MODEL_ENTRY,  /* one of them */
    ASK_FEEDBACK,     /* a score for an answer */
    ASK_FORWARD_PATH, /* to a replica of the service that the path names */
    ASK_FORWARD_BODY, /* to a replica of the service that the body names */
};

struct target {
    enum ask ask;
    enum protocol protocol;
    bool has_body;
    char route[TARGET_ROUTE_BYTES]; /* "" without one in the path */
    int64_t version;                /* BALANCE_ANY_VERSION without one in the path */
    const char *verb;               /* what follows the model in the path: "/infer"; or "" */
};

/* 200: found, and *ret set; 404: no such path; 405, or 204 to OPTIONS: *ret_allow says which
 * methods there are. */
int target_find(const char *method, const char *path, struct target *ret, const char **ret_allow);
/* The protocol that errors about the path are to be told in. */
enum protocol target_protocol(const char *path);
