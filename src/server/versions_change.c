/* Changing versions within a tick, and the collections derived from them: see versions.h. */
#include "server/versions_parts.h"

#include "base/log.h"
#include "base/strbuf.h"
#include "server/services.h"
#include "server/ticker.h"
#include "store/store.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The index as this tick's commands have left it: the reader shows only what is committed. */
static struct version_index *index_of_tick(
    struct tick *tick, enum kind kind, const char *team, const char *name, struct error *err)
{
    char key[VERSION_KEY_TEXT];
    const char *note;
    version_index_key(kind, team, name, key);
    note = arena_printf(tick_arena(tick), "artifact-index/%s", key);
    struct version_index *index = tick_noted(tick, note);
    if (index)
        return index;
    index = arena_alloc(tick_arena(tick), 1, sizeof *index);
    if (version_index_load(tick_server(tick), kind, team, name, index, err) < 0)
        return NULL;
    tick_note(tick, note, index);
    return index;
}

bool versions_changed(struct tick *tick, enum kind kind, const char *key)
{
    return tick_noted(tick, arena_printf(tick_arena(tick), "artifact-index/%s/%s",
                                kind_singular(kind), key)) != NULL;
}

static void put_doc(struct tick *tick, const char *collection, const char *key, const char *scope,
    const struct doc *doc)
{
    SCOPED(strbuf_finish) struct strbuf json = {0};
    doc_write_json(doc, 0, &json);
    store_txn_put_document(
        tick_txn(tick), collection, key, scope, strbuf_text(&json), tick_now(tick));
}

static void index_store(struct tick *tick, enum kind kind, const char *team, const char *name,
    const struct version_index *index)
{
    char key[VERSION_KEY_TEXT];
    struct doc *doc = doc_map(tick_arena(tick));
    version_index_key(kind, team, name, key);
    doc_set_int(tick_arena(tick), doc, "last", index->last);
    doc_set_int(tick_arena(tick), doc, "newest", index->newest);
    for (size_t i = 0; i < STAGE_COUNT; i++)
        doc_set_int(
            tick_arena(tick), doc, versions_stage_name((enum model_stage)i), index->stages[i]);
    put_doc(tick, version_index_collection, key, team, doc);
}

/* ---- who uses which ---------------------------------------------------------------------------
 */

enum { USE_KEY_TEXT = 2 * VERSION_KEY_TEXT };

static void use_key(
    enum kind kind, const struct reference *used, const char *user, char out[USE_KEY_TEXT])
{
    char key[VERSION_KEY_TEXT];
    version_kind_key(kind, used->team, used->name, used->version, key);
    snprintf(out, USE_KEY_TEXT, "%s/%s", key, user);
}

static void put_use(
    struct tick *tick, enum kind kind, const struct reference *used, const char *user)
{
    char key[USE_KEY_TEXT];
    use_key(kind, used, user, key);
    store_txn_put_document(
        tick_txn(tick), version_use_collection, key, used->team, "{}", tick_now(tick));
}

static void delete_use(
    struct tick *tick, enum kind kind, const struct reference *used, const char *user)
{
    char key[USE_KEY_TEXT];
    use_key(kind, used, user, key);
    store_txn_delete_document(tick_txn(tick), version_use_collection, key);
}

void versions_use(struct tick *tick, enum kind kind, const struct reference *version, uint64_t job)
{
    char user[32];
    snprintf(user, sizeof user, "job/%" PRIu64, job);
    put_use(tick, kind, version, user);
}

void versions_unuse(
    struct tick *tick, enum kind kind, const struct reference *version, uint64_t job)
{
    char user[32];
    snprintf(user, sizeof user, "job/%" PRIu64, job);
    delete_use(tick, kind, version, user);
}

typedef void change_use_fn(
    struct tick *tick, enum kind kind, const struct reference *used, const char *user);

static void change_use(struct tick *tick, const struct doc *item, enum kind kind,
    const char *name_key, const char *user, change_use_fn *change)
{
    struct reference used = {
        .which = REFERENCE_VERSION, .version = doc_get_int(item, "version", 0)};
    const char *team = doc_get_string(item, "team");
    const char *name = doc_get_string(item, name_key);
    if (!team || !name || used.version <= 0)
        return;
    snprintf(used.team, sizeof used.team, "%s", team);
    snprintf(used.name, sizeof used.name, "%s", name);
    change(tick, kind, &used, user);
}

