/* Services: see services.h. Revisions and the jobs of replicas; the other parts are named in
 * services_internal.h.
 *
 * Everything is derived: from the rows of the core, from the revision documents, and from what the
 * engine has. What is remembered beside them (why a replica was refused, what a check said) is for
 * people, and is found out again after a restart. */
#include "server/services.h"

#include "base/log.h"
#include "base/strbuf.h"
#include "core/core.h"
#include "core/hours.h"
#include "core/quiet.h"
#include "server/catalog.h"
#include "server/identity.h"
#include "server/names.h"
#include "server/outputs.h"
#include "server/programs.h"
#include "server/reconcile.h"
#include "server/scaling.h"
#include "server/services_internal.h"
#include "server/services_quiet.h"
#include "server/ticker.h"
#include "server/trials.h"
#include "server/versions.h"
#include "spec/reference.h"
#include "store/store.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char collection[] = "service-revision";
/* "team/name": {"by": user}, of services of another team's model. */
static const char applied_collection[] = "service-applied";

enum {
    REVISIONS_CACHED_MAX = 4096,
    REVISION_BYTES_MAX = 1 << 20,
    KICK_RETRY_MS = 10,
};

struct cached_revision {
    struct arena *arena;
    struct revision revision;
};

/* ---- revisions ----------------------------------------------------------------------------- */

static void revision_key(const char *team, const char *name, int32_t number, char out[REVISION_KEY])
{
    snprintf(out, REVISION_KEY, "%s/%s/%08d", team, name, number);
}

static void forget_cached(struct cached_revision *cached)
{
    arena_destroy(cached->arena);
    free(cached);
}

static void forget_revisions(struct services *services)
{
    strmap_finish(&services->revisions);
    for (size_t i = 0; i < services->cached.count; i++)
        forget_cached(services->cached.items[i]);
    vec_free(&services->cached);
}

/* Takes over a copy of the document. NULL when it cannot be read. */
static const struct revision *remember(
    struct services *services, const char *key, const struct doc *doc, struct error *err)
{
    struct cached_revision *cached = mem_alloc(1, sizeof *cached), *old;
    cached->arena = arena_create();
    if (revision_read(cached->arena, doc_copy(cached->arena, doc), &cached->revision, err) < 0) {
        forget_cached(cached);
        return NULL;
    }
    old = strmap_remove(&services->revisions, key);
    for (size_t i = 0; old && i < services->cached.count; i++) {
        if (services->cached.items[i] == old) {
            vec_remove(&services->cached, i);
            forget_cached(old);
            break;
        }
    }
    vec_push(&services->cached, cached);
    strmap_put(&services->revisions, key, cached);
    return &cached->revision;
}

static const struct revision *revision_named(
    struct services *services, const char *team, const char *name, int32_t number)
{
    char key[REVISION_KEY];
    SCOPED(mem_scope) char *json = NULL;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct error err;
    revision_key(team, name, number, key);
    const struct cached_revision *cached = strmap_get(&services->revisions, key);
    if (cached)
        return &cached->revision;
    if (reader_document(services->server->reader, collection, key, &json, NULL, &err) < 0)
        return NULL;
    struct doc *doc = doc_parse_json(arena, json, strlen(json), REVISION_BYTES_MAX, &err);
    const struct revision *revision = doc ? remember(services, key, doc, &err) : NULL;
    if (!revision)
        log_warn("revision %s of a service cannot be read: %s", key, err.text);
    return revision;
}

const struct revision *services_revision_of(
    struct services *services, uint64_t service, int32_t number)
{
    const struct core *core = services->server->core;
    const struct service_row *row = core_service(core, service);
    const struct team_row *team = row ? core_team(core, row->team) : NULL;
    if (!team)
        return NULL;
    return revision_named(
        services, core_symbol(core, team->name), core_symbol(core, row->name), number);
}

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
    if (first && learn_quiet(tick, service,
                     row ? revision_named(services, team, name, row->revision) : NULL, err) < 0)
        return -1;
    return compose_by(tick, service, quiet_load_of(services->quiet, service, NULL), ret, err);
}

/* ---- revisions that nothing is made of any more --------------------------------------------- */

struct revision_use {
    uint64_t service;
    int32_t number;
    bool used;
};

static void note_use(void *context, enum row_kind kind, const void *data)
{
    struct revision_use *use = context;
    const struct replica_row *row = data;
    (void)kind;
    use->used = use->used || (row->service == use->service && row->revision == use->number);
}

/* Which documents are looked at: those of one service, or with an empty name those of all. */
struct revision_sweep {
    struct tick *tick;
    char team[64];
    char name[64];
    int32_t newest; /* was made in this tick; 0: the service's row says which is */
};

/* Whether a revision may still be needed: it is the newest or the stable one, or a replica is made
 * of it. */
static bool is_needed(
    const struct revision_sweep *sweep, const char *team, const char *name, int32_t number)
{
    const struct core *core = tick_core(sweep->tick);
    uint64_t id = core_service_find(core, team, name);
    const struct service_row *row = id ? core_service(core, id) : NULL;
    if (!row || number == (sweep->newest ? sweep->newest : row->revision) ||
        number == core_service_goal(core, id))
        return row != NULL;
    struct revision_use use = {id, number, false};
    core_row_each(core, ROW_REPLICA, note_use, &use);
    return use.used;
}

