/* Fuzz target: a whole connection of the server. The input is what the client sends, cut where its
 * first bytes say; the handler answers in ways the path chooses, now or later. Whatever comes, the
 * server must end with nothing open and its buffers within their bounds. */
#include "base/clock.h"
#include "wire/http_internal.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CUTS = 3, TURNS = 40, INPUT_MAX = 4096 };

struct state {
    struct http_request *pending;
    struct http_stream *stream;
    int turns_pending;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In place of base/clock.c: time stands still, so that an input does the same at every run. */
int64_t clock_wall_ms(void)
{
    return 1767225600000; /* 2026-01-01 */
}

int64_t clock_boot_ms(void)
{
    return 1000000;
}

int64_t clock_monotonic_ns(void)
{
    return 1000000000000;
}

static void on_cancel(void *ctx)
{
    ((struct state *)ctx)->pending = NULL;
}

static void on_body(struct http_request *request, const char *body, size_t length, void *ctx)
{
    (void)ctx;
    http_respond(request, 200, NULL, 0, body, length);
}

static void on_piece(struct http_request *request, const char *bytes, size_t length, void *ctx)
{
    struct state *state = ctx;
    (void)length;
    if (bytes) {
        http_request_pause(request);
        return;
    }
    state->pending = NULL;
    http_respond(request, 204, NULL, 0, NULL, 0);
}

static void stream_on_read(struct http_stream *stream, const char *bytes, size_t length, void *ctx)
{
    struct state *state = ctx;
    if (bytes) {
        (void)http_stream_write(stream, bytes, length);
        return;
    }
    state->stream = NULL;
    http_stream_close(stream);
}

static void stream_on_close(void *ctx)
{
    ((struct state *)ctx)->stream = NULL;
}

static void on_upgrade(struct http_stream *stream, void *ctx)
{
    ((struct state *)ctx)->stream = stream;
    http_stream_set_callbacks(stream, stream_on_read, NULL, stream_on_close, ctx);
}

static void handle(struct http_request *request, void *ctx)
{
    struct state *state = ctx;
    char way = http_request_path(request)[0] ? http_request_path(request)[1] : '\0';
    if (http_request_wants_upgrade(request, "x")) {
        http_respond_upgrade(request, "x", on_upgrade, state);
    } else if (way == 'c') {
        http_request_collect(request, 100, on_body, state);
    } else if (way == 'p') {
        state->pending = request;
        state->turns_pending = 0;
        http_request_on_cancel(request, on_cancel, state);
        http_request_read(request, 200, on_piece, state);
    } else if (way == 's') {
        http_respond_begin(request, 200, NULL, 0, -1);
        (void)http_respond_write(request, "abc", 3);
        http_respond_end(request);
    } else if (way == 'a') {
        http_request_abort(request);
    } else {
        http_respond(request, 200, NULL, 0, "ok", 2);
    }
}

static void drain_client(int fd)
{
    char buffer[4096];
    while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) > 0)
        ;
}

static void turn(struct event_base *base, struct http_server *server, struct state *state, int fd)
{
    struct http_server_stats stats;
    event_base_loop(base, EVLOOP_NONBLOCK);
    http_server_stats(server, &stats);
    assert(stats.input_bytes <= INPUT_MAX + 200);
    if (state->pending)
        http_request_resume(state->pending);
    drain_client(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct state state = {0};
    int pair[2];
    if (size < CUTS || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return 0;
    const struct http_server_options options = {.handler = handle,
        .ctx = &state,
        .request_line_bytes_max = 1024,
        .head_bytes_max = INPUT_MAX - 1024,
        .field_count_max = 16,
        .output_bytes_high = 1024};
    const struct http_peer peer = {.is_unix = true, .address = "unix"};
    struct event_base *base = event_base_new();
    struct http_server *server = http_server_create(base, &options);
    conn_create(server, pair[0], &peer, http_peers_connect(server->peers, "peer"), NULL);
    const uint8_t *next = data + CUTS, *end = data + size;
    for (int i = 0; i <= CUTS; i++) {
        size_t left = (size_t)(end - next);
        size_t piece = i < CUTS ? left * data[i] / 256 : left;
        ssize_t sent = send(pair[1], next, piece, MSG_NOSIGNAL);
        next += sent > 0 ? sent : 0;
        turn(base, server, &state, pair[1]);
    }
    shutdown(pair[1], SHUT_WR);
    for (int i = 0; i < TURNS; i++)
        turn(base, server, &state, pair[1]);
    close(pair[1]);
    for (int i = 0; i < TURNS; i++)
        event_base_loop(base, EVLOOP_NONBLOCK);
    assert(server->stats.connections == 0 && server->stats.requests_open == 0);
    assert(server->stats.streams == 0 && LIST_EMPTY(&server->conns));
    http_server_destroy(server);
    event_base_free(base);
    return 0;
}
