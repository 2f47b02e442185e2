/* Versions as they are committed: see versions.h. */
#include "server/versions_parts.h"

#include "server/catalog.h"
#include "server/context.h"
#include "store/store.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    PAGE_VERSIONS = 200,
    USES_MAX = 10000,
    VERSION_BYTES_MAX = 4 * DOC_BYTES_MAX,
};

const char version_index_collection[] = "artifact-index";
const char version_use_collection[] = "artifact-use";
const char version_manifest_collection[] = "version-job";

static const char *const stage_names[] = {"candidate", "staging", "production", "archived"};

const char *versions_stage_name(enum model_stage stage)
{
    assert((size_t)stage < ARRAY_LEN(stage_names));
    return stage_names[stage];
}

const char *version_collection(enum kind kind)
{
    assert(kind == KIND_DATASET || kind == KIND_MODEL);
    return kind == KIND_DATASET ? "dataset-version" : "model-version";
}

char *version_key(const char *team, const char *name, int64_t version, char out[VERSION_KEY_TEXT])
{
    snprintf(out, VERSION_KEY_TEXT, "%s/%s/%08" PRId64, team, name, version);
    return out;
}

char *versions_text(
    enum kind kind, const char *team, const char *name, int64_t version, char out[VERSION_TEXT])
{
    snprintf(out, VERSION_TEXT, "%s/%s/%s:%" PRId64, kind_singular(kind), team, name, version);
    return out;
}

char *version_kind_key(
    enum kind kind, const char *team, const char *name, int64_t version, char out[VERSION_KEY_TEXT])
{
    snprintf(
        out, VERSION_KEY_TEXT, "%s/%s/%s/%08" PRId64, kind_singular(kind), team, name, version);
    return out;
}

static enum model_stage find_stage(const char *name)
{
    for (size_t i = 0; name && i < ARRAY_LEN(stage_names); i++) {
        if (strcmp(stage_names[i], name) == 0)
            return (enum model_stage)i;
    }
    return STAGE_CANDIDATE;
}

int version_read(enum kind kind, const struct doc *doc, struct version *ret, struct error *err)
{
    struct version version = {.kind = kind,
        .team = doc_get_string(doc, "team"),
        .name = doc_get_string(doc, "name"),
        .version = doc_get_int(doc, "version", 0),
        .digest = doc_get_string(doc, "digest"),
        .tree = doc_get_string(doc, "tree"),
        .jurisdiction = doc_get_string(doc, "jurisdiction"),
        .stage = find_stage(doc_get_string(doc, "stage")),
        .doc = doc};
    if (!version.team || !version.name || version.version <= 0 || !version.digest || !version.tree)
        return error_set(
            err, ERR_CORRUPT, "a stored version of a %s is not whole", kind_singular(kind));
    *ret = version;
    return 0;
}

bool versions_have_object(
    const struct server *server, enum kind kind, const char *team, const char *name)
{
    char key[VERSION_KEY_TEXT];
    snprintf(key, sizeof key, "%s/%s", team, name);
    return catalog_find(server->catalog, kind, key) != NULL;
}

/* ---- the index ------------------------------------------------------------------------------ */

void version_index_key(
    enum kind kind, const char *team, const char *name, char out[VERSION_KEY_TEXT])
{
    snprintf(out, VERSION_KEY_TEXT, "%s/%s/%s", kind_singular(kind), team, name);
}

static int take_indexed(void *context, const struct version *version, struct error *err)
{
    struct version_index *index = context;
    (void)err;
    index->last = index->newest = version->version;
    index->stages[version->stage] = version->version;
    return 0;
}

/* The index from the versions themselves. */
static int index_derive(struct server *server, enum kind kind, const char *team, const char *name,
    struct version_index *ret, struct error *err)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    return version_each(server, arena, kind, team, name, take_indexed, ret, err);
}

