/* A relay: one request on its way through a worker. It goes through the stages of a table
 * (relay.c), some of which wait; see README.md for where batching, caching, limits and the like
 * find their place.
 *
 * A relay ends in exactly one way: relay_respond, relay_refuse, the end or abort of a streamed
 * answer, or the client's cancellation. Each accounts for it and frees it. */
#pragma once

#include "gateway/balance.h"
#include "gateway/fair.h"
#include "gateway/model_scan.h"
#include "gateway/relay_count.h"
#include "gateway/routes.h"
#include "gateway/target.h"
#include "gateway/terms.h"
#include "gateway/usage.h"
#include "gateway/worker.h"

#include "base/error.h"
#include "base/strbuf.h"

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct answer_source;
struct batch_member;
struct http_exchange;
struct http_field;
struct http_request;
struct prefix;
struct relay_cache;
struct relay_care;
struct relay_guard;
struct relay_limits;
struct record_entry;
struct relay_trace;
struct shadow_pair;
struct token_tail;
struct usage_ask;
struct usage_strip;

enum { RELAY_ID_BYTES = 129, RELAY_ATTEMPTS_MAX = 3 };

/* The body of the request. Up to WORKER_HOLD_BYTES (and up to where the model is named) are held
 * before a replica is asked; a longer one is passed on as it comes. */
struct relay_body {
    struct strbuf held;
    int64_t received;
    int64_t bytes_max;
    struct model_scan scan;
    bool begun, ended;
    bool scanned; /* the model is known */
    bool paused;
    bool let_go; /* what was held is gone: no other replica can be asked */
};

/* The attempt under way: exchange is NULL without one. */
struct relay_attempt {
    struct http_exchange *exchange;
    struct replica_state *state;
    struct usage_counts *counts;
    uint64_t replica;
    int64_t version;
    int64_t began_ns;
    bool streamed; /* the body is passed on in pieces */
    int part;      /* of the trace's record, from 1; 0: none */
};

/* See answer.h. */
struct relay_answer {
    int status;                /* 0: none yet */
    bool begun;                /* the head is on its way to the client */
    bool bodyless;             /* a status that has no body */
    bool lazy;                 /* the head waits for the first bytes to come through the filters */
    bool events;               /* text/event-stream that takes comments between its events */
    bool until_close;          /* nothing but the end of the connection said that it is complete */
    uint32_t steps;            /* a bit for each filter at work */
    int64_t length;            /* announced; -1: not known */
    int64_t bytes;             /* handed to the client's connection */
    int64_t first_ns, last_ns; /* when it began, and when the last piece came */
    char end[4];               /* the last bytes passed on */
    const struct answer_source *source;
    struct token_tail *tail;   /* ANSWER_TOKENS */
    struct http_field *fields; /* in the request's arena */
    size_t field_count;
};

enum turn_state { TURN_NONE, TURN_WAITS, TURN_RUNS };

/* See relay_turn.h. */
struct relay_turn {
    struct fair_entry entry;
    uint64_t tenant;
    int64_t weight_micro;
    int64_t began_ns;
    int level;
    enum turn_state state;
};

/* See relay_usage.h. */
struct relay_usage {
    bool asked;                /* the replica was asked for what the client did not ask for */
    struct usage_ask *ask;     /* of a body that is passed on in pieces */
    struct usage_strip *strip; /* ANSWER_USAGE */
};

struct relay {
    TAILQ_ENTRY(relay) link; /* among those that wait; or, freed, among the spare ones */
    struct gateway_worker *worker;
    struct worker_view *view;
    struct http_request *request;
    struct target target;
    size_t stage;
    bool is_waiting;
    const struct route_key *key;        /* valid within a turn of the loop */
    const struct table_replica *picked; /* the same */
    char key_id[USAGE_NAME];
    uint32_t key_id_length;
    char asker[USAGE_TEAM]; /* the team that the key belongs to; "": none */
    const char *labels;     /* in the request's arena; NULL: none */
    struct relay_times times;
    struct relay_trace *trace; /* see relay_trace.h, in the request's arena; NULL: no collector */
    char id[RELAY_ID_BYTES];   /* X-Request-ID */
    uint32_t id_length;
    int64_t began_ns;
    int64_t turned_ns;          /* when the service that is asked now was; 0: at the beginning */
    int64_t wait_until_ms;      /* monotonic; 0: it has not waited yet */
    enum route_arm arm;         /* that it was drawn for */
    bool shadowed;              /* a copy of it goes to the canary.. */
    struct shadow_pair *shadow; /* ..and is under way: see relay_shadow.h */
    bool is_held, is_measured;  /* see relay_hold.h */
    int64_t hold_until_ms, held_bytes;
    int sent; /* attempts that reached a replica */
    int retries;
    bool again;        /* the same replica may be asked once more when there is no other */
    const char *allow; /* of a 405, and of the answer to OPTIONS */
    struct balance_tried tried;
    struct prefix *prefix;       /* of its prompt, in the request's arena; NULL: not made */
    struct service_terms *terms; /* of the service, held; NULL: not known yet */
    struct relay_body body;
    struct relay_usage usage;
    struct relay_attempt attempt;
    struct relay_answer answer;
    struct relay_cache *cache;      /* see relay_cache.h; NULL: not asked */
    bool cache_passed;              /* what is there to say was said */
    struct relay_guard *guard;      /* see relay_guard.h; NULL: nothing was looked at */
    struct record_entry *secondary; /* see relay_secondary.h; NULL: none is made */
    struct record_entry *record;    /* see relay_record.h; NULL: none is made */
    struct relay_limits *limits;    /* see relay_limits.h; NULL: there are none for it */
    struct relay_care *care;        /* see relay_care.h; NULL: nothing of it was asked for */
    struct relay_turn turn;
    int64_t retry_after_s;      /* of a 503 or 429; 0: as usual */
    struct batch_member *batch; /* see relay_batch.h; NULL: it is in none */
    bool batch_counts;          /* its attempts count as batches of one */
    bool batch_passed;          /* it goes on by itself */
    struct event timer;         /* of waiting, then of comments in an event stream */
};

