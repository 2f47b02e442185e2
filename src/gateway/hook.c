/* Posts to addresses of services' choice: see hook.h.
 *
 * 1. All posts are on one list under a lock; those that run or pause are the thread's to change.
 * 2. A post has one end: taken, refused or dropped, and is counted once.
 * 3. An address that hangs costs its own service: of each only a few run at once. */
#include "gateway/hook.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "base/thread.h"
#include "gateway/outside.h"
#include "wire/http_agent.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

enum { PAUSE_FIRST_MS = 500, NAME_BYTES = 64, QUIET_MS = 60000 };

enum post_state { POST_WAITS, POST_RUNS, POST_PAUSES };

struct waiting_post {
    TAILQ_ENTRY(waiting_post) link;
    struct hook *hook;
    enum post_state state;
    char *service, *address, *path;
    struct strbuf body;
    char name[NAME_BYTES]; /* the same for all attempts */
    int64_t timeout_ms;
    int retries, attempts, status;
    struct http_exchange *exchange;
    struct event timer; /* the end of an attempt, or of a pause */
};

TAILQ_HEAD(post_list, waiting_post);

enum hook_count { COUNT_TAKEN, COUNT_AGAIN, COUNT_REFUSED, COUNT_UNREACHED, COUNT_FULL, COUNTS };

struct hook {
    char instance[32];
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    struct post_list posts; /* under the lock, as the next three */
    size_t count, bytes;
    uint64_t numbers;
    int wake_fd;
    atomic_bool end;
    atomic_uint_fast64_t counts[COUNTS];
    /* The thread's. */
    struct event_base *base;
    struct event *wake;
    struct outside *outside;
    int64_t quiet_until_ms; /* the log says no more of it */
};

static void poke(const struct hook *hook)
{
    uint64_t one = 1;
    ssize_t ignored = write(hook->wake_fd, &one, sizeof one);
    (void)ignored;
}

static void add(struct hook *hook, enum hook_count count)
{
    atomic_fetch_add_explicit(&hook->counts[count], 1, memory_order_relaxed);
}

/* ---- decisions ------------------------------------------------------------------------------- */

enum hook_outcome hook_outcome_of(int status)
{
    if (status >= 200 && status < 300)
        return HOOK_TAKEN;
    return status == 0 || status == 408 || status == 429 || status >= 500 ? HOOK_AGAIN
                                                                          : HOOK_REFUSED;
}

int64_t hook_pause_ms(int attempts)
{
    assert(attempts >= 1);
    int64_t pause_ms =
        attempts > 10 ? HOOK_PAUSE_MS_MAX : (int64_t)PAUSE_FIRST_MS << (attempts - 1);
    return pause_ms < HOOK_PAUSE_MS_MAX ? pause_ms : HOOK_PAUSE_MS_MAX;
}

/* ---- posts ----------------------------------------------------------------------------------- */

static void post_free(struct waiting_post *post)
{
    if (post->exchange)
        http_exchange_cancel(post->exchange);
    if (post->state != POST_WAITS)
        event_del(&post->timer);
    strbuf_finish(&post->body);
    free(post->service);
    free(post->address);
    free(post->path);
    free(post);
}

static struct waiting_post *post_create(struct hook *hook, const struct hook_post *from)
{
    struct waiting_post *post = mem_alloc(1, sizeof *post);
    const char *authority = strstr(from->url, "://");
    size_t length = authority ? (size_t)(authority + 3 - from->url) : 0;
    length += strcspn(from->url + length, "/");
    post->hook = hook;
    post->service = mem_strdup(from->service);
    post->address = mem_alloc(1, length + 1);
    memcpy(post->address, from->url, length);
    post->path = mem_strdup(from->url[length] ? from->url + length : "/");
    strbuf_append(&post->body, from->body, from->length);
    post->timeout_ms = from->timeout_ms;
    post->retries = from->retries;
    return post;
}

/* Under the lock. */
static size_t count_of(const struct hook *hook, const char *service, bool running)
{
    size_t count = 0;
    const struct waiting_post *post;
    TAILQ_FOREACH(post, &hook->posts, link)
    count +=
        (!running || post->state == POST_RUNS) && (!service || !strcmp(post->service, service));
    return count;
}

/* Under the lock. */
static bool has_room(const struct hook *hook, const struct hook_post *post)
{
    return hook->count < HOOK_WAITING_MAX && hook->bytes + post->length <= HOOK_BYTES_MAX &&
           count_of(hook, post->service, false) < HOOK_OF_SERVICE_MAX;
}

