/* The copy as the feed keeps it: a snapshot of the store, and every tick since. */
#pragma once

#include "planner/copy.h"
#include "planner/frame.h"
#include "planner/history.h"

struct feed_copy;

/* An empty one, of the server with that data directory. */
struct feed_copy *feed_copy_create(const char *data_dir);
void feed_copy_destroy(struct feed_copy *feed); /* NULL is fine */
/* The connection broke: what comes next begins with a HELLO. */
void feed_copy_reset(struct feed_copy *feed);
/* Takes a frame of any kind but FRAME_ASK and FRAME_ANSWER. -1 ends the connection: ERR_INVALID for
 * what makes no sense, ERR_CONFLICT when the other end is another program, or the store's error. */
MUST_CHECK int feed_copy_take(struct feed_copy *feed, const struct frame *frame, struct error *err);
/* Whether the copy is a state of the server. */
bool feed_copy_ready(const struct feed_copy *feed);
const struct copy *feed_copy_rows(const struct feed_copy *feed);
const struct history *feed_copy_history(const struct feed_copy *feed);
/* What the server's core was made with. */
const struct core_options *feed_copy_options(const struct feed_copy *feed);
int64_t feed_copy_tick(const struct feed_copy *feed);

struct feed_copy_stats {
    int64_t tick, ticks;
    int64_t lag_ns, lag_max_ns;     /* from a tick's commit to its being applied: last, most */
    int64_t slices, mismatches;     /* compared, and found to differ */
    int64_t snapshots, snapshot_ns; /* read, and how long the last took */
    int64_t bytes, learned;
};
/* Figures since the beginning. */
void feed_copy_stats(const struct feed_copy *feed, struct feed_copy_stats *ret);
