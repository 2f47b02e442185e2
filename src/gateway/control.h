/* The control socket: routes come in, figures go out. On the main thread. */
#pragma once

#include "base/error.h"
#include "base/strbuf.h"

#include <stdint.h>

struct control;
struct event_base;

/* What the gateway does for it. */
struct control_host {
    void *context;
    /* Takes a route document: on disk and offered to the workers. *ret_sequence: the table to wait
     * for. ERR_INVALID, ERR_CONFLICT (an older generation), ERR_IO, ERR_FULL. */
    int (*put_routes)(
        void *context, const char *text, size_t length, uint64_t *ret_sequence, struct error *err);
    /* Appends the document of GET /status, and of GET /metrics. */
    void (*write_status)(void *context, struct strbuf *out);
    void (*write_metrics)(void *context, struct strbuf *out);
    /* That of GET /load. */
    void (*write_load)(void *context, struct strbuf *out);
};

/* Listens on the Unix socket path, mode 0600; fd: a socket that listens there already and is taken
 * over, or -1. ERR_CONFLICT, ERR_IO. */
MUST_CHECK int control_open(struct event_base *base, const char *path, int fd,
    const struct control_host *host, struct control **ret, struct error *err);
/* The socket it listens on, which stays the control's. */
int control_fd(const struct control *control);
/* Another process takes the socket over: nothing more is accepted, what waits is answered. */
void control_leave(struct control *control);
void control_close(struct control *control); /* NULL is fine */
/* A service holds requests: answers those who wait for news of the load. */
void control_load_changed(struct control *control);
/* Every worker uses this table now, or a later one: answers those who wait for it. */
void control_routes_used(struct control *control, uint64_t sequence);
