/* A stream of HTTP/2 as a connection without a socket: see http2.h. What comes is put into its
 * input by the library's callbacks and handled when the loop comes to it, as any connection's. */
#include "wire/http2.h"

#include <string.h>

static const struct http_fault fault_length = {
    400, "the body has another length than Content-Length says"};

/* ------- life ------- */

void http2_stream_create(struct http2_session *session, int32_t id)
{
    struct http2_stream *stream = mem_alloc(1, sizeof *stream);
    struct http_conn *conn = &stream->conn, *carrier = session->conn;
    conn_init(conn, carrier->server);
    conn->carried = stream;
    conn->peer = carrier->peer;
    conn->peer_entry = carrier->peer_entry; /* borrowed: the carrier counts */
    conn->state = CONN_HEAD;
    conn->socket.fd = -1;
    conn->write_blocked = true; /* nothing is written to a socket */
    stream->session = session;
    stream->id = id;
    stream->head = mem_alloc(1, sizeof *stream->head);
    LIST_INSERT_HEAD(&session->streams, stream, link);
    session->stream_count++;
    (void)nghttp2_session_set_stream_user_data(session->library, id, stream);
}

static void head_drop(struct http2_stream *stream)
{
    if (!stream->head)
        return;
    http2_head_finish(stream->head);
    free(stream->head);
    stream->head = NULL;
}

/* Out of the session's list; what it holds no longer counts against the connection's window. */
static void detach(struct http2_stream *stream)
{
    struct http2_session *session = stream->session;
    LIST_REMOVE(stream, link);
    session->stream_count--;
    stream->session = NULL;
    (void)nghttp2_session_consume_connection(session->library, stream->unconsumed);
    stream->unconsumed = 0;
    head_drop(stream);
}

void http2_stream_closed(struct http2_stream *stream)
{
    struct http2_session *session = stream->session;
    struct http_conn *conn = &stream->conn;
    bool answered = conn->state == CONN_SENT || conn->request.answer == ANSWER_COMPLETE;
    detach(stream);
    http2_session_ended(session, answered);
    conn_attend(conn);
}

void http2_stream_leave(struct http_conn *conn)
{
    struct http2_stream *stream = conn->carried;
    struct http2_session *session = stream->session;
    if (!session)
        return;
    uint32_t code = conn->request.aborted ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_CANCEL;
    if (stream->told)
        code = NGHTTP2_NO_ERROR;
    (void)nghttp2_session_set_stream_user_data(session->library, stream->id, NULL);
    (void)nghttp2_submit_rst_stream(session->library, NGHTTP2_FLAG_NONE, stream->id, code);
    detach(stream);
    conn_attend(session->conn);
}

void http2_stream_free(struct http_conn *conn)
{
    head_drop(conn->carried);
    free(conn->carried);
}

void http2_stream_look(struct http_conn *conn)
{
    if (!conn->carried->session)
        conn_kill(conn);
}

/* ------- what comes ------- */

void http2_stream_head(struct http2_stream *stream, bool ends)
{
    struct http_conn *conn = &stream->conn;
    stream->ended = stream->bodyless = ends;
    const struct http_fault *fault =
        http2_head_write(stream->head, conn->peer.is_tls, &conn->input);
    head_drop(stream);
    if (fault)
        conn_refuse(conn, fault);
    conn_attend(conn);
}

void http2_stream_data(struct http2_stream *stream, const void *bytes, size_t length)
{
    struct http_conn *conn = &stream->conn;
    stream->unconsumed += length;
    /* Once it is answered nobody wants the rest. */
    if (conn->state == CONN_HEAD || conn->state == CONN_REQUEST) {
        http_buffer_append(&conn->input, bytes, length);
        conn_received(conn, length);
    } else {
        stream->dropped += length;
    }
    conn_attend(conn);
}

bool http2_stream_lingers(const struct http_conn *conn)
{
    return conn->carried->told && !conn->carried->ended;
}

void http2_stream_frame(struct http_conn *conn)
{
    struct http_head *head = &conn->parser.head;
    if (head->framing == HTTP_BODY_NONE && !conn->carried->bodyless)
        head->framing = HTTP_BODY_UNTIL_CLOSE;
}

bool http2_stream_ended(const struct http_conn *conn)
{
    return conn->body.framing == HTTP_BODY_UNTIL_CLOSE && conn->carried->ended &&
           http_buffer_length(&conn->input) == 0;
}

/* ------- what the session has to know ------- */

/* The input begins with the head until it is parsed; all behind it is content. */
static void consume(struct http2_stream *stream)
{
    size_t held = http_buffer_length(&stream->conn.input);
    if (held >= stream->unconsumed)
        return;
    struct http2_session *session = stream->session;
    size_t taken = stream->unconsumed - held;
    /* What comes after the answer finds the stream's window as it is, and then shut. */
    if (stream->conn.state == CONN_SENT)
        (void)nghttp2_session_consume_connection(session->library, taken);
    else
        (void)nghttp2_session_consume(session->library, stream->id, taken);
    stream->unconsumed = held;
    conn_attend(session->conn);
}

/* A body that ended short of what its head said cannot become complete. */
static bool is_short(const struct http2_stream *stream)
{
    const struct http_conn *conn = &stream->conn;
    return conn->state == CONN_REQUEST && stream->ended && !conn->body.complete &&
           conn->request.body_mode != BODY_UNASKED && conn->body.framing == HTTP_BODY_LENGTH &&
           http_buffer_length(&conn->input) == 0;
}

void http2_stream_sync(struct http_conn *conn)
{
    struct http2_stream *stream = conn->carried;
    if (is_short(stream))
        conn_refuse(conn, &fault_length);
    if (conn->state == CONN_SENT)
        http_buffer_consume(&conn->input, http_buffer_length(&conn->input));
    if (!stream->session || conn->state == CONN_DEAD)
        return;
    consume(stream);
    /* Answered before its body was here (RFC 9113, 8.1): a short rest is let come to its end, since
     * clients take a reset for a failure while they send. */
    if (http2_stream_lingers(conn) && stream->dropped > DISCARD_BYTES_MAX) {
        conn_kill(conn);
        return;
    }
    if (stream->deferred && (http_buffer_length(&conn->output) > 0 || conn->state == CONN_SENT)) {
        stream->deferred = false;
        (void)nghttp2_session_resume_data(stream->session->library, stream->id);
    }
    conn_attend(stream->session->conn);
}
