/* Tests of packed bodies: unpacked as they come, refused when they are no good, and cheap when they
 * are bombs. */
#include "wire/test_http2_client.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

static const struct http_server_options unpacking = {
    .http2 = true, .unpack_bodies = true, .body_bytes_max = 64 * 1024 * 1024};

static void add_by_zlib(struct strbuf *out, const char *bytes, size_t length, int window)
{
    z_stream gzip = {0};
    size_t room = length + 1024;
    SCOPED(mem_scope) char *packed = mem_alloc(room, 1);
    assert_int_equal(deflateInit2(&gzip, 9, Z_DEFLATED, window, 9, Z_DEFAULT_STRATEGY), Z_OK);
    gzip.next_in = (Bytef *)bytes;
    gzip.avail_in = (uInt)length;
    gzip.next_out = (Bytef *)packed;
    gzip.avail_out = (uInt)room;
    assert_int_equal(deflate(&gzip, Z_FINISH), Z_STREAM_END);
    strbuf_append(out, packed, gzip.total_out);
    deflateEnd(&gzip);
}

static void add_gzip(struct strbuf *out, const char *bytes, size_t length)
{
    add_by_zlib(out, bytes, length, 15 + 16);
}

static void add_deflate(struct strbuf *out, const char *bytes, size_t length)
{
    add_by_zlib(out, bytes, length, 15);
}

static void add_zstd(struct strbuf *out, const char *bytes, size_t length)
{
    size_t room = ZSTD_compressBound(length);
    SCOPED(mem_scope) char *packed = mem_alloc(room, 1);
    size_t made = ZSTD_compress(packed, room, bytes, length, 3);
    assert_false(ZSTD_isError(made));
    strbuf_append(out, packed, made);
}

typedef void pack_fn(struct strbuf *out, const char *bytes, size_t length);

static const struct coding {
    const char *name;
    pack_fn *pack;
} codings[] = {
    {"gzip", add_gzip}, {"X-GZip", add_gzip}, {"Deflate", add_deflate}, {"zstd", add_zstd}};

/* The whole answer to the body on a connection of its own. */
static char *post(struct fixture *fix, const char *path, const char *coding,
    const struct strbuf *body, size_t chunk)
{
    struct strbuf text = {0}, got = {0};
    strbuf_printf(
        &text, "POST %s HTTP/1.1\r\n" HOST CLOSE "Content-Encoding: %s\r\n", path, coding);
    if (chunk == 0)
        strbuf_printf(&text, "Content-Length: %zu\r\n\r\n", body->length);
    else
        strbuf_puts(&text, "Transfer-Encoding: chunked\r\n\r\n");
    if (chunk == 0)
        strbuf_append(&text, strbuf_text(body), body->length);
    for (size_t at = 0; chunk > 0 && at < body->length; at += chunk) {
        size_t size = body->length - at < chunk ? body->length - at : chunk;
        strbuf_printf(&text, "%zx\r\n", size);
        strbuf_append(&text, body->text + at, size);
        strbuf_puts(&text, "\r\n");
    }
    if (chunk > 0)
        strbuf_puts(&text, "0\r\n\r\n");
    int fd = dial(fix);
    send_bytes(fix, fd, text.text, text.length);
    assert_false(receive(fix, fd, &got, NULL));
    close(fd);
    strbuf_finish(&text);
    return strbuf_steal(&got);
}

static void assert_status(const char *answer, int status)
{
    char start[32];
    snprintf(start, sizeof start, "HTTP/1.1 %d ", status);
    assert_memory_equal(answer, start, strlen(start));
}

static void packed_bodies_are_handed_over_unpacked(void **state)
{
    (void)state;
    static const size_t chunks[] = {0, 1, 7, 1000};
    struct fixture *fix = fixture_create(&unpacking);
    for (size_t i = 0; i < ARRAY_LEN(codings); i++) {
        for (size_t k = 0; k < ARRAY_LEN(chunks); k++) {
            struct strbuf packed = {0};
            codings[i].pack(&packed, "a body, a body, a body", 22);
            SCOPED(mem_scope)
            char *answer = post(fix, "/echo", codings[i].name, &packed, chunks[k]);
            assert_status(answer, 200);
            assert_string_equal(answer + strlen(answer) - 22, "a body, a body, a body");
            strbuf_finish(&packed);
        }
    }
    fixture_destroy(fix);
}

