/* Lines, fields and numbers of trace files. zlib's gz functions read plain files as they are and
 * compressed ones unpacked, a block at a time. */
#include "trace/line.h"

#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { BLOCK_BYTES = 128 * 1024, SHOWN_MAX = 60 };

struct lines {
    gzFile file;
    char *path;
    char *block;
    size_t begin, end; /* of what is unread in the block */
    char *line;        /* LINE_BYTES_MAX + 1 */
    int64_t number;
    char separator;
    const struct line_column *columns;
    size_t column_count;
    int32_t at[LINE_FIELDS_MAX]; /* field of each column; -1: none */
    const char *fields[LINE_FIELDS_MAX];
    size_t field_count;
};

static int lines_error(
    const struct lines *lines, enum error_code code, const char *what, struct error *err)
{
    return error_set(err, code, "%s:%" PRId64 ": %s", lines->path, lines->number, what);
}

/* More bytes: 1, 0 at the end, -1. */
static int block_fill(struct lines *lines, struct error *err)
{
    int got = gzread(lines->file, lines->block, BLOCK_BYTES);
    int problem = Z_OK;
    gzerror(lines->file, &problem);
    if (got < 0 && problem == Z_ERRNO)
        return error_set_errno(err, "%s", lines->path);
    if (got < 0 || problem == Z_BUF_ERROR)
        return lines_error(lines, ERR_INVALID, "the compressed data is damaged or cut off", err);
    lines->begin = 0;
    lines->end = (size_t)got;
    return got > 0;
}

/* What the block has of the line goes behind what there is of it: 1 when that was its end, 0 when
 * the block was, -1. */
static int block_take(struct lines *lines, size_t *length, struct error *err)
{
    const char *from = lines->block + lines->begin;
    size_t left = lines->end - lines->begin;
    const char *newline = memchr(from, '\n', left);
    size_t take = newline ? (size_t)(newline - from) : left;
    if (*length + take > LINE_BYTES_MAX)
        return lines_error(lines, ERR_TOO_LARGE, "the line is longer than 64 KiB", err);
    memcpy(lines->line + *length, from, take);
    *length += take;
    lines->begin += take + (newline != NULL);
    return newline != NULL;
}

/* The next line into lines->line, without its end: 1, 0 at the end, -1. */
static int line_read(struct lines *lines, size_t *ret_length, struct error *err)
{
    int ended = 0;
    *ret_length = 0;
    lines->number++;
    while (ended == 0) {
        int more = lines->begin == lines->end ? block_fill(lines, err) : 1;
        if (more < 0)
            return -1;
        if (more == 0)
            return *ret_length > 0;
        ended = block_take(lines, ret_length, err);
    }
    return ended;
}

/* Cuts one field off, undoing its quotes in place: what follows its separator, or NULL. */
static char *field_cut(struct lines *lines, char *text, struct error *err, bool *ret_failed)
{
    lines->fields[lines->field_count++] = text;
    if (*text != '"') {
        char *end = strchr(text, lines->separator);
        if (end)
            *end++ = '\0';
        return end;
    }
    char *to = text, *from = text + 1;
    while (*from && (*from != '"' || from[1] == '"')) {
        from += *from == '"';
        *to++ = *from++;
    }
    if (!*from || (from[1] && from[1] != lines->separator)) {
        lines_error(lines, ERR_INVALID, "a quoted field does not end where it should", err);
        *ret_failed = true;
        return NULL;
    }
    char *rest = from[1] ? from + 2 : NULL;
    *to = '\0';
    return rest;
}

static int line_split(struct lines *lines, struct error *err)
{
    bool failed = false;
    lines->field_count = 0;
    for (char *rest = lines->line; rest && !failed;) {
        if (lines->field_count == LINE_FIELDS_MAX)
            return lines_error(lines, ERR_INVALID, "more than 64 fields", err);
        rest = field_cut(lines, rest, err, &failed);
    }
    return failed ? -1 : 0;
}

/* Spreadsheets begin a file with the mark of UTF-8. It is no part of the first field. */
static void mark_cut(struct lines *lines, size_t *length)
{
    static const char mark[] = "\xef\xbb\xbf";
    enum { BYTES = sizeof mark - 1 };
    if (lines->number != 1 || *length < BYTES || memcmp(lines->line, mark, BYTES) != 0)
        return;
    *length -= BYTES;
    memmove(lines->line, lines->line + BYTES, *length);
}

/* Reads and splits the next line that is not empty. */
static int line_next(struct lines *lines, struct error *err)
{
    size_t length;
    do {
        int got = line_read(lines, &length, err);
        if (got <= 0)
            return got;
        mark_cut(lines, &length);
        if (length > 0 && lines->line[length - 1] == '\r')
            length--;
        lines->line[length] = '\0';
        if (memchr(lines->line, '\0', length))
            return lines_error(lines, ERR_INVALID, "the line has a NUL byte", err);
    } while (length == 0);
    return line_split(lines, err) < 0 ? -1 : 1;
}

static int header_read(struct lines *lines, struct error *err)
{
    int got = line_next(lines, err);
    if (got < 0)
        return -1;
    if (got == 0)
        return error_set(err, ERR_INVALID, "%s: the file is empty", lines->path);
    for (size_t c = 0; c < lines->column_count; c++) {
        for (size_t f = 0; f < lines->field_count && lines->at[c] < 0; f++) {
            if (strcmp(lines->fields[f], lines->columns[c].name) == 0)
                lines->at[c] = (int32_t)f;
        }
        if (lines->at[c] < 0 && !lines->columns[c].optional)
            return error_set(err, ERR_INVALID, "%s:%" PRId64 ": the header has no column %s",
                lines->path, lines->number, lines->columns[c].name);
    }
    return 0;
}

