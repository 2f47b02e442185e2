/* What is sent over HTTP/2 to do harm, and what comes of it. */
#include "wire/test_http2_client.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct http_server_options with_http2 = {.http2 = true};

/* ------- heads ------- */

enum { RESET = 1 }; /* in place of a status: the stream is reset with PROTOCOL_ERROR */

struct line {
    const char *name, *value;
};

#define METHOD                                                                                     \
    {                                                                                              \
        ":method", "GET"                                                                           \
    }
#define SCHEME                                                                                     \
    {                                                                                              \
        ":scheme", "http"                                                                          \
    }
#define HOST_A                                                                                     \
    {                                                                                              \
        ":authority", "a"                                                                          \
    }
#define PATH                                                                                       \
    {                                                                                              \
        ":path", "/hello"                                                                          \
    }

static const struct attack {
    const char *what;
    int outcome;
    struct line lines[8];
} attacks[] = {
    {"no method", RESET, {SCHEME, HOST_A, PATH}},
    {"no path", RESET, {METHOD, SCHEME, HOST_A}},
    {"no scheme", RESET, {METHOD, HOST_A, PATH}},
    {"an empty path", RESET, {METHOD, SCHEME, HOST_A, {":path", ""}}},
    {"two paths", RESET, {METHOD, SCHEME, HOST_A, PATH, {":path", "/later"}}},
    {"two methods", RESET, {METHOD, {":method", "POST"}, SCHEME, HOST_A, PATH}},
    {"a pseudo field behind others", RESET, {METHOD, SCHEME, PATH, {"x", "y"}, HOST_A}},
    {"an unknown pseudo field", RESET, {METHOD, SCHEME, HOST_A, PATH, {":protocol", "x"}}},
    {"a status in a request", RESET, {METHOD, SCHEME, HOST_A, PATH, {":status", "200"}}},
    {"a name in upper case", RESET, {METHOD, SCHEME, HOST_A, PATH, {"X-One", "1"}}},
    {"a name with a space", RESET, {METHOD, SCHEME, HOST_A, PATH, {"x y", "1"}}},
    {"a name with a line", RESET, {METHOD, SCHEME, HOST_A, PATH, {"x\r\ny", "1"}}},
    {"an empty name", RESET, {METHOD, SCHEME, HOST_A, PATH, {"", "1"}}},
    {"a line in a value", RESET, {METHOD, SCHEME, HOST_A, PATH, {"x", "1\r\ny: 2"}}},
    {"LF in a value", RESET, {METHOD, SCHEME, HOST_A, PATH, {"x", "1\n2"}}},
    {"a space before a value", RESET, {METHOD, SCHEME, HOST_A, PATH, {"x", " 1"}}},
    {"a space in the method", RESET, {{":method", "GET /x"}, SCHEME, HOST_A, PATH}},
    {"a line in the method", RESET, {{":method", "GET /x HTTP/1.1\r\nx: y"}, SCHEME, HOST_A, PATH}},
    {"a line in the path", RESET,
        {METHOD, SCHEME, HOST_A, {":path", "/ HTTP/1.1\r\nHost: b\r\n\r\n"}}},
    {"a space in the path", RESET, {METHOD, SCHEME, HOST_A, {":path", "/a HTTP/1.1"}}},
    {"a URL as path", RESET, {METHOD, SCHEME, HOST_A, {":path", "http://a/hello"}}},
    {"a path without a slash", RESET, {METHOD, SCHEME, HOST_A, {":path", "hello"}}},
    {"an asterisk to GET", RESET, {METHOD, SCHEME, HOST_A, {":path", "*"}}},
    {"a dotted path", 400, {METHOD, SCHEME, HOST_A, {":path", "/a/../b"}}},
    {"an encoded slash", 400, {METHOD, SCHEME, HOST_A, {":path", "/a%2fb"}}},
    {"another scheme", 400, {METHOD, {":scheme", "ftp"}, HOST_A, PATH}},
    {"no host at all", RESET, {METHOD, SCHEME, PATH, {"x", "1"}}},
    {"Host other than the authority", 400, {METHOD, SCHEME, HOST_A, PATH, {"host", "b"}}},
    {"a user in the authority", 400, {METHOD, SCHEME, {":authority", "u@a"}, PATH}},
    {"a path in the authority", RESET, {METHOD, SCHEME, {":authority", "a b"}, PATH}},
    {"CONNECT", 501, {{":method", "CONNECT"}, {":authority", "a:1"}}},
    {"Connection", RESET, {METHOD, SCHEME, HOST_A, PATH, {"connection", "close"}}},
    {"Keep-Alive", RESET, {METHOD, SCHEME, HOST_A, PATH, {"keep-alive", "1"}}},
    {"Proxy-Connection", RESET, {METHOD, SCHEME, HOST_A, PATH, {"proxy-connection", "x"}}},
    {"Transfer-Encoding", RESET, {METHOD, SCHEME, HOST_A, PATH, {"transfer-encoding", "chunked"}}},
    {"Upgrade", RESET, {METHOD, SCHEME, HOST_A, PATH, {"upgrade", "websocket"}}},
    {"TE other than trailers", RESET, {METHOD, SCHEME, HOST_A, PATH, {"te", "gzip"}}},
    {"two lengths", RESET,
        {METHOD, SCHEME, HOST_A, PATH, {"content-length", "1"}, {"content-length", "1"}}},
    {"a length with a sign", RESET, {METHOD, SCHEME, HOST_A, PATH, {"content-length", "+1"}}},
    {"a length without a body", RESET, {METHOD, SCHEME, HOST_A, PATH, {"content-length", "5"}}},
    {"two tokens", 400,
        {METHOD, SCHEME, HOST_A, PATH, {"authorization", "a"}, {"authorization", "b"}}},
    {"another expectation", 417, {METHOD, SCHEME, HOST_A, PATH, {"expect", "tea"}}},
};

