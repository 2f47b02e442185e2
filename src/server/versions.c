/* Versions: see versions.h. What a reference means, from the documents that are stored. */
#include "server/versions.h"

#include "base/memory.h"
#include "server/context.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const stage_names[] = {"candidate", "staging", "production", "archived"};

struct search {
    struct arena *arena;
    const char *prefix;
    const struct reference *reference;
    struct version *found;
    enum kind kind;
    bool any;
};

static enum model_stage read_stage(const struct doc *doc)
{
    const char *stage = doc_get_string(doc, "stage");
    for (size_t i = 0; stage && i < ARRAY_LEN(stage_names); i++) {
        if (strcmp(stage_names[i], stage) == 0)
            return (enum model_stage)i;
    }
    return STAGE_CANDIDATE;
}

/* Keys ascend, so that the last one that fits is the newest. */
static int look_at(void *context, const struct document *document, struct error *err)
{
    struct search *search = context;
    if (strncmp(document->key, search->prefix, strlen(search->prefix)) != 0)
        return 0;
    const struct doc *doc =
        doc_parse_json(search->arena, document->json, strlen(document->json), DOC_BYTES_MAX, err);
    if (!doc)
        return -1;
    struct version version = {
        .kind = search->kind,
        .team = doc_get_string(doc, "team"),
        .name = doc_get_string(doc, "name"),
        .version = doc_get_int(doc, "version", 0),
        .digest = doc_get_string(doc, "digest"),
        .tree = doc_get_string(doc, "tree"),
        .jurisdiction = doc_get_string(doc, "jurisdiction"),
        .stage = read_stage(doc),
        .doc = doc,
    };
    const struct reference *wanted = search->reference;
    bool fits = wanted->which == REFERENCE_NEWEST ||
                (wanted->which == REFERENCE_VERSION && wanted->version == version.version) ||
                (wanted->which == REFERENCE_STAGE &&
                    strcmp(stage_names[version.stage], wanted->stage) == 0);
    if (fits) {
        *search->found = version;
        search->any = true;
    }
    return 0;
}

int versions_resolve(struct server *server, struct arena *arena, enum kind kind, const char *team,
    const struct reference *reference, struct version *ret, struct error *err)
{
    const char *owner = reference->team[0] ? reference->team : team;
    char text[REFERENCE_TEXT];
    struct search search = {.arena = arena,
        .prefix = arena_printf(arena, "%s/%s/", owner, reference->name),
        .reference = reference,
        .found = ret,
        .kind = kind};
    const char *collection = kind == KIND_DATASET ? "dataset-version" : "model-version";
    if (reader_documents(
            server->reader, collection, owner, search.prefix, 100000, look_at, &search, err) < 0)
        return -1;
    if (search.any)
        return 0;
    reference_format(reference, text);
    return error_set(err, ERR_NOT_FOUND, "there is no version %s of the team %s", text, owner);
}
