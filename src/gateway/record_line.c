/* See record_line.h. FNV-1a over the bytes: a check against tearing, not against somebody who may
 * write to the folder. */
#include "gateway/record_line.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static uint64_t hash_of(const char *bytes, size_t length)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    return hash;
}

static void hash_text_of(const char *bytes, size_t length, char out[RECORD_HASH_TEXT + 1])
{
    snprintf(out, RECORD_HASH_TEXT + 1, "%016llx", (unsigned long long)hash_of(bytes, length));
}

void record_line_write(struct strbuf *out, const char *json, size_t length)
{
    char hash[RECORD_HASH_TEXT + 1];
    assert(!memchr(json, '\n', length));
    hash_text_of(json, length, hash);
    strbuf_append(out, hash, RECORD_HASH_TEXT);
    strbuf_putc(out, ' ');
    strbuf_append(out, json, length);
    strbuf_putc(out, '\n');
}

enum record_found record_line_read(
    const char *bytes, size_t length, size_t *at, const char **ret_json, size_t *ret_length)
{
    char hash[RECORD_HASH_TEXT + 1];
    assert(*at <= length);
    if (*at == length)
        return RECORD_END;
    const char *line = bytes + *at, *end = memchr(line, '\n', length - *at);
    if (!end)
        return RECORD_TORN;
    size_t whole = (size_t)(end - line), before = RECORD_HASH_TEXT + 1;
    *at += whole + 1;
    if (whole <= before || line[RECORD_HASH_TEXT] != ' ')
        return RECORD_DAMAGED;
    hash_text_of(line + before, whole - before, hash);
    if (memcmp(hash, line, RECORD_HASH_TEXT) != 0)
        return RECORD_DAMAGED;
    *ret_json = line + before;
    *ret_length = whole - before;
    return RECORD_WHOLE;
}
