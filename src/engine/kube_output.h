/* The output of a pod, as its API gives it: lines with the time at which they were written, by a
 * clock that is not ours, and no way to say "from here". A reader that was cut off asks again from
 * some time before its last line (kube_output_since_ms) and passes over what it knows: so each line
 * is told of once, whatever byte an answer was cut at.
 *
 * Lines may be a little out of order, since a pod's two streams are written by two threads, and the
 * clock may be set back. What cannot be told apart: lines of the very millisecond of the last line
 * that was read, where the file on the node was exchanged for a new one (rotation) between them, or
 * the clock was set back to it. What cannot be asked for: lines of a file that was exchanged while
 * nobody read, and of a clock that was set back meanwhile. */
#pragma once

#include "engine/kube_lines.h"

struct kube_output {
    struct kube_lines lines;
    /* Where the reader is: behind a line of last_ms, which is the latest but for what was written
     * before the clock was set back. */
    int64_t last_ms;     /* 0: nothing was read */
    uint32_t at_last;    /* lines of last_ms */
    uint32_t after_last; /* lines after the last of these, earlier ones */
    int64_t ahead_ms;    /* the latest time of all */
    /* Since it is read again: how much of that came again. */
    bool again;
    uint32_t again_at, again_after;
};

/* A line of the container: its time and text, ended by NUL and without its newline. */
typedef void kube_output_fn(void *ctx, int64_t at_ms, const char *text, size_t length);

/* Zeroes it; text_max: bytes of a line, which is cut there. */
void kube_output_init(struct kube_output *output, size_t text_max);
void kube_output_finish(struct kube_output *output);
/* Tells of every new line that the bytes complete. What has no time was not written by the
 * container: a kubelet puts its own errors behind what it had sent. It is left out. */
void kube_output_feed(struct kube_output *output, const char *bytes, size_t length,
    kube_output_fn *on_line, void *ctx);
/* The container writes no more, and this was all: tells of what is left without a newline. */
void kube_output_end(struct kube_output *output, kube_output_fn *on_line, void *ctx);
/* The answer ended: what comes next is the output from kube_output_since_ms on. */
void kube_output_again(struct kube_output *output);
/* The time from which it has to be asked for, in whole seconds as the API wants it; 0: all. */
int64_t kube_output_since_ms(const struct kube_output *output);
/* Whether a line of that time is new, which it is from here on no more. Also how a reader comes to
 * know what another one had read: all of its lines in their order, or the last ones, as long as a
 * line before the last millisecond's is among them. */
bool kube_output_take(struct kube_output *output, int64_t at_ms);
