/* A growing string: see strbuf.h. */
#include "base/strbuf.h"

#include "base/memory.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PRINTF_ROOM = 32 }; /* most of what is printed fits, and is formatted once */

static void strbuf_reserve(struct strbuf *buf, size_t extra)
{
    assert(extra < SIZE_MAX / 4 && buf->length < SIZE_MAX / 4);
    size_t need = buf->length + extra + 1;
    if (need <= buf->capacity)
        return;
    size_t capacity = buf->capacity ? buf->capacity * 2 : 64;
    if (capacity < need)
        capacity = need;
    buf->text = mem_resize(buf->text, capacity, 1);
    buf->capacity = capacity;
}

void strbuf_finish(struct strbuf *buf)
{
    free(buf->text);
    *buf = (struct strbuf){0};
}

void strbuf_clear(struct strbuf *buf)
{
    buf->length = 0;
    if (buf->text)
        buf->text[0] = '\0';
}

void strbuf_append(struct strbuf *buf, const void *bytes, size_t length)
{
    assert(bytes || length == 0);
    strbuf_reserve(buf, length);
    if (length)
        memcpy(buf->text + buf->length, bytes, length);
    buf->length += length;
    buf->text[buf->length] = '\0';
}

void strbuf_puts(struct strbuf *buf, const char *text)
{
    strbuf_append(buf, text, strlen(text));
}

void strbuf_putc(struct strbuf *buf, char c)
{
    strbuf_reserve(buf, 1);
    buf->text[buf->length++] = c;
    buf->text[buf->length] = '\0';
}

void strbuf_int(struct strbuf *buf, int64_t number)
{
    char digits[20]; /* of 2^63, and a sign */
    size_t at = sizeof digits;
    /* Unsigned, because the least number has no positive of its own. */
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (number < 0)
        digits[--at] = '-';
    strbuf_append(buf, digits + at, sizeof digits - at);
}

void strbuf_vprintf(struct strbuf *buf, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    strbuf_reserve(buf, PRINTF_ROOM);
    size_t room = buf->capacity - buf->length;
    int length = vsnprintf(buf->text + buf->length, room, format, args);
    assert(length >= 0);
    if ((size_t)length >= room) {
        strbuf_reserve(buf, (size_t)length);
        vsnprintf(buf->text + buf->length, (size_t)length + 1, format, again);
    }
    va_end(again);
    buf->length += (size_t)length;
}

void strbuf_printf(struct strbuf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    strbuf_vprintf(buf, format, args);
    va_end(args);
}

size_t utf8_length(const char *text)
{
    return utf8_length_within(text, SIZE_MAX); /* NUL continues nothing */
}

size_t utf8_length_within(const char *text, size_t left)
{
    assert(left > 0);
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80)
        return 1;
    size_t length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || length > left)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool outside = (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf4 && s[1] > 0x8f);
    return overlong || outside ? 0 : length;
}

/* How many bytes from here on stand for themselves in JSON and are ASCII. */
static size_t plain_length(const char *text)
{
    const char *s = text;
    while (*s >= 0x20 && *s < 0x7f && *s != '"' && *s != '\\')
        s++;
    return (size_t)(s - text);
}

void strbuf_json(struct strbuf *buf, const char *text)
{
    /* Most texts stand for themselves from end to end. */
    size_t first = plain_length(text);
    strbuf_reserve(buf, first + 2);
    strbuf_putc(buf, '"');
    strbuf_append(buf, text, first);
    for (const char *s = text + first; *s;) {
        size_t plain = plain_length(s);
        if (plain > 0) {
            strbuf_append(buf, s, plain);
            s += plain;
            continue;
        }
        size_t length = utf8_length(s);
        if (length == 0) {
            strbuf_puts(buf, "\xef\xbf\xbd");
            s++;
        } else if (*s == '"' || *s == '\\') {
            strbuf_putc(buf, '\\');
            strbuf_putc(buf, *s++);
        } else if (*s == '\n' || *s == '\t') {
            strbuf_puts(buf, *s++ == '\n' ? "\\n" : "\\t");
        } else if ((unsigned char)*s < 0x20 || *s == 0x7f) {
            strbuf_printf(buf, "\\u%04x", (unsigned)*s++);
        } else {
            strbuf_append(buf, s, length);
            s += length;
        }
    }
    strbuf_putc(buf, '"');
}

void strbuf_consume(struct strbuf *buf, size_t count)
{
    assert(count <= buf->length);
    if (count == 0)
        return;
    memmove(buf->text, buf->text + count, buf->length - count + 1);
    buf->length -= count;
}

const char *strbuf_text(const struct strbuf *buf)
{
    return buf->text ? buf->text : "";
}

char *strbuf_steal(struct strbuf *buf)
{
    char *text = buf->text ? buf->text : mem_strdup("");
    *buf = (struct strbuf){0};
    return text;
}
