/* A connection that carries HTTP/2: bytes to and from the library, what a peer may cost, and how it
 * ends. See http2.h.
 *
 * What each peer may do is bounded twice. The library bounds the frames of one head, settings,
 * answers to pings that wait, streams at once. Here are two buckets: of frames that bring nothing
 * (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM, unknown ones, DATA next to empty), filled
 * by time, by requests and by what we sent; and of streams that end before they are answered,
 * whoever reset them, filled by time and by those which were answered. Who overdraws one gets
 * GOAWAY with ENHANCE_YOUR_CALM. Input is not looked at while output_bytes_high wait to be sent, so
 * nobody makes us answer who does not read. */
#include "wire/http2.h"

#include <string.h>

#define GREETING "PRI * HTTP/2.0\r\n"

struct rate {
    int64_t most, per_s;
};

enum { FRAMES_A_REQUEST = 20, FRAMES_A_DATA = 4, HEAD_TIMES = 2 };

static const struct rate rate_frames = {1000, 100};
static const struct rate rate_resets = {200, 20};

/* ------- allowances ------- */

static void allowance_add(
    struct http2_allowance *allowance, const struct rate *rate, int64_t added_milli)
{
    int64_t most = rate->most * 1000;
    allowance->left_milli += added_milli;
    allowance->left_milli = allowance->left_milli < most ? allowance->left_milli : most;
}

/* False when it was used up. */
static bool allowance_take(struct http2_allowance *allowance, const struct rate *rate)
{
    int64_t now_ms = http_now_ms();
    allowance_add(allowance, rate, (now_ms - allowance->filled_ms) * rate->per_s);
    allowance->filled_ms = now_ms;
    if (allowance->left_milli < 1000)
        return false;
    allowance->left_milli -= 1000;
    return true;
}

static void count_frame(struct http2_session *session)
{
    session->too_much |= !allowance_take(&session->frames, &rate_frames);
}

void http2_session_ended(struct http2_session *session, bool answered)
{
    if (answered)
        allowance_add(&session->resets, &rate_resets, 1000);
    else
        session->too_much |= !allowance_take(&session->resets, &rate_resets);
}

/* ------- the library's callbacks ------- */

static struct http2_stream *stream_of(nghttp2_session *library, int32_t id)
{
    return id > 0 ? nghttp2_session_get_stream_user_data(library, id) : NULL;
}

/* Of every frame but CONTINUATION, before its payload. */
static int on_begin_frame(nghttp2_session *library, const nghttp2_frame_hd *frame, void *ctx)
{
    struct http2_session *session = ctx;
    (void)library;
    session->head_stream = frame->type == NGHTTP2_HEADERS ? frame->stream_id : 0;
    session->head_bytes = 0;
    if (frame->type != NGHTTP2_HEADERS && frame->type != NGHTTP2_DATA)
        count_frame(session);
    return 0;
}

static int on_begin_headers(nghttp2_session *library, const nghttp2_frame *frame, void *ctx)
{
    struct http2_session *session = ctx;
    (void)library;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        allowance_add(&session->frames, &rate_frames, FRAMES_A_REQUEST * 1000);
        http2_stream_create(session, frame->hd.stream_id);
    } else {
        count_frame(session); /* trailers: checked, then dropped */
    }
    return 0;
}

static int on_header(nghttp2_session *library, const nghttp2_frame *frame, const uint8_t *name,
    size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags, void *ctx)
{
    struct http2_session *session = ctx;
    struct http2_stream *stream = stream_of(library, frame->hd.stream_id);
    (void)flags;
    if (stream && stream->head)
        http2_head_add(stream->head, (const char *)name, name_length, (const char *)value,
            value_length, session->conn->server->input_max);
    return 0;
}

