/* The steps of a connection: what can be done next in each state. Each step handles one thing (a
 * handshake, a head, a piece of a body, a notice) and returns true when it did something and more
 * may be possible. conn_service (http_conn.c) takes them, and it alone: callbacks are called from
 * here, one at a time, and what they ask for is done by later steps.
 *
 *     HANDSHAKE -> HEAD -> REQUEST -> HEAD (kept alive), with DISCARD between when a body is left
 *                  REQUEST -> STREAM (upgraded)
 *     HANDSHAKE or HEAD -> HTTP2, which carries streams, each: HEAD -> REQUEST -> SENT -> DEAD
 *     any -> LINGER (no more requests) -> DEAD */
#include "wire/http_internal.h"

enum { UNPACK_BYTES = 16 * 1024 }; /* unpacked in a step */

static const struct http_fault fault_body_large = {413, "the request's body is too large"};
static const struct http_fault fault_body_cut = {400, "the request's body ends before it is whole"};

static bool step_handshake(struct http_conn *conn)
{
    enum tls_need need;
    int done = tls_session_handshake(conn->socket.tls, &need, NULL);
    if (done < 0)
        conn_kill(conn);
    else if (done == 0 && need == TLS_NEED_WRITE)
        conn->write_blocked = true;
    else if (done == 1 && tls_session_chose_http2(conn->socket.tls))
        http2_begin(conn);
    else if (done == 1)
        conn->state = CONN_HEAD;
    conn->readable = done == 1;
    return done == 1;
}

/* The next request's first byte. */
static void head_begin(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    if (!conn->arena)
        conn->arena = spares_arena(&server->spares);
    spares_buffer(&server->spares, &conn->output);
    http_head_parser_init(&conn->parser, HTTP_REQUEST, &server->head_limits, server->slices);
    conn->parsing = true;
}

/* The head has not come whole: what the server's array holds of it would be lost. */
static void slices_keep(struct http_conn *conn)
{
    struct http_head *head = &conn->parser.head;
    const struct http_server *server = conn->server;
    if (head->fields != server->slices)
        return;
    head->fields = arena_alloc(conn->arena, server->head_limits.field_count, sizeof *head->fields);
    memcpy(head->fields, server->slices, head->field_count * sizeof *head->fields);
}

static bool rate_allows(struct http_conn *conn)
{
    if (conn->peer.is_unix || conn->server->options.requests_per_s == 0)
        return true;
    uint32_t retry_after_s = http_peers_take(conn->server->peers, conn->peer_entry, http_now_ms());
    if (retry_after_s == 0)
        return true;
    conn->server->stats.throttled++;
    const struct http_server_options *options = &conn->server->options;
    if (options->throttled)
        options->throttled(&conn->request, retry_after_s, options->ctx);
    else
        answer_throttled(conn, retry_after_s);
    return false;
}

static void request_begin(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    const struct http_head *head = &conn->parser.head;
    struct http_request *request = &conn->request;
    const struct http_fault *fault = request_init(request, http_buffer_bytes(&conn->input));
    http_buffer_consume(&conn->input, head->bytes);
    if (conn->carried)
        http2_stream_frame(conn);
    http_body_init(&conn->body, head->framing, head->content_length);
    conn->continue_due = head->expect_continue && head->framing != HTTP_BODY_NONE;
    conn->wait = WAIT_NOTHING; /* whatever is waited for next, its time begins now */
    if (fault) {
        conn_refuse(conn, fault);
        return;
    }
    conn->state = CONN_REQUEST;
    request->open = true;
    server->stats.requests_open++;
    if (!rate_allows(conn))
        return;
    if (server->options.unpack_bodies && head->framing != HTTP_BODY_NONE &&
        !request_unpack(request)) {
        answer_packed(conn);
        return;
    }
    server->stats.requests++;
    server->options.handler(request, server->options.ctx);
}

/* A stream of HTTP/2 has one head: there is none before it. */
static enum http_parse_result head_parse(struct http_conn *conn, size_t length)
{
    const char *bytes = http_buffer_bytes(&conn->input);
    if (conn->carried)
        return http_head_parse(&conn->parser, bytes, length);
    return http_head_memo_parse(conn->server->heads, &conn->hint, &conn->parser, bytes, length);
}