/* What a version was made of: its source's inputs, and its parent. */
static void change_uses(
    struct tick *tick, const struct doc *doc, const char *user, change_use_fn *change)
{
    const struct doc *inputs = doc_get(doc_get(doc, "source"), "inputs");
    for (const struct doc *input = inputs ? inputs->first : NULL; input; input = input->next) {
        const char *kind = doc_get_string(input, "kind");
        change_use(tick, input, kind && strcmp(kind, "model") == 0 ? KIND_MODEL : KIND_DATASET,
            "artifact", user, change);
    }
    const struct doc *parent = doc_get(doc, "parent");
    if (parent)
        change_use(tick, parent, KIND_MODEL, "name", user, change);
}

/* ---- changing ---------------------------------------------------------------------------------
 */

static void audit(struct tick *tick, const char *action, const struct version *version)
{
    SCOPED(strbuf_finish) struct strbuf detail = {0};
    const struct doc *source = doc_get(version->doc, "source");
    const char *kind = doc_get_string(source, "kind");
    const char *job = doc_get_string(source, "job");
    char name[VERSION_TEXT];
    snprintf(name, sizeof name, "%s:%" PRId64, version->name, version->version);
    strbuf_puts(&detail, "{\"digest\":");
    strbuf_json(&detail, version->digest);
    if (kind) {
        strbuf_puts(&detail, ",\"source\":");
        strbuf_json(&detail, kind);
    }
    if (job) {
        strbuf_puts(&detail, ",\"job\":");
        strbuf_json(&detail, job);
    }
    if (version->kind == KIND_MODEL) {
        strbuf_puts(&detail, ",\"stage\":");
        strbuf_json(&detail, versions_stage_name(version->stage));
    }
    strbuf_putc(&detail, '}');
    tick_audit(
        tick, action, kind_singular(version->kind), name, version->team, strbuf_text(&detail));
}

int versions_add(struct tick *tick, enum kind kind, const struct doc *doc,
    const struct doc *job_manifest, int64_t *ret_version, struct error *err)
{
    struct arena *arena = tick_arena(tick);
    const char *team = doc_get_string(doc, "team"), *name = doc_get_string(doc, "name");
    char key[VERSION_KEY_TEXT];
    struct version version;
    assert(team && name);
    if (!versions_have_object(tick_server(tick), kind, team, name))
        return error_set(err, ERR_NOT_FOUND, "there is no %s %s/%s; apply one first",
            kind_singular(kind), team, name);
    struct version_index *index = index_of_tick(tick, kind, team, name, err);
    if (!index)
        return -1;
    struct doc *copy = doc_copy(arena, doc);
    doc_set_int(arena, copy, "version", index->last + 1);
    if (kind == KIND_MODEL && !doc_get(copy, "stage"))
        doc_set_string(arena, copy, "stage", versions_stage_name(STAGE_CANDIDATE));
    if (version_read(kind, copy, &version, err) < 0)
        return -1;
    index->last = index->newest = version.version;
    index->stages[version.stage] = version.version;
    index_store(tick, kind, team, name, index);
    put_doc(
        tick, version_collection(kind), version_key(team, name, version.version, key), team, copy);
    version_kind_key(kind, team, name, version.version, key);
    change_uses(tick, copy, key, put_use);
    if (job_manifest)
        put_doc(tick, version_manifest_collection, key, team, job_manifest);
    audit(tick, "version-add", &version);
    if (kind == KIND_MODEL)
        services_follow(tick, team, name);
    *ret_version = version.version;
    return 0;
}

/* Under which a tick keeps what it has changed of a version, and that it has deleted it. */
static const char *version_note(struct tick *tick, const char *what, enum kind kind,
    const char *team, const char *name, int64_t number)
{
    char key[VERSION_KEY_TEXT];
    version_kind_key(kind, team, name, number, key);
    return arena_printf(tick_arena(tick), "version-%s/%s", what, key);
}

int versions_in_tick(struct tick *tick, enum kind kind, const char *team, const char *name,
    int64_t number, struct version *ret, struct error *err)
{
    if (tick_noted(tick, version_note(tick, "deleted", kind, team, name, number)))
        return version_missing(kind, team, name, number, err);
    const struct doc *doc = tick_noted(tick, version_note(tick, "put", kind, team, name, number));
    return doc ? version_read(kind, doc, ret, err)
               : versions_get(
                     tick_server(tick), tick_arena(tick), kind, team, name, number, ret, err);
}

