/* The feed: see feed.h. Each watcher has a position in the ring; it is written to until its
 * connection asks for a pause, and goes on when that has drained. A watcher that the ring overtakes
 * is cut off, so that a slow one costs nothing but its place. */
#include "server/feed.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "server/context.h"
#include "server/identity.h"
#include "server/ticker.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

enum { RING_EVENTS = 4096, WATCHERS_MAX = 256, BEAT_S = 15, PIECE_BYTES = 65536 };

struct feed_event {
    int64_t tick;
    char *team;
    char *line;
};

struct watcher {
    struct feed *feed;
    struct http_request *request;
    struct identity identity;
    uint64_t next; /* number of the next event to send */
    bool paused;
};

struct feed {
    struct server *server;
    struct feed_event ring[RING_EVENTS];
    int64_t begin;  /* the tick after which the feed has every event */
    uint64_t count; /* events ever; the newest RING_EVENTS of them are kept */
    VEC(struct watcher *) watchers;
    struct event *beat;
};

static void watcher_remove(struct watcher *watcher)
{
    struct feed *feed = watcher->feed;
    for (size_t i = 0; i < feed->watchers.count; i++) {
        if (feed->watchers.items[i] == watcher) {
            vec_remove(&feed->watchers, i);
            break;
        }
    }
    free(watcher);
}

static void on_watcher_gone(void *ctx)
{
    watcher_remove(ctx);
}

static uint64_t ring_start(const struct feed *feed)
{
    return feed->count > RING_EVENTS ? feed->count - RING_EVENTS : 0;
}

static bool may_see(const struct watcher *watcher, const struct feed_event *event)
{
    return event->team[0] == '\0' || identity_role(watcher->feed->server->catalog,
                                         &watcher->identity, event->team) >= ROLE_VIEWER;
}

/* Sends a piece of what is due. */
static void send_piece(struct watcher *watcher)
{
    struct feed *feed = watcher->feed;
    struct strbuf lines = {0};
    for (; watcher->next < feed->count && lines.length < PIECE_BYTES; watcher->next++) {
        const struct feed_event *event = &feed->ring[watcher->next % RING_EVENTS];
        if (may_see(watcher, event)) {
            strbuf_puts(&lines, event->line);
            strbuf_putc(&lines, '\n');
        }
    }
    if (lines.length > 0)
        watcher->paused = !http_respond_write(watcher->request, lines.text, lines.length);
    strbuf_finish(&lines);
}

/* False when the watcher was cut off and is gone. */
static bool watcher_send(struct watcher *watcher)
{
    struct feed *feed = watcher->feed;
    if (watcher->next < ring_start(feed) || !identity_holds(feed->server, &watcher->identity)) {
        http_request_abort(watcher->request);
        watcher_remove(watcher);
        return false;
    }
    while (watcher->next < feed->count && !watcher->paused)
        send_piece(watcher);
    return true;
}

static void on_watcher_drained(void *ctx)
{
    struct watcher *watcher = ctx;
    watcher->paused = false;
    watcher_send(watcher);
}

static void feed_send_all(struct feed *feed)
{
    for (size_t i = feed->watchers.count; i-- > 0;) {
        if (!feed->watchers.items[i]->paused)
            watcher_send(feed->watchers.items[i]);
    }
}

/* An empty line now and then keeps proxies from closing an idle stream. */
static void on_beat(evutil_socket_t fd, short what, void *ctx)
{
    struct feed *feed = ctx;
    (void)fd, (void)what;
    feed_send_all(feed);
    for (size_t i = 0; i < feed->watchers.count; i++) {
        struct watcher *watcher = feed->watchers.items[i];
        if (!watcher->paused)
            watcher->paused = !http_respond_write(watcher->request, "\n", 1);
    }
}

struct feed *feed_create(struct server *server)
{
    struct feed *feed = mem_alloc(1, sizeof *feed);
    struct ticker_stats stats;
    ticker_stats(server->ticker, &stats);
    feed->server = server;
    feed->begin = stats.last_tick;
    feed->beat = event_new(server->base, -1, EV_PERSIST, on_beat, feed);
    struct timeval period = {.tv_sec = BEAT_S};
    assert(feed->beat);
    event_add(feed->beat, &period);
    return feed;
}

void feed_destroy(struct feed *feed)
{
    if (!feed)
        return;
    while (feed->watchers.count > 0) {
        struct watcher *watcher = feed->watchers.items[feed->watchers.count - 1];
        http_respond_end(watcher->request);
        watcher_remove(watcher);
    }
    vec_free(&feed->watchers);
    for (size_t i = 0; i < RING_EVENTS; i++) {
        free(feed->ring[i].team);
        free(feed->ring[i].line);
    }
    event_free(feed->beat);
    free(feed);
}

void feed_publish(struct feed *feed, int64_t tick, const char *team, const char *line)
{
    struct feed_event *event = &feed->ring[feed->count % RING_EVENTS];
    free(event->team);
    free(event->line);
    *event = (struct feed_event){tick, mem_strdup(team), mem_strdup(line)};
    feed->count++;
    feed_send_all(feed);
}

/* The first event after a tick, or false when the ring begins later: it has moved on, or the server
 * was started since. */
static bool find_position(const struct feed *feed, int64_t after, uint64_t *ret_next)
{
    if (after < 0) {
        *ret_next = feed->count;
        return true;
    }
    uint64_t start = ring_start(feed);
    uint64_t next = feed->count;
    while (next > start && feed->ring[(next - 1) % RING_EVENTS].tick > after)
        next--;
    *ret_next = next;
    return next > start || (start == 0 && after >= feed->begin);
}

int feed_watch(struct feed *feed, struct http_request *request, const struct identity *identity,
    int64_t after, struct error *err)
{
    uint64_t next;
    if (feed->watchers.count >= WATCHERS_MAX)
        return error_set(
            err, ERR_BUSY, "%d clients watch changes already; try again later", WATCHERS_MAX);
    if (!find_position(feed, after, &next))
        return error_set(err, ERR_CONFLICT,
            "changes that far back are not kept: list again and watch without ?after=");
    struct watcher *watcher = mem_alloc(1, sizeof *watcher);
    *watcher =
        (struct watcher){.feed = feed, .request = request, .identity = *identity, .next = next};
    vec_push(&feed->watchers, watcher);
    struct http_field field = {"Content-Type", "application/jsonl"};
    http_request_on_cancel(request, on_watcher_gone, watcher);
    http_request_on_drain(request, on_watcher_drained, watcher);
    http_respond_begin(request, 200, &field, 1, -1);
    watcher_send(watcher);
    return 0;
}

size_t feed_watchers(const struct feed *feed)
{
    return feed->watchers.count;
}
