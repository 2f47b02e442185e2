/* What the server's own files share; nobody else includes it.
 *
 *   http_server.c   the server: options, draining, statistics, the queue of connections that
 *                   want attention
 *   http_listen.c   listeners and accepting
 *   http_conn.c     one connection: bytes, deadlines, life and end
 *   http_steps.c    its states, and the calling of callbacks
 *   http_request.c  what was asked, and asking for the body
 *   http_answer.c   answers
 *   http_stream.c   upgraded connections
 *   http_spares.c   memory that connections between requests do without
 *   http2_session.c, http2_stream.c, http2_answer.c
 *                   HTTP/2: a connection that carries streams, each of which is a connection
 *                   without a socket (see http2.h)
 *
 * Public calls only note what is wanted and queue the connection (conn_attend); conn_service,
 * called from the loop, does it. That is how no callback is ever called from inside a call. */
#pragma once

#include "wire/http.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "wire/http_body.h"
#include "wire/http_buffer.h"
#include "wire/http_head_memo.h"
#include "wire/http_parse.h"
#include "wire/http_peers.h"
#include "wire/http_socket.h"
#include "wire/http_spares.h"
#include "wire/http_unpack.h"
#include "wire/watcher.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>

enum {
    DISCARD_BYTES_MAX = 64 * 1024, /* of a body nobody asked for, to keep the connection */
    /* Read and dropped after our last byte. More than any body that is taken, because a client
     * whose body is a little too large must get to the end of it and read why it is refused. */
    LINGER_BYTES_MAX = 4 * 1024 * 1024,
    LINGER_MS = 2000,
    PROGRESS_BYTES_PER_S = 1024, /* slower bodies and readers use up their time */
    QUERY_PARAMETERS_MAX = 64,
    ROW = 32, /* connections that wait for attention: many */
};

enum conn_state {
    CONN_HANDSHAKE, /* TLS */
    CONN_HEAD,      /* between requests, or receiving a head */
    CONN_REQUEST,   /* a request is with the handler; its body may be arriving */
    CONN_DISCARD,   /* answered; the rest of the body is dropped */
    CONN_STREAM,    /* upgraded */
    CONN_HTTP2,     /* carries streams of HTTP/2: see http2.h */
    CONN_SENT,      /* a stream of HTTP/2: answered, which is still to be taken */
    CONN_LINGER,    /* sending the last bytes, then waiting for the peer to close */
    CONN_DEAD,      /* closed; freed when no request or stream refers to it any more */
};

/* What the peer has to do before the read deadline. */
enum conn_wait { WAIT_NOTHING, WAIT_HANDSHAKE, WAIT_IDLE, WAIT_HEAD, WAIT_BODY, WAIT_LINGER };

enum answer_state { ANSWER_NONE, ANSWER_BEGUN, ANSWER_COMPLETE };
enum body_mode { BODY_UNASKED, BODY_COLLECT, BODY_PIECES };

struct http_request {
    bool open; /* between the handler's call and its complete answer or its cancellation */
    const char *method;
    const char *path;
    const char *target;
    struct http_field *fields;
    size_t field_count;
    /* Where the first field of each name is, from 1; 0: there is none. */
    unsigned char first[HTTP_NAMES];
    struct http_field *parameters;
    size_t parameter_count;
    void *data;

    enum body_mode body_mode;
    bool body_paused;
    bool body_delivered; /* on_body was called, or on_piece with the end */
    size_t body_limit;
    uint64_t body_bytes; /* received */
    struct strbuf collected;
    struct http_unpack *unpack; /* NULL: the body is handed over as it comes */
    size_t packed_bytes;        /* of content, at the beginning of the input, not unpacked yet */
    http_on_body *on_body;
    http_on_piece *on_piece;
    void *body_ctx;

    enum answer_state answer;
    bool is_head; /* the method is HEAD: no body in the answer */
    bool answer_chunked;
    bool answer_counted; /* answer_left is what is still owed of Content-Length */
    bool answer_void;    /* a 500 was sent instead; what is written is dropped */
    uint64_t answer_left;
    bool close_after;
    bool aborted;
    bool wants_drain; /* a write asked the handler to wait */
    http_on_notice *on_cancel, *on_drain;
    void *cancel_ctx, *drain_ctx;
    http_on_upgrade *on_upgrade;
    void *upgrade_ctx;
};

struct http_stream {
    bool open;
    bool paused, end_delivered, wants_drain;
    http_stream_on_read *on_read;
    http_on_notice *on_drain, *on_close;
    void *ctx;
};

