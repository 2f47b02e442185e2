/* Fuzz target: what is read as routes is written and read back as the same. */
#include "base/memory.h"
#include "gateway/routes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct routes *routes, *again;
    struct error err;
    if (routes_decode(arena, (const char *)data, size, &routes, &err) < 0) {
        assert(err.text[0]);
        return 0;
    }
    SCOPED(mem_scope) char *text = routes_encode(routes);
    int rc = routes_decode(arena, text, strlen(text), &again, NULL);
    assert(rc == 0 && again->generation == routes->generation);
    SCOPED(mem_scope) char *twice = routes_encode(again);
    assert(strcmp(text, twice) == 0);
    return 0;
}