static bool step_head(struct http_conn *conn)
{
    size_t length = http_buffer_length(&conn->input);
    if (length == 0 || output_is_high(conn))
        return false;
    if (!conn->parsing)
        head_begin(conn);
    switch (head_parse(conn, length)) {
    case HTTP_PARSE_MORE: slices_keep(conn); return false;
    case HTTP_PARSE_FAULT:
        if (http2_greets(conn))
            http2_begin(conn);
        else
            conn_refuse(conn, conn->parser.fault);
        return true;
    default: request_begin(conn); return true;
    }
}

static void body_deliver(struct http_conn *conn, const char *bytes, size_t length)
{
    struct http_request *request = &conn->request;
    if (request->body_mode == BODY_COLLECT)
        strbuf_append(&request->collected, bytes, length);
    else
        request->on_piece(request, bytes, length, request->body_ctx);
}

static void body_end(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    request->body_delivered = true;
    if (request->body_mode == BODY_COLLECT)
        request->on_body(request, strbuf_text(&request->collected), request->collected.length,
            request->body_ctx);
    else
        request->on_piece(request, NULL, 0, request->body_ctx);
}

/* The client waits with its body until it hears that it is wanted. */
static void continue_send(struct http_conn *conn)
{
    if (conn->carried)
        http2_put_continue(conn);
    else if (http_buffer_length(&conn->input) == 0 && !conn->body.complete)
        http_buffer_puts(&conn->output, "HTTP/1.1 100 Continue\r\n\r\n");
    conn->continue_due = false;
}

static bool body_too_large(const struct http_conn *conn, size_t more)
{
    const struct http_request *request = &conn->request;
    uint64_t announced =
        conn->body.framing == HTTP_BODY_LENGTH ? conn->parser.head.content_length : 0;
    return request->body_bytes + more > request->body_limit || announced > request->body_limit;
}

/* As much of the body as the framing gives, left at the beginning of the input. */
static enum http_parse_result packed_next(struct http_conn *conn)
{
    size_t used, piece;
    enum http_parse_result result = http_body_next(&conn->body, http_buffer_bytes(&conn->input),
        http_buffer_length(&conn->input), &used, &piece);
    if (result == HTTP_PARSE_FAULT)
        return result;
    http_buffer_consume(&conn->input, used - piece);
    conn->request.packed_bytes = piece;
    return conn->carried && piece == 0 && http2_stream_ended(conn) ? HTTP_PARSE_DONE : result;
}

/* One piece of a packed body, unpacked, or its end. */
static bool step_packed(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    char out[UNPACK_BYTES];
    size_t taken, made, held = http_buffer_length(&conn->input);
    enum http_parse_result result = request->packed_bytes ? HTTP_PARSE_MORE : packed_next(conn);
    const struct http_fault *fault =
        result == HTTP_PARSE_FAULT
            ? conn->body.fault
            : http_unpack_step(request->unpack, http_buffer_bytes(&conn->input),
                  request->packed_bytes, out, sizeof out, &taken, &made);
    if (!fault && body_too_large(conn, made))
        fault = &fault_body_large;
    bool ends = !fault && result == HTTP_PARSE_DONE && taken == 0 && made == 0;
    if (ends && !http_unpack_is_whole(request->unpack))
        fault = &fault_body_cut;
    if (fault) {
        conn_refuse(conn, fault);
        return true;
    }
    http_buffer_consume(&conn->input, taken);
    request->packed_bytes -= taken;
    request->body_bytes += made;
    bool moved = http_buffer_length(&conn->input) < held;
    if (made > 0)
        body_deliver(conn, out, made);
    else if (ends)
        body_end(conn);
    return moved || made > 0 || ends;
}

/* One piece of the body, or its end. */
static bool step_body(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    size_t used, piece;
    if (body_too_large(conn, 0)) {
        conn_refuse(conn, &fault_body_large);
        return true;
    }
    if (conn->continue_due)
        continue_send(conn);
    if (request->unpack)
        return step_packed(conn);
    const char *bytes = http_buffer_bytes(&conn->input);
    enum http_parse_result result =
        http_body_next(&conn->body, bytes, http_buffer_length(&conn->input), &used, &piece);
    if (result == HTTP_PARSE_FAULT || body_too_large(conn, piece)) {
        conn_refuse(conn, conn->body.fault ? conn->body.fault : &fault_body_large);
        return true;
    }
    request->body_bytes += piece;
    if (piece > 0)
        body_deliver(conn, bytes + used - piece, piece);
    http_buffer_consume(&conn->input, used);
    if (conn->carried && piece == 0 && http2_stream_ended(conn))
        result = HTTP_PARSE_DONE;
    /* A callback may have paused, or answered: the end is then a step of its own. */
    if (result == HTTP_PARSE_DONE && piece == 0 && body_is_wanted(request)) {
        body_end(conn);
        return true;
    }
    return used > 0 || result == HTTP_PARSE_DONE;
}

