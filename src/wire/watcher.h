/* What connections hear of their sockets: that bytes came, or an end. They have an epoll of their
 * own, which the loop watches as one descriptor, because
 *  - it is edge-triggered: the system looks at a socket once for what came, and registrations stay
 * as they are whatever becomes of a connection, paused or idle;
 *  - it tells an end and an error together with the last bytes, so that a read that fills less than
 * its buffer need not be followed by another to find out;
 *  - its owner can look between two turns of the loop, or do without the loop while it is busy. */
#pragma once

#include "base/error.h"

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/epoll.h>

struct event_base;
struct watch;

enum { WATCHER_TOLD_MAX = 64 }; /* served in one look, before others have their turn */

/* Something came. ended: nothing comes after what is there. */
typedef void watch_told(struct watch *watch, bool ended);
/* Bytes came, and no end that is known of, which will be told after all that came in this look was
 * given to this: then the bytes of all are read in a row, and what is made of them comes in a row.
 * place: below WATCHER_TOLD_MAX, no other's in this look. */
typedef void watch_read_ahead(struct watch *watch, int place);

/* A part of what is watched. All zero: not watched. */
struct watch {
    watch_told *told;             /* NULL: not watched */
    watch_read_ahead *read_ahead; /* NULL: reads when it is told; set before watcher_add */
    int fd;
};

struct watcher {
    struct event_base *base;
    int epoll; /* -1: none yet */
    struct event ready;
    size_t count;                              /* of watches */
    bool apart;                                /* the owner looks by itself */
    struct epoll_event list[WATCHER_TOLD_MAX]; /* what was told last.. */
    int next, end;                             /* ..and is still to be passed on */
};

/* Nothing is watched yet; base outlives it. */
void watcher_init(struct watcher *watcher, struct event_base *base);
/* Gives back what it has; nothing is watched any more. */
void watcher_finish(struct watcher *watcher);
/* Watches fd from now on; told is called from watcher_look, the first time for what is there
 * already. read_ahead of watch stays as it is. ERR_IO: the system has no room for it. */
MUST_CHECK int watcher_add(
    struct watcher *watcher, struct watch *watch, int fd, watch_told *told, struct error *err);
/* No longer; before fd is closed. Nothing is told of it any more. Fine when it is not watched. */
void watcher_remove(struct watcher *watcher, struct watch *watch);
/* Tells what came; of how many. Nothing when it is called from inside itself. */
int watcher_look(struct watcher *watcher);
/* Whether the owner looks by itself, again and again; if not, the loop does. */
void watcher_set_apart(struct watcher *watcher, bool apart);