/* The library would drop such a field and go on; a proxy behind us might not. */
static int on_invalid_header(nghttp2_session *library, const nghttp2_frame *frame,
    const uint8_t *name, size_t name_length, const uint8_t *value, size_t value_length,
    uint8_t flags, void *ctx)
{
    (void)library, (void)frame, (void)name, (void)name_length, (void)value, (void)value_length;
    (void)flags;
    ((struct http2_session *)ctx)->conn->server->stats.rejected++;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_data(nghttp2_session *library, uint8_t flags, int32_t id, const uint8_t *bytes,
    size_t length, void *ctx)
{
    struct http2_stream *stream = stream_of(library, id);
    (void)flags, (void)ctx;
    if (stream)
        http2_stream_data(stream, bytes, length);
    else
        (void)nghttp2_session_consume_connection(library, length);
    return 0;
}

static void on_end_of_stream(struct http2_stream *stream)
{
    stream->ended = true;
    conn_attend(&stream->conn);
}

static void on_headers_complete(
    struct http2_session *session, struct http2_stream *stream, const nghttp2_frame *frame)
{
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    session->head_stream = 0;
    if (stream && stream->head)
        http2_stream_head(stream, ends);
    else if (stream && ends)
        on_end_of_stream(stream);
}

static void on_data_complete(
    struct http2_session *session, struct http2_stream *stream, const nghttp2_frame *frame)
{
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (!ends && frame->hd.length - frame->data.padlen < HTTP2_SMALL_BYTES)
        count_frame(session);
    if (stream && ends)
        on_end_of_stream(stream);
}

/* The peer has our first GOAWAY; what it began before that is here. */
static void on_ping_complete(struct http2_session *session, const nghttp2_frame *frame)
{
    bool ack = frame->hd.flags & NGHTTP2_FLAG_ACK;
    if (!ack || !session->conn->server->draining || session->ending)
        return;
    session->ending = true;
    (void)nghttp2_submit_goaway(session->library, NGHTTP2_FLAG_NONE,
        nghttp2_session_get_last_proc_stream_id(session->library), NGHTTP2_NO_ERROR, NULL, 0);
}

static int on_frame(nghttp2_session *library, const nghttp2_frame *frame, void *ctx)
{
    struct http2_session *session = ctx;
    struct http2_stream *stream = stream_of(library, frame->hd.stream_id);
    if (frame->hd.type == NGHTTP2_HEADERS)
        on_headers_complete(session, stream, frame);
    else if (frame->hd.type == NGHTTP2_DATA)
        on_data_complete(session, stream, frame);
    else if (frame->hd.type == NGHTTP2_PING)
        on_ping_complete(session, frame);
    else if (frame->hd.type == NGHTTP2_SETTINGS)
        session->greeted = true;
    return 0;
}

static int on_frame_sent(nghttp2_session *library, const nghttp2_frame *frame, void *ctx)
{
    struct http2_session *session = ctx;
    struct http2_stream *stream = stream_of(library, frame->hd.stream_id);
    if (frame->hd.type == NGHTTP2_DATA)
        allowance_add(&session->frames, &rate_frames, FRAMES_A_DATA * 1000);
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->hd.stream_id == session->head_stream)
        session->head_stream = 0; /* refused: the rest of its head is nobody's */
    /* Who answers this has read the GOAWAY before it. */
    if (frame->hd.type == NGHTTP2_GOAWAY && !session->ending)
        (void)nghttp2_submit_ping(library, NGHTTP2_FLAG_NONE, (const uint8_t *)"goodbye");
    bool body = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (body && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) && stream) {
        stream->told = true;
        conn_attend(&stream->conn);
    }
    return 0;
}

static int on_stream_close(nghttp2_session *library, int32_t id, uint32_t code, void *ctx)
{
    struct http2_stream *stream = stream_of(library, id);
    (void)code, (void)ctx;
    if (stream)
        http2_stream_closed(stream);
    return 0;
}

/* ------- making it ------- */

static nghttp2_session_callbacks *callbacks_create(void)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        abort(); /* memory is all that can be missing: see memory.h */
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    return callbacks;
}

static nghttp2_option *option_create(void)
{
    nghttp2_option *option;
    if (nghttp2_option_new(&option) != 0)
        abort();
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_outbound_ack(option, 100);
    return option;
}

static void say_settings(struct http2_session *session)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, HTTP2_STREAMS_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)session->conn->server->input_max},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 0},
    };
    (void)nghttp2_submit_settings(
        session->library, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings));
    (void)nghttp2_session_set_local_window_size(
        session->library, NGHTTP2_FLAG_NONE, 0, HTTP2_WINDOW_BYTES);
}

void http2_begin(struct http_conn *conn)
{
    struct http2_session *session = mem_alloc(1, sizeof *session);
    nghttp2_session_callbacks *callbacks = callbacks_create();
    nghttp2_option *option = option_create();
    session->conn = conn;
    session->frames = (struct http2_allowance){rate_frames.most * 1000, http_now_ms()};
    session->resets = (struct http2_allowance){rate_resets.most * 1000, http_now_ms()};
    LIST_INIT(&session->streams);
    if (nghttp2_session_server_new2(&session->library, callbacks, session, option) != 0)
        abort();
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    conn->session = session;
    conn->state = CONN_HTTP2;
    spares_give_arena(&conn->server->spares, &conn->arena); /* its streams have their own */
    conn->parsing = false;
    say_settings(session);
    if (conn->server->draining)
        http2_drain(conn);
}

