/* Field tables: what a manifest may say, as data.
 *
 * A kind is a C struct (spec/kinds.h) and a table that names its fields. From the one table come
 * decoding with every error at once, defaults, encoding, comparison, JSON Schema, the reference
 * docs and completion; none of them knows any kind. To add a field is to add a line to a table.
 *
 * A null in a document counts as a field that was not given. */
#pragma once

#include "base/error.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "wire/doc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- errors ---------------------------------------------------------------------------- */

struct field_error {
    const char *path; /* "spec.nodes[2].cpu"; "" for the document itself */
    int line;         /* 0: not known */
    const char *text; /* "expected a number >= 0, got \"two\"" */
};

enum { FIELD_ERRORS_MAX = 100 };

/* All that is wrong with a document, in the order of lines; texts live in the decoder's arena. Zero
 * it before the first use; several documents may add to one list. */
struct field_errors {
    struct field_error items[FIELD_ERRORS_MAX];
    size_t count;
    size_t left_out; /* errors beyond the bound */
};

/* Adds one error; the formatted text is cut to 500 bytes. path is copied. */
void field_errors_add(struct field_errors *errors, struct arena *arena, const char *path, int line,
    const char *format, ...) PRINTF_LIKE(5, 6);
/* For people, a line each: "train.yaml:12: spec.resources.cpu: expected .., got ..". file NULL: the
 * line starts with "line 12: ". */
void field_errors_write(const struct field_errors *errors, const char *file, struct strbuf *out);
/* For programs: [{path, line, detail}], line left out where it is not known. */
struct doc *field_errors_doc(const struct field_errors *errors, struct arena *arena);
/* The first error and how many more there are, as ERR_INVALID. Always returns -1. */
int field_errors_summary(const struct field_errors *errors, struct error *err);

/* ---- tables ---------------------------------------------------------------------------- */

enum field_type {
    FIELD_TEXT,     /* const char *: text that fits the rule */
    FIELD_QUANTITY, /* const char *: a number or text, kept as text; what it means is the table's
                     * finish function's affair */
    FIELD_BOOL,     /* bool */
    FIELD_INT,      /* int64_t; with words, one of these stands for its number */
    FIELD_BYTES,    /* int64_t: "16Gi" */
    FIELD_MILLI,    /* int64_t: "0.5" is 500 */
    FIELD_MICRO,    /* int64_t: "2.5" is 2500000 */
    FIELD_DURATION, /* int64_t, milliseconds: "1h30m" */
    FIELD_TIME,     /* int64_t, milliseconds since the epoch: "2026-01-31T08:30:00Z" */
    FIELD_ENUM,     /* an enum: one of the words */
    FIELD_TEXTS,    /* struct text_list */
    FIELD_OBJECT,   /* a struct: a map of the table's fields */
    FIELD_OBJECTS,  /* {T *items; size_t count}: a list of such maps */
    FIELD_MAP,      /* {T *items; size_t count}: a map whose keys go into the first field of the
                     * table, and whose values are maps of the others (or just the second: see
                     * field_table.pair) */
    FIELD_DOC,      /* const struct doc *: a map that fits the table in part, kept as it is */
    FIELD_CONSTANT, /* nothing: always fallback_text */
    FIELD_IGNORED,  /* nothing: may be there, and is not looked at */
    FIELD_TYPE_COUNT
};

enum {
    FIELD_REQUIRED = 1 << 0,
    FIELD_IMMUTABLE = 1 << 1, /* cannot change once the object is there */
    FIELD_SPARSE = 1 << 2,    /* of an object: its defaults alone are nothing, and not written */
};

/* A word that stands for a number. A list of them ends with {NULL}. */
struct field_word {
    const char *word;
    int64_t value;
    const char *doc;
};

/* Which texts are fine. Every text is at most length_max bytes. */
struct text_rule {
    const char *expected; /* "a name of lower-case letters, digits, - and ." */
    const char *pattern;  /* the same as a regular expression for the schema; NULL: any text */
    size_t length_max;
    bool (*matches)(const char *text); /* NULL: any text */
};

extern const struct text_rule rule_any;         /* 4096 bytes of anything */
extern const struct text_rule rule_long;        /* 32 KiB of anything */
extern const struct text_rule rule_line;        /* 1024 bytes without control characters */
extern const struct text_rule rule_name;        /* [a-z0-9]([-a-z0-9.]*[a-z0-9])?, at most 63 */
extern const struct text_rule rule_label_key;   /* letters, digits and -_./, at most 63 */
extern const struct text_rule rule_label_value; /* no control characters, at most 253 bytes */
extern const struct text_rule rule_resource;    /* as rule_name, with / */
extern const struct text_rule rule_variable;    /* [A-Za-z_][A-Za-z0-9_]* */
extern const struct text_rule rule_file_name;   /* no /, not . or .. */
extern const struct text_rule rule_user;        /* letters, digits and -_.@+ */
extern const struct text_rule rule_digest;      /* sha256:<64 hex> */
extern const struct text_rule rule_currency;    /* three capital letters */
extern const struct text_rule rule_reference;   /* a name, or name[3] for an element of an array */
extern const struct text_rule rule_artifact;    /* [team/]name[:version|@stage] */
extern const struct text_rule rule_url_path;    /* begins with / */
extern const struct text_rule rule_route;       /* letters, digits, -, _ and . */
extern const struct text_rule rule_gate_stage;  /* staging, production */
extern const struct text_rule rule_owner;       /* dataset, approval, bill, onCall */
extern const struct text_rule rule_protocol;    /* oip, openai */

