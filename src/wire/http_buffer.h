/* A queue of bytes: appended at one end, consumed at the other. Consuming moves nothing; room is
 * made when it is needed. */
#pragma once

#include "base/memory.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { HTTP_BUFFER_KEEP_BYTES = 4096 }; /* what an empty buffer may hold on to */

struct http_buffer {
    char *bytes;
    size_t start;
    size_t end;
    size_t capacity;
};

static inline size_t http_buffer_length(const struct http_buffer *buffer)
{
    return buffer->end - buffer->start;
}

static inline const char *http_buffer_bytes(const struct http_buffer *buffer)
{
    return buffer->bytes ? buffer->bytes + buffer->start : "";
}

static inline void http_buffer_finish(struct http_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct http_buffer){0};
}

/* Room for `more` bytes: by moving what there is to the front, else by growing. */
static inline char *http_buffer_reserve(struct http_buffer *buffer, size_t more)
{
    size_t length = http_buffer_length(buffer);
    if (buffer->capacity - buffer->end >= more)
        return buffer->bytes + buffer->end;
    if (buffer->start > 0)
        memmove(buffer->bytes, buffer->bytes + buffer->start, length);
    buffer->start = 0;
    buffer->end = length;
    if (buffer->capacity - length < more) {
        size_t capacity = buffer->capacity ? buffer->capacity : 1024;
        while (capacity < length + more)
            capacity *= 2;
        buffer->bytes = mem_resize(buffer->bytes, capacity, 1);
        buffer->capacity = capacity;
    }
    return buffer->bytes + buffer->end;
}

static inline void http_buffer_append(struct http_buffer *buffer, const void *bytes, size_t length)
{
    if (length == 0)
        return;
    memcpy(http_buffer_reserve(buffer, length), bytes, length);
    buffer->end += length;
}

static inline void http_buffer_puts(struct http_buffer *buffer, const char *text)
{
    http_buffer_append(buffer, text, strlen(text));
}

/* "name: value" and the end of the line. */
static inline void http_buffer_put_field(struct http_buffer *buffer, const char *name,
    size_t name_length, const char *value, size_t value_length)
{
    char *at = http_buffer_reserve(buffer, name_length + value_length + 4);
    memcpy(at, name, name_length);
    at += name_length;
    memcpy(at, ": ", 2);
    memcpy(at + 2, value, value_length);
    memcpy(at + 2 + value_length, "\r\n", 2);
    buffer->end += name_length + value_length + 4;
}

enum { HTTP_DIGITS_MAX = 20 }; /* of 2^64 - 1 */

/* Decimal digits, at the end of a room for HTTP_DIGITS_MAX of them; where they begin. */
static inline char *http_digits(char room[HTTP_DIGITS_MAX], uint64_t number)
{
    char *at = room + HTTP_DIGITS_MAX;
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return at;
}

static inline void http_buffer_put_length(struct http_buffer *buffer, uint64_t length)
{
    static const char name[] = "Content-Length";
    char room[HTTP_DIGITS_MAX], *digits = http_digits(room, length);
    http_buffer_put_field(
        buffer, name, sizeof name - 1, digits, (size_t)(room + HTTP_DIGITS_MAX - digits));
}

/* The size line of a chunk. */
static inline size_t http_chunk_size(char room[HTTP_DIGITS_MAX], size_t size)
{
    static const char digits[] = "0123456789abcdef";
    size_t length = 1;
    while (length < 2 * sizeof size && size >> 4 * length)
        length++;
    for (size_t i = 0; i < length; i++)
        room[i] = digits[size >> 4 * (length - 1 - i) & 15];
    memcpy(room + length, "\r\n", 2);
    return length + 2;
}

static inline void http_buffer_consume(struct http_buffer *buffer, size_t count)
{
    assert(count <= http_buffer_length(buffer));
    buffer->start += count;
    if (buffer->start < buffer->end)
        return;
    buffer->start = buffer->end = 0;
    if (buffer->capacity > HTTP_BUFFER_KEEP_BYTES)
        http_buffer_finish(buffer);
}
