/* Unpacking bodies: see http_unpack.h. Several members of gzip, or frames of zstd, in a row are one
 * body, as their formats say, and so are streams of zlib, which HTTP calls deflate. Besides what
 * its caller allows for a body there is a bound on how far input may expand: gzip can reach 1:1030
 * and zstd more than 1:10,000, real tensors and texts stay below 1:100, so that a bomb is told by
 * its ratio long before its size. A window of zstd is at most 8 MiB, what RFC 9659 asks of every
 * decoder. */
#include "wire/http_unpack.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>
#include <zstd.h>

enum {
    RATIO_MAX = 256,
    RATIO_FREE_BYTES = 4 * 1024 * 1024, /* made so far before the ratio counts */
    GZIP_BYTES = 48 * 1024,             /* what zlib holds: its window and its tables */
    GZIP_WINDOW = 15 + 16,              /* the largest window, and gzip's head and sum */
    ZLIB_WINDOW = 15,                   /* the same with zlib's */
    ZSTD_WINDOW_LOG = 23,
};

static const struct http_fault fault_damaged = {
    400, "the body is not what its Content-Encoding says, or is damaged or cut off"};
static const struct http_fault fault_ratio = {
    413, "the body unpacks to more than 256 times its length"};
static const struct http_fault fault_memory = {
    503, "too many packed bodies are being read at once: try again, or send it unpacked"};

struct http_unpack {
    z_stream gzip;
    ZSTD_DStream *zstd; /* NULL: gzip or zlib */
    bool between;       /* at the end of a member or frame, where the body may end */
    bool any;           /* at least one member or frame is complete */
    bool full;          /* the last step filled its output: there may be more */
    uint64_t taken, made;
    size_t held, *memory, memory_max;
};

bool http_unpack_is_identity(const char *coding)
{
    return strcasecmp(coding, "identity") == 0;
}

static void hold(struct http_unpack *unpack, size_t bytes)
{
    *unpack->memory = *unpack->memory - unpack->held + bytes;
    unpack->held = bytes;
}

struct http_unpack *http_unpack_create(const char *coding, size_t *memory, size_t memory_max)
{
    bool zstd = strcasecmp(coding, "zstd") == 0;
    bool zlib = strcasecmp(coding, "deflate") == 0;
    if (!zstd && !zlib && strcasecmp(coding, "gzip") != 0 && strcasecmp(coding, "x-gzip") != 0)
        return NULL;
    struct http_unpack *unpack = mem_alloc(1, sizeof *unpack);
    unpack->memory = memory;
    unpack->memory_max = memory_max;
    if (zstd) {
        unpack->zstd = ZSTD_createDStream();
        if (!unpack->zstd)
            abort(); /* memory is all that can be missing: see memory.h */
        ZSTD_DCtx_setParameter(unpack->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG);
        hold(unpack, ZSTD_sizeof_DStream(unpack->zstd));
    } else {
        if (inflateInit2(&unpack->gzip, zlib ? ZLIB_WINDOW : GZIP_WINDOW) != Z_OK)
            abort();
        hold(unpack, GZIP_BYTES);
    }
    return unpack;
}

void http_unpack_destroy(struct http_unpack *unpack)
{
    if (!unpack)
        return;
    hold(unpack, 0);
    if (unpack->zstd)
        ZSTD_freeDStream(unpack->zstd);
    else
        inflateEnd(&unpack->gzip);
    free(unpack);
}

static const struct http_fault *gzip_step(struct http_unpack *unpack, const char *bytes,
    size_t length, char *out, size_t room, size_t *ret_taken, size_t *ret_made)
{
    z_stream *gzip = &unpack->gzip;
    if (unpack->between && length > 0) {
        (void)inflateReset(gzip);
        unpack->between = false;
    }
    gzip->next_in = (Bytef *)bytes;
    gzip->avail_in = (uInt)length;
    gzip->next_out = (Bytef *)out;
    gzip->avail_out = (uInt)room;
    int rc = inflate(gzip, Z_NO_FLUSH);
    if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
        return &fault_damaged;
    unpack->between = rc == Z_STREAM_END;
    *ret_taken = length - gzip->avail_in;
    *ret_made = room - gzip->avail_out;
    return NULL;
}

static const struct http_fault *zstd_step(struct http_unpack *unpack, const char *bytes,
    size_t length, char *out, size_t room, size_t *ret_taken, size_t *ret_made)
{
    ZSTD_inBuffer in = {bytes, length, 0};
    ZSTD_outBuffer made = {out, room, 0};
    size_t rc = ZSTD_decompressStream(unpack->zstd, &made, &in);
    if (ZSTD_isError(rc))
        return &fault_damaged;
    unpack->between = rc == 0;
    *ret_taken = in.pos;
    *ret_made = made.pos;
    hold(unpack, ZSTD_sizeof_DStream(unpack->zstd));
    return NULL;
}

const struct http_fault *http_unpack_step(struct http_unpack *unpack, const char *bytes,
    size_t length, char *out, size_t room, size_t *ret_taken, size_t *ret_made)
{
    assert(room > 0 && length <= UINT32_MAX && room <= UINT32_MAX);
    *ret_taken = *ret_made = 0;
    if (length == 0 && (unpack->between || !unpack->full))
        return NULL;
    if (*unpack->memory > unpack->memory_max)
        return &fault_memory;
    const struct http_fault *fault =
        unpack->zstd ? zstd_step(unpack, bytes, length, out, room, ret_taken, ret_made)
                     : gzip_step(unpack, bytes, length, out, room, ret_taken, ret_made);
    if (fault)
        return fault;
    unpack->any |= unpack->between;
    unpack->full = *ret_made == room;
    unpack->taken += *ret_taken;
    unpack->made += *ret_made;
    bool large = unpack->made > RATIO_FREE_BYTES;
    return large && unpack->made / RATIO_MAX > unpack->taken ? &fault_ratio : NULL;
}

bool http_unpack_is_whole(const struct http_unpack *unpack)
{
    return unpack->any && unpack->between;
}
