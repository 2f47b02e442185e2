/* Fuzz target: what a body wishes is found in any bytes without reading past them, and where the
 * whole is JSON it is what a parser finds. */
#include "base/memory.h"
#include "gateway/limit_estimate.h"
#include "wire/doc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int64_t number_of(const struct doc *doc, const char *name)
{
    int64_t number;
    const struct doc *item = doc_get(doc, name);
    return item && doc_as_int(item, &number) && number >= 0 && number < INT32_MAX ? number : -1;
}

/* A parser forgives a NUL after a number; the reader does not. */
static void compare_with_parser(const struct limit_wish *wish, const char *text, size_t size)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    if (memchr(text, '\0', size))
        return;
    const struct doc *doc = doc_parse_json(arena, text, size, size, NULL);
    if (!doc || doc->type != DOC_MAP)
        return;
    int64_t most = number_of(doc, "max_tokens");
    if (most >= 0)
        assert(wish->output_max >= most);
    int64_t answers = number_of(doc, "n");
    if (answers > 0)
        assert(wish->answers == answers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct limit_wish wish;
    char *text = malloc(size + 1); /* not a byte more is read */
    memcpy(text, data, size);
    limit_wish_read(text, size, &wish);
    assert(wish.output_max >= -1 && wish.output_max <= (int64_t)1 << 32 && wish.answers >= 1);
    compare_with_parser(&wish, text, size);
    free(text);
    return 0;
}
