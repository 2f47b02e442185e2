/* Pools, Teams and Classes over the API: listing, reading, deleting. One set of functions serves
 * all three; what is committed is read from the store. */
#include "core/core.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/handlers.h"
#include "server/status.h"
#include "server/vault.h"
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

static bool may_see(struct call *call, enum kind kind, const char *name)
{
    return kind != KIND_TEAM ||
           identity_role(call->server->catalog, &call->identity, name) >= ROLE_VIEWER;
}

static void add_status(struct call *call, enum kind kind, const char *name, struct doc *object)
{
    if (kind == KIND_POOL)
        doc_set(call->arena, object, "status", status_pool(call->server, call->arena, name));
    else if (kind == KIND_TEAM)
        doc_set(call->arena, object, "status", status_team(call->server, call->arena, name));
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
    listing->last = arena_strdup(call->arena, document->key);
    doc_append(listing->items, object);
    return 0;
}

static void list_objects(struct call *call, enum kind kind)
{
    struct object_listing listing = {.call = call, .kind = kind, .items = doc_list(call->arena)};
    struct error err;
    if (call_limit(call, &listing.limit, &err) < 0 ||
        reader_documents(call->server->reader, catalog_collection(kind), NULL,
            http_request_query(call->request, "after"), 10000, add_object, &listing, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    struct doc *body = doc_map(call->arena);
    doc_set(call->arena, body, "items", listing.items);
    if (listing.more)
        doc_set_string(call->arena, body, "next", listing.last);
    call_answer(call, 200, body);
}

static void get_object(struct call *call, enum kind kind)
{
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

static int run_delete(struct tick *tick, enum kind kind, const char *name, struct error *err)
{
    struct catalog *catalog = tick_server(tick)->catalog;
    if (!catalog_find(catalog, kind, name))
        return error_set(err, ERR_NOT_FOUND, "there is no %s %s", kind_singular(kind), name);
    if (kind == KIND_TEAM && strcmp(name, ROOT_TEAM) == 0)
        return error_set(err, ERR_CONFLICT, "the team root holds the administrators and stays");
    if (kind == KIND_POOL && core_pool_delete(tick_core(tick), name, err) < 0)
        return -1;
    if (kind == KIND_TEAM && delete_team(tick, name, err) < 0)
        return -1;
    if (kind == KIND_CLASS)
        tick_audit(tick, "class-delete", "class", name, "", NULL);
    catalog_remove(catalog, kind, name);
    store_txn_delete_document(tick_txn(tick), catalog_collection(kind), name);
    return 0;
}

static int run_pool_delete(struct tick *tick, void *context, struct error *err)
{
    return run_delete(tick, KIND_POOL, ((struct call *)context)->parameters[0], err);
}

static int run_team_delete(struct tick *tick, void *context, struct error *err)
{
    return run_delete(tick, KIND_TEAM, ((struct call *)context)->parameters[0], err);
}

static int run_class_delete(struct tick *tick, void *context, struct error *err)
{
    return run_delete(tick, KIND_CLASS, ((struct call *)context)->parameters[0], err);
}

void api_pool_list(struct call *call)
{
    list_objects(call, KIND_POOL);
}

void api_team_list(struct call *call)
{
    list_objects(call, KIND_TEAM);
}

void api_class_list(struct call *call)
{
    list_objects(call, KIND_CLASS);
}

void api_pool_get(struct call *call)
{
    get_object(call, KIND_POOL);
}

void api_team_get(struct call *call)
{
    get_object(call, KIND_TEAM);
}

void api_class_get(struct call *call)
{
    get_object(call, KIND_CLASS);
}

void api_pool_delete(struct call *call)
{
    call_command(call, run_pool_delete, call_answer_empty);
}

void api_team_delete(struct call *call)
{
    call_command(call, run_team_delete, call_answer_empty);
}

void api_class_delete(struct call *call)
{
    call_command(call, run_class_delete, call_answer_empty);
}
