/* One connection of the server: bytes in and out, states, deadlines.
 *
 * conn_service does all that can be done now, in rounds: fill the input, take steps (each step
 * handles one head, one piece of a body, ...), flush the output. Invariants:
 *  1. only conn_service calls callbacks, and never while it is already running for the
 *     connection (in_service);
 *  2. the input holds at most server->input_max bytes, and nothing is read past that;
 *  3. no head is looked at while output_bytes_high bytes or more wait: who does not read its
 *     answers gets no further ones;
 *  4. one request at a time: the next head is looked at after the last answer is complete, so
 *     answers are in order;
 *  5. a connection does at most ROUNDS_MAX rounds before the others have their turn. */
#include "wire/http_internal.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>

enum { ROUNDS_MAX = 32 };

static const struct http_fault fault_head_timeout = {408, "the request's head took too long"};
static const struct http_fault fault_body_timeout = {408, "the request's body came too slowly"};
static const struct http_fault fault_body_large = {413, "the request's body is too large"};

/* ------- life ------- */

static void on_io(int fd, short what, void *ctx);
static void on_timer(int fd, short what, void *ctx);

void conn_create(struct http_server *server, int fd, const struct http_peer *peer,
    struct http_peer_entry *entry, struct tls_server *tls)
{
    struct http_conn *conn = mem_alloc(1, sizeof *conn);
    conn->server = server;
    conn->socket = (struct http_socket){fd, tls ? tls_session_accept(tls, fd) : NULL};
    conn->peer = *peer;
    conn->peer_entry = entry;
    conn->state = tls ? CONN_HANDSHAKE : CONN_HEAD;
    conn->readable = true;
    conn->arena = arena_create();
    event_assign(&conn->read_event, server->base, fd, EV_READ | EV_PERSIST, on_io, conn);
    event_assign(&conn->write_event, server->base, fd, EV_WRITE | EV_PERSIST, on_io, conn);
    event_assign(&conn->timer, server->base, -1, 0, on_timer, conn);
    LIST_INSERT_HEAD(&server->conns, conn, link);
    server->stats.connections++;
    server->stats.accepted++;
    conn_attend(conn);
}

static void conn_free(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    assert(conn->state == CONN_DEAD && !conn->in_service);
    if (conn->attention_queued) {
        TAILQ_REMOVE(&server->attention, conn, attention);
        server->attention_count--;
    }
    request_finish(&conn->request);
    http_buffer_finish(&conn->input);
    http_buffer_finish(&conn->output);
    arena_destroy(conn->arena);
    LIST_REMOVE(conn, link);
    free(conn);
    if (server->draining)
        http_server_wake(server);
}

static void conn_disconnect(struct http_conn *conn)
{
    event_del(&conn->read_event);
    event_del(&conn->write_event);
    event_del(&conn->timer);
    http_socket_close(&conn->socket);
    http_buffer_consume(&conn->input, http_buffer_length(&conn->input));
    http_buffer_consume(&conn->output, http_buffer_length(&conn->output));
    http_peers_disconnect(conn->server->peers, conn->peer_entry);
    conn->peer_entry = NULL;
    conn->server->stats.connections--;
    conn->state = CONN_DEAD;
}

/* True while a handler may still call us about the request. */
static bool request_is_owed(const struct http_request *request)
{
    bool reading = request->body_mode != BODY_UNASKED && !request->body_delivered;
    return request->open && request->answer != ANSWER_COMPLETE && !reading;
}

/* The client is gone, or the request cannot be read to its end. */
static void request_cancel(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    if (!request->open || request->answer == ANSWER_COMPLETE)
        return;
    conn->server->stats.cancelled++;
    if (request->on_cancel) {
        http_on_notice *on_cancel = request->on_cancel;
        request->on_cancel = NULL;
        on_cancel(request->cancel_ctx);
    } else if (request_is_owed(request)) {
        return; /* stays valid until it is answered, to nobody */
    }
    request->open = false;
    conn->server->stats.requests_open--;
}

static void stream_break(struct http_conn *conn)
{
    if (!conn->stream.open)
        return;
    conn->stream.open = false;
    conn->server->stats.streams--;
    if (conn->stream.on_close)
        conn->stream.on_close(conn->stream.ctx);
}

void conn_kill(struct http_conn *conn)
{
    if (conn->state == CONN_DEAD)
        return;
    conn_disconnect(conn);
    bool outer = conn->in_service;
    conn->in_service = true;
    request_cancel(conn);
    stream_break(conn);
    conn->in_service = outer;
    conn_attend(conn);
}

