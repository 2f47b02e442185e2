/* What a service's requests took, measured: histograms and counts for each version of the model
 * that answered, since the gateway began. Version 0 has those that no replica answered: refused
 * before, or given again by the cache.
 *
 * Each worker has its own, written by it alone, with no cache line between them; a reader on any
 * thread adds them up. To judge what came since a moment keep a reading of then and subtract it. A
 * worker tells MEASURE_VERSIONS versions of a service apart; the one that answered nothing for the
 * longest makes room, and begins from 0 if it comes back.
 *
 * Values are known within a sixteenth of themselves (base/histogram.h): a quantile is never below
 * the value that has its rank, and at most 1/16 above. */
#pragma once

#include "base/histogram.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { MEASURE_VERSIONS = 8, MEASURE_WORKERS_MAX = 16 };

enum measure {
    MEASURE_LATENCY_US,   /* from a request's head to the end of its answer */
    MEASURE_FIRST_US,     /* .. to the first byte of its answer */
    MEASURE_QUEUE_US,     /* waiting in the gateway until a replica was asked */
    MEASURE_MODEL_US,     /* from asking a replica to the end of its answer */
    MEASURE_TOKENS_MILLI, /* output tokens by second of that time, in thousandths */
    MEASURES
};

enum measure_outcome {
    MEASURED_SUCCEEDED, /* 1xx to 3xx, in full */
    MEASURED_REFUSED,   /* 4xx */
    MEASURED_FAILED,    /* 5xx, or broken off by the replica */
    MEASURED_CANCELLED, /* broken off by the client */
    MEASURE_OUTCOMES
};

/* A reading: plain data. */
struct measured {
    uint64_t outcomes[MEASURE_OUTCOMES];
    struct histogram of[MEASURES];
    uint64_t sums[MEASURES];
};

/* Of one service: a member of its state, zeros at first. */
struct worker_measures;
struct measures {
    _Atomic(struct worker_measures *) of[MEASURE_WORKERS_MAX];
};
/* No worker uses it any more. */
void measures_finish(struct measures *measures);

/* One request that is over. A value of -1 is not known. */
struct measurement {
    enum measure_outcome outcome;
    int64_t values[MEASURES];
};
/* On that worker's thread. */
void measures_note(
    struct measures *measures, int worker, int64_t version, const struct measurement *measurement);

/* ---- reading, on any thread ----------------------------------------------------------------- */

/* The versions that are told apart now, ascending, at most `most`; returns how many. */
size_t measures_versions(const struct measures *measures, int64_t *ret, size_t most);
/* Adds up what all workers measured of a version; zeros when nobody did. */
void measures_read(const struct measures *measures, int64_t version, struct measured *ret);
/* What came between two readings. */
void measured_since(
    const struct measured *before, const struct measured *now, struct measured *ret);
