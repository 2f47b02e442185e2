/* Answers that several gateways keep together, in Redis or Valkey. What is there is sealed
 * (cache_value.h), bounded in bytes for each service by the script that adds to it, and gone when
 * its time is over. A server that is slow or away costs a request at most the wait, and then
 * nothing for a while: it is not asked. Of one worker. */
#pragma once

#include "gateway/cache.h"
#include "gateway/cache_value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct redis_library;
struct worker_figures;

struct cache_shared_options {
    const char *address; /* see redis_link.h; NULL: nothing is shared */
    struct cache_secret secret;
    int64_t wait_ms; /* for an answer */
};

struct cache_shared;
/* The options and figures outlive it. */
struct cache_shared *cache_shared_open(struct redis_library *library, struct event_base *base,
    const struct cache_shared_options *options, struct worker_figures *figures);
/* Who waits is told that there is nothing. NULL is fine. */
void cache_shared_close(struct cache_shared *shared);

/* answer NULL: there is none, or none that came in time; else the callee's reference. It may be
 * given for left_ms more. */
typedef void cache_shared_fn(void *context, struct cache_answer *answer, int64_t left_ms);
/* Asks for the answer to a key of the service. False: it can not be asked now, and fn is not
 * called; it is never called before this returns. */
bool cache_shared_ask(struct cache_shared *shared, const char *service, const struct cache_key *key,
    cache_shared_fn *fn, void *context);
/* Adds an answer to those of the service, of which bytes_max may be there; nobody waits for that,
 * and where too much is under way it is dropped. */
void cache_shared_keep(struct cache_shared *shared, const char *service,
    const struct cache_key *key, const struct cache_answer *answer, int64_t ttl_ms,
    int64_t bytes_max);
