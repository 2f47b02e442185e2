/* Fuzz target: a packed body, cut in two places. However it is cut the verdict is the same, and
 * what is made stays within the ratio. */
#include "wire/http_unpack.h"

#include <assert.h>
#include <stdlib.h>

enum { ROOM = 4096, MADE_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct verdict {
    bool fault, whole;
    size_t made;
};

static struct verdict unpack(const char *coding, const char *bytes, size_t length, size_t piece)
{
    size_t memory = 0, at = 0;
    struct verdict verdict = {0};
    struct http_unpack *unpack = http_unpack_create(coding, &memory, SIZE_MAX);
    while (!verdict.fault && verdict.made < MADE_MAX) {
        char out[ROOM];
        size_t taken, made, left = length - at < piece ? length - at : piece;
        verdict.fault = http_unpack_step(unpack, bytes + at, left, out, ROOM, &taken, &made);
        if (taken == 0 && made == 0)
            break;
        assert(taken <= left && made <= ROOM);
        at += taken;
        verdict.made += made;
    }
    verdict.whole = !verdict.fault && http_unpack_is_whole(unpack);
    http_unpack_destroy(unpack);
    assert(memory == 0);
    return verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const codings[] = {"gzip", "zstd", "deflate"};
    if (size < 2)
        return 0;
    const char *coding = codings[data[0] % 3], *bytes = (const char *)data + 2;
    struct verdict whole = unpack(coding, bytes, size - 2, size);
    struct verdict cut = unpack(coding, bytes, size - 2, data[1] + 1u);
    if (whole.made < MADE_MAX && cut.made < MADE_MAX)
        /* What is damaged may be seen at once or only by its end missing: it is refused both ways.
         */
        assert((!whole.fault && whole.whole) == (!cut.fault && cut.whole));
    return 0;
}
