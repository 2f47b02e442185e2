/* Fuzz target: any bytes as frames are read or refused, and rows that were read are written again
 * to the same bytes. */
#include "base/memory.h"
#include "planner/frame.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at_rows(struct frame_cursor body)
{
    struct frame_row row;
    struct error err;
    uint64_t tick;
    const unsigned char *before;
    if (frame_get_u64(&body, &tick, &err) < 0)
        return;
    while (before = body.at, frame_get_row(&body, &row, &err) > 0) {
        struct strbuf again = {0};
        assert(row.row.id);
        frame_put_row(&again, &(struct core_change){row.change, row.kind, &row.row});
        assert(again.length == (size_t)(body.at - before));
        assert(memcmp(again.text, before, again.length) == 0);
        strbuf_finish(&again);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame frame;
    struct error err = {0};
    struct frame_slice slice;
    struct core_options options;
    uint64_t number;
    for (size_t at = 0; at < size;) {
        int64_t length = frame_read(data + at, size - at, &frame, &err);
        assert(length >= -1 && length <= (int64_t)(size - at));
        if (length <= 0)
            break;
        assert(frame.body.left + FRAME_HEADER == (size_t)length);
        look_at_rows(frame.body);
        struct frame_cursor body = frame.body;
        if (frame_get_u64(&body, &number, &err) == 0 && frame_get_slice(&body, &slice, &err) == 0)
            assert(slice.kind < ROW_KIND_COUNT && body.left == 0);
        body = frame.body;
        (void)!frame_get_hello(&body, &options, &err);
        at += (size_t)length;
    }
    return 0;
}