static void members_in_a_row_are_one_body(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(&unpacking);
    for (size_t i = 0; i < ARRAY_LEN(codings); i++) {
        struct strbuf packed = {0};
        codings[i].pack(&packed, "one", 3);
        codings[i].pack(&packed, "", 0);
        codings[i].pack(&packed, "two", 3);
        SCOPED(mem_scope) char *answer = post(fix, "/echo", codings[i].name, &packed, 0);
        assert_status(answer, 200);
        assert_string_equal(answer + strlen(answer) - 6, "onetwo");
        strbuf_finish(&packed);
    }
    fixture_destroy(fix);
}

static void a_handler_sees_no_coding_and_no_length(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(&unpacking);
    struct strbuf packed = {0}, got = {0}, text = {0};
    add_gzip(&packed, "abc", 3);
    strbuf_printf(&text,
        "POST /later HTTP/1.1\r\n" HOST "Content-Encoding: gzip\r\n"
        "Content-Length: %zu\r\n\r\n",
        packed.length);
    strbuf_append(&text, packed.text, packed.length);
    int fd = dial(fix);
    send_bytes(fix, fd, text.text, text.length);
    turn_until(fix, &fix->handled, 1);
    assert_null(http_request_header(fix->pending, "Content-Encoding"));
    assert_int_equal(http_request_body_length(fix->pending), -1);
    /* Answered unread: what was packed is dropped, and the connection serves on. */
    answer_text(fix->pending, 200, "unread", 6);
    assert_true(receive(fix, fd, &got, "unread"));
    send_text(fix, fd, HELLO);
    assert_true(receive(fix, fd, &got, "hello"));
    close(fd);
    strbuf_finish(&packed);
    strbuf_finish(&text);
    strbuf_finish(&got);
    fixture_destroy(fix);
}

static void large_bodies_pass_in_pieces_and_may_pause(void **state)
{
    (void)state;
    enum { TOTAL = 3 * 1024 * 1024 };
    struct fixture *fix = fixture_create(&unpacking);
    struct strbuf packed = {0}, text = {0}, got = {0};
    struct http_server_stats stats;
    SCOPED(mem_scope) char *plain = mem_alloc(TOTAL, 1);
    for (size_t i = 0; i < TOTAL; i++)
        plain[i] = (char)(i % 251 + i / 1000);
    add_zstd(&packed, plain, TOTAL);
    strbuf_printf(&text,
        "POST /pausing HTTP/1.1\r\n" HOST CLOSE "Content-Encoding: zstd\r\n"
        "Content-Length: %zu\r\n\r\n",
        packed.length);
    strbuf_append(&text, packed.text, packed.length);
    int fd = dial(fix);
    send_bytes(fix, fd, text.text, text.length);
    turn_until(fix, &fix->handled, 1);
    while (fix->received < TOTAL) {
        http_server_stats(fix->server, &stats);
        assert_true(stats.input_bytes <= 40 * 1024);
        http_request_resume(fix->pending);
        turn(fix);
    }
    http_request_resume(fix->pending);
    assert_false(receive(fix, fd, &got, NULL));
    assert_status(got.text, 200);
    close(fd);
    strbuf_finish(&packed);
    strbuf_finish(&text);
    strbuf_finish(&got);
    fixture_destroy(fix);
}

static void streams_of_http2_are_unpacked_too(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(&unpacking);
    struct http2_client *client = client_create(fix);
    struct strbuf packed = {0};
    add_zstd(&packed, "a body", 6);
    client_start(client, "POST", "/echo");
    client_field(client, "content-encoding", "zstd");
    client_head(client, 1, false);
    client_frame(client, NGHTTP2_DATA, 0, 1, packed.text, 5);
    client_frame(
        client, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, packed.text + 5, packed.length - 5);
    assert_int_equal(client_answer(client, 1), 200);
    assert_string_equal(client->body.text, "a body");
    client_start(client, "POST", "/echo");
    client_field(client, "content-encoding", "zstd");
    client_head(client, 3, false);
    client_frame(client, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 3, packed.text, 5);
    assert_int_equal(client_answer(client, 3), 400);
    strbuf_finish(&packed);
    client_destroy(client);
    fixture_destroy(fix);
}

static void other_codings_are_415(void **state)
{
    (void)state;
    static const char *const names[] = {
        "br", "deflate, gzip", "gzip, gzip", "gzip;q=1", "compress", "x"};
    struct fixture *fix = fixture_create(&unpacking);
    struct strbuf body = {0};
    strbuf_puts(&body, "abc");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        SCOPED(mem_scope) char *answer = post(fix, "/echo", names[i], &body, 0);
        assert_status(answer, 415);
        assert_non_null(strstr(answer, "\r\nAccept-Encoding: gzip, deflate, zstd\r\n"));
    }
    assert_int_equal(fix->handled, 0);
    SCOPED(mem_scope) char *answer = post(fix, "/echo", "identity", &body, 0);
    assert_status(answer, 200);
    strbuf_finish(&body);
    fixture_destroy(fix);
}

