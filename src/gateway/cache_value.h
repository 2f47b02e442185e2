/* An answer as bytes, for a store that others can write to: sealed with the gateways' secret, and
 * bound to the key of its request, so that what was cut off, changed, made by somebody else or put
 * at another place is no answer. Nobody without the secret can read it either. */
#pragma once

#include "gateway/cache.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strbuf;

enum {
    CACHE_SECRET_BYTES = 32,
    CACHE_SECRET_TEXT_MIN = 32, /* of what it is made from */
    CACHE_VALUE_FIELDS_MAX = 80,
    CACHE_VALUE_BYTES_MAX = (1 << 20) + (1 << 16),
};

struct cache_secret {
    uint8_t bytes[CACHE_SECRET_BYTES];
};

/* The secret of a text, at least CACHE_SECRET_TEXT_MIN long. */
void cache_secret_make(struct cache_secret *ret, const char *text, size_t length);

/* By both clocks of one moment: monotonic ones mean nothing elsewhere. */
struct cache_moment {
    int64_t now_ms;  /* as cache_answer.made_ms */
    int64_t wall_ms; /* since 1970 */
};

/* Appends the sealed answer. False, and nothing appended: it is larger than CACHE_VALUE_BYTES_MAX.
 */
bool cache_value_seal(const struct cache_secret *secret, const struct cache_key *key,
    const struct cache_answer *answer, const struct cache_moment *moment, struct strbuf *out);
/* The answer, with one reference; its age is kept. NULL: the bytes are none for this key. */
struct cache_answer *cache_value_open(const struct cache_secret *secret,
    const struct cache_key *key, const void *bytes, size_t length,
    const struct cache_moment *moment);

/* ---- for tests: what is inside the seal ------------------------------------------------------ */

/* Appends the plain form. False, and nothing appended: as cache_value_seal. */
bool cache_value_write(
    const struct cache_answer *answer, const struct cache_moment *moment, struct strbuf *out);
/* The answer of a plain form, as cache_value_open. */
struct cache_answer *cache_value_read(
    const uint8_t *bytes, size_t length, const struct cache_moment *moment);
