/* Bringing artifacts: what is missing, chunks, and the tree that ends an upload. Hashing and disk
 * are the artifacts' threads'; what is held in memory is bounded by how many may be under way. */
#include "registry/registry.h"
#include "server/api_versions.h"
#include "server/artifacts.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/handlers.h"
#include "server/status.h"
#include "server/ticker.h"
#include "server/versions.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DIGESTS_MAX = 10000,
    MISSING_BYTES_MAX = DIGESTS_MAX * 80,
    FROM_MAX = 500,
    TREE_BODY_MAX = TREE_BYTES_MAX + TREE_BYTES_MAX / 8, /* as JSON its newlines are escaped */
};

/* "sha256:<hex>" or the digits alone, as the 64 digits in out. */
static int take_digest(const char *text, char out[65], struct error *err)
{
    const char *hex = text && strncmp(text, "sha256:", 7) == 0 ? text + 7 : text;
    if (!hex || strlen(hex) != 64 || strspn(hex, "0123456789abcdef") != 64)
        return error_set(
            err, ERR_INVALID, "\"%.80s\" is no SHA-256 digest", text ? text : "(no text)");
    memcpy(out, hex, 65);
    return 0;
}

/* Whose objects it is about; the role in all teams does not say. */
static int take_team(struct call *call, struct error *err)
{
    if (!call->team)
        return error_set(err, ERR_INVALID, "?team=: expected the team that holds the artifact");
    if (catalog_team(call->server->catalog, call->team))
        return 0;
    return error_set(err, ERR_NOT_FOUND, "there is no team %.80s", call->team);
}

/* ---- what is missing ------------------------------------------------------------------------- */

struct missing {
    struct call *call;
    struct registry *registry;
    char (*digests)[65];
    bool *missing;
    size_t count;
    struct error err;
    bool failed;
};

static void missing_work(void *context)
{
    struct missing *missing = context;
    missing->failed = registry_missing(missing->registry, missing->call->team,
                          (const char(*)[65])missing->digests, missing->count, missing->missing,
                          &missing->err) < 0;
}

static void missing_done(void *context)
{
    struct missing *missing = context;
    struct call *call = missing->call;
    if (missing->failed) {
        call_fail(call, &missing->err);
        return;
    }
    struct doc *body = doc_map(call->arena);
    struct doc *list = doc_set(call->arena, body, "missing", doc_list(call->arena));
    for (size_t i = 0; i < missing->count; i++) {
        if (missing->missing[i])
            doc_append(list, doc_string(call->arena, missing->digests[i]));
    }
    call_answer(call, 200, body);
}

static int take_digests(struct missing *missing, const struct doc *body, struct error *err)
{
    const struct doc *list = body && body->type == DOC_LIST ? body : doc_get(body, "digests");
    if (!list || list->type != DOC_LIST || list->count > DIGESTS_MAX)
        return error_set(err, ERR_INVALID, "expected a list of at most %d digests", DIGESTS_MAX);
    struct arena *arena = missing->call->arena;
    missing->digests = arena_alloc(arena, list->count + 1, sizeof *missing->digests);
    missing->missing = arena_alloc(arena, list->count + 1, sizeof *missing->missing);
    for (const struct doc *item = list->first; item; item = item->next) {
        if (take_digest(item->type == DOC_STRING ? item->text : NULL,
                missing->digests[missing->count], err) < 0)
            return error_prefix(err, "[%zu]", missing->count);
        missing->count++;
    }
    return 0;
}

static void on_missing_body(struct call *call, const struct doc *body)
{
    struct missing *missing = arena_alloc(call->arena, 1, sizeof *missing);
    struct error err;
    missing->call = call;
    missing->registry = artifacts_registry(call->server->artifacts);
    if (take_team(call, &err) < 0 || take_digests(missing, body, &err) < 0 ||
        artifacts_run(call->server->artifacts, ARTIFACTS_SHORT, missing_work, missing_done, missing,
            &err) < 0)
        call_fail(call, &err);
}

void api_artifacts_missing(struct call *call)
{
    call_body(call, MISSING_BYTES_MAX, on_missing_body);
}

/* ---- chunks -----------------------------------------------------------------------------------
 */

/* A chunk or a tree on its way in or out. It lives in the request's arena: once the body is there,
 * the request stays until it is answered, also when its client goes away. */
struct transfer {
    struct call *call;
    struct server *server;
    struct registry *registry;
    enum artifacts_bound bound;
    const char *team;
    char digest[65];
    const char *bytes;
    size_t size;
    void *packed; /* a chunk on its way out */
    struct error err;
    bool failed;
    /* of a tree: */
    struct artifact_facts facts;
    bool kept;
    int64_t number;
    struct doc *version;
    bool unchanged;
};

