/* Tests of what the server does to those who take too much or too long, and of its end. What is
 * bounded is looked at from inside: http_server_stats. */
#include "wire/test_http_fixture.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "wire/tls.h"

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

static void what_comes_in_drips_runs_out_of_time(void **state)
{
    (void)state;
    const struct http_server_options options = {.head_ms = 30, .body_ms = 30};
    static const char *const starts[] = {"GET /hello HTTP/1.1\r\nHost: a\r\nX: ",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        struct fixture *fix = fixture_create(&options);
        struct strbuf got = {0};
        int fd = dial(fix);
        send_text(fix, fd, starts[i]);
        for (int turns = 0; got.length == 0; turns++) {
            assert_true(turns < TURNS_MAX);
            (void)!send(fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
            look(fix, fd, &got);
        }
        assert_memory_equal(got.text, "HTTP/1.1 408 ", 13);
        close(fd);
        strbuf_finish(&got);
        fixture_destroy(fix);
    }
}

static void a_tls_greeting_that_never_comes_is_not_waited_for(void **state)
{
    (void)state;
    const struct http_server_options options = {.handshake_ms = 20};
    struct fixture *fix = fixture_create(&options);
    char folder[] = "/tmp/muster-test-XXXXXX", cert[64], key[64];
    struct tls_server *tls = NULL;
    struct http_server_stats stats;
    struct strbuf got = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(cert, sizeof cert, "%s/cert", folder);
    snprintf(key, sizeof key, "%s/key", folder);
    assert_int_equal(tls_create_self_signed(cert, key, "localhost", NULL), 0);
    assert_int_equal(tls_server_create(cert, key, &tls, NULL), 0);
    assert_int_equal(http_server_listen_tcp(fix->server, "127.0.0.1:0", tls, &fix->port, NULL), 0);
    int fd = dial(fix);
    assert_false(receive(fix, fd, &got, NULL));
    assert_int_equal(got.length, 0);
    http_server_stats(fix->server, &stats);
    assert_int_equal(stats.timed_out, 1);
    close(fd);
    fixture_destroy(fix);
    tls_server_destroy(tls);
    assert_int_equal(file_remove_tree(folder, NULL), 0);
}

static void a_stream_is_held_back_by_a_slow_reader(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    struct strbuf got = {0};
    int fd = dial(fix);
    send_text(
        fix, fd, "GET /flood HTTP/1.1\r\n" HOST "Connection: upgrade\r\nUpgrade: flood\r\n\r\n");
    for (int i = 0; i < 100; i++)
        turn(fix);
    assert_false(fix->ended);
    assert_false(receive(fix, fd, &got, NULL));
    assert_true(fix->ended);
    assert_true(fix->most_output <= 64 * 1024 + PIECE + 256);
    assert_true(got.length > STREAM_TOTAL);
    close(fd);
    strbuf_finish(&got);
    fixture_destroy(fix);
}

static void a_paused_stream_reads_no_more_than_a_buffer(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    SCOPED(mem_scope) char *piece = mem_alloc(1, 65536);
    struct http_server_stats stats;
    struct strbuf got = {0};
    int fd = dial(fix), idle = 0;
    send_text(
        fix, fd, "GET /upgrade HTTP/1.1\r\n" HOST "Connection: upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_true(receive(fix, fd, &got, "\r\n\r\n"));
    http_stream_pause(fix->stream);
    while (idle < 100) {
        idle = send(fd, piece, 65536, MSG_NOSIGNAL | MSG_DONTWAIT) > 0 ? 0 : idle + 1;
        turn(fix);
    }
    http_server_stats(fix->server, &stats);
    assert_int_equal(stats.streams, 1);
    assert_true(stats.input_bytes <= 40 * 1024);
    assert_int_equal(stats.output_bytes, 0);
    close(fd);
    strbuf_finish(&got);
    fixture_destroy(fix);
}

static void a_request_in_the_void_is_still_told_that_it_may_write(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(NULL);
    struct http_server_stats stats = {.requests_open = 1};
    int fd = dial(fix);
    send_text(fix, fd, "GET /stream-void HTTP/1.1\r\n" HOST "\r\n");
    while (!fix->pending)
        turn(fix);
    assert_false(fix->ended);
    close(fd);
    for (int turns = 0; stats.requests_open > 0; turns++) {
        assert_true(turns < TURNS_MAX);
        event_base_loop(fix->base, EVLOOP_ONCE);
        http_server_stats(fix->server, &stats);
    }
    assert_true(fix->ended);
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
        "8\r\n12345678\r\n3\r\n9ab\r\n0\r\n\r\n",
        "413", NULL);
    assert_answer(fix, "POST /echo HTTP/1.1\r\n" HOST CLOSE "Content-Length: 10\r\n\r\n1234567890",
        "200", "1234567890");
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
    assert_true(fix->drained > 1);
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

static void say_when(struct http_request *request, uint32_t retry_after_s, void *ctx)
{
    const struct http_field own = {"X-Own", "yes"};
    (void)ctx;
    assert_int_equal(retry_after_s, 1);
    http_respond(request, 429, &own, 1, "later", 5);
}

static void requests_past_the_rate_are_answered_by_the_handler_that_asks_for_them(void **state)
{
    (void)state;
    const struct http_server_options options = {
        .requests_per_s = 1, .requests_burst = 1, .throttled = say_when};
    struct fixture *fix = fixture_create(&options);
    SCOPED(mem_scope)
    char *got = ask_to_end(fix, HELLO HELLO "GET /hello HTTP/1.1\r\n" HOST CLOSE "\r\n");
    assert_int_equal(count_of(got, "HTTP/1.1 200"), 1);
    assert_int_equal(count_of(got, "HTTP/1.1 429"), 2);
    assert_int_equal(count_of(got, "X-Own: yes\r\n"), 2);
    assert_int_equal(count_of(got, "later"), 2);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_in_drips_runs_out_of_time),
        cmocka_unit_test(a_tls_greeting_that_never_comes_is_not_waited_for),
        cmocka_unit_test(a_stream_is_held_back_by_a_slow_reader),
        cmocka_unit_test(a_paused_stream_reads_no_more_than_a_buffer),
        cmocka_unit_test(a_request_in_the_void_is_still_told_that_it_may_write),
        cmocka_unit_test(a_body_past_its_limit_is_413),
        cmocka_unit_test(a_body_in_pieces_needs_no_more_memory_than_a_buffer),
        cmocka_unit_test(a_paused_body_holds_the_sender_back),
        cmocka_unit_test(a_slow_reader_holds_the_writer_back),
        cmocka_unit_test(who_does_not_read_answers_gets_no_further_ones),
        cmocka_unit_test(a_head_that_comes_too_slowly_is_408),
        cmocka_unit_test(a_body_that_comes_too_slowly_is_408),
        cmocka_unit_test(an_idle_connection_is_closed_without_a_word),
        cmocka_unit_test(who_never_reads_is_cut_off),
        cmocka_unit_test(connections_past_their_limits_are_turned_away),
        cmocka_unit_test(requests_past_the_rate_are_429_with_a_time_to_wait),
        cmocka_unit_test(requests_past_the_rate_are_answered_by_the_handler_that_asks_for_them),
        cmocka_unit_test(draining_finishes_what_runs_and_takes_nothing_new),
        cmocka_unit_test(draining_cuts_what_outlasts_the_grace),
    };
    return cmocka_run_group_tests_name("http limits", tests, NULL, NULL);
}
