/* Services as they are applied, and as what they follow changes: composed, and put into the core
 * with a revision where their replicas would be others. See services.h. */
#include "server/services.h"

#include "base/log.h"
#include "base/strbuf.h"
#include "core/core.h"
#include "core/hours.h"
#include "core/quiet.h"
#include "server/catalog.h"
#include "server/identity.h"
#include "server/scaling.h"
#include "server/services_internal.h"
#include "server/services_quiet.h"
#include "server/ticker.h"
#include "server/versions.h"
#include "spec/reference.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "team/name": {"by": user}, of services of another team's model. */
static const char applied_collection[] = "service-applied";

/* ---- applying ------------------------------------------------------------------------------ */

static int check_route(
    const struct catalog *catalog, const struct service *service, struct error *err)
{
    char key[CATALOG_KEY];
    catalog_key(KIND_SERVICE, &service->metadata, key);
    for (size_t i = 0; i < catalog_count(catalog, KIND_SERVICE); i++) {
        const struct catalog_entry *other = catalog_at(catalog, KIND_SERVICE, i);
        if (strcmp(other->name, key) != 0 &&
            strcmp(service_route(&other->manifest->service), service_route(service)) == 0)
            return error_set(err, ERR_CONFLICT,
                "spec.route: \"%s\" is the route of another service; choose another name",
                service_route(service));
    }
    return 0;
}

static const struct runtime *find_runtime(const struct catalog *catalog,
    const struct service *service, const struct model *model, struct error *err)
{
    const char *name = service->runtime ? service->runtime : model->runtime;
    const struct catalog_entry *entry = name ? catalog_find(catalog, KIND_RUNTIME, name) : NULL;
    if (entry)
        return &entry->manifest->runtime;
    if (name)
        error_set(err, ERR_NOT_FOUND, "spec.runtime: there is no runtime %s", name);
    else
        error_set(err, ERR_INVALID, "spec.runtime: neither the service nor the model %s names one",
            service->model);
    return NULL;
}

/* What the reference means now. A stage that nobody holds yet, and a model without versions, are
 * waited for: *ret_found is false then. */
static int find_version(struct tick *tick, const struct service *service, struct version *ret,
    bool *ret_found, struct error *err)
{
    struct reference reference;
    if (reference_parse(service->model, &reference, err) < 0)
        return error_prefix(err, "spec.model");
    *ret_found = versions_resolve(tick_server(tick), tick_arena(tick), KIND_MODEL,
                     service->metadata.team, &reference, ret, err) == 0;
    if (*ret_found)
        return 0;
    if (err->code == ERR_NOT_FOUND && reference.which != REFERENCE_VERSION)
        return 0;
    return error_prefix(err, "spec.model");
}

/* load: what is known of it; NULL: nothing is. */
static int compose_by(struct tick *tick, const struct service *service,
    const struct quiet_load *load, const struct doc **ret, struct error *err)
{
    const struct catalog *catalog = tick_server(tick)->catalog;
    struct reference reference;
    struct version version;
    bool found;
    if (reference_parse(service->model, &reference, err) < 0)
        return error_prefix(err, "spec.model");
    const char *team = reference.team[0] ? reference.team : service->metadata.team;
    const struct catalog_entry *model = catalog_find_in(catalog, KIND_MODEL, team, reference.name);
    if (!model)
        return error_set(
            err, ERR_NOT_FOUND, "spec.model: there is no model %s/%s", team, reference.name);
    const struct runtime *runtime = find_runtime(catalog, service, &model->manifest->model, err);
    if (!runtime || find_version(tick, service, &version, &found, err) < 0)
        return -1;
    const struct service now = quiet_service(tick_arena(tick), service, load, tick_now(tick));
    *ret = revision_compose(tick_arena(tick), &now, runtime, found ? &version : NULL);
    return 0;
}

/* After a restart nothing is known of the load: whether it was quiet is seen by the revision that
 * is there, so that no replica goes for a restart. */
