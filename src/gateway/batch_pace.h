/* When a batch goes, and how large it is: decided by what the replicas were seen to take. Time is a
 * parameter and numbers are whole, so that the same arrivals make the same decisions.
 *
 * A call with n rows is taken to last a + b*n. Both are learned from the last calls by least
 * squares, without those that lie far off. While all replicas are busy requests gather by
 * themselves; beyond that a batch waits for another request only while
 *
 *     (requests waiting + 1) * (time until the next comes) < a,
 *
 * that is while what they lose by waiting is less than the call of its own that is saved; only
 * where calls were under way for most of the time lately, since elsewhere a saved call wins
 * nothing; and no request longer than it may be delayed, or beyond its goal. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BATCH_PACE_CALLS = 50,    /* learned from */
    BATCH_PACE_GAPS = 15,     /* the time until the next request: the median of so many */
    BATCH_PACE_DEPTH_MAX = 4, /* batches that one replica may have at once */
};

struct batch_limits {
    int64_t rows_max;
    int64_t goal_ns;      /* from arrival to answer; 0: none */
    int64_t delay_max_ns; /* no request is held longer for others while a replica is free */
};

/* The last values of something, of which the usual one counts. */
struct batch_gaps {
    int64_t ns[BATCH_PACE_GAPS];
    size_t count, next;
};

/* What the rate was with so many batches at once at each replica. */
struct batch_depth {
    int now, best;
    int64_t rows_per_s[BATCH_PACE_DEPTH_MAX + 1]; /* 0: not known */
    int64_t rows, began_ns;
    int calls; /* of the measure under way; 0: none is */
    int pause; /* measures until another depth is tried */
    int patience;
};

/* Zeroed but for limits: nothing is known. Its members are for its own functions and for tests. */
struct batch_pace {
    struct batch_limits limits;
    struct {
        int64_t rows, ns;
    } calls[BATCH_PACE_CALLS];
    size_t call_count, call_next;
    int64_t a_ns, b_ns;
    int64_t rows_seen; /* the largest call among those */
    struct batch_gaps gaps, returns;
    struct batch_gaps busy, spans; /* of each call: from the answer before it, or less; the whole */
    int64_t before_ns;             /* when the answer before came; 0: there was none */
    int64_t arrived_ns;            /* the last; 0: none yet */
    int64_t done_ns;               /* the last; 0: none since the last arrival */
    struct batch_depth depth;
};

/* What waits to be sent. */
struct batch_waiting {
    int64_t requests, rows; /* at least one */
    int64_t oldest_ns;      /* when the first of them came */
};

/* A request came. Times ascend. */
void batch_pace_arrived(struct batch_pace *pace, int64_t now_ns);
/* A call with so many rows was answered after so long. backlog: others waited meanwhile. */
void batch_pace_done(
    struct batch_pace *pace, int64_t now_ns, int64_t rows, int64_t took_ns, bool backlog);
/* How many rows the next batch may have: as many as the goal leaves time for. One request goes
 * however many it has. */
int64_t batch_pace_rows(
    const struct batch_pace *pace, const struct batch_waiting *waiting, int64_t now_ns);
/* A replica is free: 0 when the batch goes now, else the moment to ask again when nothing has come
 * till then. */
int64_t batch_pace_wait(
    const struct batch_pace *pace, const struct batch_waiting *waiting, int64_t now_ns);
/* Whether the first request after an answer would be held for others: then it has to come here, and
 * not pass by. */
bool batch_pace_gathers(const struct batch_pace *pace);
/* How many batches each replica may have at once: as many as give the highest rate. */
int batch_pace_depth(const struct batch_pace *pace);
/* What a call with so many rows is expected to take; 0: nothing is known yet. */
int64_t batch_pace_expect(const struct batch_pace *pace, int64_t rows);