int version_index_load(struct server *server, enum kind kind, const char *team, const char *name,
    struct version_index *ret, struct error *err)
{
    char key[VERSION_KEY_TEXT];
    SCOPED(mem_scope) char *json = NULL;
    struct error why;
    version_index_key(kind, team, name, key);
    *ret = (struct version_index){0};
    if (reader_document(server->reader, version_index_collection, key, &json, NULL, &why) < 0)
        return why.code == ERR_NOT_FOUND ? index_derive(server, kind, team, name, ret, err)
                                         : error_set(err, why.code, "%s", why.text);
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc = doc_parse_json(arena, json, strlen(json), DOC_BYTES_MAX, err);
    if (!doc)
        return -1;
    if (!doc_get(doc, stage_names[STAGE_CANDIDATE])) /* of a program that did not keep all stages */
        return index_derive(server, kind, team, name, ret, err);
    ret->last = doc_get_int(doc, "last", 0);
    ret->newest = doc_get_int(doc, "newest", 0);
    for (size_t i = 0; i < STAGE_COUNT; i++)
        ret->stages[i] = doc_get_int(doc, stage_names[i], 0);
    return 0;
}

/* ---- reading -------------------------------------------------------------------------------- */

int version_missing(
    enum kind kind, const char *team, const char *name, int64_t number, struct error *err)
{
    return error_set(err, ERR_NOT_FOUND, "the %s %s/%s has no version %" PRId64,
        kind_singular(kind), team, name, number);
}

int versions_get(struct server *server, struct arena *arena, enum kind kind, const char *team,
    const char *name, int64_t number, struct version *ret, struct error *err)
{
    char key[VERSION_KEY_TEXT];
    SCOPED(mem_scope) char *json = NULL;
    struct error why;
    version_key(team, name, number, key);
    if (reader_document(server->reader, version_collection(kind), key, &json, NULL, &why) < 0) {
        if (why.code == ERR_NOT_FOUND)
            return version_missing(kind, team, name, number, err);
        return error_set(err, why.code, "%s", why.text);
    }
    const struct doc *doc = doc_parse_json(arena, json, strlen(json), VERSION_BYTES_MAX, err);
    return doc ? version_read(kind, doc, ret, err) : -1;
}

int versions_resolve(struct server *server, struct arena *arena, enum kind kind, const char *team,
    const struct reference *reference, struct version *ret, struct error *err)
{
    struct version_index index;
    if (reference->team[0])
        team = reference->team;
    if (!team)
        return error_set(err, ERR_INVALID, "%s: name the team too, as in team/%s", reference->name,
            reference->name);
    if (reference->which == REFERENCE_VERSION)
        return versions_get(
            server, arena, kind, team, reference->name, reference->version, ret, err);
    if (version_index_load(server, kind, team, reference->name, &index, err) < 0)
        return -1;
    int64_t number = index.newest;
    if (reference->which == REFERENCE_STAGE) {
        if (kind != KIND_MODEL)
            return error_set(err, ERR_INVALID, "%s@%s: only models have stages", reference->name,
                reference->stage);
        number = index.stages[find_stage(reference->stage)];
        if (number == 0)
            return error_set(err, ERR_NOT_FOUND, "no version of the model %s/%s is in the stage %s",
                team, reference->name, reference->stage);
    }
    if (number > 0)
        return versions_get(server, arena, kind, team, reference->name, number, ret, err);
    if (!versions_have_object(server, kind, team, reference->name))
        return error_set(
            err, ERR_NOT_FOUND, "there is no %s %s/%s", kind_singular(kind), team, reference->name);
    return error_set(err, ERR_NOT_FOUND, "the %s %s/%s has no version yet", kind_singular(kind),
        team, reference->name);
}

struct version_walk {
    struct arena *arena;
    enum kind kind;
    version_fn *visit;
    void *context;
    size_t seen;
    int64_t last;
};

