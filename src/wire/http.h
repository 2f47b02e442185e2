/* HTTP/1.1, ours and strict, and HTTP/2: a server on an event loop, and a blocking client for the
 * command line.
 *
 * Rules that hold for the whole server side:
 * - Everything happens on the thread that runs the event base. Nothing here blocks.
 * - No callback is ever called from inside a call into this interface (on_answer and
 *   http_server_destroy apart): answers, pauses and body requests take effect when the caller has
 *   returned to the loop. A handler needs no defence against being entered twice.
 * - Texts and bytes passed in are copied before the call returns; those handed out live as long
 *   as their request, except body pieces, which live until the callback returns.
 * - What a peer sends is parsed by wire/http_parse.h; what it rejects never reaches a handler.
 * - Every buffer has a bound, see http_server_options.
 */
#pragma once

#include "base/error.h"
#include "wire/http_name.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct arena;
struct event_base;
struct strbuf;
struct tls_client;
struct tls_server;

/* One header field, to send or as received. Names compare without regard to case. Who makes one
 * gives name and value; one that was received says more, which saves those it is passed on to a
 * second look. Who gives a received one another name or value clears `parsed`. */
struct http_field {
    const char *name;
    const char *value;
    bool parsed; /* it passed the parser: it may be sent as it is, and what follows is known */
    enum http_name known;
    uint32_t name_length, value_length;
};

/* "Not Found" for 404; "Unknown" for a status without a registered phrase. Never NULL. */
const char *http_status_phrase(int status);

/* ---------------------------------------------------------------- server ---------------- */

struct http_server;
struct http_request;
struct http_stream;

/* Called once a request's head is complete and correct. The handler answers now or later, and
 * may first ask for the body. */
typedef void http_handler(struct http_request *request, void *ctx);
/* The whole body; NUL follows it, which length does not count. */
typedef void http_on_body(struct http_request *request, const char *body, size_t length, void *ctx);
/* A piece of the body, or its end: bytes == NULL, length == 0. */
typedef void http_on_piece(
    struct http_request *request, const char *bytes, size_t length, void *ctx);
/* A notice without an argument of its own: cancelled, drained. */
typedef void http_on_notice(void *ctx);

/* A zero anywhere means the default given in the comment. */
struct http_server_options {
    http_handler *handler; /* obligatory */
    void *ctx;

    /* Writes what the server itself refuses in a shape of its own; path is "" where none was read.
     * Returns its Content-Type. NULL: problem documents (RFC 9457). */
    const char *(*refusal)(
        const char *path, int status, const char *detail, struct strbuf *body, void *ctx);

    /* Sent with every answer, those the server makes itself included. Copied at creation. */
    const struct http_field *common_fields;
    size_t common_field_count;

    /* Told of every answer when its head is decided: for metrics and the access log. request is
     * NULL where the server itself refused what came. The one callback made from within the calls
     * that answer: it takes note and does nothing else. */
    void (*on_answer)(const struct http_request *request, int status, void *ctx);

    void (*after_event)(void *ctx); /* after an event of a connection; nothing here is running */

    /* HTTP/2 too: over TLS where the client offers it (ALPN), and in the clear to Unix sockets and
     * loopback addresses, for clients that begin with it. Handlers see no difference. */
    bool http2;

    /* Bodies with Content-Encoding gzip, deflate or zstd are handed over unpacked, as if they had
     * come so: the field is hidden, the length not known before, limits hold for what is unpacked.
     * What is damaged is 400, another coding 415. */
    bool unpack_bodies;
    size_t unpack_bytes_max; /* 64 MiB held by decoders, of all requests together */

    size_t connections_max;          /* 1024 */
    size_t connections_per_peer_max; /* 128; a peer is an IP address (IPv6: its /64), or a uid */
    size_t request_line_bytes_max;   /* 8 KiB */
    size_t head_bytes_max;           /* 32 KiB for all fields together, line ends included */
    size_t field_count_max;          /* 64 */
    size_t body_bytes_max;           /* 1 MiB, unless the handler sets another for its request */
    size_t output_bytes_high;        /* 64 KiB waiting: http_respond_write asks for a pause */

