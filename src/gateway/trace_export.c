/* From the workers' rings to the collector: see trace.h.
 *
 * 1. A ring has one writer, its worker, and one reader, the thread here; each moves its own end.
 * 2. One request to the collector is under way at a time. What it says that it may get again it
 * gets again, with pauses that double; then it is dropped. Meanwhile the rings fill, and what does
 * not fit is dropped: so memory is bounded, and no worker waits.
 * 3. What is recorded is counted once: as exported, or as dropped and where. */
#include "gateway/trace.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "gateway/trace_otlp.h"
#include "wire/doc.h"
#include "wire/http_agent.h"

#include <assert.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    BATCH_RECORDS = 128,
    RETRIES_MAX = 4,
    RETRY_MAX_MS = 30000,
    PERIOD_MS = 1000,
    ANSWER_BYTES_MAX = 64 * 1024,
    TIMEOUT_MS = 10000,
    END_MS = 2000, /* for what is left when the gateway stops */
    ADDRESS_BYTES = 300,
};

struct ring {
    atomic_uint_fast64_t written; /* the worker's end */
    atomic_uint_fast64_t dropped; /* spans; the worker's too */
    char apart[64];
    atomic_uint_fast64_t read; /* the thread's end */
    char apart_too[64];
    struct trace_record records[TRACE_RING_RECORDS];
};

