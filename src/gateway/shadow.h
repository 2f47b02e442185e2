/* Copies of requests: sent to a replica outside of the client's exchange, with an answer that the
 * caller gets and the client never sees. Each worker has a sender; so many copies are under way at
 * once, and so many bytes of them are held: what is beyond is not sent, and nobody waits for it.
 * Nothing is counted as usage and no limit is charged. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gateway_worker;
struct http_field;
struct shadow_sender;
struct table_replica;

enum {
    SHADOW_UNDER_WAY_MAX = 64,
    SHADOW_HELD_BYTES_MAX = 16 << 20,  /* answers of a worker's copies, together */
    SHADOW_ANSWER_BYTES_MAX = 1 << 20, /* of one: what is longer is cut */
};

struct shadow_copy {
    const char *method;
    const char *target;
    const struct http_field *fields; /* no hop-by-hop ones: wire/http_agent.h */
    size_t field_count;
    const char *body; /* NULL: none. Everything is copied or sent before shadow_send returns */
    size_t length;
    int64_t timeout_ms;
};

struct shadow_answer {
    int status; /* 0: there was none */
    const char *bytes;
    size_t length;
    bool cut; /* the answer is longer */
    int64_t took_us;
};
/* On the sender's thread, and never from inside shadow_send. */
typedef void shadow_done_fn(void *context, const struct shadow_answer *answer);

/* With nothing under way. */
struct shadow_sender *shadow_sender_create(struct gateway_worker *worker);
/* Gives up what is under way: done is called with status 0. Before the agent goes. NULL is fine. */
void shadow_sender_destroy(struct shadow_sender *sender);
/* Sends the copy to a replica of the table in use, which counts it as outstanding, so that the
 * replica is not stopped meanwhile. False: too much is under way, or the address cannot be used;
 * done is never called then. */
bool shadow_send(struct shadow_sender *sender, const struct table_replica *replica,
    const struct shadow_copy *copy, shadow_done_fn *done, void *context);
