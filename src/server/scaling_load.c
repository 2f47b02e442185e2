/* The load of services, asked of the gateway: GET /load/next on its control socket, which is
 * answered after a second or as soon as a service without replicas holds requests. One question is
 * under way at a time. A gateway that does not answer is asked again after a pause; meanwhile there
 * are no figures, and nothing is decided by any. */
#include "server/scaling_internal.h"

#include "base/log.h"
#include "base/memory.h"
#include "server/fetch.h"
#include "server/services_quiet.h"
#include "wire/doc.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LOAD_BYTES_MAX = 8 << 20,
    LOAD_ITEMS_MAX = 1 << 17,
    TIMEOUT_MS = 5000,
    PAUSE_MS = 1000,
    AT_ONCE_MS = 20, /* between two answers, at least */
};

struct load_link {
    struct scaling *scaling;
    struct http_endpoint *endpoint;
    struct fetch *fetch; /* NULL: none under way */
    struct event *timer; /* the pause */
    bool is_up;
};

/* ---- what it says -----------------------------------------------------------------------------
 */

/* Two gateways of one name do not exist: what an incarnation is called is random. */
static uint64_t source_of(const char *incarnation)
{
    return incarnation ? (uint64_t)strtoull(incarnation, NULL, 16) | 1 : 1;
}

/* What is shown of latency is of the last minute or two: the older half goes as a new one begins.
 */
static void take_latency(struct scaled *one, const char *text, int64_t now_ms)
{
    enum { SHOWN_MS = 60000 };
    struct histogram latency;
    if (!text || histogram_read(text, &latency) < 0)
        return;
    bool anew = histogram_count(&latency) < histogram_count(&one->latency);
    if (anew || now_ms - one->before_ms >= SHOWN_MS) {
        one->before = anew ? latency : one->latency;
        one->before_ms = now_ms;
    }
    one->latency = latency;
}

static bool take_one(
    struct scaling *scaling, const struct doc *item, uint64_t source, int64_t now_ms)
{
    const char *key = doc_get_string(item, "service");
    struct scaled *one = key ? scaled_find(scaling, key) : NULL;
    const struct service *service = one ? scaled_service(scaling, one) : NULL;
    if (!service)
        return false;
    take_latency(one, doc_get_string(item, "latency"), now_ms);
    int64_t goal_us = service->autoscale.latency.goal_ms * 1000;
    struct autoscale_load load = {.source = source,
        .at_ms = now_ms,
        .busy_us = doc_get_int(item, "busyUs", 0),
        .arrived = doc_get_int(item, "arrived", 0),
        .ended = doc_get_int(item, "ended", 0),
        .open = doc_get_int(item, "open", 0),
        .waiting = doc_get_int(item, "waiting", 0)};
    if (goal_us > 0) {
        load.timed = (int64_t)histogram_count(&one->latency);
        load.late = (int64_t)histogram_above(&one->latency, goal_us);
    }
    one->load = load;
    quiet_load_take(scaling->services->quiet, service, source, now_ms, load.arrived);
    if (service->autoscale.max > 0)
        autoscale_report(one->scale, &service->autoscale, &load);
    return doc_get_int(item, "held", 0) > 0;
}

static bool take_answer(struct load_link *link, const struct fetch_answer *answer)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc = doc_parse_json_bounded(
        arena, answer->text, answer->length, LOAD_BYTES_MAX, LOAD_ITEMS_MAX, NULL);
    const struct doc *list = doc_get(doc, "services");
    uint64_t source = source_of(doc_get_string(doc, "incarnation"));
    int64_t now_ms = server_now_ms();
    bool held = false;
    for (const struct doc *item = list ? list->first : NULL; item; item = item->next)
        held = take_one(link->scaling, item, source, now_ms) || held;
    return held;
}

/* ---- asking -----------------------------------------------------------------------------------
 */

static void wake_in(struct load_link *link, int64_t ms)
{
    struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    event_add(link->timer, &delay);
}

static void lost(struct load_link *link, const char *text)
{
    if (link->is_up)
        log_warn("the gateway does not say how busy services are, their replicas stay as they "
                 "are: %s",
            text);
    link->is_up = false;
    wake_in(link, PAUSE_MS);
}

static void on_answer(void *context, const struct fetch_answer *answer)
{
    struct load_link *link = context;
    link->fetch = NULL;
    if (answer->status != 200) {
        lost(link, answer->trouble ? answer->trouble : "it answered with another status than 200");
        return;
    }
    link->is_up = true;
    if (take_answer(link, answer))
        scaling_decide(link->scaling);
    wake_in(link, AT_ONCE_MS);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    load_link_ask(context);
}

void load_link_ask(struct load_link *link)
{
    const struct fetch_request request = {
        .target = "/load/next", .timeout_ms = TIMEOUT_MS, .bytes_max = LOAD_BYTES_MAX};
    if (link->fetch || event_pending(link->timer, EV_TIMEOUT, NULL) ||
        link->scaling->items.count == 0)
        return;
    link->fetch = fetch_begin(link->endpoint, &request, on_answer, link);
}

bool load_link_is_up(const struct load_link *link)
{
    return link->is_up;
}

int load_link_create(struct scaling *scaling, struct load_link **ret, struct error *err)
{
    struct load_link *link = mem_alloc(1, sizeof *link);
    struct server *server = scaling->services->server;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    link->scaling = scaling;
    link->timer = event_new(server->base, -1, EV_TIMEOUT, on_timer, link);
    assert(link->timer);
    if (http_endpoint_create(scaling->services->agent,
            arena_printf(arena, "unix:%s/gateway/control.sock", server->config.data_dir), geteuid(),
            &link->endpoint, err) < 0) {
        load_link_destroy(link);
        return -1;
    }
    *ret = link;
    return 0;
}

void load_link_destroy(struct load_link *link)
{
    if (!link)
        return;
    fetch_cancel(link->fetch);
    http_endpoint_release(link->endpoint);
    event_free(link->timer);
    free(link);
}
