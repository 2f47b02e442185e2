/* Packing: see codec.h. */
#include "registry/codec.h"

#include "base/memory.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum {
    FORM_RAW = 0,
    FORM_ZSTD = 1,
    /* The fastest of the normal levels: level 3 makes text 8% smaller for 1.4 times the time. */
    LEVEL = 1,
    SAMPLES = 4,
    SAMPLE_BYTES = 16 << 10,
    SAMPLE_FROM = 4 * SAMPLES * SAMPLE_BYTES, /* smaller ones are tried whole */
};

static const unsigned char magic[4] = {'m', 'u', 'o', 'b'};

struct codec {
    ZSTD_CCtx *compress;
    ZSTD_DCtx *decompress;
    struct sha *sha;
    unsigned char sample[SAMPLES * SAMPLE_BYTES];
    unsigned char sample_out[SAMPLES * SAMPLE_BYTES];
};

struct codec *codec_create(void)
{
    struct codec *codec = mem_alloc(1, sizeof *codec);
    codec->sha = sha_create();
    return codec;
}

void codec_destroy(struct codec *codec)
{
    if (!codec)
        return;
    ZSTD_freeCCtx(codec->compress);
    ZSTD_freeDCtx(codec->decompress);
    sha_destroy(codec->sha);
    free(codec);
}

struct sha *codec_sha(struct codec *codec)
{
    return codec->sha;
}

/* How many bytes compressing gives, or 0 when that is not below most. */
static size_t compress(struct codec *codec, const void *raw, size_t size, void *out, size_t most)
{
    if (!codec->compress)
        codec->compress = ZSTD_createCCtx();
    if (!codec->compress)
        abort();
    size_t packed = ZSTD_compressCCtx(codec->compress, out, most, raw, size, LEVEL);
    return ZSTD_isError(packed) ? 0 : packed;
}

/* A guess from four places. What only repeats itself over longer distances than a sample is taken
 * for incompressible: it is stored larger than it could be, never wrongly. */
static bool samples_shrink(struct codec *codec, const unsigned char *raw, size_t size)
{
    if (size < SAMPLE_FROM)
        return true;
    for (size_t i = 0; i < SAMPLES; i++)
        memcpy(codec->sample + i * SAMPLE_BYTES, raw + (size - SAMPLE_BYTES) / (SAMPLES - 1) * i,
            SAMPLE_BYTES);
    /* A little less than the sixteenth: the whole may shrink somewhat better than its samples. */
    size_t most = sizeof codec->sample - sizeof codec->sample / 20;
    return compress(codec, codec->sample, sizeof codec->sample, codec->sample_out, most) > 0;
}

size_t codec_pack(struct codec *codec, const void *raw, size_t size, void *out)
{
    unsigned char *head = out;
    size_t packed = 0;
    assert(size > 0);
    memset(head, 0, CODEC_HEADER);
    memcpy(head, magic, sizeof magic);
    for (int i = 0; i < 8; i++)
        head[8 + i] = (unsigned char)((uint64_t)size >> (8 * i));
    if (samples_shrink(codec, raw, size))
        packed = compress(codec, raw, size, head + CODEC_HEADER, size - size / 16);
    head[4] = packed ? FORM_ZSTD : FORM_RAW;
    if (!packed)
        memcpy(head + CODEC_HEADER, raw, packed = size);
    return CODEC_HEADER + packed;
}

int codec_length(
    const void *stored, size_t size, size_t most, size_t *ret_length, struct error *err)
{
    static const unsigned char zero[3];
    const unsigned char *head = stored;
    uint64_t length = 0;
    if (size <= CODEC_HEADER || memcmp(head, magic, sizeof magic) || head[4] > FORM_ZSTD ||
        memcmp(head + 5, zero, sizeof zero))
        return error_set(err, ERR_INVALID, "it does not begin as a stored object does");
    for (int i = 0; i < 8; i++)
        length |= (uint64_t)head[8 + i] << (8 * i);
    if (length > most)
        return error_set(err, ERR_TOO_LARGE, "it holds more than %zu bytes", most);
    if (length == 0 || (head[4] == FORM_RAW && length != size - CODEC_HEADER))
        return error_set(err, ERR_INVALID, "it has another length than it says");
    *ret_length = (size_t)length;
    return 0;
}

/* One frame, nothing after it, and of the length stated: zstd would also take several frames and
 * frames to be skipped, and then one object had many forms of any size. */
static bool decompress(
    struct codec *codec, const unsigned char *frame, size_t size, void *raw, size_t length)
{
    if (!codec->decompress)
        codec->decompress = ZSTD_createDCtx();
    if (!codec->decompress)
        abort();
    return ZSTD_getFrameContentSize(frame, size) == length &&
           ZSTD_findFrameCompressedSize(frame, size) == size &&
           ZSTD_decompressDCtx(codec->decompress, raw, length, frame, size) == length;
}

int codec_unpack(struct codec *codec, const void *stored, size_t size, const struct digest *digest,
    void *raw, size_t length, struct error *err)
{
    const unsigned char *head = stored, *body = head + CODEC_HEADER;
    assert(size > CODEC_HEADER);
    if (head[4] == FORM_RAW) {
        assert(length == size - CODEC_HEADER);
        memcpy(raw, body, length);
    } else if (!decompress(codec, body, size - CODEC_HEADER, raw, length)) {
        return error_set(err, ERR_INVALID, "its zstd frame is malformed");
    }
    struct digest is = sha_of(codec->sha, raw, length);
    if (digest_compare(&is, digest) != 0)
        return error_set(err, ERR_INVALID, "its bytes have another SHA-256");
    return 0;
}
