/* Reading the store: the live rows of one moment, and how long jobs took that ended before. */
#pragma once

#include "base/error.h"
#include "planner/copy.h"
#include "planner/history.h"

struct store_reader;

/* Fills an empty copy with the live rows as of the newest tick, within one read transaction;
 * *ret_tick is that tick. -1: the copy is half filled. */
MUST_CHECK int snapshot_read(
    struct store_reader *reader, struct copy *copy, int64_t *ret_tick, struct error *err);
/* Learns from the newest attempts that ended, at most `most`, the oldest of them first. */
MUST_CHECK int snapshot_learn(
    struct store_reader *reader, struct history *history, size_t most, struct error *err);
/* Whether an attempt that ended says how long its job runs: it came to its own end, or to its time
 * limit. */
bool snapshot_tells(const struct attempt_row *attempt);
