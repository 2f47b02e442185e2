/* Any bytes as what relay_care.h reads of others: deadlines of clients, the beginning of a stream,
 * a small model's answer, a request that is made to ask for logprobs. A stream is judged the same
 * in pieces as at once, and an edit keeps what was there. */
#include "base/memory.h"
#include "base/strbuf.h"
#include "gateway/cascade.h"
#include "gateway/deadline.h"
#include "gateway/fallback.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_deadlines(const char *text)
{
    int64_t ms;
    if (deadline_parse_ms(text, &ms))
        assert(ms >= 0 && ms <= DEADLINE_MS_MAX && strspn(text, "0123456789") == strlen(text));
    if (deadline_parse_grpc(text, &ms))
        assert(ms >= 0 && ms <= DEADLINE_MS_MAX && strlen(text) <= 9);
}

/* What was once an event or an error stays that, whatever follows. */
static void read_stream(const char *bytes, size_t length)
{
    enum stream_start before = STREAM_OPEN;
    for (size_t i = 0; i <= length; i++) {
        enum stream_start now = fallback_stream_start(bytes, i);
        assert(before == STREAM_OPEN || now == before);
        before = now;
        assert(fallback_whole_events(bytes, i) <= i);
    }
}

static void read_answer(const char *bytes, size_t length)
{
    static const struct service_cascade ways[] = {
        {.confidence = CONFIDENCE_OUTPUT, .name = "sure"},
        {.confidence = CONFIDENCE_LOGPROBS},
        {.confidence = CONFIDENCE_POINTER, .name = "/a~1b/0/~0"},
    };
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(strbuf_finish) struct strbuf once = {0}, twice = {0};
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        int64_t micro = 0;
        if (cascade_confidence(&ways[i], arena, bytes, length, &micro))
            assert(micro >= -1000000000000000 && micro <= 1000000000000000);
    }
    if (!cascade_strip(arena, bytes, length, &once))
        return;
    bool again = cascade_strip(arena, once.text, once.length, &twice);
    assert(again && !strcmp(once.text, twice.text));
}

static void edit_request(const char *bytes, size_t length)
{
    const struct service_cascade cascade = {.confidence = CONFIDENCE_LOGPROBS};
    const struct target target = {.protocol = PROTOCOL_OPENAI, .verb = "/v1/chat/completions"};
    SCOPED(strbuf_finish) struct strbuf body = {0};
    strbuf_append(&body, bytes, length);
    if (length == 0)
        return;
    enum cascade_edit edit = cascade_prepare(&cascade, &target, &body);
    size_t added = edit == CASCADE_EDITED ? strlen("\"logprobs\":true,") : 0;
    assert(body.length == length + added);
    if (added == 0)
        assert(!memcmp(body.text, bytes, length));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SCOPED(strbuf_finish) struct strbuf text = {0};
    if (size > 4096)
        return 0;
    strbuf_append(&text, data, size);
    strbuf_putc(&text, '\0');
    read_deadlines(text.text);
    read_stream(text.text, size);
    read_answer(text.text, size);
    edit_request(text.text, size);
    return 0;
}
