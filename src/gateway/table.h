/* The route table: routes as the workers use them. A table never changes once it is made; workers
 * read it without a lock, and the main thread frees it when all of them have moved on to a later
 * one.
 *
 * What changes while a table lives is about replicas, and is shared by all tables and workers: the
 * replica states, which the main thread owns and which the workers change with atomics only. */
#pragma once

#include "base/error.h"
#include "gateway/routes.h"
#include "gateway/terms.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strbuf;

/* ---- replicas -------------------------------------------------------------------------------- */

/* One listening replica: the same id at another address is another. */
struct replica_state {
    uint64_t replica;
    char *address;
    uid_t uid;
    atomic_int_fast64_t outstanding; /* attempts under way, over all workers */
    atomic_int_fast64_t batches;     /* those of them that are batches, or could have been in one */
    atomic_uint_fast64_t requests;   /* attempts made */
    atomic_uint_fast64_t failures; /* those that broke, timed out or were answered with nonsense */
    atomic_int_fast64_t last_ms;   /* wall clock of the last attempt; 0: none yet */
    atomic_int_fast64_t aside_until_ms; /* monotonic: it refused connections, others are better */
    atomic_uint_fast32_t refusals;      /* connections refused in a row */
    atomic_uint_fast32_t failed_in_row; /* answers that failed */
    atomic_int_fast64_t latency_us;     /* to the first byte of an answer: peak EWMA; 0: unknown */
    atomic_int_fast64_t measured_ms;    /* monotonic: when that was */
    struct replica_state *next;         /* the main thread's from here on */
    size_t tables;                      /* living tables that hold it */
};

/* And the terms of services (terms.h), which live and go in the same way. */
struct replica_states;
/* None yet. Used by the main thread alone, as all that follows. */
struct replica_states *replica_states_create(void);
void replica_states_destroy(struct replica_states *states); /* NULL is fine; no table may be left */
/* Forgets those, and terms, that no living table has and where nothing is under way: a state is
 * never under a worker's feet. */
void replica_states_sweep(struct replica_states *states);
/* Appends the items of "endpoints" of GET /status, with commas. */
void replica_states_write(const struct replica_states *states, struct strbuf *out);

/* The terms of all services, those of before among them; the first, or NULL. */
const struct service_terms *replica_states_terms(const struct replica_states *states);
/* Appends the same in Prometheus' text form, and what is counted of services. */
void replica_states_write_metrics(const struct replica_states *states, struct strbuf *out);

/* An attempt at a replica begins: it counts as outstanding until replica_state_done, after which
 * the worker must not use the state any more unless its table holds it. */
void replica_state_begin(struct replica_state *state);
/* failed: the replica is to blame. */
void replica_state_done(struct replica_state *state, bool failed);
/* How an attempt went, before replica_state_done: after so many failures in a row (0: never) it is
 * set aside for a second, twice as long for each further failure, up to a minute. */
void replica_state_outcome(
    struct replica_state *state, bool failed, int64_t failures, int64_t now_ms);
/* The first byte of an answer came after so long. What is slower counts at once, what is faster bit
 * by bit (peak EWMA, as Finagle's balancer has it; time constant 10 s). */
void replica_state_measure(struct replica_state *state, int64_t latency_us, int64_t now_ms);
/* What it is taken to be now; 0: nothing was measured for 10 s. */
int64_t replica_state_latency(const struct replica_state *state, int64_t now_ms);
/* A connection was refused: sets it aside for 50 ms, doubling up to a second. */
void replica_state_refused(struct replica_state *state, int64_t now_ms);
/* It answered: whatever was held against it is over. */
void replica_state_answered(struct replica_state *state);

/* ---- tables ---------------------------------------------------------------------------------- */

struct table_replica {
    const struct route_replica *route;
    struct replica_state *state;
    size_t index; /* among all of the table: workers keep their endpoints in an array */
};

struct table_service {
    const struct route_service *route;
    struct service_terms *terms;
    const struct table_replica *replicas; /* route->replica_count */
};

struct route_table;

/* Decodes routes and makes a table of them. sequence: ascending, the main thread's count of tables.
 * ERR_INVALID as routes_decode. */
MUST_CHECK int route_table_create(const char *text, size_t length, struct replica_states *states,
    uint64_t sequence, struct route_table **ret, struct error *err);
/* Lets go of its replicas. No worker may have it any more. NULL is fine. */
void route_table_destroy(struct route_table *table);

/* As given when it was made. */
uint64_t route_table_sequence(const struct route_table *table);
/* The routes it was made of; they live as long as it. */
const struct routes *route_table_routes(const struct route_table *table);
/* The number of table_replica.index in use. */
size_t route_table_replica_count(const struct route_table *table);
const struct table_replica *route_table_replica(const struct route_table *table, size_t index);
/* The largest request body that any service of the OpenAI API takes; 0 without one. */
int64_t route_table_openai_body_max(const struct route_table *table);
struct limit_store;
/* The counters of limits; NULL where no limit is in the routes. */
struct limit_store *route_table_limits(const struct route_table *table);
/* Before the table is offered to workers. The counters outlive it. */
void route_table_set_limits(struct route_table *table, struct limit_store *limits);
/* The service of a route, or NULL. */
const struct table_service *route_table_service(const struct route_table *table, const char *route);

/* ---- keys ------------------------------------------------------------------------------------ */

enum { ROUTE_KEY_TEXT_MAX = 512 }; /* a longer text is no key */

/* The key whose SHA-256 is that of text, unless it has expired; NULL for any other. Hashes are
 * compared in constant time. now_ms: wall clock. */
const struct route_key *route_table_key(
    const struct route_table *table, const char *text, int64_t now_ms);
bool route_key_expired(const struct route_key *key, int64_t now_ms);
/* Whether who has the key (NULL: nobody known) may use the service. */
bool route_allows(const struct route_service *service, const struct route_key *key);