static void heads_that_mislead_never_reach_a_handler(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    int32_t id = 1;
    for (size_t i = 0; i < ARRAY_LEN(attacks); i++, id += 4) {
        for (const struct line *line = attacks[i].lines; line->name; line++)
            client_field(client, line->name, line->value);
        client_head(client, id, true);
        uint32_t got = 0;
        if (attacks[i].outcome == RESET)
            got = client_reset(client, id) == NGHTTP2_PROTOCOL_ERROR ? RESET : 0;
        else
            got = (uint32_t)client_answer(client, id);
        if (got != (uint32_t)attacks[i].outcome)
            print_error("%s: %u\n", attacks[i].what, got);
        assert_int_equal(got, attacks[i].outcome);
        assert_int_equal(fix->handled, (int)i);
        /* The connection is as good as before. */
        client_get(client, id + 2, "/hello");
        assert_int_equal(client_answer(client, id + 2), 200);
    }
    client_destroy(client);
    fixture_destroy(fix);
}

static void bodies_of_another_length_cancel_the_request(void **state)
{
    (void)state;
    static const char *const bodies[] = {"abcd", "abcdef"};
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    for (int32_t i = 0; i < 2; i++) {
        client_start(client, "POST", "/later");
        client_field(client, "content-length", "5");
        client_head(client, 1 + 2 * i, false);
        turn_until(fix, &fix->handled, i + 1);
        client_frame(
            client, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1 + 2 * i, bodies[i], strlen(bodies[i]));
        assert_int_equal(client_reset(client, 1 + 2 * i), NGHTTP2_PROTOCOL_ERROR);
        turn_until(fix, &fix->cancelled, i + 1);
    }
    client_destroy(client);
    fixture_destroy(fix);
}

static void large_heads_are_431(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    SCOPED(mem_scope) char *large = mem_alloc(12001, 1);
    memset(large, 'x', 12000);
    for (int32_t id = 1; id < 9; id += 2) { /* 12, 24, 36 and 48 thousand bytes of limit 40 KiB */
        client_start(client, "GET", "/hello");
        client_head(client, id, true);
        assert_int_equal(client_answer(client, id), 200);
    }
    client_start(client, "GET", "/hello");
    for (int i = 0; i < 70; i++)
        client_field(client, "x-many", "1");
    client_head(client, 9, true);
    assert_int_equal(client_answer(client, 9), 431);
    client_start(client, "GET", "/hello");
    client_field(client, "x", large);
    client_frame(client, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 11, client->block.text,
        client->block.length);
    for (int i = 0; i < 4; i++) {
        strbuf_clear(&client->block);
        client_field(client, "x", large);
        client_frame(client, NGHTTP2_CONTINUATION, i == 3 ? NGHTTP2_FLAG_END_HEADERS : 0, 11,
            client->block.text, client->block.length);
    }
    strbuf_clear(&client->block);
    assert_int_equal(client_answer(client, 11), 431);
    client_destroy(client);
    fixture_destroy(fix);
}

/* A field of 4000 bytes, put into the table once and named by a byte 12,000 times: 48 MB. */
static void a_bomb_of_hpack_is_431(void **state)
{
    (void)state;
    struct http_server_stats stats;
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    SCOPED(mem_scope) char *large = mem_alloc(4001, 1);
    memset(large, 'x', 4000);
    client_start(client, "GET", "/hello");
    size_t at = client->block.length;
    client_field(client, "x", large);
    client->block.text[at] = 0x40; /* literal, indexed */
    for (int i = 0; i < 12000; i++)
        strbuf_putc(&client->block, (char)(0x80 + 62));
    client_head(client, 1, true);
    http_server_stats(fix->server, &stats);
    assert_true(stats.input_bytes < 64 * 1024);
    assert_int_equal(client_answer(client, 1), 431);
    client_destroy(client);
    fixture_destroy(fix);
}