struct tracer {
    int64_t ratio_million, period_ms;
    char instance[64], address[ADDRESS_BYTES], path[ADDRESS_BYTES];
    int ring_count;
    struct ring **rings;
    pthread_t thread;
    bool started;
    int wake_fd;
    atomic_bool end;
    atomic_uint_fast64_t exported, dropped;
    /* The thread's. */
    struct event_base *base;
    struct event *timer, *wake;
    struct http_agent *agent;
    struct http_endpoint *endpoint;
    struct http_exchange *exchange; /* NULL: none under way */
    struct strbuf body, answer;     /* body: what is being sent, or will be again */
    size_t spans;                   /* of the body; 0: there is none */
    int status, retries;
    int64_t end_ns; /* not later than this, once it is told to end */
    bool complained;
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

/* ---- sending --------------------------------------------------------------------------------- */

static void set_timer(struct tracer *tracer, int64_t ms)
{
    struct timeval wait = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    event_add(tracer->timer, &wait);
}

static size_t take_ring(struct tracer *tracer, struct ring *ring, int64_t wall_ns, size_t taken)
{
    uint64_t read = atomic_load_explicit(&ring->read, memory_order_relaxed);
    uint64_t written = atomic_load_explicit(&ring->written, memory_order_acquire);
    for (; read < written && taken < BATCH_RECORDS; read++, taken++)
        tracer->spans += trace_otlp_record(
            &tracer->body, &ring->records[read % TRACE_RING_RECORDS], wall_ns, taken == 0);
    atomic_store_explicit(&ring->read, read, memory_order_release);
    return taken;
}

/* Makes the next body; false: there is nothing to send. */
static bool gather(struct tracer *tracer)
{
    int64_t wall_ns = clock_wall_ms() * 1000000 - clock_monotonic_ns();
    size_t taken = 0;
    strbuf_clear(&tracer->body);
    tracer->spans = 0;
    trace_otlp_begin(&tracer->body, tracer->instance);
    for (int i = 0; i < tracer->ring_count; i++)
        taken = take_ring(tracer, tracer->rings[i], wall_ns, taken);
    trace_otlp_end(&tracer->body);
    return taken > 0;
}

static void send_body(struct tracer *tracer);

/* The body is done with. */
static void go_on(struct tracer *tracer)
{
    tracer->spans = 0;
    tracer->retries = 0;
    if (gather(tracer))
        send_body(tracer);
    else if (atomic_load(&tracer->end))
        event_base_loopbreak(tracer->base);
    else
        set_timer(tracer, tracer->period_ms);
}

static void drop(struct tracer *tracer, size_t spans, const char *why)
{
    if (!tracer->complained)
        log_warn("spans are dropped: the collector at %s: %s", tracer->address, why);
    tracer->complained = true;
    atomic_fetch_add_explicit(&tracer->dropped, spans, memory_order_relaxed);
}

static void try_again(struct tracer *tracer, const char *why)
{
    int64_t pause_ms = tracer->period_ms << tracer->retries;
    if (++tracer->retries > RETRIES_MAX || atomic_load(&tracer->end)) {
        drop(tracer, tracer->spans, why);
        go_on(tracer);
        return;
    }
    set_timer(tracer, pause_ms > RETRY_MAX_MS ? RETRY_MAX_MS : pause_ms);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* Spans that it did not take although it took the request. */
static size_t rejected_spans(const struct tracer *tracer)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc = doc_parse_json(arena, strbuf_text((struct strbuf *)&tracer->answer),
        tracer->answer.length, ANSWER_BYTES_MAX, NULL);
    const struct doc *partial = doc && doc->type == DOC_MAP ? doc_get(doc, "partialSuccess") : NULL;
    const struct doc *count =
        partial && partial->type == DOC_MAP ? doc_get(partial, "rejectedSpans") : NULL;
    /* A 64-bit number is a text in this encoding; some write a number. */
    if (!count || (count->type != DOC_STRING && count->type != DOC_NUMBER))
        return 0;
    unsigned long long number = strtoull(count->text, NULL, 10);
    return number > tracer->spans ? tracer->spans : (size_t)number;
}

static void on_head(struct http_exchange *exchange, const struct http_answer *answer, void *context)
{
    struct tracer *tracer = context;
    (void)exchange;
    tracer->status = answer->status;
}

static void on_piece(
    struct http_exchange *exchange, const void *bytes, size_t length, void *context)
{
    struct tracer *tracer = context;
    (void)exchange;
    if (tracer->answer.length + length <= ANSWER_BYTES_MAX)
        strbuf_append(&tracer->answer, bytes, length);
}

static void on_end(struct http_exchange *exchange, void *context)
{
    struct tracer *tracer = context;
    int status = tracer->status;
    char why[48];
    (void)exchange;
    tracer->exchange = NULL;
    snprintf(why, sizeof why, "it answered with status %d", status);
    if (status == 429 || status == 502 || status == 503 || status == 504) {
        try_again(tracer, why);
        return;
    }
    size_t rejected = status >= 200 && status < 300 ? rejected_spans(tracer) : tracer->spans;
    if (rejected > 0)
        drop(tracer, rejected, status < 300 ? "it rejected some" : why);
    else
        tracer->complained = false;
    atomic_fetch_add_explicit(&tracer->exported, tracer->spans - rejected, memory_order_relaxed);
    go_on(tracer);
}

static void on_fail(struct http_exchange *exchange, enum http_failure failure, bool answered,
    const char *text, void *context)
{
    struct tracer *tracer = context;
    (void)exchange, (void)failure, (void)answered;
    tracer->exchange = NULL;
    try_again(tracer, text);
}

static void send_body(struct tracer *tracer)
{
    static const struct http_exchange_callbacks callbacks = {
        on_head, on_piece, on_end, on_fail, NULL};
    static const struct http_field json = {"Content-Type", "application/json"};
    const struct http_exchange_request request = {.method = "POST",
        .target = tracer->path,
        .fields = &json,
        .field_count = 1,
        .body = strbuf_text(&tracer->body),
        .length = (int64_t)tracer->body.length,
        .timeout_ms = TIMEOUT_MS};
    tracer->status = 0;
    strbuf_clear(&tracer->answer);
    tracer->exchange = http_exchange_begin(tracer->endpoint, &request, &callbacks, tracer);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct tracer *tracer = context;
    (void)fd, (void)what;
    if (tracer->end_ns > 0 && clock_monotonic_ns() >= tracer->end_ns) {
        if (tracer->exchange)
            http_exchange_cancel(tracer->exchange);
        tracer->exchange = NULL;
        if (tracer->spans > 0)
            drop(tracer, tracer->spans, "the gateway stopped meanwhile");
        event_base_loopbreak(tracer->base);
        return;
    }
    if (tracer->exchange)
        return;
    if (tracer->spans > 0)
        send_body(tracer);
    else
        go_on(tracer);
}

/* A ring is half full, or this is the end. */
static void on_wake(evutil_socket_t fd, short what, void *context)
{
    struct tracer *tracer = context;
    uint64_t count;
    ssize_t ignored = read((int)fd, &count, sizeof count);
    (void)ignored, (void)what;
    if (atomic_load(&tracer->end) && tracer->end_ns == 0) {
        tracer->end_ns = clock_monotonic_ns() + END_MS * 1000000LL;
        set_timer(tracer, END_MS);
        if (!tracer->exchange && tracer->spans > 0)
            send_body(tracer);
    }
    if (!tracer->exchange && tracer->spans == 0)
        go_on(tracer);
}

static void *tracer_thread(void *argument)
{
    struct tracer *tracer = argument;
    set_timer(tracer, tracer->period_ms);
    event_base_dispatch(tracer->base);
    return NULL;
}

/* ---- opening and closing --------------------------------------------------------------------- */

/* "http://127.0.0.1:4318/v1/traces" is an endpoint and a path; without a path the usual one. */
static void split_address(const char *text, char address[ADDRESS_BYTES], char path[ADDRESS_BYTES])
{
    const char *authority = strncmp(text, "http://", 7) == 0 ? text + 7 : NULL;
    size_t length = authority ? (size_t)(authority - text) + strcspn(authority, "/") : strlen(text);
    bool has_path = text[length] == '/' && text[length + 1] != '\0';
    snprintf(address, ADDRESS_BYTES, "%.*s", (int)length, text);
    snprintf(path, ADDRESS_BYTES, "%s", has_path ? text + length : "/v1/traces");
}

static bool is_path(const char *path)
{
    for (; *path; path++) {
        if (*path <= ' ' || *path >= 0x7f || *path == '#')
            return false;
    }
    return true;
}

static int open_endpoint(struct tracer *tracer, const char *address, struct error *err)
{
    if (strlen(address) >= ADDRESS_BYTES)
        return error_set(err, ERR_INVALID, "the collector's address is too long");
    split_address(address, tracer->address, tracer->path);
    if (!is_path(tracer->path))
        return error_set(err, ERR_INVALID, "the collector's path %s is none", tracer->path);
    if (http_endpoint_create(tracer->agent, tracer->address, (uid_t)-1, &tracer->endpoint, err) < 0)
        return error_prefix(err,
            "the collector's address: expected http://ADDRESS:PORT with a numeric address, or "
            "unix:/PATH");
    return 0;
}

static int open_loop(struct tracer *tracer, struct error *err)
{
    tracer->base = event_base_new();
    tracer->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!tracer->base || tracer->wake_fd < 0)
        return error_set_errno(err, "cannot make the loop of traces");
    tracer->timer = event_new(tracer->base, -1, EV_TIMEOUT, on_timer, tracer);
    tracer->wake = event_new(tracer->base, tracer->wake_fd, EV_READ | EV_PERSIST, on_wake, tracer);
    event_add(tracer->wake, NULL);
    tracer->agent = http_agent_create(tracer->base, NULL);
    return 0;
}

