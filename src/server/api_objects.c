/* Objects of every kind but Job over the API: listing, reading, deleting. One set of functions
 * serves all kinds, which the route names; what is committed is read from the store. */
#include "core/core.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/handlers.h"
#include "server/jurisdiction.h"
#include "server/services.h"
#include "server/status.h"
#include "server/vault.h"
#include "server/versions.h"
#include "spec/reference.h"
#include "store/store.h"

#include <string.h>

struct object_listing {
    struct call *call;
    enum kind kind;
    struct doc *items;
    size_t limit;
    const char *last;
    bool more;
};

/* Whether the caller may see the object with this key: teams and what belongs to them are for those
 * who have a role there. */
static bool may_see(struct call *call, enum kind kind, const char *key)
{
    if (kind != KIND_TEAM && !kind_has_team(kind))
        return true;
    const char *team = arena_strndup(call->arena, key, strcspn(key, "/"));
    return identity_role(call->server->catalog, &call->identity, team) >= ROLE_VIEWER;
}

static void add_status(struct call *call, enum kind kind, const char *name, struct doc *object)
{
    if (kind == KIND_POOL)
        doc_set(call->arena, object, "status", status_pool(call->server, call->arena, name));
    else if (kind == KIND_TEAM)
        doc_set(call->arena, object, "status", status_team(call->server, call->arena, name));
    else if (kind == KIND_HPA)
        doc_set(call->arena, object, "status",
            services_hpa_status(
                call->server->services, call->arena, call->team, strchr(name, '/') + 1));
    else if (kind == KIND_SERVICE)
        doc_set(call->arena, object, "status",
            services_status(
                call->server->services, call->arena, call->team, strchr(name, '/') + 1));
}

/* What a list says of a service: its state in short, without the replicas. */
static void add_service_summary(struct call *call, const char *key, struct doc *object)
{
    const char *slash = strchr(key, '/');
    const char *team = arena_strndup(call->arena, key, (size_t)(slash - key));
    const struct doc *status =
        services_status(call->server->services, call->arena, team, slash + 1);
    struct doc *summary = doc_map(call->arena);
    for (const struct doc *item = status->first; item; item = item->next) {
        if (item->type != DOC_LIST)
            doc_set(call->arena, summary, item->key, doc_copy(call->arena, item));
    }
    doc_set(call->arena, object, "status", summary);
}

static int add_object(void *context, const struct document *document, struct error *err)
{
    struct object_listing *listing = context;
    struct call *call = listing->call;
    if (!may_see(call, listing->kind, document->key))
        return 0;
    if (listing->items->count == listing->limit) {
        listing->more = true;
        return 0;
    }
    struct doc *object =
        doc_parse_json(call->arena, document->json, strlen(document->json), 4 * DOC_BYTES_MAX, err);
    if (!object)
        return -1;
    if (listing->kind == KIND_SERVICE)
        add_service_summary(call, document->key, object);
    listing->last = arena_strdup(call->arena, document->key);
    doc_append(listing->items, object);
    return 0;
}

