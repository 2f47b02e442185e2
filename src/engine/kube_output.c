/* The output of a pod: see kube_output.h. */
#include "engine/kube_output.h"

#include "base/quantity.h"

#include <stdio.h>
#include <string.h>

enum {
    STAMP_MAX = 40,        /* "2026-01-31T08:30:00.123456789+01:00 " */
    OUT_OF_ORDER_MS = 1000 /* a line further back than this is of a clock that was set back */
};

void kube_output_init(struct kube_output *output, size_t text_max)
{
    *output = (struct kube_output){.lines.line_max = STAMP_MAX + text_max};
}

void kube_output_finish(struct kube_output *output)
{
    kube_lines_finish(&output->lines);
}

int64_t kube_output_since_ms(const struct kube_output *output)
{
    int64_t since_ms = output->last_ms - OUT_OF_ORDER_MS;
    return since_ms > 0 ? since_ms / 1000 * 1000 : 0;
}

void kube_output_again(struct kube_output *output)
{
    kube_lines_finish(&output->lines);
    output->again = output->last_ms != 0;
    output->again_at = output->again_after = 0;
}

/* Whether it comes again; once it does not, nothing does any more. */
static bool is_known(struct kube_output *output, int64_t at_ms)
{
    bool before = output->again_at < output->at_last;
    if (before && at_ms == output->last_ms) {
        output->again_at++;
        return true;
    }
    if (before)
        return at_ms <= output->ahead_ms;
    if (at_ms < output->last_ms && output->again_after < output->after_last) {
        output->again_after++;
        return true;
    }
    return false;
}

bool kube_output_take(struct kube_output *output, int64_t at_ms)
{
    if (output->again && is_known(output, at_ms))
        return false;
    output->again = false;
    if (at_ms == output->last_ms) {
        output->at_last++;
        output->after_last = 0;
    } else if (at_ms > output->last_ms || output->last_ms - at_ms > OUT_OF_ORDER_MS) {
        output->last_ms = at_ms;
        output->at_last = 1;
        output->after_last = 0;
    } else {
        output->after_last++;
    }
    if (at_ms > output->ahead_ms)
        output->ahead_ms = at_ms;
    return true;
}

struct reading {
    struct kube_output *output;
    kube_output_fn *on_line;
    void *ctx;
};

/* "2026-01-31T08:30:00.123456789Z text". */
static bool on_line(void *ctx, const char *line, size_t length, bool cut)
{
    const struct reading *reading = ctx;
    const char *space = memchr(line, ' ', length < STAMP_MAX ? length : STAMP_MAX);
    size_t text_max = reading->output->lines.line_max - STAMP_MAX;
    char stamp[STAMP_MAX + 1];
    int64_t at_ms;
    (void)cut;
    if (!space)
        return true;
    snprintf(stamp, sizeof stamp, "%.*s", (int)(space - line), line);
    if (quantity_parse_time(stamp, &at_ms, NULL) < 0 || !kube_output_take(reading->output, at_ms))
        return true;
    size_t size = (size_t)(line + length - space - 1);
    reading->on_line(reading->ctx, at_ms, space + 1, size < text_max ? size : text_max);
    return true;
}

void kube_output_feed(
    struct kube_output *output, const char *bytes, size_t length, kube_output_fn *tell, void *ctx)
{
    struct reading reading = {output, tell, ctx};
    (void)kube_lines_feed(&output->lines, bytes, length, on_line, &reading);
}

void kube_output_end(struct kube_output *output, kube_output_fn *tell, void *ctx)
{
    struct reading reading = {output, tell, ctx};
    kube_lines_end(&output->lines, on_line, &reading);
}
