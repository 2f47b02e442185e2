/* Manifests: the envelope around the kinds' tables, classes laid under jobs, and what is written
 * from all tables together. See spec.h. */
#include "spec/spec.h"

#include "spec/fields_internal.h"
#include "spec/tables.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct kind_entry {
    const char *name;
    const char *singular;
    const char *plural;
    const struct field_table *table;
};

static const struct kind_entry kinds[KIND_COUNT] = {
    [KIND_POOL] = {"Pool", "pool", "pools", &pool_table},
    [KIND_TEAM] = {"Team", "team", "teams", &team_table},
    [KIND_CLASS] = {"Class", "class", "classes", &class_table},
    [KIND_JOB] = {"Job", "job", "jobs", &job_table},
    [KIND_DATASET] = {"Dataset", "dataset", "datasets", &dataset_table},
    [KIND_MODEL] = {"Model", "model", "models", &model_table},
    [KIND_RUNTIME] = {"Runtime", "runtime", "runtimes", &runtime_table},
    [KIND_SERVICE] = {"Service", "service", "services", &service_table},
    [KIND_HPA] = {"HorizontalPodAutoscaler", "horizontalpodautoscaler", "horizontalpodautoscalers",
        &hpa_table},
};

const char *kind_name(enum kind kind)
{
    assert(kind < KIND_COUNT);
    return kinds[kind].name;
}

const char *kind_singular(enum kind kind)
{
    assert(kind < KIND_COUNT);
    return kinds[kind].singular;
}

const char *kind_plural(enum kind kind)
{
    assert(kind < KIND_COUNT);
    return kinds[kind].plural;
}

const struct field_table *kind_table(enum kind kind)
{
    assert(kind < KIND_COUNT);
    return kinds[kind].table;
}

static void strbuf_scope(struct strbuf *buf)
{
    strbuf_finish(buf);
}

int kind_find(const char *text, enum kind *ret, struct error *err)
{
    const char *names[KIND_COUNT + 1] = {0};
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (strcasecmp(text, kinds[i].singular) == 0 || strcasecmp(text, kinds[i].plural) == 0) {
            *ret = (enum kind)i;
            return 0;
        }
        names[i] = kinds[i].name;
    }
    SCOPED(strbuf_scope) struct strbuf got = {0}, known = {0};
    write_quoted(text, &got);
    for (size_t i = 0; i < KIND_COUNT; i++)
        strbuf_printf(&known, "%s%s", i ? ", " : "", kinds[i].name);
    const char *name = fields_suggest(text, names);
    return error_set(err, ERR_INVALID, "expected one of %s, got %s%s%s%s", strbuf_text(&known),
        strbuf_text(&got), name ? "; did you mean \"" : "", name ? name : "", name ? "\"?" : "");
}

/* ---- decoding -------------------------------------------------------------------------- */

static bool read_kind(
    struct arena *arena, const struct doc *doc, enum kind *ret, struct field_errors *errors)
{
    const struct doc *kind = doc_get(doc, "kind");
    struct error err;
    if (doc->type != DOC_MAP) {
        SCOPED(strbuf_scope) struct strbuf got = {0};
        doc_write_got(doc, &got);
        field_errors_add(
            errors, arena, "", doc->line, "expected a manifest, a map, got %s", strbuf_text(&got));
    } else if (!kind || kind->type == DOC_NULL) {
        field_errors_add(errors, arena, "kind", doc->line, "required, but not given");
    } else if (kind_find(kind->type == DOC_STRING ? kind->text : "", ret, &err) < 0) {
        field_errors_add(errors, arena, "kind", kind->line, "%s", err.text);
    } else {
        return true;
    }
    return false;
}

/* Lines of a class are no lines of the manifest that uses it. */
static void forget_lines(struct doc *doc)
{
    doc->line = 0;
    for (struct doc *item = doc->first; item; item = item->next)
        forget_lines(item);
}

