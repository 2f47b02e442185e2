/* HTTP/1.1 client on an event loop: exchanges over pools of kept connections, streaming both ways.
 * For the gateway, which passes requests on to replicas, and for the server, which probes them.
 *
 * - Everything happens on the thread that runs the event base. Nothing blocks.
 * - As in wire/http.h no callback is called from inside a call into this interface. What is large
 *   of a request is sent from inside the call, where the connection takes it, and not copied then;
 *   what is small goes at the end of the loop's turn, in a row with that of other exchanges.
 * - One agent, its endpoints and exchanges belong to one thread; agents share nothing.
 * - What the peer sends is hostile: it is parsed by wire/http_parse.h, and an answer that is not
 *   strictly HTTP/1.1 fails the exchange and closes the connection.
 * - A connection is used again only after a complete answer to a complete request.
 * - Over TLS connecting includes the handshake: while that is not done nothing was sent. */
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
    size_t idle_max;                /* 128 idle connections kept for an endpoint */
    int64_t idle_ms;                /* 30 s: idle connections are closed after it */
    int64_t connect_ms;             /* 5 s */
    size_t head_bytes_max;          /* 32 KiB for the fields of an answer, line ends included */
    size_t output_bytes_high;       /* 64 KiB waiting: http_exchange_write asks for a pause */
    void (*after_event)(void *ctx); /* after an event of a connection; nothing here is running */
    void *ctx;
};

/* Without endpoints and connections. base must outlive it. Destroyed by the caller. */
struct http_agent *http_agent_create(
    struct event_base *base, const struct http_agent_options *options); /* NULL: defaults */
/* Fails what is under way without calling back, closes everything; endpoints that were not released
 * are gone too. NULL is fine. Not to be called from inside a callback of this agent. */
void http_agent_destroy(struct http_agent *agent);
/* What small requests wait for until the loop's turn ends happens now if they are many by now, as
 * what they work in would have left the caches by then; for the same reason answers that are there
 * are taken now, which calls callbacks. Not to be called from inside a callback. */
void http_agent_relieve(struct http_agent *agent);
/* For whoever is so busy that looking by itself costs less than the loop's doing it: from
 * http_agent_set_apart(true) on it calls the next two again and again. Not from inside a callback.
 */
void http_agent_set_apart(struct http_agent *agent, bool apart);
/* Serves what came from peers; from how many. */
int http_agent_look(struct http_agent *agent);
/* Serves what waits for the end of a turn; whether there was anything. */
bool http_agent_serve(struct http_agent *agent);

/* An endpoint: "unix:/path" or "http://127.0.0.1:8080" (numeric addresses only; ERR_INVALID says
 * what is wrong). Nothing is connected to yet. With owner other than (uid_t)-1 a Unix socket is
 * connected to only when it is a socket, no symbolic link, and belongs to that uid: whoever can
 * write to the folder must not send us elsewhere (the socket is opened with O_PATH | O_NOFOLLOW,
 * looked at, and connected to by its descriptor, which also lifts the bound of 107 bytes on the
 * path). Held until http_endpoint_release; exchanges that are under way go on after it. */
MUST_CHECK int http_endpoint_create(struct http_agent *agent, const char *address, uid_t owner,
    struct http_endpoint **ret, struct error *err);
/* An endpoint over TLS: "https://10.0.0.1:6443" (numeric addresses only), whose certificate has to
 * be for host. Sessions keep what they need of tls, which has to outlive the endpoint. */
MUST_CHECK int http_endpoint_create_tls(struct http_agent *agent, const char *address,
    struct tls_client *tls, const char *host, struct http_endpoint **ret, struct error *err);
/* "http://host:8080", "https://host" or "unix:/path": the host may be a name, which a thread looks
 * up (wire/resolve.h) while connecting waits for it, and each address is tried. The certificate of
 * https has to be for the host; tls, needed for it, has to outlive the endpoint. The Host field of
 * requests is the URL's. ERR_INVALID. */
MUST_CHECK int http_endpoint_create_url(struct http_agent *agent, const char *url,
    struct tls_client *tls, struct http_endpoint **ret, struct error *err);
/* Closes its idle connections, and the others when their exchanges are done. NULL is fine. */
void http_endpoint_release(struct http_endpoint *endpoint);