static void transfer_end(struct transfer *transfer)
{
    if (transfer->bound == ARTIFACTS_CHUNKS)
        artifacts_leave_chunk(transfer->server->artifacts, transfer->team);
    else
        artifacts_leave(transfer->server->artifacts, transfer->bound);
    if (transfer->kept)
        artifacts_release(transfer->server->artifacts, transfer->team, transfer->facts.tree);
    free(transfer->packed);
    transfer->packed = NULL;
}

static void on_transfer_gone(void *context)
{
    transfer_end(context);
}

static void transfer_fail(struct transfer *transfer, const struct error *err)
{
    struct call *call = transfer->call;
    struct error copy = *err;
    http_request_on_cancel(call->request, NULL, NULL);
    transfer_end(transfer);
    call_fail(call, &copy);
}

static int enter(struct call *call, enum artifacts_bound bound, struct error *err)
{
    struct artifacts *artifacts = call->server->artifacts;
    if (bound != ARTIFACTS_CHUNKS)
        return artifacts_enter(artifacts, bound, err);
    return take_team(call, err) < 0 ? -1 : artifacts_enter_chunk(artifacts, call->team, err);
}

/* NULL: it was answered. */
static struct transfer *transfer_create(struct call *call, enum artifacts_bound bound)
{
    struct error err;
    if (enter(call, bound, &err) < 0) {
        call_fail(call, &err);
        return NULL;
    }
    struct transfer *transfer = arena_alloc(call->arena, 1, sizeof *transfer);
    transfer->call = call;
    transfer->server = call->server;
    transfer->registry = artifacts_registry(call->server->artifacts);
    transfer->bound = bound;
    transfer->team = call->team;
    return transfer;
}

static void put_work(void *context)
{
    struct transfer *transfer = context;
    transfer->failed = artifacts_check_room(transfer->server, &transfer->err) < 0 ||
                       registry_put_chunk(transfer->registry, transfer->team, transfer->digest,
                           transfer->bytes, transfer->size, &transfer->err) < 0;
}

static void put_done(void *context)
{
    struct transfer *transfer = context;
    struct call *call = transfer->call;
    if (transfer->failed) {
        transfer_fail(transfer, &transfer->err);
        return;
    }
    transfer_end(transfer);
    call_answer_empty(call);
}

/* The whole body is there: from here on the request stays until it is answered. */
static void take_body(struct transfer *transfer, const char *body, size_t length)
{
    http_request_on_cancel(transfer->call->request, NULL, NULL);
    transfer->bytes = arena_strndup(transfer->call->arena, body, length);
    transfer->size = length;
}

static void on_chunk(struct http_request *request, const char *body, size_t length, void *ctx)
{
    struct transfer *transfer = ctx;
    struct error err;
    (void)request;
    take_body(transfer, body, length);
    if (artifacts_run(
            transfer->server->artifacts, ARTIFACTS_SHORT, put_work, put_done, transfer, &err) < 0)
        transfer_fail(transfer, &err);
}

void api_chunk_put(struct call *call)
{
    struct transfer *transfer = transfer_create(call, ARTIFACTS_CHUNKS);
    struct error err;
    if (!transfer)
        return;
    if (take_digest(call->parameters[0], transfer->digest, &err) < 0 ||
        artifacts_check_room(call->server, &err) < 0) {
        transfer_fail(transfer, &err);
        return;
    }
    http_request_on_cancel(call->request, on_transfer_gone, transfer);
    http_request_collect(call->request, OBJECT_STORED_MAX, on_chunk, transfer);
}

static void get_work(void *context)
{
    struct transfer *transfer = context;
    void *packed;
    transfer->failed = registry_get_chunk(transfer->registry, transfer->team, transfer->digest,
                           &packed, &transfer->size, &transfer->err) < 0;
    if (!transfer->failed)
        transfer->packed = packed;
}

static void get_done(void *context)
{
    struct transfer *transfer = context;
    struct call *call = transfer->call;
    if (transfer->failed) {
        transfer_fail(transfer, &transfer->err);
        return;
    }
    void *packed = transfer->packed;
    size_t size = transfer->size;
    transfer->packed = NULL;
    transfer_end(transfer);
    call_answer_text(call, "application/octet-stream", packed, size);
    free(packed);
}