    int64_t handshake_ms; /* 10 s for TLS */
    int64_t head_ms;      /* 10 s from a head's first byte to its last */
    int64_t idle_ms;      /* 75 s between requests */
    int64_t body_ms;      /* 20 s without progress of a body that is being asked for */
    int64_t write_ms;     /* 30 s without progress while output waits; progress is 1 KiB/s */

    /* Token buckets, one a peer address; connections of a Unix socket are not limited by rate.
     * An empty bucket is answered 429 with Retry-After. 0 means no limit. */
    uint32_t requests_per_s;
    uint32_t requests_burst; /* as requests_per_s */
    /* Answers such a request at once in the handler's place, in a shape of its own; its peer may
     * come again after so many seconds. */
    void (*throttled)(struct http_request *request, uint32_t retry_after_s, void *ctx);
};

/* A server without listeners. base must outlive it. Destroyed by the caller. */
struct http_server *http_server_create(
    struct event_base *base, const struct http_server_options *options);
/* Closes listeners and connections; requests not yet answered are cancelled. NULL is fine. Not
 * to be called from inside a callback of this server. */
void http_server_destroy(struct http_server *server);
/* What answers wait for until the loop's turn ends happens now if they are many by now, as what
 * they work in would have left the caches by then. Not to be called from inside a callback. */
void http_server_relieve(struct http_server *server);
/* For whoever is so busy that looking by itself costs less than the loop's doing it: from
 * http_server_set_apart(true) on it calls the next two again and again. Not from inside a callback.
 */
void http_server_set_apart(struct http_server *server, bool apart);
/* Serves what came from clients; from how many. */
int http_server_look(struct http_server *server);
/* Serves what waits for the end of a turn; whether there was anything. */
bool http_server_serve(struct http_server *server);

/* Listens on a Unix socket with the given mode (0600, 0660). A socket file that nobody answers
 * on is replaced; one that is answered is ERR_CONFLICT; any other file is left alone. The file
 * is removed when listening ends. */
MUST_CHECK int http_server_listen_unix(
    struct http_server *server, const char *path, mode_t mode, struct error *err);
/* Listens on "127.0.0.1:8080", "[::1]:0" or ":8443" (numeric addresses only; an empty host means
 * every address). With tls != NULL the listener speaks TLS; tls must outlive the server and may
 * be shared. ret_port (may be NULL) gets the port that was bound. */
MUST_CHECK int http_server_listen_tcp(struct http_server *server, const char *address,
    struct tls_server *tls, uint16_t *ret_port, struct error *err);
/* The same with SO_REUSEPORT: several servers of one process, each on its own loop and thread,
 * share an address, and the system spreads connections over them. */
MUST_CHECK int http_server_listen_tcp_shared(struct http_server *server, const char *address,
    struct tls_server *tls, uint16_t *ret_port, struct error *err);
/* Listens on a socket that is bound and listens already, and takes it over. unix_path: of a Unix
 * socket, which is removed when listening ends; NULL: TCP. */
MUST_CHECK int http_server_listen_fd(struct http_server *server, int fd, const char *unix_path,
    struct tls_server *tls, struct error *err);
/* The socket of the first listener, which stays the server's; -1 without one. */
int http_server_listener_fd(const struct http_server *server);
/* Stops listening, and leaves socket files where they are: another process listens there. */
void http_server_leave(struct http_server *server);
/* Reads certificates and keys of all TLS listeners again. New connections use them; old ones go
 * on. Stops at the first pair that fails, which stays as it was. */
MUST_CHECK int http_server_reload_tls(struct http_server *server, struct error *err);
/* Stops listening, closes idle connections, lets running requests finish (their answers say
 * Connection: close) and cuts what is left after grace_ms. on_drained is called once, from the
 * loop, when no connection is left. */
void http_server_drain(
    struct http_server *server, int64_t grace_ms, http_on_notice *on_drained, void *ctx);

/* The same, but connections that are idle may ask once more: for when another process listens in
 * its place, and nobody should see the change. http_server_drain may follow, to end it sooner. */
