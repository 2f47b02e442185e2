/* Fuzz target: any bytes as a traceparent and a tracestate. What is read is written again as it
 * was, in version 00; what is refused leaves nothing behind. */
#include "gateway/trace_context.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_alloc(size + 1, 1);
    char out[TRACE_PARENT_TEXT];
    struct trace_context context, untouched;
    if (size > 0)
        memcpy(text, data, size);
    memset(&context, 0xaa, sizeof context);
    untouched = context;
    if (trace_parent_read(text, &context)) {
        trace_parent_write(&context, out);
        /* But for the version and flags that are not known. */
        assert(!memcmp(out + 2, text + 2, 51));
        struct trace_context again;
        assert(trace_parent_read(out, &again) && !memcmp(&again, &context, sizeof again));
        (void)trace_sampled(&context, (int64_t)size % 1000001);
    } else {
        assert(!memcmp(&context, &untouched, sizeof context));
    }
    if (trace_state_valid(text)) {
        assert(strlen(text) < TRACE_STATE_TEXT && strchr(text, '='));
        for (const char *at = text; *at; at++)
            assert(*at == '\t' || (*at >= 0x20 && *at < 0x7f));
    }
    free(text);
    return 0;
}
