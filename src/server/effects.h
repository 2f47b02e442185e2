/* What a tick leads to outside the core: audit events for its decisions, and after the commit the
 * catalogue's new state, news for watchers, and a look at what the engines should be doing. */
#pragma once

#include "base/error.h"
#include "core/core.h"

struct effects;
struct server;
struct tick;

/* For the tick of that number. */
struct effects *effects_create(struct server *server, int64_t tick);
void effects_destroy(struct effects *effects); /* NULL is fine */
/* While the tick is being gathered. */
void effects_change(struct effects *effects, const struct core_change *change);
/* Adds the decision's audit event to the tick's transaction. */
void effects_decision(
    struct effects *effects, struct tick *tick, const struct core_decision *decision);
/* After the commit. */
void effects_apply(struct effects *effects);

/* What the server's core is made with, and every core that has to decide like it. */
struct core_options effects_core_options(const struct server *server);
/* Builds core, catalogue, tokens and uids from the store, in place of what was there. On -1 the
 * core is the one before. */
MUST_CHECK int effects_load(struct server *server, struct error *err);
/* The same after a failed commit, and compares with the engines afterwards. -1 (and logs why) when
 * the store cannot be read; the old state is kept then, unusable for changes. */
int effects_reload(struct server *server);
