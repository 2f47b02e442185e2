/* See services_quiet.h. The clock only wakes: each time all services that may be quiet are composed
 * anew within a tick, by its moment, and those whose replicas would be others get a revision, which
 * is rolled like any. So of hours nothing is remembered, and nothing is missed over a restart. Of
 * the load it is; after a restart it is as the replicas are that are there. */
#include "server/services_quiet.h"

#include "base/map.h"
#include "base/memory.h"
#include "base/quantity.h"
#include "base/vec.h"
#include "core/hours.h"
#include "core/quiet.h"
#include "server/catalog.h"
#include "server/services_internal.h"
#include "server/status.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOOK_MS = 60000, /* at most so long until the next look: a rollout may have been in the way */
    LATE_MS = 20,    /* after the minute has begun, by whatever clock */
};

/* Of a service whose load decides. */
struct known_load {
    char key[CATALOG_KEY];
    struct quiet_load load;
};

struct quiet_clock {
    struct services *services;
    struct event *timer;
    struct strmap by_key;
    VEC(struct known_load *) loads;
};

/* ---- what replicas are made of --------------------------------------------------------------- */

static bool names(const struct label_list *list, const char *key)
{
    for (size_t i = 0; i < list->count; i++) {
        if (!strcmp(list->items[i].key, key))
            return true;
    }
    return false;
}

/* Those of over, and those of under that it does not name. */
static struct label_list lay(
    struct arena *arena, const struct label_list *over, const struct label_list *under)
{
    struct label_list ret = *over;
    ret.items = arena_alloc(arena, over->count + under->count + 1, sizeof *ret.items);
    for (size_t i = 0; i < over->count; i++)
        ret.items[i] = over->items[i];
    for (size_t i = 0; i < under->count; i++) {
        if (!names(over, under->items[i].key))
            ret.items[ret.count++] = under->items[i];
    }
    return ret;
}

struct service quiet_service(struct arena *arena, const struct service *service,
    const struct quiet_load *load, int64_t now_ms)
{
    struct service ret = *service;
    if (!quiet_holds(&service->quiet, now_ms, NULL) && !(load && load->holds))
        return ret;
    ret.resources = service->quiet.resources;
    if (service->quiet.env.count > 0)
        ret.env = lay(arena, &service->quiet.env, &service->env);
    return ret;
}

/* ---- for people ------------------------------------------------------------------------------ */

static void append_rate(struct strbuf *out, int64_t micro)
{
    strbuf_printf(out, "%" PRId64 ".%02" PRId64, micro / 1000000, micro % 1000000 / 10000);
}

/* "0.40 requests a second; quiet once they are below 2.00 for 10m" */
static const char *load_words(
    struct arena *arena, const struct service_quiet_load *rule, const struct quiet_load *load)
{
    SCOPED(strbuf_finish) struct strbuf out = {0};
    char span[QUANTITY_TEXT];
    quantity_duration(rule->for_ms, span);
    if (load && load->is_measured) {
        append_rate(&out, load->rate_micro);
        strbuf_puts(&out, " requests a second");
    } else {
        strbuf_puts(&out, "requests were not counted for long enough yet");
    }
    if (load && load->holds) {
        strbuf_puts(&out, "; busy from ");
        append_rate(&out, rule->above_micro);
    } else {
        strbuf_puts(&out, "; quiet once they are below ");
        append_rate(&out, rule->below_micro);
        strbuf_printf(&out, " for %s", span);
    }
    return arena_strdup(arena, strbuf_text(&out));
}

static const char *why_words(struct arena *arena, const struct service_quiet *quiet,
    const struct quiet_load *load, int64_t now_ms)
{
    size_t window = 0;
    if (quiet_holds(quiet, now_ms, &window)) {
        const struct autoscale_hours *hours = &quiet->hours.items[window];
        return arena_printf(arena,
            "quiet hours from %s to %s (UTC%s): replicas get spec.quiet.resources", hours->from,
            hours->to, quiet->utc_offset);
    }
    if (load && load->holds)
        return arena_printf(arena, "little is asked (%s): replicas get spec.quiet.resources",
            load_words(arena, &quiet->load, load));
    if (quiet->load.below_micro == 0)
        return "outside its quiet hours: replicas get spec.resources";
    return arena_printf(arena, "%s (%s): replicas get spec.resources",
        quiet->hours.count > 0 ? "outside its quiet hours, and not by its load"
                               : "not quiet by its load",
        load_words(arena, &quiet->load, load));
}

static void set_load(struct arena *arena, struct doc *status, const struct quiet_load *load)
{
    struct doc *doc = doc_set(arena, status, "load", doc_map(arena));
    doc_set_bool(arena, doc, "holds", load->holds);
    if (load->is_measured)
        doc_set_int(arena, doc, "requestsPerSecondMicro", load->rate_micro);
    if (load->calm_since_ms > 0)
        status_set_time(arena, doc, "belowSince", load->calm_since_ms);
    if (load->changed_ms > 0)
        status_set_time(arena, doc, "changed", load->changed_ms);
}

