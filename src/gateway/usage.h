/* Usage: what was asked and answered, counted so that neither a SIGKILL of the gateway nor one of
 * the server loses or doubles anything.
 *
 * Each worker of each gateway incarnation has one file in <data_dir>/gateway/usage, mapped and
 * written by that worker alone: cumulative counters, one record for each series (a service, a
 * version, a replica, a key). The pages belong to the system's page cache and survive the process.
 * The server reads all files now and then, and stores, in one transaction, the values it saw and
 * the sums they add up to: what it has stored of a series is subtracted next time. A file whose
 * gateway is gone (its lock is free) is removed once its last values are stored.
 *
 * A record is published by writing everything but its state first (release order); counters only
 * ever grow and each is read and written whole. */
#pragma once

#include "base/error.h"

#include <stdint.h>

enum { USAGE_SERIES_MAX = 16384, USAGE_NAME = 160 };

/* What a series is about. Texts are cut to fit. */
struct usage_series {
    char service[USAGE_NAME]; /* "team/name" */
    int64_t version;
    uint64_t replica;     /* 0: no replica was asked */
    char key[USAGE_NAME]; /* the key's id; "": none */
};

/* Since the worker began. */
struct usage_counts {
    uint64_t requests;                    /* that were for this series */
    uint64_t succeeded;                   /* answered 2xx in full */
    uint64_t refused;                     /* 4xx */
    uint64_t failed;                      /* 5xx, or broken off by the replica */
    uint64_t cancelled;                   /* broken off by the client */
    uint64_t retried;                     /* attempts at this replica that another took over */
    uint64_t bytes_in;                    /* of request bodies */
    uint64_t bytes_out;                   /* of answer bodies */
    uint64_t busy_us;                     /* time with a request under way, summed over requests */
    uint64_t input_tokens, output_tokens; /* of the OpenAI API, as the replica reports them */
    uint64_t latency_us_sum;
    uint64_t latency[24]; /* answers within 2^i * 64 us; the last: all slower ones */
};

/* ---- writing: one worker ---------------------------------------------------------------- */

struct usage_file;
/* Makes the file <folder>/<incarnation>-<worker>; locked while the process lives. */
MUST_CHECK int usage_file_create(const char *folder, const char *incarnation, int worker,
    struct usage_file **ret, struct error *err);
void usage_file_close(struct usage_file *file); /* NULL is fine; the file stays */
/* The counters of a series, made when it is new; the caller adds to them (usage_add). When the file
 * is full the record "other" of the service's overflow is given, never NULL. */
struct usage_counts *usage_counts_of(struct usage_file *file, const struct usage_series *series);
/* Adds to one counter. */
static inline void usage_add(uint64_t *counter, uint64_t amount)
{
    __atomic_store_n(
        counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + amount, __ATOMIC_RELAXED);
}

/* ---- reading: the server ----------------------------------------------------------------- */

typedef int usage_visit_fn(void *context, const char *file, const struct usage_series *series,
    const struct usage_counts *counts, struct error *err);
/* Visits every series of every file of the folder (hostile sizes and contents are ERR_CORRUPT
 * naming the file, and the others are still read). ret_dead (may be NULL) gets the names of files
 * whose gateway was gone before they were read, one per line, to be freed by the caller. */
MUST_CHECK int usage_read_all(
    const char *folder, usage_visit_fn *visit, void *context, char **ret_dead, struct error *err);
/* Removes a file that usage_read_all named dead. */
MUST_CHECK int usage_remove(const char *folder, const char *file, struct error *err);