static int sweep_one(void *context, const struct document *document, struct error *err)
{
    const struct revision_sweep *sweep = context;
    char team[64], name[64];
    int32_t number;
    (void)err;
    if (sscanf(document->key, "%63[^/]/%63[^/]/%" SCNd32, team, name, &number) != 3 ||
        (sweep->name[0] && (strcmp(team, sweep->team) != 0 || strcmp(name, sweep->name) != 0)))
        return 0;
    if (!is_needed(sweep, team, name, number))
        store_txn_delete_document(tick_txn(sweep->tick), collection, document->key);
    return 0;
}

/* Deletes the documents of revisions that nothing is or will be made of. */
static void sweep_revisions(struct revision_sweep *sweep)
{
    enum { OF_ONE_MAX = 100, OF_ALL_MAX = 100000 };
    bool one = sweep->name[0] != '\0';
    struct error err;
    struct store_reader *reader = tick_server(sweep->tick)->reader;
    const char *prefix = arena_printf(tick_arena(sweep->tick), "%s/%s/", sweep->team, sweep->name);
    int rc =
        one ? reader_documents_prefix(
                  reader, collection, prefix, NULL, OF_ONE_MAX, sweep_one, sweep, &err)
            : reader_documents(reader, collection, NULL, NULL, OF_ALL_MAX, sweep_one, sweep, &err);
    if (rc < 0)
        log_warn("old revisions of services stay, and are looked at again when the server starts: "
                 "%s",
            err.text);
}

static int run_sweep(struct tick *tick, void *context, struct error *err)
{
    struct revision_sweep *sweep = context;
    (void)err;
    sweep->tick = tick;
    sweep_revisions(sweep);
    return 0;
}

static void queue_sweep(struct server *server, const char *team, const char *name)
{
    struct revision_sweep *sweep = mem_alloc(1, sizeof *sweep);
    snprintf(sweep->team, sizeof sweep->team, "%s", team);
    snprintf(sweep->name, sizeof sweep->name, "%s", name);
    ticker_report(server->ticker, "services", run_sweep, free, sweep);
}

void services_retired(struct services *services, const struct service_row *row)
{
    if (!services)
        return; /* what stays is found when the server starts */
    const struct core *core = services->server->core;
    const struct team_row *team = core_team(core, row->team);
    if (team)
        queue_sweep(services->server, core_symbol(core, team->name), core_symbol(core, row->name));
}

