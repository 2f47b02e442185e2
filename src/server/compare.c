/* Whether a job that was run again gave the same: see compare.h. */
#include "server/compare.h"

#include "base/memory.h"
#include "base/vec.h"
#include "server/source.h"
#include "server/versions.h"
#include "spec/spec.h"
#include "wire/doc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LISTED_MAX = 1000 };

struct file_item {
    const char *path;
    const char *digest;
};

struct file_list {
    struct arena *arena;
    VEC(struct file_item) items;
};

struct difference {
    const char *path;
    const char *expected; /* NULL: it was not there */
    const char *got;
};

struct comparison {
    struct arena *arena;
    struct version version;
    struct error err; /* ERR_NONE when it was compared */
    bool compared;
    char got[65];
    int64_t same, different, missing, added;
    VEC(struct difference) differences;
};

struct comparison *compare_create(struct server *server, const struct doc *reproduces)
{
    struct comparison *comparison = mem_alloc(1, sizeof *comparison);
    const char *kind = doc_get_string(reproduces, "kind");
    const char *team = doc_get_string(reproduces, "team");
    const char *name = doc_get_string(reproduces, "name");
    comparison->arena = arena_create();
    error_set(&comparison->err, ERR_NOT_FOUND, "nothing was written that could be compared");
    if (!team || !name ||
        versions_get(server, comparison->arena,
            kind && strcmp(kind, "dataset") == 0 ? KIND_DATASET : KIND_MODEL, team, name,
            doc_get_int(reproduces, "version", 0), &comparison->version, &comparison->err) < 0)
        comparison->version = (struct version){0};
    return comparison;
}

void compare_free(struct comparison *comparison)
{
    if (!comparison)
        return;
    vec_free(&comparison->differences);
    arena_destroy(comparison->arena);
    free(comparison);
}

/* ---- files ---------------------------------------------------------------------------------- */

static int take_file(void *context, const struct tree_file *file, struct error *err)
{
    struct file_list *list = context;
    struct file_item item = {
        arena_strdup(list->arena, file->path), arena_strdup(list->arena, file->digest)};
    (void)err;
    vec_push(&list->items, item);
    return 0;
}

static void differ(
    struct comparison *comparison, const char *path, const char *expected, const char *got)
{
    struct difference difference = {path, expected, got};
    int64_t *count = !expected ? &comparison->added
                     : !got    ? &comparison->missing
                               : &comparison->different;
    (*count)++;
    if (comparison->differences.count < LISTED_MAX)
        vec_push(&comparison->differences, difference);
}

/* Both lists ascend by path. */
static void compare_lists(
    struct comparison *comparison, const struct file_list *expected, const struct file_list *got)
{
    size_t e = 0, g = 0;
    while (e < expected->items.count || g < got->items.count) {
        const struct file_item *a = e < expected->items.count ? &expected->items.items[e] : NULL;
        const struct file_item *b = g < got->items.count ? &got->items.items[g] : NULL;
        int order = !a ? 1 : !b ? -1 : strcmp(a->path, b->path);
        if (order == 0 && strcmp(a->digest, b->digest) == 0)
            comparison->same++;
        else if (order == 0)
            differ(comparison, a->path, a->digest, b->digest);
        else if (order < 0)
            differ(comparison, a->path, a->digest, NULL);
        else
            differ(comparison, b->path, NULL, b->digest);
        e += order <= 0;
        g += order >= 0;
    }
}

void compare_trees(
    struct comparison *comparison, struct registry *registry, const struct artifact_facts *got)
{
    struct file_list expected = {.arena = comparison->arena}, now = {.arena = comparison->arena};
    if (comparison->version.tree &&
        registry_files(
            registry, comparison->version.tree, take_file, &expected, &comparison->err) == 0 &&
        registry_files(registry, got->tree, take_file, &now, &comparison->err) == 0) {
        compare_lists(comparison, &expected, &now);
        memcpy(comparison->got, got->digest, sizeof comparison->got);
        comparison->compared = true;
    }
    vec_free(&expected.items);
    vec_free(&now.items);
}

