/* How values lie in structs: loading and storing by field type, defaults, comparison. */
#include "spec/fields_internal.h"
#include "spec/kinds.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(enum engine_kind) == sizeof(int), "enums are stored as int");
_Static_assert(sizeof(struct text_list) == sizeof(struct field_list), "lists lie alike");

static char *format_int(int64_t value, char out[QUANTITY_TEXT])
{
    snprintf(out, QUANTITY_TEXT, "%" PRId64, value);
    return out;
}

static const struct number_type number_types[FIELD_TYPE_COUNT] = {
    [FIELD_INT] = {"a whole number", "", "", NULL, true, NULL, format_int},
    [FIELD_BYTES] = {"a size", " such as 512Mi or 16Gi", "",
        "^[0-9]+(\\.[0-9]+)?([kMGTP]|[KMGTP]i)?$", true, quantity_parse_bytes, quantity_bytes},
    [FIELD_MILLI] = {"a number", "", ", with at most 3 decimals", "^[0-9]+(\\.[0-9]{1,3}|m)?$",
        true, quantity_parse_milli, quantity_milli},
    [FIELD_MICRO] = {"a number", "", ", with at most 6 decimals", "^[0-9]+(\\.[0-9]{1,6})?$", true,
        quantity_parse_micro, quantity_micro},
    [FIELD_DURATION] = {"a duration", " such as 90s, 10m or 1h30m", "",
        "^(0|([0-9]+(\\.[0-9]+)?(ms|s|m|h|d|w))+)$", false, quantity_parse_duration,
        quantity_duration},
    [FIELD_TIME] = {"a time", " such as 2026-01-31T08:30:00Z", "",
        "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,9})?"
        "(Z|[+-][0-9]{2}:[0-9]{2})$",
        false, quantity_parse_time, quantity_time},
};

const struct number_type *field_number_type(enum field_type type)
{
    assert(type < FIELD_TYPE_COUNT);
    return number_types[type].noun ? &number_types[type] : NULL;
}

bool field_is_number(const struct field *field)
{
    return field->type == FIELD_BOOL || field->type == FIELD_ENUM || field_number_type(field->type);
}

int64_t field_load(const struct field *field, const void *object)
{
    assert(field_is_number(field));
    const void *at = field_at(field, object);
    if (field->type == FIELD_BOOL)
        return *(const bool *)at;
    if (field->type == FIELD_ENUM)
        return *(const int *)at;
    return *(const int64_t *)at;
}

void field_store(const struct field *field, void *object, int64_t value)
{
    assert(field_is_number(field));
    void *at = field_at(field, object);
    if (field->type == FIELD_BOOL)
        *(bool *)at = value != 0;
    else if (field->type == FIELD_ENUM)
        *(int *)at = (int)value;
    else
        *(int64_t *)at = value;
}

bool field_in_bounds(const struct field *field, int64_t value)
{
    if (field->type == FIELD_BOOL || field->type == FIELD_ENUM)
        return true;
    return value >= field->min && (field->max == 0 || value <= field->max) &&
           (field->multiple == 0 || value % field->multiple == 0);
}

int64_t field_fallback(const struct field *field, const void *object)
{
    return field->fallback_of ? field->fallback_of(object) : field->fallback;
}

size_t field_items_max(const struct field *field)
{
    return field->max ? (size_t)field->max : FIELD_ITEMS_MAX;
}

const struct text_rule *field_rule(const struct field *field)
{
    return field->rule ? field->rule : &rule_any;
}

const struct field *field_table_find(const struct field_table *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++) {
        if (strcmp(table->fields[i].name, name) == 0)
            return &table->fields[i];
    }
    return NULL;
}

const struct field_word *word_of(const struct field_word *words, int64_t value)
{
    for (; words && words->word; words++) {
        if (words->value == value)
            return words;
    }
    return NULL;
}

const struct field_word *word_find(const struct field_word *words, const char *text)
{
    for (; words && words->word; words++) {
        if (strcmp(words->word, text) == 0)
            return words;
    }
    return NULL;
}

