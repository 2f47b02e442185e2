/* List and watch: see kube_watch.h. Invariants:
 *  1. at most one request is under way (`call`), or the timer runs, never both;
 *  2. `version` is that of the last whole event or list: where a stream is cut, the watch begins
 * there again, and no event is told twice or left out;
 *  3. `version` "" means that the list has to be read. */
#include "engine/kube_watch.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "engine/kube_lines.h"
#include "wire/url.h"

#include <assert.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAGE_ITEMS = 250,
    PAGES_MAX = 4096, /* a million objects */
    WAIT_FIRST_MS = 100,
    WAIT_MOST_MS = 10 * 1000,
    SILENCE_TIMEOUTS = 3, /* bookmarks come every minute, the default timeout is half of one */
    WATCH_TIMEOUTS = 10,
    STEADY_MS = 5 * 1000, /* a stream that held for so long says that all is well */
};

struct kube_watch {
    struct kube_client *client;
    struct kube_watch_callbacks callbacks;
    void *ctx;
    char *path, *query;
    struct kube_call *call;
    struct event timer;
    int64_t wait_ms;  /* the next one */
    int64_t asked_ms; /* boot clock */
    bool troubled;
    char version[64];        /* of the last event or list */
    char list_version[64];   /* of the list that is being read */
    struct strbuf continued; /* where the next page begins; "": at the first */
    unsigned pages;          /* of it so far */
    struct kube_lines lines;
    struct error refusal; /* of the stream, by an ERROR event */
    bool too_old;
    bool news; /* the stream told something */
};

static void ask(struct kube_watch *watch);

static void on_timer(int fd, short what, void *ctx)
{
    (void)fd, (void)what;
    ask(ctx);
}

/* Asks again after a while that doubles, give or take a quarter: not all at once. */
static void wait_then_ask(struct kube_watch *watch, int64_t least_ms)
{
    int64_t wait_ms =
        watch->wait_ms * 3 / 4 + randombytes_uniform((uint32_t)watch->wait_ms / 2 + 1);
    wait_ms = wait_ms > least_ms ? wait_ms : least_ms;
    struct timeval delay = {wait_ms / 1000, wait_ms % 1000 * 1000};
    watch->wait_ms = watch->wait_ms * 2 < WAIT_MOST_MS ? watch->wait_ms * 2 : WAIT_MOST_MS;
    event_add(&watch->timer, &delay);
}

static void trouble(struct kube_watch *watch, const char *text)
{
    if (!text && !watch->troubled)
        return;
    watch->troubled = text != NULL;
    watch->callbacks.on_trouble(watch->ctx, text);
}

static void begin_anew(struct kube_watch *watch)
{
    watch->version[0] = watch->list_version[0] = '\0';
    strbuf_clear(&watch->continued);
    watch->pages = 0;
}

static void copy_version(char out[64], const char *version)
{
    if (strlen(version) < 64)
        strcpy(out, version);
}

/* ---- the list ------------------------------------------------------------------------------ */

/* -1: it is no list to go on from. */
static int take_page(struct kube_watch *watch, const struct doc *page, struct error *err)
{
    const struct doc *items = doc_get(page, "items");
    if (!*strbuf_text(&watch->continued))
        watch->callbacks.on_begin(watch->ctx);
    copy_version(watch->list_version, kube_text(page, "metadata", "resourceVersion", NULL));
    for (const struct doc *item = items && items->type == DOC_LIST ? items->first : NULL; item;
         item = item->next)
        watch->callbacks.on_object(watch->ctx, KUBE_LISTED, item);
    strbuf_clear(&watch->continued);
    strbuf_puts(&watch->continued, kube_text(page, "metadata", "continue", NULL));
    if (++watch->pages > PAGES_MAX)
        return error_set(
            err, ERR_TOO_LARGE, "%s: the list has more than %d pages", watch->path, (int)PAGES_MAX);
    if (*strbuf_text(&watch->continued))
        return 0;
    if (!watch->list_version[0])
        return error_set(
            err, ERR_INVALID, "%s: the list has no resourceVersion to watch from", watch->path);
    copy_version(watch->version, watch->list_version);
    watch->pages = 0;
    watch->callbacks.on_synced(watch->ctx);
    return 0;
}

static void on_page(void *ctx, const struct kube_answer *answer)
{
    struct kube_watch *watch = ctx;
    struct error err = {0};
    SCOPED(arena_scope) struct arena *arena = arena_create();
    watch->call = NULL;
    const struct doc *page = kube_answer_doc(answer, arena, watch->path, &err);
    if (!page || take_page(watch, page, &err) < 0) {
        begin_anew(watch); /* a page of a list that is too old, too */
        trouble(watch, err.text);
        wait_then_ask(watch, answer->retry_after_ms);
        return;
    }
    trouble(watch, NULL);
    ask(watch);
}

/* ---- the stream ---------------------------------------------------------------------------- */

