/* Lines out of pieces: see kube_lines.h. Never more than line_max bytes are kept. */
#include "engine/kube_lines.h"

#include <assert.h>
#include <string.h>

static void keep(struct kube_lines *lines, const char *bytes, size_t length)
{
    size_t room = lines->line_max - lines->line.length;
    lines->cut |= length > room;
    strbuf_append(&lines->line, bytes, length < room ? length : room);
}

static bool hand_over(struct kube_lines *lines, kube_line_fn *on_line, void *ctx)
{
    bool more = on_line(ctx, strbuf_text(&lines->line), lines->line.length, lines->cut);
    strbuf_clear(&lines->line);
    lines->cut = false;
    return more;
}

bool kube_lines_feed(
    struct kube_lines *lines, const char *bytes, size_t length, kube_line_fn *on_line, void *ctx)
{
    assert(lines->line_max > 0 && lines->line.length <= lines->line_max);
    while (length > 0) {
        const char *end = memchr(bytes, '\n', length);
        size_t part = end ? (size_t)(end - bytes) : length;
        keep(lines, bytes, part);
        if (!end)
            return true;
        bytes += part + 1;
        length -= part + 1;
        if (!hand_over(lines, on_line, ctx))
            return false;
    }
    return true;
}

void kube_lines_end(struct kube_lines *lines, kube_line_fn *on_line, void *ctx)
{
    if (lines->line.length > 0 || lines->cut)
        (void)hand_over(lines, on_line, ctx);
}

void kube_lines_finish(struct kube_lines *lines)
{
    strbuf_finish(&lines->line);
    lines->cut = false;
}
