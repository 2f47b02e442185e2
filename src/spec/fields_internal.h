/* What the files that implement spec/fields.h share: how values lie in structs, and how values and
 * expectations are put in words. Not for other files. */
#pragma once

#include "base/quantity.h"
#include "spec/fields.h"

/* How every list in spec/kinds.h lies in memory. */
struct field_list {
    void *items;
    size_t count;
};

/* The field types that are one integer with a written form of their own. */
struct number_type {
    const char *noun;     /* "a size" */
    const char *examples; /* " such as 512Mi or 16Gi" */
    const char *limits;   /* what a plain number has to keep to: ", with at most 3 decimals" */
    const char *pattern;  /* of its text form, for the schema; NULL: it has none */
    bool as_number;       /* may be a number in the document */
    int (*parse)(const char *text, int64_t *ret_value, struct error *err); /* NULL: FIELD_INT */
    char *(*format)(int64_t value, char out[QUANTITY_TEXT]);
};

/* NULL when values of the type are no such numbers. */
const struct number_type *field_number_type(enum field_type type);

/* Reads and writes the bool, enum or int64_t of a field. */
int64_t field_load(const struct field *field, const void *object);
void field_store(const struct field *field, void *object, int64_t value);
static inline void *field_at(const struct field *field, const void *object)
{
    return (char *)object + field->offset;
}
/* Whether the type is stored as one number (bool, enum or int64_t). */
bool field_is_number(const struct field *field);
bool field_in_bounds(const struct field *field, int64_t value);
/* A field's default, which may follow from the rest of object. */
int64_t field_fallback(const struct field *field, const void *object);
void field_set_default(const struct field *field, void *object);
const struct field *field_table_find(const struct field_table *table, const char *name);
size_t field_items_max(const struct field *field);
const struct text_rule *field_rule(const struct field *field);
const struct field_word *word_of(const struct field_word *words, int64_t value);
const struct field_word *word_find(const struct field_word *words, const char *text);
/* A value as it stands in a document. */
struct doc *field_value_doc(struct arena *arena, const struct field *field, int64_t value);
/* A value as a person would write it: "1Gi", "low"; "" where it has no words. */
void field_write_value(const struct field *field, int64_t value, struct strbuf *out);

/* "a whole number from 1 to 4096", "one of none, gang, host". */
void field_write_expected(const struct field *field, struct strbuf *out);
/* "\"two\"", "7", "a list", "nothing". */
void doc_write_got(const struct doc *doc, struct strbuf *out);
/* Text in quotes, cut to a bound, safe to show. */
void write_quoted(const char *text, struct strbuf *out);

/* Where a value stands, as a chain up to the root. */
struct field_path {
    const struct field_path *up;
    const char *name; /* NULL: an item of a list */
    size_t index;
};

/* Appends one step to a path in text: ".name", "[3]" or "[\"a.b\"]". */
void path_append_name(struct strbuf *path, const char *name);
void path_append_index(struct strbuf *path, size_t index);
void path_write(const struct field_path *path, struct strbuf *out);
