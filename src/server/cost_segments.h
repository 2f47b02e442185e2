/* What was held, as pieces of time with a price: the core's charges, and what attempts still hold.
 * Every report adds them up in a way of its own. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct server;

/* Something held for a while, charged already or still open. Money is in billionths. */
struct segment {
    uint64_t attempt;
    uint64_t job;
    uint64_t team;
    uint64_t pool;
    int64_t begin_ms;
    int64_t end_ms;
    int64_t cost_nano;
    int64_t wasted_nano;
    int64_t hour_micro;
    int64_t accelerator_milli;
};

typedef void segment_fn(void *context, const struct segment *segment);

struct segment_walk {
    struct server *server;
    segment_fn *visit;
    void *context;
    int64_t from_ms;
    int64_t to_ms;
};

/* Visits everything held between from and to; of one job when job is not 0. ERR_IO. */
MUST_CHECK int segments_walk(struct segment_walk *walk, uint64_t job, struct error *err);
/* Cuts a segment to the walk's time; false when nothing is left. */
bool segment_clip(const struct segment_walk *walk, struct segment *segment);
/* What a time costs at a price in millionths an hour, in billionths, rounded half up. */
int64_t segment_nano(int64_t hour_micro, int64_t ms);