/* The job's document with its class laid under its spec; doc itself when it has none. */
static const struct doc *lay_class(struct arena *arena, const struct doc *doc,
    const struct class_lookup *classes, struct field_errors *errors)
{
    const struct doc *class_doc = doc_get(doc_get(doc, "spec"), "class");
    if (!classes || !class_doc || class_doc->type != DOC_STRING)
        return doc;
    const struct doc *template_doc = classes->template_of(classes->context, class_doc->text);
    if (!template_doc) {
        SCOPED(strbuf_scope) struct strbuf got = {0};
        write_quoted(class_doc->text, &got);
        field_errors_add(errors, arena, "spec.class", class_doc->line, "there is no class %s",
            strbuf_text(&got));
        return doc;
    }
    struct doc *below = doc_copy(arena, template_doc);
    forget_lines(below);
    struct doc *base = doc_map(arena);
    doc_set(arena, base, "spec", below);
    return doc_merge(arena, base, doc);
}

static const void *manifest_object(const struct manifest *manifest)
{
    return &manifest->pool;
}

int manifest_decode(struct arena *arena, const struct doc *doc, const struct class_lookup *classes,
    struct manifest *ret, struct field_errors *errors)
{
    assert(arena && doc && ret && errors);
    size_t before = errors->count + errors->left_out;
    struct manifest manifest = {0};
    if (!read_kind(arena, doc, &manifest.kind, errors))
        return -1;
    if (manifest.kind == KIND_JOB)
        doc = lay_class(arena, doc, classes, errors);
    size_t added =
        fields_decode(kind_table(manifest.kind), arena, doc, NULL, false, &manifest.pool, errors);
    if (added > 0 || errors->count + errors->left_out > before)
        return -1;
    *ret = manifest;
    return 0;
}

/* Walks the document along the table; what is ignored and is a part of the spec is of no effect. */
static void add_unused(struct arena *arena, const struct field_table *table, const struct doc *doc,
    const char *path, struct doc *list)
{
    for (size_t i = 0; doc && doc->type == DOC_MAP && i < table->count; i++) {
        const struct field *field = &table->fields[i];
        const struct doc *value = doc_get(doc, field->name);
        const char *at = arena_printf(arena, "%s.%s", path, field->name);
        if (!value || value->type == DOC_NULL)
            continue;
        if (field->type == FIELD_IGNORED)
            doc_append(list, doc_string(arena, at));
        else if (field->type == FIELD_OBJECT)
            add_unused(arena, field->table, value, at, list);
        size_t n = 0;
        for (const struct doc *item = field->type == FIELD_OBJECTS ? value->first : NULL; item;
             item = item->next, n++)
            add_unused(arena, field->table, item, arena_printf(arena, "%s[%zu]", at, n), list);
    }
}

struct doc *manifest_unused(struct arena *arena, const struct doc *doc, enum kind kind)
{
    struct doc *list = doc_list(arena);
    const struct field *spec = field_table_find(kind_table(kind), "spec");
    if (spec && spec->table)
        add_unused(arena, spec->table, doc_get(doc, "spec"), "spec", list);
    return list;
}

struct doc *manifest_encode(struct arena *arena, const struct manifest *manifest)
{
    assert(arena && manifest && manifest->kind < KIND_COUNT);
    bool everything = manifest->kind == KIND_JOB && manifest->job.class_name;
    return fields_encode(kind_table(manifest->kind), arena, manifest_object(manifest), everything);
}

int manifest_check_update(struct arena *arena, const struct manifest *before,
    const struct manifest *after, struct field_errors *errors)
{
    assert(before->kind == after->kind);
    size_t count = errors->count + errors->left_out;
    fields_check_immutable(
        kind_table(before->kind), arena, manifest_object(before), manifest_object(after), errors);
    return errors->count + errors->left_out > count ? -1 : 0;
}

bool manifest_equal(const struct manifest *a, const struct manifest *b)
{
    return a->kind == b->kind &&
           fields_equal(kind_table(a->kind), manifest_object(a), manifest_object(b));
}

static_assert(offsetof(struct pool, metadata) == 0 && offsetof(struct team, metadata) == 0 &&
                  offsetof(struct class_kind, metadata) == 0 && offsetof(struct job, metadata) == 0,
    "every kind begins with its metadata");
