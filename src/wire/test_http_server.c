/* Tests of the server through real sockets. Server and client share the test's one thread: the
 * loop is turned between looks at the client's socket, so the server's state can be looked at
 * directly, and nothing waits longer than it has to. */
#include "wire/http.h"

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

enum { TURNS_MAX = 20000, STREAM_TOTAL = 16 * 1024 * 1024, PIECE = 16 * 1024 };

#define HOST  "Host: a\r\n"
#define HELLO "GET /hello HTTP/1.1\r\n" HOST "\r\n"

struct fixture {
    struct event_base *base;
    struct http_server *server;
    uint16_t port;
    int handled;
    int cancelled;
    int drained;
    int closed;
    struct http_request *pending;
    struct http_stream *stream;
    size_t streamed;
    size_t received;
    size_t most_output;
    bool ended;
    struct strbuf seen; /* what handlers note */
};

/* ------- handlers ------- */

static void note_cancelled(void *ctx)
{
    struct fixture *fix = ctx;
    fix->cancelled++;
    fix->pending = NULL;
}

static void answer_text(struct http_request *request, int status, const char *text, size_t length)
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

static void handle_chunks(struct fixture *fix, struct http_request *request)
{
    (void)fix;
    http_respond_begin(request, 200, NULL, 0, -1);
    (void)http_respond_write(request, "one", 3);
    (void)http_respond_write(request, "", 0);
    (void)http_respond_write(request, "two", 3);
    http_respond_end(request);
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

static void note_closed(void *ctx)
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
    {"/short", handle_short},
    {"/inject", handle_inject},
    {"/inject-streamed", handle_inject_streamed},
    {"/who", handle_who},
    {"/upgrade", handle_upgrade},
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

static struct fixture *fixture_create(const struct http_server_options *extra)
{
    struct fixture *fix = mem_alloc(1, sizeof *fix);
    struct http_server_options options = extra ? *extra : (struct http_server_options){0};
    options.handler = handle;
    options.ctx = fix;
    fix->base = event_base_new();
    fix->server = http_server_create(fix->base, &options);
    assert_int_equal(
        http_server_listen_tcp(fix->server, "127.0.0.1:0", NULL, &fix->port, NULL), 0);
    return fix;
}

static void fixture_destroy(struct fixture *fix)
{
    http_server_destroy(fix->server);
    event_base_free(fix->base);
    strbuf_finish(&fix->seen);
    free(fix);
}

static void turn(struct fixture *fix)
{
    event_base_loop(fix->base, EVLOOP_NONBLOCK);
}

static int dial(const struct fixture *fix)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons(fix->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void send_bytes(struct fixture *fix, int fd, const char *bytes, size_t length)
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

static void send_text(struct fixture *fix, int fd, const char *text)
{
    send_bytes(fix, fd, text, strlen(text));
}

/* Receives into got until it holds `needle` (NULL: until the end). False when the end came. */
static bool receive(struct fixture *fix, int fd, struct strbuf *got, const char *needle)
{
    char buffer[65536];
    for (int turns = 0; turns < TURNS_MAX; turns++) {
        if (needle && got->text && memmem(got->text, got->length, needle, strlen(needle)))
            return true;
        turn(fix);
        ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
        if (n > 0)
            strbuf_append(got, buffer, (size_t)n);
        else if (n == 0 || errno != EAGAIN)
            return false;
        else
            (void)poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 1);
    }
    fail_msg("nothing came");
    return false;
}

/* Sends text on a connection of its own that is closed by the server in the end. */
static char *ask_to_end(struct fixture *fix, const char *text)
{
    struct strbuf got = {0};
    int fd = dial(fix);
    send_text(fix, fd, text);
    assert_false(receive(fix, fd, &got, NULL));
    close(fd);
    return strbuf_steal(&got);
}

static void assert_answer(struct fixture *fix, const char *text, const char *status, const char *end)
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

static int count_of(const char *text, const char *needle)
{
    int count = 0;
    for (const char *at = strstr(text, needle); at; at = strstr(at + 1, needle))
        count++;
    return count;
}

/* ------- tests ------- */

#define CLOSE "Connection: close\r\n"

static void a_request_is_answered(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    assert_answer(fix, "GET /hello HTTP/1.1\r\n" HOST CLOSE "\r\n", "200", "\r\n\r\nhello");
    assert_answer(fix, "GET /hello HTTP/1.0\r\n\r\n", "200", "\r\n\r\nhello");
    fixture_destroy(fix);
}

static void a_handler_sees_what_was_asked(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    assert_answer(fix,
        "DELETE /a%20b/c?x=1&y=%26+z&flag&&x=2 HTTP/1.1\r\n" HOST CLOSE "X-One:  v w \r\n\r\n", "200",
        "DELETE /a b/c x=1 y=& z flag= x=2 [v w]");
    assert_answer(fix, "GET http://a?q=1 HTTP/1.1\r\n" HOST CLOSE "\r\n", "200", "GET / q=1 [-]");
    assert_answer(fix, "OPTIONS * HTTP/1.1\r\n" HOST CLOSE "\r\n", "200", "OPTIONS * [-]");
    fixture_destroy(fix);
}

static void misleading_targets_never_reach_the_handler(void **state)
{
    (void)state;
    static const char *const targets[] = {"/../etc/passwd", "/a/%2e%2e/b", "//a", "/a%2fb",
        "/a%00", "/%", "/?a=%", "/?a=%00", "/?%ff=1"};
    struct fixture *fix = fixture_create(NULL);
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        char text[128];
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n" HOST "\r\n", targets[i]);
        assert_answer(fix, text, "400", "\"}\n");
    }
    struct strbuf many = {0};
    strbuf_puts(&many, "GET /?a");
    for (int i = 0; i < 64; i++)
        strbuf_puts(&many, "&a");
    strbuf_puts(&many, " HTTP/1.1\r\n" HOST "\r\n");
    assert_answer(fix, many.text, "400", "\"}\n");
    strbuf_finish(&many);
    assert_int_equal(fix->handled, 0);
    fixture_destroy(fix);
}