/* Why an exchange failed. */
enum http_failure {
    HTTP_FAILED_CONNECT, /* nothing was sent: no connection */
    HTTP_FAILED_STALE,   /* a kept connection closed before a byte of the answer: the peer most
                          * likely had closed it already, and did not see the request */
    HTTP_FAILED_CLOSED,  /* the connection broke; `answered` says whether the head was there */
    HTTP_FAILED_TIMEOUT, /* the peer was connected to, and too slow */
    HTTP_FAILED_ANSWER,  /* the answer was not HTTP/1.1, its head too long, or 1xx without end */
    HTTP_FAILED_REQUEST, /* nothing was sent: the request's method, target or a field has a byte
                          * that may not be sent (an injection); no other peer would do better */
};

/* The head of an answer; valid until on_head returns. Hop-by-hop fields (Connection, Keep-Alive,
 * Transfer-Encoding, TE, Trailer, Upgrade, and those that Connection names) are not among the
 * fields; Content-Length is not either, see length. */
struct http_answer {
    int status; /* final: 1xx are skipped */
    const struct http_field *fields;
    size_t field_count;
    int64_t length; /* of the body, -1: not known beforehand. To HEAD and with 304 there is no body:
                     * then it is what the answer announced, for whoever passes it on. */
    bool until_close; /* only the end of the connection ends the body, so one that was cut off
                       * looks like one that is complete */
};

struct http_exchange_callbacks {
    void (*on_head)(struct http_exchange *exchange, const struct http_answer *answer, void *ctx);
    /* Bytes live until it returns. */
    void (*on_piece)(struct http_exchange *exchange, const void *bytes, size_t length, void *ctx);
    /* The answer is complete; the exchange is invalid from here on (the callback may begin another,
     * which may get the same connection). An answer may come before the request was sent in full:
     * the rest of the request is then dropped with the connection. Not called while paused. */
    void (*on_end)(struct http_exchange *exchange, void *ctx);
    /* The exchange is invalid from here on. text is one sentence, valid for the call. Called while
     * paused too, where the connection cannot be had any more. */
    void (*on_fail)(struct http_exchange *exchange, enum http_failure failure, bool answered,
        const char *text, void *ctx);
    /* After http_exchange_write said false: what waits fell below half. May be NULL. */
    void (*on_drain)(struct http_exchange *exchange, void *ctx);
};

/* Everything is sent or copied before http_exchange_begin returns. */
struct http_exchange_request {
    const char *method;
    const char *target; /* percent-encoded path and query */
    /* Host, Content-Length, Transfer-Encoding and Connection are the agent's to write; hop-by-hop
     * fields among these are asserted not to be there. Without a Host field here the URL's
     * host is sent, or "muster". */
    const struct http_field *fields;
    size_t field_count;
    const void *body; /* with length; or in pieces: body NULL and streamed */
    int64_t length;   /* of the body; streamed: -1 sends it chunked */
    bool streamed;
    /* 0: 60 s. What the peer may take: without a byte of the request being taken while some wait;
     * from the request's end to the end of the answer's head, however that drips in; without a byte
     * of the answer's body. It does not run while the caller is waited for: between writes of a
     * streamed body, and while paused. */
    int64_t timeout_ms;
};

/* Starts an exchange on a kept connection, or a new one. Never fails at once: on_fail says so
 * later. */
struct http_exchange *http_exchange_begin(struct http_endpoint *endpoint,
    const struct http_exchange_request *request, const struct http_exchange_callbacks *callbacks,
    void *ctx);
/* Streamed bodies. Returns true when more is welcome; false: wait for on_drain. The bytes are sent
 * or copied in either case. Of a length given at the beginning no byte may be too many. */
bool http_exchange_write(struct http_exchange *exchange, const void *bytes, size_t length);
/* The body is complete: asserted to have the length given at the beginning. */
void http_exchange_end_body(struct http_exchange *exchange);
/* No head, pieces or end between pause and resume; the peer is held back by its socket. The timeout
 * does not run. At most one read (READ_BYTES in http_agent_internal.h) is held meanwhile. */
void http_exchange_pause(struct http_exchange *exchange);
void http_exchange_resume(struct http_exchange *exchange);
/* In its callbacks: when what they tell of was looked at, on the monotonic clock. */
int64_t http_exchange_now_ns(const struct http_exchange *exchange);
/* Gives it up: closes the connection, so that the peer notices; no callback is called any more.
 * The exchange is invalid afterwards. */
void http_exchange_cancel(struct http_exchange *exchange);

struct http_agent_stats {
    size_t connections, idle, exchanges; /* now */
    uint64_t connected, reused, failed;  /* since creation; reused: begun on a kept connection */
};
/* Figures of now and since creation. */
void http_agent_stats(const struct http_agent *agent, struct http_agent_stats *ret_stats);