static_assert(offsetof(struct dataset, metadata) == 0 && offsetof(struct model, metadata) == 0 &&
                  offsetof(struct runtime, metadata) == 0 &&
                  offsetof(struct service, metadata) == 0 && offsetof(struct hpa, metadata) == 0,
    "every kind begins with its metadata");

const struct metadata *manifest_metadata(const struct manifest *manifest)
{
    return manifest_object(manifest);
}

bool kind_has_team(enum kind kind)
{
    return kind == KIND_JOB || kind == KIND_DATASET || kind == KIND_MODEL || kind == KIND_SERVICE ||
           kind == KIND_HPA;
}

const char *label_find(const struct label_list *labels, const char *key)
{
    for (size_t i = 0; i < labels->count; i++) {
        if (strcmp(labels->items[i].key, key) == 0)
            return labels->items[i].value;
    }
    return NULL;
}

const char *missing_label(const struct metadata *metadata, const struct team *team)
{
    for (size_t i = 0; i < team->required_labels.count; i++) {
        const char *value = label_find(&metadata->labels, team->required_labels.items[i]);
        if (!value || !value[0])
            return team->required_labels.items[i];
    }
    return NULL;
}

const char *job_missing_label(const struct job *job, const struct team *team)
{
    return missing_label(&job->metadata, team);
}

const char *priority_name(int64_t priority)
{
    const struct field_word *word =
        word_of(field_table_find(&job_spec_table, "priority")->words, priority);
    return word ? word->word : NULL;
}

/* ---- all tables together --------------------------------------------------------------- */

struct doc *spec_json_schema(struct arena *arena)
{
    struct doc *schema = doc_map(arena), *definitions = doc_map(arena), *any = doc_list(arena);
    doc_set_string(arena, schema, "$schema", "https://json-schema.org/draft/2020-12/schema");
    doc_set_string(arena, schema, "title", "A muster manifest");
    for (size_t i = 0; i < KIND_COUNT; i++) {
        fields_schema(kinds[i].table, arena, "#/$defs/", definitions);
        struct doc *reference = doc_append(any, doc_map(arena));
        doc_set(arena, reference, "$ref",
            doc_string(arena, arena_printf(arena, "#/$defs/%s", kinds[i].table->name)));
    }
    doc_set(arena, schema, "oneOf", any);
    doc_set(arena, schema, "$defs", definitions);
    return schema;
}

void spec_openapi_components(struct arena *arena, struct doc *schemas)
{
    for (size_t i = 0; i < KIND_COUNT; i++)
        fields_schema(kinds[i].table, arena, "#/components/schemas/", schemas);
}

void spec_write_json_schema(struct strbuf *out)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    doc_write_json(spec_json_schema(arena), 2, out);
    strbuf_putc(out, '\n');
}

void spec_write_openapi_components(struct strbuf *out)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct doc *schemas = doc_map(arena);
    spec_openapi_components(arena, schemas);
    doc_write_json(schemas, 2, out);
    strbuf_putc(out, '\n');
}

void spec_write_markdown(struct strbuf *out)
{
    strbuf_puts(out,
        "# Kinds\n\n"
        "What manifests may say. This page is made from the field tables in `src/spec`; change "
        "those, then run the unit test `spec_manifest` with `MUSTER_WRITE_DOCS=1`.\n\n"
        "A manifest is YAML or JSON of at most 256 KiB; several are separated by `---`. Anchors, "
        "aliases, tags and directives are not taken. A field with nothing or `null` in it counts "
        "as not given. "
        "Sizes are written as `512Mi` or `16G`, durations as `90s` or `1h30m`, times as "
        "`2026-01-31T08:30:00Z`.\n");
    for (size_t i = 0; i < KIND_COUNT; i++)
        fields_markdown(kinds[i].table, out);
}

void spec_write_paths(enum kind kind, struct strbuf *out)
{
    fields_paths(kind_table(kind), out);
}
