/* Records: see record.h. Whatever is parsed here may have been written by a hostile process: the
 * number of fields is bounded, and every number is checked against the width of its member. */
#include "engine/record.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool must_escape(unsigned char c)
{
    return c < 0x20 || c == 0x7f || c == '%';
}

void record_put_bytes(struct strbuf *out, const char *name, const void *value, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *bytes = value;
    assert(*name && !strpbrk(name, " \n"));
    strbuf_puts(out, name);
    strbuf_putc(out, ' ');
    for (size_t i = 0; i < size; i++) {
        if (!must_escape(bytes[i])) {
            strbuf_putc(out, (char)bytes[i]);
            continue;
        }
        const char escaped[] = {'%', digits[bytes[i] >> 4], digits[bytes[i] & 15]};
        strbuf_append(out, escaped, sizeof escaped);
    }
    strbuf_putc(out, '\n');
}

void record_put(struct strbuf *out, const char *name, const char *value)
{
    record_put_bytes(out, name, value, strlen(value));
}

void record_put_number(struct strbuf *out, const char *name, uint64_t value)
{
    strbuf_printf(out, "%s %llu\n", name, (unsigned long long)value);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes the escapes of text[0, size) in place; the new size, or -1. */
static ssize_t unescape(char *text, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] != '%') {
            text[used++] = text[i];
            continue;
        }
        int high = size - i > 2 ? hex_digit(text[i + 1]) : -1;
        int low = size - i > 2 ? hex_digit(text[i + 2]) : -1;
        if (high < 0 || low < 0)
            return -1;
        text[used++] = (char)(high << 4 | low);
        i += 2;
    }
    text[used] = '\0';
    return (ssize_t)used;
}

static int parse_line(char *line, size_t size, struct record_field *field)
{
    char *space = memchr(line, ' ', size);
    if (!space || space == line || memchr(line, '\0', size))
        return -1;
    *space = '\0';
    ssize_t length = unescape(space + 1, size - (size_t)(space + 1 - line));
    if (length < 0)
        return -1;
    *field = (struct record_field){line, space + 1, (size_t)length};
    return 0;
}

int record_parse(struct arena *arena, const char *text, size_t size, struct record *ret_record,
    struct error *err)
{
    size_t lines = 0;
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    if (lines > RECORD_FIELDS_MAX)
        return error_set(err, ERR_TOO_LARGE, "a record has more than %d fields", RECORD_FIELDS_MAX);
    if (size > 0 && text[size - 1] != '\n')
        return error_set(err, ERR_CORRUPT, "a record ends in the middle of a line");
    char *copy = arena_strndup(arena, text, size);
    struct record record = {arena_alloc(arena, lines, sizeof *record.fields), lines};
    for (size_t i = 0; i < lines; i++) {
        char *end = memchr(copy, '\n', size);
        size_t length = (size_t)(end - copy);
        *end = '\0';
        if (parse_line(copy, length, &record.fields[i]) < 0)
            return error_set(err, ERR_CORRUPT, "line %zu of a record is not a field", i + 1);
        copy += length + 1;
        size -= length + 1;
    }
    *ret_record = record;
    return 0;
}

static const struct record_field *find_field(const struct record *record, const char *name)
{
    for (size_t i = 0; i < record->count; i++) {
        if (!strcmp(record->fields[i].name, name))
            return &record->fields[i];
    }
    return NULL;
}

const char *record_text(const struct record *record, const char *name)
{
    const struct record_field *field = find_field(record, name);
    return field ? field->value : NULL;
}

static bool parse_number(const char *text, uint64_t *ret_number)
{
    if (*text < '0' || *text > '9')
        return false;
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno || *end)
        return false;
    *ret_number = number;
    return true;
}

uint64_t record_number(const struct record *record, const char *name, uint64_t missing)
{
    const char *text = record_text(record, name);
    uint64_t number;
    return text && parse_number(text, &number) ? number : missing;
}

static bool parse_signed(const char *text, int64_t *ret_number)
{
    uint64_t magnitude;
    bool negative = *text == '-';
    if (!parse_number(text + negative, &magnitude) || magnitude > (uint64_t)INT64_MAX)
        return false;
    *ret_number = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return true;
}

static void encode_member(struct strbuf *out, const struct record_member *member, const void *at)
{
    const char *text = member->kind == RECORD_TEXT ? *(const char *const *)at : at;
    switch (member->kind) {
    case RECORD_U64: record_put_number(out, member->name, *(const uint64_t *)at); break;
    case RECORD_U32: record_put_number(out, member->name, *(const uint32_t *)at); break;
    case RECORD_BOOL: record_put_number(out, member->name, *(const bool *)at); break;
    case RECORD_I64:
        strbuf_printf(out, "%s %lld\n", member->name, (long long)*(const int64_t *)at);
        break;
    case RECORD_I32: strbuf_printf(out, "%s %d\n", member->name, *(const int32_t *)at); break;
    case RECORD_CHARS:
        record_put_bytes(out, member->name, text, strnlen(text, member->size));
        break;
    case RECORD_TEXT:
        if (text)
            record_put(out, member->name, text);
        break;
    }
}

void record_encode(
    struct strbuf *out, const struct record_member *members, size_t count, const void *from)
{
    for (size_t i = 0; i < count; i++)
        encode_member(out, &members[i], (const char *)from + members[i].offset);
}

static void copy_chars(char *to, size_t size, const struct record_field *field)
{
    size_t length = field->size < size - 1 ? field->size : size - 1;
    memcpy(to, field->value, length);
    to[length] = '\0';
}

static bool decode_unsigned(const struct record_member *member, const char *value, void *at)
{
    static const uint64_t most[] = {
        [RECORD_U64] = UINT64_MAX, [RECORD_U32] = UINT32_MAX, [RECORD_BOOL] = 1};
    uint64_t number;
    if (!parse_number(value, &number) || number > most[member->kind])
        return false;
    if (member->kind == RECORD_U64)
        *(uint64_t *)at = number;
    else if (member->kind == RECORD_U32)
        *(uint32_t *)at = (uint32_t)number;
    else
        *(bool *)at = number == 1;
    return true;
}

static bool decode_signed(const struct record_member *member, const char *value, void *at)
{
    int64_t number;
    if (!parse_signed(value, &number))
        return false;
    if (member->kind == RECORD_I64)
        *(int64_t *)at = number;
    else if (number < INT32_MIN || number > INT32_MAX)
        return false;
    else
        *(int32_t *)at = (int32_t)number;
    return true;
}

static bool decode_member(
    const struct record_member *member, const struct record_field *field, void *at)
{
    switch (member->kind) {
    case RECORD_U64:
    case RECORD_U32:
    case RECORD_BOOL: return decode_unsigned(member, field->value, at);
    case RECORD_I64:
    case RECORD_I32: return decode_signed(member, field->value, at);
    case RECORD_CHARS: copy_chars(at, member->size, field); return true;
    case RECORD_TEXT: *(const char **)at = field->value; return true;
    }
    return false;
}

int record_decode(const struct record *record, const struct record_member *members, size_t count,
    void *to, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct record_field *field = find_field(record, members[i].name);
        if (field && !decode_member(&members[i], field, (char *)to + members[i].offset))
            return error_set(err, ERR_CORRUPT, "field %s of a record: \"%.40s\" is not valid",
                members[i].name, field->value);
    }
    return 0;
}
