/* Inboxes of workers: see post.h. */
#include "gateway/post.h"

#include "base/memory.h"
#include "gateway/terms.h"

#include <assert.h>
#include <event2/event.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct inbox {
    _Atomic(struct post *) last; /* the newest; each knows the one before it */
    int fd;                      /* an eventfd: something came into an empty inbox */
    char apart[64 - sizeof(void *) - sizeof(int)];
};

struct post_office {
    int workers;
    struct inbox inboxes[GATEWAY_WORKERS_MAX];
};

struct post_box {
    struct inbox *inbox;
    struct event *event;
    struct worker_view *view;
};

int post_office_create(int workers, struct post_office **ret, struct error *err)
{
    assert(workers >= 1 && workers <= GATEWAY_WORKERS_MAX);
    struct post_office *office = mem_alloc(1, sizeof *office);
    for (; office->workers < workers; office->workers++) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0) {
            error_set_errno(err, "cannot make a worker's inbox");
            post_office_destroy(office);
            return -1;
        }
        office->inboxes[office->workers].fd = fd;
    }
    *ret = office;
    return 0;
}

void post_office_destroy(struct post_office *office)
{
    for (int i = 0; office && i < office->workers; i++)
        close(office->inboxes[i].fd);
    free(office);
}

int post_office_workers(const struct post_office *office)
{
    return office->workers;
}

int post_owner(const struct post_office *office, uint64_t hash)
{
    return (int)((hash >> 32 ^ hash) % (uint64_t)office->workers);
}

void post_send(struct post_office *office, int worker, struct post *post)
{
    assert(worker >= 0 && worker < office->workers && post->deliver);
    struct inbox *inbox = &office->inboxes[worker];
    struct post *before = atomic_load_explicit(&inbox->last, memory_order_relaxed);
    do
        post->next = before;
    while (!atomic_compare_exchange_weak_explicit(
        &inbox->last, &before, post, memory_order_release, memory_order_relaxed));
    if (before)
        return;
    uint64_t one = 1;
    ssize_t ignored = write(inbox->fd, &one, sizeof one);
    (void)ignored;
}

/* Whether there was anything. */
static bool deliver_all(struct inbox *inbox, struct worker_view *view)
{
    struct post *post = atomic_exchange_explicit(&inbox->last, NULL, memory_order_acquire);
    struct post *first = NULL;
    bool any = false;
    while (post) {
        struct post *before = post->next;
        post->next = first;
        first = post;
        post = before;
    }
    while (first) {
        struct post *next = first->next;
        first->deliver(view, first);
        first = next;
        any = true;
    }
    return any;
}

static void on_post(evutil_socket_t fd, short what, void *context)
{
    struct post_box *box = context;
    uint64_t count;
    ssize_t ignored = read((int)fd, &count, sizeof count);
    (void)ignored, (void)what;
    deliver_all(box->inbox, box->view);
}

struct post_box *post_box_open(
    struct post_office *office, int worker, struct event_base *base, struct worker_view *view)
{
    struct post_box *box = mem_alloc(1, sizeof *box);
    box->inbox = &office->inboxes[worker];
    box->view = view;
    box->event = event_new(base, box->inbox->fd, EV_READ | EV_PERSIST, on_post, box);
    assert(box->event);
    event_add(box->event, NULL);
    return box;
}

void post_box_close(struct post_box *box)
{
    if (!box)
        return;
    event_free(box->event);
    free(box);
}

void post_office_settle(struct post_office *office, struct worker_view *const *views)
{
    bool any = true;
    while (any) {
        any = false;
        for (int i = 0; i < office->workers; i++)
            any |= deliver_all(&office->inboxes[i], views[i]);
    }
}