static int learn_quiet(struct tick *tick, const struct service *service,
    const struct revision *before, struct error *err)
{
    const struct quiet_load quiet = {.holds = true};
    const struct doc *as_quiet;
    bool by_hours = quiet_holds(&service->quiet, tick_now(tick), NULL);
    if (before && compose_by(tick, service, &quiet, &as_quiet, err) < 0)
        return -1;
    quiet_load_begin(tick_server(tick)->services->quiet, service,
        before && !by_hours && doc_equal(before->doc, as_quiet));
    return 0;
}

static int compose(
    struct tick *tick, const struct service *service, const struct doc **ret, struct error *err)
{
    struct services *services = tick_server(tick)->services;
    const char *team = service->metadata.team, *name = service->metadata.name;
    uint64_t id = core_service_find(tick_core(tick), team, name);
    const struct service_row *row = id ? core_service(tick_core(tick), id) : NULL;
    bool first;
    (void)quiet_load_of(services->quiet, service, &first);
    if (first &&
        learn_quiet(tick, service,
            row ? services_revision_named(services, team, name, row->revision) : NULL, err) < 0)
        return -1;
    return compose_by(tick, service, quiet_load_of(services->quiet, service, NULL), ret, err);
}

/* As the core takes it: every number in its unit, every step there is. */
static struct rollout_plan rollout_plan_of(const struct service_rollout *rollout)
{
    static const int32_t strategies[] = {
        [STRATEGY_NONE] = ROLLOUT_PLAIN,
        [STRATEGY_CANARY] = ROLLOUT_CANARY,
        [STRATEGY_BLUE_GREEN] = ROLLOUT_BLUE_GREEN,
        [STRATEGY_SHADOW] = ROLLOUT_SHADOW,
    };
    static const int32_t usual[] = {5, 20, 50};
    bool canary = rollout->strategy == STRATEGY_CANARY;
    struct rollout_plan plan = {
        .strategy = strategies[rollout->strategy],
        .steps = canary ? ARRAY_LEN(usual) : 1,
        .weights = {50},
        .patience_ms = rollout->patience_ms,
        .by_time = rollout->by_time,
        .give_up = rollout->give_up,
        .requests_min = rollout->requests,
        .alpha_ppm = rollout->alpha_micro,
        .error_margin_ppm = rollout->margins.errors_micro,
        .latency_margin_ppm = rollout->margins.latency_micro,
        .quality_margin_ppm = rollout->margins.quality_micro,
        .guard_requests = rollout->guard.requests,
        .guard_errors_ppm = rollout->guard.errors_micro,
        .guard_p99_us = rollout->guard.p99_ms * 1000,
        .differences_ppm = rollout->margins.differences_micro,
    };
    if (canary)
        memcpy(plan.weights, usual, sizeof usual);
    if (rollout->steps.count > 0)
        plan.steps = (int32_t)rollout->steps.count;
    for (size_t i = 0; i < rollout->steps.count; i++) {
        plan.weights[i] = (int32_t)rollout->steps.items[i].weight;
        plan.bakes_ms[i] = rollout->steps.items[i].bake_ms;
    }
    return plan;
}

/* plain: whatever spec.rollout says, it is rolled without being tried. */
static int put_composed(struct tick *tick, const struct service *service, const struct doc *doc,
    bool plain, struct error *err)
{
    struct services *services = tick_server(tick)->services;
    struct core *core = tick_core(tick);
    const char *team = service->metadata.team, *name = service->metadata.name;
    uint64_t id = core_service_find(core, team, name);
    const struct service_row *row = id ? core_service(core, id) : NULL;
    const struct revision *before =
        row ? services_revision_named(services, team, name, row->revision) : NULL;
    bool renew = !before || !doc_equal(before->doc, doc);
    struct core_service wanted = {
        .team = team,
        .name = name,
        .replicas = scaling_hpa(tick_server(tick), team, name) && row
                        ? row->replicas
                        : scaling_first(service, row ? row->replicas : -1),
        .surge = (int32_t)service->rollout.surge,
        .unavailable = (int32_t)service->rollout.unavailable,
        .renew = renew,
        .rollout = rollout_plan_of(&service->rollout),
    };
    if (plain)
        wanted.rollout.strategy = ROLLOUT_PLAIN;
    int32_t number;
    if (core_service_put(core, &wanted, &id, &number, err) < 0)
        return -1;
    services->dirty = true;
    if (!renew)
        return 0;
    return services_add_revision(tick, team, name, number, doc, err);
}

