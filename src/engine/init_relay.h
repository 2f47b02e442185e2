/* The relay: what listens at a replica's socket in the place of a program that listens on a port.
 *
 * It is a child of init, so that nothing it does holds up a signal or a report, and init starts it
 * again when the job has killed it: the listening socket is init's and stays. It dies with init. */
#pragma once

#include "base/error.h"

#include <stdint.h>
#include <sys/types.h>

/* Connections relayed at once; others wait in the socket's queue until one has ended. */
enum { RELAY_CONNECTIONS_MAX = 256 };

/* Makes a Unix socket at the path (at most 107 bytes) and listens: its descriptor. -1: errno says
 * why. */
int relay_listen(const char *path);
/* Forks the relay, which has no descriptor but these two and the standard ones: its pid, or -1 with
 * errno. It relays each connection to 127.0.0.1:port. leash_fd is the end to read of a pipe: when
 * its other end is closed the program is about to be gone, so the relay accepts nothing more, hands
 * over what is on the way to the clients, and ends. */
pid_t relay_start(int listen_fd, int leash_fd, uint16_t port);