struct lines *lines_open(const char *path, char separator, bool bare,
    const struct line_column *columns, struct error *err)
{
    errno = 0;
    gzFile file = gzopen(path, "re");
    if (!file) {
        error_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: %s", path,
            errno ? strerror(errno) : "out of memory");
        return NULL;
    }
    struct lines *lines = mem_alloc(1, sizeof *lines);
    lines->file = file;
    lines->path = mem_strdup(path);
    lines->block = mem_alloc(BLOCK_BYTES, 1);
    lines->line = mem_alloc(LINE_BYTES_MAX + 1, 1);
    lines->separator = separator;
    lines->columns = columns;
    while (columns[lines->column_count].name) {
        assert(lines->column_count < LINE_FIELDS_MAX);
        lines->at[lines->column_count] = bare ? (int32_t)lines->column_count : -1;
        lines->column_count++;
    }
    if (!bare && header_read(lines, err) < 0) {
        lines_close(lines);
        return NULL;
    }
    return lines;
}

void lines_close(struct lines *lines)
{
    if (!lines)
        return;
    gzclose_r(lines->file);
    free(lines->path);
    free(lines->block);
    free(lines->line);
    free(lines);
}

int lines_next(struct lines *lines, struct error *err)
{
    int got = line_next(lines, err);
    if (got <= 0)
        return got;
    for (size_t c = 0; c < lines->column_count; c++) {
        bool missing = lines->at[c] >= (int32_t)lines->field_count;
        if (missing && !lines->columns[c].optional)
            return error_set(err, ERR_INVALID, "%s:%" PRId64 ": the line has no field %s",
                lines->path, lines->number, lines->columns[c].name);
    }
    return 1;
}

bool lines_has(const struct lines *lines, size_t column)
{
    return lines->at[column] >= 0;
}

const char *lines_text(const struct lines *lines, size_t column)
{
    assert(column < lines->column_count);
    int32_t at = lines->at[column];
    return at < 0 || at >= (int32_t)lines->field_count ? "" : lines->fields[at];
}

int lines_wrong(const struct lines *lines, const char *what, struct error *err)
{
    return lines_error(lines, ERR_INVALID, what, err);
}

int lines_strict(const struct lines *lines, struct error *err)
{
    for (size_t f = 0; f < lines->field_count; f++) {
        bool known = false;
        for (size_t c = 0; c < lines->column_count; c++)
            known |= lines->at[c] == (int32_t)f;
        if (!known)
            return error_set(err, ERR_INVALID,
                "%s:%" PRId64 ": there is no column %.*s, or it is there twice", lines->path,
                lines->number, SHOWN_MAX, lines->fields[f]);
    }
    return 0;
}

int lines_expected(
    const struct lines *lines, size_t column, const char *expected, struct error *err)
{
    return error_set(err, ERR_INVALID, "%s:%" PRId64 ": %s: expected %s, got \"%.*s\"", lines->path,
        lines->number, lines->columns[column].name, expected, SHOWN_MAX, lines_text(lines, column));
}

/* The bounds are in units of 1/scale: a least time of 1 ms is 0.001 s. */
static int out_of_range(const struct lines *lines, size_t column, int64_t scale, int64_t low,
    int64_t high, struct error *err)
{
    char expected[80];
    snprintf(expected, sizeof expected, "a number from %.*g to %" PRId64, low % scale ? 3 : 15,
        (double)low / (double)scale, high / scale);
    return lines_expected(lines, column, expected, err);
}

int lines_int(const struct lines *lines, size_t column, int64_t low, int64_t high, int64_t *ret,
    struct error *err)
{
    const char *text = lines_text(lines, column);
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    bool digits = (*text >= '0' && *text <= '9') || (*text == '-' && text[1] >= '0');
    if (!digits || *end || errno || value < low || value > high)
        return out_of_range(lines, column, 1, low, high, err);
    *ret = value;
    return 0;
}

enum { DIGITS_MAX = 15 };

/* The digits at the start of *text, which moves behind them: as a number the first DIGITS_MAX, and
 * what its last digit is one of. Returns how many there are. */
static int digits_take(const char **text, __int128 *ret_value, __int128 *ret_unit)
{
    int digits = 0;
    *ret_value = 0;
    *ret_unit = 1;
    for (; **text >= '0' && **text <= '9'; ++*text) {
        if (digits++ >= DIGITS_MAX)
            continue;
        *ret_value = *ret_value * 10 + (**text - '0');
        *ret_unit *= 10;
    }
    return digits;
}

/* Up to DIGITS_MAX digits before the point, and as many after it count; -1 when it is no decimal
 * number. */
static int decimal_parse(const char *text, int64_t scale, __int128 *ret)
{
    bool negative = *text == '-';
    __int128 whole, part = 0, unit;
    text += negative;
    int digits = digits_take(&text, &whole, &unit), places = 0;
    if (digits > DIGITS_MAX)
        return -1;
    if (*text == '.') {
        text++;
        places = digits_take(&text, &part, &unit);
    }
    if (*text || digits + places == 0)
        return -1;
    __int128 value = whole * scale;
    if (places)
        value += (part * scale + unit / 2) / unit;
    *ret = negative ? -value : value;
    return 0;
}

int lines_decimal(const struct lines *lines, size_t column, int64_t scale, int64_t low,
    int64_t high, int64_t *ret, struct error *err)
{
    __int128 value;
    if (decimal_parse(lines_text(lines, column), scale, &value) < 0)
        return lines_expected(lines, column, "a decimal number", err);
    if (value < low || value > high)
        return out_of_range(lines, column, scale, low, high, err);
    *ret = (int64_t)value;
    return 0;
}