void api_chunk_get(struct call *call)
{
    struct transfer *transfer = transfer_create(call, ARTIFACTS_CHUNKS);
    struct error err;
    if (!transfer)
        return;
    if (take_digest(call->parameters[0], transfer->digest, &err) < 0 ||
        artifacts_run(
            call->server->artifacts, ARTIFACTS_SHORT, get_work, get_done, transfer, &err) < 0)
        transfer_fail(transfer, &err);
}

/* ---- a tree: the end of an upload --------------------------------------------------------------
 */

static void answer_version(struct transfer *transfer)
{
    struct call *call = transfer->call;
    struct arena *arena = call->arena;
    struct doc *body = doc_map(arena);
    doc_set_string(arena, body, "kind", kind_singular(call->kind));
    doc_set_string(arena, body, "team", call->team);
    doc_set_string(arena, body, "name", call_artifact(call));
    doc_set_int(arena, body, "version", transfer->number);
    doc_set_string(arena, body, "digest", arena_printf(arena, "sha256:%s", transfer->facts.digest));
    doc_set_int(arena, body, "bytes", transfer->facts.bytes);
    doc_set_int(arena, body, "files", transfer->facts.files);
    doc_set_bool(arena, body, "unchanged", transfer->unchanged);
    int status = transfer->unchanged ? 200 : 201;
    transfer_end(transfer);
    call_answer(call, status, body);
}

static void version_added(void *context, const struct error *err)
{
    struct transfer *transfer = context;
    if (err)
        transfer_fail(transfer, err);
    else
        answer_version(transfer);
}

/* The same content again is the same version: an upload whose answer was lost can be repeated. Only
 * a parent makes it another one. */
static bool is_newest(struct tick *tick, struct transfer *transfer)
{
    struct call *call = transfer->call;
    struct reference newest = {.which = REFERENCE_NEWEST};
    struct version version;
    snprintf(newest.name, sizeof newest.name, "%s", call_artifact(call));
    if (doc_get(transfer->version, "parent") ||
        versions_resolve(
            call->server, tick_arena(tick), call->kind, call->team, &newest, &version, NULL) < 0 ||
        strcmp(version.tree, transfer->facts.tree) != 0)
        return false;
    transfer->number = version.version;
    return transfer->unchanged = true;
}

static int run_add(struct tick *tick, void *context, struct error *err)
{
    struct transfer *transfer = context;
    struct call *call = transfer->call;
    struct arena *arena = call->arena;
    struct doc *doc = transfer->version;
    const char *jurisdiction = doc_get_string(doc, "jurisdiction");
    struct doc *consent = (struct doc *)(uintptr_t)doc_get(doc, "consent");
    if (is_newest(tick, transfer))
        return 0;
    if (call->kind == KIND_DATASET)
        artifacts_dataset_terms(
            call->server, arena, call->team, call_artifact(call), &jurisdiction, consent);
    doc_set_string(arena, doc, "jurisdiction", jurisdiction);
    doc_set_string(arena, doc, "digest", arena_printf(arena, "sha256:%s", transfer->facts.digest));
    doc_set_string(arena, doc, "tree", transfer->facts.tree);
    doc_set_int(arena, doc, "bytes", transfer->facts.bytes);
    doc_set_int(arena, doc, "files", transfer->facts.files);
    status_set_time(arena, doc, "createdAt", tick_now(tick));
    return versions_add(tick, call->kind, doc, NULL, &transfer->number, err);
}

static void tree_work(void *context)
{
    struct transfer *transfer = context;
    transfer->failed = artifacts_check_room(transfer->server, &transfer->err) < 0 ||
                       registry_put_tree(transfer->registry, transfer->team, transfer->bytes,
                           transfer->size, &transfer->facts, &transfer->err) < 0;
    if (transfer->failed)
        return;
    transfer->kept = true;
    artifacts_keep(transfer->server->artifacts, transfer->team, transfer->facts.tree);
}

static void tree_done(void *context)
{
    struct transfer *transfer = context;
    struct error err;
    if (transfer->failed)
        transfer_fail(transfer, &transfer->err);
    else if (ticker_submit(transfer->server->ticker, transfer->call->identity.user, run_add,
                 version_added, transfer, &err) < 0)
        transfer_fail(transfer, &err);
}

/* A version's text and options as JSON: {"tree": .., "from": .., "parent": .., "relation": ..}; as
 * plain text the tree alone, the options in the query. */