struct http_conn {
    LIST_ENTRY(http_conn) link;
    TAILQ_ENTRY(http_conn) attention;
    bool attention_queued;
    bool in_service;

    struct http_server *server;
    struct http_socket socket;
    struct http_peer peer;
    struct http_peer_entry *peer_entry;
    enum conn_state state;
    bool readable;   /* a read may bring something */
    bool read_ahead; /* what is about to be told was read */
    bool peer_ended; /* an end follows the bytes that are there */
    bool input_ended;
    bool write_blocked;
    bool write_ended;
    bool continue_due; /* the client waits for 100 Continue */
    bool used;         /* a request came: it is no longer at its beginning */

    struct http_buffer input;
    struct http_buffer output;
    struct watch watch;
    struct event write_event, timer;
    bool writing;
    int64_t timer_ms; /* when the timer fires; 0: not armed */
    enum conn_wait wait;
    int64_t read_deadline_ms;  /* 0: none */
    int64_t write_deadline_ms; /* 0: none */
    uint64_t lingered_bytes;

    struct arena *arena; /* NULL between requests, as are the buffers: see http_spares.c */
    struct http_head_parser parser;
    struct http_head_hint hint; /* its last head */
    bool parsing;               /* the parser holds the beginning of a head */
    struct http_body body;
    struct http_request request; /* one at a time: pipelined ones wait in input */
    struct http_stream stream;

    struct http2_session *session; /* NULL unless it carries HTTP/2 */
    struct http2_stream *carried;  /* NULL unless it is a stream of HTTP/2: no socket of its own */
};

static inline struct http_conn *request_conn(const struct http_request *request)
{
    return (struct http_conn *)((char *)request - offsetof(struct http_conn, request));
}

static inline struct http_conn *stream_conn(const struct http_stream *stream)
{
    return (struct http_conn *)((char *)stream - offsetof(struct http_conn, stream));
}

/* The handler waits for more of the body. */
static inline bool body_is_wanted(const struct http_request *request)
{
    return request->body_mode != BODY_UNASKED && !request->body_delivered && !request->body_paused;
}

struct http_listener;

struct http_server {
    struct event_base *base;
    struct http_server_options options;
    struct http_head_limits head_limits;
    size_t input_max;            /* bytes an input buffer may hold */
    struct strbuf common_fields; /* as they are sent */
    LIST_HEAD(, http_listener) listeners;
    LIST_HEAD(, http_conn) conns;
    TAILQ_HEAD(, http_conn) attention;
    size_t attention_count;
    struct event wake;
    struct watcher watcher;
    struct http_peers *peers;
    size_t unpack_bytes;            /* held by the decoders of all requests */
    struct http_server_stats stats; /* what is counted as it happens */
    int64_t date_s;
    char date[32];
    struct strbuf start; /* the first lines of answers with a status, in a second */
    int start_status;
    int64_t start_s;
    char *scratch; /* where reads land first */
    struct http_spares spares;
    struct http_field_slice *slices; /* of the head that is being parsed; head_limits.field_count */
    struct http_head_memo *heads;    /* that came before */
    bool draining;
    bool retiring; /* draining, and idle connections are left to ask once more */
    bool drained;
    struct event drain_timer;
    http_on_notice *on_drained;
    void *drained_ctx;
};

enum { SCRATCH_BYTES = 64 * 1024 };

/* Enough waits to be sent that nothing more should be made. */
static inline bool output_is_high(const struct http_conn *conn)
{
    return http_buffer_length(&conn->output) >= conn->server->options.output_bytes_high;
}

/* So little waits that who was told to wait may go on. */
static inline bool output_is_low(const struct http_conn *conn)
{
    return http_buffer_length(&conn->output) <= conn->server->options.output_bytes_high / 2;
}

/* http_server.c */
int64_t http_now_ms(void);
/* Wakes the loop to look at draining. */
void http_server_wake(struct http_server *server);
/* Has the connections that want attention served, by the loop if not by http_server_serve. */
void http_server_wake_row(struct http_server *server);

/* http_listen.c */
void http_listeners_close(struct http_server *server);

/* http_conn.c */
/* Takes over fd. */
void conn_create(struct http_server *server, int fd, const struct http_peer *peer,
    struct http_peer_entry *entry, struct tls_server *tls);
