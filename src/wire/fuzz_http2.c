/* Fuzz target: a connection of HTTP/2, once its preface is there. The input is the frames a client
 * sends, cut where its first bytes say; the path chooses how it is answered. Whatever comes, no
 * more is held than the windows allow, and nothing is left open. */
#include "base/clock.h"
#include "wire/http2.h"

#include <sys/socket.h>
#include <unistd.h>

enum { CUTS = 3, TURNS = 40, HELD_MAX = HTTP2_WINDOW_BYTES + 64 * 1024 };

struct state {
    struct http_request *pending;
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

static void handle(struct http_request *request, void *ctx)
{
    struct state *state = ctx;
    char way = http_request_path(request)[0] ? http_request_path(request)[1] : '\0';
    if (way == 'c') {
        http_request_collect(request, 100, on_body, state);
    } else if (way == 'p' && !state->pending) {
        state->pending = request;
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

static void turn(struct event_base *base, struct http_server *server, struct state *state, int fd)
{
    struct http_server_stats stats;
    char buffer[4096];
    event_base_loop(base, EVLOOP_NONBLOCK);
    http_server_stats(server, &stats);
    assert(stats.input_bytes <= HELD_MAX);
    if (state->pending)
        http_request_resume(state->pending);
    while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) > 0)
        ;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    struct state state = {0};
    int both[2];
    if (size < CUTS || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, both) < 0)
        return 0;
    const struct http_server_options options = {.handler = handle,
        .ctx = &state,
        .http2 = true,
        .request_line_bytes_max = 1024,
        .head_bytes_max = 3072,
        .field_count_max = 16,
        .output_bytes_high = 1024};
    const struct http_peer peer = {.is_unix = true, .address = "unix"};
    struct event_base *base = event_base_new();
    struct http_server *server = http_server_create(base, &options);
    conn_create(server, both[0], &peer, http_peers_connect(server->peers, "peer"), NULL);
    const uint8_t *next = data + CUTS, *end = data + size;
    ssize_t sent = send(both[1], preface, sizeof preface - 1, MSG_NOSIGNAL);
    for (int i = 0; i <= CUTS; i++) {
        size_t left = (size_t)(end - next);
        size_t piece = i < CUTS ? left * data[i] / 256 : left;
        sent = send(both[1], next, piece, MSG_NOSIGNAL);
        next += sent > 0 ? sent : 0;
        turn(base, server, &state, both[1]);
    }
    shutdown(both[1], SHUT_WR);
    for (int i = 0; i < TURNS; i++)
        turn(base, server, &state, both[1]);
    close(both[1]);
    for (int i = 0; i < TURNS; i++)
        event_base_loop(base, EVLOOP_NONBLOCK);
    assert(server->stats.connections == 0 && server->stats.requests_open == 0);
    assert(LIST_EMPTY(&server->conns));
    http_server_destroy(server);
    event_base_free(base);
    return 0;
}
