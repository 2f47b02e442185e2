/* Tests of what the server answers, through real sockets. Limits: test_http_limits.c. */
#include "wire/test_http_fixture.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "wire/http_body.h"

#include <arpa/inet.h>
#include <event2/event.h>
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
        "DELETE /a%20b/c?x=1&y=%26+z&flag&&x=2 HTTP/1.1\r\n" HOST CLOSE "X-One:  v w \r\n\r\n",
        "200", "DELETE /a b/c x=1 y=& z flag= x=2 [v w]");
    assert_answer(fix, "GET http://a?q=1 HTTP/1.1\r\n" HOST CLOSE "\r\n", "200", "GET / q=1 [-]");
    assert_answer(fix, "OPTIONS * HTTP/1.1\r\n" HOST CLOSE "\r\n", "200", "OPTIONS * [-]");
    fixture_destroy(fix);
}

static void misleading_targets_never_reach_the_handler(void **state)
{
    (void)state;
    static const char *const targets[] = {"/../etc/passwd", "/a/%2e%2e/b", "//a", "/a%2fb", "/a%00",
        "/%", "/?a=%", "/?a=%00", "/?%ff=1"};
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

/* Requests that are there at once are read in a row before one of them is looked at. */
static void requests_that_come_at_once_keep_apart(void **state)
{
    enum { CLIENTS = 6, LARGE = 9000 };
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    struct strbuf got[CLIENTS] = {0}, large = {0};
    int fds[CLIENTS];
    strbuf_printf(&large, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n", LARGE);
    for (int i = 0; i < LARGE; i++)
        strbuf_puts(&large, i % 100 ? "l" : "L");
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = dial(fix);
    for (int round = 0; round < 3; round++) {
        turn(fix); /* all are accepted, and idle */
        const char *const texts[] = {HELLO, HELLO HELLO, "GET /hel", large.text,
            "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n<12", HELLO};
        for (int i = 0; i < CLIENTS; i++) {
            strbuf_clear(&got[i]);
            assert_int_equal(send(fds[i], texts[i], strlen(texts[i]), 0), strlen(texts[i]));
        }
        turn(fix);
        send_text(fix, fds[2], "lo HTTP/1.1\r\n" HOST "\r\n");
        send_text(fix, fds[4], "3>");
        assert_true(receive(fix, fds[3], &got[3], large.text + large.length - LARGE));
        assert_true(receive(fix, fds[4], &got[4], "<123>"));
        for (int i = 0; i < CLIENTS; i++) {
            if (i != 3 && i != 4)
                assert_true(receive(fix, fds[i], &got[i], "hello"));
            assert_int_equal(strncmp(got[i].text, "HTTP/1.1 200", 12), 0);
        }
        while (count_of(got[1].text, "hello") < 2)
            assert_true(look(fix, fds[1], &got[1]));
        assert_int_equal(fix->handled, 7 * (round + 1));
    }
    /* Who leaves with a request on its way, and who asks and leaves, are told apart. */
    close(fds[0]);
    send_text(fix, fds[1], HELLO);
    assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
    strbuf_clear(&got[1]);
    assert_false(receive(fix, fds[1], &got[1], NULL));
    assert_int_equal(count_of(got[1].text, "hello"), 1);
    for (int i = 0; i < CLIENTS; i++)
        strbuf_finish(&got[i]);
    for (int i = 1; i < CLIENTS; i++)
        close(fds[i]);
    strbuf_finish(&large);
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
    static const char text[] =
        "POST /echo HTTP/1.1\r\n" HOST CLOSE
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
    char *refused = ask_to_end(fix,
        "POST /hello HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 64\r\n\r\n" HELLO);
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

static void a_malformed_chunk_is_400(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    assert_answer(fix,
        "POST /echo HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        "400", NULL);
    fixture_destroy(fix);
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

/* Its end comes together with its bytes, on a connection that was waited for. */
static void a_client_that_leaves_with_its_last_bytes_is_noticed(void **state)
{
    static const char later[] = "GET /later HTTP/1.1\r\n" HOST "\r\n";
    const struct linger reset = {.l_onoff = 1};
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    struct http_server_stats stats;
    for (int i = 0; i < 2; i++) {
        struct strbuf got = {0};
        int fd = dial(fix);
        send_text(fix, fd, HELLO);
        assert_true(receive(fix, fd, &got, "hello"));
        assert_int_equal(send(fd, later, sizeof later - 1, 0), sizeof later - 1);
        if (i == 1)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
        turn_until(fix, &fix->cancelled, i + 1);
        strbuf_finish(&got);
    }
    http_server_stats(fix->server, &stats);
    assert_int_equal(stats.connections, 0);
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

static void a_stream_whose_peer_breaks_off_is_closed_once(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    const struct linger at_once = {.l_onoff = 1};
    struct http_server_stats stats;
    struct strbuf got = {0};
    int fd = dial(fix);
    send_text(
        fix, fd, "GET /upgrade HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_true(receive(fix, fd, &got, "\r\n\r\n"));
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd); /* a reset */
    turn_until(fix, &fix->closed, 1);
    turn(fix);
    http_server_stats(fix->server, &stats);
    assert_int_equal(fix->closed, 1);
    assert_int_equal(stats.streams, 0);
    assert_int_equal(stats.connections, 0);
    strbuf_finish(&got);
    fixture_destroy(fix);
}

static void destroying_the_server_closes_streams_and_cancels_requests(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    struct strbuf got = {0};
    int first = dial(fix), second = dial(fix);
    send_text(fix, first,
        "GET /upgrade HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: echo\r\n\r\n");
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

static void pieces_of_all_sizes_arrive_in_order(void **state)
{
    (void)state;
    static const char *const asked[] = {"GET /mixed HTTP/1.1\r\n" HOST CLOSE "\r\n",
        "GET /mixed?chunked HTTP/1.1\r\n" HOST CLOSE "\r\n"};
    struct fixture *fix = fixture_create(NULL);
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        struct strbuf got = {0};
        size_t used, piece, at = 0;
        struct http_body body;
        int fd = dial(fix);
        send_text(fix, fd, asked[i]);
        assert_false(receive(fix, fd, &got, NULL));
        const char *next = strstr(got.text, "\r\n\r\n") + 4, *end = got.text + got.length;
        http_body_init(&body, i ? HTTP_BODY_CHUNKED : HTTP_BODY_LENGTH, fix->streamed);
        while (!body.complete) {
            assert_true(next < end);
            assert_int_not_equal(
                http_body_next(&body, next, (size_t)(end - next), &used, &piece), HTTP_PARSE_FAULT);
            next += used;
            for (const char *byte = next - piece; byte < next; byte++, at++)
                if (*byte != (char)(at % 251))
                    fail_msg("byte %zu is another", at);
        }
        assert_int_equal(at, fix->streamed);
        assert_ptr_equal(next, end);
        close(fd);
        strbuf_finish(&got);
    }
    fixture_destroy(fix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_all_sizes_arrive_in_order),
        cmocka_unit_test(a_request_is_answered),
        cmocka_unit_test(a_handler_sees_what_was_asked),
        cmocka_unit_test(misleading_targets_never_reach_the_handler),
        cmocka_unit_test(a_malformed_request_is_answered_and_the_connection_closed),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(requests_that_come_at_once_keep_apart),
        cmocka_unit_test(a_second_request_waits_for_the_first_answer),
        cmocka_unit_test(a_request_byte_by_byte_is_the_same_request),
        cmocka_unit_test(head_gets_the_length_and_no_body),
        cmocka_unit_test(streamed_answers_are_chunked_or_end_with_the_connection),
        cmocka_unit_test(an_answer_shorter_than_announced_cuts_the_connection),
        cmocka_unit_test(expect_continue_is_answered_when_the_body_is_wanted),
        cmocka_unit_test(an_unread_body_is_dropped_and_the_connection_kept),
        cmocka_unit_test(a_malformed_chunk_is_400),
        cmocka_unit_test(a_client_that_leaves_cancels_its_request),
        cmocka_unit_test(a_client_that_leaves_with_its_last_bytes_is_noticed),
        cmocka_unit_test(a_client_that_leaves_in_its_body_is_forgotten),
        cmocka_unit_test(a_request_without_on_cancel_may_be_answered_into_the_void),
        cmocka_unit_test(injected_fields_become_a_500),
        cmocka_unit_test(an_upgraded_connection_carries_bytes_both_ways),
        cmocka_unit_test(a_stream_whose_peer_breaks_off_is_closed_once),
        cmocka_unit_test(destroying_the_server_closes_streams_and_cancels_requests),
        cmocka_unit_test(a_unix_socket_tells_who_asks),
        cmocka_unit_test(only_a_stale_socket_is_replaced),
        cmocka_unit_test(addresses_that_are_none_are_refused),
    };
    return cmocka_run_group_tests_name("http server", tests, NULL, NULL);
}
