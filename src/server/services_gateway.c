/* The server's side of the gateway: the route document (services_routes.c), pushed over the
 * gateway's control socket whenever it changed; and the status that is asked for while replicas
 * drain.
 *
 * Generations are (epoch of the store, number): they ascend over restarts of the server without
 * being stored. One exchange is under way at a time, so that changes that come meanwhile are pushed
 * together. A gateway that is away is tried again with a growing pause; it serves on with what it
 * has on disk. */
#include "server/services_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "core/core.h"
#include "engine/engine.h"
#include "server/fetch.h"
#include "store/store.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    DRAIN_POLL_MS = 50,
    CALM_POLL_MS = 5000, /* a gateway that was started anew is found within this */
    BACKOFF_MS = 100,
    BACKOFF_MAX_MS = 5000,
    TIMEOUT_MS = 5000,
    STATUS_BYTES_MAX = 4 << 20,
};

static void strbuf_scope(struct strbuf *buf)
{
    strbuf_finish(buf);
}

enum link_state { LINK_UNKNOWN, LINK_UP, LINK_DOWN };

struct gateway_link {
    struct services *services;
    struct http_endpoint *endpoint;
    struct fetch *fetch; /* NULL: none under way */
    struct event *timer;
    enum link_state state;
    bool pushing;       /* it is a PUT, else a GET */
    int64_t sending;    /* the generation that is pushed, or that was current when the GET began */
    int64_t generation; /* of the document below */
    int64_t acked;      /* the newest that the gateway took */
    int64_t backoff_ms;
    char *document;      /* with generation 0: what changed is seen by comparing texts */
    bool connected_once; /* said in the log */
};

/* ---- exchanges ------------------------------------------------------------------------------ */

static void step(struct gateway_link *link);

/* Whether no gateway is there: the last try to reach it failed. */
static bool is_down(const struct gateway_link *link)
{
    return link->state == LINK_DOWN;
}

static void wake_in(struct gateway_link *link, int64_t ms)
{
    struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    event_add(link->timer, &delay);
}

static bool anybody_drains(const struct services *services)
{
    for (size_t i = 0; i < services->replicas.count; i++) {
        if (services->replicas.items[i]->draining)
            return true;
    }
    return false;
}

/* Whoever waits to be stopped is looked at again when what it waits for may have changed. */
static void release_drained(struct services *services)
{
    int64_t now = server_now_ms();
    for (size_t i = 0; i < services->replicas.count; i++) {
        const struct replica *replica = services->replicas.items[i];
        if (replica->draining &&
            (replica->idle || now >= replica->drain_ends || is_down(services->link))) {
            services_kick(services);
            return;
        }
    }
}

static void came(struct gateway_link *link)
{
    link->backoff_ms = BACKOFF_MS;
    if (link->state != LINK_UP && !link->connected_once)
        log_info("the gateway has the routes");
    link->connected_once = true;
    link->state = LINK_UP;
}

static void lost(struct gateway_link *link, const char *text)
{
    if (link->state == LINK_UP)
        log_warn("the gateway cannot be reached, it is tried again: %s", text);
    link->connected_once = false;
    link->state = LINK_DOWN;
    wake_in(link, link->backoff_ms);
    link->backoff_ms *= 2;
    if (link->backoff_ms > BACKOFF_MAX_MS)
        link->backoff_ms = BACKOFF_MAX_MS;
    release_drained(link->services);
}

/* Its state is ahead of ours, which a restored backup brings about: we go on from there. */
static void go_beyond(struct gateway_link *link, int64_t generation)
{
    if (generation >= link->generation)
        link->generation = generation + 1;
}

static int64_t outstanding_of(const struct doc *endpoints, uint64_t job)
{
    /* A replica whose address changed is there more than once: see gateway/gateway.h. */
    int64_t outstanding = 0;
    for (const struct doc *item = endpoints ? endpoints->first : NULL; item; item = item->next) {
        if (doc_get_int(item, "replica", 0) == (int64_t)job)
            outstanding += doc_get_int(item, "outstanding", 0);
    }
    return outstanding;
}

static void read_status(struct gateway_link *link, const struct fetch_answer *answer)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct services *services = link->services;
    const struct doc *doc =
        doc_parse_json(arena, answer->text, answer->length, STATUS_BYTES_MAX, NULL);
    int64_t generation = doc_get_int(doc, "generation", 0);
    if (!doc) {
        lost(link, "its status is no JSON");
        return;
    }
    came(link);
    if (generation > link->acked)
        go_beyond(link, generation);
    link->acked = generation < link->acked ? generation : link->acked;
    /* Only a status that was asked for after the last document was taken says that nobody sends
     * anything to a replica any more. */
    if (link->sending != link->generation || link->acked != link->generation)
        return;
    for (size_t i = 0; i < services->replicas.count; i++) {
        struct replica *replica = services->replicas.items[i];
        if (replica->draining)
            replica->idle = outstanding_of(doc_get(doc, "endpoints"), replica->job) == 0;
    }
    release_drained(services);
}

static void on_status(struct gateway_link *link, const struct fetch_answer *answer)
{
    read_status(link, answer);
    if (!link->fetch && link->state == LINK_UP)
        wake_in(link, link->acked != link->generation  ? 0
                      : anybody_drains(link->services) ? DRAIN_POLL_MS
                                                       : CALM_POLL_MS);
}

