/* The load of a service, for whoever scales it: how many requests came and are there, how long they
 * were there together, how long each took. Counted by each worker for itself, read by the main
 * thread at any time; what a reader sees between two stores of a worker is off by one request for
 * the moment since the last, and right at the next reading: all of it only grows. */
#pragma once

#include "base/histogram.h"
#include "gateway/terms.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct strbuf;

struct load_counts {
    atomic_uint_fast64_t arrived, ended;
    atomic_uint_fast64_t busy_us; /* of requests, up to last_us */
    atomic_int_fast64_t last_us;
    atomic_uint_fast64_t latency[HISTOGRAM_BUCKETS]; /* microseconds */
    char apart[64];                                  /* workers share no cache line */
};

struct service_load {
    /* Of all workers, for requests without a replica: seldom, and bounded together. */
    atomic_int_fast64_t held, held_bytes;
    atomic_bool demand; /* somebody waits since the main thread last looked */
    struct load_counts workers[GATEWAY_WORKERS_MAX];
};

/* What one service counted, of all workers. */
struct load_reading {
    uint64_t arrived, ended, busy_us;
    struct histogram latency;
};

/* On the worker's thread: a request begins or ends at that moment. */
void load_begin(struct service_load *load, int worker, int64_t now_us);
void load_end(struct service_load *load, int worker, int64_t now_us);
/* It took so long; LOAD_NEVER: it was given up. */
void load_took(struct service_load *load, int worker, int64_t us);
#define LOAD_NEVER INT64_MAX

/* The main thread's: everything up to now. */
void load_read(const struct service_load *load, int64_t now_us, struct load_reading *ret);
/* Whether a service has begun to hold requests since the last time. */
bool load_take_demand(const struct service_terms *first);
/* Appends [{"service", "arrived", "ended", "open", "waiting", "held", "busyUs", "latency"}] of all
 * services that are measured. */
void load_write(const struct service_terms *first, int64_t now_us, struct strbuf *out);
