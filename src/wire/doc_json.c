/* Documents from and to JSON text: see doc.h. jansson reads (it checks UTF-8, refuses NUL, repeated
 * keys and anything after the value, and has a bound of its own on nesting); its tree is copied
 * into the arena under our bounds. jansson keeps no lines, so every line is 0. */
#include "base/memory.h"
#include "wire/doc.h"

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct json_copy {
    struct arena *arena;
    struct error *err;
    size_t items, items_max;
};

static void json_scope(json_t **json)
{
    json_decref(*json);
}

/* The shortest text that reads back to the same number. Negative zero becomes zero: no amount is
 * one, and "-0" would read back as the integer. */
static struct doc *copy_real(struct arena *arena, double value)
{
    char text[40];
    if (value == 0)
        return doc_number(arena, "0");
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return doc_number(arena, text);
}

static struct doc *copy_value(struct json_copy *copy, json_t *json, int depth);

static struct doc *copy_list(struct json_copy *copy, json_t *json, int depth)
{
    struct doc *list = doc_list(copy->arena);
    size_t index;
    json_t *value;
    json_array_foreach(json, index, value)
    {
        struct doc *item = copy_value(copy, value, depth + 1);
        if (!item)
            return NULL;
        doc_append(list, item);
    }
    return list;
}

static struct doc *copy_map(struct json_copy *copy, json_t *json, int depth)
{
    struct doc *map = doc_map(copy->arena);
    const char *key;
    json_t *value;
    json_object_foreach(json, key, value)
    {
        struct doc *item = copy_value(copy, value, depth + 1);
        if (!item)
            return NULL;
        item->key = arena_strdup(copy->arena, key);
        doc_append(map, item);
    }
    return map;
}

static struct doc *copy_value(struct json_copy *copy, json_t *json, int depth)
{
    if (depth > DOC_DEPTH_MAX && (json_is_object(json) || json_is_array(json))) {
        error_set(copy->err, ERR_INVALID, "nested more than %d levels deep", DOC_DEPTH_MAX);
        return NULL;
    }
    if (++copy->items > copy->items_max) {
        error_set(copy->err, ERR_TOO_LARGE, "more than %zu values", copy->items_max);
        return NULL;
    }
    switch (json_typeof(json)) {
    case JSON_OBJECT: return copy_map(copy, json, depth);
    case JSON_ARRAY: return copy_list(copy, json, depth);
    case JSON_STRING: return doc_string(copy->arena, json_string_value(json));
    case JSON_INTEGER: return doc_int(copy->arena, json_integer_value(json));
    case JSON_REAL: return copy_real(copy->arena, json_real_value(json));
    case JSON_TRUE: return doc_bool(copy->arena, true);
    case JSON_FALSE: return doc_bool(copy->arena, false);
    default: return doc_null(copy->arena);
    }
}

/* jansson quotes a piece of the input, which may hold anything. */
static void set_parse_error(struct error *err, json_error_t *failure)
{
    for (char *s = failure->text; *s; s++) {
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = ' ';
    }
    bool nul = json_error_code(failure) == json_error_null_character;
    error_set(err, ERR_INVALID, "line %d, column %d: %s", failure->line < 1 ? 1 : failure->line,
        failure->column < 0 ? 0 : failure->column, nul ? "text with a NUL" : failure->text);
}

/* jansson takes a NUL behind a number for the end of the text. It is allowed nowhere in JSON: 0
 * when there is none. */
static int refuse_nul(const char *text, size_t length, struct error *err)
{
    const char *nul = length ? memchr(text, '\0', length) : NULL;
    if (!nul)
        return 0;
    int line = 1;
    const char *start = text;
    for (const char *at = text; (at = memchr(at, '\n', (size_t)(nul - at))); start = ++at)
        line++;
    return error_set(err, ERR_INVALID, "line %d, column %td: a NUL byte", line, nul - start + 1);
}

struct doc *doc_parse_json(
    struct arena *arena, const char *text, size_t length, size_t bytes_max, struct error *err)
{
    return doc_parse_json_bounded(arena, text, length, bytes_max, DOC_ITEMS_MAX, err);
}

struct doc *doc_parse_json_bounded(struct arena *arena, const char *text, size_t length,
    size_t bytes_max, size_t items_max, struct error *err)
{
    assert(arena && (text || length == 0));
    if (length > bytes_max) {
        error_set(
            err, ERR_TOO_LARGE, "the text has %zu bytes; at most %zu are read", length, bytes_max);
        return NULL;
    }
    if (refuse_nul(text, length, err))
        return NULL;
    json_error_t failure;
    SCOPED(json_scope)
    json_t *json =
        json_loadb(text ? text : "", length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &failure);
    if (!json) {
        set_parse_error(err, &failure);
        return NULL;
    }
    struct json_copy copy = {.arena = arena, .err = err, .items_max = items_max};
    return copy_value(&copy, json, 1);
}

static void write_break(int indent, int depth, struct strbuf *out)
{
    if (indent)
        strbuf_printf(out, "\n%*s", indent * depth, "");
}

static void write_value(const struct doc *value, int indent, int depth, struct strbuf *out);

static void write_items(const struct doc *value, int indent, int depth, struct strbuf *out)
{
    bool map = value->type == DOC_MAP;
    strbuf_putc(out, map ? '{' : '[');
    for (const struct doc *item = value->first; item; item = item->next) {
        write_break(indent, depth + 1, out);
        if (map) {
            strbuf_json(out, item->key);
            strbuf_puts(out, indent ? ": " : ":");
        }
        write_value(item, indent, depth + 1, out);
        if (item->next)
            strbuf_putc(out, ',');
    }
    if (value->first)
        write_break(indent, depth, out);
    strbuf_putc(out, map ? '}' : ']');
}

static void write_value(const struct doc *value, int indent, int depth, struct strbuf *out)
{
    switch (value->type) {
    case DOC_NULL: strbuf_puts(out, "null"); break;
    case DOC_BOOL: strbuf_puts(out, value->boolean ? "true" : "false"); break;
    case DOC_NUMBER: strbuf_append(out, value->text, value->length); break;
    case DOC_STRING: strbuf_json(out, value->text); break;
    case DOC_LIST:
    case DOC_MAP: write_items(value, indent, depth, out); break;
    }
}

void doc_write_json(const struct doc *value, int indent, struct strbuf *out)
{
    assert(value && indent >= 0 && indent <= 8);
    write_value(value, indent, 0, out);
}
