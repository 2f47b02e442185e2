/* Scaling: see scaling.h. Once a second, and as soon as a gateway holds requests of a service
 * without replicas, every service that is scaled is looked at: its figures go into its rule, and
 * where that wants another number a command takes it to the core. What is remembered of a service
 * goes with it. */
#include "server/scaling_internal.h"

#include "base/log.h"
#include "base/memory.h"
#include "core/core.h"
#include "server/ticker.h"
#include "spec/serving.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOLD_WAIT_MS = 60000, SHOWN_MS = 60000 };

/* ---- options --------------------------------------------------------------------------------- */

int32_t scaling_first(const struct service *service, int32_t had)
{
    const struct service_autoscale *scale = &service->autoscale;
    int64_t count = had >= 0 ? had : service->replicas;
    if (scale->max == 0)
        return (int32_t)service->replicas;
    count = count > scale->max ? scale->max : count;
    return (int32_t)(count < scale->min ? scale->min : count);
}

const struct hpa *scaling_hpa(const struct server *server, const char *team, const char *name)
{
    for (size_t i = 0; i < catalog_count(server->catalog, KIND_HPA); i++) {
        const struct hpa *hpa = &catalog_at(server->catalog, KIND_HPA, i)->manifest->hpa;
        if (!strcmp(hpa->metadata.team, team) && !strcmp(hpa->target, name))
            return hpa;
    }
    return NULL;
}

struct service_gateway scaling_gateway_options(
    const struct server *server, const struct service *service)
{
    struct service_gateway options = service->gateway;
    const struct service_autoscale *scale = &service->autoscale;
    if (scale->max == 0 && service->quiet.load.below_micro == 0 &&
        !scaling_hpa(server, service->metadata.team, service->metadata.name))
        return options;
    options.measure = scale->latency.goal_ms > 0 ? scale->latency.of : LATENCY_WHOLE;
    if (scale->max > 0 && scale->min == 0 && options.hold.wait_ms == 0)
        options.hold.wait_ms = HOLD_WAIT_MS;
    return options;
}

/* ---- which services -------------------------------------------------------------------------- */

struct scaled *scaled_find(const struct scaling *scaling, const char *key)
{
    return strmap_get(&scaling->by_key, key);
}

const struct service *scaled_service(const struct scaling *scaling, const struct scaled *one)
{
    const struct catalog_entry *entry =
        catalog_find(scaling->services->server->catalog, KIND_SERVICE, one->key);
    return entry ? &entry->manifest->service : NULL;
}

int scaled_metric(const struct service *service, const char *name)
{
    for (size_t i = 0; i < service->metrics.count; i++) {
        if (!strcmp(service->metrics.items[i].name, name))
            return (int)i;
    }
    return -1;
}

/* Whether its number of replicas is not fixed. Others are there for their load alone. */
static bool has_rule(const struct server *server, const struct service *service)
{
    return service->autoscale.max > 0 ||
           scaling_hpa(server, service->metadata.team, service->metadata.name);
}

bool scaling_covers(const struct scaling *scaling, const char *team, const char *name)
{
    char key[CATALOG_KEY];
    snprintf(key, sizeof key, "%s/%s", team, name);
    const struct scaled *one = scaling ? scaled_find(scaling, key) : NULL;
    const struct service *service = one ? scaled_service(scaling, one) : NULL;
    return service && has_rule(scaling->services->server, service);
}

static void remove_at(struct scaling *scaling, size_t i)
{
    struct scaled *one = scaling->items.items[i];
    strmap_remove(&scaling->by_key, one->key);
    vec_remove(&scaling->items, i);
    feeds_finish(one);
    use_finish(one);
    autoscale_destroy(one->scale);
    free(one);
}