void http_server_retire(
    struct http_server *server, int64_t grace_ms, http_on_notice *on_drained, void *ctx);

struct http_server_stats {
    size_t connections;   /* open now */
    size_t requests_open; /* handed to the handler and not answered in full */
    size_t streams;       /* upgraded connections open now */
    size_t input_bytes;   /* held in input buffers and bodies being collected */
    size_t output_bytes;  /* answered and not yet taken by the system */
    uint64_t accepted;    /* connections since creation */
    uint64_t refused;     /* connections turned away by a limit on connections */
    uint64_t requests;    /* handed to the handler since creation */
    uint64_t rejected;    /* requests that were malformed, too slow or past a limit */
    uint64_t throttled;   /* requests answered 429 by the rate limit */
    uint64_t timed_out;   /* connections closed by a timeout other than idle */
    uint64_t cancelled;   /* requests that ended before their answer was complete */
};
/* Figures of now and since creation. */
void http_server_stats(const struct http_server *server, struct http_server_stats *ret_stats);

/* Who is at the other end. */
struct http_peer {
    bool is_unix;
    bool is_tls;
    uid_t uid;        /* (uid_t)-1 unless is_unix */
    gid_t gid;        /* (gid_t)-1 unless is_unix */
    pid_t pid;        /* 0 unless is_unix */
    char address[64]; /* "127.0.0.1:51234", "[::1]:51234" or "unix" */
};

/* ------- what was asked: valid until the request is answered or cancelled ------- */

/* As sent: "GET". */
const char *http_request_method(const struct http_request *request);
/* The path, percent-decoded and safe: it begins with '/', is valid UTF-8 without control
 * characters, and has no empty (but for a slash at the end), "." or ".." segment. A target that
 * is not so, or that hides a slash as %2f, was refused. */
const char *http_request_path(const struct http_request *request);
/* The target as it was sent, for logs; printable ASCII. */
const char *http_request_target(const struct http_request *request);
/* The first value of a query parameter, decoded, or NULL; "" for `?name`. A query that cannot be
 * decoded, or with more than 64 parameters, was refused. */
const char *http_request_query(const struct http_request *request, const char *name);
/* All of them in order, with i from 0: false when there are no more. */
bool http_request_query_at(
    const struct http_request *request, size_t i, struct http_field *ret_parameter);
/* The first value of a header field, or NULL. Fields that may come only once (Host,
 * Authorization, Content-Type, Idempotency-Key and others) came at most once. */
const char *http_request_header(const struct http_request *request, const char *name);
/* The same for a name that has a number: it takes no search. */
const char *http_request_known(const struct http_request *request, enum http_name name);
bool http_request_header_at(
    const struct http_request *request, size_t i, struct http_field *ret_field);
const struct http_peer *http_request_peer(const struct http_request *request);
/* Memory that lives as long as the request. */
struct arena *http_request_arena(struct http_request *request);
/* The bytes of the body as announced: 0 without one, -1 when they are not known before. */
int64_t http_request_body_length(const struct http_request *request);
/* A pointer of the handler's own, NULL at first. */
void http_request_set_data(struct http_request *request, void *data);
void *http_request_data(const struct http_request *request);

/* ------- its body: no more than an input buffer is read until it is asked for ------- */

/* Asks for the whole body, at most limit bytes (0: the server's body_bytes_max). on_body is
 * called once, also when there is no body. If the body is too long (413), malformed (400) or too
 * slow (408) the server answers itself and the request is cancelled. */
void http_request_collect(
    struct http_request *request, size_t limit, http_on_body *on_body, void *ctx);
/* Asks for the body in pieces, at most limit bytes in all (0: body_bytes_max; SIZE_MAX: no
 * bound). The end is reported once. Faults as above. */
void http_request_read(
    struct http_request *request, size_t limit, http_on_piece *on_piece, void *ctx);
/* No pieces between pause and resume; the peer is held back by TCP. Who pauses must have set
 * on_cancel. */
void http_request_pause(struct http_request *request);
void http_request_resume(struct http_request *request);

