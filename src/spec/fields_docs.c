/* What is written about tables: JSON Schema, the reference in Markdown, completion data. */
#include "spec/fields_internal.h"

#include <assert.h>
#include <string.h>

static void strbuf_scope(struct strbuf *buf)
{
    strbuf_finish(buf);
}

/* ---- JSON Schema ----------------------------------------------------------------------- */

struct schema_writer {
    struct arena *arena;
    const char *reference_prefix;
    struct doc *components;
};

static struct doc *typed(struct schema_writer *writer, const char *type)
{
    struct doc *schema = doc_map(writer->arena);
    doc_set_string(writer->arena, schema, "type", type);
    return schema;
}

static struct doc *reference(
    struct schema_writer *writer, const struct field_table *table, const char *suffix)
{
    struct doc *schema = doc_map(writer->arena);
    doc_set_string(writer->arena, schema, "$ref",
        arena_printf(writer->arena, "%s%s%s", writer->reference_prefix, table->name, suffix));
    return schema;
}

static struct doc *words_schema(struct schema_writer *writer, const struct field_word *words)
{
    struct doc *schema = typed(writer, "string");
    struct doc *list = doc_set(writer->arena, schema, "enum", doc_list(writer->arena));
    for (; words->word; words++)
        doc_append(list, doc_string(writer->arena, words->word));
    return schema;
}

static struct doc *text_schema(struct schema_writer *writer, const struct field *field)
{
    const struct text_rule *rule = field_rule(field);
    struct doc *schema = typed(writer, "string");
    doc_set_string(writer->arena, schema, "pattern", rule->pattern);
    if (field->min)
        doc_set_int(writer->arena, schema, "minLength", field->min);
    doc_set_int(writer->arena, schema, "maxLength", (int64_t)rule->length_max);
    return schema;
}

static struct doc *any_of(struct schema_writer *writer, struct doc *first, struct doc *second)
{
    struct doc *schema = doc_map(writer->arena);
    struct doc *list = doc_set(writer->arena, schema, "anyOf", doc_list(writer->arena));
    doc_append(list, first);
    doc_append(list, second);
    return schema;
}

static struct doc *integer_schema(struct schema_writer *writer, const struct field *field)
{
    struct doc *schema = typed(writer, "integer");
    doc_set_int(writer->arena, schema, "minimum", field->min);
    if (field->max)
        doc_set_int(writer->arena, schema, "maximum", field->max);
    return field->words ? any_of(writer, schema, words_schema(writer, field->words)) : schema;
}

/* An amount: text with a unit, or a plain number. */
static struct doc *amount_schema(struct schema_writer *writer, const struct field *field)
{
    const struct number_type *number = field_number_type(field->type);
    struct doc *text = typed(writer, "string");
    doc_set_string(writer->arena, text, "pattern", number->pattern);
    if (!number->as_number)
        return text;
    struct doc *plain = typed(writer, field->type == FIELD_BYTES ? "integer" : "number");
    doc_set_int(writer->arena, plain, "minimum", 0);
    return any_of(writer, text, plain);
}

static void set_items_bounds(
    struct schema_writer *writer, const struct field *field, struct doc *schema, bool map)
{
    if (field->min)
        doc_set_int(writer->arena, schema, map ? "minProperties" : "minItems", field->min);
    doc_set_int(
        writer->arena, schema, map ? "maxProperties" : "maxItems", (int64_t)field_items_max(field));
}

static struct doc *field_schema(struct schema_writer *writer, const struct field *field);
static void add_component(struct schema_writer *writer, const struct field_table *table,
    const char *suffix, size_t from, bool partial);

static struct doc *list_schema(struct schema_writer *writer, const struct field *field)
{
    struct doc *schema = typed(writer, "array"), *items;
    if (field->type == FIELD_TEXTS) {
        items = text_schema(writer, &(struct field){.rule = field->rule});
    } else {
        add_component(writer, field->table, "", 0, false);
        items = reference(writer, field->table, "");
        if (field->table->shorthand)
            items = any_of(writer, items,
                text_schema(writer, field_table_find(field->table, field->table->shorthand)));
    }
    doc_set(writer->arena, schema, "items", items);
    set_items_bounds(writer, field, schema, false);
    return schema;
}

static struct doc *map_schema(struct schema_writer *writer, const struct field *field)
{
    struct doc *schema = typed(writer, "object"), *value;
    if (field->table->pair) {
        value = field_schema(writer, &field->table->fields[1]);
    } else {
        add_component(writer, field->table, "", 1, false);
        value = reference(writer, field->table, "");
    }
    doc_set(writer->arena, schema, "propertyNames", text_schema(writer, &field->table->fields[0]));
    doc_set(writer->arena, schema, "additionalProperties", value);
    set_items_bounds(writer, field, schema, true);
    return schema;
}