struct field {
    const char *name; /* as in manifests: camelCase */
    enum field_type type;
    unsigned flags;
    size_t offset;                              /* in the struct of the table it stands in */
    int64_t fallback;                           /* the default of a number, enum or bool */
    const char *fallback_text;                  /* the default of a text */
    int64_t (*fallback_of)(const void *object); /* a default that follows from the other fields of
                                                 * the table's struct; in place of fallback */
    const char *fallback_doc;                   /* that default in words */
    const char *unless; /* FIELD_REQUIRED, but not where this field of the same map is given */
    int64_t min;        /* numbers: the value; texts: bytes; lists and maps: items */
    int64_t max;        /* 0: no bound but the type's, for lists and maps FIELD_ITEMS_MAX */
    int64_t multiple;   /* numbers: of this; 0: any */
    const struct text_rule *rule;   /* FIELD_TEXT, items of FIELD_TEXTS; NULL: rule_any */
    const struct field_word *words; /* FIELD_ENUM, FIELD_INT */
    const struct field_table *table;
    const char *also; /* what people may write instead, separated by spaces: not taken, but then
                       * this field is suggested */
    const char *doc;  /* one or two sentences, Markdown */
};

enum { FIELD_ITEMS_MAX = 1024 };

struct field_reader;

struct field_table {
    const char *name; /* of the schema component: "JobSpec" */
    const char *doc;
    size_t size; /* of the struct */
    const struct field *fields;
    size_t count;
    bool pair;             /* as items of a FIELD_MAP: {key: value} with exactly two fields */
    const char *shorthand; /* items of FIELD_OBJECTS may be this text field alone */
    /* Looks at an object whose fields are all there, reports what does not fit together through
     * fields_report, sets members that follow from others. Not called for partial objects, nor
     * where a field of the object was wrong. NULL: nothing to do. */
    void (*finish)(struct field_reader *reader, void *object);
};

#define FIELD_TABLE(title, type, list, ...)                                                        \
    {                                                                                              \
        .name = (title), .size = sizeof(type), .fields = (list), .count = ARRAY_LEN(list),         \
        __VA_ARGS__                                                                                \
    }

/* For finish functions: adds an error at a path below the object ("gang.min", "nodes[2].name"; ""
 * is the object itself), at the line that the document has there. */
void fields_report(struct field_reader *reader, const char *path, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* Text from the document as it may be shown: in quotes, cut, without control characters. */
const char *fields_quote(const struct field_reader *reader, const char *text);

/* ---- what is made from tables ---------------------------------------------------------- */

/* Fills object (zeroed by the caller or not) from a document at path (NULL: its root). Everything
 * that is wrong goes to errors, ordered by line; returns how many errors were added. With partial,
 * required fields are not demanded and finish functions are not called. With errors, object has
 * defaults where the document is wrong and must not be used further than for messages. */
MUST_CHECK size_t fields_decode(const struct field_table *table, struct arena *arena,
    const struct doc *doc, const char *path, bool partial, void *object,
    struct field_errors *errors);
/* The same of a whole document that a newer program may have written: fields that are not known are
 * skipped. */
MUST_CHECK size_t fields_decode_known(const struct field_table *table, struct arena *arena,
    const struct doc *doc, void *object, struct field_errors *errors);
/* Sets every field to its default. */
void fields_default(const struct field_table *table, void *object);
/* The canonical document: fields in the order of the table, left out where the value is the
 * default, unless everything is asked for (then only what has no value is left out). Decoding it
 * gives an equal object. Texts are shared with object. */
struct doc *fields_encode(
    const struct field_table *table, struct arena *arena, const void *object, bool everything);
/* Whether all fields are equal in value. */
bool fields_equal(const struct field_table *table, const void *a, const void *b);
/* Adds an error for each immutable field in which object differs from the one before. */
void fields_check_immutable(const struct field_table *table, struct arena *arena,
    const void *before, const void *object, struct field_errors *errors);

/* The closest of the names within a typing slip of text, or NULL. names ends with NULL. */
const char *fields_suggest(const char *text, const char *const *names);

/* JSON Schema (draft 2020-12) of the table, as an entry of components with all the tables it
 * refers to; reference_prefix is "#/$defs/" or "#/components/schemas/". */
void fields_schema(const struct field_table *table, struct arena *arena,
    const char *reference_prefix, struct doc *components);
/* The reference in Markdown: a table of the fields, those of objects below them. */
void fields_markdown(const struct field_table *table, struct strbuf *out);
/* A line a field for completion: the path, and after a tab the words it takes, separated by
 * spaces: "spec.network\tnone gang host". Items of lists are [], keys of maps *. */
void fields_paths(const struct field_table *table, struct strbuf *out);
