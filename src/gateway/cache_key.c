/* Hashes of requests: see cache_key.h. BLAKE2b over a canonical form, each part with its length, so
 * that no two requests have the same form. */
#include "gateway/cache_key.h"

#include "base/memory.h"
#include "wire/doc.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_BYTES_MAX = 1 << 20, ITEMS_MAX = 65536 };

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

/* ---- JSON ------------------------------------------------------------------------------------ */

static int by_key(const void *a, const void *b)
{
    return strcmp((*(const struct doc *const *)a)->key, (*(const struct doc *const *)b)->key);
}

static void add_value(hash_state *hash, struct arena *arena, const struct doc *value);

static void add_map(hash_state *hash, struct arena *arena, const struct doc *map)
{
    const struct doc **members = arena_alloc(arena, map->count + 1, sizeof *members);
    size_t count = 0;
    for (const struct doc *item = map->first; item; item = item->next)
        members[count++] = item;
    qsort(members, count, sizeof *members, by_key);
    for (size_t i = 0; i < count; i++) {
        add_text(hash, members[i]->key);
        add_value(hash, arena, members[i]);
    }
}

/* The depth is bounded by the parser (DOC_DEPTH_MAX). */
static void add_value(hash_state *hash, struct arena *arena, const struct doc *value)
{
    add_number(hash, (uint64_t)value->type);
    switch (value->type) {
    case DOC_NULL: break;
    case DOC_BOOL: add_number(hash, value->boolean); break;
    case DOC_NUMBER:
    case DOC_STRING: add_bytes(hash, value->text, value->length); break;
    case DOC_LIST:
        add_number(hash, value->count);
        for (const struct doc *item = value->first; item; item = item->next)
            add_value(hash, arena, item);
        break;
    case DOC_MAP:
        add_number(hash, value->count);
        add_map(hash, arena, value);
        break;
    }
}

/* ---- what may be kept ------------------------------------------------------------------------ */

static bool is_zero(const struct doc *value)
{
    return value && value->type == DOC_NUMBER && strspn(value->text, "-0.") == value->length;
}

/* Embeddings are computed, everything else of that API is drawn, unless the temperature is 0. */
static bool is_drawn(const struct cache_request *request, const struct doc *body)
{
    return request->protocol == PROTOCOL_OPENAI && strcmp(request->verb, "/v1/embeddings") != 0 &&
           !is_zero(doc_get(body, "temperature"));
}

static bool may_keep(const struct cache_request *request, const struct doc *body)
{
    if (body->type != DOC_MAP || (!request->sampled && is_drawn(request, body)))
        return false;
    return request->protocol != PROTOCOL_OIP || !doc_get(body, "id");
}

bool cache_key_make(const struct cache_request *request, struct cache_subject *ret)
{
    size_t json = request->json_length < 0 ? request->length : (size_t)request->json_length;
    if (request->length > BODY_BYTES_MAX || json > request->length)
        return false;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct error err;
    const struct doc *body =
        doc_parse_json_bounded(arena, request->body, json, BODY_BYTES_MAX, ITEMS_MAX, &err);
    if (!body || !may_keep(request, body))
        return false;
    hash_state hash;
    crypto_generichash_init(&hash, NULL, 0, CACHE_KEY_BYTES);
    add_text(&hash, request->service);
    add_text(&hash, request->tenant);
    add_text(&hash, request->verb);
    add_number(&hash, request->versions);
    add_value(&hash, arena, body);
    add_bytes(&hash, request->body + json, request->length - json);
    crypto_generichash_final(&hash, ret->key.bytes, CACHE_KEY_BYTES);
    ret->streams = doc_get_bool(body, "stream", false);
    return true;
}
