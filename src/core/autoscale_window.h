/* What was seen lately, in windows of bounded size: bins of a width that follows from the longest
 * time asked for. Moments are the caller's; what comes late, or from the future, is left out. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { SCALE_BINS = 64, SCALE_BINS_FULL = 60 }; /* the longest time asked for is so many bins */

/* Added up over a time. */
struct scale_sums {
    int64_t covered_ms;     /* of it something is known */
    int64_t busy_us;        /* requests under way or waiting, times microseconds */
    int64_t waiting_us;     /* of it, those that waited */
    int64_t arrived, ended; /* requests */
    int64_t timed, late;    /* of those that ended: that a goal is for, and later than it */
};

struct scale_window {
    int64_t width_ms; /* of a bin; 0: nothing was added yet */
    int64_t newest;   /* the newest bin: a moment divided by the width */
    struct scale_sums bins[SCALE_BINS];
};

/* The width of bins for so long a time: at least a second. */
int64_t scale_width(int64_t span_ms);
/* Adds what came from one moment to another, shared out over its bins by time. Another width
 * than before begins anew. */
void scale_window_add(struct scale_window *window, int64_t width_ms, int64_t from_ms,
    int64_t until_ms, const struct scale_sums *sums);
/* What came in the last so many milliseconds, in whole bins: the bin of now is not over yet. */
struct scale_sums scale_window_sum(
    const struct scale_window *window, int64_t now_ms, int64_t span_ms);

/* The most and the least that were wished for, by bins. */
struct scale_wishes {
    int64_t width_ms, newest;
    struct {
        bool known;
        int32_t least, most;
    } bins[SCALE_BINS];
};

/* Adds what is wished for now. Another width than before begins anew. */
void scale_wishes_add(
    struct scale_wishes *wishes, int64_t width_ms, int64_t now_ms, int32_t wished);
/* The most that was wished for in the last so many milliseconds, `now` included; none: fallback. */
int32_t scale_wishes_most(
    const struct scale_wishes *wishes, int64_t now_ms, int64_t span_ms, int32_t fallback);
/* The least. */
int32_t scale_wishes_least(
    const struct scale_wishes *wishes, int64_t now_ms, int64_t span_ms, int32_t fallback);
