/* A gateway's sockets change hands while they listen, so that an upgrade refuses no connection.
 *
 *     new                              old, on <data>/gateway/handover.sock
 *     connects                ----->
 *                             <-----   its listening sockets (SCM_RIGHTS) and its address
 *     makes its workers
 *     "ready"                 ----->   stops accepting, gives up lock and control socket
 *                             <-----   "gone"; then, until it ends, what it still does
 *     takes the lock
 *
 * Connections that wait to be accepted belong to the socket, not to a process: the new one finds
 * them. When the new one ends before "ready", the old one goes on as if it had never been asked. */
#pragma once

#include "base/error.h"
#include "base/strbuf.h"

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
/* Says that the new one is ready and waits for the old one to let go. */
MUST_CHECK int handover_finish(int link, struct error *err);
/* The old one, as far as the new one hears of it. */
struct handover_old;
/* Listens to what the old one still does, until it ends; takes over the link. */
struct handover_old *handover_follow(struct event_base *base, int link);
/* What it said last; "" once it has ended, and for NULL. */
const char *handover_old_state(const struct handover_old *old);
void handover_old_free(struct handover_old *old); /* NULL is fine */

/* The old side, on the loop. */
struct handover_host {
    void *context;
    void (*sockets)(void *context, struct handover_sockets *ret); /* they stay the host's */
    void (*let_go)(void *context); /* called once; no other takes over after it */
    void (*state)(void *context, struct strbuf *out); /* what is still done, after that */
};
MUST_CHECK int handover_open(struct event_base *base, const char *path,
    const struct handover_host *host, struct handover **ret, struct error *err);
void handover_close(struct handover *handover); /* NULL is fine */

/* Tells systemd (NOTIFY_SOCKET, if it is there) that this process answers now, and is the
 * service's. */
void handover_tell_systemd(void);
/* Starts this program anew with its own arguments and --replace. */
MUST_CHECK int handover_respawn(struct error *err);
