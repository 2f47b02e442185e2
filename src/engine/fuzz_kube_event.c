/* Fuzz target: whatever a server sends as a stream, however it is cut, the same lines come out, no
 * longer than allowed, and each is an event or refused. */
#include "engine/kube_event.h"
#include "engine/kube_lines.h"
#include "engine/kube_metrics.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINE_MAX_BYTES = 200 };

static bool note(void *ctx, const char *line, size_t length, bool cut)
{
    struct strbuf *all = ctx;
    assert(length <= LINE_MAX_BYTES && line[length] == '\0');
    strbuf_append(all, line, length);
    strbuf_puts(all, cut ? "~\n" : "\n");
    return true;
}

static void check_sample(void *ctx, const struct kube_sample *sample)
{
    (void)ctx;
    assert(sample->name && sample->name_space && sample->at_ms > 0 && sample->window_ms >= 0);
}

static bool parse(void *ctx, const char *line, size_t length, bool cut)
{
    struct kube_event event = {0};
    struct error err = {0};
    SCOPED(arena_scope) struct arena *arena = arena_create();
    (void)ctx, (void)cut;
    if (kube_event_parse(arena, line, length, &event, &err) < 0) {
        assert(err.code != ERR_NONE && event.object == NULL);
        return true;
    }
    assert(event.object->type == DOC_MAP);
    assert(event.kind == KUBE_FAILED || event.version[0]);
    kube_metrics_read(event.object, check_sample, NULL);
    kube_metrics_read_summary(event.object, check_sample, NULL);
    return true;
}

static void split(const char *bytes, size_t length, size_t step, struct strbuf *out)
{
    struct kube_lines lines = {.line_max = LINE_MAX_BYTES};
    for (size_t at = 0; at < length; at += step) {
        size_t part = length - at < step ? length - at : step;
        bool more = kube_lines_feed(&lines, bytes + at, part, note, out);
        assert(more);
    }
    kube_lines_end(&lines, note, out);
    kube_lines_finish(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct strbuf whole = {0}, pieces = {0};
    struct kube_lines lines = {.line_max = 1 << 16};
    const char *bytes = (const char *)data;
    if (size == 0)
        return 0;
    split(bytes, size, size, &whole);
    split(bytes, size, 1 + data[0] % 7, &pieces);
    assert(whole.length == pieces.length);
    assert(memcmp(strbuf_text(&whole), strbuf_text(&pieces), whole.length) == 0);
    (void)kube_lines_feed(&lines, bytes, size, parse, NULL);
    kube_lines_end(&lines, parse, NULL);
    kube_lines_finish(&lines);
    strbuf_finish(&whole);
    strbuf_finish(&pieces);
    return 0;
}