static void put_revision(
    struct tick *tick, const char *key, const char *team, const struct doc *doc)
{
    struct strbuf json = {0};
    doc_write_json(doc, 0, &json);
    store_txn_put_document(
        tick_txn(tick), collection, key, team, strbuf_text(&json), tick_now(tick));
    strbuf_finish(&json);
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
        row ? revision_named(services, team, name, row->revision) : NULL;
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
    char key[REVISION_KEY];
    if (core_service_put(core, &wanted, &id, &number, err) < 0)
        return -1;
    services->dirty = true;
    if (!renew)
        return 0;
    revision_key(team, name, number, key);
    put_revision(tick, key, team, doc);
    struct revision_sweep sweep = {.tick = tick, .newest = number};
    snprintf(sweep.team, sizeof sweep.team, "%s", team);
    snprintf(sweep.name, sizeof sweep.name, "%s", name);
    sweep_revisions(&sweep);
    if (remember(services, key, doc, err))
        return 0;
    return error_set(err, ERR_INTERNAL, "what was composed cannot be read: %.200s", err->text);
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
        row ? revision_named(tick_server(tick)->services, team, name, row->revision) : NULL;
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

/* ---- replicas that are wanted --------------------------------------------------------------- */

typedef VEC(struct core_wanted) wanted_list;

static void take_wanted(void *context, const struct core_wanted *wanted)
{
    wanted_list *list = context;
    vec_push(list, *wanted);
}

static void set_refusal(struct services *services, uint64_t service, const char *text)
{
    free(idmap_remove(&services->refused, service));
    for (size_t i = 0; i < services->refused_ids.count; i++) {
        if (services->refused_ids.items[i] == service) {
            vec_remove(&services->refused_ids, i);
            break;
        }
    }
    if (!text)
        return;
    idmap_put(&services->refused, service, mem_strdup(text));
    vec_push(&services->refused_ids, service);
}

const char *services_refusal(const struct services *services, uint64_t service)
{
    return idmap_get(&services->refused, service);
}

static int make_replica(struct services *services, struct tick *tick,
    const struct core_wanted *wanted, struct error *err)
{
    struct arena *arena = tick_arena(tick);
    const struct revision *revision =
        services_revision_of(services, wanted->service, wanted->revision);
    struct manifest manifest = {.kind = KIND_JOB};
    uint64_t id;
    char key[DOCUMENT_KEY_TEXT];
    if (!revision)
        return error_set(err, ERR_CORRUPT, "the revision %d is not in the store", wanted->revision);
    if (revision_job(arena, revision, SERVICES_PROGRAMS, wanted->revision, wanted->number,
            &manifest.job, err) < 0 ||
        core_replica_submit(tick_core(tick), wanted, &manifest.job, &id, err) < 0)
        return -1;
    outputs_expect(tick, id, &manifest.job, NULL);
    names_document_key(id, NULL, key);
    struct strbuf json = {0};
    doc_write_json(manifest_encode(arena, &manifest), 0, &json);
    store_txn_put_document(tick_txn(tick), "job-spec", key, "", strbuf_text(&json), tick_now(tick));
    strbuf_finish(&json);
    outputs_expect(tick, id, &manifest.job, NULL);
    return 0;
}

void services_run(struct services *services, struct tick *tick)
{
    wanted_list list = {0};
    core_service_wanted(tick_core(tick), take_wanted, &list);
    for (size_t i = 0; i < list.count; i++) {
        struct error err;
        if (make_replica(services, tick, &list.items[i], &err) == 0) {
            set_refusal(services, list.items[i].service, NULL);
            continue;
        }
        core_replica_refused(tick_core(tick), &list.items[i]);
        set_refusal(services, list.items[i].service, err.text);
    }
    vec_free(&list);
}

void services_launch(
    struct services *services, struct arena *arena, uint64_t job, struct launch *launch)
{
    const struct replica_row *row = core_replica_of(services->server->core, job);
    const struct revision *revision =
        row ? services_revision_of(services, row->service, row->revision) : NULL;
    if (!revision)
        return;
    launch->serve.on = true;
    if (revision->runtime.listen == LISTEN_PORT)
        launch->serve.port = (uint32_t)revision->runtime.port;
    const struct launch_variable own[] = {
        {"MUSTER_MODEL_NAME", arena_strdup(arena, service_route(&revision->service))},
        {"MUSTER_MODEL_VERSION", arena_printf(arena, "%" PRId64, revision->version)},
        {"MUSTER_SERVICE", arena_printf(arena, "%s/%s", revision->service.metadata.team,
                               revision->service.metadata.name)},
    };
    size_t count = launch->variable_count;
    struct launch_variable *all = arena_alloc(arena, count + ARRAY_LEN(own), sizeof *all);
    for (size_t i = 0; i < count; i++)
        all[i] = launch->variables[i];
    memcpy(all + count, own, sizeof own);
    launch->variables = all;
    launch->variable_count = count + ARRAY_LEN(own);
}

/* ---- life ---------------------------------------------------------------------------------- */

/* The reconciler may only look at a core that is what the store holds. */
static void on_kick(evutil_socket_t fd, short what, void *context)
{
    struct services *services = context;
    struct server *server = services->server;
    struct timeval later = {.tv_usec = KICK_RETRY_MS * 1000};
    (void)fd, (void)what;
    if (server->stopping || !server->reconciler)
        return;
    if (ticker_busy(server->ticker) || ticker_trouble(server->ticker))
        event_add(services->kick, &later);
    else
        reconciler_run(server->reconciler);
}

void services_kick(struct services *services)
{
    event_active(services->kick, EV_TIMEOUT, 0);
}

struct services *services_create(struct server *server, struct error *err)
{
    struct services *services = mem_alloc(1, sizeof *services);
    services->server = server;
    services->kick = event_new(server->base, -1, EV_TIMEOUT, on_kick, services);
    services->agent = http_agent_create(server->base, NULL);
    TAILQ_INIT(&services->asks);
    services->trials = trials_create(services);
    services->quiet = quiet_clock_create(services);
    assert(services->kick);
    services->link = gateway_link_create(services, err);
    if (!services->link) {
        services_destroy(services);
        return NULL;
    }
    if (scaling_create(services, &services->scaling, err) < 0) {
        services_destroy(services);
        return NULL;
    }
    services->dirty = true;
    server->services = services;
    queue_sweep(server, "", "");
    queue_follow(server, &(struct follow){0});
    return services;
}

void services_destroy(struct services *services)
{
    if (!services)
        return;
    trials_destroy(services->trials);
    quiet_clock_destroy(services->quiet);
    scaling_destroy(services->scaling);
    probes_finish(services);
    gateway_link_destroy(services->link);
    services_figures_finish(services);
    http_agent_destroy(services->agent);
    event_free(services->kick);
    forget_revisions(services);
    while (services->refused_ids.count > 0)
        set_refusal(services, services->refused_ids.items[0], NULL);
    vec_free(&services->refused_ids);
    idmap_finish(&services->refused);
    free(services);
}

struct trials *services_trials(const struct services *services)
{
    return services->trials;
}

void services_reloaded(struct services *services)
{
    forget_revisions(services);
    services->dirty = true;
}

void services_touch(struct services *services)
{
    if (services)
        services->dirty = true;
}

void services_committed(struct services *services)
{
    if (services->cached.count > REVISIONS_CACHED_MAX)
        forget_revisions(services);
    probes_follow(services);
    if (services->dirty)
        quiet_clock_follow(services->quiet);
    gateway_link_follow(services->link);
    scaling_follow(services->scaling);
}
