/* POST /v1/apply: objects are created or changed, all of them or none.
 *
 * Three passes: everything is decoded and checked, with every error of every object; then it is
 * planned; then one command does it within one tick. Classes and teams of the request count for the
 * jobs beside them. */
#include "server/catalog.h"
#include "server/context.h"
#include "server/handlers.h"
#include "server/names.h"
#include "server/submit.h"

#include <assert.h>
#include <string.h>

enum { APPLY_BYTES_MAX = 1024 * 1024, APPLY_OBJECTS_MAX = 500 };

struct apply_item {
    size_t index; /* in the request */
    struct manifest manifest;
    struct submit_plan plan;
    uint64_t job;
    struct doc *unused; /* paths that have no effect */
};

struct apply {
    struct call *call;
    struct apply_item *items; /* in the order they are done */
    size_t count;
    const struct doc *objects;
    struct class_lookup fallback;
    struct field_errors errors;
};

/* Classes of the same request come first. */
static const struct doc *request_class(void *context, const char *name)
{
    struct apply *apply = context;
    struct class_lookup own = class_lookup_in(apply->objects);
    const struct doc *found = own.template_of(own.context, name);
    return found ? found : apply->fallback.template_of(apply->fallback.context, name);
}

static void decode_objects(struct apply *apply)
{
    struct arena *arena = apply->call->arena;
    struct class_lookup lookup = {request_class, apply};
    size_t i = 0;
    for (const struct doc *object = apply->objects->first; object; object = object->next, i++) {
        struct apply_item *item = &apply->items[apply->count];
        struct field_errors *own = arena_alloc(arena, 1, sizeof *own);
        item->index = i;
        if (manifest_decode(arena, object, &lookup, &item->manifest, own) == 0) {
            item->unused = manifest_unused(arena, object, item->manifest.kind);
            apply->count++;
        }
        for (size_t e = 0; e < own->count; e++)
            field_errors_add(&apply->errors, arena,
                arena_printf(arena, "objects[%zu]%s%s", i, own->items[e].path[0] ? "." : "",
                    own->items[e].path),
                0, "%s", own->items[e].text);
    }
}

/* What others refer to comes first: services need models, runtimes and teams; parents before their
 * children by the order of the request. */
static void order_items(struct apply *apply)
{
    static const enum kind order[] = {KIND_CLASS, KIND_RUNTIME, KIND_TEAM, KIND_POOL, KIND_DATASET,
        KIND_MODEL, KIND_JOB, KIND_SERVICE, KIND_HPA};
    static_assert(ARRAY_LEN(order) == KIND_COUNT, "every kind has its place");
    struct apply_item *sorted = arena_alloc(apply->call->arena, apply->count + 1, sizeof *sorted);
    size_t count = 0;
    for (size_t k = 0; k < ARRAY_LEN(order); k++) {
        for (size_t i = 0; i < apply->count; i++) {
            if (apply->items[i].manifest.kind == order[k])
                sorted[count++] = apply->items[i];
        }
    }
    apply->items = sorted;
}

static void check_objects(struct apply *apply)
{
    struct call *call = apply->call;
    for (size_t i = 0; i < apply->count; i++) {
        struct apply_item *item = &apply->items[i];
        const char *path = arena_printf(call->arena, "objects[%zu]", item->index);
        struct error err;
        if (submit_check(call->server, &call->identity, call->arena, &item->manifest, path,
                &apply->errors) < 0)
            continue;
        if (submit_plan(call->server, call->arena, &item->manifest, &item->plan, &err) < 0)
            field_errors_add(&apply->errors, call->arena, path, 0, "%s", err.text);
    }
}

static int check_access(struct apply *apply, struct error *err)
{
    for (size_t i = 0; i < apply->count; i++) {
        if (submit_allowed(
                apply->call->server, &apply->call->identity, &apply->items[i].manifest, err) < 0)
            return error_prefix(err, "objects[%zu]", apply->items[i].index);
    }
    return 0;
}

static struct doc *changes_doc(struct arena *arena, const struct doc_changes *changes)
{
    struct doc *list = doc_list(arena);
    for (size_t i = 0; i < changes->count; i++) {
        const struct doc_change *change = &changes->items[i];
        struct doc *item = doc_append(list, doc_map(arena));
        doc_set_string(arena, item, "path", change->path);
        if (change->before)
            doc_set(arena, item, "old", doc_copy(arena, change->before));
        if (change->after)
            doc_set(arena, item, "new", doc_copy(arena, change->after));
    }
    return list;
}

static void answer_apply(struct call *call)
{
    struct apply *apply = call->data;
    struct arena *arena = call->arena;
    struct doc *body = doc_map(arena);
    struct doc *results = doc_set(arena, body, "results", doc_list(arena));
    char id[JOB_ID_TEXT];
    for (size_t i = 0; i < apply->count; i++) {
        const struct apply_item *item = &apply->items[i];
        const struct metadata *metadata = manifest_metadata(&item->manifest);
        struct doc *result = doc_append(results, doc_map(arena));
        doc_set_string(arena, result, "kind", kind_name(item->manifest.kind));
        doc_set_string(arena, result, "name", metadata->name);
        doc_set_string(arena, result, "team", metadata->team);
        doc_set_string(arena, result, "action", submit_action_names[item->plan.action]);
        if (item->job)
            doc_set_string(arena, result, "id", names_job_id(item->job, id));
        doc_set(arena, result, "changes", changes_doc(arena, &item->plan.changes));
        if (item->unused->count > 0)
            doc_set(arena, result, "unused", item->unused);
    }
    call_answer(call, 200, body);
}

static int run_apply(struct tick *tick, void *context, struct error *err)
{
    struct call *call = context;
    struct apply *apply = call->data;
    bool changed = false;
    if (apply->count > 1 && !tick_may_spoil(tick))
        return error_set(err, ERR_BUSY,
            "too many changes of several objects had to be taken back; try again in a moment");
    for (size_t i = 0; i < apply->count; i++) {
        struct apply_item *item = &apply->items[i];
        item->job = item->plan.job;
        if (item->plan.action == SUBMIT_UNCHANGED)
            continue;
        if (submit_apply(tick, &item->manifest, &item->job, err) < 0) {
            if (changed)
                tick_spoil(tick);
            return error_prefix(err, "objects[%zu] (%s %s)", item->index,
                kind_name(item->manifest.kind), manifest_metadata(&item->manifest)->name);
        }
        changed = true;
    }
    return 0;
}

static void on_apply_body(struct call *call, const struct doc *body)
{
    struct error err;
    const struct doc *objects = doc_get(body, "objects");
    if (!objects || objects->type != DOC_LIST || objects->count == 0 ||
        objects->count > APPLY_OBJECTS_MAX) {
        error_set(
            &err, ERR_INVALID, "objects: expected a list of 1 to %d manifests", APPLY_OBJECTS_MAX);
        call_fail(call, &err);
        return;
    }
    struct apply *apply = arena_alloc(call->arena, 1, sizeof *apply);
    apply->call = call;
    apply->objects = objects;
    apply->fallback = catalog_classes(call->server->catalog);
    apply->items = arena_alloc(call->arena, objects->count, sizeof *apply->items);
    call->data = apply;
    decode_objects(apply);
    order_items(apply);
    if (check_access(apply, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    check_objects(apply);
    if (apply->errors.count > 0)
        call_fail_fields(call, &apply->errors);
    else if (doc_get_bool(body, "dryRun", false))
        answer_apply(call);
    else
        call_command(call, run_apply, answer_apply);
}

void api_apply(struct call *call)
{
    call_body(call, APPLY_BYTES_MAX, on_apply_body);
}
