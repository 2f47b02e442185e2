/* A worker: a thread with a loop, a server and an agent of its own. It shares with the others the
 * counters of the replicas and nothing else; with the main thread it has a mailbox. */
#pragma once

#include "base/error.h"
#include "base/prng.h"
#include "gateway/table.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct access_log;
struct batcher;
struct cache;
struct cache_shared;
struct cache_shared_options;
struct event_base;
struct feedback;
struct guard_worker;
struct http_endpoint;
struct key_memo;
struct limit_shared;
struct limit_shared_options;
struct post_office;
struct recorder;
struct secondary;
struct redis_library;
struct relay;
struct tracer;
struct shadow_sender;
struct usage_file;

enum {
    /* Bodies are held up to this size so that another replica can be asked. */
    WORKER_HOLD_BYTES = 1 << 20,
    /* Of all requests of a worker together. */
    WORKER_HELD_BYTES_MAX = 256 << 20,
    /* Requests that wait for a replica to come back, and for how long. */
    WORKER_WAITING_MAX = 1024,
    WORKER_WAIT_MS = 2000,
    /* Relays that are kept for the next requests. */
    WORKER_SPARES_MAX = 256,
};

struct worker_options {
    int number;
    const char *listen; /* host:port, where other workers listen too */
    /* Sockets that listen there already, for the worker to share; none: it makes its own. */
    const int *listeners;
    int listener_count;
    const char *tls_cert, *tls_key;
    const char *trust; /* see worker_view */
    uint32_t requests_per_s;
    int64_t drain_ms, keep_alive_ms;
    int64_t cache_bytes; /* of this worker */
    const char *usage_folder, *incarnation;
    struct access_log *log; /* outlives the worker, as the office */
    struct recorder *recorder;
    struct post_office *office;
    struct redis_library *redis; /* NULL: nothing is shared */
    const struct limit_shared_options *shared;
    const struct cache_shared_options *cache_shared;
    struct tracer *tracer; /* NULL: no collector */
    int main_fd;           /* an eventfd of the main thread: there is news */
};

/* What a worker counts. To add one: its name here, and a line in figures.c. */
enum figure {
    FIGURE_REQUESTS, /* since the start, as those that are not said to be otherwise */
    FIGURE_FAILED,
    FIGURE_RETRIED,
    FIGURE_OPEN,       /* now */
    FIGURE_WAITING,    /* now */
    FIGURE_HELD_BYTES, /* now */
    FIGURE_CACHE_HITS,
    FIGURE_CACHE_SHARED,
    FIGURE_CACHE_MISSES,
    FIGURE_CACHE_EVICTED,
    FIGURE_CACHE_ENTRIES, /* now */
    FIGURE_CACHE_BYTES,   /* now */
    FIGURE_CACHE_REDIS_HITS,
    FIGURE_CACHE_REDIS_MISSES,
    FIGURE_CACHE_REDIS_INVALID,
    FIGURE_CACHE_REDIS_AWAY,
    FIGURE_CACHE_REDIS_KEPT,
    FIGURE_CACHE_REDIS_DROPPED,
    FIGURE_LIMITS_REDIS_AWAY,
    FIGURE_SHADOW_COMPARED,
    FIGURE_SHADOW_DIFFERING,
    FIGURE_SHADOW_DROPPED,
    FIGURE_SCORES,
    FIGURE_GUARD_FOUND,
    FIGURE_GUARD_REDACTED,
    FIGURE_GUARD_REFUSED,
    FIGURE_DEADLINE,
    FIGURE_FELL_BACK,
    FIGURE_STREAMS_BROKEN,
    FIGURE_CIRCUIT_OPENED,
    FIGURE_CIRCUIT_REFUSED,
    FIGURE_HEDGED,
    FIGURE_HEDGE_WON,
    FIGURE_CASCADE_SMALL,
    FIGURE_CASCADE_LARGE,
    FIGURE_SECONDARY_ASKED,
    FIGURE_SECONDARY_DROPPED,
    FIGURE_SECONDARY_FAILED,
    FIGURES,
};

/* Written by the worker alone; the main thread may read while it runs. */
struct worker_figures {
    atomic_uint_fast64_t of[FIGURES];
};

