/* Versions out of what a job wrote, in one tick: either all outputs have their results and nothing
 * is left to do, or nothing is stored. */
#include "base/strbuf.h"
#include "server/artifacts.h"
#include "server/compare.h"
#include "server/names.h"
#include "server/outputs_taking.h"
#include "server/source.h"
#include "server/status.h"
#include "server/versions.h"
#include "store/store.h"

#include <string.h>

static const char result_collection[] = "job-outputs";

/* ---- stored state --------------------------------------------------------------------------- */

static const struct doc *read_document(
    const struct server *server, struct arena *arena, const char *collection, uint64_t job)
{
    char key[DOCUMENT_KEY_TEXT];
    SCOPED(mem_scope) char *json = NULL;
    names_document_key(job, NULL, key);
    if (reader_document(server->reader, collection, key, &json, NULL, NULL) < 0)
        return NULL;
    return doc_parse_json(arena, json, strlen(json), 4 * DOC_BYTES_MAX, NULL);
}

static void put_document(
    struct tick *tick, const char *collection, uint64_t job, const struct doc *doc)
{
    char key[DOCUMENT_KEY_TEXT];
    SCOPED(strbuf_finish) struct strbuf json = {0};
    names_document_key(job, NULL, key);
    doc_write_json(doc, 0, &json);
    store_txn_put_document(tick_txn(tick), collection, key, "", strbuf_text(&json), tick_now(tick));
}

const struct doc *taking_pending(const struct server *server, struct arena *arena, uint64_t job)
{
    return read_document(server, arena, TAKING_PENDING, job);
}

const struct doc *taking_result(const struct server *server, struct arena *arena, uint64_t job)
{
    return read_document(server, arena, result_collection, job);
}

void taking_expect(struct tick *tick, uint64_t job, const struct doc *pending)
{
    put_document(tick, TAKING_PENDING, job, pending);
}

/* ---- storing -------------------------------------------------------------------------------- */

static void set_parent(
    struct tick *tick, const struct taking *taking, const struct taken *item, struct doc *version)
{
    struct arena *arena = tick_arena(tick);
    const char *name = doc_get_string(item->doc, "parent");
    const char *relation = doc_get_string(item->doc, "relation");
    const struct doc *inputs = doc_get(doc_get(taking->manifest, "spec"), "inputs");
    for (const struct doc *input = inputs ? inputs->first : NULL; name && input;
         input = input->next) {
        const char *own = doc_get_string(input, "name");
        struct doc *source = own && strcmp(own, name) == 0 && doc_get_string(input, "model")
                                 ? source_input(tick_server(tick), arena, input)
                                 : NULL;
        if (!source)
            continue;
        struct doc *parent = doc_set(arena, version, "parent", doc_map(arena));
        doc_set_string(arena, parent, "team", doc_get_string(source, "team"));
        doc_set_string(arena, parent, "name", doc_get_string(source, "artifact"));
        doc_set_int(arena, parent, "version", doc_get_int(source, "version", 0));
        doc_set_string(arena, parent, "relation", relation);
        return;
    }
}

static struct doc *version_doc(
    struct tick *tick, const struct taking *taking, const struct taken *item)
{
    struct server *server = tick_server(tick);
    struct arena *arena = tick_arena(tick);
    struct doc *doc = doc_map(arena);
    struct doc *consent = source_consent(server, arena, taking->manifest);
    const char *jurisdiction = source_jurisdiction(server, arena, taking->manifest);
    if (item->kind == KIND_DATASET)
        artifacts_dataset_terms(
            server, arena, taking->team, item->artifact, &jurisdiction, consent);
    doc_set_string(arena, doc, "team", taking->team);
    doc_set_string(arena, doc, "name", item->artifact);
    doc_set_string(arena, doc, "digest", arena_printf(arena, "sha256:%s", item->facts.digest));
    doc_set_string(arena, doc, "tree", item->facts.tree);
    doc_set_int(arena, doc, "bytes", item->facts.bytes);
    doc_set_int(arena, doc, "files", item->facts.files);
    status_set_time(arena, doc, "createdAt", tick_now(tick));
    doc_set_string(arena, doc, "createdBy", doc_get_string(taking->pending, "by"));
    doc_set_string(arena, doc, "jurisdiction", jurisdiction);
    doc_set(arena, doc, "consent", consent);
    struct doc *source =
        source_of_job(server, arena, taking->job, taking->manifest, taking->environment);
    doc_set_string(arena, source, "output", item->name);
    doc_set(arena, doc, "source", source);
    if (item->kind == KIND_MODEL)
        set_parent(tick, taking, item, doc);
    return doc;
}

static struct doc *result_item(struct arena *arena, const struct taken *item)
{
    struct doc *result = doc_map(arena);
    doc_set_string(arena, result, "name", item->name);
    doc_set_string(arena, result, "kind", kind_singular(item->kind));
    doc_set_string(arena, result, "artifact", item->artifact);
    if (item->err.code) {
        doc_set_string(arena, result, "error", item->err.text);
        return result;
    }
    doc_set_string(arena, result, "digest", arena_printf(arena, "sha256:%s", item->facts.digest));
    doc_set_int(arena, result, "bytes", item->facts.bytes);
    doc_set_int(arena, result, "files", item->facts.files);
    return result;
}

/* Makes versions of what was taken in; what cannot become one says so in its result. */
static int store_items(
    struct tick *tick, struct taking *taking, struct doc *list, bool *ret_failed, struct error *err)
{
    bool reproduces = doc_get(taking->pending, "reproduces") != NULL;
    bool stored = false;
    for (size_t i = 0; i < taking->count; i++) {
        struct taken *item = &taking->items[i];
        int64_t number = 0;
        if (!item->err.code && !reproduces) {
            struct doc *doc = version_doc(tick, taking, item);
            if (versions_add(tick, item->kind, doc, taking->manifest, &number, &item->err) < 0 &&
                item->err.code != ERR_NOT_FOUND) {
                if (stored)
                    tick_spoil(tick);
                return error_set(err, item->err.code, "%s", item->err.text);
            }
            stored = true;
        }
        struct doc *result = doc_append(list, result_item(tick_arena(tick), item));
        if (number > 0)
            doc_set_int(tick_arena(tick), result, "version", number);
        *ret_failed |= item->err.code != ERR_NONE;
    }
    return 0;
}

int taking_store(struct tick *tick, void *context, struct error *err)
{
    struct taking *taking = context;
    struct arena *arena = tick_arena(tick);
    struct doc *result = doc_map(arena);
    struct doc *list = doc_list(arena);
    bool failed = false;
    char key[DOCUMENT_KEY_TEXT];
    if (!taking->skip[0] && store_items(tick, taking, list, &failed, err) < 0)
        return -1;
    doc_set_string(arena, result, "state",
        taking->skip[0] ? "skipped"
        : failed        ? "failed"
                        : "collected");
    if (taking->skip[0])
        doc_set_string(arena, result, "text", taking->skip);
    doc_set(arena, result, "outputs", list);
    if (taking->comparison)
        doc_set(arena, result, "reproduction",
            compare_doc(taking->comparison, tick_server(tick), arena, taking->job));
    put_document(tick, result_collection, taking->job, result);
    names_document_key(taking->job, NULL, key);
    store_txn_delete_document(tick_txn(tick), TAKING_PENDING, key);
    return 0;
}