/* Partial objects are the tables again, without required fields, under names of their own. */
static struct doc *object_schema(
    struct schema_writer *writer, const struct field *field, bool partial)
{
    const char *suffix = partial ? "Partial" : "";
    add_component(writer, field->table, suffix, 0, partial);
    return reference(writer, field->table, suffix);
}

static struct doc *constant_schema(struct schema_writer *writer, const struct field *field)
{
    struct doc *schema = doc_map(writer->arena);
    doc_set_string(writer->arena, schema, "const", field->fallback_text);
    return schema;
}

static struct doc *quantity_schema(struct schema_writer *writer)
{
    return any_of(writer, typed(writer, "string"), typed(writer, "number"));
}

static struct doc *type_schema(struct schema_writer *writer, const struct field *field)
{
    switch (field->type) {
    case FIELD_TEXT: return text_schema(writer, field);
    case FIELD_QUANTITY: return quantity_schema(writer);
    case FIELD_BOOL: return typed(writer, "boolean");
    case FIELD_INT: return integer_schema(writer, field);
    case FIELD_ENUM: return words_schema(writer, field->words);
    case FIELD_TEXTS:
    case FIELD_OBJECTS: return list_schema(writer, field);
    case FIELD_MAP: return map_schema(writer, field);
    case FIELD_OBJECT: return object_schema(writer, field, false);
    case FIELD_DOC: return object_schema(writer, field, true);
    case FIELD_CONSTANT: return constant_schema(writer, field);
    case FIELD_IGNORED: return doc_map(writer->arena);
    default: return amount_schema(writer, field);
    }
}

static struct doc *field_schema(struct schema_writer *writer, const struct field *field)
{
    struct doc *schema = type_schema(writer, field);
    doc_set_string(writer->arena, schema, "description", field->doc);
    if (field_is_number(field) && !field->fallback_of && !(field->flags & FIELD_REQUIRED) &&
        field_in_bounds(field, field->fallback) && field->type != FIELD_TIME)
        doc_set(writer->arena, schema, "default",
            field_value_doc(writer->arena, field, field->fallback));
    return schema;
}

static void add_component(struct schema_writer *writer, const struct field_table *table,
    const char *suffix, size_t from, bool partial)
{
    struct arena *arena = writer->arena;
    const char *name = arena_printf(arena, "%s%s", table->name, suffix);
    if (doc_get(writer->components, name))
        return;
    struct doc *schema = doc_set(arena, writer->components, name, typed(writer, "object"));
    doc_set_string(arena, schema, "description", table->doc);
    struct doc *required = doc_list(arena);
    struct doc *properties = doc_set(arena, schema, "properties", doc_map(arena));
    for (size_t i = from; i < table->count; i++) {
        const struct field *field = &table->fields[i];
        bool object = field->type == FIELD_OBJECT;
        struct doc *value =
            object && partial ? object_schema(writer, field, true) : field_schema(writer, field);
        doc_set(arena, properties, field->name, value);
        if ((field->flags & FIELD_REQUIRED) && !field->unless)
            doc_append(required, doc_string(arena, field->name));
    }
    if (required->count > 0 && !partial)
        doc_set(arena, schema, "required", required);
    doc_set_bool(arena, schema, "additionalProperties", false);
}

void fields_schema(const struct field_table *table, struct arena *arena,
    const char *reference_prefix, struct doc *components)
{
    assert(components->type == DOC_MAP);
    struct schema_writer writer = {arena, reference_prefix, components};
    add_component(&writer, table, "", 0, false);
}

/* ---- Markdown -------------------------------------------------------------------------- */

static void write_type(const struct field *field, struct strbuf *out)
{
    static const char *const names[FIELD_TYPE_COUNT] = {
        [FIELD_TEXT] = "text",
        [FIELD_QUANTITY] = "amount",
        [FIELD_BOOL] = "true or false",
        [FIELD_INT] = "whole number",
        [FIELD_BYTES] = "size",
        [FIELD_MILLI] = "number",
        [FIELD_MICRO] = "number",
        [FIELD_DURATION] = "duration",
        [FIELD_TIME] = "time",
        [FIELD_TEXTS] = "list of texts",
        [FIELD_OBJECT] = "map",
        [FIELD_OBJECTS] = "list of maps",
        [FIELD_MAP] = "map",
        [FIELD_DOC] = "map",
        [FIELD_CONSTANT] = "text",
        [FIELD_IGNORED] = "anything",
    };
    if (field->type == FIELD_ENUM || field->words) {
        for (const struct field_word *word = field->words; word->word; word++)
            strbuf_printf(out, "%s`%s`", word == field->words ? "" : ", ", word->word);
        strbuf_puts(out, field->type == FIELD_ENUM ? "" : " or ");
    }
    if (field->type != FIELD_ENUM)
        strbuf_puts(out, names[field->type]);
}