/* Cut at each byte, with each byte turned around, and with something behind. */
static void damaged_bodies_are_400(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create(&unpacking);
    for (size_t i = 0; i < ARRAY_LEN(codings); i++) {
        struct strbuf packed = {0};
        codings[i].pack(&packed, "a body, a body, a body", 22);
        size_t length = packed.length;
        for (packed.length = 1; packed.length < length; packed.length++) {
            SCOPED(mem_scope) char *answer = post(fix, "/echo", codings[i].name, &packed, 0);
            assert_status(answer, 400);
        }
        packed.text[0] ^= 0x55;
        SCOPED(mem_scope) char *answer = post(fix, "/echo", codings[i].name, &packed, 0);
        assert_status(answer, 400);
        packed.text[0] ^= 0x55;
        strbuf_puts(&packed, "more");
        SCOPED(mem_scope) char *behind = post(fix, "/echo", codings[i].name, &packed, 0);
        assert_status(behind, 400);
        packed.length = 0;
        SCOPED(mem_scope) char *none = post(fix, "/echo", codings[i].name, &packed, 1);
        assert_status(none, 400);
        strbuf_finish(&packed);
    }
    fixture_destroy(fix);
}

/* What is let in is bounded after unpacking, by the limit and by its ratio. */
static void bombs_are_413_and_cost_little(void **state)
{
    (void)state;
    enum { TOTAL = 60 * 1024 * 1024 };
    struct fixture *fix = fixture_create(&unpacking);
    SCOPED(mem_scope) char *plain = mem_alloc(TOTAL, 1);
    for (size_t i = 0; i < ARRAY_LEN(codings); i++) {
        struct strbuf packed = {0};
        codings[i].pack(&packed, plain, TOTAL);
        fix->received = 0;
        SCOPED(mem_scope) char *answer = post(fix, "/pieces", codings[i].name, &packed, 0);
        assert_status(answer, 413);
        assert_true(fix->received < TOTAL / 2); /* gzip makes 1:1000 at most, and it is 60 KB */
        strbuf_finish(&packed);
    }
    fixture_destroy(fix);
    const struct http_server_options small = {.unpack_bodies = true, .body_bytes_max = 100 * 1024};
    fix = fixture_create(&small);
    for (size_t i = 0; i < ARRAY_LEN(codings); i++) {
        struct strbuf packed = {0};
        codings[i].pack(&packed, plain, 100 * 1024 + 1);
        SCOPED(mem_scope) char *answer = post(fix, "/echo", codings[i].name, &packed, 0);
        assert_status(answer, 413);
        strbuf_finish(&packed);
        codings[i].pack(&packed, plain, 100 * 1024);
        SCOPED(mem_scope) char *fits = post(fix, "/echo", codings[i].name, &packed, 0);
        assert_status(fits, 200);
        strbuf_finish(&packed);
    }
    fixture_destroy(fix);
}

static void decoders_share_a_bound_on_memory(void **state)
{
    (void)state;
    const struct http_server_options tight = {.unpack_bodies = true, .unpack_bytes_max = 60 * 1024};
    struct fixture *fix = fixture_create(&tight);
    struct strbuf packed = {0};
    add_gzip(&packed, "abc", 3);
    int fd = dial(fix);
    send_text(fix, fd,
        "POST /later HTTP/1.1\r\n" HOST "Content-Encoding: gzip\r\n"
        "Content-Length: 100\r\n\r\n");
    turn_until(fix, &fix->handled, 1);
    SCOPED(mem_scope) char *refused = post(fix, "/echo", "gzip", &packed, 0);
    assert_status(refused, 503);
    close(fd);
    turn_until(fix, &fix->cancelled, 1);
    SCOPED(mem_scope) char *taken = post(fix, "/echo", "gzip", &packed, 0);
    assert_status(taken, 200);
    strbuf_finish(&packed);
    fixture_destroy(fix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_bodies_are_handed_over_unpacked),
        cmocka_unit_test(members_in_a_row_are_one_body),
        cmocka_unit_test(a_handler_sees_no_coding_and_no_length),
        cmocka_unit_test(large_bodies_pass_in_pieces_and_may_pause),
        cmocka_unit_test(streams_of_http2_are_unpacked_too),
        cmocka_unit_test(other_codings_are_415),
        cmocka_unit_test(damaged_bodies_are_400),
        cmocka_unit_test(bombs_are_413_and_cost_little),
        cmocka_unit_test(decoders_share_a_bound_on_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