struct doc *quiet_status(struct arena *arena, const struct service *service,
    const struct quiet_load *load, int64_t now_ms)
{
    const struct service_quiet *quiet = &service->quiet;
    if (!quiet_may(service))
        return NULL;
    struct doc *doc = doc_map(arena);
    doc_set_bool(arena, doc, "holds", quiet_holds(quiet, now_ms, NULL) || (load && load->holds));
    if (quiet->hours.count > 0)
        status_set_time(arena, doc, "mayChange", quiet_next_ms(quiet, now_ms));
    doc_set_string(arena, doc, "why", why_words(arena, quiet, load, now_ms));
    if (load)
        set_load(arena, doc, load);
    return doc;
}

bool quiet_may(const struct service *service)
{
    return service->quiet.hours.count > 0 || service->quiet.load.below_micro > 0;
}

/* ---- the load -------------------------------------------------------------------------------- */

static void key_of(const struct service *service, char key[CATALOG_KEY])
{
    snprintf(key, CATALOG_KEY, "%s/%s", service->metadata.team, service->metadata.name);
}

const struct quiet_load *quiet_load_of(
    struct quiet_clock *clock, const struct service *service, bool *first)
{
    char key[CATALOG_KEY];
    key_of(service, key);
    struct known_load *known =
        service->quiet.load.below_micro > 0 ? strmap_get(&clock->by_key, key) : NULL;
    if (first)
        *first = service->quiet.load.below_micro > 0 && !known;
    return known ? &known->load : NULL;
}

void quiet_load_begin(struct quiet_clock *clock, const struct service *service, bool holds)
{
    struct known_load *known = mem_alloc(1, sizeof *known);
    key_of(service, known->key);
    assert(!strmap_get(&clock->by_key, known->key));
    known->load.holds = holds;
    vec_push(&clock->loads, known);
    strmap_put(&clock->by_key, known->key, known);
}

void quiet_load_take(struct quiet_clock *clock, const struct service *service, uint64_t source,
    int64_t at_ms, int64_t arrived)
{
    char key[CATALOG_KEY];
    key_of(service, key);
    struct known_load *known =
        service->quiet.load.below_micro > 0 ? strmap_get(&clock->by_key, key) : NULL;
    const struct quiet_report report = {source, at_ms, arrived};
    if (known && quiet_load_report(&known->load, &service->quiet.load, &report))
        services_follow_quiet(clock->services);
}

/* Of services that are gone, or whose load decides nothing any more. */
static void forget_loads(struct quiet_clock *clock)
{
    const struct catalog *catalog = clock->services->server->catalog;
    for (size_t i = clock->loads.count; i-- > 0;) {
        struct known_load *known = clock->loads.items[i];
        const struct catalog_entry *entry = catalog_find(catalog, KIND_SERVICE, known->key);
        if (entry && entry->manifest->service.quiet.load.below_micro > 0)
            continue;
        strmap_remove(&clock->by_key, known->key);
        vec_remove(&clock->loads, i);
        free(known);
    }
}

/* ---- the clock ------------------------------------------------------------------------------- */

static int64_t next_look(const struct quiet_clock *clock, int64_t now_ms)
{
    const struct catalog *catalog = clock->services->server->catalog;
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < catalog_count(catalog, KIND_SERVICE); i++) {
        const struct service *service = &catalog_at(catalog, KIND_SERVICE, i)->manifest->service;
        int64_t next = quiet_next_ms(&service->quiet, now_ms);
        if (service->quiet.load.below_micro > 0 && next > now_ms + LOOK_MS)
            next = now_ms + LOOK_MS;
        least = next < least ? next : least;
    }
    if (least == INT64_MAX)
        return -1;
    int64_t wait = least - now_ms + LATE_MS;
    return wait < LOOK_MS ? wait : LOOK_MS;
}

void quiet_clock_follow(struct quiet_clock *clock)
{
    forget_loads(clock);
    int64_t wait = next_look(clock, server_now_ms());
    struct timeval delay = {(time_t)(wait / 1000), (suseconds_t)(wait % 1000 * 1000)};
    if (wait < 0)
        event_del(clock->timer);
    else
        event_add(clock->timer, &delay);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct quiet_clock *clock = context;
    (void)fd, (void)what;
    services_follow_quiet(clock->services);
    quiet_clock_follow(clock);
}

struct quiet_clock *quiet_clock_create(struct services *services)
{
    struct quiet_clock *clock = mem_alloc(1, sizeof *clock);
    clock->services = services;
    clock->timer = evtimer_new(services->server->base, on_timer, clock);
    assert(clock->timer);
    return clock;
}

void quiet_clock_destroy(struct quiet_clock *clock)
{
    if (!clock)
        return;
    while (clock->loads.count > 0) {
        free(clock->loads.items[clock->loads.count - 1]);
        vec_remove(&clock->loads, clock->loads.count - 1);
    }
    vec_free(&clock->loads);
    strmap_finish(&clock->by_key);
    event_free(clock->timer);
    free(clock);
}
