/* The form in which objects are stored and travel: a header of 16 bytes and the bytes, as they are
 * or compressed with zstd.
 *
 *     0   4  "muob"
 *     4   1  form: 0 as they are, 1 one zstd frame (RFC 8878) that states its content's size
 *     5   3  zero
 *     8   8  the length of the raw bytes, little-endian
 *
 * What is stored is never longer than the raw bytes and the header. */
#pragma once

#include "base/error.h"
#include "registry/sha.h"

#include <stddef.h>

enum { CODEC_HEADER = 16 };

/* The contexts of zstd and SHA-256: making them anew for every chunk would cost more than many a
 * chunk. Used by one thread at a time. */
struct codec;

/* Never NULL; the caller destroys it. The contexts are made when they are first needed. */
struct codec *codec_create(void);
void codec_destroy(struct codec *codec); /* NULL is fine */
/* The SHA-256 context of the codec, for its owner's use between calls. */
struct sha *codec_sha(struct codec *codec);

/* Packs 1 byte or more; out has size + CODEC_HEADER bytes. Returns how many are used. Compressed
 * only when that saves a sixteenth, which is tried on samples first: the weights of models mostly
 * do not, and trying all of each would cost more than hashing it. */
size_t codec_pack(struct codec *codec, const void *raw, size_t size, void *out);
/* The raw length a header states, checked to be in 1..most. ERR_INVALID, ERR_TOO_LARGE. */
MUST_CHECK int codec_length(
    const void *stored, size_t size, size_t most, size_t *ret_length, struct error *err);
/* Unpacks into raw, which has the length that codec_length gives, and checks the digest.
 * ERR_INVALID: malformed, or other bytes than the digest says; raw may be written then. */
MUST_CHECK int codec_unpack(struct codec *codec, const void *stored, size_t size,
    const struct digest *digest, void *raw, size_t length, struct error *err);

static inline void codec_scope(struct codec **codec)
{
    codec_destroy(*codec);
}