void api_object_list(struct call *call)
{
    enum kind kind = call->kind;
    struct object_listing listing = {.call = call, .kind = kind, .items = doc_list(call->arena)};
    struct error err;
    if (call_limit(call, &listing.limit, &err) < 0 ||
        reader_documents(call->server->reader, catalog_collection(kind),
            kind_has_team(kind) ? call->team : NULL, http_request_query(call->request, "after"),
            10000, add_object, &listing, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    struct doc *body = doc_map(call->arena);
    doc_set(call->arena, body, "items", listing.items);
    if (listing.more)
        doc_set_string(call->arena, body, "next", listing.last);
    call_answer(call, 200, body);
}

void api_object_get(struct call *call)
{
    enum kind kind = call->kind;
    const char *name = call->parameters[0];
    SCOPED(mem_scope) char *json = NULL;
    struct error err;
    if (reader_document(call->server->reader, catalog_collection(kind), name, &json, NULL, &err) <
        0) {
        if (err.code == ERR_NOT_FOUND)
            error_set(&err, ERR_NOT_FOUND, "there is no %s %s", kind_singular(kind), name);
        call_fail(call, &err);
        return;
    }
    struct doc *object = doc_parse_json(call->arena, json, strlen(json), 4 * DOC_BYTES_MAX, &err);
    if (!object) {
        call_fail(call, &err);
        return;
    }
    add_status(call, kind, name, object);
    call_answer(call, 200, object);
}

static int delete_secret(void *context, const struct document *document, struct error *err)
{
    struct tick *tick = context;
    const char *slash = strchr(document->key, '/');
    (void)err;
    if (slash)
        vault_delete(tick, document->scope, slash + 1);
    return 0;
}

/* A later team of the same name, perhaps another's, is not to find the secrets of this one. */
static int delete_team(struct tick *tick, const char *name, struct error *err)
{
    if (core_team_delete(tick_core(tick), name, err) < 0)
        return -1;
    if (reader_documents(tick_server(tick)->reader, vault_collection, name, NULL, 100000,
            delete_secret, tick, err) == 0)
        return 0;
    tick_spoil(tick);
    return -1;
}

/* Whether the store has a document with this prefix of its key. */
static int stop_at_first(void *context, const struct document *document, struct error *err)
{
    const char **prefix = context;
    if (strncmp(document->key, *prefix, strlen(*prefix)) == 0)
        *prefix = NULL;
    (void)err;
    return 0;
}

static int refuse_versions(struct tick *tick, enum kind kind, const char *key, struct error *err)
{
    const char *prefix = arena_printf(tick_arena(tick), "%s/", key), *found = prefix;
    const char *collection = kind == KIND_DATASET ? "dataset-version" : "model-version";
    /* The reader does not show yet what this tick has added. */
    if (versions_changed(tick, kind, key))
        return error_set(err, ERR_BUSY, "versions of the %s %s are changing; try again in a moment",
            kind_singular(kind), key);
    if (reader_documents(
            tick_server(tick)->reader, collection, NULL, prefix, 1, stop_at_first, &found, err) < 0)
        return -1;
    if (found)
        return 0;
    return error_set(
        err, ERR_CONFLICT, "the %s %s has versions; delete them first", kind_singular(kind), key);
}

/* Whether a service is made of the object: its model, or the runtime it or its model names. */
static bool service_uses(
    const struct catalog *catalog, const struct service *service, enum kind kind, const char *key)
{
    struct reference model;
    if (reference_parse(service->model, &model, NULL) < 0)
        return false;
    const char *team = model.team[0] ? model.team : service->metadata.team;
    if (kind == KIND_MODEL) {
        size_t length = strlen(team);
        return strncmp(key, team, length) == 0 && key[length] == '/' &&
               strcmp(key + length + 1, model.name) == 0;
    }
    const struct catalog_entry *entry = catalog_find_in(catalog, KIND_MODEL, team, model.name);
    const char *runtime = service->runtime ? service->runtime
                          : entry          ? entry->manifest->model.runtime
                                           : NULL;
    return kind == KIND_RUNTIME && runtime && strcmp(runtime, key) == 0;
}

static int refuse_used(
    const struct catalog *catalog, enum kind kind, const char *key, struct error *err)
{
    for (size_t i = 0; i < catalog_count(catalog, KIND_SERVICE); i++) {
        const struct catalog_entry *entry = catalog_at(catalog, KIND_SERVICE, i);
        if (service_uses(catalog, &entry->manifest->service, kind, key))
            return error_set(err, ERR_CONFLICT, "the service %s uses the %s %s", entry->name,
                kind_singular(kind), key);
    }
    for (size_t i = 0; kind == KIND_RUNTIME && i < catalog_count(catalog, KIND_MODEL); i++) {
        const struct catalog_entry *entry = catalog_at(catalog, KIND_MODEL, i);
        const char *runtime = entry->manifest->model.runtime;
        if (runtime && strcmp(runtime, key) == 0)
            return error_set(
                err, ERR_CONFLICT, "the model %s names the runtime %s", entry->name, key);
    }
    return 0;
}

/* What belongs to a team goes before it. */
static int refuse_owner(const struct catalog *catalog, const char *team, struct error *err)
{
    static const enum kind kinds[] = {KIND_HPA, KIND_SERVICE, KIND_MODEL, KIND_DATASET};
    size_t length = strlen(team);
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        for (size_t i = 0; i < catalog_count(catalog, kinds[k]); i++) {
            const char *key = catalog_at(catalog, kinds[k], i)->name;
            if (strncmp(key, team, length) == 0 && key[length] == '/')
                return error_set(err, ERR_CONFLICT, "the team %s has the %s %s; delete it first",
                    team, kind_singular(kinds[k]), key + length + 1);
        }
    }
    return 0;
}

static int refuse_delete(struct tick *tick, enum kind kind, const char *key, struct error *err)
{
    const struct catalog *catalog = tick_server(tick)->catalog;
    if (kind == KIND_TEAM && strcmp(key, ROOT_TEAM) == 0)
        return error_set(err, ERR_CONFLICT, "the team root holds the administrators and stays");
    if (kind == KIND_TEAM && refuse_owner(catalog, key, err) < 0)
        return -1;
    if (refuse_used(catalog, kind, key, err) < 0)
        return -1;
    return kind == KIND_DATASET || kind == KIND_MODEL ? refuse_versions(tick, kind, key, err) : 0;
}

static int run_delete(struct tick *tick, void *context, struct error *err)
{
    struct call *call = context;
    struct catalog *catalog = tick_server(tick)->catalog;
    enum kind kind = call->kind;
    const char *key = call->parameters[0], *slash = strchr(key, '/');
    const char *kind_text = kind_singular(kind);
    if (!catalog_find(catalog, kind, key))
        return error_set(err, ERR_NOT_FOUND, "there is no %s %s", kind_text, key);
    if (refuse_delete(tick, kind, key, err) < 0)
        return -1;
    uint32_t before = kind == KIND_POOL ? jurisdiction_of_pool(tick, key) : 0;
    if (kind == KIND_POOL && core_pool_delete(tick_core(tick), key, err) < 0)
        return -1;
    jurisdiction_pool_changed(tick, key, before);
    if (kind == KIND_TEAM && delete_team(tick, key, err) < 0)
        return -1;
    if (kind == KIND_SERVICE && services_delete(tick, call->team, slash + 1, err) < 0)
        return -1;
    /* Of pools, teams and services the core's decisions tell. */
    if (kind != KIND_POOL && kind != KIND_TEAM && kind != KIND_SERVICE)
        tick_audit(tick, arena_printf(tick_arena(tick), "%s-delete", kind_text), kind_text,
            slash ? slash + 1 : key, call->team ? call->team : "", NULL);
    services_touch(tick_server(tick)->services);
    catalog_remove(catalog, kind, key);
    store_txn_delete_document(tick_txn(tick), catalog_collection(kind), key);
    return 0;
}

void api_object_delete(struct call *call)
{
    call_command(call, run_delete, call_answer_empty);
}