bool hook_put(struct hook *hook, const struct hook_post *from)
{
    pthread_mutex_lock(&hook->lock);
    bool fits = has_room(hook, from);
    if (fits) {
        struct waiting_post *post = post_create(hook, from);
        snprintf(post->name, sizeof post->name, "%s-%" PRIu64, hook->instance, ++hook->numbers);
        TAILQ_INSERT_TAIL(&hook->posts, post, link);
        hook->count++;
        hook->bytes += from->length;
    }
    pthread_mutex_unlock(&hook->lock);
    if (fits)
        poke(hook);
    else
        add(hook, COUNT_FULL);
    return fits;
}

/* ---- attempts -------------------------------------------------------------------------------- */

static void begin_all(struct hook *hook);

static void finish(struct waiting_post *post, enum hook_count count)
{
    struct hook *hook = post->hook;
    add(hook, count);
    int64_t now_ms = clock_monotonic_ns() / 1000000;
    if (count != COUNT_TAKEN && now_ms >= hook->quiet_until_ms) {
        hook->quiet_until_ms = now_ms + QUIET_MS;
        log_warn("what %s says is not taken at %s: %s", post->service, post->address,
            count == COUNT_REFUSED ? "it is refused" : "there is no answer");
    }
    pthread_mutex_lock(&hook->lock);
    TAILQ_REMOVE(&hook->posts, post, link);
    hook->count--;
    hook->bytes -= post->body.length;
    pthread_mutex_unlock(&hook->lock);
    post_free(post);
}

static void set_timer(struct waiting_post *post, int64_t ms)
{
    struct timeval wait = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    evtimer_add(&post->timer, &wait);
}

/* The exchange is over. */
static void conclude(struct waiting_post *post)
{
    struct hook *hook = post->hook;
    enum hook_outcome outcome = hook_outcome_of(post->status);
    post->exchange = NULL;
    event_del(&post->timer);
    if (outcome == HOOK_AGAIN && post->attempts <= post->retries) {
        add(hook, COUNT_AGAIN);
        post->state = POST_PAUSES;
        set_timer(post, hook_pause_ms(post->attempts));
    } else {
        finish(post, outcome == HOOK_TAKEN     ? COUNT_TAKEN
                     : outcome == HOOK_REFUSED ? COUNT_REFUSED
                                               : COUNT_UNREACHED);
    }
    begin_all(hook);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct waiting_post *post = context;
    struct hook *hook = post->hook;
    (void)fd, (void)what;
    if (post->state == POST_RUNS) {
        if (post->exchange)
            http_exchange_cancel(post->exchange);
        post->status = 0;
        conclude(post);
        return;
    }
    post->state = POST_WAITS;
    begin_all(hook);
}

static void on_head(struct http_exchange *exchange, const struct http_answer *head, void *context)
{
    struct waiting_post *post = context;
    (void)exchange;
    post->status = head->status;
}

/* Its words are of no interest; how long they may be is bounded by the time of the attempt. */
static void on_piece(
    struct http_exchange *exchange, const void *bytes, size_t length, void *context)
{
    (void)exchange, (void)bytes, (void)length, (void)context;
}

static void on_end(struct http_exchange *exchange, void *context)
{
    (void)exchange;
    conclude(context);
}

static bool begin_exchange(struct waiting_post *post);

static void on_fail(struct http_exchange *exchange, enum http_failure failure, bool answered,
    const char *text, void *context)
{
    struct waiting_post *post = context;
    (void)exchange, (void)answered, (void)text;
    post->status = 0;
    /* A kept connection had been closed over there: it was no attempt. */
    if (failure == HTTP_FAILED_STALE && begin_exchange(post))
        return;
    conclude(post);
}

/* False: its address is of no use. */
static bool begin_exchange(struct waiting_post *post)
{
    static const struct http_exchange_callbacks callbacks = {
        .on_head = on_head, .on_piece = on_piece, .on_end = on_end, .on_fail = on_fail};
    struct hook *hook = post->hook;
    const struct http_field fields[] = {
        {"Content-Type", "application/json"}, {"X-Muster-Post", post->name}};
    const struct http_exchange_request request = {.method = "POST",
        .target = post->path,
        .fields = fields,
        .field_count = ARRAY_LEN(fields),
        .body = strbuf_text(&post->body),
        .length = (int64_t)post->body.length,
        .timeout_ms = post->timeout_ms};
    struct error err;
    struct http_endpoint *endpoint = outside_endpoint(hook->outside, post->address, &err);
    if (!endpoint) {
        log_warn("what %s says cannot be posted: %s", post->service, err.text);
        return false;
    }
    post->exchange = http_exchange_begin(endpoint, &request, &callbacks, post);
    return true;
}

