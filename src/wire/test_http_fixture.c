/* The server that the tests talk to: see test_http_fixture.h. */
#include "wire/test_http_fixture.h"

#include "base/memory.h"
#include "base/strbuf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* ------- handlers ------- */

static void note_cancelled(void *ctx)
{
    struct fixture *fix = ctx;
    fix->cancelled++;
    fix->pending = NULL;
}

void answer_text(struct http_request *request, int status, const char *text, size_t length)
{
    const struct http_field fields[] = {{"Content-Type", "text/plain"}};
    http_respond(request, status, fields, 1, text, length);
}

static void handle_hello(struct fixture *fix, struct http_request *request)
{
    (void)fix;
    answer_text(request, 200, "hello", 5);
}

static void on_echo(struct http_request *request, const char *body, size_t length, void *ctx)
{
    (void)ctx;
    answer_text(request, 200, body, length);
}

static void handle_echo(struct fixture *fix, struct http_request *request)
{
    http_request_collect(request, 0, on_echo, fix);
}

static void on_count(struct http_request *request, const char *bytes, size_t length, void *ctx)
{
    struct fixture *fix = ctx;
    char text[32];
    fix->received += length;
    if (bytes)
        return;
    int n = snprintf(text, sizeof text, "%zu", fix->received);
    answer_text(request, 200, text, (size_t)n);
}

static void handle_pieces(struct fixture *fix, struct http_request *request)
{
    http_request_read(request, SIZE_MAX, on_count, fix);
}

static void on_pausing(struct http_request *request, const char *bytes, size_t length, void *ctx)
{
    struct fixture *fix = ctx;
    fix->received += length;
    if (bytes)
        http_request_pause(request);
    else
        answer_text(request, 200, "ok", 2);
}

static void handle_pausing(struct fixture *fix, struct http_request *request)
{
    fix->pending = request;
    http_request_on_cancel(request, note_cancelled, fix);
    http_request_read(request, SIZE_MAX, on_pausing, fix);
}

static void handle_later(struct fixture *fix, struct http_request *request)
{
    fix->pending = request;
    http_request_on_cancel(request, note_cancelled, fix);
}

static void handle_void(struct fixture *fix, struct http_request *request)
{
    fix->pending = request; /* and no on_cancel */
}

static void stream_more(void *ctx)
{
    struct fixture *fix = ctx;
    static const char piece[PIECE];
    struct http_server_stats stats;
    bool more = true;
    fix->drained++;
    while (more && fix->streamed < STREAM_TOTAL) {
        more = http_respond_write(fix->pending, piece, sizeof piece);
        fix->streamed += sizeof piece;
    }
    http_server_stats(fix->server, &stats);
    if (stats.output_bytes > fix->most_output)
        fix->most_output = stats.output_bytes;
    if (more) {
        http_respond_end(fix->pending);
        fix->pending = NULL;
        fix->ended = true;
    }
}

static void handle_stream(struct fixture *fix, struct http_request *request)
{
    fix->pending = request;
    http_request_on_cancel(request, note_cancelled, fix);
    http_request_on_drain(request, stream_more, fix);
    http_respond_begin(request, 200, NULL, 0, -1);
    stream_more(fix);
}

static void handle_stream_void(struct fixture *fix, struct http_request *request)
{
    fix->pending = request; /* and no on_cancel */
    http_request_on_drain(request, stream_more, fix);
    http_respond_begin(request, 200, NULL, 0, -1);
    stream_more(fix);
}

static void handle_chunks(struct fixture *fix, struct http_request *request)
{
    (void)fix;
    http_respond_begin(request, 200, NULL, 0, -1);
    (void)http_respond_write(request, "one", 3);
    (void)http_respond_write(request, "", 0);
    (void)http_respond_write(request, "two", 3);
    http_respond_end(request);
}

