/* What the files of HTTP/2 share; nobody else includes it. Framing, HPACK and the state of streams
 * are libnghttp2's; who may ask what, how much and how fast is decided here.
 *
 *     http_conn (socket, CONN_HTTP2)  <->  http2_session  <->  nghttp2_session
 *          ^                                    |
 *          | bytes                      http2_stream (many): an http_conn without a socket
 *
 * A stream stands as an http_conn of its own, whose input is filled with its head and the content
 * of its DATA frames, and whose output is taken for DATA frames. So everything above (requests,
 * bodies, pauses, answers, deadlines, cancelling) is that of HTTP/1.1, and so are the checks: the
 * head is written out as one of HTTP/1.1 and parsed by http_parse.
 *
 *   http2_session.c  the connection: bytes, limits of what a peer may cost, life and end
 *   http2_head.c     a head as its fields arrive
 *   http2_stream.c   a stream: what comes
 *   http2_answer.c   what goes
 *
 * Invariants:
 *  1. The library's callbacks fill buffers, note what happened and queue connections; they call no
 *     handler and kill no connection.
 *  2. stream->session is NULL exactly when the library does not know the stream any more (closed)
 *     or was told to forget it (left).
 *  3. A connection holds at most HTTP2_WINDOW_BYTES of bodies that nobody took, whatever the number
 *     of its streams: that is its window, which is opened again by what is taken. */
#pragma once

#include "wire/http_internal.h"

#include <nghttp2/nghttp2.h>

enum {
    HTTP2_STREAMS_MAX = 100,
    HTTP2_STREAM_WINDOW_BYTES = 256 * 1024,
    HTTP2_WINDOW_BYTES = 1024 * 1024,
    HTTP2_SMALL_BYTES = 16, /* a DATA frame with less content brings nothing worth its frame */
};

/* A head while its fields arrive. */
struct http2_head {
    struct strbuf method, path, authority, scheme, host, cookie;
    struct strbuf fields; /* the others, as lines of HTTP/1.1 */
    size_t bytes;
    const struct http_fault *fault; /* NULL: fine so far */
};

/* Fields of the head, one by one and as the library gives them. bytes_max: of all together. */
void http2_head_add(struct http2_head *head, const char *name, size_t name_length,
    const char *value, size_t value_length, size_t bytes_max);
/* Writes the head as one of HTTP/1.1, or says what is wrong. */
const struct http_fault *http2_head_write(
    struct http2_head *head, bool is_tls, struct http_buffer *out);
void http2_head_finish(struct http2_head *head);

struct http2_stream {
    struct http_conn conn; /* first: they are one allocation */
    LIST_ENTRY(http2_stream) link;
    struct http2_session *session;
    int32_t id;
    struct http2_head *head; /* until it is complete */
    size_t unconsumed;       /* of DATA, held here and in the peer's windows */
    bool ended;              /* END_STREAM came */
    bool bodyless;           /* it came with the head */
    bool told;               /* END_STREAM went: the answer is complete on the wire */
    size_t dropped;          /* of DATA that came after the answer */
    bool deferred;           /* the library asked for output, and there was none */
};

/* What a peer may do so often: a bucket that fills by time and by what is worth something. */
struct http2_allowance {
    int64_t left_milli;
    int64_t filled_ms;
};

struct http2_session {
    struct http_conn *conn;
    nghttp2_session *library;
    LIST_HEAD(, http2_stream) streams;
    size_t stream_count;
    struct http2_allowance frames; /* that bring nothing */
    struct http2_allowance resets; /* streams that ended before they were answered */
    size_t head_bytes;             /* received since the head began that is not complete */
    int32_t head_stream;           /* whose it is; 0: none */
    bool greeted;                  /* its SETTINGS came */
    bool too_much;                 /* an allowance or a bound is used up */
    bool ending;                   /* GOAWAY was said, and no stream is taken any more */
};

/* http2_session.c */
/* A stream has ended; answered: in full. */
void http2_session_ended(struct http2_session *session, bool answered);

/* http2_stream.c: called by the library's callbacks */
void http2_stream_create(struct http2_session *session, int32_t id);
void http2_stream_head(struct http2_stream *stream, bool ends);
void http2_stream_data(struct http2_stream *stream, const void *bytes, size_t length);
void http2_stream_closed(struct http2_stream *stream);
