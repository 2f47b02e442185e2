/* Lines and fields of text files, plain or compressed with gzip: what all readers of traces are
 * made from. Files come from outside: lines have a bound, numbers are checked against bounds, and
 * every error names file and line. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LINE_BYTES_MAX = 64 * 1024, LINE_FIELDS_MAX = 64 };

struct line_column {
    const char *name; /* in the header; NULL ends a list */
    bool optional;    /* reads as "" where the file does not have it */
};

struct lines;

/* Opens a file of lines of fields. With a header the columns are found by name, in whatever order;
 * others are passed over. Without one (bare) they are the fields from the left, in order. NULL with
 * ERR_NOT_FOUND, ERR_IO, or ERR_INVALID when the header lacks a column. `columns` stays the
 * caller's and is kept. */
MUST_CHECK struct lines *lines_open(const char *path, char separator, bool bare,
    const struct line_column *columns, struct error *err);
void lines_close(struct lines *lines); /* NULL is fine */

/* 1 and the next line that is not empty, 0 at the end, -1 with err: a line that is too long, has a
 * NUL byte, a quote that does not end or (bare) too few fields; a file that is cut off. */
MUST_CHECK int lines_next(struct lines *lines, struct error *err);
/* 0 when every field of the header is in the list, and once; called before the first line. */
MUST_CHECK int lines_strict(const struct lines *lines, struct error *err);
/* Whether the file has that column. */
bool lines_has(const struct lines *lines, size_t column);

/* A field of the line, by its place in the list of columns; "" where there is none. Valid until the
 * next line. */
const char *lines_text(const struct lines *lines, size_t column);
/* An integer in [low, high]. 0, or -1 with file:line. */
MUST_CHECK int lines_int(const struct lines *lines, size_t column, int64_t low, int64_t high,
    int64_t *ret, struct error *err);
/* A decimal number such as "66.0" or "0.576944", times `scale`, rounded to the nearest, in
 * [low, high] after it. */
MUST_CHECK int lines_decimal(const struct lines *lines, size_t column, int64_t scale, int64_t low,
    int64_t high, int64_t *ret, struct error *err);
/* Fills err with "FILE:LINE: COLUMN: expected .., got ..". Always -1. */
int lines_expected(
    const struct lines *lines, size_t column, const char *expected, struct error *err);
/* Fills err with "FILE:LINE: what". Always -1. */
int lines_wrong(const struct lines *lines, const char *what, struct error *err);
