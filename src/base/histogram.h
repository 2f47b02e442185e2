/* Histograms of what is measured often: log-linear, of a fixed size, mergeable, of integers only.
 * Below 32 each value has a bucket of its own, above it a power of two has 16: a value is known
 * within a sixteenth of itself. All histograms have the same buckets, so they are added bucket by
 * bucket, and what came between two readings of a growing one is their difference.
 *
 * Counters that threads share are kept by who shares them, as atomics, by histogram_bucket; what is
 * here is plain data. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct strbuf;

enum {
    HISTOGRAM_FINE_BITS = 4,
    HISTOGRAM_VALUE_BITS = 40, /* a larger value counts as the largest: 12 days in microseconds */
    HISTOGRAM_BUCKETS = (HISTOGRAM_VALUE_BITS - HISTOGRAM_FINE_BITS + 1) << HISTOGRAM_FINE_BITS,
};

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
};

/* Where the value falls: below HISTOGRAM_BUCKETS. A negative one counts as 0. */
static inline size_t histogram_bucket(int64_t value)
{
    if (value < 2 << HISTOGRAM_FINE_BITS)
        return value > 0 ? (size_t)value : 0;
    if (value >> HISTOGRAM_VALUE_BITS)
        return HISTOGRAM_BUCKETS - 1;
    int shift = 63 - __builtin_clzll((unsigned long long)value) - HISTOGRAM_FINE_BITS;
    return ((size_t)shift << HISTOGRAM_FINE_BITS) + (size_t)(value >> shift);
}

/* The largest value that falls there. */
int64_t histogram_bound(size_t bucket);
/* Counts a value once. */
void histogram_add(struct histogram *histogram, int64_t value);
/* Adds the counts of another. */
void histogram_merge(struct histogram *histogram, const struct histogram *other);
/* How many values there are. */
uint64_t histogram_count(const struct histogram *histogram);
/* What per_million of a million values are at or below (nearest rank): the bound of its bucket, so
 * never less than what was counted. 0 when there is none. */
int64_t histogram_at(const struct histogram *histogram, int64_t per_million);
/* How many values are above it: those of the value's own bucket are not. */
uint64_t histogram_above(const struct histogram *histogram, int64_t value);
/* Appends "bucket:count bucket:count ..", those that are not 0, for documents. */
void histogram_write(const struct histogram *histogram, struct strbuf *out);
/* Reads it back; -1: it is none (a bucket out of order or range, a count that is none). */
MUST_CHECK int histogram_read(const char *text, struct histogram *ret);
