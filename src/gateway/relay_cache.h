/* The cache's part of a relay: asks the worker that a key belongs to, waits for its verdict, gives
 * the answer again, or records it for the others. */
#pragma once

#include "gateway/relay.h"

#include <stdbool.h>
#include <stddef.h>

struct answer_filter;
struct cache;

/* A worker's, of so many bytes. Destroyed with cache_destroy. */
struct cache *relay_cache_create(size_t bytes_max);

/* Answers from the cache, or takes on to get the answer for it, or lets the request pass. */
enum stage_result relay_stage_cache(struct relay *relay);
/* The relay is about to be freed: lets go of the ticket, and of a lead that was not settled. gone:
 * the client went away, and another may have more luck. */
void relay_cache_leave(struct relay *relay, bool gone);

/* Records answers: ANSWER_CACHE. */
extern const struct answer_filter relay_cache_filter;
