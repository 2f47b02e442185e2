/* The catalogue: see catalog.h. Each entry owns an arena with its document and its decoded form;
 * entries of a kind are kept sorted by name. */
#include "server/catalog.h"

#include "base/vec.h"
#include "store/store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct owned_entry {
    struct catalog_entry entry;
    struct arena *arena;
    struct manifest manifest;
};

typedef VEC(struct owned_entry *) entry_list;

struct catalog {
    entry_list kinds[KIND_COUNT]; /* that of jobs stays empty: they are not kept in memory */
};

const char *catalog_collection(enum kind kind)
{
    assert(kind < KIND_COUNT);
    return kind_singular(kind);
}

struct catalog *catalog_create(void)
{
    return mem_alloc(1, sizeof(struct catalog));
}

static void entry_free(struct owned_entry *entry)
{
    arena_destroy(entry->arena);
    free(entry);
}

static void entries_free(entry_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        entry_free(list->items[i]);
    vec_free(list);
}

void catalog_destroy(struct catalog *catalog)
{
    if (!catalog)
        return;
    for (size_t kind = 0; kind < KIND_COUNT; kind++)
        entries_free(&catalog->kinds[kind]);
    free(catalog);
}

/* Where name stands or would stand. */
static size_t entry_position(const entry_list *list, const char *name, bool *ret_found)
{
    size_t low = 0, high = list->count;
    *ret_found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(list->items[middle]->entry.name, name);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int catalog_put(struct catalog *catalog, enum kind kind, const struct doc *doc, int64_t revision,
    struct error *err)
{
    assert(kind < KIND_COUNT && kind != KIND_JOB);
    struct owned_entry *entry = mem_alloc(1, sizeof *entry);
    struct field_errors *errors = mem_alloc(1, sizeof *errors);
    entry->arena = arena_create();
    struct doc *copy = doc_copy(entry->arena, doc);
    int rc = manifest_decode(entry->arena, copy, NULL, &entry->manifest, errors);
    if (rc < 0) {
        field_errors_summary(errors, err);
        free(errors);
        entry_free(entry);
        return -1;
    }
    free(errors);
    char key[CATALOG_KEY];
    entry->entry = (struct catalog_entry){
        .name =
            arena_strdup(entry->arena, catalog_key(kind, manifest_metadata(&entry->manifest), key)),
        .doc = copy,
        .manifest = &entry->manifest,
        .revision = revision,
    };
    entry_list *list = &catalog->kinds[kind];
    bool found;
    size_t at = entry_position(list, entry->entry.name, &found);
    if (found) {
        entry_free(list->items[at]);
        list->items[at] = entry;
        return 0;
    }
    vec_push(list, entry);
    memmove(list->items + at + 1, list->items + at, (list->count - 1 - at) * sizeof *list->items);
    list->items[at] = entry;
    return 0;
}

void catalog_remove(struct catalog *catalog, enum kind kind, const char *name)
{
    bool found;
    size_t at = entry_position(&catalog->kinds[kind], name, &found);
    if (!found)
        return;
    entry_free(catalog->kinds[kind].items[at]);
    vec_remove(&catalog->kinds[kind], at);
}

struct load {
    struct catalog *catalog;
    enum kind kind;
};

static int load_document(void *context, const struct document *document, struct error *err)
{
    struct load *load = context;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct doc *doc =
        doc_parse_json(arena, document->json, strlen(document->json), DOC_BYTES_MAX * 4, err);
    if (!doc || catalog_put(load->catalog, load->kind, doc, document->revision, err) < 0)
        return error_prefix(err, "stored %s %s", kind_singular(load->kind), document->key);
    return 0;
}

int catalog_load(struct catalog *catalog, struct store_reader *reader, struct error *err)
{
    struct catalog *fresh = catalog_create();
    for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
        struct load load = {fresh, kind};
        if (kind != KIND_JOB && reader_documents(reader, catalog_collection(kind), NULL, NULL,
                                    100000, load_document, &load, err) < 0) {
            catalog_destroy(fresh);
            return -1;
        }
    }
    struct catalog old = *catalog;
    *catalog = *fresh;
    *fresh = old;
    catalog_destroy(fresh);
    return 0;
}

const struct catalog_entry *catalog_find(
    const struct catalog *catalog, enum kind kind, const char *name)
{
    bool found;
    size_t at = entry_position(&catalog->kinds[kind], name, &found);
    return found ? &catalog->kinds[kind].items[at]->entry : NULL;
}

const char *catalog_key(enum kind kind, const struct metadata *metadata, char out[CATALOG_KEY])
{
    if (kind_has_team(kind))
        snprintf(out, CATALOG_KEY, "%s/%s", metadata->team, metadata->name);
    else
        snprintf(out, CATALOG_KEY, "%s", metadata->name);
    return out;
}

const struct catalog_entry *catalog_find_in(
    const struct catalog *catalog, enum kind kind, const char *team, const char *name)
{
    char key[2 * CATALOG_KEY];
    snprintf(key, sizeof key, "%s/%s", team, name);
    return catalog_find(catalog, kind, key);
}

size_t catalog_count(const struct catalog *catalog, enum kind kind)
{
    return catalog->kinds[kind].count;
}

const struct catalog_entry *catalog_at(const struct catalog *catalog, enum kind kind, size_t i)
{
    assert(i < catalog->kinds[kind].count);
    return &catalog->kinds[kind].items[i]->entry;
}

const struct team *catalog_team(const struct catalog *catalog, const char *name)
{
    const struct catalog_entry *entry = catalog_find(catalog, KIND_TEAM, name);
    return entry ? &entry->manifest->team : NULL;
}

static const struct doc *class_template(void *context, const char *name)
{
    const struct catalog_entry *entry = catalog_find(context, KIND_CLASS, name);
    return entry ? entry->manifest->class_kind.template_doc : NULL;
}

struct class_lookup catalog_classes(struct catalog *catalog)
{
    return (struct class_lookup){.template_of = class_template, .context = catalog};
}