static struct doc *files_doc(const struct comparison *comparison, struct arena *arena)
{
    struct doc *files = doc_map(arena);
    struct doc *list = doc_list(arena);
    doc_set_int(arena, files, "same", comparison->same);
    doc_set_int(arena, files, "different", comparison->different);
    doc_set_int(arena, files, "missing", comparison->missing);
    doc_set_int(arena, files, "added", comparison->added);
    for (size_t i = 0; i < comparison->differences.count; i++) {
        const struct difference *difference = &comparison->differences.items[i];
        struct doc *item = doc_append(list, doc_map(arena));
        doc_set_string(arena, item, "path", difference->path);
        doc_set_string(arena, item, "expected", difference->expected);
        doc_set_string(arena, item, "got", difference->got);
    }
    doc_set(arena, files, "list", list);
    return files;
}

/* ---- metrics -------------------------------------------------------------------------------- */

/* Numbers are equal when they are the same however they are written: 0.90 and 0.9. */
static bool metric_equal(const char *expected, const char *got)
{
    return expected && got && strtod(expected, NULL) == strtod(got, NULL);
}

static void add_metric(
    struct arena *arena, struct doc *list, const char *name, const char *expected, const char *got)
{
    struct doc *item = doc_append(list, doc_map(arena));
    doc_set_string(arena, item, "name", name);
    doc_set_string(arena, item, "expected", expected);
    doc_set_string(arena, item, "got", got);
    doc_set_bool(arena, item, "equal", metric_equal(expected, got));
    double difference = expected && got ? strtod(got, NULL) - strtod(expected, NULL) : NAN;
    if (isfinite(difference))
        doc_set_string(arena, item, "difference", arena_printf(arena, "%.6g", difference));
}

/* All metrics of both, in the order they were recorded; returns whether all are equal. */
static bool compare_metrics(
    struct arena *arena, struct doc *list, const struct doc *expected, const struct doc *got)
{
    bool equal = true;
    for (const struct doc *field = expected ? expected->first : NULL; field; field = field->next) {
        const char *other = doc_get_string(got, field->key);
        add_metric(arena, list, field->key, field->text, other);
        equal &= metric_equal(field->text, other);
    }
    for (const struct doc *field = got ? got->first : NULL; field; field = field->next) {
        if (doc_get_string(expected, field->key))
            continue;
        add_metric(arena, list, field->key, NULL, field->text);
        equal = false;
    }
    return equal;
}

struct doc *compare_doc(
    struct comparison *comparison, struct server *server, struct arena *arena, uint64_t job)
{
    const struct version *version = &comparison->version;
    struct doc *doc = doc_map(arena);
    char text[VERSION_TEXT];
    if (version->tree)
        doc_set_string(arena, doc, "of",
            versions_text(version->kind, version->team, version->name, version->version, text));
    if (!comparison->compared) {
        doc_set_bool(arena, doc, "equal", false);
        doc_set_string(arena, doc, "error", comparison->err.text);
        return doc;
    }
    const char *got = arena_printf(arena, "sha256:%s", comparison->got);
    doc_set_bool(arena, doc, "equal", strcmp(got, version->digest) == 0);
    doc_set_string(arena, doc, "expected", version->digest);
    doc_set_string(arena, doc, "got", got);
    doc_set(arena, doc, "files", files_doc(comparison, arena));
    struct doc *metrics = doc_list(arena);
    bool equal = compare_metrics(arena, metrics,
        doc_get(doc_get(version->doc, "source"), "metrics"), source_metrics(server, arena, job));
    doc_set(arena, doc, "metrics", metrics);
    doc_set_bool(arena, doc, "metricsEqual", equal);
    return doc;
}