static void write_bounds(const struct field *field, struct strbuf *out)
{
    if (!field_number_type(field->type) || field->type == FIELD_TIME || !field->max)
        return;
    const struct field plain = {.type = field->type};
    strbuf_puts(out, ", ");
    field_write_value(&plain, field->min, out);
    strbuf_puts(out, " to ");
    field_write_value(&plain, field->max, out);
}

/* The default in words, nothing where a field has none. */
static void write_default(const struct field *field, struct strbuf *out)
{
    if (field->fallback_doc) {
        strbuf_puts(out, field->fallback_doc);
    } else if (field->fallback_text) {
        strbuf_printf(out, "`%s`", field->fallback_text);
    } else if (field_is_number(field) && field_in_bounds(field, field->fallback) &&
               field->type != FIELD_TIME) {
        strbuf_putc(out, '`');
        field_write_value(field, field->fallback, out);
        strbuf_putc(out, '`');
    }
}

static void write_row(const struct field *field, const char *prefix, struct strbuf *out)
{
    strbuf_printf(out, "| `%s%s` | ", prefix, field->name);
    write_type(field, out);
    write_bounds(field, out);
    strbuf_puts(out, " | ");
    if ((field->flags & FIELD_REQUIRED) && field->unless)
        strbuf_printf(out, "required without `%s`", field->unless);
    else if (field->flags & FIELD_REQUIRED)
        strbuf_puts(out, "required");
    else
        write_default(field, out);
    strbuf_printf(out, " | %s%s |\n", field->doc,
        field->flags & FIELD_IMMUTABLE ? " Cannot be changed later." : "");
}

/* How a path names any item of a list or map. */
static const char *item_mark(const struct field *field)
{
    if (field->type == FIELD_OBJECTS || field->type == FIELD_TEXTS)
        return "[]";
    return field->type == FIELD_MAP ? ".*" : "";
}

/* Partial objects are described where they are whole. */
static bool has_rows_below(const struct field *field)
{
    return field->table && !field->table->pair && field->type != FIELD_DOC;
}

static void write_rows(
    const struct field_table *table, size_t from, const char *prefix, struct strbuf *out)
{
    for (size_t i = from; i < table->count; i++) {
        const struct field *field = &table->fields[i];
        write_row(field, prefix, out);
        if (!has_rows_below(field))
            continue;
        SCOPED(strbuf_scope) struct strbuf below = {0};
        strbuf_printf(&below, "%s%s%s.", prefix, field->name, item_mark(field));
        write_rows(field->table, field->type == FIELD_MAP, strbuf_text(&below), out);
    }
}

void fields_markdown(const struct field_table *table, struct strbuf *out)
{
    strbuf_printf(out, "\n## %s\n\n%s\n\n", table->name, table->doc);
    strbuf_puts(out, "| field | type | default | |\n|---|---|---|---|\n");
    write_rows(table, 0, "", out);
}

/* ---- completion ------------------------------------------------------------------------ */

static void write_paths(
    const struct field_table *table, size_t from, const char *prefix, struct strbuf *out)
{
    for (size_t i = from; i < table->count; i++) {
        const struct field *field = &table->fields[i];
        if (field->type == FIELD_IGNORED)
            continue;
        SCOPED(strbuf_scope) struct strbuf path = {0};
        strbuf_printf(&path, "%s%s%s", prefix, field->name, item_mark(field));
        strbuf_printf(out, "%s\t", strbuf_text(&path));
        for (const struct field_word *word = field->words; word && word->word; word++)
            strbuf_printf(out, "%s%s", word == field->words ? "" : " ", word->word);
        if (field->type == FIELD_BOOL)
            strbuf_puts(out, "true false");
        if (field->type == FIELD_CONSTANT)
            strbuf_puts(out, field->fallback_text);
        strbuf_putc(out, '\n');
        if (!field->table || field->table->pair)
            continue;
        strbuf_putc(&path, '.');
        write_paths(field->table, field->type == FIELD_MAP, strbuf_text(&path), out);
    }
}

void fields_paths(const struct field_table *table, struct strbuf *out)
{
    write_paths(table, 0, "", out);
}
