/* One connection of the agent: its life, deadlines and end. Invariants:
 *  1. only link_service calls callbacks (through http_agent_answer.c and link_fail), and the
 *     services of one agent never run inside each other, so they can share its read buffer;
 *  2. a link is freed by its own service, or when none is running for it;
 *  3. while the exchange is paused nothing is read; what one read brought may be held;
 *  4. a link goes back to the idle ones only without a byte left over in either direction.
 *
 * System calls are what a proxy spends its time with, so: one registration for reading in a link's
 * life (watcher.h); one for writing only when a send was cut short; a timer that is moved
 * only when it would fire too late. */
#include "wire/http_agent_internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int64_t link_now_ms(void)
{
    return clock_held_ns() / 1000000;
}

/* ------- life ------- */

static void on_read_ahead(struct watch *watch, int place);
static void on_told(struct watch *watch, bool ended);
static void on_writable(int fd, short what, void *ctx);
static void on_timer(int fd, short what, void *ctx);

void link_set_fd(struct http_link *link, int fd)
{
    struct event_base *base = link_agent(link)->base;
    link->fd = fd;
    event_assign(&link->write_event, base, fd, EV_WRITE | EV_PERSIST, on_writable, link);
}

static void write_event_set(struct http_link *link, bool wanted)
{
    if (link->writing != wanted)
        (void)(wanted ? event_add(&link->write_event, NULL) : event_del(&link->write_event));
    link->writing = wanted;
}

void link_close(struct http_link *link)
{
    watcher_remove(&link_agent(link)->watcher, &link->watch);
    write_event_set(link, false);
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
}

int link_watch(struct http_link *link)
{
    struct error err;
    link->watch.read_ahead = on_read_ahead;
    if (watcher_add(&link_agent(link)->watcher, &link->watch, link->fd, on_told, &err) == 0)
        return 0;
    free(link->problem);
    link->problem = mem_strdup(err.text);
    return -1;
}

struct http_link *link_create(struct http_endpoint *endpoint, int fd)
{
    struct http_link *link = mem_alloc(1, sizeof *link);
    link->endpoint = endpoint;
    link->state = LINK_CONNECTING;
    link_set_fd(link, fd);
    event_assign(&link->timer, endpoint->agent->base, -1, 0, on_timer, link);
    LIST_INSERT_HEAD(&endpoint->links, link, all);
    endpoint->agent->stats.connections++;
    if (fd >= 0) {
        endpoint->agent->now_ms = link_now_ms();
        int rc = link_watch(link);
        assert(rc == 0); /* of tests alone */
        (void)rc;
        link_park(link);
    }
    return link;
}

static void idle_remove(struct http_link *link)
{
    assert(link->state == LINK_IDLE);
    LIST_REMOVE(link, idle);
    link->endpoint->idle_count--;
    link_agent(link)->stats.idle--;
}

void link_kill(struct http_link *link)
{
    if (link->state == LINK_DEAD)
        return;
    if (link->state == LINK_IDLE)
        idle_remove(link);
    event_del(&link->timer);
    link_tls_end(link);
    link_close(link);
    link->state = LINK_DEAD;
    if (link->exchange.open)
        link_agent(link)->stats.exchanges--;
    link->exchange.open = false;
    link_agent(link)->stats.connections--;
}

static void link_free(struct http_link *link)
{
    struct http_endpoint *endpoint = link->endpoint;
    assert(link->state == LINK_DEAD);
    if (link->attention_queued) {
        TAILQ_REMOVE(&endpoint->agent->attention, link, attention);
        endpoint->agent->attention_count--;
    }
    LIST_REMOVE(link, all);
    http_buffer_finish(&link->input);
    spares_give_buffer(&endpoint->agent->spares, &link->output);
    free(link->slices);
    free(link->problem);
    free(link);
    endpoint_settle(endpoint);
}

void link_destroy(struct http_link *link)
{
    link_kill(link);
    if (link_agent(link)->serving != link)
        link_free(link);
}

void link_park(struct http_link *link)
{
    struct http_endpoint *endpoint = link->endpoint;
    assert(!link->exchange.open && !link_sends(link) && link->fd >= 0);
    spares_give_buffer(&endpoint->agent->spares, &link->output);
    link->state = LINK_IDLE;
    link->kept = true;
    assert(!link->readable); /* should there be more, the event tells */
    LIST_INSERT_HEAD(&endpoint->idle, link, idle);
    endpoint->idle_count++;
    endpoint->agent->stats.idle++;
    link->deadline_ms = endpoint->agent->now_ms + endpoint->agent->options.idle_ms;
}

void link_attend(struct http_link *link)
{
    struct http_agent *agent = link_agent(link);
    if (link->attention_queued)
        return;
    link->attention_queued = true;
    TAILQ_INSERT_TAIL(&agent->attention, link, attention);
    if (agent->attention_count++ == 0)
        agent_wake(agent);
}

void link_fail(struct http_link *link, enum http_failure failure, const char *format, ...)
{
    struct http_exchange *exchange = &link->exchange;
    const struct http_exchange_callbacks *callbacks = &exchange->callbacks;
    char text[600];
    va_list args;
    assert(exchange->open && link_agent(link)->serving == link);
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    link_kill(link);
    link_agent(link)->stats.failed++;
    callbacks->on_fail(exchange, failure, exchange->answered, text, exchange->ctx);
}

