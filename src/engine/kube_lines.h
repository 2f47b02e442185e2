/* Lines out of a stream that comes in pieces, each bounded: the events of a watch, the output of
 * pods. */
#pragma once

#include "base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kube_lines {
    size_t line_max;    /* a longer line is cut there */
    struct strbuf line; /* what is there of the next one */
    bool cut;           /* it is being cut */
};

/* A line without its newline, ended by NUL; cut: it was longer. False: no more of them. */
typedef bool kube_line_fn(void *ctx, const char *line, size_t length, bool cut);

/* Hands over every line that the bytes complete; false when the callback said so. */
bool kube_lines_feed(
    struct kube_lines *lines, const char *bytes, size_t length, kube_line_fn *on_line, void *ctx);
/* The stream has ended: hands over what is left without a newline, if there is something. */
void kube_lines_end(struct kube_lines *lines, kube_line_fn *on_line, void *ctx);
/* Forgets what is there of a line and frees it. */
void kube_lines_finish(struct kube_lines *lines);