/* Small and large pieces, of a pattern that tells when one is missing, double or out of place. */
static void handle_mixed(struct fixture *fix, struct http_request *request)
{
    static const size_t sizes[] = {1, 5000, 10, 70000, 3, 2000000, 4096, 4095, 1};
    size_t total = 0, at = 0;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        total += sizes[i];
    SCOPED(mem_scope) char *pattern = mem_alloc(total, 1);
    for (size_t i = 0; i < total; i++)
        pattern[i] = (char)(i % 251);
    bool chunked = http_request_query(request, "chunked") != NULL;
    fix->pending = request;
    http_request_on_cancel(request, note_cancelled, fix);
    http_respond_begin(request, 200, NULL, 0, chunked ? -1 : (int64_t)total);
    for (size_t i = 0; i < ARRAY_LEN(sizes); at += sizes[i++])
        (void)http_respond_write(request, pattern + at, sizes[i]);
    http_respond_end(request);
    fix->streamed = total;
}

static void handle_short(struct fixture *fix, struct http_request *request)
{
    (void)fix;
    http_respond_begin(request, 200, NULL, 0, 10);
    (void)http_respond_write(request, "12345", 5);
    http_respond_end(request);
}

static void handle_inject(struct fixture *fix, struct http_request *request)
{
    (void)fix;
    const struct http_field bad = {"X", "a\r\nSet-Cookie: stolen=1"};
    http_respond(request, 200, &bad, 1, "x", 1);
}

static void handle_inject_streamed(struct fixture *fix, struct http_request *request)
{
    (void)fix;
    const struct http_field bad = {"X y", "a"};
    http_respond_begin(request, 200, &bad, 1, 5);
    (void)http_respond_write(request, "12345", 5);
    http_respond_end(request);
}

static void handle_what(struct fixture *fix, struct http_request *request)
{
    struct http_field field;
    strbuf_clear(&fix->seen);
    strbuf_printf(&fix->seen, "%s %s", http_request_method(request), http_request_path(request));
    for (size_t i = 0; http_request_query_at(request, i, &field); i++)
        strbuf_printf(&fix->seen, " %s=%s", field.name, field.value);
    const char *x = http_request_header(request, "x-one");
    strbuf_printf(&fix->seen, " [%s]", x ? x : "-");
    answer_text(request, 200, fix->seen.text, fix->seen.length);
}

static void handle_who(struct fixture *fix, struct http_request *request)
{
    const struct http_peer *peer = http_request_peer(request);
    char text[128];
    (void)fix;
    int n = snprintf(text, sizeof text, "%d %d %u", peer->is_unix, peer->is_tls, peer->uid);
    answer_text(request, 200, text, (size_t)n);
}

static void on_stream_read(struct http_stream *stream, const char *bytes, size_t length, void *ctx)
{
    (void)ctx;
    if (!bytes) {
        (void)http_stream_write(stream, "bye", 3);
        http_stream_close(stream);
        return;
    }
    (void)http_stream_write(stream, bytes, length);
}

void note_closed(void *ctx)
{
    ((struct fixture *)ctx)->closed++;
}

static void on_upgraded(struct http_stream *stream, void *ctx)
{
    struct fixture *fix = ctx;
    fix->stream = stream;
    http_stream_set_callbacks(stream, on_stream_read, NULL, note_closed, fix);
}

static void handle_upgrade(struct fixture *fix, struct http_request *request)
{
    if (http_request_wants_upgrade(request, "echo"))
        http_respond_upgrade(request, "echo", on_upgraded, fix);
    else
        answer_text(request, 426, "", 0);
}

static void flood_more(void *ctx)
{
    struct fixture *fix = ctx;
    static const char piece[PIECE];
    struct http_server_stats stats;
    bool more = true;
    while (more && fix->streamed < STREAM_TOTAL) {
        more = http_stream_write(fix->stream, piece, sizeof piece);
        fix->streamed += sizeof piece;
    }
    http_server_stats(fix->server, &stats);
    if (stats.output_bytes > fix->most_output)
        fix->most_output = stats.output_bytes;
    if (more) {
        http_stream_close(fix->stream);
        fix->ended = true;
    }
}

static void on_flood(struct http_stream *stream, void *ctx)
{
    struct fixture *fix = ctx;
    fix->stream = stream;
    http_stream_set_callbacks(stream, on_stream_read, flood_more, note_closed, fix);
    flood_more(fix);
}

static void handle_flood(struct fixture *fix, struct http_request *request)
{
    http_respond_upgrade(request, "flood", on_flood, fix);
}

