/* Terms: what holds for the requests of a service, for as long as any of them is under way: its
 * options, and what is counted of it. They outlive the table of routes that they came with.
 *
 * The main thread owns them, as it owns the replicas' states. A worker finds them in its table and
 * holds them for each relay; the count of a worker is its own, so that holding moves no cache line
 * between processors. Options never change: a service whose options do gets other terms, and both
 * have the same service_state. */
#pragma once

#include "gateway/batch_figures.h"
#include "gateway/circuit.h"
#include "gateway/hedge.h"
#include "gateway/limit_estimate.h"
#include "gateway/measure.h"
#include "gateway/routes.h"
#include "spec/kinds.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GATEWAY_WORKERS_MAX = 16 };

/* Why a request was refused: a limit (enum limit_what), or one of these. */
enum service_refusal {
    REFUSED_BUSY = LIMIT_WHAT_COUNT, /* it would have waited too long for its turn */
    REFUSED_WAITED,                  /* it has */
    REFUSED_AWAY,                    /* the shared counters cannot be asked */
    SERVICE_REFUSALS
};

/* What one worker counted. */
struct service_counts {
    atomic_uint_fast64_t admitted, refused[SERVICE_REFUSALS];
    char apart[48]; /* workers share no cache line for most */
};

/* Features whose stage (relay.c) a service may ask for: a bit each. A request passes by the stages
 * of what its service does not ask for. */
enum terms_feature {
    TERMS_CARE = 1 << 0, /* see relay_care.h */
    TERMS_LABELS = 1 << 1,
    TERMS_GUARD = 1 << 2, /* of requests */
    TERMS_CACHE = 1 << 3,
    TERMS_CIRCUIT = 1 << 4,
    TERMS_HOLD = 1 << 5,
    TERMS_QUEUE = 1 << 6,
    TERMS_USAGE = 1 << 7,
    TERMS_BATCHING = 1 << 8,
    TERMS_GUARD_ANSWERS = 1 << 9,
    TERMS_RECORD = 1 << 10,
    TERMS_SECONDARY = 1 << 11,
    TERMS_ALL = (1 << 12) - 1,
};

struct guard_library;
struct label_sets;
struct prefix_map;
struct service_load;
struct turns;

/* What is known of a service, whatever its options: features keep here, as atomics, what workers
 * share. */
struct service_state {
    char *service; /* "team/name" */
    size_t terms;  /* that have it; the main thread's */
    struct batch_figures batch;
    struct limit_learned learned;
    struct circuit circuit;
    struct hedge_latency hedge;
    struct turns *turns;         /* see relay_turn.h; NULL: it has no queue */
    struct service_load *load;   /* see service_load.h; NULL: no terms of it are measured */
    struct prefix_map *prefixes; /* see prefix.h; NULL: no terms of it ask for affinity */
    struct label_sets *labels;   /* see labels.h; NULL: no terms of it name any */
    struct measures measures;
    atomic_uint_fast64_t secondary_spent; /* see secondary.h */
    struct service_state *next;
    struct service_counts counts[GATEWAY_WORKERS_MAX];
};

/* Requests under way that hold them, of one worker. */
struct terms_use {
    atomic_uint_fast64_t count;
    int64_t retried_milli; /* the worker's own: what was tried again above what requests allow */
    struct hedge_budget hedges;            /* the same */
    char apart[64 - 3 * sizeof(uint64_t)]; /* workers share no cache line for most */
};

struct service_terms {
    const char *service, *route, *team; /* in the arena */
    size_t route_length;
    struct service_gateway options;
    bool oip, openai;
    bool guards_requests, guards_answers;
    bool cares;                        /* see relay_care.h */
    uint32_t features;                 /* terms_features */
    uint32_t stages;                   /* relay_stages of them */
    uint32_t stages_cared;             /* the same of a request that another service cares for */
    const struct guard_library *guard; /* NULL: there is nothing to search, or it is missing */
    struct service_state *state;
    struct arena *arena; /* the main thread's from here on */
    char *text;          /* what makes them equal to others */
    size_t tables;       /* living tables that have them */
    struct service_terms *next;
    struct terms_use uses[GATEWAY_WORKERS_MAX];
};

/* ---- the main thread -------------------------------------------------------------------------
 */

/* What the options ask for: bits of enum terms_feature. */
uint32_t terms_features(const struct service_gateway *options);

struct terms_set;
/* Empty; destroyed by the caller. */
struct terms_set *terms_set_create(void);
/* NULL is fine; no table and no relay may be left. */
void terms_set_destroy(struct terms_set *set);
/* Those of the service, made when there are none with the same options. They count for one table
 * more, until terms_release. */
struct service_terms *terms_of(struct terms_set *set, const struct route_service *service);
void terms_release(struct service_terms *terms);
/* The first of all that live; the others follow by `next`. NULL: there are none. */
const struct service_terms *terms_first(const struct terms_set *set);
/* Frees those that no table has and no request holds. */
void terms_sweep(struct terms_set *set);

struct strbuf;
/* Appends the items of "circuits" of GET /status, with commas: of services that have one. */
void terms_write_circuits(const struct service_terms *first, struct strbuf *out);
/* Appends what was admitted and refused, and what waits, by service: of those with limits or a
 * queue; and what the requests of each took (measure_figures.h). */
void terms_write_metrics(const struct terms_set *set, struct strbuf *out);

/* ---- workers ---------------------------------------------------------------------------------
 */

/* On that worker's thread, as the next. */
static inline void service_count_admitted(struct service_state *state, int worker)
{
    atomic_uint_fast64_t *count = &state->counts[worker].admitted;
    atomic_store_explicit(
        count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* why: enum limit_what or enum service_refusal. */
static inline void service_count_refused(struct service_state *state, int worker, int why)
{
    atomic_uint_fast64_t *count = &state->counts[worker].refused[why];
    atomic_store_explicit(
        count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_relaxed);
}

enum { RETRIES_AHEAD = 10, RETRIES_SAVED_MAX = 100 };

/* A retry budget, as Finagle has it: each request allows a part of a retry, some are there to begin
 * with, and not more are saved than would be well. On that worker's thread. */
static inline bool terms_may_retry(struct service_terms *terms, int worker)
{
    int64_t *spent = &terms->uses[worker].retried_milli;
    if (*spent + 1000 > RETRIES_AHEAD * 1000)
        return false;
    *spent += 1000;
    return true;
}

/* The terms are in the table that the worker uses now, or held already. */
static inline void terms_hold(struct service_terms *terms, int worker)
{
    atomic_uint_fast64_t *count = &terms->uses[worker].count;
    atomic_store_explicit(
        count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_relaxed);
    int64_t *spent = &terms->uses[worker].retried_milli;
    *spent -= terms->options.routing.retry_percent * 10;
    if (*spent < -RETRIES_SAVED_MAX * 1000)
        *spent = -RETRIES_SAVED_MAX * 1000;
}

static inline void terms_drop(struct service_terms *terms, int worker)
{
    atomic_uint_fast64_t *count = &terms->uses[worker].count;
    /* Released: the main thread may free them after it. */
    atomic_store_explicit(
        count, atomic_load_explicit(count, memory_order_relaxed) - 1, memory_order_release);
}
