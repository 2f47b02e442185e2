/* From the workers' rings to the collector: see trace.h.
 *
 * 1. A ring has one writer, its worker, and one reader, the thread here; each moves its own end.
 * 2. Sending is wire/otlp_export.h's. While the collector is slow the rings fill, and what does not
 * fit is dropped: so memory is bounded, and no worker waits.
 * 3. What is recorded is counted once: as exported, or as dropped and where. */
#include "gateway/trace.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "base/thread.h"
#include "gateway/trace_otlp.h"
#include "wire/otlp_export.h"

#include <assert.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { BATCH_RECORDS = 128 };

struct ring {
    atomic_uint_fast64_t written; /* the worker's end */
    atomic_uint_fast64_t dropped; /* spans; the worker's too */
    char apart[64];
    atomic_uint_fast64_t read; /* the thread's end */
    char apart_too[64];
    struct trace_record records[TRACE_RING_RECORDS];
};

struct tracer {
    int64_t ratio_million;
    char instance[64];
    int ring_count;
    struct ring **rings;
    pthread_t thread;
    bool started;
    int wake_fd;
    atomic_bool end;
    atomic_uint_fast64_t exported, dropped;
    /* The thread's. */
    struct event_base *base;
    struct event *wake;
    struct otlp_export *out;
    bool ending;
};

/* ---- rings ----------------------------------------------------------------------------------- */

static void poke(const struct tracer *tracer)
{
    uint64_t one = 1;
    ssize_t ignored = write(tracer->wake_fd, &one, sizeof one);
    (void)ignored;
}

void tracer_push(struct tracer *tracer, int worker, const struct trace_record *record)
{
    struct ring *ring = tracer->rings[worker];
    uint64_t written = atomic_load_explicit(&ring->written, memory_order_relaxed);
    uint64_t used = written - atomic_load_explicit(&ring->read, memory_order_acquire);
    if (used == TRACE_RING_RECORDS) {
        uint64_t dropped = atomic_load_explicit(&ring->dropped, memory_order_relaxed);
        atomic_store_explicit(
            &ring->dropped, dropped + 1 + record->part_count, memory_order_relaxed);
        return;
    }
    ring->records[written % TRACE_RING_RECORDS] = *record;
    atomic_store_explicit(&ring->written, written + 1, memory_order_release);
    if (used == TRACE_RING_RECORDS / 2)
        poke(tracer);
}

int64_t tracer_ratio(const struct tracer *tracer)
{
    return tracer->ratio_million;
}

void tracer_counts(const struct tracer *tracer, struct tracer_counts *ret)
{
    *ret = (struct tracer_counts){
        .exported = atomic_load_explicit(&tracer->exported, memory_order_relaxed),
        .dropped_collector = atomic_load_explicit(&tracer->dropped, memory_order_relaxed)};
    for (int i = 0; i < tracer->ring_count; i++)
        ret->dropped_queue +=
            atomic_load_explicit(&tracer->rings[i]->dropped, memory_order_relaxed);
}

/* ---- the thread ------------------------------------------------------------------------------ */

struct gathering {
    struct strbuf *body;
    int64_t wall_ns;
    size_t taken, spans;
};

static void take_ring(struct gathering *gathering, struct ring *ring)
{
    uint64_t read = atomic_load_explicit(&ring->read, memory_order_relaxed);
    uint64_t written = atomic_load_explicit(&ring->written, memory_order_acquire);
    for (; read < written && gathering->taken < BATCH_RECORDS; read++, gathering->taken++)
        gathering->spans += trace_otlp_record(
            gathering->body, &ring->records[read % TRACE_RING_RECORDS], gathering->wall_ns);
    atomic_store_explicit(&ring->read, read, memory_order_release);
}

