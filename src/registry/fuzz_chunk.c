/* Fuzz target: packed chunks. The digest is made from what a first attempt unpacked, so that the
 * check of it does not keep the fuzzer from what lies behind. */
#include "registry/codec.h"
#include "registry/registry.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char raw[CHUNK_MAX], again[CHUNK_MAX], stored[OBJECT_STORED_MAX];
    static struct codec *codec;
    struct digest digest = {0};
    char hex[65];
    size_t length, is;
    if (!codec)
        codec = codec_create();
    if (codec_length(data, size, CHUNK_MAX, &length, NULL) < 0)
        return 0;
    assert(length > 0 && length <= CHUNK_MAX);
    (void)!codec_unpack(codec, data, size, &digest, raw, length, NULL);
    digest = sha_of(codec_sha(codec), raw, length);
    if (codec_unpack(codec, data, size, &digest, raw, length, NULL) < 0)
        return 0;
    /* What was taken packs and unpacks to itself. */
    size_t packed = registry_pack_chunk(raw, length, stored, hex);
    int done = registry_unpack_chunk(stored, packed, hex, again, &is, NULL);
    assert(done == 0 && is == length && memcmp(raw, again, length) == 0);
    return 0;
}