static void a_malformed_request_is_answered_and_the_connection_closed(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    SCOPED(mem_scope)
    char *got = ask_to_end(fix,
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        "0\r\n\r\n" HELLO);
    assert_memory_equal(got, "HTTP/1.1 400 ", 13);
    assert_non_null(strstr(got, "application/problem+json"));
    assert_int_equal(count_of(got, "HTTP/1.1"), 1); /* the smuggled one is not served */
    assert_int_equal(fix->handled, 0);
    fixture_destroy(fix);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    struct strbuf text = {0}, got = {0};
    for (int i = 0; i < 200; i++)
        strbuf_printf(&text, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n<%03d>", i);
    strbuf_puts(&text, "GET /hello HTTP/1.1\r\n" HOST CLOSE "\r\n");
    int fd = dial(fix);
    send_bytes(fix, fd, text.text, text.length);
    assert_false(receive(fix, fd, &got, NULL));
    const char *at = got.text;
    for (int i = 0; i < 200; i++) {
        char body[8];
        snprintf(body, sizeof body, "<%03d>", i);
        at = strstr(at, body);
        assert_non_null(at);
    }
    assert_int_equal(fix->handled, 201);
    close(fd);
    strbuf_finish(&text);
    strbuf_finish(&got);
    fixture_destroy(fix);
}

static void a_second_request_waits_for_the_first_answer(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    struct strbuf got = {0};
    int fd = dial(fix);
    send_text(fix, fd, "GET /later HTTP/1.1\r\n" HOST "\r\n" HELLO);
    for (int i = 0; i < 10; i++)
        turn(fix);
    assert_int_equal(fix->handled, 1);
    answer_text(fix->pending, 200, "first", 5);
    assert_true(receive(fix, fd, &got, "hello"));
    assert_true(strstr(got.text, "first") < strstr(got.text, "hello"));
    close(fd);
    strbuf_finish(&got);
    fixture_destroy(fix);
}

static void a_request_byte_by_byte_is_the_same_request(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    static const char text[] = "POST /echo HTTP/1.1\r\n" HOST CLOSE
                               "Transfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n";
    struct strbuf got = {0};
    int fd = dial(fix);
    for (size_t i = 0; i < strlen(text); i++)
        send_bytes(fix, fd, text + i, 1);
    assert_false(receive(fix, fd, &got, NULL));
    assert_non_null(strstr(got.text, "\r\n\r\nhello!"));
    close(fd);
    strbuf_finish(&got);
    fixture_destroy(fix);
}

static void head_gets_the_length_and_no_body(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    SCOPED(mem_scope)
    char *got = ask_to_end(fix, "HEAD /hello HTTP/1.1\r\n" HOST "\r\n"
                                "HEAD /chunks HTTP/1.1\r\n" HOST CLOSE "\r\n");
    assert_int_equal(count_of(got, "HTTP/1.1 200 OK\r\n"), 2);
    assert_non_null(strstr(got, "Content-Length: 5\r\n"));
    assert_null(strstr(got, "hello"));
    assert_string_equal(got + strlen(got) - 4, "\r\n\r\n");
    assert_null(strstr(got, "one"));
    fixture_destroy(fix);
}

static void streamed_answers_are_chunked_or_end_with_the_connection(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    assert_answer(fix, "GET /chunks HTTP/1.1\r\n" HOST CLOSE "\r\n", "200",
        "Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
    assert_answer(fix, "GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200",
        "Connection: close\r\n\r\nonetwo");
    fixture_destroy(fix);
}

static void an_answer_shorter_than_announced_cuts_the_connection(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    SCOPED(mem_scope) char *got = ask_to_end(fix, "GET /short HTTP/1.1\r\n" HOST "\r\n" HELLO);
    assert_null(strstr(got, "hello"));
    fixture_destroy(fix);
}

static void expect_continue_is_answered_when_the_body_is_wanted(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    struct strbuf got = {0};
    int fd = dial(fix);
    send_text(fix, fd,
        "POST /echo HTTP/1.1\r\n" HOST CLOSE "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_true(receive(fix, fd, &got, "HTTP/1.1 100 Continue\r\n\r\n"));
    send_text(fix, fd, "abc");
    assert_false(receive(fix, fd, &got, NULL));
    assert_non_null(strstr(got.text, "\r\n\r\nabc"));
    close(fd);
    strbuf_finish(&got);
    /* Not wanted: the answer comes instead, and the body, which may or may not follow, cannot be
     * taken for a request. */
    SCOPED(mem_scope)
    char *refused = ask_to_end(fix, "POST /hello HTTP/1.1\r\n" HOST
                                    "Expect: 100-continue\r\nContent-Length: 64\r\n\r\n" HELLO);
    assert_null(strstr(refused, "100 Continue"));
    assert_int_equal(count_of(refused, "HTTP/1.1 200"), 1);
    fixture_destroy(fix);
}

static void an_unread_body_is_dropped_and_the_connection_kept(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    SCOPED(mem_scope)
    char *got = ask_to_end(fix, "POST /hello HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n12345"
                                "GET /hello HTTP/1.1\r\n" HOST CLOSE "\r\n");
    assert_int_equal(count_of(got, "hello"), 2);
    fixture_destroy(fix);
}

static void a_body_past_its_limit_is_413(void **state)
{
    (void)state;
    const struct http_server_options options = {.body_bytes_max = 10};
    struct fixture *fix = fixture_create(&options);
    assert_answer(fix, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\n", "413", NULL);
    assert_answer(fix,
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
        "8\r\n12345678\r\n3\r\n9ab\r\n0\r\n\r\n", "413", NULL);
    assert_answer(fix, "POST /echo HTTP/1.1\r\n" HOST CLOSE "Content-Length: 10\r\n\r\n1234567890",
        "200", "1234567890");
    fixture_destroy(fix);
}

static void a_malformed_chunk_is_400(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    assert_answer(fix,
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        "400", NULL);
    fixture_destroy(fix);
}

static void a_body_in_pieces_needs_no_more_memory_than_a_buffer(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    SCOPED(mem_scope) char *piece = mem_alloc(1, 65536);
    struct strbuf got = {0};
    struct http_server_stats stats;
    int fd = dial(fix);
    send_text(fix, fd, "POST /pieces HTTP/1.1\r\n" HOST CLOSE "Content-Length: 8388608\r\n\r\n");
    for (int i = 0; i < 128; i++) {
        send_bytes(fix, fd, piece, 65536);
        http_server_stats(fix->server, &stats);
        assert_true(stats.input_bytes <= 40 * 1024);
    }
    assert_false(receive(fix, fd, &got, NULL));
    assert_non_null(strstr(got.text, "\r\n\r\n8388608"));
    close(fd);
    strbuf_finish(&got);
    fixture_destroy(fix);
}

static void a_paused_body_holds_the_sender_back(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    SCOPED(mem_scope) char *piece = mem_alloc(1, 65536);
    struct http_server_stats stats;
    struct strbuf got = {0};
    size_t sent = 0, total = 64 * 1024 * 1024;
    int fd = dial(fix), idle = 0;
    send_text(fix, fd, "POST /pausing HTTP/1.1\r\n" HOST CLOSE "Content-Length: 67108864\r\n\r\n");
    while (idle < 100) { /* until the system takes no more */
        size_t left = total - sent < 65536 ? total - sent : 65536;
        ssize_t n = left ? send(fd, piece, left, MSG_NOSIGNAL | MSG_DONTWAIT) : -1;
        idle = n > 0 ? 0 : idle + 1;
        sent += n > 0 ? (size_t)n : 0;
        turn(fix);
    }
    assert_true(sent < total);
    http_server_stats(fix->server, &stats);
    assert_true(stats.input_bytes <= 40 * 1024);
    for (int turns = 0; fix->received < total; turns++) {
        assert_true(turns < 10 * TURNS_MAX);
        size_t left = total - sent < 65536 ? total - sent : 65536;
        ssize_t n = left ? send(fd, piece, left, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
        sent += n > 0 ? (size_t)n : 0;
        http_request_resume(fix->pending);
        turn(fix);
    }
    http_request_resume(fix->pending);
    assert_false(receive(fix, fd, &got, NULL));
    assert_int_equal(fix->received, total);
    close(fd);
    strbuf_finish(&got);
    fixture_destroy(fix);
}

static void a_slow_reader_holds_the_writer_back(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    struct strbuf got = {0};
    int fd = dial(fix), small = 256 * 1024;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    send_text(fix, fd, "GET /stream HTTP/1.1\r\n" HOST CLOSE "\r\n");
    for (int i = 0; i < 100; i++)
        turn(fix);
    assert_false(fix->ended);
    assert_true(fix->streamed < STREAM_TOTAL);
    assert_false(receive(fix, fd, &got, NULL));
    assert_true(fix->ended);
    assert_true(fix->drained > 10);
    assert_true(fix->most_output <= 64 * 1024 + PIECE + 64);
    assert_true(got.length > STREAM_TOTAL);
    close(fd);
    strbuf_finish(&got);
    fixture_destroy(fix);
}

static void who_does_not_read_answers_gets_no_further_ones(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    struct http_server_stats stats;
    struct strbuf text = {0};
    strbuf_puts(&text, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 8192\r\n\r\n");
    for (int i = 0; i < 8192; i++)
        strbuf_putc(&text, 'x');
    int fd = dial(fix), idle = 0;
    size_t sent = 0;
    while (idle < 100 && sent < 512 * 1024 * 1024UL) {
        size_t at = sent % text.length;
        ssize_t n = send(fd, text.text + at, text.length - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        idle = n > 0 ? 0 : idle + 1;
        sent += n > 0 ? (size_t)n : 0;
        turn(fix);
        http_server_stats(fix->server, &stats);
        assert_true(stats.output_bytes < 64 * 1024 + 9000);
        assert_true(stats.input_bytes <= 40 * 1024);
    }
    assert_true(idle == 100);
    close(fd);
    strbuf_finish(&text);
    fixture_destroy(fix);
}

static void turn_until(struct fixture *fix, const int *counter, int value)
{
    for (int turns = 0; *counter < value; turns++) {
        assert_true(turns < TURNS_MAX);
        event_base_loop(fix->base, EVLOOP_ONCE);
    }
}

static void a_client_that_leaves_cancels_its_request(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    struct http_server_stats stats;
    int fd = dial(fix);
    send_text(fix, fd, "GET /later HTTP/1.1\r\n" HOST "\r\n");
    while (!fix->pending)
        turn(fix);
    close(fd);
    turn_until(fix, &fix->cancelled, 1);
    fd = dial(fix);
    send_text(fix, fd, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
    close(fd);
    turn_until(fix, &fix->cancelled, 2);
    http_server_stats(fix->server, &stats);
    assert_int_equal(stats.requests_open, 0);
    assert_int_equal(stats.connections, 0);
    assert_int_equal(stats.cancelled, 2);
    fixture_destroy(fix);
}

static void a_client_that_leaves_in_its_body_is_forgotten(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    struct http_server_stats stats = {.connections = 1};
    int fd = dial(fix);
    send_text(fix, fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n123");
    while (fix->handled == 0)
        turn(fix);
    close(fd);
    for (int turns = 0; stats.connections > 0; turns++) {
        assert_true(turns < TURNS_MAX);
        event_base_loop(fix->base, EVLOOP_ONCE);
        http_server_stats(fix->server, &stats);
    }
    assert_int_equal(stats.requests_open, 0);
    fixture_destroy(fix);
}

static void a_request_without_on_cancel_may_be_answered_into_the_void(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    struct http_server_stats stats = {.connections = 1};
    int fd = dial(fix);
    send_text(fix, fd, "GET /void HTTP/1.1\r\n" HOST "\r\n");
    while (!fix->pending)
        turn(fix);
    close(fd);
    for (int turns = 0; stats.connections > 0; turns++) {
        assert_true(turns < TURNS_MAX);
        event_base_loop(fix->base, EVLOOP_ONCE);
        http_server_stats(fix->server, &stats);
    }
    assert_int_equal(stats.requests_open, 1);
    assert_string_equal(http_request_path(fix->pending), "/void");
    answer_text(fix->pending, 200, "nobody", 6);
    turn(fix);
    http_server_stats(fix->server, &stats);
    assert_int_equal(stats.requests_open, 0);
    fixture_destroy(fix);
}

static void injected_fields_become_a_500(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    static const char *const texts[] = {"GET /inject HTTP/1.1\r\n" HOST CLOSE "\r\n",
        "GET /inject-streamed HTTP/1.1\r\n" HOST CLOSE "\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        SCOPED(mem_scope) char *got = ask_to_end(fix, texts[i]);
        assert_memory_equal(got, "HTTP/1.1 500 ", 13);
        assert_null(strstr(got, "stolen"));
        assert_null(strstr(got, "12345"));
    }
    fixture_destroy(fix);
}

static void a_head_that_comes_too_slowly_is_408(void **state)
{
    (void)state;
    const struct http_server_options options = {.head_ms = 20};
    struct fixture *fix = fixture_create(&options);
    assert_answer(fix, "GET /hello HTTP/1.1\r\nHo", "408", NULL);
    fixture_destroy(fix);
}

static void a_body_that_comes_too_slowly_is_408(void **state)
{
    (void)state;
    const struct http_server_options options = {.body_ms = 20};
    struct fixture *fix = fixture_create(&options);
    assert_answer(fix, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\n1", "408", NULL);
    fixture_destroy(fix);
}

static void an_idle_connection_is_closed_without_a_word(void **state)
{
    (void)state;
    const struct http_server_options options = {.idle_ms = 20};
    struct fixture *fix = fixture_create(&options);
    SCOPED(mem_scope) char *nothing = ask_to_end(fix, "");
    assert_string_equal(nothing, "");
    SCOPED(mem_scope) char *one = ask_to_end(fix, HELLO);
    assert_int_equal(count_of(one, "HTTP/1.1"), 1);
    fixture_destroy(fix);
}

static void who_never_reads_is_cut_off(void **state)
{
    (void)state;
    const struct http_server_options options = {.write_ms = 20};
    struct fixture *fix = fixture_create(&options);
    struct http_server_stats stats;
    int fd = dial(fix);
    send_text(fix, fd, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
    turn_until(fix, &fix->cancelled, 1);
    http_server_stats(fix->server, &stats);
    assert_int_equal(stats.timed_out, 1);
    close(fd);
    fixture_destroy(fix);
}

static void connections_past_their_limits_are_turned_away(void **state)
{
    (void)state;
    const struct http_server_options all = {.connections_max = 2};
    const struct http_server_options each = {.connections_per_peer_max = 2};
    const struct http_server_options *const rows[] = {&all, &each};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fixture *fix = fixture_create(rows[i]);
        struct http_server_stats stats;
        struct strbuf got = {0};
        int first = dial(fix), second = dial(fix);
        send_text(fix, first, HELLO);
        send_text(fix, second, HELLO);
        assert_true(receive(fix, second, &got, "hello"));
        int third = dial(fix);
        strbuf_clear(&got);
        assert_false(receive(fix, third, &got, NULL));
        assert_memory_equal(got.text, "HTTP/1.1 503 ", 13);
        close(first);
        close(third);
        http_server_stats(fix->server, &stats);
        assert_int_equal(stats.refused, 1);
        for (int turns = 0; stats.connections > 1; turns++) {
            assert_true(turns < TURNS_MAX);
            turn(fix);
            http_server_stats(fix->server, &stats);
        }
        int fourth = dial(fix);
        send_text(fix, fourth, HELLO);
        strbuf_clear(&got);
        assert_true(receive(fix, fourth, &got, "hello"));
        close(second);
        close(fourth);
        strbuf_finish(&got);
        fixture_destroy(fix);
    }
}

static void requests_past_the_rate_are_429_with_a_time_to_wait(void **state)
{
    (void)state;
    const struct http_server_options options = {.requests_per_s = 1, .requests_burst = 3};
    struct fixture *fix = fixture_create(&options);
    struct http_server_stats stats;
    SCOPED(mem_scope)
    char *got = ask_to_end(fix, HELLO HELLO HELLO "GET /hello HTTP/1.1\r\n" HOST CLOSE "\r\n");
    assert_int_equal(count_of(got, "HTTP/1.1 200"), 3);
    assert_int_equal(count_of(got, "HTTP/1.1 429"), 1);
    assert_non_null(strstr(got, "Retry-After: 1\r\n"));
    http_server_stats(fix->server, &stats);
    assert_int_equal(stats.throttled, 1);
    /* A new connection is still the same peer. */
    assert_answer(fix, "GET /hello HTTP/1.1\r\n" HOST CLOSE "\r\n", "429", NULL);
    fixture_destroy(fix);
}

static void an_upgraded_connection_carries_bytes_both_ways(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    struct strbuf got = {0};
    int fd = dial(fix);
    send_text(fix, fd,
        "GET /upgrade HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: echo\r\n\r\nearly");
    assert_true(receive(fix, fd, &got, "\r\n\r\nearly"));
    assert_memory_equal(got.text, "HTTP/1.1 101 ", 13);
    send_text(fix, fd, " and late");
    assert_true(receive(fix, fd, &got, " and late"));
    shutdown(fd, SHUT_WR);
    assert_false(receive(fix, fd, &got, NULL));
    assert_string_equal(got.text + got.length - 3, "bye");
    assert_int_equal(fix->closed, 0);
    close(fd);
    strbuf_finish(&got);
    assert_answer(fix, "GET /upgrade HTTP/1.1\r\n" HOST CLOSE "Upgrade: echo\r\n\r\n", "426", NULL);
    fixture_destroy(fix);
}

static void destroying_the_server_closes_streams_and_cancels_requests(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    struct strbuf got = {0};
    int first = dial(fix), second = dial(fix);
    send_text(fix, first, "GET /upgrade HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_true(receive(fix, first, &got, "\r\n\r\n"));
    send_text(fix, second, "GET /later HTTP/1.1\r\n" HOST "\r\n");
    while (!fix->pending)
        turn(fix);
    http_server_destroy(fix->server);
    fix->server = NULL;
    assert_int_equal(fix->closed, 1);
    assert_int_equal(fix->cancelled, 1);
    close(first);
    close(second);
    strbuf_finish(&got);
    fixture_destroy(fix);
}

static void draining_finishes_what_runs_and_takes_nothing_new(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    struct strbuf got = {0};
    int idle = dial(fix), busy = dial(fix), done = 0;
    send_text(fix, idle, HELLO);
    assert_true(receive(fix, idle, &got, "hello"));
    send_text(fix, busy, "GET /later HTTP/1.1\r\n" HOST "\r\n");
    while (!fix->pending)
        turn(fix);
    http_server_drain(fix->server, 60000, note_closed, fix);
    assert_false(receive(fix, idle, &got, NULL));
    assert_int_equal(fix->closed, 0);
    answer_text(fix->pending, 200, "finished", 8);
    strbuf_clear(&got);
    assert_false(receive(fix, busy, &got, NULL));
    assert_non_null(strstr(got.text, "Connection: close\r\n"));
    assert_non_null(strstr(got.text, "finished"));
    close(busy);
    turn_until(fix, &fix->closed, 1);
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons(fix->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    done = connect(late, (struct sockaddr *)&address, sizeof address);
    assert_int_equal(done, -1);
    close(late);
    close(idle);
    strbuf_finish(&got);
    fixture_destroy(fix);
}

static void draining_cuts_what_outlasts_the_grace(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    int fd = dial(fix);
    send_text(fix, fd, "GET /later HTTP/1.1\r\n" HOST "\r\n");
    while (!fix->pending)
        turn(fix);
    http_server_drain(fix->server, 10, note_closed, fix);
    turn_until(fix, &fix->closed, 1);
    assert_int_equal(fix->cancelled, 1);
    close(fd);
    fixture_destroy(fix);
}

/* ------- Unix sockets ------- */

static int dial_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

static void a_unix_socket_tells_who_asks(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    char folder[] = "/tmp/muster-test-XXXXXX", path[64], want[64];
    struct strbuf got = {0};
    struct stat st;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/s", folder);
    assert_int_equal(http_server_listen_unix(fix->server, path, 0600, NULL), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    int fd = dial_unix(path);
    send_text(fix, fd, "GET /who HTTP/1.1\r\n" HOST CLOSE "\r\n");
    assert_false(receive(fix, fd, &got, NULL));
    snprintf(want, sizeof want, "\r\n\r\n1 0 %u", getuid());
    assert_non_null(strstr(got.text, want));
    close(fd);
    strbuf_finish(&got);
    fixture_destroy(fix);
    assert_int_equal(stat(path, &st), -1);
    rmdir(folder);
}

static void only_a_stale_socket_is_replaced(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    struct fixture *other = fixture_create(NULL);
    char folder[] = "/tmp/muster-test-XXXXXX", path[64];
    struct error err = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/s", folder);
    /* A file of another kind is left alone. */
    FILE *file = fopen(path, "w");
    fclose(file);
    assert_int_equal(http_server_listen_unix(fix->server, path, 0600, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    unlink(path);
    /* A socket somebody left behind is replaced. */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int left = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(left, (struct sockaddr *)&address, sizeof address), 0);
    close(left);
    assert_int_equal(http_server_listen_unix(fix->server, path, 0660, &err), 0);
    /* One that is answered is not. */
    assert_int_equal(http_server_listen_unix(other->server, path, 0600, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    fixture_destroy(other);
    int fd = dial_unix(path);
    assert_true(fd >= 0);
    close(fd);
    fixture_destroy(fix);
    rmdir(folder);
}

static void addresses_that_are_none_are_refused(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    static const char *const texts[] = {"", "localhost:80", "127.0.0.1", "127.0.0.1:", "::1:80",
        "127.0.0.1:65536", "127.0.0.1:-1", "[127.0.0.1]:80", "1.2.3:80"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct error err = {0};
        assert_int_equal(http_server_listen_tcp(fix->server, texts[i], NULL, NULL, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
    }
    fixture_destroy(fix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_answered),
        cmocka_unit_test(a_handler_sees_what_was_asked),
        cmocka_unit_test(misleading_targets_never_reach_the_handler),
        cmocka_unit_test(a_malformed_request_is_answered_and_the_connection_closed),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(a_second_request_waits_for_the_first_answer),
        cmocka_unit_test(a_request_byte_by_byte_is_the_same_request),
        cmocka_unit_test(head_gets_the_length_and_no_body),
        cmocka_unit_test(streamed_answers_are_chunked_or_end_with_the_connection),
        cmocka_unit_test(an_answer_shorter_than_announced_cuts_the_connection),
        cmocka_unit_test(expect_continue_is_answered_when_the_body_is_wanted),
        cmocka_unit_test(an_unread_body_is_dropped_and_the_connection_kept),
        cmocka_unit_test(a_body_past_its_limit_is_413),
        cmocka_unit_test(a_malformed_chunk_is_400),
        cmocka_unit_test(a_body_in_pieces_needs_no_more_memory_than_a_buffer),
        cmocka_unit_test(a_paused_body_holds_the_sender_back),
        cmocka_unit_test(a_slow_reader_holds_the_writer_back),
        cmocka_unit_test(who_does_not_read_answers_gets_no_further_ones),
        cmocka_unit_test(a_client_that_leaves_cancels_its_request),
        cmocka_unit_test(a_client_that_leaves_in_its_body_is_forgotten),
        cmocka_unit_test(a_request_without_on_cancel_may_be_answered_into_the_void),
        cmocka_unit_test(injected_fields_become_a_500),
        cmocka_unit_test(a_head_that_comes_too_slowly_is_408),
        cmocka_unit_test(a_body_that_comes_too_slowly_is_408),
        cmocka_unit_test(an_idle_connection_is_closed_without_a_word),
        cmocka_unit_test(who_never_reads_is_cut_off),
        cmocka_unit_test(connections_past_their_limits_are_turned_away),
        cmocka_unit_test(requests_past_the_rate_are_429_with_a_time_to_wait),
        cmocka_unit_test(an_upgraded_connection_carries_bytes_both_ways),
        cmocka_unit_test(destroying_the_server_closes_streams_and_cancels_requests),
        cmocka_unit_test(draining_finishes_what_runs_and_takes_nothing_new),
        cmocka_unit_test(draining_cuts_what_outlasts_the_grace),
        cmocka_unit_test(a_unix_socket_tells_who_asks),
        cmocka_unit_test(only_a_stale_socket_is_replaced),
        cmocka_unit_test(addresses_that_are_none_are_refused),
    };
    return cmocka_run_group_tests_name("http server", tests, NULL, NULL);
}