static size_t gather(void *context, struct strbuf *body)
{
    struct tracer *tracer = context;
    struct gathering gathering = {
        .body = body, .wall_ns = clock_wall_ms() * 1000000 - clock_monotonic_ns()};
    trace_otlp_begin(body, tracer->instance);
    for (int i = 0; i < tracer->ring_count; i++)
        take_ring(&gathering, tracer->rings[i]);
    trace_otlp_end(body);
    return gathering.spans;
}

static void count(void *context, size_t exported, size_t dropped)
{
    struct tracer *tracer = context;
    atomic_fetch_add_explicit(&tracer->exported, exported, memory_order_relaxed);
    atomic_fetch_add_explicit(&tracer->dropped, dropped, memory_order_relaxed);
}

static void ended(void *context)
{
    event_base_loopbreak(((struct tracer *)context)->base);
}

/* A ring is half full, or this is the end. */
static void on_wake(evutil_socket_t fd, short what, void *context)
{
    struct tracer *tracer = context;
    uint64_t poked;
    ssize_t ignored = read((int)fd, &poked, sizeof poked);
    (void)ignored, (void)what;
    if (!atomic_load(&tracer->end) || tracer->ending) {
        otlp_export_wake(tracer->out);
        return;
    }
    tracer->ending = true;
    otlp_export_end(tracer->out);
}

static void *tracer_thread(void *argument)
{
    thread_be_patient();
    event_base_dispatch(((struct tracer *)argument)->base);
    return NULL;
}

/* ---- opening and closing --------------------------------------------------------------------- */

static int open_loop(struct tracer *tracer, const struct tracer_options *options, struct error *err)
{
    tracer->base = event_base_new();
    tracer->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!tracer->base || tracer->wake_fd < 0)
        return error_set_errno(err, "cannot make the loop of traces");
    tracer->wake = event_new(tracer->base, tracer->wake_fd, EV_READ | EV_PERSIST, on_wake, tracer);
    event_add(tracer->wake, NULL);
    const struct otlp_export_options out = {.base = tracer->base,
        .address = options->address,
        .trust = options->trust,
        .period_ms = options->period_ms,
        .gather = gather,
        .count = count,
        .ended = ended,
        .context = tracer};
    return otlp_export_create(&out, &tracer->out, err);
}

static int start_thread(struct tracer *tracer, struct error *err)
{
    tracer->started = thread_start(&tracer->thread, tracer_thread, tracer) == 0;
    return tracer->started ? 0 : error_set(err, ERR_IO, "cannot start the thread of traces");
}

int tracer_create(
    const struct tracer_options *options, int workers, struct tracer **ret, struct error *err)
{
    struct tracer *tracer = mem_alloc(1, sizeof *tracer);
    assert(options->ratio_million >= 0 && options->ratio_million <= 1000000);
    tracer->ratio_million = options->ratio_million;
    snprintf(tracer->instance, sizeof tracer->instance, "%s", options->instance);
    tracer->wake_fd = -1;
    tracer->ring_count = workers;
    tracer->rings = mem_alloc((size_t)workers, sizeof(struct ring *));
    for (int i = 0; i < workers; i++)
        tracer->rings[i] = mem_alloc(1, sizeof(struct ring));
    if (open_loop(tracer, options, err) < 0 || start_thread(tracer, err) < 0) {
        tracer_destroy(tracer);
        return -1;
    }
    *ret = tracer;
    return 0;
}

void tracer_destroy(struct tracer *tracer)
{
    if (!tracer)
        return;
    if (tracer->started) {
        atomic_store(&tracer->end, true);
        poke(tracer);
        pthread_join(tracer->thread, NULL);
    }
    otlp_export_destroy(tracer->out);
    if (tracer->wake)
        event_free(tracer->wake);
    if (tracer->base)
        event_base_free(tracer->base);
    fd_scope(&tracer->wake_fd);
    for (int i = 0; i < tracer->ring_count; i++)
        free(tracer->rings[i]);
    free(tracer->rings);
    free(tracer);
}