static void note_service(struct scaling *scaling, const struct catalog_entry *entry)
{
    struct scaled *one = scaled_find(scaling, entry->name);
    struct server *server = scaling->services->server;
    const struct metadata *metadata = &entry->manifest->service.metadata;
    if (!has_rule(server, &entry->manifest->service) &&
        entry->manifest->service.quiet.load.below_micro == 0)
        return;
    if (!one) {
        one = mem_alloc(1, sizeof *one);
        snprintf(one->key, sizeof one->key, "%s", entry->name);
        one->scale = autoscale_create();
        vec_push(&scaling->items, one);
        strmap_put(&scaling->by_key, one->key, one);
    }
    one->seen = true;
    one->service = core_service_find(server->core, metadata->team, metadata->name);
}

static void wake_in(struct scaling *scaling, int64_t ms)
{
    struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    event_add(scaling->timer, &delay);
}

void scaling_follow(struct scaling *scaling)
{
    const struct catalog *catalog = scaling->services->server->catalog;
    for (size_t i = 0; i < scaling->items.count; i++)
        scaling->items.items[i]->seen = false;
    for (size_t i = 0; i < catalog_count(catalog, KIND_SERVICE); i++)
        note_service(scaling, catalog_at(catalog, KIND_SERVICE, i));
    for (size_t i = scaling->items.count; i-- > 0;) {
        if (!scaling->items.items[i]->seen)
            remove_at(scaling, i);
    }
    if (scaling->items.count == 0)
        return;
    load_link_ask(scaling->link);
    if (!event_pending(scaling->timer, EV_TIMEOUT, NULL))
        wake_in(scaling, AUTOSCALE_TICK_MS);
}

/* ---- what replicas say ------------------------------------------------------------------------
 */

struct tally {
    struct scaling *scaling;
    struct idmap by_service; /* struct scaled */
    int64_t now_ms;
};

/* How long it took from being asked for: learned once of each replica, the first time it is ready.
 */
static void learn_start(struct tally *tally, struct scaled *one, const struct replica_row *row)
{
    const struct job_row *job = core_job(tally->scaling->services->server->core, row->job);
    if (row->number <= one->started || !job || job->attempts > 1)
        return;
    autoscale_started(one->scale, row->since_ms - job->submitted_ms);
    one->started = row->number;
}

static void tally_replica(void *context, enum row_kind kind, const void *data)
{
    struct tally *tally = context;
    const struct replica_row *row = data;
    struct scaled *one = idmap_get(&tally->by_service, row->service);
    (void)kind;
    if (!one || !row->ready)
        return;
    one->ready += row->arm == ARM_MAIN;
    learn_start(tally, one, row);
    use_add(tally->scaling, one, row, tally->now_ms);
}

static void tally_replicas(struct scaling *scaling, int64_t now_ms)
{
    struct tally tally = {.scaling = scaling, .now_ms = now_ms};
    for (size_t i = 0; i < scaling->items.count; i++) {
        struct scaled *one = scaling->items.items[i];
        one->ready = 0;
        use_begin(one);
        if (one->service)
            idmap_put(&tally.by_service, one->service, one);
    }
    core_row_each(scaling->services->server->core, ROW_REPLICA, tally_replica, &tally);
    idmap_finish(&tally.by_service);
}

/* ---- deciding -------------------------------------------------------------------------------- */

struct scale_command {
    uint64_t service;
    int32_t replicas;
    enum autoscale_reason reason;
};

static int run_scale(struct tick *tick, void *context, struct error *err)
{
    const struct scale_command *command = context;
    return core_service_scale(
        tick_core(tick), command->service, command->replicas, (int32_t)command->reason, err);
}

static enum autoscale_reason deciding_reason(const struct autoscale_decision *decision)
{
    return decision->bound != AUTOSCALE_NO_DATA ? decision->bound : decision->reason;
}

