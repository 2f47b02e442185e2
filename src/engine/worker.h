/* A thread that does what blocks (commits, hashing, copying) and tells the loop when it is done.
 * Jobs run in the order they were given. */
#pragma once

#include "base/error.h"

#include <stddef.h>

struct event_base;
struct worker;

/* work runs on the thread; done runs on the loop afterwards. */
typedef void worker_fn(void *context);

/* Starts the thread. NULL: ERR_IO. */
MUST_CHECK struct worker *worker_create(
    struct event_base *base, const char *name, struct error *err);
/* Finishes what was given, without calling `done` any more, and ends the thread. NULL is fine. */
void worker_destroy(struct worker *worker);
/* The queue is bounded: ERR_BUSY when 1024 jobs wait. */
MUST_CHECK int worker_run(
    struct worker *worker, worker_fn *work, worker_fn *done, void *context, struct error *err);
/* How many jobs it was given whose `done` has not been called yet. */
size_t worker_load(struct worker *worker);
