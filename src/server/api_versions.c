/* Versions over the API: listing, reading, checking, deleting, running again. */
#include "server/api_versions.h"

#include "base/strbuf.h"
#include "core/core.h"
#include "registry/registry.h"
#include "server/artifacts.h"
#include "server/collect.h"
#include "server/context.h"
#include "server/cost.h"
#include "server/handlers.h"
#include "server/lineage.h"
#include "server/names.h"
#include "server/reproduce.h"
#include "server/serving_usage.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *call_artifact(const struct call *call)
{
    return call->parameters[0] + strlen(call->team) + 1;
}

int version_reference(
    const char *team, const char *name, const char *text, struct reference *ret, struct error *err)
{
    char reference[CALL_NAME_MAX * 3];
    const char *mark = text[strspn(text, "0123456789")] == '\0' ? ":" : "@";
    if (strcmp(text, "newest") == 0)
        mark = text = "";
    snprintf(reference, sizeof reference, "%s/%s%s%s", team, name, mark, text);
    if (reference_parse(reference, ret, err) == 0)
        return 0;
    return error_set(err, ERR_INVALID,
        "\"%.40s\" is no version: expected a number, \"newest\" or a stage", text);
}

int call_version(struct call *call, struct version *ret, struct error *err)
{
    struct reference reference;
    if (version_reference(call->team, call_artifact(call), call->parameters[1], &reference, err) <
        0)
        return -1;
    return versions_resolve(
        call->server, call->arena, call->kind, call->team, &reference, ret, err);
}

/* ---- listing and reading -------------------------------------------------------------------- */

struct version_listing {
    struct arena *arena;
    struct doc *items;
    size_t limit;
    int64_t last;
    bool more;
};

static int add_version(void *context, const struct version *version, struct error *err)
{
    struct version_listing *listing = context;
    (void)err;
    if (listing->items->count == listing->limit) {
        listing->more = true;
        return 0;
    }
    listing->last = version->version;
    doc_append(listing->items, doc_copy(listing->arena, version->doc));
    return 0;
}

static int list_versions(struct call *call, struct version_listing *listing, struct error *err)
{
    int64_t after;
    if (call_limit(call, &listing->limit, err) < 0 ||
        call_query_int(call, "after", 0, &after, err) < 0)
        return -1;
    if (!versions_have_object(call->server, call->kind, call->team, call_artifact(call)))
        return error_set(err, ERR_NOT_FOUND, "there is no %s %s", kind_singular(call->kind),
            call->parameters[0]);
    return versions_page(call->server, call->arena, call->kind, call->team, call_artifact(call),
        after, listing->limit + 1, add_version, listing, err);
}

