/* Encoding: structs into documents by field tables, in the order of the table. What equals its
 * default is left out unless everything is asked for; what has no value (no text, no items, or a
 * default beyond the field's bounds, which stands for "not given") always is. */
#include "spec/fields_internal.h"
#include "spec/kinds.h"

#include <assert.h>
#include <string.h>

static struct doc *amount_doc(struct arena *arena, const char *text)
{
    return doc_is_number(text) ? doc_number(arena, text) : doc_string(arena, text);
}

static struct doc *encode_text(
    struct arena *arena, const struct field *field, const void *object, bool everything)
{
    const char *text = *(const char **)field_at(field, object);
    bool is_default = text && field->fallback_text && strcmp(text, field->fallback_text) == 0;
    if (!text || (is_default && !everything && !(field->flags & FIELD_REQUIRED)))
        return NULL;
    return field->type == FIELD_QUANTITY ? amount_doc(arena, text) : doc_string(arena, text);
}

static struct doc *encode_number(
    struct arena *arena, const struct field *field, const void *object, bool everything)
{
    int64_t value = field_load(field, object);
    bool wanted = everything || (field->flags & FIELD_REQUIRED);
    if (value == field_fallback(field, object) && (!wanted || !field_in_bounds(field, value)))
        return NULL;
    return field_value_doc(arena, field, value);
}

struct doc *field_value_doc(struct arena *arena, const struct field *field, int64_t value)
{
    if (field->type == FIELD_BOOL)
        return doc_bool(arena, value != 0);
    const struct field_word *word = word_of(field->words, value);
    if (word)
        return doc_string(arena, word->word);
    assert(field->type != FIELD_ENUM);
    char text[QUANTITY_TEXT];
    return amount_doc(arena, field_number_type(field->type)->format(value, text));
}

static struct doc *encode_texts(
    struct arena *arena, const struct field *field, const void *object, bool everything)
{
    (void)everything;
    const struct text_list *texts = field_at(field, object);
    if (texts->count == 0)
        return NULL;
    struct doc *list = doc_list(arena);
    for (size_t i = 0; i < texts->count; i++)
        doc_append(list, doc_string(arena, texts->items[i]));
    return list;
}

static struct doc *encode_object(struct arena *arena, const struct field_table *table, size_t from,
    const void *object, bool everything);

static struct doc *encode_object_field(
    struct arena *arena, const struct field *field, const void *object, bool everything)
{
    const void *part = field_at(field, object);
    struct doc *map = encode_object(arena, field->table, 0, part, everything);
    if (everything && field->flags & FIELD_SPARSE &&
        encode_object(arena, field->table, 0, part, false)->count == 0)
        return NULL;
    return map->count > 0 || (field->flags & FIELD_REQUIRED) ? map : NULL;
}

static struct doc *encode_objects(
    struct arena *arena, const struct field *field, const void *object, bool everything)
{
    const struct field_list *list = field_at(field, object);
    if (list->count == 0)
        return NULL;
    struct doc *docs = doc_list(arena);
    for (size_t i = 0; i < list->count; i++) {
        const void *item = (char *)list->items + i * field->table->size;
        doc_append(docs, encode_object(arena, field->table, 0, item, everything));
    }
    return docs;
}

static struct doc *encode_field(
    struct arena *arena, const struct field *field, const void *object, bool everything);

static struct doc *encode_map(
    struct arena *arena, const struct field *field, const void *object, bool everything)
{
    const struct field_list *list = field_at(field, object);
    const struct field_table *table = field->table;
    if (list->count == 0)
        return NULL;
    struct doc *map = doc_map(arena);
    for (size_t i = 0; i < list->count; i++) {
        const void *item = (char *)list->items + i * table->size;
        const char *key = *(const char **)field_at(&table->fields[0], item);
        struct doc *value = table->pair ? encode_field(arena, &table->fields[1], item, true)
                                        : encode_object(arena, table, 1, item, everything);
        if (value)
            doc_set(arena, map, key, value);
    }
    return map;
}

static struct doc *encode_doc(
    struct arena *arena, const struct field *field, const void *object, bool everything)
{
    (void)everything;
    const struct doc *doc = *(const struct doc *const *)field_at(field, object);
    return doc ? doc_copy(arena, doc) : NULL;
}

static struct doc *encode_field(
    struct arena *arena, const struct field *field, const void *object, bool everything)
{
    switch (field->type) {
    case FIELD_TEXT:
    case FIELD_QUANTITY: return encode_text(arena, field, object, everything);
    case FIELD_TEXTS: return encode_texts(arena, field, object, everything);
    case FIELD_OBJECT: return encode_object_field(arena, field, object, everything);
    case FIELD_OBJECTS: return encode_objects(arena, field, object, everything);
    case FIELD_MAP: return encode_map(arena, field, object, everything);
    case FIELD_DOC: return encode_doc(arena, field, object, everything);
    case FIELD_CONSTANT: return doc_string(arena, field->fallback_text);
    case FIELD_IGNORED: return NULL;
    default: return encode_number(arena, field, object, everything);
    }
}

static struct doc *encode_object(struct arena *arena, const struct field_table *table, size_t from,
    const void *object, bool everything)
{
    struct doc *map = doc_map(arena);
    for (size_t i = from; i < table->count; i++) {
        struct doc *value = encode_field(arena, &table->fields[i], object, everything);
        if (value)
            doc_set(arena, map, table->fields[i].name, value);
    }
    return map;
}

struct doc *fields_encode(
    const struct field_table *table, struct arena *arena, const void *object, bool everything)
{
    assert(table && arena && object);
    return encode_object(arena, table, 0, object, everything);
}
