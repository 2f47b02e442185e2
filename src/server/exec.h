/* Commands inside running jobs: a terminal or three pipes, carried over an upgraded connection.
 *
 * The protocol `muster-exec`: frames of one byte kind, three bytes length (big-endian), payload.
 * From the client: 0 standard input (length 0 ends it), 3 window size (rows, columns: two bytes
 * each). To the client: 1 standard output, 2 standard error, 4 the end: one byte exit status, then
 * text when there is something to say. */
#pragma once

#include "engine/engine.h"

struct server;

/* The engine's report that an exec has ended. */
void exec_ended(struct server *server, const struct report *report);
