/* One connection of the server: its life, bytes in and out, states.
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
 *  5. a connection does at most ROUNDS_MAX rounds before the others have their turn.
 * The steps themselves are in http_steps.c. */
#include "wire/http_internal.h"

#include "base/clock.h"

enum { ROUNDS_MAX = 8, STEPS_MAX = 32 };

/* ------- life ------- */

static void on_read_ahead(struct watch *watch, int place);
static void on_told(struct watch *watch, bool ended);
static void on_writable(int fd, short what, void *ctx);

void conn_init(struct http_conn *conn, struct http_server *server)
{
    conn->server = server;
    event_assign(&conn->timer, server->base, -1, 0, conn_on_timer, conn);
    LIST_INSERT_HEAD(&server->conns, conn, link);
}

void conn_create(struct http_server *server, int fd, const struct http_peer *peer,
    struct http_peer_entry *entry, struct tls_server *tls)
{
    struct http_conn *conn = mem_alloc(1, sizeof *conn);
    conn_init(conn, server);
    conn->socket = (struct http_socket){fd, tls ? tls_session_accept(tls, fd) : NULL};
    conn->peer = *peer;
    conn->peer_entry = entry;
    conn->state = tls ? CONN_HANDSHAKE : CONN_HEAD;
    conn->readable = true;
    event_assign(&conn->write_event, server->base, fd, EV_WRITE | EV_PERSIST, on_writable, conn);
    server->stats.connections++;
    server->stats.accepted++;
    conn->watch.read_ahead = tls ? NULL : on_read_ahead;
    if (watcher_add(&server->watcher, &conn->watch, fd, on_told, NULL) < 0)
        conn_kill(conn);
    conn_attend(conn);
}

/* It does without memory for bytes and requests until the next ones come. */
static void conn_strip(struct http_conn *conn)
{
    struct http_spares *spares = &conn->server->spares;
    spares_give_buffer(spares, &conn->input);
    spares_give_buffer(spares, &conn->output);
    spares_give_arena(spares, &conn->arena);
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
    conn_strip(conn);
    LIST_REMOVE(conn, link);
    http2_free(conn);
    if (conn->carried)
        http2_stream_free(conn);
    else
        free(conn);
    if (server->draining)
        http_server_wake(server);
}

static void conn_close_socket(struct http_conn *conn)
{
    watcher_remove(&conn->server->watcher, &conn->watch);
    event_del(&conn->write_event);
    http_socket_close(&conn->socket);
    http_peers_disconnect(conn->server->peers, conn->peer_entry);
    conn->server->stats.connections--;
}

static void conn_disconnect(struct http_conn *conn)
{
    if (conn->carried)
        http2_stream_leave(conn);
    else
        conn_close_socket(conn);
    event_del(&conn->timer);
    http_buffer_consume(&conn->input, http_buffer_length(&conn->input));
    http_buffer_consume(&conn->output, http_buffer_length(&conn->output));
    conn->peer_entry = NULL;
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
    if (conn->session)
        http2_break(conn);
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
        http_server_wake_row(server);
}

void conn_linger(struct http_conn *conn)
{
    assert(conn->state != CONN_DEAD);
    http_buffer_consume(&conn->input, http_buffer_length(&conn->input));
    conn->state = conn->carried ? CONN_SENT : CONN_LINGER;
}

void conn_refuse(struct http_conn *conn, const struct http_fault *fault)
{
    struct http_request *request = &conn->request;
    bool can_say = !request->open || request->answer == ANSWER_NONE;
    conn->server->stats.rejected++;
    if (!can_say) {
        conn_kill(conn);
        return;
    }
    struct strbuf body = {0};
    struct http_field type = answer_refusal(conn, fault->status, fault->text, &body);
    request_cancel(conn);
    assert(!request->open);
    answer_fault(conn, fault->status, type, &body);
    strbuf_finish(&body);
    conn_linger(conn);
}

bool conn_is_idle(const struct http_conn *conn)
{
    return conn->state == CONN_HANDSHAKE ||
           (conn->state == CONN_HEAD && !conn->carried && http_buffer_length(&conn->input) == 0 &&
               http_buffer_length(&conn->output) == 0);
}

/* ------- bytes ------- */

