/* What lies in a store that others can write to: any bytes are no answer to a key, and any bytes
 * within a seal are one that is written as it was read, or none. */
#include "gateway/cache_value.h"

#include "base/memory.h"
#include "base/strbuf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_plain(const uint8_t *bytes, size_t size)
{
    static const struct cache_moment moment = {1000, (int64_t)1 << 40};
    SCOPED(strbuf_finish) struct strbuf out = {0};
    struct cache_answer *answer = cache_value_read(bytes, size, &moment);
    if (answer && cache_value_write(answer, &moment, &out)) {
        /* But for the age, which is bounded. */
        assert(out.length == size && memcmp(out.text, bytes, 16) == 0);
        assert(memcmp(out.text + 24, bytes + 24, size - 24) == 0);
    }
    cache_answer_unref(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct cache_secret secret = {{1}};
    static const struct cache_key key = {{2}};
    static const struct cache_moment moment = {1000, (int64_t)1 << 40};
    uint8_t *exact = malloc(size ? size : 1);
    if (size > 0)
        memcpy(exact, data, size);
    check_plain(exact, size);
    assert(!cache_value_open(&secret, &key, exact, size, &moment));
    free(exact);
    return 0;
}
