/* Records: named values as lines of text, `name value`. One codec for everything that crosses a
 * process of the local engine: the launch file, the status file, the plan of init, and every
 * message of the sockets between them.
 *
 * In a value the bytes below 0x20, 0x7f and `%` are written as %xx, so a value can be any bytes
 * and a line is always one field. Names may repeat, order is kept, unknown names are ignored by
 * the readers: that is how a newer server talks to an older shim. */
#pragma once

#include "base/error.h"
#include "base/memory.h"
#include "base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RECORD_FIELDS_MAX = 65536 };

struct record_field {
    const char *name;
    const char *value; /* terminated by NUL, which size does not count */
    size_t size;
};

struct record {
    struct record_field *fields; /* in the arena given to record_parse, as are the texts */
    size_t count;
};

/* -1: ERR_CORRUPT (not a record) or ERR_TOO_LARGE. */
MUST_CHECK int record_parse(struct arena *arena, const char *text, size_t size,
    struct record *ret_record, struct error *err);
/* The first value of that name, or NULL. */
const char *record_text(const struct record *record, const char *name);
/* The first value of that name as a decimal number; `missing` when it is absent or not one. */
uint64_t record_number(const struct record *record, const char *name, uint64_t missing);

/* Appends a field. */
void record_put(struct strbuf *out, const char *name, const char *value);
void record_put_bytes(struct strbuf *out, const char *name, const void *value, size_t size);
void record_put_number(struct strbuf *out, const char *name, uint64_t value);

/* Plain structs as tables: each row says where a field lives. */
enum record_kind {
    RECORD_U64,
    RECORD_I64,
    RECORD_U32,
    RECORD_I32,
    RECORD_BOOL,
    RECORD_CHARS, /* an array of `size` chars, cut to fit */
    RECORD_TEXT,  /* a const char *, NULL when absent */
};

struct record_member {
    const char *name;
    enum record_kind kind;
    size_t offset;
    size_t size;
};

#define RECORD_MEMBER(type, member, kind)                                                          \
    {                                                                                              \
#member, kind, offsetof(type, member), sizeof(((type *)0)->member)                         \
    }

/* Appends every member of the struct. */
void record_encode(
    struct strbuf *out, const struct record_member *members, size_t count, const void *from);
/* Sets the members the record has; the others stay as they are. -1: ERR_CORRUPT, a value is not
 * of its kind. Texts point into the record. */
MUST_CHECK int record_decode(const struct record *record, const struct record_member *members,
    size_t count, void *to, struct error *err);
