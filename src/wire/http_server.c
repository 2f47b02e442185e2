/* The server: options, draining, statistics, and the queue of connections that want attention.
 *
 * One event of no descriptor (`wake`) stands for the queue: a commit that answers five hundred
 * requests wakes the loop once, and each connection writes once. */
#include "wire/http_internal.h"

#include "base/clock.h"
#include "wire/http_text.h"

#include <string.h>

int64_t http_now_ms(void)
{
    return clock_held_ns() / 1000000;
}

static void default_size(size_t *value, size_t otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

static void default_ms(int64_t *value, int64_t otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

static void options_complete(struct http_server_options *options)
{
    default_size(&options->connections_max, 1024);
    default_size(&options->connections_per_peer_max, 128);
    default_size(&options->request_line_bytes_max, 8 * 1024);
    default_size(&options->head_bytes_max, 32 * 1024);
    default_size(&options->field_count_max, 64);
    default_size(&options->body_bytes_max, 1024 * 1024);
    default_size(&options->output_bytes_high, 64 * 1024);
    default_size(&options->unpack_bytes_max, 64 * 1024 * 1024);
    default_ms(&options->handshake_ms, 10 * 1000);
    default_ms(&options->head_ms, 10 * 1000);
    default_ms(&options->idle_ms, 75 * 1000);
    default_ms(&options->body_ms, 20 * 1000);
    default_ms(&options->write_ms, 30 * 1000);
    if (options->requests_burst == 0)
        options->requests_burst = options->requests_per_s;
}

static void common_fields_init(struct http_server *server)
{
    for (size_t i = 0; i < server->options.common_field_count; i++) {
        const struct http_field *field = &server->options.common_fields[i];
        assert(http_token_valid(field->name, strlen(field->name)));
        assert(http_value_valid(field->value, strlen(field->value)));
        strbuf_printf(&server->common_fields, "%s: %s\r\n", field->name, field->value);
    }
    server->options.common_fields = NULL; /* the caller's memory may go */
}

static bool drain_is_complete(const struct http_server *server)
{
    return server->draining && !server->drained && server->stats.connections == 0 &&
           (LIST_EMPTY(&server->conns) || server->stats.requests_open == 0);
}

static void serve_row(struct http_server *server)
{
    clock_hold();
    /* Who is queued meanwhile has to wait for the next turn, so that sockets have theirs. */
    for (size_t left = server->attention_count; left > 0 && server->attention_count > 0; left--) {
        struct http_conn *conn = TAILQ_FIRST(&server->attention);
        TAILQ_REMOVE(&server->attention, conn, attention);
        server->attention_count--;
        conn->attention_queued = false;
        conn_service(conn);
    }
    clock_release();
    if (server->attention_count > 0)
        http_server_wake_row(server);
}

void http_server_relieve(struct http_server *server)
{
    if (server->attention_count >= ROW)
        serve_row(server);
}

static void on_wake(int fd, short what, void *ctx)
{
    struct http_server *server = ctx;
    (void)fd, (void)what;
    serve_row(server);
    if (!drain_is_complete(server))
        return;
    server->drained = true;
    event_del(&server->drain_timer);
    if (server->on_drained)
        server->on_drained(server->drained_ctx);
}

static void on_drain_timer(int fd, short what, void *ctx)
{
    struct http_server *server = ctx;
    struct http_conn *conn, *next;
    (void)fd, (void)what;
    for (conn = LIST_FIRST(&server->conns); conn; conn = next) {
        next = LIST_NEXT(conn, link);
        conn_kill(conn);
    }
    http_server_wake(server);
}

struct http_server *http_server_create(
    struct event_base *base, const struct http_server_options *options)
{
    assert(base && options->handler);
    struct http_server *server = mem_alloc(1, sizeof *server);
    server->base = base;
    server->options = *options;
    options_complete(&server->options);
    common_fields_init(server);
    options = &server->options;
    server->head_limits = (struct http_head_limits){
        .line_bytes = (uint32_t)options->request_line_bytes_max,
        .field_bytes = (uint32_t)options->head_bytes_max,
        .field_count = (uint32_t)options->field_count_max,
    };
    server->input_max = options->request_line_bytes_max + options->head_bytes_max;
    server->scratch = mem_alloc(1, SCRATCH_BYTES);
    server->slices = mem_alloc(options->field_count_max, sizeof *server->slices);
    server->heads = http_head_memo_create(HTTP_REQUEST, &server->head_limits);
    server->peers = http_peers_create(
        options->connections_per_peer_max, options->requests_per_s, options->requests_burst);
    server->date_s = -1;
    LIST_INIT(&server->listeners);
    LIST_INIT(&server->conns);
    TAILQ_INIT(&server->attention);
    watcher_init(&server->watcher, base);
    event_assign(&server->wake, base, -1, 0, on_wake, server);
    event_assign(&server->drain_timer, base, -1, 0, on_drain_timer, server);
    return server;
}

void http_server_destroy(struct http_server *server)
{
    if (!server)
        return;
    http_listeners_close(server);
    while (!LIST_EMPTY(&server->conns))
        conn_destroy(LIST_FIRST(&server->conns));
    assert(TAILQ_EMPTY(&server->attention));
    watcher_finish(&server->watcher);
    event_del(&server->wake);
    event_del(&server->drain_timer);
    http_peers_destroy(server->peers);
    strbuf_finish(&server->common_fields);
    strbuf_finish(&server->start);
    free(server->slices);
    http_head_memo_destroy(server->heads);
    spares_finish(&server->spares);
    free(server->scratch);
    free(server);
}

int http_server_look(struct http_server *server)
{
    return watcher_look(&server->watcher);
}

bool http_server_serve(struct http_server *server)
{
    if (server->attention_count == 0)
        return false;
    serve_row(server);
    return true;
}

void http_server_set_apart(struct http_server *server, bool apart)
{
    watcher_set_apart(&server->watcher, apart);
    if (server->attention_count > 0)
        http_server_wake_row(server);
}

void http_server_wake_row(struct http_server *server)
{
    if (!server->watcher.apart)
        http_server_wake(server);
}

void http_server_wake(struct http_server *server)
{
    event_active(&server->wake, EV_TIMEOUT, 1);
}

/* Tells those that can be told, and ends what nobody waits for. */
static void drain_begin(
    struct http_server *server, int64_t grace_ms, http_on_notice *on_drained, void *ctx)
{
    struct http_conn *conn, *next;
    bool told = server->draining;
    assert(grace_ms >= 0);
    server->draining = true;
    server->on_drained = on_drained;
    server->drained_ctx = ctx;
    for (conn = LIST_FIRST(&server->conns); conn; conn = next) {
        next = LIST_NEXT(conn, link);
        if (!server->retiring && conn_is_idle(conn))
            conn_kill(conn);
        else if (conn->state == CONN_HTTP2 && !told)
            http2_drain(conn);
    }
    struct timeval grace = {grace_ms / 1000, grace_ms % 1000 * 1000};
    event_add(&server->drain_timer, &grace);
    http_server_wake(server);
}

void http_server_drain(
    struct http_server *server, int64_t grace_ms, http_on_notice *on_drained, void *ctx)
{
    assert(!server->draining || server->retiring);
    server->retiring = false;
    http_listeners_close(server);
    drain_begin(server, grace_ms, on_drained, ctx);
}

void http_server_retire(
    struct http_server *server, int64_t grace_ms, http_on_notice *on_drained, void *ctx)
{
    assert(!server->draining);
    server->retiring = true;
    http_server_leave(server);
    drain_begin(server, grace_ms, on_drained, ctx);
}

void http_server_stats(const struct http_server *server, struct http_server_stats *ret_stats)
{
    struct http_server_stats stats = server->stats;
    const struct http_conn *conn;
    LIST_FOREACH(conn, &server->conns, link)
    {
        stats.input_bytes += http_buffer_length(&conn->input) + conn->request.collected.length;
        stats.output_bytes += http_buffer_length(&conn->output);
    }
    *ret_stats = stats;
}