void conn_destroy(struct http_conn *conn)
{
    conn_kill(conn);
    conn_free(conn);
}

void conn_attend(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    if (conn->attention_queued || conn->in_service)
        return;
    conn->attention_queued = true;
    TAILQ_INSERT_TAIL(&server->attention, conn, attention);
    if (server->attention_count++ == 0)
        http_server_wake(server);
}

static void conn_linger(struct http_conn *conn)
{
    assert(conn->state != CONN_DEAD);
    http_buffer_consume(&conn->input, http_buffer_length(&conn->input));
    conn->state = CONN_LINGER;
}

/* The server gives up on what the client sends: says why if it still can, and closes. */
static void conn_refuse(struct http_conn *conn, const struct http_fault *fault)
{
    struct http_request *request = &conn->request;
    bool can_say = !request->open || request->answer == ANSWER_NONE;
    conn->server->stats.rejected++;
    if (!can_say) {
        conn_kill(conn);
        return;
    }
    request_cancel(conn);
    assert(!request->open);
    answer_fault(conn, fault);
    conn_linger(conn);
}

/* ------- bytes ------- */

/* A peer that moves a byte now and then must not hold a connection for ever: each byte buys the
 * time it takes at PROGRESS_BYTES_PER_S, up to a whole new limit. */
static int64_t extend(int64_t deadline_ms, size_t bytes, int64_t limit_ms)
{
    int64_t longest = http_now_ms() + limit_ms;
    int64_t bought = deadline_ms + (int64_t)bytes * 1000 / PROGRESS_BYTES_PER_S;
    return bought < longest ? bought : longest;
}

static void conn_fill(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    size_t held = http_buffer_length(&conn->input);
    enum tls_need need = TLS_NEED_NOTHING;
    while (conn->readable && !conn->input_ended && held < server->input_max) {
        size_t room = server->input_max - held;
        room = room < SCRATCH_BYTES ? room : SCRATCH_BYTES;
        ssize_t n = http_socket_read(&conn->socket, server->scratch, room, &need, NULL);
        if (n < 0 || (n == 0 && need == TLS_NEED_NOTHING))
            conn->input_ended = true;
        if (n <= 0) {
            conn->readable = false;
            conn->write_blocked |= need == TLS_NEED_WRITE;
            return;
        }
        if (conn->wait == WAIT_BODY)
            conn->read_deadline_ms =
                extend(conn->read_deadline_ms, (size_t)n, server->options.body_ms);
        if (conn->state == CONN_LINGER) {
            conn->lingered_bytes += (uint64_t)n;
            conn->input_ended |= conn->lingered_bytes > LINGER_BYTES_MAX;
        } else {
            http_buffer_append(&conn->input, server->scratch, (size_t)n);
            held += (size_t)n;
        }
        conn->readable = conn->socket.tls || (size_t)n == room;
    }
}

/* True when bytes went out: what waited for that may go on. */
static bool conn_flush(struct http_conn *conn)
{
    enum tls_need need;
    bool moved = false;
    while (http_buffer_length(&conn->output) > 0 && !conn->write_blocked) {
        ssize_t n = http_socket_write(&conn->socket, http_buffer_bytes(&conn->output),
            http_buffer_length(&conn->output), &need, NULL);
        if (n < 0) {
            conn_kill(conn);
            return true;
        }
        moved |= n > 0;
        conn->write_blocked = n == 0;
        http_buffer_consume(&conn->output, (size_t)n);
        if (n > 0 && conn->write_deadline_ms)
            conn->write_deadline_ms =
                extend(conn->write_deadline_ms, (size_t)n, conn->server->options.write_ms);
    }
    return moved;
}

/* ------- steps: each returns true when something was done and more may be possible ------- */

static bool step_handshake(struct http_conn *conn)
{
    enum tls_need need;
    int done = tls_session_handshake(conn->socket.tls, &need, NULL);
    if (done < 0)
        conn_kill(conn);
    else if (done == 0 && need == TLS_NEED_WRITE)
        conn->write_blocked = true;
    else if (done == 1)
        conn->state = CONN_HEAD;
    conn->readable = done == 1;
    return done == 1;
}

static bool output_is_high(const struct http_conn *conn)
{
    return http_buffer_length(&conn->output) >= conn->server->options.output_bytes_high;
}

static bool output_is_low(const struct http_conn *conn)
{
    return http_buffer_length(&conn->output) <= conn->server->options.output_bytes_high / 2;
}