static bool is_near(const struct http_peer *peer)
{
    return peer->is_unix || (!peer->is_tls && (strncmp(peer->address, "127.", 4) == 0 ||
                                                  strncmp(peer->address, "[::1]:", 6) == 0));
}

bool http2_greets(const struct http_conn *conn)
{
    return conn->server->options.http2 && !conn->used && !conn->carried && is_near(&conn->peer) &&
           http_buffer_length(&conn->input) >= strlen(GREETING) &&
           memcmp(http_buffer_bytes(&conn->input), GREETING, strlen(GREETING)) == 0;
}

/* ------- bytes ------- */

/* After a failure the library takes no more and says no more: the GOAWAY is made here. */
static void give_up(struct http2_session *session, uint8_t code)
{
    struct http_conn *conn = session->conn;
    uint32_t last = (uint32_t)nghttp2_session_get_last_proc_stream_id(session->library);
    const uint8_t frame[] = {0, 0, 8, NGHTTP2_GOAWAY, 0, 0, 0, 0, 0, (uint8_t)(last >> 24),
        (uint8_t)(last >> 16), (uint8_t)(last >> 8), (uint8_t)last, 0, 0, 0, code};
    conn->server->stats.rejected++;
    http2_break(conn);
    http_buffer_append(&conn->output, frame, sizeof frame);
    conn_linger(conn);
}

static bool receive(struct http2_session *session)
{
    struct http_conn *conn = session->conn;
    size_t length = http_buffer_length(&conn->input);
    if (length == 0 || output_is_high(conn))
        return false;
    ssize_t used = nghttp2_session_mem_recv(
        session->library, (const uint8_t *)http_buffer_bytes(&conn->input), length);
    if (used < 0) {
        give_up(session,
            used == NGHTTP2_ERR_FLOODED ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
        return true;
    }
    http_buffer_consume(&conn->input, (size_t)used);
    session->head_bytes += session->head_stream ? (size_t)used : 0;
    session->too_much |= session->head_bytes > HEAD_TIMES * conn->server->input_max;
    return used > 0;
}

static bool gather(struct http2_session *session)
{
    struct http_conn *conn = session->conn;
    bool moved = false;
    while (!output_is_high(conn)) {
        const uint8_t *bytes;
        ssize_t length = nghttp2_session_mem_send(session->library, &bytes);
        if (length <= 0)
            break;
        http_buffer_append(&conn->output, bytes, (size_t)length);
        moved = true;
    }
    return moved;
}

static void calm(struct http2_session *session)
{
    session->too_much = false;
    if (session->ending)
        return;
    session->ending = true;
    session->conn->server->stats.rejected++;
    (void)nghttp2_session_terminate_session(session->library, NGHTTP2_ENHANCE_YOUR_CALM);
}

bool http2_step(struct http_conn *conn)
{
    struct http2_session *session = conn->session;
    bool moved = receive(session);
    if (conn->state != CONN_HTTP2)
        return true;
    if (session->too_much)
        calm(session);
    moved |= gather(session);
    if (!nghttp2_session_want_read(session->library) &&
        !nghttp2_session_want_write(session->library)) {
        http2_break(conn);
        conn_linger(conn);
        moved = true;
    }
    return moved;
}

/* ------- deadlines and the end ------- */

enum conn_wait http2_awaits(const struct http_conn *conn)
{
    const struct http2_session *session = conn->session;
    if (!session->greeted || session->head_stream)
        return WAIT_HEAD;
    return session->stream_count == 0 && http_buffer_length(&conn->output) == 0 ? WAIT_IDLE
                                                                                : WAIT_NOTHING;
}

void http2_end(struct http_conn *conn, bool late)
{
    struct http2_session *session = conn->session;
    if (session->ending || !session->greeted) {
        conn_kill(conn);
        return;
    }
    session->ending = true;
    (void)nghttp2_session_terminate_session(
        session->library, late ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_NO_ERROR);
}

void http2_drain(struct http_conn *conn)
{
    (void)nghttp2_submit_shutdown_notice(conn->session->library);
    conn_attend(conn);
}

void http2_break(struct http_conn *conn)
{
    struct http2_stream *stream, *next;
    for (stream = LIST_FIRST(&conn->session->streams); stream; stream = next) {
        next = LIST_NEXT(stream, link);
        conn_kill(&stream->conn);
    }
}

void http2_free(struct http_conn *conn)
{
    if (!conn->session)
        return;
    assert(LIST_EMPTY(&conn->session->streams));
    nghttp2_session_del(conn->session->library);
    free(conn->session);
}