static int start_thread(struct tracer *tracer, struct error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&tracer->thread, NULL, tracer_thread, tracer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    tracer->started = rc == 0;
    return rc == 0 ? 0 : error_set(err, ERR_IO, "cannot start the thread of traces");
}

int tracer_create(
    const struct tracer_options *options, int workers, struct tracer **ret, struct error *err)
{
    struct tracer *tracer = mem_alloc(1, sizeof *tracer);
    assert(options->ratio_million >= 0 && options->ratio_million <= 1000000);
    tracer->ratio_million = options->ratio_million;
    tracer->period_ms = options->period_ms > 0 ? options->period_ms : PERIOD_MS;
    snprintf(tracer->instance, sizeof tracer->instance, "%s", options->instance);
    tracer->wake_fd = -1;
    tracer->ring_count = workers;
    tracer->rings = mem_alloc((size_t)workers, sizeof(struct ring *));
    for (int i = 0; i < workers; i++)
        tracer->rings[i] = mem_alloc(1, sizeof(struct ring));
    if (open_loop(tracer, err) < 0 || open_endpoint(tracer, options->address, err) < 0 ||
        start_thread(tracer, err) < 0) {
        tracer_destroy(tracer);
        return -1;
    }
    *ret = tracer;
    return 0;
}

int tracer_address_check(const char *address, struct error *err)
{
    struct tracer tracer = {.wake_fd = -1};
    tracer.base = event_base_new();
    tracer.agent = http_agent_create(tracer.base, NULL);
    int rc = open_endpoint(&tracer, address, err);
    http_endpoint_release(tracer.endpoint);
    http_agent_destroy(tracer.agent);
    event_base_free(tracer.base);
    return rc;
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
    http_endpoint_release(tracer->endpoint);
    http_agent_destroy(tracer->agent);
    if (tracer->timer)
        event_free(tracer->timer);
    if (tracer->wake)
        event_free(tracer->wake);
    if (tracer->base)
        event_base_free(tracer->base);
    fd_scope(&tracer->wake_fd);
    strbuf_finish(&tracer->body);
    strbuf_finish(&tracer->answer);
    for (int i = 0; i < tracer->ring_count; i++)
        free(tracer->rings[i]);
    free(tracer->rings);
    free(tracer);
}
