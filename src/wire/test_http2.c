/* Tests of HTTP/2: what is asked and answered, flow control, the end. What is sent to do harm is in
 * test_http2_limits.c. */
#include "wire/test_http2_client.h"

#include "base/memory.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct http_server_options with_http2 = {.http2 = true};

static void requests_are_answered(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    client_get(client, 1, "/hello");
    assert_int_equal(client_answer(client, 1), 200);
    assert_string_equal(client->body.text, "hello");
    assert_non_null(strstr(client->fields.text, "content-type: text/plain\n"));
    assert_non_null(strstr(client->fields.text, "content-length: 5\n"));
    assert_non_null(strstr(client->fields.text, "date: "));
    client_post(client, 3, "/echo", "a body");
    assert_int_equal(client_answer(client, 3), 200);
    assert_string_equal(client->body.text, "a body");
    client_get(client, 5, "/chunks");
    assert_int_equal(client_answer(client, 5), 200);
    assert_string_equal(client->body.text, "onetwo");
    assert_null(strstr(client->fields.text, "transfer-encoding"));
    client_destroy(client);
    fixture_destroy(fix);
}

static void a_handler_sees_what_it_sees_of_http1(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    client_start(client, "GET", "/a%20b?x=1&y=%2f");
    client_field(client, "x-one", "1");
    client_head(client, 1, true);
    assert_int_equal(client_answer(client, 1), 200);
    assert_string_equal(fix->seen.text, "GET /a b x=1 y=/ [1]");
    client_get(client, 3, "/a/../b");
    assert_int_equal(client_answer(client, 3), 400);
    assert_int_equal(fix->handled, 1);
    client_destroy(client);
    fixture_destroy(fix);
}

static void bodies_come_by_length_and_without(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    client_start(client, "POST", "/echo");
    client_field(client, "content-length", "6");
    client_head(client, 1, false);
    client_frame(client, NGHTTP2_DATA, 0, 1, "abc", 3);
    client_frame(client, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, "def", 3);
    assert_int_equal(client_answer(client, 1), 200);
    assert_string_equal(client->body.text, "abcdef");
    /* An end that brings nothing, and one that comes as trailers. */
    client_start(client, "POST", "/echo");
    client_head(client, 3, false);
    client_frame(client, NGHTTP2_DATA, 0, 3, "abc", 3);
    client_frame(client, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 3, "", 0);
    assert_int_equal(client_answer(client, 3), 200);
    assert_string_equal(client->body.text, "abc");
    client_start(client, "POST", "/echo");
    client_head(client, 5, false);
    client_frame(client, NGHTTP2_DATA, 0, 5, "xyz", 3);
    client_field(client, "x-trailer", "1");
    client_head(client, 5, true);
    assert_int_equal(client_answer(client, 5), 200);
    assert_string_equal(client->body.text, "xyz");
    client_destroy(client);
    fixture_destroy(fix);
}

static void streams_do_not_wait_for_each_other(void **state)
{
    (void)state;
    enum { COUNT = 90 };
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    client_get(client, 1, "/later");
    for (int32_t i = 1; i <= COUNT; i++) {
        client_start(client, "POST", "/echo");
        client_head(client, 1 + 2 * i, false);
    }
    for (int32_t i = COUNT; i >= 1; i--) {
        char text[16];
        int length = snprintf(text, sizeof text, "body %d", i);
        client_frame(
            client, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1 + 2 * i, text, (size_t)length);
        assert_int_equal(client_answer(client, 1 + 2 * i), 200);
        assert_string_equal(client->body.text, text);
    }
    assert_int_equal(fix->handled, COUNT + 1);
    answer_text(fix->pending, 200, "late", 4);
    assert_int_equal(client_answer(client, 1), 200);
    assert_string_equal(client->body.text, "late");
    client_destroy(client);
    fixture_destroy(fix);
}

static void cookies_are_put_together(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    client_start(client, "GET", "/later");
    client_field(client, "cookie", "a=1");
    client_field(client, "cookie", "b=2");
    client_head(client, 1, true);
    turn_until(fix, &fix->handled, 1);
    assert_string_equal(http_request_header(fix->pending, "Cookie"), "a=1; b=2");
    assert_string_equal(http_request_header(fix->pending, "Host"), "a");
    client_destroy(client);
    fixture_destroy(fix);
}

static void answers_without_a_body_end_with_their_head(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    client_start(client, "HEAD", "/hello");
    client_head(client, 1, true);
    assert_int_equal(client_answer(client, 1), 200);
    assert_int_equal(client->body.length, 0);
    assert_non_null(strstr(client->fields.text, "content-length: 5\n"));
    client_start(client, "HEAD", "/chunks");
    client_head(client, 3, true);
    assert_int_equal(client_answer(client, 3), 200);
    assert_int_equal(client->body.length, 0);
    client_destroy(client);
    fixture_destroy(fix);
}

