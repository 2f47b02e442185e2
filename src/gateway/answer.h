/* An answer on its way to the client. Wherever it comes from (a replica, a cache, a part of a
 * batch), its source calls answer_begin, answer_piece as often as there are bytes, then answer_end;
 * or answer_break, when it ends too early. In between each piece goes through the filters that the
 * answer concerns, in the order of enum answer_step, and then to the client.
 *
 * A filter keeps what it needs in relay->answer.states. It passes bytes on with answer_pass, at
 * once or later, the same or others; one that changes how many there are sets relay->answer.length
 * to -1 when it begins, and one that may still refuse the answer sets relay->answer.lazy: then the
 * head is sent together with the first bytes that come through. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_field;
struct relay;

/* In this order bytes pass. To add a filter: a step here, and its entry in answer.c. */
enum answer_step {
    ANSWER_FALLBACK,  /* holds what may still come from another service */
    ANSWER_SHADOW,    /* compares what the replica said with what another says */
    ANSWER_TOKENS,    /* reads the usage that the replica reports */
    ANSWER_USAGE,     /* takes out the usage that the client did not ask for */
    ANSWER_GUARD,     /* finds what may not pass */
    ANSWER_RECORD,    /* copies it to be replayed */
    ANSWER_SECONDARY, /* copies it for who is asked the same afterwards */
    ANSWER_CACHE,     /* records it to be given again */
    ANSWER_CASCADE,   /* judges the small model's */
    ANSWER_STEPS,
};

/* Every function may be NULL: nothing to do. */
struct answer_filter {
    /* Whether the answer concerns it; its head is in relay->answer. NULL: never. */
    bool (*begin)(struct relay *relay);
    /* False: the relay has ended and is gone. NULL: bytes pass unseen. */
    bool (*piece)(struct relay *relay, const char *bytes, size_t length);
    /* The last piece was there: passes on what it kept. False: as above. */
    bool (*end)(struct relay *relay);
    /* Frees what it has; called once for each begin that said yes, however the answer ends. */
    void (*finish)(struct relay *relay);
};

/* The client's pace, for sources that can be slowed down. */
struct answer_source {
    void (*pause)(struct relay *relay);
    void (*resume)(struct relay *relay);
};

/* ---- for sources ------------------------------------------------------------------------------
 */

/* The head: fields in the request's arena, fit for the client; length -1: not known. source NULL:
 * it does not wait for anybody. */
void answer_begin(struct relay *relay, int status, struct http_field *fields, size_t count,
    int64_t length, const struct answer_source *source);
/* False: the relay has ended and is gone; its attempt was given up. */
bool answer_piece(struct relay *relay, const char *bytes, size_t length);
/* Whether what has come is a part of an answer although its source says that it is the whole: a
 * stream of events that was ended by its connection alone, within an event, or without the event
 * that ends each stream of chat/completions and completions. */
bool answer_is_part(const struct relay *relay);
/* It is complete: ends the relay. The source has let go of it. */
void answer_end(struct relay *relay);
/* It will not be completed. Where nothing has gone to the client yet this returns true, as if it
 * had never begun, and the caller answers in another way; else the connection is cut, so that
 * nobody takes the part for the whole, the relay is gone, and this returns false. */
bool answer_break(struct relay *relay);

/* A whole answer that no filter concerns, with all its fields; ends the relay. Nothing has gone to
 * the client yet, and no attempt is under way. */
void answer_whole(struct relay *relay, int status, const struct http_field *fields, size_t count,
    const void *body, size_t length);

/* ---- for filters ------------------------------------------------------------------------------
 */

/* Hands bytes to what comes after the step. False: the relay is gone. */
bool answer_pass(struct relay *relay, enum answer_step from, const char *bytes, size_t length);

/* While the filter begins: one more field for the client. The texts live as long as the request. */
void answer_add_field(struct relay *relay, const char *name, const char *value);

/* ---- for the relay ----------------------------------------------------------------------------
 */

/* Frees what filters have. */
void answer_finish(struct relay *relay);
