/* See services_quiet.h. The clock only wakes: each time all services with quiet hours are composed
 * anew within a tick, by its moment, and those whose replicas would be others get a revision, which
 * is rolled like any. So nothing is remembered, and nothing is missed over a restart. */
#include "server/services_quiet.h"

#include "base/memory.h"
#include "base/quantity.h"
#include "core/hours.h"
#include "server/catalog.h"
#include "server/services_internal.h"
#include "server/status.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOOK_MS = 60000, /* at most so long until the next look: a rollout may have been in the way */
    LATE_MS = 20,    /* after the minute has begun, by whatever clock */
};

struct quiet_clock {
    struct services *services;
    struct event *timer;
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

struct service quiet_service(struct arena *arena, const struct service *service, int64_t now_ms)
{
    struct service ret = *service;
    if (!quiet_holds(&service->quiet, now_ms, NULL))
        return ret;
    ret.resources = service->quiet.resources;
    if (service->quiet.env.count > 0)
        ret.env = lay(arena, &service->quiet.env, &service->env);
    return ret;
}

/* ---- for people ------------------------------------------------------------------------------ */

struct doc *quiet_status(struct arena *arena, const struct service *service, int64_t now_ms)
{
    const struct service_quiet *quiet = &service->quiet;
    size_t window = 0;
    if (quiet->hours.count == 0)
        return NULL;
    struct doc *doc = doc_map(arena);
    bool holds = quiet_holds(quiet, now_ms, &window);
    const struct autoscale_hours *hours = &quiet->hours.items[window];
    doc_set_bool(arena, doc, "holds", holds);
    status_set_time(arena, doc, "mayChange", quiet_next_ms(quiet, now_ms));
    if (holds)
        doc_set_string(arena, doc, "why",
            arena_printf(arena,
                "quiet hours from %s to %s (UTC%s): replicas get spec.quiet.resources", hours->from,
                hours->to, quiet->utc_offset));
    else
        doc_set_string(arena, doc, "why", "outside its quiet hours: replicas get spec.resources");
    return doc;
}

/* ---- the clock ------------------------------------------------------------------------------- */

static int64_t next_look(const struct quiet_clock *clock, int64_t now_ms)
{
    const struct catalog *catalog = clock->services->server->catalog;
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < catalog_count(catalog, KIND_SERVICE); i++) {
        const struct service *service = &catalog_at(catalog, KIND_SERVICE, i)->manifest->service;
        int64_t next = quiet_next_ms(&service->quiet, now_ms);
        least = next < least ? next : least;
    }
    if (least == INT64_MAX)
        return -1;
    int64_t wait = least - now_ms + LATE_MS;
    return wait < LOOK_MS ? wait : LOOK_MS;
}

void quiet_clock_follow(struct quiet_clock *clock)
{
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
    event_free(clock->timer);
    free(clock);
}
