/* A gateway's sockets change hands while they listen, so that an upgrade refuses no connection.
 *
 *     new                              old, on <data>/gateway/handover.sock
 *     connects                ----->
 *                             <-----   its listening sockets (SCM_RIGHTS) and its address
 *     makes its workers
 *     "ready"                 ----->   stops accepting, gives up lock and control socket
 *                             <-----   "gone"
 *     takes the lock
 *
 * Connections that wait to be accepted belong to the socket, not to a process: the new one finds
 * them. When the new one ends before "ready", the old one goes on as if it had never been asked. */
#pragma once

#include "base/error.h"

#include <stdbool.h>

struct event_base;
struct handover;

enum { HANDOVER_SOCKETS_MAX = 32, HANDOVER_ADDRESS = 300 };

struct handover_sockets {
    int fds[HANDOVER_SOCKETS_MAX]; /* where requests come in */
    int count;
    int control; /* the control socket; -1: none */
    char address[HANDOVER_ADDRESS];
};

/* Closes all of them. */
void handover_sockets_close(struct handover_sockets *sockets);
/* All but the control socket: who listens on them has descriptors of its own. */
void handover_sockets_close_listeners(struct handover_sockets *sockets);
/* Sockets that systemd made (LISTEN_FDS); count 0 without any. ERR_INVALID: one is no TCP socket.
 */
MUST_CHECK int handover_inherited(struct handover_sockets *ret, struct error *err);

/* The new side. ERR_NOT_FOUND: nobody runs there. *ret_link is for handover_finish. */
MUST_CHECK int handover_take(
    const char *path, struct handover_sockets *ret, int *ret_link, struct error *err);
/* Says that the new one is ready, waits for the old one to let go, and closes the link. */
MUST_CHECK int handover_finish(int *link, struct error *err);

/* The old side, on the loop. */
struct handover_host {
    void *context;
    void (*sockets)(void *context, struct handover_sockets *ret); /* they stay the host's */
    void (*let_go)(void *context); /* called once; no other takes over after it */
};
MUST_CHECK int handover_open(struct event_base *base, const char *path,
    const struct handover_host *host, struct handover **ret, struct error *err);
void handover_close(struct handover *handover); /* NULL is fine */

/* Tells systemd (NOTIFY_SOCKET, if it is there) that this process answers now, and is the
 * service's. */
void handover_tell_systemd(void);
/* Starts this program anew with its own arguments and --replace. */
MUST_CHECK int handover_respawn(struct error *err);
