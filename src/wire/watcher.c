/* Watching sockets: see watcher.h. Invariant: what the system told and was not passed on yet never
 * names a watch that has been removed. */
#include "wire/watcher.h"

#include "base/memory.h"

#include <assert.h>
#include <event2/event.h>
#include <unistd.h>

static void on_ready(int fd, short what, void *ctx)
{
    (void)fd, (void)what;
    (void)watcher_look(ctx);
}

void watcher_init(struct watcher *watcher, struct event_base *base)
{
    *watcher = (struct watcher){.base = base, .epoll = -1};
}

void watcher_finish(struct watcher *watcher)
{
    assert(watcher->count == 0);
    fd_scope(&watcher->epoll);
    watcher->epoll = -1;
}

/* Made with the first watch, as a socket is, and may fail as one. */
static int make_epoll(struct watcher *watcher)
{
    if (watcher->epoll >= 0)
        return 0;
    watcher->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (watcher->epoll < 0)
        return -1;
    event_assign(
        &watcher->ready, watcher->base, watcher->epoll, EV_READ | EV_PERSIST, on_ready, watcher);
    return 0;
}

/* The loop looks while there is something to look for: one without anything to wait for ends. */
static void attach(struct watcher *watcher)
{
    if (watcher->count > 0 && !watcher->apart)
        event_add(&watcher->ready, NULL);
}

static void detach(struct watcher *watcher)
{
    if (watcher->count > 0 && !watcher->apart)
        event_del(&watcher->ready);
}

int watcher_add(
    struct watcher *watcher, struct watch *watch, int fd, watch_told *told, struct error *err)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = watch};
    assert(!watch->told && fd >= 0);
    if (make_epoll(watcher) < 0 || epoll_ctl(watcher->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return error_set_errno(err, "cannot watch a connection");
    watch->told = told;
    watch->fd = fd;
    if (watcher->count++ == 0)
        attach(watcher);
    return 0;
}

void watcher_remove(struct watcher *watcher, struct watch *watch)
{
    if (!watch->told)
        return;
    watch->told = NULL;
    /* Closing alone would not do while a child process has the descriptor, too. */
    (void)epoll_ctl(watcher->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
    for (int i = watcher->next; i < watcher->end; i++) {
        if (watcher->list[i].data.ptr == watch)
            watcher->list[i].data.ptr = NULL;
    }
    if (watcher->count == 1)
        detach(watcher);
    watcher->count--;
}

/* One alone has nothing of it. */
static void read_ahead(struct watcher *watcher)
{
    for (int i = 0; i < watcher->end && watcher->end > 1; i++) {
        const struct epoll_event *event = &watcher->list[i];
        struct watch *watch = event->data.ptr;
        if (watch && watch->read_ahead && event->events == EPOLLIN)
            watch->read_ahead(watch, i);
    }
}

int watcher_look(struct watcher *watcher)
{
    if (watcher->count == 0 || watcher->next < watcher->end)
        return 0;
    int count = epoll_wait(watcher->epoll, watcher->list, WATCHER_TOLD_MAX, 0);
    watcher->next = 0;
    watcher->end = count > 0 ? count : 0;
    read_ahead(watcher);
    while (watcher->next < watcher->end) {
        const struct epoll_event *event = &watcher->list[watcher->next++];
        struct watch *watch = event->data.ptr;
        if (watch)
            watch->told(watch, (event->events & ~(uint32_t)EPOLLIN) != 0);
    }
    return count > 0 ? count : 0;
}

void watcher_set_apart(struct watcher *watcher, bool apart)
{
    if (apart == watcher->apart)
        return;
    detach(watcher);
    watcher->apart = apart;
    attach(watcher);
}