/* The next request's first byte. */
static void head_begin(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    conn->slices =
        arena_alloc(conn->arena, server->head_limits.field_count, sizeof *conn->slices);
    http_head_parser_init(&conn->parser, HTTP_REQUEST, &server->head_limits, conn->slices);
}

static bool rate_allows(struct http_conn *conn)
{
    if (conn->peer.is_unix)
        return true;
    uint32_t retry_after_s =
        http_peers_take(conn->server->peers, conn->peer_entry, http_now_ms());
    if (retry_after_s == 0)
        return true;
    conn->server->stats.throttled++;
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
    server->stats.requests++;
    server->options.handler(request, server->options.ctx);
}

static bool step_head(struct http_conn *conn)
{
    size_t length = http_buffer_length(&conn->input);
    if (length == 0 || output_is_high(conn))
        return false;
    if (!conn->slices)
        head_begin(conn);
    switch (http_head_parse(&conn->parser, http_buffer_bytes(&conn->input), length)) {
    case HTTP_PARSE_MORE:
        return false;
    case HTTP_PARSE_FAULT:
        conn_refuse(conn, conn->parser.fault);
        return true;
    default:
        request_begin(conn);
        return true;
    }
}

static bool body_is_wanted(const struct http_request *request)
{
    return request->body_mode != BODY_UNASKED && !request->body_delivered && !request->body_paused;
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
    if (http_buffer_length(&conn->input) == 0 && !conn->body.complete)
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
    /* A callback may have paused, or answered: the end is then a step of its own. */
    if (result == HTTP_PARSE_DONE && piece == 0 && body_is_wanted(request)) {
        body_end(conn);
        return true;
    }
    return used > 0 || result == HTTP_PARSE_DONE;
}