void field_write_value(const struct field *field, int64_t value, struct strbuf *out)
{
    const struct field_word *word = word_of(field->words, value);
    const struct number_type *number = field_number_type(field->type);
    char text[QUANTITY_TEXT];
    if (word)
        strbuf_puts(out, word->word);
    else if (field->type == FIELD_BOOL)
        strbuf_puts(out, value ? "true" : "false");
    else if (number)
        strbuf_puts(out, number->format(value, text));
}

void field_set_default(const struct field *field, void *object)
{
    void *at = field_at(field, object);
    switch (field->type) {
    case FIELD_TEXT:
    case FIELD_QUANTITY: *(const char **)at = field->fallback_text; break;
    case FIELD_TEXTS:
    case FIELD_OBJECTS:
    case FIELD_MAP: *(struct field_list *)at = (struct field_list){0}; break;
    case FIELD_OBJECT: fields_default(field->table, at); break;
    case FIELD_DOC: *(const struct doc **)at = NULL; break;
    case FIELD_CONSTANT:
    case FIELD_IGNORED: break;
    default: field_store(field, object, field->fallback); break;
    }
}

void fields_default(const struct field_table *table, void *object)
{
    assert(table && object);
    for (size_t i = 0; i < table->count; i++)
        field_set_default(&table->fields[i], object);
    for (size_t i = 0; i < table->count; i++) {
        const struct field *field = &table->fields[i];
        if (field->fallback_of)
            field_store(field, object, field->fallback_of(object));
    }
}

static bool text_equal(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool texts_equal(const struct text_list *a, const struct text_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (!text_equal(a->items[i], b->items[i]))
            return false;
    }
    return true;
}

static bool objects_equal(
    const struct field_table *table, const struct field_list *a, const struct field_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        size_t offset = i * table->size;
        if (!fields_equal(table, (char *)a->items + offset, (char *)b->items + offset))
            return false;
    }
    return true;
}

static bool docs_equal(const struct doc *a, const struct doc *b)
{
    return a == b || (a && b && doc_equal(a, b));
}

static bool field_equal(const struct field *field, const void *a, const void *b)
{
    const void *left = field_at(field, a), *right = field_at(field, b);
    switch (field->type) {
    case FIELD_TEXT:
    case FIELD_QUANTITY: return text_equal(*(const char *const *)left, *(const char *const *)right);
    case FIELD_TEXTS: return texts_equal(left, right);
    case FIELD_OBJECT: return fields_equal(field->table, left, right);
    case FIELD_OBJECTS:
    case FIELD_MAP: return objects_equal(field->table, left, right);
    case FIELD_DOC: return docs_equal(*(struct doc *const *)left, *(struct doc *const *)right);
    case FIELD_CONSTANT:
    case FIELD_IGNORED: return true;
    default: return field_load(field, a) == field_load(field, b);
    }
}

bool fields_equal(const struct field_table *table, const void *a, const void *b)
{
    assert(table && a && b);
    for (size_t i = 0; i < table->count; i++) {
        if (!field_equal(&table->fields[i], a, b))
            return false;
    }
    return true;
}

/* all: the object stands in one that is immutable as a whole. */
static void check_immutable(const struct field_table *table, bool all, struct arena *arena,
    const struct field_path *up, const void *before, const void *object,
    struct field_errors *errors)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct field *field = &table->fields[i];
        struct field_path path = {.up = up, .name = field->name};
        bool fixed = all || (field->flags & FIELD_IMMUTABLE);
        if (field->type == FIELD_OBJECT) {
            check_immutable(field->table, fixed, arena, &path, field_at(field, before),
                field_at(field, object), errors);
            continue;
        }
        if (!fixed || field_equal(field, before, object))
            continue;
        struct strbuf text = {0};
        path_write(&path, &text);
        field_errors_add(errors, arena, strbuf_text(&text), 0,
            "cannot be changed: delete the object and make it again");
        strbuf_finish(&text);
    }
}

void fields_check_immutable(const struct field_table *table, struct arena *arena,
    const void *before, const void *object, struct field_errors *errors)
{
    check_immutable(table, false, arena, NULL, before, object, errors);
}