static void on_refused(struct gateway_link *link, const struct fetch_answer *answer)
{
    char text[300];
    snprintf(text, sizeof text, "%s was answered with %d: %.200s",
        link->pushing ? "PUT /routes" : "GET /status", answer->status, answer->text);
    log_warn("the gateway refuses: %s", text);
    lost(link, text);
}

static void on_answer(void *context, const struct fetch_answer *answer)
{
    struct gateway_link *link = context;
    link->fetch = NULL;
    if (answer->trouble) {
        lost(link, answer->trouble);
    } else if (link->pushing && answer->status == 204) {
        link->acked = link->sending;
        came(link);
        step(link);
    } else if (link->pushing && answer->status == 409) {
        /* Its status says how far it is. */
        link->acked = link->generation;
        step(link);
    } else if (!link->pushing && answer->status == 200) {
        on_status(link, answer);
    } else {
        on_refused(link, answer);
    }
}

/* What is pushed is what was stored when it was composed, not what a commit under way adds. */
static void with_generation(const struct gateway_link *link, struct strbuf *out)
{
    static const char zero[] = "\"generation\":0";
    const char *at = strstr(link->document, zero);
    assert(at);
    strbuf_append(out, link->document, (size_t)(at - link->document));
    strbuf_printf(out, "\"generation\":%" PRId64, link->generation);
    strbuf_puts(out, at + sizeof zero - 1);
}

static void begin(struct gateway_link *link, bool push)
{
    SCOPED(strbuf_scope) struct strbuf body = {0};
    if (push)
        with_generation(link, &body);
    const struct fetch_request request = {.method = push ? "PUT" : "GET",
        .target = push ? "/routes" : "/status",
        .body = push ? strbuf_text(&body) : NULL,
        .length = body.length,
        .timeout_ms = TIMEOUT_MS,
        .bytes_max = STATUS_BYTES_MAX};
    link->pushing = push;
    link->sending = link->generation;
    link->fetch = fetch_begin(link->endpoint, &request, on_answer, link);
}

static void step(struct gateway_link *link)
{
    if (link->fetch)
        return;
    event_del(link->timer);
    begin(link, link->acked != link->generation);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    release_drained(((struct gateway_link *)context)->services);
    step(context);
}

/* ---- for the other parts --------------------------------------------------------------------- */

void gateway_link_follow(struct gateway_link *link)
{
    if (!link->services->dirty)
        return;
    link->services->dirty = false;
    char *document = services_compose_routes(link->services);
    if (link->document && strcmp(link->document, document) == 0) {
        free(document);
        return;
    }
    free(link->document);
    link->document = document;
    link->generation++;
    /* A gateway that is away is tried again when its pause is over, or at once the first time. */
    if (link->state != LINK_DOWN)
        step(link);
}

/* A replica waits for the gateway to let go of it. */
static void ask_soon(struct gateway_link *link)
{
    if (!link->fetch && link->state == LINK_UP)
        wake_in(link, 0);
}

const char *gateway_link_text(const struct gateway_link *link, struct arena *arena)
{
    if (link->state != LINK_UP)
        return link->state == LINK_DOWN ? "cannot be reached; it serves on with the routes it has, "
                                          "if it runs"
                                        : "not asked yet";
    return arena_printf(arena, "%s",
        link->acked == link->generation ? "has the routes" : "is about to get the routes");
}

struct gateway_link *gateway_link_create(struct services *services, struct error *err)
{
    struct gateway_link *link = mem_alloc(1, sizeof *link);
    struct server *server = services->server;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    link->services = services;
    link->backoff_ms = BACKOFF_MS;
    link->generation = store_epoch(server->store) << 32;
    link->timer = event_new(server->base, -1, EV_TIMEOUT, on_timer, link);
    assert(link->timer);
    if (http_endpoint_create(services->agent,
            arena_printf(arena, "unix:%s/gateway/control.sock", server->config.data_dir), geteuid(),
            &link->endpoint, err) < 0) {
        event_free(link->timer);
        free(link);
        return NULL;
    }
    return link;
}

void gateway_link_destroy(struct gateway_link *link)
{
    if (!link)
        return;
    fetch_cancel(link->fetch);
    http_endpoint_release(link->endpoint);
    event_free(link->timer);
    free(link->document);
    free(link);
}

/* ---- draining ---------------------------------------------------------------------------------
 */

/* How long requests under way may take: as the service says now, or said when it was deleted. */
static int64_t drain_ms(struct services *services, const struct replica *replica)
{
    const struct revision *revision =
        services_revision_of(services, replica->service, replica->revision);
    return revision ? revision->service.drain_ms : 0;
}

bool services_may_stop(struct services *services, const struct attempt_row *attempt)
{
    const struct replica_row *row = core_replica_of(services->server->core, attempt->job);
    if (!row || attempt->state != ATTEMPT_STARTED || row->attempt != attempt->id ||
        attempt->stop_reason == END_UNHEALTHY)
        return true; /* no replica, or one that was never asked or answers nobody */
    struct replica *replica = services_replica(services, attempt->job);
    if (!replica || replica->attempt != attempt->id)
        return true;
    replica->drain_ends = attempt->stop_ms + drain_ms(services, replica);
    bool may = replica->idle || server_now_ms() >= replica->drain_ends || is_down(services->link);
    if (!may && !replica->draining)
        ask_soon(services->link);
    replica->draining = !may;
    return may;
}
