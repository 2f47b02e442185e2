/* Any body, as either protocol's, with any border between JSON and tensors: a key or none, and the
 * same one again; and what documents read as JSON has a canonical form. */
#include "gateway/cache_key.h"

#include "base/memory.h"
#include "gateway/canon.h"
#include "wire/doc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_form(const char *text, size_t length)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(canon_finish) struct canon canon;
    struct error err;
    bool has_form = canon_make(&canon, text, length);
    if (doc_parse_json_bounded(arena, text, length, 1 << 20, CANON_VALUES_MAX, &err))
        assert(has_form);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    char *body = memcpy(malloc(size), data, size);
    struct cache_request request = {.service = "a/b",
        .tenant = "a",
        .protocol = data[0] & 1 ? PROTOCOL_OIP : PROTOCOL_OPENAI,
        .verb = data[0] & 2 ? "/v1/embeddings" : "/infer",
        .body = body + 2,
        .length = size - 2,
        .json_length = (int64_t)data[1] - 1,
        .sampled = data[0] & 4};
    struct cache_subject one, two;
    if (cache_key_make(&request, &one)) {
        assert(cache_key_make(&request, &two));
        assert(memcmp(&one.key, &two.key, sizeof one.key) == 0);
    }
    check_form(body + 2, size - 2);
    free(body);
    return 0;
}
