/* Commands inside running jobs: a terminal or three pipes, carried over an upgraded connection.
 *
 * The protocol `muster-exec`: frames of one byte kind, three bytes length (big-endian), payload.
 * From the client: 0 standard input (length 0 ends it), 3 window size (rows, columns: two bytes
 * each). To the client: 1 standard output, 2 standard error, 4 the end: one byte exit status, then
 * text when there is something to say. */
#pragma once

#include "engine/engine.h"

struct exec_sessions;
struct server;

/* Without sessions yet. */
struct exec_sessions *exec_sessions_create(struct server *server);
/* Ends every session; the commands notice that their descriptors are closed. NULL is fine. */
void exec_sessions_destroy(struct exec_sessions *sessions);
/* The engine's report that a command has ended. */
void exec_ended(struct exec_sessions *sessions, const struct report *report);