/* ---- models of other teams ------------------------------------------------------------------ */

/* The team of the model when it is not the service's own, else NULL. */
static const char *lending_team(struct arena *arena, const struct service *service)
{
    struct reference reference;
    if (reference_parse(service->model, &reference, NULL) < 0 || !reference.team[0] ||
        strcmp(reference.team, service->metadata.team) == 0)
        return NULL;
    return arena_strdup(arena, reference.team);
}

static const char *applied_key(struct arena *arena, const struct service *service)
{
    return arena_printf(arena, "%s/%s", service->metadata.team, service->metadata.name);
}

/* Who applied it is kept with a service of another team's model: what that team makes later goes to
 * the service only as long as they may see it. */
static void note_applied(struct tick *tick, const struct service *service)
{
    struct arena *arena = tick_arena(tick);
    const char *key = applied_key(arena, service);
    struct strbuf json = {0};
    if (!lending_team(arena, service))
        return;
    strbuf_puts(&json, "{\"by\":");
    strbuf_json(&json, tick_actor(tick));
    strbuf_putc(&json, '}');
    store_txn_put_document(tick_txn(tick), applied_collection, key, service->metadata.team,
        strbuf_text(&json), tick_now(tick));
    strbuf_finish(&json);
    /* The reader shows it after the commit. */
    tick_note(tick, arena_printf(arena, "%s/%s", applied_collection, key),
        (void *)(uintptr_t)tick_actor(tick));
}

/* Whether the service may be given what its model's team has made since. */
static int check_lent(struct tick *tick, const struct service *service, struct error *err)
{
    struct server *server = tick_server(tick);
    struct arena *arena = tick_arena(tick);
    const char *team = lending_team(arena, service), *key = applied_key(arena, service);
    SCOPED(mem_scope) char *json = NULL;
    struct identity identity = {0};
    if (!team)
        return 0;
    const char *by = tick_noted(tick, arena_printf(arena, "%s/%s", applied_collection, key));
    if (!by && reader_document(server->reader, applied_collection, key, &json, NULL, NULL) == 0)
        by = doc_get_string(doc_parse_json(arena, json, strlen(json), DOC_BYTES_MAX, NULL), "by");
    snprintf(identity.user, sizeof identity.user, "%s", by ? by : "");
    /* The machine's administrator, who needs no role; only administrators make tokens. */
    identity.administrator = strcmp(identity.user, "root") == 0;
    if (identity_role(server->catalog, &identity, team) >= ROLE_VIEWER)
        return 0;
    return error_set(err, ERR_DENIED,
        "%s, who applied it, may not see models of the team %s any more; apply a change of it "
        "as somebody who may",
        by ? by : "nobody", team);
}

int services_put(struct tick *tick, const struct service *service, struct error *err)
{
    const struct doc *doc;
    if (check_route(tick_server(tick)->catalog, service, err) < 0 ||
        compose(tick, service, &doc, err) < 0 || put_composed(tick, service, doc, false, err) < 0)
        return -1;
    note_applied(tick, service);
    return 0;
}

int services_delete(struct tick *tick, const char *team, const char *name, struct error *err)
{
    uint64_t id = core_service_find(tick_core(tick), team, name);
    tick_server(tick)->services->dirty = true;
    store_txn_delete_document(
        tick_txn(tick), applied_collection, arena_printf(tick_arena(tick), "%s/%s", team, name));
    return id ? core_service_delete(tick_core(tick), id, err) : 0;
}

/* ---- following ----------------------------------------------------------------------------- */