void api_version_list(struct call *call)
{
    struct version_listing listing = {.arena = call->arena, .items = doc_list(call->arena)};
    struct error err;
    if (list_versions(call, &listing, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    call_answer_page(call, listing.items,
        listing.more ? arena_printf(call->arena, "%" PRId64, listing.last) : NULL);
}

void api_version_get(struct call *call)
{
    struct version version;
    struct error err;
    if (call_version(call, &version, &err) < 0)
        call_fail(call, &err);
    else
        call_answer(call, 200, version.doc);
}

/* ---- variants ------------------------------------------------------------------------------- */

/* What each version of one model was asked and cost where it is served, as GET /v1/cost?by=version
 * says; null for those that were never served, or that the caller may not see the cost of. */
static int add_serving(
    struct call *call, struct doc *items, const char *team, const char *name, struct error *err)
{
    struct arena *arena = call->arena;
    struct cost_query query = {.by = "version",
        .model = arena_printf(arena, "%s/%s", team, name),
        .now_ms = server_now_ms()};
    struct doc *report;
    if (cost_report(call->server, arena, &call->identity, &query, &report, err) < 0)
        return -1;
    for (struct doc *item = items->first; item; item = item->next) {
        const char *key =
            arena_printf(arena, "%s/%s:%" PRId64, team, name, doc_get_int(item, "version", 0));
        if (strcmp(doc_get_string(item, "team"), team) != 0 ||
            strcmp(doc_get_string(item, "name"), name) != 0)
            continue;
        const struct doc *one = doc_get(report, "items")->first;
        while (one && strcmp(doc_get_string(one, "key"), key) != 0)
            one = one->next;
        doc_set(arena, item, "serving", one ? doc_copy(arena, one) : doc_null(arena));
        doc_set_string(arena, item, "currency", doc_get_string(report, "currency"));
    }
    return 0;
}

/* Those of one model lie in one report, however many they are. */
static int add_all_serving(struct call *call, struct doc *items, struct error *err)
{
    for (const struct doc *item = items->first; item; item = item->next) {
        const char *team = doc_get_string(item, "team"), *name = doc_get_string(item, "name");
        if (team && name && !doc_get(item, "serving") &&
            add_serving(call, items, team, name, err) < 0)
            return -1;
    }
    return 0;
}

/* An upload has no metrics of a training: what a gate measured last stands beside them. */
static void add_evaluations(struct call *call, struct doc *items)
{
    for (struct doc *item = items->first; item; item = item->next) {
        const struct doc *list = doc_get(item, "evaluations");
        if (list && list->type == DOC_LIST && list->last)
            doc_set(call->arena, item, "evaluation", doc_copy(call->arena, list->last));
    }
}

static void answer_variants(void *context)
{
    struct call *call = context;
    struct version version;
    struct doc *items;
    struct error err;
    if (call_version(call, &version, &err) < 0 ||
        lineage_variants(call->server, &call->identity, call->arena, &version, &items, &err) < 0 ||
        add_all_serving(call, items, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    add_evaluations(call, items);
    call_answer_page(call, items, NULL);
}

/* Waits a moment for what the gateway has counted until now, as reports on cost do. */
void api_version_variants(struct call *call)
{
    struct error ignored;
    if (serving_usage_refresh(call->server->serving_usage, answer_variants, call, &ignored) < 0)
        answer_variants(call);
}

/* ---- what the long thread is asked ----------------------------------------------------------- */

/* A question about a version's tree. It lives in the call's arena: the thread is joined before
 * requests are destroyed. */
struct question {
    struct call *call;
    struct registry *registry;
    struct version version;
    struct error err;
    bool failed;
    /* files */
    const char *after;
    size_t limit;
    size_t count;
    bool more;
    char *last;
    struct strbuf json;
};

static int ask(struct call *call, struct question *question, enum artifacts_thread thread,
    worker_fn *work, worker_fn *done, struct error *err)
{
    question->call = call;
    question->registry = artifacts_registry(call->server->artifacts);
    return call_version(call, &question->version, err) < 0
               ? -1
               : artifacts_run(call->server->artifacts, thread, work, done, question, err);
}

static void verify_work(void *context)
{
    struct question *question = context;
    question->failed =
        registry_verify(question->registry, question->version.tree, &question->err) < 0;
}

static void verify_done(void *context)
{
    struct question *question = context;
    struct call *call = question->call;
    artifacts_leave(call->server->artifacts, ARTIFACTS_CHECKS);
    if (question->failed) {
        call_fail(call, &question->err);
        return;
    }
    struct doc *body = doc_map(call->arena);
    doc_set_string(call->arena, body, "digest", question->version.digest);
    doc_set(call->arena, body, "bytes",
        doc_int(call->arena, doc_get_int(question->version.doc, "bytes", 0)));
    doc_set(call->arena, body, "files",
        doc_int(call->arena, doc_get_int(question->version.doc, "files", 0)));
    call_answer(call, 200, body);
}

void api_version_verify(struct call *call)
{
    struct question *question = arena_alloc(call->arena, 1, sizeof *question);
    struct artifacts *artifacts = call->server->artifacts;
    struct error err;
    if (artifacts_enter(artifacts, ARTIFACTS_CHECKS, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    if (ask(call, question, ARTIFACTS_LONG, verify_work, verify_done, &err) == 0)
        return;
    artifacts_leave(artifacts, ARTIFACTS_CHECKS);
    call_fail(call, &err);
}

static int add_file(void *context, const struct tree_file *file, struct error *err)
{
    struct question *question = context;
    (void)err;
    if (question->after && strcmp(file->path, question->after) <= 0)
        return 0;
    if (question->count == question->limit) {
        question->more = true;
        return 0;
    }
    strbuf_puts(&question->json, question->count++ ? ",{\"path\":" : "{\"path\":");
    strbuf_json(&question->json, file->path);
    strbuf_printf(&question->json, ",\"size\":%" PRId64 ",\"digest\":\"sha256:%s\"}", file->size,
        file->digest);
    free(question->last);
    question->last = mem_strdup(file->path);
    return 0;
}

static void files_work(void *context)
{
    struct question *question = context;
    strbuf_puts(&question->json, "{\"items\":[");
    question->failed = registry_files(question->registry, question->version.tree, add_file,
                           question, &question->err) < 0;
    strbuf_putc(&question->json, ']');
    if (question->more) {
        strbuf_puts(&question->json, ",\"next\":");
        strbuf_json(&question->json, question->last);
    }
    strbuf_puts(&question->json, "}\n");
}

static void files_done(void *context)
{
    struct question *question = context;
    free(question->last);
    struct strbuf json = question->json;
    if (question->failed)
        call_fail(question->call, &question->err);
    else
        call_answer_text(question->call, "application/json", json.text, json.length);
    strbuf_finish(&json);
}

void api_version_files(struct call *call)
{
    struct question *question = arena_alloc(call->arena, 1, sizeof *question);
    struct error err;
    question->after = http_request_query(call->request, "after");
    if (call_limit(call, &question->limit, &err) < 0 ||
        ask(call, question, ARTIFACTS_SHORT, files_work, files_done, &err) < 0)
        call_fail(call, &err);
}

static void tree_work(void *context)
{
    struct question *question = context;
    char *text;
    size_t size;
    question->failed = registry_tree_text(question->registry, question->version.tree, &text, &size,
                           &question->err) < 0;
    if (question->failed)
        return;
    strbuf_append(&question->json, text, size);
    free(text);
}

static void tree_done(void *context)
{
    struct question *question = context;
    struct strbuf text = question->json;
    artifacts_leave(question->call->server->artifacts, ARTIFACTS_TREES);
    if (question->failed)
        call_fail(question->call, &question->err);
    else
        call_answer_text(
            question->call, "text/plain; charset=utf-8", strbuf_text(&text), text.length);
    strbuf_finish(&text);
}

void api_version_tree(struct call *call)
{
    struct question *question = arena_alloc(call->arena, 1, sizeof *question);
    struct artifacts *artifacts = call->server->artifacts;
    struct error err;
    question->call = call;
    question->registry = artifacts_registry(artifacts);
    if (call_version(call, &question->version, &err) < 0 ||
        artifacts_enter(artifacts, ARTIFACTS_TREES, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    if (artifacts_run(artifacts, ARTIFACTS_SHORT, tree_work, tree_done, question, &err) < 0) {
        artifacts_leave(artifacts, ARTIFACTS_TREES);
        call_fail(call, &err);
    }
}

/* ---- deleting ------------------------------------------------------------------------------- */

static int run_delete(struct tick *tick, void *context, struct error *err)
{
    struct call *call = context;
    struct version version;
    char text[VERSION_TEXT];
    if (call_version(call, &version, err) < 0)
        return -1;
    const char *referrer = lineage_referrer(call->server, tick_arena(tick), &version);
    if (referrer)
        return error_set(err, ERR_CONFLICT, "%s stays: %s",
            versions_text(version.kind, version.team, version.name, version.version, text),
            referrer);
    return versions_delete(tick, &version, err);
}

void api_version_delete(struct call *call)
{
    call_command(call, run_delete, call_answer_empty);
}

/* ---- running again -------------------------------------------------------------------------- */

static void answer_reproduce(struct call *call)
{
    const struct reproduction *reproduction = call->data;
    struct doc *body = doc_map(call->arena);
    char id[JOB_ID_TEXT];
    doc_set_string(call->arena, body, "id", names_job_id(reproduction->job, id));
    doc_set_string(call->arena, body, "name", reproduction->name);
    doc_set_string(call->arena, body, "team", call->team);
    call_answer(call, 201, body);
}

static int run_reproduce(struct tick *tick, void *context, struct error *err)
{
    struct call *call = context;
    return reproduce_run(tick, call->data, err);
}

void api_version_reproduce(struct call *call)
{
    struct reproduction *reproduction = arena_alloc(call->arena, 1, sizeof *reproduction);
    struct version version;
    struct error err;
    call->data = reproduction;
    if (call_version(call, &version, &err) < 0 ||
        reproduce_prepare(
            call->server, &call->identity, call->arena, &version, reproduction, &err) < 0)
        call_fail(call, &err);
    else
        call_command(call, run_reproduce, answer_reproduce);
}

/* ---- collecting ------------------------------------------------------------------------------ */

static void answer_collect(void *context, const struct collection *result, const struct error *err)
{
    struct call *call = context;
    struct arena *arena = call->arena;
    if (err) {
        call_fail(call, err);
        return;
    }
    struct doc *body = doc_map(arena);
    doc_set_int(arena, body, "versionsRemoved", result->versions_removed);
    doc_set_int(arena, body, "objectsRemoved", result->objects_removed);
    doc_set_int(arena, body, "bytesFreed", result->bytes_freed);
    doc_set_int(arena, body, "objectsKept", result->objects_kept);
    doc_set_int(arena, body, "bytesKept", result->bytes_kept);
    call_answer(call, 200, body);
}

void api_artifacts_collect(struct call *call)
{
    struct error err;
    int64_t grace_s;
    if (call_query_int(call, "grace", COLLECT_GRACE_S, &grace_s, &err) < 0 ||
        collector_run(call->server->collector, grace_s * 1000, answer_collect, call, &err) < 0)
        call_fail(call, &err);
}