/* Has conn_service called from the loop, unless it is being called. */
void conn_attend(struct http_conn *conn);
/* Prepares what every connection has, with or without a socket. */
void conn_init(struct http_conn *conn, struct http_server *server);
/* Does everything that can be done now. May free conn. */
void conn_service(struct http_conn *conn);
/* Sends what waits; true when bytes went out: what waited for that may go on. Not of a stream. */
bool conn_flush(struct http_conn *conn);
/* Closes now; what is open is cancelled. Frees conn even if a request is still unanswered. */
void conn_destroy(struct http_conn *conn);
/* Closes now; what is open is cancelled. conn is freed by the next service. */
void conn_kill(struct http_conn *conn);

/* No further requests: what waits to be sent is sent, then the connection ends. */
void conn_linger(struct http_conn *conn);
/* Gives up on what the client sends: says why if it still can, cancels, and lingers. */
void conn_refuse(struct http_conn *conn, const struct http_fault *fault);
/* True when closing the connection now takes nothing from anybody. */
bool conn_is_idle(const struct http_conn *conn);

/* http_conn_time.c */
/* Bytes of a body came, or of an answer were taken: there is more time for the rest. */
void conn_received(struct http_conn *conn, size_t bytes);
void conn_sent(struct http_conn *conn, size_t bytes);
/* What is waited for now, and the timer. */
void conn_deadlines_update(struct http_conn *conn);
/* Of the connection's timer. */
void conn_on_timer(int fd, short what, void *ctx);

/* http_steps.c */
/* Takes one step. False when nothing can be done until something happens. */
bool conn_step(struct http_conn *conn);

/* http_request.c */
/* Makes the request from the head that was parsed. NULL, or what is wrong with its target. */
const struct http_fault *request_init(struct http_request *request, const char *head);
void request_finish(struct http_request *request);
/* Prepares to unpack the body, if it is packed. False: its coding is not known here. */
bool request_unpack(struct http_request *request);

/* http_answer.c */
/* Writes what the server itself refuses, in the shape that the request's path asks for while it is
 * open. Returns its Content-Type. */
struct http_field answer_refusal(
    const struct http_conn *conn, int status, const char *detail, struct strbuf *out);
/* Answers with it. The connection is to close after it. */
void answer_fault(
    struct http_conn *conn, int status, struct http_field type, const struct strbuf *body);
void answer_throttled(struct http_conn *conn, uint32_t retry_after_s);
void answer_packed(struct http_conn *conn);
/* The value of Date, the same text for a second. */
const char *answer_date(struct http_server *server);
/* True when the rest of the body is short enough to be read and dropped. */
bool answer_can_discard(const struct http_conn *conn);

/* http_stream.c */
void stream_begin(struct http_conn *conn);

/* http2_session.c */
/* From here on the connection speaks HTTP/2; what it has received is of that protocol. */
void http2_begin(struct http_conn *conn);
/* Whether what came first is how HTTP/2 begins, so far as it is there. */
bool http2_greets(const struct http_conn *conn);
/* The step of a connection that carries HTTP/2. */
bool http2_step(struct http_conn *conn);
/* What its peer has to do next. */
enum conn_wait http2_awaits(const struct http_conn *conn);
/* Says GOAWAY and ends: nothing came for too long, or a head in drips. */
void http2_end(struct http_conn *conn, bool late);
/* Says GOAWAY; what is under way, or on its way, is answered. */
void http2_drain(struct http_conn *conn);
/* The connection is gone: its streams go with it. */
void http2_break(struct http_conn *conn);
void http2_free(struct http_conn *conn); /* the session; fine without one */

/* http2_stream.c: conn is a stream */
/* Looks whether the stream was closed, which ends the connection that stands for it. */
void http2_stream_look(struct http_conn *conn);
/* Passes on what was consumed and what is to be sent. */
void http2_stream_sync(struct http_conn *conn);
/* How its body is framed: by END_STREAM where no length was announced. */
void http2_stream_frame(struct http_conn *conn);
/* Whether the body has come to its end. */
bool http2_stream_ended(const struct http_conn *conn);
/* Whether it is answered in full, and the rest of its body is still to come. */
bool http2_stream_lingers(const struct http_conn *conn);
/* Leaves the session, which resets the stream if it is open. */
void http2_stream_leave(struct http_conn *conn);
void http2_stream_free(struct http_conn *conn); /* with conn itself */

/* http2_answer.c: conn is a stream */
/* The head of an answer; length -1: unknown. ends: nothing follows. */
void http2_put_head(struct http_conn *conn, int status, const struct http_field *fields,
    size_t field_count, int64_t length, bool ends);
void http2_put_continue(struct http_conn *conn);
