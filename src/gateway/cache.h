/* Answers that are given again, of one worker. Every key belongs to one worker, so that nothing
 * here is shared.
 *
 * Who asks brings a ticket, and gets a verdict: the answer (hit), the task to get it (lead), or
 * leave to ask without the cache (alone). Meanwhile others that ask the same wait (coalescing), and
 * get the leader's answer; of those that wait one becomes the leader when the leader goes without.
 * Bounds: bytes of a shelf (a service) and of all, followers of a key; the least recently used goes
 * first. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CACHE_KEY_BYTES = 32, CACHE_ETAG_BYTES = 64, CACHE_FOLLOWERS_MAX = 4096 };

struct cache_key {
    uint8_t bytes[CACHE_KEY_BYTES]; /* a hash */
};

struct cache_field {
    const char *name, *value;
};

/* An answer as a client gets it. Never changes; shared between workers. */
struct cache_answer {
    atomic_uint refs;
    int status;
    char etag[CACHE_ETAG_BYTES];
    int64_t made_ms; /* monotonic */
    const struct cache_field *fields;
    size_t field_count;
    const char *body;
    size_t body_length;
    size_t bytes; /* of all this */
    /* Whose it is and what getting it took: set by who made it, before others see it. */
    uint64_t replica;
    int64_t version;
    uint64_t took_us, input_tokens, output_tokens;
};

/* A copy of all that it is given, with one reference, of the caller. */
struct cache_answer *cache_answer_create(int status, const struct cache_field *fields, size_t count,
    const char *etag, const char *body, size_t length, int64_t now_ms);
void cache_answer_ref(struct cache_answer *answer);
/* NULL is fine. */
void cache_answer_unref(struct cache_answer *answer);

enum cache_verdict {
    CACHE_WAITS, /* none yet: there will be another one */
    CACHE_HIT,   /* ticket->answer, with a reference of the ticket's */
    CACHE_LEAD,  /* gets the answer; cache_settle is owed */
    CACHE_ALONE, /* asks by itself, and owes nothing */
};

struct cache_ticket {
    struct cache_key key;
    bool waits; /* rather than ask alone, when somebody else asks the same */
    bool anew;  /* an answer that is there does not do */
    enum cache_verdict verdict;
    struct cache_answer *answer;
    struct cache_ticket *next; /* the cache's, while it waits */
};

struct cache;
/* on_verdict: for tickets that waited; called from inside cache_settle. */
typedef void cache_on_verdict(struct cache_ticket *ticket);
/* bytes_max: of all shelves. Destroyed by the caller. */
struct cache *cache_create(size_t bytes_max, cache_on_verdict *on_verdict);
/* Nobody waits and nobody leads any more. NULL is fine. */
void cache_destroy(struct cache *cache);

/* Sets the ticket's verdict, and returns it. CACHE_WAITS: the cache has the ticket. */
enum cache_verdict cache_ask(struct cache *cache, struct cache_ticket *ticket, int64_t now_ms);

struct cache_outcome {
    struct cache_key key;
    struct cache_answer *answer; /* NULL: there is none; its reference goes to the cache */
    bool gone;                   /* the leader went away; another may have more luck */
    const char *shelf;
    int64_t ttl_ms;
    size_t shelf_bytes_max;
};
/* What came of a lead. */
void cache_settle(struct cache *cache, const struct cache_outcome *outcome, int64_t now_ms);

struct cache_figures {
    size_t entries, bytes;
    uint64_t evicted; /* before their time */
};
/* Figures of now and since creation. */
void cache_figures(const struct cache *cache, struct cache_figures *ret);
