/* HTTP/1.1 client on an event loop: exchanges over pools of kept connections, streaming both ways.
 * For the gateway, which passes requests on to replicas, and for the server, which probes them.
 *
 * - Everything happens on the thread that runs the event base. Nothing blocks.
 * - As in wire/http.h no callback is called from inside a call into this interface.
 * - What the peer sends is hostile: it is parsed by wire/http_parse.h, and an answer that is not
 *   strictly HTTP/1.1 fails the exchange and closes the connection.
 * - A connection is used again only after a complete answer to a complete request. */
#pragma once

#include "base/error.h"
#include "wire/http.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct http_agent;    /* a set of endpoints on one loop */
struct http_endpoint; /* one peer, with its pool of idle connections */
struct http_exchange; /* one request and its answer */

/* A zero means the default given in the comment. */
struct http_agent_options {
    size_t idle_max;          /* 128 idle connections kept for an endpoint */
    int64_t idle_ms;          /* 30 s: idle connections are closed after it */
    int64_t connect_ms;       /* 5 s */
    size_t head_bytes_max;    /* 32 KiB of an answer's head */
    size_t output_bytes_high; /* 64 KiB waiting: http_exchange_write asks for a pause */
};

/* Without endpoints and connections. base must outlive it. Destroyed by the caller. */
struct http_agent *http_agent_create(
    struct event_base *base, const struct http_agent_options *options); /* NULL: defaults */
/* Fails what is under way without calling back, closes everything. NULL is fine. */
void http_agent_destroy(struct http_agent *agent);

/* An endpoint: "unix:/path" or "http://127.0.0.1:8080" (numeric addresses only). With owner other
 * than (uid_t)-1 a Unix socket is connected to only when it is a socket, no symbolic link, and
 * belongs to that uid: whoever can write to the folder must not send us elsewhere (the socket is
 * opened with O_PATH | O_NOFOLLOW, looked at, and connected to by its descriptor, which also lifts
 * the bound of 107 bytes on the path). Held until http_endpoint_release; exchanges that are under
 * way go on after it. */
MUST_CHECK int http_endpoint_create(struct http_agent *agent, const char *address, uid_t owner,
    struct http_endpoint **ret, struct error *err);
/* Closes its idle connections, and the others when their exchanges are done. NULL is fine. */
void http_endpoint_release(struct http_endpoint *endpoint);

/* Why an exchange failed. */
enum http_failure {
    HTTP_FAILED_CONNECT, /* nothing was sent: no connection */
    HTTP_FAILED_STALE,   /* a kept connection closed before a byte of the answer: the peer most
                          * likely had closed it already, and did not see the request */
    HTTP_FAILED_CLOSED,  /* the connection broke; `answered` says whether the head was there */
    HTTP_FAILED_TIMEOUT,
    HTTP_FAILED_ANSWER, /* the answer was not HTTP/1.1, or too long */
};

/* The head of an answer; valid until on_head returns. Hop-by-hop fields (Connection, Keep-Alive,
 * Transfer-Encoding, TE, Trailer, Upgrade, and those that Connection names) are not among the
 * fields; Content-Length is not either, see length. */
struct http_answer {
    int status; /* final: 1xx are skipped */
    const struct http_field *fields;
    size_t field_count;
    int64_t length; /* of the body, -1: not known beforehand */
};

struct http_exchange_callbacks {
    void (*on_head)(struct http_exchange *exchange, const struct http_answer *answer, void *ctx);
    /* Bytes live until it returns. */
    void (*on_piece)(struct http_exchange *exchange, const void *bytes, size_t length, void *ctx);
    /* The answer is complete; the exchange is invalid afterwards. An answer may come before the
     * request was sent in full: the rest of the request is then dropped with the connection. */
    void (*on_end)(struct http_exchange *exchange, void *ctx);
    /* The exchange is invalid afterwards. text is one sentence, valid for the call. */
    void (*on_fail)(struct http_exchange *exchange, enum http_failure failure, bool answered,
        const char *text, void *ctx);
    /* After http_exchange_write said false: what waits fell below half. May be NULL. */
    void (*on_drain)(struct http_exchange *exchange, void *ctx);
};

/* Everything is copied, or taken over, before http_exchange_begin returns. */
struct http_exchange_request {
    const char *method;
    const char *target; /* percent-encoded path and query */
    /* Host, Content-Length, Transfer-Encoding and Connection are the agent's to write; hop-by-hop
     * fields among these are asserted not to be there. Without a Host field here "muster" is sent.
     */
    const struct http_field *fields;
    size_t field_count;
    const void *body; /* with length; or in pieces: body NULL and streamed */
    int64_t length;   /* of the body; streamed: -1 sends it chunked */
    bool streamed;
    int64_t timeout_ms; /* to the first byte of the answer once the request was sent, and without
                         * progress after it; 0: 60 s */
};

/* Starts an exchange on a kept connection, or a new one. Never fails at once: on_fail says so
 * later. */
struct http_exchange *http_exchange_begin(struct http_endpoint *endpoint,
    const struct http_exchange_request *request, const struct http_exchange_callbacks *callbacks,
    void *ctx);
/* Streamed bodies. Returns true when more is welcome; false: wait for on_drain. The bytes are taken
 * in either case. */
bool http_exchange_write(struct http_exchange *exchange, const void *bytes, size_t length);
void http_exchange_end_body(struct http_exchange *exchange);
/* No pieces between pause and resume; the peer is held back by TCP. The timeout does not run. */
void http_exchange_pause(struct http_exchange *exchange);
void http_exchange_resume(struct http_exchange *exchange);
/* Gives it up: closes the connection, so that the peer notices; no callback is called any more.
 * The exchange is invalid afterwards. */
void http_exchange_cancel(struct http_exchange *exchange);

struct http_agent_stats {
    size_t connections, idle, exchanges; /* now */
    uint64_t connected, reused, failed;  /* since creation */
};
/* Figures of now and since creation. */
void http_agent_stats(const struct http_agent *agent, struct http_agent_stats *ret_stats);
