/* A parsed document (JSON or YAML) as a tree in an arena, with the line of every value, so that
 * an error can say where. Both parsers give the same tree; the field tables read only this. */
#pragma once

#include "base/error.h"
#include "base/memory.h"
#include "base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum doc_type { DOC_NULL, DOC_BOOL, DOC_NUMBER, DOC_STRING, DOC_LIST, DOC_MAP };

struct doc {
    enum doc_type type;
    int line;          /* 1-based; 0: not known (made by the program) */
    bool boolean;      /* DOC_BOOL */
    const char *text;  /* DOC_STRING: its value; DOC_NUMBER: as it was written, in JSON's grammar */
    size_t length;     /* of text */
    const char *key;   /* in a map: the name this value stands under */
    struct doc *first; /* DOC_LIST, DOC_MAP: the items in order */
    struct doc *last;
    struct doc *next; /* the next item of the same list or map */
    size_t count;     /* of items */
};

/* Bounds of what is read; a text beyond one is refused with ERR_TOO_LARGE or ERR_INVALID. The depth
 * is that of lists and maps in each other, the items are all values of a text. */
enum { DOC_BYTES_MAX = 256 * 1024, DOC_DEPTH_MAX = 32, DOC_ITEMS_MAX = 65536 };

/* Parses one JSON text (RFC 8259): no duplicate keys, no NUL in strings, valid UTF-8 only,
 * nothing after it. NULL with ERR_INVALID ("line 3, column 7: ...") or ERR_TOO_LARGE. bytes_max is
 * the bound on length for this text (DOC_BYTES_MAX for a manifest). */
MUST_CHECK struct doc *doc_parse_json(
    struct arena *arena, const char *text, size_t length, size_t bytes_max, struct error *err);
/* The same with a bound of its own on the number of values, for documents of the program itself
 * that are larger than what people write. */
MUST_CHECK struct doc *doc_parse_json_bounded(struct arena *arena, const char *text, size_t length,
    size_t bytes_max, size_t items_max, struct error *err);
/* Parses a stream of YAML documents of at most DOC_BYTES_MAX; empty ones are left out. Aliases,
 * anchors, tags, directives, duplicate keys and raw characters that YAML 1.1 and 1.2 read
 * differently are refused. A JSON text is one document, with lines when libyaml reads it too. The
 * documents come as the items of one DOC_LIST. NULL with ERR_INVALID ("line 3: ...") or
 * ERR_TOO_LARGE, or ERR_INTERNAL when there is no memory. */
MUST_CHECK struct doc *doc_parse_yaml(
    struct arena *arena, const char *text, size_t length, struct error *err);

/* Building. Everything lives in the arena; keys and texts are copied. */
struct doc *doc_null(struct arena *arena);
struct doc *doc_bool(struct arena *arena, bool value);
struct doc *doc_int(struct arena *arena, int64_t value);
struct doc *doc_string(struct arena *arena, const char *text);
struct doc *doc_number(struct arena *arena, const char *text); /* "2.5": text in JSON's grammar */
/* Whether text is a number in JSON's grammar. */
bool doc_is_number(const char *text);
struct doc *doc_list(struct arena *arena);
struct doc *doc_map(struct arena *arena);
/* Appends item to a list; returns item. */
struct doc *doc_append(struct doc *list, struct doc *item);
/* Sets key in a map (replacing an earlier value in place); returns value. */
struct doc *doc_set(struct arena *arena, struct doc *map, const char *key, struct doc *value);
/* Shorthands for doc_set with a new value; text NULL sets nothing. */
void doc_set_string(struct arena *arena, struct doc *map, const char *key, const char *text);
void doc_set_int(struct arena *arena, struct doc *map, const char *key, int64_t value);
void doc_set_bool(struct arena *arena, struct doc *map, const char *key, bool value);

/* Reading. NULL where there is none or the type differs. */
const struct doc *doc_get(const struct doc *map, const char *key);
const char *doc_get_string(const struct doc *map, const char *key);
/* As above; fallback where there is none, it is no integer, or it does not fit. */
int64_t doc_get_int(const struct doc *map, const char *key, int64_t fallback);
bool doc_get_bool(const struct doc *map, const char *key, bool fallback);
/* The value at a path such as "spec.nodes[2].name" or "metadata.labels[\"a.b\"]", or the deepest
 * one on the way there. */
const struct doc *doc_find(const struct doc *root, const char *path);
/* Whether it is a number written as an integer, in range; sets *ret. */
bool doc_as_int(const struct doc *value, int64_t *ret);

/* A deep copy, its texts too. */
struct doc *doc_copy(struct arena *arena, const struct doc *value);
/* Fields of over laid upon base: maps are merged by key, everything else is replaced. */
struct doc *doc_merge(struct arena *arena, const struct doc *base, const struct doc *over);
/* Whether both are the same tree; the order in maps does not count, how numbers are written does.
 */
bool doc_equal(const struct doc *a, const struct doc *b);

/* Writes the tree as JSON (indent 0: on one line; keys in the order they have) or as YAML that
 * reads back to the same tree. */
void doc_write_json(const struct doc *value, int indent, struct strbuf *out);
void doc_write_yaml(const struct doc *value, struct strbuf *out);
