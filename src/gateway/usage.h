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

enum {
    USAGE_SERIES_MAX = 16384,
    USAGE_NAME = 160,
    USAGE_TEAM = 64,
    USAGE_LABELS = 256,
    /* The version of a series that takes what came after the file was full: it has the service's
     * name (that of the last such service: "other"), no replica and no key. */
    USAGE_OVERFLOW_VERSION = -1,
};

/* What a series is about. Texts are cut to fit, between characters. A newer version of the file may
 * have more at the end, and an older one has less, which reads as empty: usage_format.h. */
struct usage_series {
    char service[USAGE_NAME]; /* "team/name" */
    int64_t version;
    uint64_t replica;          /* 0: no replica was asked */
    char key[USAGE_NAME];      /* the key's id; "": none */
    char team[USAGE_TEAM];     /* the one that the key belongs to; "": none */
    char labels[USAGE_LABELS]; /* "stage=test,user=u7": labels_read; "": none */
};

/* Since the worker began. A request is counted once, when it is over, just before the last bytes of
 * its answer are handed to the connection: after a SIGKILL what is counted is at least what clients
 * have in full, and more by no more than the requests that were under way. It counts for the
 * replica that was asked last. Requests that name no service (or none that the key may use) are not
 * here: they are in the access log alone. */
struct usage_counts {
    uint64_t requests;  /* succeeded + refused + failed + cancelled */
    uint64_t succeeded; /* answered 1xx to 3xx in full */
    uint64_t refused;   /* 4xx, by the gateway or by the replica */
    uint64_t failed;    /* 5xx, or broken off by the replica */
    uint64_t cancelled; /* broken off by the client */
    uint64_t retried;   /* attempts at this replica that failed and were made again elsewhere */
    uint64_t bytes_in;  /* of request bodies, as received */
    uint64_t bytes_out; /* of answer bodies, as handed to the connection */
    uint64_t busy_us;   /* time with a request under way at the replica, summed over requests */
    uint64_t input_tokens, output_tokens; /* of the OpenAI API, as the replica reports them */
    uint64_t latency_us_sum;              /* from a request's head to the end of its answer */
    uint64_t latency[24]; /* answers within 2^i * 64 us that took longer than 2^(i-1) * 64 us; the
                           * last: all slower ones. Together they are `requests` */
    uint64_t cache_hits;  /* of those that succeeded: answers of this replica, given again */
    uint64_t cache_saved_us; /* what a replica took for them before, */
    uint64_t cache_saved_input_tokens, cache_saved_output_tokens; /* and what it reported */
    uint64_t
        queue_us; /* in the gateway until a replica was asked: for a turn, a batch, a replica */
    uint64_t model_us;    /* from asking a replica to the end of its answer. Of a batch each request
                           * has all of the call's, and in busy_us its share */
    uint64_t batched;     /* requests that were in a batch, of one or more */
    uint64_t batch_sizes; /* of the batches that these were in, summed over requests */
    uint64_t batch_calls_micro; /* calls in millionths: each request has its part of its batch's */
    uint64_t compared;          /* of a replica that gets copies: its answers that were compared */
    uint64_t differing;         /* those of them that differ from what the client got */
    uint64_t scores[11];        /* that clients posted for answers of this replica: 0, 0.1 .. 1 */
};
_Static_assert(sizeof(struct usage_counts) % sizeof(uint64_t) == 0, "counters only");

/* ---- writing: one worker ---------------------------------------------------------------- */

struct usage_file;
/* Makes the file <folder>/<incarnation>-<worker>; locked while the process lives. The folder is
 * there and nobody else writes to it. incarnation: letters and digits, at most 40. Space on the
 * device is taken as the file grows; where there is none the file counts as full. ERR_FULL, ERR_IO.
 */
MUST_CHECK int usage_file_create(const char *folder, const char *incarnation, int worker,
    struct usage_file **ret, struct error *err);
void usage_file_close(struct usage_file *file); /* NULL is fine; the file stays */
/* The counters of a series, made when it is new; the caller adds to them (usage_add). They stay
 * where they are until the file is closed. When the file is full the overflow's record is given,
 * never NULL: one for each service while the last 256 records last, then one for all. */
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
/* Visits every series of every file of the folder; a folder that is not there has none. Hostile
 * sizes and contents are ERR_CORRUPT naming the first such file, and the others are still read: of
 * that file nothing was visited. An error of visit ends the reading at once and is returned.
 * ret_dead (may be NULL) gets the names of files whose gateway was gone before they were read, one
 * per line, to be freed by the caller; it is set after 0 and after ERR_CORRUPT, and never names a
 * corrupt file. */
MUST_CHECK int usage_read_all(
    const char *folder, usage_visit_fn *visit, void *context, char **ret_dead, struct error *err);
/* Removes a file that usage_read_all named dead; fine when it is gone. ERR_CONFLICT when its
 * gateway lives. */
MUST_CHECK int usage_file_remove(const char *folder, const char *file, struct error *err);
