/* What is stored of the usage files of gateways: the counters of each series when it was last
 * collected. Within a file a series is known by its place: records stay where they are
 * (gateway/usage.h), and a worker adds new ones at the end. */
#pragma once

#include "base/error.h"
#include "base/map.h"
#include "base/vec.h"
#include "gateway/usage.h"

#include <stddef.h>

struct store_reader;
struct tick;

struct seen_file {
    char *name;
    VEC(struct usage_counts) places;
};

/* All zero: nothing was seen. */
struct serving_seen {
    VEC(struct seen_file *) files;
    struct strmap by_name;
    size_t count; /* places of all files */
};

/* What is in the store, in place of what it had. ERR_CORRUPT or the store's errors; then some of it
 * may be there. */
MUST_CHECK int serving_seen_load(
    struct serving_seen *seen, struct store_reader *reader, struct error *err);
void serving_seen_finish(struct serving_seen *seen);

/* NULL: nothing of it is stored. */
struct seen_file *serving_seen_file(const struct serving_seen *seen, const char *name);
void serving_seen_set(
    struct serving_seen *seen, const char *name, size_t place, const struct usage_counts *counts);
/* The last `count` places of a file; with the last of all the file goes, too. */
void serving_seen_forget(struct serving_seen *seen, struct seen_file *file, size_t count);

/* The same in the store: a place's counters are put, a file's last `count` places are deleted. */
void serving_seen_store(
    struct tick *tick, const char *file, size_t place, const struct usage_counts *counts);
void serving_seen_delete(struct tick *tick, const struct seen_file *file, size_t count);
