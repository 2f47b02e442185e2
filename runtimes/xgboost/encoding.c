/* Compression of bodies: see encoding.h. What comes out is bounded as it comes, since a few bytes
 * can stand for gigabytes. */
#include "encoding.h"

#include "base/memory.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

enum { PIECE_BYTES = 64 << 10, LEVEL = 1 };

static const struct {
    const char *name;
    int window; /* zlib's number for the format */
} encodings[] = {{"gzip", 15 + 16}, {"deflate", 15}};

/* 0: unknown. */
static int window_of(const char *encoding)
{
    for (size_t i = 0; i < ARRAY_LEN(encodings); i++) {
        if (!strcasecmp(encoding, encodings[i].name))
            return encodings[i].window;
    }
    return 0;
}

/* Z_STREAM_END when all of it was undone. */
static int inflate_all(z_stream *stream, size_t bytes_max, struct strbuf *out)
{
    char piece[PIECE_BYTES];
    int rc;
    do {
        stream->next_out = (Bytef *)piece;
        stream->avail_out = sizeof piece;
        rc = inflate(stream, Z_NO_FLUSH);
        size_t count = sizeof piece - stream->avail_out;
        if (out->length + count > bytes_max)
            return Z_MEM_ERROR;
        strbuf_append(out, piece, count);
    } while (rc == Z_OK);
    return rc == Z_STREAM_END && stream->avail_in > 0 ? Z_DATA_ERROR : rc;
}

int encoding_undo(const char *encoding, const char *bytes, size_t length, size_t bytes_max,
    struct strbuf *out, struct error *err)
{
    int window = window_of(encoding);
    z_stream stream = {.next_in = (Bytef *)bytes, .avail_in = (uInt)length};
    assert(length <= UINT32_MAX && out->length == 0);
    if (!window)
        return error_set(err, ERR_INVALID, "Content-Encoding has to be gzip or deflate");
    if (inflateInit2(&stream, window) != Z_OK)
        return error_set(err, ERR_INTERNAL, "zlib cannot be had");
    int rc = inflate_all(&stream, bytes_max, out);
    inflateEnd(&stream);
    if (rc == Z_MEM_ERROR)
        return error_set(err, ERR_TOO_LARGE, "the body is larger than %zu bytes", bytes_max);
    if (rc != Z_STREAM_END)
        return error_set(err, ERR_INVALID, "the body is no whole %s", encoding);
    return 0;
}

/* A weight of zero: "q=0", "q=0.000". */
static bool is_zero(const char *list, size_t length)
{
    const char *weight = memmem(list, length, "q=0", 3);
    return weight && weight + 3 + strspn(weight + 3, ".0 \t") >= list + length;
}

/* Whether an item of the list names it as welcome. */
static bool names(const char *list, size_t length, const char *name)
{
    size_t size = strlen(name);
    if (length < size || strncasecmp(list, name, size) != 0)
        return false;
    return length == size || (strchr(" \t;", list[size]) && !is_zero(list + size, length - size));
}

const char *encoding_wanted(const char *accept)
{
    while (accept && *accept) {
        accept += strspn(accept, ", \t");
        size_t length = strcspn(accept, ",");
        for (size_t i = 0; i < ARRAY_LEN(encodings); i++) {
            if (names(accept, length, encodings[i].name))
                return encodings[i].name;
        }
        accept += length;
    }
    return NULL;
}

void encoding_do(const char *encoding, const char *bytes, size_t length, struct strbuf *out)
{
    z_stream stream = {.next_in = (Bytef *)bytes, .avail_in = (uInt)length};
    assert(length <= UINT32_MAX);
    int rc = deflateInit2(&stream, LEVEL, Z_DEFLATED, window_of(encoding), 8, Z_DEFAULT_STRATEGY);
    assert(rc == Z_OK);
    char piece[PIECE_BYTES];
    do {
        stream.next_out = (Bytef *)piece;
        stream.avail_out = sizeof piece;
        rc = deflate(&stream, Z_FINISH);
        strbuf_append(out, piece, sizeof piece - stream.avail_out);
    } while (rc == Z_OK);
    assert(rc == Z_STREAM_END);
    deflateEnd(&stream);
}