static void give_figures(
    const struct service_autoscale *options, const struct service *service, struct scaled *one)
{
    if (one->accelerator.count > 0)
        autoscale_accelerator(one->scale, &one->accelerator);
    for (size_t i = 0; i < options->metrics.count; i++) {
        int at = scaled_metric(service, options->metrics.items[i].name);
        struct autoscale_sample sample = {0};
        if (at >= 0 && one->sources[at])
            sample = metric_sample(one->sources[at]);
        autoscale_metric(one->scale, i, &sample);
    }
}

/* False: it is not time yet. */
static bool ask_rule(struct scaling *scaling, struct scaled *one, const struct service *service,
    const struct autoscale_now *now)
{
    const struct metadata *metadata = &service->metadata;
    const struct hpa *hpa = scaling_hpa(scaling->services->server, metadata->team, metadata->name);
    if (service->autoscale.max > 0) {
        give_figures(&service->autoscale, service, one);
        autoscale_decide(one->scale, &service->autoscale, now, &one->decision);
        return true;
    }
    struct hpa_reading readings[AUTOSCALE_METRICS_MAX];
    if (!hpa)
        return false;
    hpa_read(one, service, hpa, now->now_ms, readings);
    /* Nothing is known of replicas that were only just asked for: Kubernetes waits, too. */
    return hpa_decide(&one->hpa, hpa, now, readings, &one->decision);
}

static void decide_one(struct scaling *scaling, struct scaled *one, int64_t now_ms)
{
    struct server *server = scaling->services->server;
    const struct service *service = scaled_service(scaling, one);
    const struct service_row *row = one->service ? core_service(server->core, one->service) : NULL;
    if (!service || !row || row->deleted)
        return;
    if (!has_rule(server, service))
        return;
    feeds_follow(scaling, one, service, now_ms);
    struct autoscale_now now = {.now_ms = now_ms, .wanted = row->replicas, .ready = one->ready};
    if (!ask_rule(scaling, one, service, &now))
        return;
    one->decided = true;
    one->decided_ms = now_ms;
    if (one->decision.wanted == row->replicas)
        return;
    one->changed_ms = now_ms;
    one->from = row->replicas;
    one->why = deciding_reason(&one->decision);
    struct scale_command *command = mem_alloc(1, sizeof *command);
    *command = (struct scale_command){one->service, one->decision.wanted, one->why};
    ticker_report(server->ticker, "autoscale", run_scale, free, command);
}

void scaling_decide(struct scaling *scaling)
{
    struct server *server = scaling->services->server;
    int64_t now_ms = server_now_ms();
    /* The core is the commit's until it is over; a second later is soon enough. */
    if (server->stopping || ticker_busy(server->ticker) || ticker_trouble(server->ticker))
        return;
    tally_replicas(scaling, now_ms);
    for (size_t i = 0; i < scaling->items.count; i++)
        decide_one(scaling, scaling->items.items[i], now_ms);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct scaling *scaling = context;
    (void)fd, (void)what;
    if (scaling->items.count == 0)
        return;
    load_link_ask(scaling->link);
    scaling_decide(scaling);
    wake_in(scaling, AUTOSCALE_TICK_MS);
}

/* ---- life ------------------------------------------------------------------------------------ */

int scaling_create(struct services *services, struct scaling **ret, struct error *err)
{
    struct scaling *scaling = mem_alloc(1, sizeof *scaling);
    scaling->services = services;
    scaling->timer = event_new(services->server->base, -1, EV_TIMEOUT, on_timer, scaling);
    assert(scaling->timer);
    if (load_link_create(scaling, &scaling->link, err) < 0) {
        scaling_destroy(scaling);
        return -1;
    }
    *ret = scaling;
    return 0;
}

void scaling_destroy(struct scaling *scaling)
{
    if (!scaling)
        return;
    load_link_destroy(scaling->link);
    while (scaling->items.count > 0)
        remove_at(scaling, scaling->items.count - 1);
    vec_free(&scaling->items);
    strmap_finish(&scaling->by_key);
    event_free(scaling->timer);
    free(scaling);
}
