/* Hashes of requests: see cache_key.h. BLAKE2b over the canonical form of JSON (canon.h) and all
 * else, each part with its length, so that no two requests are the same to it. */
#include "gateway/cache_key.h"

#include "base/memory.h"
#include "gateway/canon.h"

#include <sodium.h>
#include <string.h>

enum { BODY_BYTES_MAX = 1 << 20 };

typedef crypto_generichash_state hash_state;

static void add_bytes(hash_state *hash, const void *bytes, size_t length)
{
    uint64_t size = length;
    crypto_generichash_update(hash, (const unsigned char *)&size, sizeof size);
    crypto_generichash_update(hash, bytes, length);
}

static void add_text(hash_state *hash, const char *text)
{
    add_bytes(hash, text, strlen(text));
}

static void add_number(hash_state *hash, uint64_t number)
{
    add_bytes(hash, &number, sizeof number);
}

/* ---- what may be kept ------------------------------------------------------------------------ */

/* Embeddings are computed, everything else of that API is drawn, unless the temperature is 0. */
static bool is_drawn(const struct cache_request *request, const struct canon *body)
{
    return request->protocol == PROTOCOL_OPENAI && strcmp(request->verb, "/v1/embeddings") != 0 &&
           !canon_is(body, "temperature", "0");
}

static bool may_keep(const struct cache_request *request, const struct canon *body)
{
    if (body->text[0] != '{' || (!request->sampled && is_drawn(request, body)))
        return false;
    return request->protocol != PROTOCOL_OIP || !canon_has(body, "id");
}

bool cache_key_make(const struct cache_request *request, struct cache_subject *ret)
{
    size_t json = request->json_length < 0 ? request->length : (size_t)request->json_length;
    if (request->length > BODY_BYTES_MAX || json > request->length)
        return false;
    SCOPED(canon_finish) struct canon body;
    if (!canon_make(&body, request->body, json) || !may_keep(request, &body))
        return false;
    hash_state hash;
    crypto_generichash_init(&hash, NULL, 0, CACHE_KEY_BYTES);
    add_text(&hash, request->service);
    add_text(&hash, request->tenant);
    add_text(&hash, request->verb);
    add_number(&hash, request->versions);
    add_bytes(&hash, body.text, body.length);
    add_bytes(&hash, request->body + json, request->length - json);
    crypto_generichash_final(&hash, ret->key.bytes, CACHE_KEY_BYTES);
    ret->streams = canon_is(&body, "stream", "true");
    return true;
}