static void a_reset_cancels_the_request(void **state)
{
    (void)state;
    static const uint8_t code[4] = {0, 0, 0, NGHTTP2_CANCEL};
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    client_get(client, 1, "/later");
    turn_until(fix, &fix->handled, 1);
    client_frame(client, NGHTTP2_RST_STREAM, 0, 1, code, sizeof code);
    turn_until(fix, &fix->cancelled, 1);
    assert_null(fix->pending);
    client_get(client, 3, "/hello");
    assert_int_equal(client_answer(client, 3), 200);
    client_destroy(client);
    fixture_destroy(fix);
}

static void a_client_that_leaves_cancels_all_its_requests(void **state)
{
    (void)state;
    struct http_server_stats stats;
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    for (int32_t id = 1; id < 20; id += 2)
        client_get(client, id, "/later");
    turn_until(fix, &fix->handled, 10);
    client_destroy(client);
    turn_until(fix, &fix->cancelled, 10);
    turn(fix);
    http_server_stats(fix->server, &stats);
    assert_int_equal(stats.connections, 0);
    assert_int_equal(stats.requests_open, 0);
    fixture_destroy(fix);
}

static void a_request_may_outlive_its_stream(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    client_get(client, 1, "/void"); /* has no on_cancel */
    turn_until(fix, &fix->handled, 1);
    client_destroy(client);
    for (int i = 0; i < 20; i++)
        turn(fix);
    answer_text(fix->pending, 200, "to nobody", 9);
    turn(fix);
    fixture_destroy(fix);
}

static void an_aborted_answer_is_reset(void **state)
{
    (void)state;
    struct frame frame;
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    client_get(client, 1, "/short");
    client_until(client, NGHTTP2_RST_STREAM, 1, &frame);
    assert_int_equal(number_at(frame.payload), NGHTTP2_INTERNAL_ERROR);
    client_get(client, 3, "/inject");
    assert_int_equal(client_answer(client, 3), 500);
    client_get(client, 5, "/inject-streamed");
    assert_int_equal(client_answer(client, 5), 500);
    client_destroy(client);
    fixture_destroy(fix);
}

static void expect_continue_is_answered_when_the_body_is_wanted(void **state)
{
    (void)state;
    struct frame frame;
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    client_start(client, "POST", "/echo");
    client_field(client, "expect", "100-continue");
    client_head(client, 1, false);
    client_until(client, NGHTTP2_HEADERS, 1, &frame);
    assert_non_null(strstr(client->fields.text, ":status: 100\n"));
    client_frame(client, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, "now", 3);
    assert_int_equal(client_answer(client, 1), 200);
    assert_string_equal(client->body.text, "now");
    client_destroy(client);
    fixture_destroy(fix);
}

static void an_answer_before_the_body_lets_a_short_one_end(void **state)
{
    (void)state;
    static const char piece[PIECE];
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    client_start(client, "POST", "/hello");
    client_head(client, 1, false);
    assert_int_equal(client_answer(client, 1), 200);
    client_frame(client, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, piece, sizeof piece);
    client_start(client, "POST", "/hello");
    client_head(client, 3, false);
    assert_int_equal(client_answer(client, 3), 200);
    for (int i = 0; i < 5; i++) /* more than 64 KiB */
        client_frame(client, NGHTTP2_DATA, 0, 3, piece, sizeof piece);
    assert_int_equal(client_reset(client, 3), NGHTTP2_NO_ERROR);
    client_start(client, "POST", "/hello");
    client_head(client, 5, false);
    assert_int_equal(client_answer(client, 5), 200);
    assert_int_equal(client_reset(client, 5), NGHTTP2_NO_ERROR); /* nothing came for 2 s */
    client_get(client, 7, "/hello");
    assert_int_equal(client_answer(client, 7), 200);
    client_destroy(client);
    fixture_destroy(fix);
}

/* ------- flow control ------- */

static void an_answer_is_held_back_by_its_window(void **state)
{
    (void)state;
    struct frame frame;
    size_t received = 0;
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    client_get(client, 1, "/stream");
    turn_until(fix, &fix->handled, 1);
    for (int i = 0; i < 50; i++)
        turn(fix);
    assert_true(fix->streamed < 1024 * 1024); /* of the 16 MiB: 64 KiB went, and 64 KiB wait */
    client_window(client, 0, 1u << 30);
    client_window(client, 1, 1u << 30);
    do {
        client_until(client, NGHTTP2_DATA, 1, &frame);
        received += frame.length;
    } while (!(frame.flags & NGHTTP2_FLAG_END_STREAM));
    assert_int_equal(received, STREAM_TOTAL);
    assert_true(fix->ended && fix->most_output < 512 * 1024);
    client_destroy(client);
    fixture_destroy(fix);
}

