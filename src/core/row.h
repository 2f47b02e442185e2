/* Rows: how the core's state looks from outside.
 *
 * The state is a small set of tables. A row is a plain struct without pointers, and a row_type
 * says what its columns are. From these tables the store makes its SQL, the API its JSON, the
 * tests their digests: there is one description, and no second encoder to keep in step. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum column_type {
    COLUMN_ID,     /* uint64_t, 0 is none */
    COLUMN_INT,    /* int64_t */
    COLUMN_TIME,   /* int64_t, milliseconds since the epoch, 0 is none */
    COLUMN_LENGTH, /* int64_t, milliseconds */
    COLUMN_INT32,  /* int32_t */
    COLUMN_ENUM,   /* int32_t, with names */
    COLUMN_FLAG,   /* uint8_t, 0 or 1 */
    COLUMN_SYMBOL, /* uint32_t, the id of a symbol row, 0 is none */
    COLUMN_TEXT,   /* char[size], terminated by NUL */
};

struct column {
    const char *name; /* as in SQL: snake_case */
    enum column_type type;
    uint16_t offset;
    uint16_t size;
    const char *const *names; /* COLUMN_ENUM: NULL-terminated */
    bool indexed;             /* the store keeps an index on it */
    bool fixed;               /* stays as it was when the row was first written */
};

/* Every row begins with `uint64_t id`, unique within its type and never used again. */
struct row_type {
    const char *name;
    size_t size;
    const struct column *columns;
    size_t column_count;
    bool history; /* append-only: written once, never loaded back into the core */
    bool deleted; /* goes by being deleted, never retired: every stored row is live */
};

/* Whether all columns are the same. What lies between them in memory is nobody's, and differs with
 * the compiler. */
bool row_same(const struct row_type *type, const void *one, const void *other);
