/* The deadlines of a connection of the server: what is waited for, until when, and what becomes of
 * who is late. */
#include "wire/http_internal.h"

static const struct http_fault fault_head_timeout = {408, "the request's head took too long"};
static const struct http_fault fault_body_timeout = {408, "the request's body came too slowly"};

/* A peer that moves a byte now and then must not hold a connection for ever: each byte buys the
 * time it takes at PROGRESS_BYTES_PER_S, up to a whole new limit. */
static int64_t extend(int64_t deadline_ms, size_t bytes, int64_t limit_ms)
{
    int64_t longest = http_now_ms() + limit_ms;
    int64_t bought = deadline_ms + (int64_t)bytes * 1000 / PROGRESS_BYTES_PER_S;
    return bought < longest ? bought : longest;
}

void conn_received(struct http_conn *conn, size_t bytes)
{
    if (conn->wait == WAIT_BODY)
        conn->read_deadline_ms =
            extend(conn->read_deadline_ms, bytes, conn->server->options.body_ms);
}

void conn_sent(struct http_conn *conn, size_t bytes)
{
    if (conn->write_deadline_ms)
        conn->write_deadline_ms =
            extend(conn->write_deadline_ms, bytes, conn->server->options.write_ms);
}

static enum conn_wait conn_awaits(const struct http_conn *conn)
{
    switch (conn->state) {
    case CONN_HANDSHAKE: return WAIT_HANDSHAKE;
    case CONN_HEAD:
        if (output_is_high(conn))
            return WAIT_NOTHING; /* it is us who do not look: see invariant 3 */
        return http_buffer_length(&conn->input) ? WAIT_HEAD : WAIT_IDLE;
    case CONN_REQUEST: return body_is_wanted(&conn->request) ? WAIT_BODY : WAIT_NOTHING;
    case CONN_DISCARD: return WAIT_BODY;
    case CONN_LINGER: return WAIT_LINGER;
    case CONN_HTTP2: return http2_awaits(conn);
    case CONN_SENT: return http2_stream_lingers(conn) ? WAIT_LINGER : WAIT_NOTHING;
    default: return WAIT_NOTHING;
    }
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

void conn_deadlines_update(struct http_conn *conn)
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
    timer_update(conn);
}

void conn_on_timer(int fd, short what, void *ctx)
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
    else if (read_late && conn->state == CONN_HTTP2)
        http2_end(conn, conn->wait == WAIT_HEAD);
    else if (read_late && (conn->wait == WAIT_HEAD || conn->wait == WAIT_BODY) &&
             conn->state != CONN_DISCARD)
        conn_refuse(conn, conn->wait == WAIT_HEAD ? &fault_head_timeout : &fault_body_timeout);
    else if (read_late)
        conn_kill(conn);
    conn->in_service = false;
    conn_service(conn);
}
