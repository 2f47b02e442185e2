/* SHA-256 by OpenSSL, which uses the processor's own instructions: hashing is most of what taking
 * in a file costs. libsodium's, used elsewhere for short texts, is several times slower. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { DIGEST_BYTES = 32, DIGEST_HEX = 2 * DIGEST_BYTES };

struct digest {
    unsigned char bytes[DIGEST_BYTES];
};

/* A hash under way. It can be started again and again; used by one thread at a time. */
struct sha;

/* Never NULL: ends the process when OpenSSL has no SHA-256. The caller destroys it. */
struct sha *sha_create(void);
void sha_destroy(struct sha *sha); /* NULL is fine */
void sha_start(struct sha *sha);
void sha_add(struct sha *sha, const void *bytes, size_t size);
/* What was added since the start. Start again before adding more. */
struct digest sha_end(struct sha *sha);
/* Start, add and end. */
struct digest sha_of(struct sha *sha, const void *bytes, size_t size);

/* 64 lower-case hex digits and NUL. */
void digest_hex(const struct digest *digest, char out[DIGEST_HEX + 1]);
/* Reads exactly 64 lower-case hex digits (no NUL is looked for); false: they are not that. */
bool digest_parse(const char *hex, struct digest *ret);
/* The same for a whole text, which may be NULL. */
bool digest_parse_text(const char *text, struct digest *ret);
/* Order by byte, as qsort and bsearch want it. */
int digest_compare(const void *a, const void *b);

static inline void sha_scope(struct sha **sha)
{
    sha_destroy(*sha);
}
