/* How a usage file looks: a header, then records that never move. Both are multiples of eight
 * bytes, so that every counter is aligned and read and written whole. Host byte order: the reader
 * is on the same machine. */
#pragma once

#include "gateway/usage.h"

#include <stdint.h>

#define USAGE_MAGIC "MUSTUSG1"

/* A record's state: set last, with release order. */
enum { USAGE_FREE = 0, USAGE_PUBLISHED = 1 };

struct usage_header {
    char magic[8];
    uint32_t record_bytes;
    uint32_t series_max;
    uint64_t worker;
    char incarnation[40];
};

struct usage_record {
    uint64_t state;
    struct usage_series series;
    struct usage_counts counts;
};

_Static_assert(sizeof(struct usage_header) % 8 == 0, "records are aligned");
_Static_assert(sizeof(struct usage_record) % 8 == 0, "records are aligned");

struct usage_map {
    struct usage_header header;
    struct usage_record records[USAGE_SERIES_MAX];
};
