/* Sockets: which devices of a node are near each other. A level of topology below the node, for
 * ranks that ask for whole devices. A node that does not say is without sockets, and costs nothing
 * here. */
#pragma once

#include "core/core.h"
#include "core/place.h"

#include <stdint.h>

#define LEVEL_SOCKET "socket"

/* Fills the live node's sockets from its row, where they are a text like "0-3;4-7". False: the row
 * is corrupt, and it has none. */
bool sockets_derive(const struct core *core, struct live_node *node);
/* The symbol of what the node says; 0: nothing. */
uint32_t sockets_intern(struct core *core, const struct node *node);
/* ERR_INVALID: a list that is none, or a device in no list or in two. */
MUST_CHECK int sockets_check(const struct node *node, struct error *err);

/* The most ranks of the shape whose devices lie in one socket: of what is free, or all of it idle.
 * 0 for a node without sockets. */
int32_t sockets_ranks(const struct live_node *node, const struct shape_row *shape, bool idle);
/* Whether so many ranks can have their devices in the sockets of the node as it is, none split. */
bool sockets_whole(const struct live_node *node, const struct shape_row *shape, int32_t ranks);
/* Devices for so many ranks, which fit, as parts of a plan: of each part the ranks lie in one
 * socket, or it is a single rank that no socket has room for. A gang goes where one socket holds it
 * (the tightest of those), else from the socket that holds most of it on; what no socket has room
 * for goes over as few as can be. `view` is the node as the job sees it, `node` what is written. */
void sockets_plan(const struct live_node *view, struct live_node *node,
    const struct shape_row *shape, int32_t ranks, struct plan *plan);
