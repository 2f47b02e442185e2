/* Removing what nobody needs: versions beyond what their Dataset or Model keeps, and objects of the
 * registry that no version can reach. Once a day, and when an administrator asks. */
#pragma once

#include "base/error.h"

#include <stdint.h>

struct collector;
struct server;

/* Objects younger than this stay by default: what they are uploaded for may not be there yet. */
enum { COLLECT_GRACE_S = 24 * 3600 };

struct collection {
    int64_t versions_removed;
    int64_t objects_removed, bytes_freed, objects_kept, bytes_kept;
};

/* Runs for the first time an hour later, then once a day. Never NULL. */
struct collector *collector_create(struct server *server);
/* After artifacts_stop. */
void collector_destroy(struct collector *collector); /* NULL is fine */
/* Collects now; done is called once, on the loop, with the result or the error. ERR_CONFLICT: one
 * is under way. */
MUST_CHECK int collector_run(struct collector *collector, int64_t grace_ms,
    void (*done)(void *context, const struct collection *result, const struct error *err),
    void *context, struct error *err);