/* ------- the answer: exactly one of respond, begin .. end, upgrade, abort ------- */

/* on_cancel is called at most once, when the client went away (closing its sending side counts)
 * or the server is being destroyed, before the answer is complete. The request is invalid when
 * it returns, and must not be answered any more. Without an on_cancel a request whose body was
 * delivered or not asked for stays valid until it is answered, into the void if need be; while
 * the body is still being read, the request then ends without a word. */
void http_request_on_cancel(struct http_request *request, http_on_notice *on_cancel, void *ctx);

/* A whole answer. Content-Length, Date and Connection are the server's to write, and asserted
 * not to be among the fields. A field name that is no token or a value with a control character
 * (an injection) turns the answer into a 500. HEAD: the body's length is sent, the body is not.
 * The request is invalid after the call. status is 200 .. 599. */
void http_respond(struct http_request *request, int status, const struct http_field *fields,
    size_t field_count, const void *body, size_t length);

/* A streamed answer of length bytes, or of unknown length (-1: chunked; until close for
 * HTTP/1.0). status is one that has a body. The request stays valid until end, abort or
 * cancellation. Unsafe fields: a 500 goes out instead, and what is written is dropped. */
void http_respond_begin(struct http_request *request, int status, const struct http_field *fields,
    size_t field_count, int64_t length);
/* Appends to the answer. Returns true when more is welcome; false asks the caller to wait for
 * on_drain: output_bytes_high bytes are waiting. The bytes are taken in either case. */
bool http_respond_write(struct http_request *request, const void *bytes, size_t length);
/* on_drain is called each time that, after a false, the waiting output fell below half. */
void http_request_on_drain(struct http_request *request, http_on_notice *on_drain, void *ctx);
/* Completes a streamed answer; the request is invalid after it. An answer shorter than the
 * length it announced cuts the connection. */
void http_respond_end(struct http_request *request);
/* Gives up: cuts the connection, so that the client cannot take what it has for complete. The
 * request is invalid after it. on_cancel is not called. */
void http_request_abort(struct http_request *request);

/* ------- upgrade: 101, then bytes both ways, the same over Unix sockets, TCP and TLS ------- */

/* bytes == NULL, length == 0: the peer will send no more (the stream can still be written). */
typedef void http_stream_on_read(
    struct http_stream *stream, const char *bytes, size_t length, void *ctx);
/* Called once with the 101 under way. The callee sets the stream's callbacks. */
typedef void http_on_upgrade(struct http_stream *stream, void *ctx);

/* True when the client asks to upgrade to protocol (Connection: upgrade, Upgrade: protocol). */
bool http_request_wants_upgrade(const struct http_request *request, const char *protocol);
/* Answers 101 and hands the connection over. The request must have asked for it and have no
 * body. The request is invalid after the call; if the client is gone, on_upgrade is still called
 * and the stream closes at once. Bytes the client sent early arrive as the first read. */
void http_respond_upgrade(
    struct http_request *request, const char *protocol, http_on_upgrade *on_upgrade, void *ctx);

/* on_close is called once: the connection broke, or the server is being destroyed; the stream is
 * invalid when it returns. Reading starts when the callbacks are set. */
void http_stream_set_callbacks(struct http_stream *stream, http_stream_on_read *on_read,
    http_on_notice *on_drain, http_on_notice *on_close, void *ctx);
/* As http_respond_write. */
bool http_stream_write(struct http_stream *stream, const void *bytes, size_t length);
void http_stream_pause(struct http_stream *stream);
void http_stream_resume(struct http_stream *stream);
/* Sends what waits and closes; the stream is invalid after it, on_close is not called. */
void http_stream_close(struct http_stream *stream);
const struct http_peer *http_stream_peer(const struct http_stream *stream);

/* ---------------------------------------------------------------- client ---------------- */

/* A blocking connection to one endpoint; one exchange at a time, reconnecting between exchanges
 * when the server closed. For the command line, not for the loop. */
struct http_client;