static void a_paused_body_closes_its_window(void **state)
{
    (void)state;
    static const char piece[PIECE];
    struct http_server_stats stats;
    struct frame frame;
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    client_start(client, "POST", "/pausing");
    client_head(client, 1, false);
    for (int i = 0; i < 256 * 1024 / PIECE; i++)
        client_frame(client, NGHTTP2_DATA, 0, 1, piece, sizeof piece);
    turn_until(fix, &fix->handled, 1);
    http_server_stats(fix->server, &stats);
    assert_true(stats.input_bytes <= 256 * 1024);
    while (fix->received < 256 * 1024) {
        http_request_resume(fix->pending);
        turn(fix);
    }
    client_until(client, NGHTTP2_WINDOW_UPDATE, 1, &frame);
    client_frame(client, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, "x", 1);
    while (!fix->ended && fix->pending && fix->received <= 256 * 1024) {
        http_request_resume(fix->pending);
        turn(fix);
    }
    http_request_resume(fix->pending);
    assert_int_equal(client_answer(client, 1), 200);
    assert_int_equal(fix->received, 256 * 1024 + 1);
    client_destroy(client);
    fixture_destroy(fix);
}

static void a_large_body_passes_in_pieces(void **state)
{
    (void)state;
    enum { TOTAL = 8 * 1024 * 1024 };
    static const char piece[PIECE];
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    struct http_server_stats stats;
    int64_t window = 65535, stream_window = 256 * 1024;
    struct frame frame;
    client_start(client, "POST", "/pieces");
    client_head(client, 1, false);
    for (size_t sent = 0; sent < TOTAL;) {
        while (window < PIECE || stream_window < PIECE) {
            assert_true(client_next(client, &frame));
            if (frame.type == NGHTTP2_WINDOW_UPDATE)
                *(frame.stream ? &stream_window : &window) += number_at(frame.payload);
        }
        client_frame(client, NGHTTP2_DATA, 0, 1, piece, sizeof piece);
        window -= PIECE, stream_window -= PIECE, sent += PIECE;
        http_server_stats(fix->server, &stats);
        assert_true(stats.input_bytes <= 512 * 1024);
    }
    client_frame(client, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, "", 0);
    assert_int_equal(client_answer(client, 1), 200);
    assert_string_equal(client->body.text, "8388608");
    client_destroy(client);
    fixture_destroy(fix);
}

/* ------- the end ------- */

static void draining_answers_what_is_on_its_way(void **state)
{
    (void)state;
    struct frame frame;
    uint8_t mark[8];
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    client_get(client, 1, "/later");
    turn_until(fix, &fix->handled, 1);
    http_server_drain(fix->server, 60 * 1000, note_closed, fix);
    client_until(client, NGHTTP2_GOAWAY, 0, &frame);
    assert_int_equal(number_at(frame.payload), 0x7fffffff); /* the last one is not known yet */
    client_until(client, NGHTTP2_PING, 0, &frame);
    memcpy(mark, frame.payload, sizeof mark);
    client_get(client, 3, "/hello"); /* sent before the GOAWAY was read */
    assert_int_equal(client_answer(client, 3), 200);
    client_frame(client, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, mark, sizeof mark);
    client_until(client, NGHTTP2_GOAWAY, 0, &frame);
    assert_int_equal(number_at(frame.payload), 3);
    assert_int_equal(fix->closed, 0);
    answer_text(fix->pending, 200, "late", 4);
    assert_int_equal(client_answer(client, 1), 200);
    assert_false(client_next(client, &frame));
    client_destroy(client);
    turn_until(fix, &fix->closed, 1);
    fixture_destroy(fix);
}

static void it_is_spoken_where_it_is_offered_and_first(void **state)
{
    (void)state;
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    struct strbuf text = {0};
    struct fixture *fix = fixture_create(NULL);
    assert_answer(fix, preface, "505", NULL);
    fixture_destroy(fix);
    fix = fixture_create(&with_http2);
    assert_answer(fix, "GET /hello HTTP/1.1\r\n" HOST CLOSE "\r\n", "200", "hello");
    /* Behind a request it may be part of one that another reader took for longer. */
    strbuf_printf(&text, "%s%s", HELLO, preface);
    SCOPED(mem_scope) char *got = ask_to_end(fix, text.text);
    assert_non_null(strstr(got, "HTTP/1.1 505 "));
    strbuf_finish(&text);
    fixture_destroy(fix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_answered),
        cmocka_unit_test(a_handler_sees_what_it_sees_of_http1),
        cmocka_unit_test(bodies_come_by_length_and_without),
        cmocka_unit_test(streams_do_not_wait_for_each_other),
        cmocka_unit_test(cookies_are_put_together),
        cmocka_unit_test(answers_without_a_body_end_with_their_head),
        cmocka_unit_test(a_reset_cancels_the_request),
        cmocka_unit_test(a_client_that_leaves_cancels_all_its_requests),
        cmocka_unit_test(a_request_may_outlive_its_stream),
        cmocka_unit_test(an_aborted_answer_is_reset),
        cmocka_unit_test(expect_continue_is_answered_when_the_body_is_wanted),
        cmocka_unit_test(an_answer_before_the_body_lets_a_short_one_end),
        cmocka_unit_test(an_answer_is_held_back_by_its_window),
        cmocka_unit_test(a_paused_body_closes_its_window),
        cmocka_unit_test(a_large_body_passes_in_pieces),
        cmocka_unit_test(draining_answers_what_is_on_its_way),
        cmocka_unit_test(it_is_spoken_where_it_is_offered_and_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