/* The answer is complete: what becomes of the connection? */
static void request_complete(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    bool rest = !conn->body.complete;
    bool close = request->close_after || (rest && !answer_can_discard(conn));
    bool upgraded = request->on_upgrade && !request->aborted;
    request->open = false;
    conn->server->stats.requests_open--;
    conn->slices = NULL;
    if (conn->state == CONN_DEAD)
        ;
    else if (request->aborted)
        conn_kill(conn);
    else if (upgraded)
        conn->state = CONN_STREAM;
    else if (close)
        conn_linger(conn);
    else
        conn->state = rest ? CONN_DISCARD : CONN_HEAD;
    if (upgraded)
        stream_begin(conn);
    request_finish(request);
    arena_reset(conn->arena);
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
    if (request->open && request->wants_drain && output_is_low(conn)) {
        request->wants_drain = false;
        if (request->on_drain)
            request->on_drain(request->drain_ctx);
        return true;
    }
    return false;
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

static bool step_dead(struct http_conn *conn)
{
    if (!conn->request.open || conn->request.answer != ANSWER_COMPLETE)
        return false;
    request_complete(conn);
    return true;
}

static bool (*const steps[])(struct http_conn *conn) = {
    [CONN_HANDSHAKE] = step_handshake,
    [CONN_HEAD] = step_head,
    [CONN_REQUEST] = step_request,
    [CONN_DISCARD] = step_discard,
    [CONN_STREAM] = step_stream,
    [CONN_LINGER] = step_linger,
    [CONN_DEAD] = step_dead,
};

/* Nothing more can come, and nothing that came was enough. */
static void conn_input_ended(struct http_conn *conn)
{
    bool answered = conn->state == CONN_HEAD || conn->state == CONN_DISCARD;
    if (conn->state == CONN_HANDSHAKE || conn->state == CONN_REQUEST)
        conn_kill(conn);
    else if (answered)
        conn_linger(conn);
}

/* ------- deadlines and interest ------- */

static enum conn_wait conn_awaits(const struct http_conn *conn)
{
    switch (conn->state) {
    case CONN_HANDSHAKE:
        return WAIT_HANDSHAKE;
    case CONN_HEAD:
        if (output_is_high(conn))
            return WAIT_NOTHING; /* it is us who do not look: see invariant 3 */
        return http_buffer_length(&conn->input) ? WAIT_HEAD : WAIT_IDLE;
    case CONN_REQUEST:
        return body_is_wanted(&conn->request) ? WAIT_BODY : WAIT_NOTHING;
    case CONN_DISCARD:
        return WAIT_BODY;
    case CONN_LINGER:
        return WAIT_LINGER;
    default:
        return WAIT_NOTHING;
    }
}

static void deadlines_update(struct http_conn *conn)
{
    const struct http_server_options *options = &conn->server->options;
    const int64_t limits[] = {
        [WAIT_HANDSHAKE] = options->handshake_ms,
        [WAIT_IDLE] = options->idle_ms,
        [WAIT_HEAD] = options->head_ms,
        [WAIT_BODY] = options->body_ms,
        [WAIT_LINGER] = LINGER_MS,
    };
    enum conn_wait wait = conn_awaits(conn);
    bool owes = http_buffer_length(&conn->output) > 0;
    if (wait != conn->wait)
        conn->read_deadline_ms = wait == WAIT_NOTHING ? 0 : http_now_ms() + limits[wait];
    conn->wait = wait;
    if (!owes)
        conn->write_deadline_ms = 0;
    else if (!conn->write_deadline_ms)
        conn->write_deadline_ms = http_now_ms() + options->write_ms;
}

/* Moves the timer only when it would fire too late: a deadline that moves on with every request
 * costs nothing. */
static void timer_update(struct http_conn *conn)
{
    int64_t first = conn->read_deadline_ms;
    if (first == 0 || (conn->write_deadline_ms && conn->write_deadline_ms < first))
        first = conn->write_deadline_ms;
    if (first == 0 || (conn->timer_ms && conn->timer_ms <= first))
        return;
    int64_t left = first - http_now_ms();
    left = left > 0 ? left : 0;
    struct timeval delay = {left / 1000, left % 1000 * 1000};
    event_add(&conn->timer, &delay);
    conn->timer_ms = first;
}

static void interest_update(struct http_conn *conn)
{
    bool read = !conn->input_ended && !conn->readable &&
                http_buffer_length(&conn->input) < conn->server->input_max;
    if (read != conn->reading)
        (void)(read ? event_add(&conn->read_event, NULL) : event_del(&conn->read_event));
    conn->reading = read;
    if (conn->write_blocked != conn->writing)
        (void)(conn->write_blocked ? event_add(&conn->write_event, NULL)
                                   : event_del(&conn->write_event));
    conn->writing = conn->write_blocked;
}

static void on_io(int fd, short what, void *ctx)
{
    struct http_conn *conn = ctx;
    (void)fd;
    /* TLS may have to write in order to read, so either event lets both try. */
    if (what & EV_WRITE)
        conn->write_blocked = false;
    if ((what & EV_READ) || conn->socket.tls)
        conn->readable = true;
    conn_service(conn);
}

static void on_timer(int fd, short what, void *ctx)
{
    struct http_conn *conn = ctx;
    int64_t now = http_now_ms();
    (void)fd, (void)what;
    conn->timer_ms = 0;
    bool read_late = conn->read_deadline_ms && now >= conn->read_deadline_ms;
    bool write_late = conn->write_deadline_ms && now >= conn->write_deadline_ms;
    if ((read_late && conn->wait != WAIT_IDLE && conn->wait != WAIT_LINGER) || write_late)
        conn->server->stats.timed_out++;
    conn->in_service = true;
    if (write_late)
        conn_kill(conn);
    else if (read_late && (conn->wait == WAIT_HEAD || conn->wait == WAIT_BODY) &&
             conn->state != CONN_DISCARD)
        conn_refuse(conn, conn->wait == WAIT_HEAD ? &fault_head_timeout : &fault_body_timeout);
    else if (read_late)
        conn_kill(conn);
    conn->in_service = false;
    conn_service(conn);
}

/* ------- the whole ------- */

static bool conn_round(struct http_conn *conn)
{
    bool progress = false;
    if (conn->state != CONN_HANDSHAKE && conn->state != CONN_DEAD)
        conn_fill(conn);
    for (int i = 0; i < ROUNDS_MAX && steps[conn->state](conn); i++)
        progress = true;
    if (conn->state != CONN_DEAD)
        progress |= conn_flush(conn);
    return progress;
}

static void conn_settle(struct http_conn *conn)
{
    deadlines_update(conn);
    timer_update(conn);
    interest_update(conn);
}

void conn_service(struct http_conn *conn)
{
    assert(!conn->in_service);
    conn->in_service = true;
    int rounds = 0;
    bool progress = true;
    while (progress && rounds++ < ROUNDS_MAX) {
        progress = conn_round(conn);
        /* Whatever came before the end has been handled by now, as far as it goes. */
        if (!progress && conn->input_ended && conn->state != CONN_DEAD) {
            enum conn_state before = conn->state;
            conn_input_ended(conn);
            progress = conn->state != before;
        }
    }
    conn->in_service = false;
    if (conn->state == CONN_DEAD && !conn->request.open && !conn->stream.open) {
        conn_free(conn);
        return;
    }
    if (conn->state != CONN_DEAD)
        conn_settle(conn);
    if (progress)
        conn_attend(conn);
}