static int take_version(void *context, const struct document *document, struct error *err)
{
    struct version_walk *walk = context;
    struct version version;
    const struct doc *doc =
        doc_parse_json(walk->arena, document->json, strlen(document->json), VERSION_BYTES_MAX, err);
    if (!doc || version_read(walk->kind, doc, &version, err) < 0)
        return -1;
    walk->seen++;
    walk->last = version.version;
    return walk->visit(walk->context, &version, err);
}

int versions_page(struct server *server, struct arena *arena, enum kind kind, const char *team,
    const char *name, int64_t after, size_t limit, version_fn *visit, void *context,
    struct error *err)
{
    char prefix[VERSION_KEY_TEXT], key[VERSION_KEY_TEXT];
    struct version_walk walk = {arena, kind, visit, context, 0, 0};
    snprintf(prefix, sizeof prefix, "%s/%s/", team, name);
    version_key(team, name, after, key);
    return reader_documents_prefix(server->reader, version_collection(kind), prefix,
        after > 0 ? key : NULL, limit, take_version, &walk, err);
}

int version_each(struct server *server, struct arena *arena, enum kind kind, const char *team,
    const char *name, version_fn *visit, void *context, struct error *err)
{
    char prefix[VERSION_KEY_TEXT], key[VERSION_KEY_TEXT];
    struct version_walk walk = {arena, kind, visit, context, 0, 0};
    snprintf(prefix, sizeof prefix, "%s/%s/", team, name);
    do {
        walk.seen = 0;
        version_key(team, name, walk.last, key);
        if (reader_documents_prefix(server->reader, version_collection(kind), prefix,
                walk.last > 0 ? key : NULL, PAGE_VERSIONS, take_version, &walk, err) < 0)
            return -1;
    } while (walk.seen == PAGE_VERSIONS);
    return 0;
}

struct all_walk {
    struct version_walk walk;
    char last[VERSION_KEY_TEXT];
};

static int take_any(void *context, const struct document *document, struct error *err)
{
    struct all_walk *all = context;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    all->walk.arena = arena;
    snprintf(all->last, sizeof all->last, "%s", document->key);
    return take_version(&all->walk, document, err);
}

int versions_all(struct store_reader *reader, enum kind kind, version_fn *visit, void *context,
    struct error *err)
{
    struct all_walk all = {.walk = {.kind = kind, .visit = visit, .context = context}};
    do {
        char after[VERSION_KEY_TEXT];
        memcpy(after, all.last, sizeof after);
        all.walk.seen = 0;
        if (reader_documents(reader, version_collection(kind), NULL, after, PAGE_VERSIONS, take_any,
                &all, err) < 0)
            return -1;
    } while (all.walk.seen == PAGE_VERSIONS);
    return 0;
}

struct use_walk {
    size_t skip; /* of the key: what stands before the user */
    version_use_fn *visit;
    void *context;
};

static int take_use(void *context, const struct document *document, struct error *err)
{
    struct use_walk *walk = context;
    return walk->visit(walk->context, document->key + walk->skip, err);
}

int versions_uses(struct server *server, const struct version *version, version_use_fn *visit,
    void *context, struct error *err)
{
    char prefix[VERSION_KEY_TEXT + 1];
    version_kind_key(version->kind, version->team, version->name, version->version, prefix);
    strcat(prefix, "/");
    struct use_walk walk = {strlen(prefix), visit, context};
    return reader_documents_prefix(
        server->reader, version_use_collection, prefix, NULL, USES_MAX, take_use, &walk, err);
}

const struct doc *versions_job_manifest(
    struct server *server, struct arena *arena, const struct version *version)
{
    char key[VERSION_KEY_TEXT];
    SCOPED(mem_scope) char *json = NULL;
    version_kind_key(version->kind, version->team, version->name, version->version, key);
    if (reader_document(server->reader, version_manifest_collection, key, &json, NULL, NULL) < 0)
        return NULL;
    return doc_parse_json(arena, json, strlen(json), VERSION_BYTES_MAX, NULL);
}