int versions_holder_in_tick(struct tick *tick, const char *team, const char *name,
    enum model_stage stage, int64_t *ret_number, struct error *err)
{
    assert(stage == STAGE_STAGING || stage == STAGE_PRODUCTION);
    const struct version_index *index = index_of_tick(tick, KIND_MODEL, team, name, err);
    if (!index)
        return -1;
    *ret_number = index->stages[stage];
    return 0;
}

struct newest_search {
    struct tick *tick;
    struct version_index found;
};

/* The reader shows until the commit what this tick has deleted or moved to another stage: that is
 * noted. */
static int take_newest(void *context, const struct version *version, struct error *err)
{
    struct newest_search *search = context;
    struct tick *tick = search->tick;
    struct version now = *version;
    (void)err;
    if (tick_noted(tick, version_note(tick, "deleted", now.kind, now.team, now.name, now.version)))
        return 0;
    const struct doc *doc =
        tick_noted(tick, version_note(tick, "put", now.kind, now.team, now.name, now.version));
    if (doc && version_read(version->kind, doc, &now, NULL) < 0)
        return 0;
    search->found.newest = now.version;
    search->found.stages[now.stage] = now.version;
    return 0;
}

/* After a version was deleted or left its stage, which is noted: the newest that are left, where it
 * was the one. */
static int index_without(struct tick *tick, const struct version *version, bool deleted,
    struct version_index *index, struct error *err)
{
    struct newest_search search = {.tick = tick};
    int64_t *stage = &index->stages[version->stage];
    if (*stage != version->version && (!deleted || index->newest != version->version))
        return 0;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    if (version_each(tick_server(tick), arena, version->kind, version->team, version->name,
            take_newest, &search, err) < 0)
        return -1;
    if (deleted && index->newest == version->version)
        index->newest = search.found.newest;
    if (*stage == version->version)
        *stage = search.found.stages[version->stage];
    return 0;
}

void versions_put(struct tick *tick, const struct version *version, const struct doc *doc)
{
    char key[VERSION_KEY_TEXT];
    struct version after;
    struct error err;
    version_key(version->team, version->name, version->version, key);
    put_doc(tick, version_collection(version->kind), key, version->team, doc);
    tick_note(tick,
        version_note(tick, "put", version->kind, version->team, version->name, version->version),
        doc_copy(tick_arena(tick), doc));
    if (version_read(version->kind, doc, &after, &err) < 0)
        return;
    struct version_index *index =
        index_of_tick(tick, version->kind, version->team, version->name, &err);
    if (version->kind == KIND_MODEL && after.stage != version->stage)
        services_follow(tick, version->team, version->name);
    if (index && version->kind == KIND_MODEL && after.stage != version->stage) {
        int64_t *to = &index->stages[after.stage];
        bool several = after.stage == STAGE_CANDIDATE || after.stage == STAGE_ARCHIVED;
        if (index_without(tick, version, false, index, &err) < 0) {
            log_error("the stages of the model %s/%s: %s", version->team, version->name, err.text);
            index->stages[version->stage] = 0;
        }
        if (!several || *to < version->version)
            *to = version->version;
        index_store(tick, version->kind, version->team, version->name, index);
    }
    audit(tick, "version-change", &after);
}

static void delete_documents(struct tick *tick, const struct version *version)
{
    char key[VERSION_KEY_TEXT];
    version_key(version->team, version->name, version->version, key);
    store_txn_delete_document(tick_txn(tick), version_collection(version->kind), key);
    version_kind_key(version->kind, version->team, version->name, version->version, key);
    store_txn_delete_document(tick_txn(tick), version_manifest_collection, key);
    change_uses(tick, version->doc, key, delete_use);
}

int versions_delete(struct tick *tick, const struct version *version, struct error *err)
{
    const char *note = version_note(
        tick, "deleted", version->kind, version->team, version->name, version->version);
    if (tick_noted(tick, note))
        return version_missing(version->kind, version->team, version->name, version->version, err);
    /* It may just have taken a stage, which whoever asked for this could not see. */
    if (tick_noted(tick, version_note(tick, "put", version->kind, version->team, version->name,
                             version->version)))
        return error_set(err, ERR_BUSY, "the version is changing; try again in a moment");
    struct version_index *index =
        index_of_tick(tick, version->kind, version->team, version->name, err);
    if (!index)
        return -1;
    tick_note(tick, note, index);
    if (index_without(tick, version, true, index, err) < 0) {
        tick_spoil(tick);
        return -1;
    }
    index_store(tick, version->kind, version->team, version->name, index);
    delete_documents(tick, version);
    audit(tick, "version-delete", version);
    return 0;
}
