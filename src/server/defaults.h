/* What a new data directory starts with. */
#pragma once

struct server;

/* Queues the defaults when the store is new: the classes, the team root, and with embedded_defaults
 * the pool "local" and the team "default". */
void defaults_apply(struct server *server);
