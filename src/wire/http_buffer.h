/* A queue of bytes: appended at one end, consumed at the other. Consuming moves nothing; room is
 * made when it is needed. */
#pragma once

#include "base/memory.h"

#include <assert.h>
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
