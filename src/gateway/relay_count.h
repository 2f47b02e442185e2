/* How long a request waited for what, and what is counted of it when it is over: for costs
 * (usage.h) and for whoever watches a service (measure.h). */
#pragma once

#include "gateway/usage.h"

#include <stdbool.h>
#include <stdint.h>

enum relay_end;
enum stage_result;
struct relay;

enum relay_wait {
    WAIT_NONE,
    WAIT_QUEUE, /* for a turn, or for a replica */
    WAIT_CACHE, /* for the answer that somebody else is getting */
    WAIT_BATCH, /* for the answer of a call for several */
    RELAY_WAITS
};

/* A member of each relay. */
struct relay_times {
    enum relay_wait what;
    int64_t since_ns;                 /* it waits since then; 0: it does not */
    int64_t queue_ns;                 /* until a replica was asked */
    int64_t model_ns;                 /* from asking to the end of the answer, of all attempts */
    uint64_t batch_size, batch_micro; /* of the batch it was in: requests, its part of the call */
    uint64_t saved_us, saved_input, saved_output; /* of an answer that was given again */
    bool cached;
};

/* Its stage waits from now on; WAIT_NONE: for nothing that is counted. */
void relay_wait_begin(struct relay *relay, enum relay_wait what);
/* What it waited for is over; does nothing when it did not wait. */
void relay_wait_over(struct relay *relay);

/* Takes the labels that the Service names from the request's head. */
enum stage_result relay_stage_labels(struct relay *relay);

/* The counters of a replica and version (0: none was asked) for who asks. One request may count at
 * several: each attempt's time at its own, what the answer was at that of the last. */
struct usage_counts *relay_counts_of(const struct relay *relay, int64_t version, uint64_t replica);

/* What the replica said that it cost. */
struct relay_tokens {
    bool known;
    uint64_t input, output;
};
/* Counts a request that is over, once. */
void relay_count(
    struct relay *relay, enum relay_end end, int64_t now_ns, const struct relay_tokens *tokens);