/* What was said so far goes out, as far as it goes at once; that it is not all shows by the end. */
static void conn_cut(struct http_conn *conn)
{
    if (!conn->carried)
        (void)conn_flush(conn);
    conn_kill(conn);
}

/* The answer is complete: what becomes of the connection? */
static void request_complete(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    bool rest = !conn->body.complete;
    bool close = request->close_after || (rest && !answer_can_discard(conn));
    bool upgraded = request->on_upgrade && !request->aborted;
    if (conn->state != CONN_DEAD)
        http_buffer_consume(&conn->input, request->packed_bytes);
    request->open = false;
    conn->server->stats.requests_open--;
    conn->parsing = false;
    conn->used = true;
    if (conn->state == CONN_DEAD)
        ;
    else if (request->aborted)
        conn_cut(conn);
    else if (upgraded)
        conn->state = CONN_STREAM;
    else if (close || conn->carried)
        conn_linger(conn);
    else
        conn->state = rest ? CONN_DISCARD : CONN_HEAD;
    if (upgraded)
        stream_begin(conn);
    request_finish(request);
    arena_reset(conn->arena);
}

/* The handler was asked to wait, and need not any more. */
static bool step_drained(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    if (!request->wants_drain || !output_is_low(conn))
        return false;
    request->wants_drain = false;
    if (request->on_drain)
        request->on_drain(request->drain_ctx);
    return true;
}

static bool step_request(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    if (request->answer == ANSWER_COMPLETE) {
        request_complete(conn);
        return true;
    }
    if (body_is_wanted(request) && step_body(conn))
        return true;
    return step_drained(conn);
}

static bool step_discard(struct http_conn *conn)
{
    size_t used, piece;
    enum http_parse_result result = http_body_next(&conn->body, http_buffer_bytes(&conn->input),
        http_buffer_length(&conn->input), &used, &piece);
    if (result == HTTP_PARSE_FAULT) {
        conn_linger(conn);
        return true;
    }
    http_buffer_consume(&conn->input, used);
    if (result == HTTP_PARSE_DONE)
        conn->state = CONN_HEAD;
    return used > 0 || result == HTTP_PARSE_DONE;
}

static bool step_stream(struct http_conn *conn)
{
    struct http_stream *stream = &conn->stream;
    size_t length = http_buffer_length(&conn->input);
    if (!stream->open) {
        conn_linger(conn);
        return true;
    }
    if (stream->on_read && !stream->paused && length > 0) {
        stream->on_read(stream, http_buffer_bytes(&conn->input), length, stream->ctx);
        if (conn->state != CONN_DEAD)
            http_buffer_consume(&conn->input, length);
        return true;
    }
    if (stream->on_read && !stream->paused && conn->input_ended && !stream->end_delivered) {
        stream->end_delivered = true;
        stream->on_read(stream, NULL, 0, stream->ctx);
        return true;
    }
    if (stream->wants_drain && output_is_low(conn)) {
        stream->wants_drain = false;
        if (stream->on_drain)
            stream->on_drain(stream->ctx);
        return true;
    }
    return false;
}

static bool step_linger(struct http_conn *conn)
{
    if (http_buffer_length(&conn->output) > 0)
        return false;
    if (!conn->write_ended)
        http_socket_end_write(&conn->socket);
    conn->write_ended = true;
    if (conn->input_ended)
        conn_kill(conn);
    return false;
}

/* A request that outlived its connection: its answer is taken and dropped. */
static bool step_dead(struct http_conn *conn)
{
    if (!conn->request.open)
        return false;
    if (conn->request.answer != ANSWER_COMPLETE)
        return step_drained(conn);
    request_complete(conn);
    return true;
}

/* The session takes what waits, and closes the stream. */
static bool step_sent(struct http_conn *conn)
{
    (void)conn;
    return false;
}

static bool (*const steps[])(struct http_conn *conn) = {
    [CONN_HANDSHAKE] = step_handshake,
    [CONN_HEAD] = step_head,
    [CONN_REQUEST] = step_request,
    [CONN_DISCARD] = step_discard,
    [CONN_STREAM] = step_stream,
    [CONN_HTTP2] = http2_step,
    [CONN_SENT] = step_sent,
    [CONN_LINGER] = step_linger,
    [CONN_DEAD] = step_dead,
};

bool conn_step(struct http_conn *conn)
{
    return steps[conn->state](conn);
}