static void a_flood_of_continuations_is_cut_off(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    struct frame frame;
    client_start(client, "GET", "/hello");
    client_frame(client, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 1, client->block.text,
        client->block.length);
    for (int i = 0; i < 20000; i++)
        client_frame(client, NGHTTP2_CONTINUATION, 0, 1, "", 0);
    while (client_next(client, &frame))
        ;
    assert_int_equal(fix->handled, 0);
    client_destroy(client);
    fixture_destroy(fix);
}

/* ------- floods ------- */

static const uint8_t zeros[64];
static const uint8_t one[4] = {0, 0, 0, 1};
static const uint8_t setting[6] = {0, 4, 0, 0, 255, 255};

static const struct flood {
    const char *what;
    uint8_t type;
    int32_t stream;
    const uint8_t *payload;
    size_t length;
} floods[] = {
    {"pings", NGHTTP2_PING, 0, zeros, 8},
    {"settings", NGHTTP2_SETTINGS, 0, setting, 6},
    {"empty settings", NGHTTP2_SETTINGS, 0, zeros, 0},
    {"priorities", NGHTTP2_PRIORITY, 3, zeros, 5},
    {"windows of the connection", NGHTTP2_WINDOW_UPDATE, 0, one, 4},
    {"windows of a stream", NGHTTP2_WINDOW_UPDATE, 1, one, 4},
    {"empty data", NGHTTP2_DATA, 1, zeros, 0},
    {"data of a byte", NGHTTP2_DATA, 1, zeros, 1},
};

static void floods_of_frames_that_bring_nothing_end_the_connection(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(floods); i++) {
        const struct flood *flood = &floods[i];
        struct fixture *fix = fixture_create(&with_http2);
        struct http2_client *client = client_create(fix);
        struct frame frame;
        bool goaway = false;
        client_start(client, "POST", "/pieces");
        client_head(client, 1, false);
        for (int k = 0; k < 3000; k++)
            client_frame(client, flood->type, 0, flood->stream, flood->payload, flood->length);
        while (client_next(client, &frame))
            goaway |= frame.type == NGHTTP2_GOAWAY;
        if (!goaway)
            print_error("no GOAWAY for %s\n", flood->what);
        assert_true(goaway);
        client_destroy(client);
        fixture_destroy(fix);
    }
}

static void rapid_resets_end_the_connection(void **state)
{
    (void)state;
    static const uint8_t code[4] = {0, 0, 0, NGHTTP2_CANCEL};
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    for (int32_t id = 1; id < 4000; id += 2) {
        client_get(client, id, "/later");
        client_frame(client, NGHTTP2_RST_STREAM, 0, id, code, sizeof code);
    }
    assert_int_equal(client_goaway(client), NGHTTP2_ENHANCE_YOUR_CALM);
    assert_true(fix->handled < 1000);
    assert_int_equal(fix->handled, fix->cancelled);
    client_destroy(client);
    fixture_destroy(fix);
}

/* The peer has us reset the streams: a window of 0 to add is an error of the stream. */
static void resets_that_we_are_made_to_do_count_too(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    for (int32_t id = 1; id < 4000; id += 2) {
        client_get(client, id, "/later");
        client_window(client, id, 0x7fffffff);
    }
    /* Or for its number of streams, when many come before a reset has gone out. */
    uint32_t code = client_goaway(client);
    assert_true(code == NGHTTP2_ENHANCE_YOUR_CALM || code == NGHTTP2_PROTOCOL_ERROR);
    assert_true(fix->handled < 1000);
    client_destroy(client);
    fixture_destroy(fix);
}

