/* A pass over the usage files, between serving_usage.c, which begins it and stores what it found,
 * and serving_read.c, which reads. */
#pragma once

#include "base/memory.h"
#include "server/serving_seen.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PASS_SERIES = 1000, /* stored in one transaction; the next pass goes on at once */
    SEEN_MAX = 1 << 18, /* series at a time, of all files: what is beyond waits in its file */
};

/* A series that differs from what is stored. */
struct change {
    const char *file; /* of the pass */
    size_t place;
    struct usage_series series;
    struct usage_counts now, grown;
};

struct pass {
    struct serving_usage *owner;
    const char *folder;
    const struct serving_seen *stored; /* nobody changes it while the pass reads */
    struct arena *arena;
    int64_t began_ms;
    VEC(struct change) changes;
    VEC(const char *) gone; /* files with stored places that are not there any more */
    /* While it reads: */
    const char *file;
    const struct seen_file *seen;
    struct strmap read;  /* names of the files that were read; of those .. */
    struct strmap moved; /* .. the names of those which have something to store */
    size_t place, visited, added;
    size_t skip;      /* series that the pass before came to, when it could not take all */
    size_t skip_next; /* the same for the next one */
    bool more;        /* something was left for the next pass */
    bool full;   /* .. or for when files of dead gateways are gone: there are too many series */
    bool broken; /* not everything could be read */
    struct error err;
    /* While it commits: */
    size_t rolled, forgotten;
};

/* Reads the files and lists the series that differ from what is stored. On the chores thread. */
void serving_read(struct pass *pass);