/* A zero or NULL means the default given in the comment. */
struct http_client_options {
    const char *endpoint; /* "unix:/path", "https://host:port", "http://host:port"; obligatory */
    const char *ca_path;  /* PEM file to trust instead of the system's CAs */
    const char *bearer_token; /* sent as Authorization: Bearer; only over TLS, a Unix socket or
                                 to a loopback address */
    const char *user_agent;   /* "muster" */
    int64_t connect_ms;       /* 10 s, name look-up not counted */
    int64_t io_ms;            /* 60 s without progress; -1: for ever (following a stream) */
    size_t head_bytes_max;    /* 32 KiB */
};

/* Bytes to send next: writes at most `room` to out and returns how many; 0 ends the body, -1
 * (with err filled) gives the exchange up. */
typedef ssize_t http_client_source(void *out, size_t room, void *ctx, struct error *err);
/* A piece of the answer's body. 0 goes on; anything else ends the exchange, which is then a
 * success with `stopped` set. */
typedef int http_client_sink(const void *bytes, size_t length, void *ctx);

struct http_client_request {
    const char *method; /* "GET" */
    const char *target; /* path and query, already percent-encoded (wire/url.h) */
    const struct http_field *fields;
    size_t field_count;
    const void *body; /* with body_length; or */
    size_t body_length;
    http_client_source *source; /* a body of unknown length, sent chunked */
    void *source_ctx;
    http_client_sink *sink; /* NULL: the answer is collected into body, see below */
    void *sink_ctx;
    /* Statuses of 400 and above are collected even when there is a sink, so that it only sees
     * what was asked for. */
    size_t collect_max; /* 16 MiB; ERR_TOO_LARGE past it */
    int64_t io_ms;      /* as in the options; 0: as there */
};

/* Owned by the caller; see http_client_response_finish. */
struct http_client_response {
    int status;
    struct http_field *fields;
    size_t field_count;
    char *body; /* collected, NUL-terminated; never NULL after success */
    size_t body_length;
    bool stopped; /* the sink ended it early */
};

/* Frees what it holds and zeroes it. */
void http_client_response_finish(struct http_client_response *response);
/* The first value of a field of the answer, or NULL. */
const char *http_client_response_header(
    const struct http_client_response *response, const char *name);

/* Checks the options and loads trust; does not connect yet. */
MUST_CHECK int http_client_create(
    const struct http_client_options *options, struct http_client **ret_client, struct error *err);
void http_client_destroy(struct http_client *client); /* NULL is fine */

/* Sends a request and reads its answer. 0 whenever a complete answer came, whatever its status.
 * ERR_UNAVAILABLE: nothing was sent (no connection); ERR_UNKNOWN: sent, but no complete answer
 * came back, so it may or may not have been done; ERR_INVALID: the answer was not HTTP/1.1. */
MUST_CHECK int http_client_exchange(struct http_client *client,
    const struct http_client_request *request, struct http_client_response *ret_response,
    struct error *err);

/* Sends the request (no body) asking to upgrade to protocol. Any other answer than 101 is
 * collected into ret_response and is a success too: look at its status. After a 101 the
 * connection is a stream of bytes, for http_client_read and _write only. */
MUST_CHECK int http_client_upgrade(struct http_client *client,
    const struct http_client_request *request, const char *protocol,
    struct http_client_response *ret_response, struct error *err);
/* Waits up to timeout_ms (-1: for ever) for bytes: their number, 0 at the end of the stream, -1
 * on error; ERR_BUSY when the time passed without any. */
MUST_CHECK ssize_t http_client_read(
    struct http_client *client, void *out, size_t room, int64_t timeout_ms, struct error *err);
/* Writes everything, waiting up to io_ms without progress. */
MUST_CHECK int http_client_write(
    struct http_client *client, const void *bytes, size_t length, struct error *err);
/* No more will be written; reading goes on. */
MUST_CHECK int http_client_end_write(struct http_client *client, struct error *err);
/* For poll() beside other descriptors. Bytes may wait inside (TLS, early bytes): when
 * http_client_pending is true, read without polling first. */
int http_client_fd(const struct http_client *client);
bool http_client_pending(const struct http_client *client);
