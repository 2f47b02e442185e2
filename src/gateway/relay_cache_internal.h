/* Between the two parts of the cache in a relay: relay_cache.c, on the thread of who asks, and
 * relay_cache_owner.c, on that of the worker that a key belongs to. */
#pragma once

#include "gateway/cache.h"
#include "gateway/post.h"

#include "base/strbuf.h"

#include <stdbool.h>
#include <stdint.h>

struct relay;
struct worker_view;

struct relay_cache {
    struct cache_ticket ticket;
    struct post post;
    struct post_office *office;
    int asker, owner;
    struct relay *relay; /* NULL: it went away */
    bool away;           /* the ticket is the owner's: nothing else of it may be looked at */
    bool shared;         /* it waited for somebody else's answer */
    bool settled;        /* nothing is owed */
    bool recording;
    struct strbuf body;
    char etag[CACHE_ETAG_BYTES];
    /* What the owner has to know of the service, whose terms are the relay's. */
    struct worker_view *at; /* the owner's */
    bool with_others;       /* gateways that share answers are asked */
    int64_t ttl_ms, shared_bytes_max;
    size_t entry_bytes_max, shelf_bytes_max;
    char service[];
};

/* Sends the ticket to its owner, or asks there at once. Whether the verdict is there already. */
bool relay_cache_send(struct worker_view *view, struct relay_cache *ticket);
/* What came of its lead; the answer's reference goes along. */
void relay_cache_settle(
    struct worker_view *view, struct relay_cache *ticket, struct cache_answer *answer, bool gone);
/* Frees the ticket, which is with nobody else. */
void relay_cache_free(struct relay_cache *ticket);
