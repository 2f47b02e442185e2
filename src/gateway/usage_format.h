/* How a usage file looks: a header, then records that never move. Both are multiples of eight
 * bytes, so that every counter is aligned and read and written whole. Host byte order: the reader
 * is on the same machine.
 *
 * Gateway and server are replaced one at a time, so either may be the newer one. From the second
 * version on the header says how long it is itself, how long a record's series, and how many
 * counters follow it; a later version adds to the end of each and nothing else. A reader takes what
 * it knows and passes over the rest; what a file does not have is empty, or 0. Files of the first
 * version say nothing and are known by their magic. A server of the first version does not read
 * later ones: it says so and leaves them, so that what they count is collected by the next. */
#pragma once

#include "gateway/usage.h"

#include <stddef.h>
#include <stdint.h>

#define USAGE_MAGIC   "MUSTUSG2"
#define USAGE_MAGIC_1 "MUSTUSG1"

/* A record's state: set last, with release order. */
enum { USAGE_FREE = 0, USAGE_PUBLISHED = 1 };

struct usage_header {
    char magic[8];
    uint32_t record_bytes;
    uint32_t series_max;
    uint64_t worker;
    char incarnation[40];
    /* From the second version on. */
    uint32_t header_bytes, series_bytes;
    uint32_t counters;
    uint32_t reserved;
};

struct usage_record {
    uint64_t state;
    struct usage_series series;
    struct usage_counts counts;
};

enum {
    USAGE_COUNTERS = sizeof(struct usage_counts) / sizeof(uint64_t),
    USAGE_HEADER_BYTES_1 = offsetof(struct usage_header, header_bytes),
    USAGE_SERIES_BYTES_1 = offsetof(struct usage_series, team),
    USAGE_COUNTERS_1 = offsetof(struct usage_counts, cache_hits) / sizeof(uint64_t),
    USAGE_RECORD_BYTES_MAX = 1 << 16,
};

_Static_assert(sizeof(struct usage_header) % 8 == 0, "records are aligned");
_Static_assert(sizeof(struct usage_series) % 8 == 0, "counters are aligned");
_Static_assert(offsetof(struct usage_record, counts) == 8 + sizeof(struct usage_series),
    "a record is its state, its series and its counters");
_Static_assert(sizeof(struct usage_record) % 8 == 0, "records are aligned");

struct usage_map {
    struct usage_header header;
    struct usage_record records[USAGE_SERIES_MAX];
};