/* On the worker's thread, as the next. */
static inline void figure_set(struct worker_figures *figures, enum figure figure, uint64_t value)
{
    atomic_store_explicit(&figures->of[figure], value, memory_order_relaxed);
}

static inline void figure_add(struct worker_figures *figures, enum figure figure, int64_t change)
{
    figure_set(figures, figure,
        atomic_load_explicit(&figures->of[figure], memory_order_relaxed) + (uint64_t)change);
}

/* For relays, which live on the worker's thread. */
struct worker_view {
    int number; /* from 0 */
    struct event_base *base;
    const char *trust;               /* PEM file of certificates; NULL: the system's */
    const struct route_table *table; /* until the next turn of the loop */
    struct post_office *office;      /* for messages to the other workers */
    struct limit_shared *shared;     /* counters of several gateways; NULL: none */
    struct usage_file *usage;
    struct batcher *batcher;           /* the batches of the services that are this worker's */
    struct cache *cache;               /* the answers of the keys that are this worker's */
    struct cache_shared *cache_shared; /* those of several gateways; NULL: none */
    struct key_memo *keys;             /* those that were found last */
    struct guard_worker *guard;        /* see relay_guard.h; NULL: no service had one yet */
    struct recorder *recorder;
    struct secondary *secondary; /* who is asked afterwards */
    uint64_t draws;              /* of what is recorded */
    struct access_log *log;
    struct tracer *tracer; /* see trace.h; NULL: no collector */
    struct worker_figures *figures;
    int64_t keep_alive_ms;
    uint64_t names_begin; /* names of requests that bring none, see make_id */
    struct prng names;
    uint64_t turn;                 /* balance_pick's */
    struct prng split;             /* draws arms; 0: not seeded yet */
    struct shadow_sender *shadows; /* copies of requests */
    struct feedback *feedback;     /* requests that may get a score */
    TAILQ_HEAD(relay_list, relay) waiting;
    size_t waiting_count, held_bytes;
    struct relay_list spares; /* relays that have ended, for the next */
    size_t spare_count;
    bool draining;
};

struct gateway_worker;

/* Opens everything and starts the thread. table: what it begins with. ret_port (may be NULL): what
 * it listens on. */
MUST_CHECK int gateway_worker_start(const struct worker_options *options,
    const struct route_table *table, struct gateway_worker **ret, uint16_t *ret_port,
    struct error *err);
/* Joins the thread, which has been told to end, and cancels the requests that are left. */
void gateway_worker_join(struct gateway_worker *worker);
/* Frees it: all workers are joined, so that nobody sends messages any more. NULL is fine. */
void gateway_worker_free(struct gateway_worker *worker);

/* ---- from the main thread -------------------------------------------------------------------- */

/* Use this table from now on. */
void gateway_worker_offer(struct gateway_worker *worker, const struct route_table *table);
/* The sequence of the table that it uses: earlier ones it has let go of. */
uint64_t gateway_worker_seen(const struct gateway_worker *worker);
/* Read the certificates again. */
void gateway_worker_reload(struct gateway_worker *worker);
/* Take no more, and end what is under way. */
void gateway_worker_drain(struct gateway_worker *worker);
/* Leave the address to another process; end what is under way, and what clients ask once more. */
void gateway_worker_retire(struct gateway_worker *worker);
/* The socket it listens on, which stays the worker's; until it is told to drain or to retire. */
int gateway_worker_listener(const struct gateway_worker *worker);
/* Whether nothing is under way any more. */
bool gateway_worker_drained(const struct gateway_worker *worker);
/* End the loop: all workers are drained, so that none waits for a message of this one. */
void gateway_worker_end(struct gateway_worker *worker);
/* Whether its loop has ended. */
bool gateway_worker_ended(const struct gateway_worker *worker);
const struct worker_figures *gateway_worker_figures(const struct gateway_worker *worker);

/* ---- from its own thread --------------------------------------------------------------------- */

/* What relays work with; as long as the worker. */
struct worker_view *gateway_worker_view(struct gateway_worker *worker);
/* Wakes the main thread: there is something for it to look at. */
void gateway_worker_tell(const struct gateway_worker *worker);
/* The endpoint of a replica of the table in use; NULL when its address cannot be used. */
struct http_endpoint *gateway_worker_endpoint(
    struct gateway_worker *worker, const struct table_replica *replica);