static void take_event(struct kube_watch *watch, const struct kube_event *event)
{
    if (event->kind == KUBE_FAILED) {
        watch->too_old = event->status == 410;
        error_set(&watch->refusal, ERR_UNAVAILABLE, "%s: the API server ended the watch: %.300s",
            watch->path, kube_text(event->object, "message", NULL));
        return;
    }
    copy_version(watch->version, event->version);
    watch->news = true;
    if (event->kind != KUBE_BOOKMARK)
        watch->callbacks.on_object(watch->ctx, event->kind, event->object);
}

static bool on_line(void *ctx, const char *line, size_t length, bool cut)
{
    struct kube_watch *watch = ctx;
    struct kube_event event;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    if (length == 0)
        return true;
    if (!cut && kube_event_parse(arena, line, length, &event, &watch->refusal) == 0)
        take_event(watch, &event);
    else if (cut)
        error_set(&watch->refusal, ERR_TOO_LARGE, "%s: an event is too large", watch->path);
    return watch->refusal.code == ERR_NONE;
}

/* Something that cannot be read may have been a change: the list says what is so. */
static void stream_over(struct kube_watch *watch, const struct error *why, int64_t least_ms)
{
    kube_lines_finish(&watch->lines);
    watch->call = NULL;
    if (watch->too_old || (watch->refusal.code && watch->refusal.code != ERR_UNAVAILABLE))
        begin_anew(watch);
    if (why && !watch->too_old)
        trouble(watch, why->text);
    /* Not for a list: where every watch from it fails, lists are asked for ever more seldom. */
    if (watch->news || clock_boot_ms() - watch->asked_ms >= STEADY_MS)
        watch->wait_ms = WAIT_FIRST_MS;
    if (watch->news && !why)
        ask(watch);
    else
        wait_then_ask(watch, least_ms);
}

static bool on_stream(void *ctx, const char *bytes, size_t length)
{
    struct kube_watch *watch = ctx;
    trouble(watch, NULL);
    if (kube_lines_feed(&watch->lines, bytes, length, on_line, watch))
        return true;
    struct error why = watch->refusal;
    stream_over(watch, &why, 0);
    return false;
}

static void on_stream_end(void *ctx, const struct kube_answer *answer)
{
    struct kube_watch *watch = ctx;
    struct error err = {0};
    bool failed = kube_answer_check(answer, watch->path, &err) < 0;
    watch->too_old |= answer->status == 410;
    stream_over(watch, failed ? &err : NULL, answer->retry_after_ms);
}

/* ---- asking -------------------------------------------------------------------------------- */

static void build_target(const struct kube_watch *watch, struct strbuf *out)
{
    int64_t timeout_s = kube_client_timeout_ms(watch->client) * WATCH_TIMEOUTS / 1000;
    strbuf_puts(out, watch->path);
    strbuf_puts(out, "?");
    strbuf_puts(out, watch->query);
    strbuf_puts(out, *watch->query ? "&" : "");
    if (watch->version[0])
        strbuf_printf(out,
            "watch=true&allowWatchBookmarks=true&timeoutSeconds=%lld&resourceVersion=",
            (long long)(timeout_s ? timeout_s : 1));
    else
        strbuf_printf(out, "limit=%d", PAGE_ITEMS);
    url_encode_segment(out, watch->version);
    if (!watch->version[0] && *strbuf_text(&watch->continued)) {
        strbuf_puts(out, "&continue=");
        url_encode_segment(out, strbuf_text(&watch->continued));
    }
}

static void ask(struct kube_watch *watch)
{
    struct strbuf target = {0};
    assert(!watch->call && !event_pending(&watch->timer, EV_TIMEOUT, NULL));
    build_target(watch, &target);
    struct kube_request request = {.method = "GET", .target = target.text};
    watch->refusal = (struct error){0};
    watch->too_old = watch->news = false;
    watch->asked_ms = clock_boot_ms();
    if (watch->version[0]) {
        request.on_piece = on_stream;
        request.timeout_ms = kube_client_timeout_ms(watch->client) * SILENCE_TIMEOUTS;
    }
    watch->call = kube_client_call(
        watch->client, &request, watch->version[0] ? on_stream_end : on_page, watch);
    strbuf_finish(&target);
}

struct kube_watch *kube_watch_start(struct kube_client *client, struct event_base *base,
    const char *path, const char *query, const struct kube_watch_callbacks *callbacks, void *ctx)
{
    struct kube_watch *watch = mem_alloc(1, sizeof *watch);
    watch->client = client;
    watch->callbacks = *callbacks;
    watch->ctx = ctx;
    watch->path = mem_strdup(path);
    watch->query = mem_strdup(query ? query : "");
    watch->wait_ms = WAIT_FIRST_MS;
    watch->lines.line_max = KUBE_EVENT_BYTES_MAX;
    evtimer_assign(&watch->timer, base, on_timer, watch);
    ask(watch);
    return watch;
}

void kube_watch_stop(struct kube_watch *watch)
{
    if (!watch)
        return;
    if (watch->call)
        kube_call_cancel(watch->call);
    event_del(&watch->timer);
    kube_lines_finish(&watch->lines);
    strbuf_finish(&watch->continued);
    free(watch->path);
    free(watch->query);
    free(watch);
}