static void begin(struct waiting_post *post)
{
    post->attempts++;
    post->status = 0;
    evtimer_assign(&post->timer, post->hook->base, on_timer, post);
    /* An address that is none has its end in a later turn, as any other. */
    set_timer(post, begin_exchange(post) ? post->timeout_ms : 0);
}

static struct waiting_post *take_next(struct hook *hook)
{
    struct waiting_post *post;
    pthread_mutex_lock(&hook->lock);
    bool full = count_of(hook, NULL, true) >= HOOK_RUNNING_MAX;
    TAILQ_FOREACH(post, &hook->posts, link)
    {
        if (full || (post->state == POST_WAITS &&
                        count_of(hook, post->service, true) < HOOK_RUNNING_OF_SERVICE_MAX))
            break;
    }
    if (full)
        post = NULL;
    if (post)
        post->state = POST_RUNS;
    pthread_mutex_unlock(&hook->lock);
    return post;
}

static void begin_all(struct hook *hook)
{
    struct waiting_post *post;
    while (!atomic_load(&hook->end) && (post = take_next(hook)))
        begin(post);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void on_wake(evutil_socket_t fd, short what, void *context)
{
    struct hook *hook = context;
    uint64_t count;
    ssize_t ignored = read((int)fd, &count, sizeof count);
    (void)ignored, (void)what;
    if (atomic_load(&hook->end))
        event_base_loopbreak(hook->base);
    else
        begin_all(hook);
}

static void *hook_thread(void *argument)
{
    struct hook *hook = argument;
    thread_be_patient();
    event_base_dispatch(hook->base);
    return NULL;
}

int hook_create(const char *instance, const char *trust, struct hook **ret, struct error *err)
{
    struct hook *hook = mem_alloc(1, sizeof *hook);
    snprintf(hook->instance, sizeof hook->instance, "%s", instance);
    pthread_mutex_init(&hook->lock, NULL);
    TAILQ_INIT(&hook->posts);
    hook->base = event_base_new();
    hook->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (hook->base && hook->wake_fd >= 0) {
        hook->wake = event_new(hook->base, hook->wake_fd, EV_READ | EV_PERSIST, on_wake, hook);
        event_add(hook->wake, NULL);
        hook->outside = outside_create(hook->base, trust);
        errno = thread_start(&hook->thread, hook_thread, hook);
        hook->started = errno == 0;
        if (hook->started) {
            *ret = hook;
            return 0;
        }
    }
    error_set_errno(err, "cannot start the thread that posts verdicts");
    hook_destroy(hook);
    return -1;
}

void hook_destroy(struct hook *hook)
{
    if (!hook)
        return;
    if (hook->started) {
        atomic_store(&hook->end, true);
        poke(hook);
        pthread_join(hook->thread, NULL);
    }
    while (!TAILQ_EMPTY(&hook->posts)) {
        struct waiting_post *post = TAILQ_FIRST(&hook->posts);
        TAILQ_REMOVE(&hook->posts, post, link);
        post_free(post);
    }
    outside_destroy(hook->outside);
    if (hook->wake)
        event_free(hook->wake);
    if (hook->base)
        event_base_free(hook->base);
    fd_scope(&hook->wake_fd);
    pthread_mutex_destroy(&hook->lock);
    free(hook);
}

/* ---- figures --------------------------------------------------------------------------------- */

void hook_write_metrics(struct hook *hook, struct strbuf *out)
{
    static const struct {
        const char *name, *help;
    } rows[COUNTS] = {
        [COUNT_TAKEN] = {"posted", "Verdicts that were posted and taken"},
        [COUNT_AGAIN] = {"post_retried", "Attempts to post a verdict that were made again"},
        [COUNT_REFUSED] = {"post_refused", "Verdicts that were refused where they were posted"},
        [COUNT_UNREACHED] = {"post_unreached", "Verdicts that no attempt got through"},
        [COUNT_FULL] = {"post_dropped", "Verdicts for which there was no room to wait"},
    };
    for (size_t i = 0; i < COUNTS; i++)
        strbuf_printf(out,
            "# HELP muster_gateway_secondary_%s_total %s.\n"
            "# TYPE muster_gateway_secondary_%s_total counter\n"
            "muster_gateway_secondary_%s_total %" PRIu64 "\n",
            rows[i].name, rows[i].help, rows[i].name, rows[i].name,
            (uint64_t)atomic_load_explicit(&hook->counts[i], memory_order_relaxed));
    pthread_mutex_lock(&hook->lock);
    size_t waiting = hook->count;
    pthread_mutex_unlock(&hook->lock);
    strbuf_printf(out,
        "# HELP muster_gateway_secondary_posts Verdicts that wait or are under way.\n"
        "# TYPE muster_gateway_secondary_posts gauge\nmuster_gateway_secondary_posts %zu\n",
        waiting);
}