static int unwrap(struct transfer *transfer, const struct doc **ret_options, struct error *err)
{
    *ret_options = NULL;
    if (transfer->size == 0 || transfer->bytes[0] != '{')
        return 0;
    const struct doc *doc =
        doc_parse_json(transfer->call->arena, transfer->bytes, transfer->size, transfer->size, err);
    if (!doc)
        return -1;
    const struct doc *tree = doc_get(doc, "tree");
    if (!tree || tree->type != DOC_STRING)
        return error_set(err, ERR_INVALID, "tree: expected the text of a tree");
    transfer->bytes = tree->text;
    transfer->size = tree->length;
    *ret_options = doc;
    return 0;
}

static const char *option(
    const struct transfer *transfer, const struct doc *options, const char *name)
{
    const char *text = doc_get_string(options, name);
    return text ? text : http_request_query(transfer->call->request, name);
}

static int set_parent(
    struct transfer *transfer, const char *text, const char *relation, struct error *err)
{
    static const char *const relations[] = {"quantized", "pruned", "distilled"};
    struct call *call = transfer->call;
    struct reference reference;
    struct version parent;
    bool known = false;
    for (size_t i = 0; relation && i < ARRAY_LEN(relations); i++)
        known |= strcmp(relation, relations[i]) == 0;
    if (call->kind != KIND_MODEL)
        return error_set(err, ERR_INVALID, "parent: only models have one");
    if (!known)
        return error_set(err, ERR_INVALID, "relation: expected quantized, pruned or distilled");
    if (reference_parse(text, &reference, err) < 0)
        return error_prefix(err, "parent");
    const char *team = reference.team[0] ? reference.team : call->team;
    if (identity_role(call->server->catalog, &call->identity, team) < ROLE_VIEWER)
        return error_set(err, ERR_NOT_FOUND, "there is no model %s/%s", team, reference.name);
    if (versions_resolve(
            call->server, call->arena, KIND_MODEL, call->team, &reference, &parent, err) < 0)
        return -1;
    struct doc *doc = doc_set(call->arena, transfer->version, "parent", doc_map(call->arena));
    doc_set_string(call->arena, doc, "team", parent.team);
    doc_set_string(call->arena, doc, "name", parent.name);
    doc_set_int(call->arena, doc, "version", parent.version);
    doc_set_string(call->arena, doc, "relation", relation);
    doc_set_string(call->arena, transfer->version, "jurisdiction", parent.jurisdiction);
    const struct doc *consent = doc_get(parent.doc, "consent");
    if (consent)
        doc_set(call->arena, transfer->version, "consent", doc_copy(call->arena, consent));
    return 0;
}

static int describe_version(struct transfer *transfer, const struct doc *options, struct error *err)
{
    struct call *call = transfer->call;
    struct arena *arena = call->arena;
    struct doc *doc = transfer->version = doc_map(arena);
    const char *from = option(transfer, options, "from");
    const char *parent = option(transfer, options, "parent");
    doc_set_string(arena, doc, "team", call->team);
    doc_set_string(arena, doc, "name", call_artifact(call));
    doc_set_string(arena, doc, "createdBy", call->identity.user);
    doc_set(arena, doc, "consent", doc_list(arena));
    struct doc *source = doc_set(arena, doc, "source", doc_map(arena));
    doc_set_string(arena, source, "kind", "upload");
    if (from && strlen(from) > FROM_MAX)
        return error_set(err, ERR_INVALID, "from: expected at most %d bytes", FROM_MAX);
    doc_set_string(arena, source, "from", from);
    return parent ? set_parent(transfer, parent, option(transfer, options, "relation"), err) : 0;
}

static void on_tree(struct http_request *request, const char *body, size_t length, void *ctx)
{
    struct transfer *transfer = ctx;
    const struct doc *options;
    struct error err;
    (void)request;
    take_body(transfer, body, length);
    if (unwrap(transfer, &options, &err) < 0 || describe_version(transfer, options, &err) < 0 ||
        artifacts_run(
            transfer->server->artifacts, ARTIFACTS_LONG, tree_work, tree_done, transfer, &err) < 0)
        transfer_fail(transfer, &err);
}

void api_version_create(struct call *call)
{
    struct error err;
    if (!versions_have_object(call->server, call->kind, call->team, call_artifact(call))) {
        error_set(&err, ERR_NOT_FOUND, "there is no %s %s; apply one first",
            kind_singular(call->kind), call->parameters[0]);
        call_fail(call, &err);
        return;
    }
    struct transfer *transfer = transfer_create(call, ARTIFACTS_TREES);
    if (!transfer)
        return;
    http_request_on_cancel(call->request, on_transfer_gone, transfer);
    http_request_collect(call->request, TREE_BODY_MAX, on_tree, transfer);
}