/* Which services are looked at again; all of them when none is named. */
struct follow {
    char team[64];
    char model[64];
    char runtime[64];
    bool quiet; /* those that may be quiet, for that alone */
};

static bool follows(
    const struct follow *follow, const struct catalog *catalog, const struct service *service)
{
    struct reference reference;
    if (follow->quiet)
        return quiet_may(service);
    if (reference_parse(service->model, &reference, NULL) < 0)
        return false;
    const char *team = reference.team[0] ? reference.team : service->metadata.team;
    if (follow->model[0])
        return strcmp(team, follow->team) == 0 && strcmp(reference.name, follow->model) == 0;
    if (!follow->runtime[0])
        return true;
    const struct catalog_entry *model = catalog_find_in(catalog, KIND_MODEL, team, reference.name);
    const char *runtime = service->runtime ? service->runtime
                          : model          ? model->manifest->model.runtime
                                           : NULL;
    return runtime && strcmp(runtime, follow->runtime) == 0;
}

/* Whether a revision is being tried, or was and failed: hours are no reason to bring it in. */
static bool is_tried(const struct core *core, uint64_t service)
{
    const struct rollout_row *rollout = core_rollout(core, service);
    return rollout && rollout->state != ROLLOUT_IDLE && rollout->state != ROLLOUT_PROMOTED;
}

/* A service whose revision would be another now gets it. What cannot be composed (its stage is
 * empty now) leaves the replicas there are alone. */
static void follow_one(struct tick *tick, const struct service *service, bool quiet)
{
    struct core *core = tick_core(tick);
    const char *team = service->metadata.team, *name = service->metadata.name;
    uint64_t id = core_service_find(core, team, name);
    const struct service_row *row = id ? core_service(core, id) : NULL;
    const struct revision *before =
        row ? services_revision_named(tick_server(tick)->services, team, name, row->revision)
            : NULL;
    const struct doc *doc;
    struct error err;
    if (quiet && (!row || is_tried(core, id)))
        return;
    if (compose(tick, service, &doc, &err) < 0) {
        log_warn("the service %s/%s stays as it is: %s", team, name, err.text);
        return;
    }
    if (before && (doc_equal(before->doc, doc) || (before->model_name && !doc_get(doc, "model"))))
        return;
    if (check_lent(tick, service, &err) < 0 || put_composed(tick, service, doc, quiet, &err) < 0)
        log_warn("the service %s/%s stays as it is: %s", team, name, err.text);
}

static int run_follow(struct tick *tick, void *context, struct error *err)
{
    const struct follow *follow = context;
    const struct catalog *catalog = tick_server(tick)->catalog;
    (void)err;
    for (size_t i = 0; i < catalog_count(catalog, KIND_SERVICE); i++) {
        const struct service *service = &catalog_at(catalog, KIND_SERVICE, i)->manifest->service;
        if (follows(follow, catalog, service))
            follow_one(tick, service, follow->quiet);
    }
    return 0;
}

static void queue_follow(struct server *server, const struct follow *which)
{
    if (!server->services)
        return; /* without services nothing follows anything */
    struct follow *follow = mem_alloc(1, sizeof *follow);
    *follow = *which;
    ticker_report(server->ticker, "services", run_follow, free, follow);
}

void services_follow(struct tick *tick, const char *team, const char *model)
{
    struct follow follow = {0};
    snprintf(follow.team, sizeof follow.team, "%s", team);
    snprintf(follow.model, sizeof follow.model, "%s", model);
    queue_follow(tick_server(tick), &follow);
}

void services_follow_quiet(struct services *services)
{
    queue_follow(services->server, &(struct follow){.quiet = true});
}

void services_follow_runtime(struct tick *tick, const char *runtime)
{
    struct follow follow = {0};
    snprintf(follow.runtime, sizeof follow.runtime, "%s", runtime);
    queue_follow(tick_server(tick), &follow);
}

void services_follow_all(struct server *server)
{
    queue_follow(server, &(struct follow){0});
}