static void streams_past_the_limit_end_the_connection(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    for (int32_t i = 0; i < 100; i++)
        client_get(client, 1 + 2 * i, "/later");
    client_get(client, 201, "/later"); /* it was told of the limit, and has said so */
    assert_int_equal(client_goaway(client), NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(fix->handled, fix->cancelled);
    client_destroy(client);
    fixture_destroy(fix);
}

static void a_body_past_its_limit_is_413(void **state)
{
    (void)state;
    static const char piece[PIECE];
    const struct http_server_options small = {.http2 = true, .body_bytes_max = 3 * PIECE};
    struct fixture *fix = fixture_create(&small);
    struct http2_client *client = client_create(fix);
    client_start(client, "POST", "/echo");
    client_field(client, "content-length", "100000");
    client_head(client, 1, false);
    assert_int_equal(client_answer(client, 1), 413);
    client_start(client, "POST", "/echo");
    client_head(client, 3, false);
    for (int i = 0; i < 3; i++)
        client_frame(client, NGHTTP2_DATA, 0, 3, piece, sizeof piece);
    client_frame(client, NGHTTP2_DATA, 0, 3, "x", 1);
    assert_int_equal(client_answer(client, 3), 413);
    client_destroy(client);
    fixture_destroy(fix);
}

static void data_past_its_window_ends_the_stream(void **state)
{
    (void)state;
    static const char piece[PIECE];
    struct http_server_stats stats;
    struct fixture *fix = fixture_create(&with_http2);
    struct http2_client *client = client_create(fix);
    client_start(client, "POST", "/later"); /* never asks for its body */
    client_head(client, 1, false);
    for (int i = 0; i < 30; i++)
        client_frame(client, NGHTTP2_DATA, 0, 1, piece, sizeof piece);
    assert_int_equal(client_reset(client, 1), NGHTTP2_FLOW_CONTROL_ERROR);
    turn_until(fix, &fix->cancelled, 1);
    http_server_stats(fix->server, &stats);
    assert_int_equal(stats.input_bytes, 0);
    client_destroy(client);
    fixture_destroy(fix);
}

/* ------- time ------- */

static void a_window_that_stays_shut_is_not_waited_for(void **state)
{
    (void)state;
    const struct http_server_options hasty = {.http2 = true, .write_ms = 50};
    struct fixture *fix = fixture_create(&hasty);
    struct http2_client *client = client_create(fix);
    client_get(client, 1, "/stream");
    assert_int_equal(client_reset(client, 1), NGHTTP2_CANCEL);
    turn_until(fix, &fix->cancelled, 1);
    client_get(client, 3, "/hello"); /* the connection is not to blame for it */
    client_window(client, 0, 100);
    assert_int_equal(client_answer(client, 3), 200);
    client_destroy(client);
    fixture_destroy(fix);
}

static void a_body_that_stops_is_408(void **state)
{
    (void)state;
    const struct http_server_options hasty = {.http2 = true, .body_ms = 50};
    struct fixture *fix = fixture_create(&hasty);
    struct http2_client *client = client_create(fix);
    client_start(client, "POST", "/echo");
    client_head(client, 1, false);
    client_frame(client, NGHTTP2_DATA, 0, 1, "a", 1);
    assert_int_equal(client_answer(client, 1), 408);
    client_destroy(client);
    fixture_destroy(fix);
}

static void a_head_that_stops_ends_the_connection(void **state)
{
    (void)state;
    const struct http_server_options hasty = {.http2 = true, .head_ms = 50};
    struct fixture *fix = fixture_create(&hasty);
    struct http2_client *client = client_create(fix);
    client_get(client, 1, "/later");
    client_start(client, "GET", "/hello");
    client_frame(client, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 3, client->block.text,
        client->block.length);
    assert_int_equal(client_goaway(client), NGHTTP2_ENHANCE_YOUR_CALM);
    turn_until(fix, &fix->cancelled, 1);
    client_destroy(client);
    fixture_destroy(fix);
}

static void an_idle_connection_is_told_and_closed(void **state)
{
    (void)state;
    const struct http_server_options hasty = {.http2 = true, .idle_ms = 50};
    struct fixture *fix = fixture_create(&hasty);
    struct http2_client *client = client_create(fix);
    client_get(client, 1, "/hello");
    assert_int_equal(client_answer(client, 1), 200);
    assert_int_equal(client_goaway(client), NGHTTP2_NO_ERROR);
    client_destroy(client);
    fixture_destroy(fix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_that_mislead_never_reach_a_handler),
        cmocka_unit_test(bodies_of_another_length_cancel_the_request),
        cmocka_unit_test(large_heads_are_431),
        cmocka_unit_test(a_bomb_of_hpack_is_431),
        cmocka_unit_test(a_flood_of_continuations_is_cut_off),
        cmocka_unit_test(floods_of_frames_that_bring_nothing_end_the_connection),
        cmocka_unit_test(rapid_resets_end_the_connection),
        cmocka_unit_test(resets_that_we_are_made_to_do_count_too),
        cmocka_unit_test(streams_past_the_limit_end_the_connection),
        cmocka_unit_test(a_body_past_its_limit_is_413),
        cmocka_unit_test(data_past_its_window_ends_the_stream),
        cmocka_unit_test(a_window_that_stays_shut_is_not_waited_for),
        cmocka_unit_test(a_body_that_stops_is_408),
        cmocka_unit_test(a_head_that_stops_ends_the_connection),
        cmocka_unit_test(an_idle_connection_is_told_and_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