/* When the service that is asked now was asked. */
static inline int64_t relay_began_ns(const struct relay *relay)
{
    return relay->turned_ns ? relay->turned_ns : relay->began_ns;
}

/* Takes a request from the worker's server. */
void relay_begin(struct gateway_worker *worker, struct http_request *request);
/* Refuses one whose address asks too often. */
void relay_throttle(
    struct gateway_worker *worker, struct http_request *request, uint32_t retry_after_s);
/* Frees the relays that are kept for the next requests. */
void relay_free_spares(struct worker_view *view);
/* Those that wait for a replica look again. */
void relay_wake_waiting(struct worker_view *view);

/* ---- between the parts of the relay: relay.c, relay_body.c, relay_forward.c, relay_end.c ------
 */

/* What a stage did. */
enum stage_result {
    STAGE_DONE,  /* the next stage may run */
    STAGE_WAITS, /* relay_go is called when there is news, and runs the same stage again */
    STAGE_ENDED, /* the relay is gone */
};

/* A zeroed relay of the worker. */
struct relay *relay_alloc(struct worker_view *view);
/* Takes one that is on no list and has nothing any more, for the next. */
void relay_keep(struct relay *relay);

/* The stages that a request may have to run whose service asks for these features (terms.h): a bit
 * each, from the first on. */
uint32_t relay_stages(uint32_t features);
/* Runs the stages from where it is. The relay may be gone afterwards. */
void relay_go(struct relay *relay);
/* A failed attempt: back to choosing a replica. */
void relay_choose_again(struct relay *relay);
/* Another service is asked: back to its labels, and the rights that hold there. */
void relay_enter_service(struct relay *relay);

/* Puts it among those that wait: relay_go is called with the next table of routes, and after so
 * many milliseconds. */
void relay_wait(struct relay *relay, int64_t ms);
/* Takes it from them; fine when it is not among them. */
void relay_stop_waiting(struct relay *relay);

/* Who asks; NULL: nobody known. Valid within a turn of the loop. */
const struct route_key *relay_key(struct relay *relay);

/* Reads the body until the model is known. */
enum stage_result relay_stage_model(struct relay *relay);
/* Reads the body until it is complete, or as much is held as may be. */
enum stage_result relay_stage_body(struct relay *relay);
/* Refuses a request of the Open Inference Protocol that says wrong where its JSON ends. */
enum stage_result relay_stage_oip(struct relay *relay);
/* More of the body is wanted: what was held has been passed on. */
void relay_body_let_go(struct relay *relay);

/* Begins an attempt at relay->picked. */
enum stage_result relay_stage_forward(struct relay *relay);
/* What a replica is asked for: the path without the version, in the request's arena. */
const char *relay_upstream_target(struct relay *relay);
/* A piece of a streamed request's body, or its end (bytes NULL). */
void relay_forward_piece(struct relay *relay, const char *bytes, size_t length);
/* Gives an attempt up, if there is one. failed: the replica is to blame. */
void relay_attempt_end(struct relay *relay, bool failed);

/* What relay_stage_forward begins an exchange with; context: the relay. */
struct http_exchange_callbacks;
extern const struct http_exchange_callbacks relay_exchange_callbacks;
/* Begins an attempt at the replica, which becomes relay->attempt. False: its address cannot be
 * used.
 */
bool relay_attempt_begin(struct relay *relay, const struct table_replica *replica,
    const struct http_exchange_callbacks *callbacks);
/* relay->attempt is over: it ended by itself, or was cancelled. failed: its replica is to blame. */
void relay_attempt_close(struct relay *relay, bool failed);
/* The attempt under way, if there is one, took too long: gives it up, and its replica is to blame.
 */
void relay_attempt_late(struct relay *relay);

/* Takes the score of an answer. */
enum stage_result relay_feedback(struct relay *relay);
/* Answers what the gateway itself knows: health, lists. */
enum stage_result relay_answer_here(struct relay *relay);

/* A whole answer, of 204 without content_type; ends the relay. */
void relay_respond(
    struct relay *relay, int status, const char *content_type, const void *body, size_t length);
/* An error in the protocol's shape; ends the relay. code: a word for programs. */
void relay_refuse(struct relay *relay, int status, const char *code, const char *format, ...) COLD
    PRINTF_LIKE(4, 5);
/* 503: no replica is ready, of the version that the path named if it did; ends the relay. */
void relay_refuse_absent(struct relay *relay) COLD;

/* What the HTTP server itself refuses, for http_server_options. */
const char *relay_refusal(
    const char *path, int status, const char *detail, struct strbuf *body, void *ctx);

/* How a relay ended, for the access log. */
enum relay_end { RELAY_COMPLETE, RELAY_CANCELLED, RELAY_BROKEN };
/* Counts what was asked of relay->terms, before another service is asked. */
void relay_account_try(struct relay *relay);
/* Counts it and writes its line; once, before the request becomes invalid. */
void relay_account(struct relay *relay, enum relay_end end);
/* Frees it; the attempt is over by then. */
void relay_free(struct relay *relay);
