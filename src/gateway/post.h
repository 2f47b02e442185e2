/* Messages from worker to worker. What belongs to one key, such as a batch or an entry of a cache,
 * is one worker's: others send it a message, and it sends one back. Lock-free: a message is pushed
 * onto the inbox of the worker, which takes all of them at once (an intrusive stack that is
 * reversed, so messages of one sender arrive in their order). The receiver is woken only when its
 * inbox was empty. */
#pragma once

#include "base/error.h"

#include <stdint.h>

struct event_base;
struct post_office; /* all inboxes of a gateway */
struct worker_view;

/* A member of what is sent; the sender does not touch it until it is delivered. */
struct post {
    struct post *next;
    /* Called on the receiver's thread; the post is the callee's then. */
    void (*deliver)(struct worker_view *view, struct post *post);
};

/* With an inbox for each of the workers (1 to GATEWAY_WORKERS_MAX). */
MUST_CHECK int post_office_create(int workers, struct post_office **ret, struct error *err);
/* No worker runs any more, and posts were settled. NULL is fine. */
void post_office_destroy(struct post_office *office);
int post_office_workers(const struct post_office *office);

/* The worker that what has this hash belongs to. */
int post_owner(const struct post_office *office, uint64_t hash);
/* From any thread. To oneself: delivered in a later turn of the loop. */
void post_send(struct post_office *office, int worker, struct post *post);

struct post_box;
/* The receiving end: `view` gets what comes, on the thread that runs base. Closed by the caller. */
struct post_box *post_box_open(
    struct post_office *office, int worker, struct event_base *base, struct worker_view *view);
/* NULL is fine. What is in it stays there, for post_office_settle. */
void post_box_close(struct post_box *box);

/* When no thread uses the office any more: delivers what is left, and what comes of that, until
 * nothing is. views: of the workers. */
void post_office_settle(struct post_office *office, struct worker_view *const *views);
