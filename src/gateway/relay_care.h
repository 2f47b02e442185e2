/* What is done so that a request is answered all the same, or fails soon: deadline, circuit
 * breaker, hedging, fallback, cascade. A relay whose service asks for none of them has no care, and
 * each place that asks for it is one branch. See docs/gateway-fallback.md and
 * docs/gateway-cascade.md.
 *
 * 1. Another service is asked only while nothing of an answer has gone to the client, and while the
 *    whole body is held. Only the lists of the service that the client asked count: so there are at
 *    most 1 + 1 + FALLBACK_MAX tries, and no loops.
 * 2. A try that is left is counted for its service, and what was reserved for it is given back, or
 *    settled where it answered; then the next begins like a request of its own.
 * 3. Every timer and exchange in here ends in relay_care_free, or before. */
#pragma once

#include "gateway/cascade.h"
#include "gateway/hedge.h"
#include "gateway/log_line.h"
#include "gateway/relay.h"

#include "base/strbuf.h"

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct answer_filter;

enum { CARE_TRIES_MAX = FALLBACK_MAX + 2, CARE_WHY_BYTES = 24, CARE_ERROR_BYTES_MAX = 64 << 10 };

/* Who is being asked. */
enum care_part {
    CARE_OWN,   /* the service that the client asked */
    CARE_SMALL, /* the small model of its cascade */
    CARE_OTHER, /* one of its fallbacks */
};

/* Texts in the request's arena. */
struct care_try {
    const char *route;
    const char *why; /* it was left */
};

/* An answer of the small model that was not sure: given when nobody else has one. */
struct care_spare {
    int status; /* 0: none */
    struct http_field *fields;
    size_t field_count;
    struct strbuf body;
    const char *route;
};

enum hedge_state { HEDGE_NONE, HEDGE_ARMED, HEDGE_RUNS, HEDGE_OVER };

struct relay_hedge {
    enum hedge_state state;
    bool is_the_attempt; /* the first one lost or failed: this is relay->attempt now */
    struct event timer;
    struct relay_attempt attempt; /* while it runs beside the first */
};

enum care_stream { CARE_PASS, CARE_BAD, CARE_STREAM };

struct relay_care {
    struct relay *relay;
    struct service_terms *asked; /* held: of the service that the client asked */
    const char *route;           /* of asked */
    int64_t version;             /* that the client asked for */
    enum care_part part;
    /* Deadline. */
    int64_t deadline_ns; /* 0: none */
    bool late;           /* it has passed */
    struct event deadline;
    /* Tries. */
    struct event limit; /* of the try under way */
    bool limit_is_set;
    size_t next; /* of the fallbacks */
    struct care_try tries[CARE_TRIES_MAX];
    size_t try_count;
    /* The filter of fallbacks. */
    enum care_stream stream;
    bool stream_begun;
    struct strbuf held;
    size_t dropped;
    /* Cascade. */
    bool cascaded, edited;
    struct strbuf original; /* the body as the client sent it */
    struct strbuf answer;   /* of the small model, so far */
    bool too_large;
    int64_t confidence_micro; /* -1: none was stated */
    struct care_spare spare;
    bool counted; /* what answers was counted before */
    const char *by;
    /* Circuit. */
    bool in_circuit, probe;
    struct relay_hedge hedge;
};

/* ---- for the relay ----------------------------------------------------------------------------
 */

/* Makes the care of a service that asks for any, and its deadline. */
enum stage_result relay_stage_care(struct relay *relay);
/* The body is held: a try begins. May ask the small model. */
enum stage_result relay_stage_try(struct relay *relay);
/* Refuses while the circuit of the service is open. */
enum stage_result relay_stage_circuit(struct relay *relay);
void relay_care_free(struct relay *relay);

/* The gateway would refuse: true, and the relay goes on elsewhere, or was answered. */
bool relay_care_refused(struct relay *relay, int status, const char *code);
/* No replica can be asked now: whether another service can, so that waiting is idle. */
bool relay_care_instead(struct relay *relay);
/* A head came from a replica: hedges are over. False: the attempt was given up for the hedge's,
 * which goes on. */
bool relay_care_head(struct relay *relay, int status);
/* The request is counted, for the service of relay->terms. */
void relay_care_counted(struct relay *relay, enum relay_end end);
/* What is told of tries, in the head of an answer and in the log. */
struct http_field *relay_care_fields(
    struct relay *relay, const struct http_field *fields, size_t *count);
/* tried: room for a text of the line. */
void relay_care_log(
    const struct relay *relay, struct log_line *line, char tried[LOG_LINE_TEXT_BYTES]);
/* A stream broke off after something was passed on: true when it was ended by an event. */
bool relay_care_break_stream(struct relay *relay);

extern const struct answer_filter relay_fallback_filter, relay_cascade_filter;

/* ---- deadlines: relay_deadline.c --------------------------------------------------------------
 */

/* False: the relay has ended. */
bool relay_deadline_begin(struct relay *relay);
/* Whether an attempt may begin; false: the relay has ended. */
bool relay_deadline_may_send(struct relay *relay);
/* Whether the field is the client's word about its deadline, which is said anew. */
bool relay_deadline_owns(const struct relay *relay, const char *name);
/* Puts what is left into a field, in the request's arena. How many were put. */
size_t relay_deadline_field(const struct relay *relay, struct http_field *out);

/* ---- hedges: relay_hedge.c --------------------------------------------------------------------
 */

/* An attempt has begun: another may follow. */
void relay_hedge_arm(struct relay *relay);
/* Gives up what is there of a hedge. */
void relay_hedge_leave(struct relay *relay);
/* The first attempt failed before it answered, and is over: whether the hedge goes on in its place.
 */
bool relay_hedge_takes_over(struct relay *relay);

/* ---- other services: relay_switch.c ------------------------------------------------------------
 */

/* Whether the request can be made to the service of that route now. */
const struct table_service *relay_switch_target(struct relay *relay, const char *route);
/* Lets go of the service that is being asked and asks another from its rights on. The try was
 * counted. The relay may be gone afterwards. */
void relay_switch(struct relay *relay, const struct table_service *service, int64_t version);
/* The try was of no use, and why. */
void relay_switch_note(struct relay *relay, const char *why);
/* The try is over without an answer: counts it, gives back what was reserved, notes why. */
void relay_switch_failed(struct relay *relay, int status, const char *why);
/* The same of a try that was answered: settles. */
void relay_switch_answered(struct relay *relay, const char *why);

/* ---- between relay_fallback.c and relay_cascade.c ----------------------------------------------
 */

/* The time of a try begins, 0: it has none; or is over. */
void relay_try_limit(struct relay *relay, int64_t ms);
void relay_try_in_time(struct relay *relay);
/* The small model has no good answer: the large one is asked. */
void relay_cascade_go_on(struct relay *relay, int status, const char *why);
/* Whether a small model may have to be asked first. */
bool relay_cascade_concerns(const struct relay *relay);
/* Asks the small model first, if it can be asked: true, and the relay may be gone. Of one whom that
 * concerns. */
bool relay_cascade_begin(struct relay *relay);
/* The body is again what it was before the small model was asked. */
void relay_cascade_restore(struct relay *relay);
/* Answers with the small model's answer, if there is one. why: the try under way failed. */
bool relay_cascade_spare(struct relay *relay, int status, const char *why);