static const struct {
    const char *path;
    void (*handle)(struct fixture *fix, struct http_request *request);
} routes[] = {
    {"/hello", handle_hello},
    {"/echo", handle_echo},
    {"/pieces", handle_pieces},
    {"/pausing", handle_pausing},
    {"/later", handle_later},
    {"/void", handle_void},
    {"/stream", handle_stream},
    {"/chunks", handle_chunks},
    {"/mixed", handle_mixed},
    {"/short", handle_short},
    {"/inject", handle_inject},
    {"/inject-streamed", handle_inject_streamed},
    {"/who", handle_who},
    {"/upgrade", handle_upgrade},
    {"/stream-void", handle_stream_void},
    {"/flood", handle_flood},
};

static void handle(struct http_request *request, void *ctx)
{
    struct fixture *fix = ctx;
    fix->handled++;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (strcmp(routes[i].path, http_request_path(request)) == 0) {
            routes[i].handle(fix, request);
            return;
        }
    }
    handle_what(fix, request);
}

/* ------- the fixture ------- */

struct fixture *fixture_create(const struct http_server_options *extra)
{
    struct fixture *fix = mem_alloc(1, sizeof *fix);
    struct http_server_options options = extra ? *extra : (struct http_server_options){0};
    options.handler = handle;
    options.ctx = fix;
    fix->base = event_base_new();
    fix->server = http_server_create(fix->base, &options);
    assert_int_equal(http_server_listen_tcp(fix->server, "127.0.0.1:0", NULL, &fix->port, NULL), 0);
    return fix;
}

void fixture_destroy(struct fixture *fix)
{
    http_server_destroy(fix->server);
    event_base_free(fix->base);
    strbuf_finish(&fix->seen);
    free(fix);
}

void turn(struct fixture *fix)
{
    event_base_loop(fix->base, EVLOOP_NONBLOCK);
}

int dial(const struct fixture *fix)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons(fix->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

void send_bytes(struct fixture *fix, int fd, const char *bytes, size_t length)
{
    for (int turns = 0; length > 0; turns++) {
        assert_true(turns < TURNS_MAX);
        ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            bytes += n;
            length -= (size_t)n;
        }
        turn(fix);
    }
}

void send_text(struct fixture *fix, int fd, const char *text)
{
    send_bytes(fix, fd, text, strlen(text));
}

bool look(struct fixture *fix, int fd, struct strbuf *got)
{
    char buffer[65536];
    turn(fix);
    ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n > 0)
        strbuf_append(got, buffer, (size_t)n);
    else if (n == 0 || errno != EAGAIN)
        return false;
    else
        (void)poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 1);
    return true;
}

bool receive(struct fixture *fix, int fd, struct strbuf *got, const char *needle)
{
    for (int turns = 0; turns < TURNS_MAX; turns++) {
        if (needle && got->text && memmem(got->text, got->length, needle, strlen(needle)))
            return true;
        if (!look(fix, fd, got))
            return false;
    }
    fail_msg("nothing came");
    return false;
}

char *ask_to_end(struct fixture *fix, const char *text)
{
    struct strbuf got = {0};
    int fd = dial(fix);
    send_text(fix, fd, text);
    assert_false(receive(fix, fd, &got, NULL));
    close(fd);
    return strbuf_steal(&got);
}

void assert_answer(struct fixture *fix, const char *text, const char *status, const char *end)
{
    SCOPED(mem_scope) char *got = ask_to_end(fix, text);
    char start[64];
    snprintf(start, sizeof start, "HTTP/1.1 %s ", status);
    if (strncmp(got, start, strlen(start)) != 0)
        print_error("asked: %s\ngot: %s\n", text, got);
    assert_memory_equal(got, start, strlen(start));
    if (end)
        assert_string_equal(got + strlen(got) - strlen(end), end);
}

int count_of(const char *text, const char *needle)
{
    int count = 0;
    for (const char *at = strstr(text, needle); at; at = strstr(at + 1, needle))
        count++;
    return count;
}

void turn_until(struct fixture *fix, const int *counter, int value)
{
    for (int turns = 0; *counter < value; turns++) {
        assert_true(turns < TURNS_MAX);
        event_base_loop(fix->base, EVLOOP_ONCE);
    }
}