/* ------- deadlines and interest ------- */

static void deadline_update(struct http_link *link)
{
    const struct http_exchange *exchange = &link->exchange;
    if (link->state == LINK_CONNECTING) {
        bool again = link->fd < 0 && !link->problem;
        int64_t soon = link_agent(link)->now_ms + DIAL_AGAIN_MS;
        link->deadline_ms = again && soon < link->give_up_ms ? soon : link->give_up_ms;
        return;
    }
    if (link->state == LINK_IDLE)
        return; /* set when it was parked */
    bool peer_owes = link_sends(link) || exchange->request_complete || link->write_broken;
    if (exchange->paused || !peer_owes)
        link->deadline_ms = 0;
    else if (link->deadline_ms == 0 || link->progress)
        link->deadline_ms = link_agent(link)->now_ms + exchange->timeout_ms;
    link->progress = false;
}

/* Moves the timer only when it would fire too late. */
static void timer_update(struct http_link *link)
{
    if (link->deadline_ms == 0 || (link->timer_ms && link->timer_ms <= link->deadline_ms))
        return;
    int64_t left = link->deadline_ms - link_agent(link)->now_ms;
    left = left > 0 ? left : 0;
    struct timeval delay = {left / 1000, left % 1000 * 1000};
    event_add(&link->timer, &delay);
    link->timer_ms = link->deadline_ms;
}

void link_settle(struct http_link *link)
{
    deadline_update(link);
    timer_update(link);
    if (link->fd >= 0)
        write_event_set(link, link->write_blocked);
}

static void serve_event(struct http_link *link)
{
    const struct http_agent *agent = link_agent(link);
    clock_hold();
    link_service(link);
    clock_release();
    if (agent->options.after_event)
        agent->options.after_event(agent->options.ctx);
}

static struct http_link *watch_link(struct watch *watch)
{
    return (struct http_link *)((char *)watch - offsetof(struct http_link, watch));
}

static void on_read_ahead(struct watch *watch, int place)
{
    struct http_link *link = watch_link(watch);
    link_read_ahead(link, link_agent(link)->ahead + (size_t)place * AHEAD_STRIDE);
}

static void on_told(struct watch *watch, bool ended)
{
    struct http_link *link = watch_link(watch);
    link->readable = !link->ahead || link->large;
    link->peer_ended |= ended;
    if (link->tls)
        link->write_blocked = false; /* it may have had to read in order to write */
    serve_event(link);
}

static void on_writable(int fd, short what, void *ctx)
{
    struct http_link *link = ctx;
    (void)fd, (void)what;
    link->write_blocked = false;
    serve_event(link);
}

/* ------- the whole ------- */

static void service_begin(struct http_link *link)
{
    struct http_agent *agent = link_agent(link);
    assert(!agent->serving);
    agent->serving = link;
    agent->now_ns = clock_held_ns();
    agent->now_ms = agent->now_ns / 1000000;
}

static void service_end(struct http_link *link)
{
    link_agent(link)->serving = NULL;
    if (link->state == LINK_DEAD) {
        link_free(link);
        return;
    }
    link_settle(link);
    /* What is left there is not told again. */
    if (link->readable && link_wants_input(link))
        link_attend(link);
}

/* The caller was asked to wait, and need not any more. */
static void drain_notice(struct http_link *link)
{
    struct http_exchange *exchange = &link->exchange;
    size_t low = link_agent(link)->options.output_bytes_high / 2;
    if (!exchange->wants_drain || http_buffer_length(&link->output) > low)
        return;
    exchange->wants_drain = false;
    if (exchange->callbacks.on_drain)
        exchange->callbacks.on_drain(exchange, exchange->ctx);
}

static void service_run(struct http_link *link)
{
    if (link->exchange.open && link->exchange.unsafe)
        link_fail(link, HTTP_FAILED_REQUEST,
            "the request's method, target or a field has a byte that may not be sent");
    if (link->state == LINK_CONNECTING)
        link_connect(link);
    /* Nothing may come while nothing was asked for: neither an end nor, worse, an answer. */
    if (link->state == LINK_IDLE && !link_is_silent(link))
        link_kill(link);
    if (link->state == LINK_BUSY)
        link_read(link);
    if (link->state == LINK_BUSY)
        link_flush(link);
    if (link->state == LINK_BUSY)
        drain_notice(link);
}

void link_service(struct http_link *link)
{
    service_begin(link);
    service_run(link);
    service_end(link);
}

static void link_late(struct http_link *link)
{
    const struct http_agent *agent = link_agent(link);
    const char *name = link->endpoint->name;
    if (link->state == LINK_IDLE)
        link_kill(link);
    else if (link->state == LINK_BUSY)
        link_fail(link, HTTP_FAILED_TIMEOUT, "%s did not %s within %lld ms", name,
            link->exchange.answered ? "go on with its answer" : "answer",
            (long long)link->exchange.timeout_ms);
    else if (link->state == LINK_CONNECTING && agent->now_ms >= link->give_up_ms)
        link_connect_late(link);
}

static void on_timer(int fd, short what, void *ctx)
{
    struct http_link *link = ctx;
    (void)fd, (void)what;
    link->timer_ms = 0;
    service_begin(link);
    if (link->deadline_ms && link_agent(link)->now_ms >= link->deadline_ms)
        link_late(link);
    service_run(link);
    service_end(link);
}