/* True when an end follows what came: it has a round of its own, after what came was handled. */
static bool conn_fill(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    size_t held = http_buffer_length(&conn->input);
    enum tls_need need = TLS_NEED_NOTHING;
    while (conn->readable && !conn->input_ended && held < server->input_max) {
        size_t room = server->input_max - held;
        room = room < SCRATCH_BYTES ? room : SCRATCH_BYTES;
        ssize_t n = http_socket_read(&conn->socket, server->scratch, room, &need, NULL);
        if (n < 0) {
            conn_kill(conn);
            return false;
        }
        if (n == 0) {
            conn->input_ended = need == TLS_NEED_NOTHING;
            conn->readable = false;
            conn->write_blocked |= need == TLS_NEED_WRITE;
            return false;
        }
        conn_received(conn, (size_t)n);
        if (conn->state == CONN_LINGER) {
            conn->lingered_bytes += (uint64_t)n;
            conn->input_ended |= conn->lingered_bytes > LINGER_BYTES_MAX;
        } else {
            spares_buffer(&server->spares, &conn->input);
            http_buffer_append(&conn->input, server->scratch, (size_t)n);
            held += (size_t)n;
        }
        if (conn->peer_ended && !conn->socket.tls)
            return true;
        conn->readable = conn->socket.tls || (size_t)n == room;
    }
    return false;
}

bool conn_flush(struct http_conn *conn)
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
        conn_sent(conn, (size_t)n);
    }
    return moved;
}

/* Nothing more can come, and nothing that came was enough. */
static void conn_input_ended(struct http_conn *conn)
{
    bool answered = conn->state == CONN_HEAD || conn->state == CONN_DISCARD;
    if (conn->state == CONN_HANDSHAKE || conn->state == CONN_REQUEST || conn->state == CONN_HTTP2)
        conn_kill(conn);
    else if (answered)
        conn_linger(conn);
}

/* ------- what the socket tells ------- */

static void interest_update(struct http_conn *conn)
{
    if (conn->write_blocked != conn->writing)
        (void)(conn->write_blocked ? event_add(&conn->write_event, NULL)
                                   : event_del(&conn->write_event));
    conn->writing = conn->write_blocked;
}

static void serve_event(struct http_conn *conn)
{
    const struct http_server_options *options = &conn->server->options;
    clock_hold();
    conn_service(conn);
    clock_release();
    if (options->after_event)
        options->after_event(options->ctx);
}

static struct http_conn *watch_conn(struct watch *watch)
{
    return (struct http_conn *)((char *)watch - offsetof(struct http_conn, watch));
}

/* A head, or the beginning of one, is taken in while the system's part of reading is in the caches.
 * More than a buffer that is kept has room for is read when it is told. */
static void on_read_ahead(struct watch *watch, int place)
{
    struct http_conn *conn = watch_conn(watch);
    (void)place;
    if (conn->state != CONN_HEAD || conn->in_service || http_buffer_length(&conn->input) > 0)
        return;
    spares_buffer(&conn->server->spares, &conn->input);
    char *at = http_buffer_reserve(&conn->input, HTTP_BUFFER_KEEP_BYTES);
    ssize_t n = http_socket_recv(conn->socket.fd, at, HTTP_BUFFER_KEEP_BYTES);
    if (n <= 0)
        return; /* an end, which a read tells again, or an error, after which comes an end */
    conn->input.end += (size_t)n;
    conn->read_ahead = n < HTTP_BUFFER_KEEP_BYTES;
}

static void on_told(struct watch *watch, bool ended)
{
    struct http_conn *conn = watch_conn(watch);
    conn->readable = !conn->read_ahead;
    conn->read_ahead = false;
    conn->peer_ended |= ended;
    serve_event(conn);
}

static void on_writable(int fd, short what, void *ctx)
{
    struct http_conn *conn = ctx;
    (void)fd, (void)what;
    conn->write_blocked = false;
    if (conn->socket.tls)
        conn->readable = true; /* it may have had to write in order to read */
    serve_event(conn);
}

/* ------- the whole ------- */

static bool conn_round(struct http_conn *conn)
{
    bool progress = false;
    if (conn->carried)
        http2_stream_look(conn);
    else if (conn->state != CONN_HANDSHAKE && conn->state != CONN_DEAD)
        progress = conn_fill(conn);
    for (int i = 0; i < STEPS_MAX && conn_step(conn); i++)
        progress = true;
    if (conn->carried)
        http2_stream_sync(conn);
    else if (conn->state != CONN_DEAD)
        progress |= conn_flush(conn);
    return progress;
}

static void conn_settle(struct http_conn *conn)
{
    conn_deadlines_update(conn);
    if (!conn->carried)
        interest_update(conn);
    if (conn->wait == WAIT_IDLE && http_buffer_length(&conn->input) == 0 &&
        http_buffer_length(&conn->output) == 0)
        conn_strip(conn);
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
    if (conn->server->draining && !conn->server->retiring && conn_is_idle(conn))
        conn_kill(conn);
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
