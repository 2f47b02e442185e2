/* What is shown of a rollout: its state in words, its arms, its tests. */
#pragma once

#include "base/error.h"

#include <stdint.h>

struct arena;
struct doc;
struct server;

/* From what is committed: {"state", "step", "steps", "weight", "paused", "because", "says",
 * "arms": [..], "tests": [..]}. ERR_NOT_FOUND: the service has no strategy. */
MUST_CHECK int rollout_status(struct server *server, struct arena *arena, const char *team,
    const char *name, struct doc **ret, struct error *err);
/* In a line, for the status of the service; NULL: nothing is tried. */
const char *rollout_line(struct server *server, struct arena *arena, uint64_t service);
