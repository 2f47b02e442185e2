/* Tests of the memo of heads: whatever comes, in whatever order, it says what the parser says. */
#include "wire/http_head_memo.h"

#include "base/memory.h"
#include "base/strbuf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FIELDS = 64 };

static const struct http_head_limits limits = {8192, 32768, FIELDS};

static void assert_same_slice(struct http_slice a, struct http_slice b)
{
    assert_int_equal(a.offset, b.offset);
    assert_int_equal(a.length, b.length);
}

static void assert_same_head(const struct http_head *a, const struct http_head *b)
{
    assert_same_slice(a->method, b->method);
    assert_same_slice(a->target, b->target);
    assert_same_slice(a->path, b->path);
    assert_same_slice(a->query, b->query);
    assert_int_equal(a->target_is_asterisk, b->target_is_asterisk);
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->minor_version, b->minor_version);
    assert_int_equal(a->field_count, b->field_count);
    assert_int_equal(a->bytes, b->bytes);
    assert_int_equal(a->framing, b->framing);
    assert_int_equal(a->content_length, b->content_length);
    assert_int_equal(a->keep_alive, b->keep_alive);
    assert_int_equal(a->expect_continue, b->expect_continue);
    assert_int_equal(a->connection_upgrade, b->connection_upgrade);
    for (uint32_t i = 0; i < a->field_count; i++) {
        assert_same_slice(a->fields[i].name, b->fields[i].name);
        assert_same_slice(a->fields[i].value, b->fields[i].value);
        assert_int_equal(a->fields[i].known, b->fields[i].known);
    }
}

/* A memo and the connections that use it. */
struct memory {
    enum http_message message;
    struct http_head_memo *memo;
    struct http_head_hint hints[8];
};

static struct memory memory_make(enum http_message message)
{
    return (struct memory){message, http_head_memo_create(message, &limits), {{0}}};
}

/* Parses bytes, in memory of exactly their size, both ways. True when no parser was needed. */
static bool check(struct memory *memory, size_t conn, const char *bytes, size_t length)
{
    struct http_field_slice fields[FIELDS], plain_fields[FIELDS];
    struct http_head_parser parser, plain;
    char *copy = malloc(length ? length : 1);
    memcpy(copy, bytes, length);
    http_head_parser_init(&parser, memory->message, &limits, fields);
    http_head_parser_init(&plain, memory->message, &limits, plain_fields);
    enum http_parse_result expected = http_head_parse(&plain, copy, length);
    enum http_parse_result result =
        http_head_memo_parse(memory->memo, &memory->hints[conn], &parser, copy, length);
    assert_int_equal(result, expected);
    assert_ptr_equal(parser.fault, plain.fault);
    if (result == HTTP_PARSE_DONE)
        assert_same_head(&parser.head, &plain.head);
    free(copy);
    return result == HTTP_PARSE_DONE && parser.head.fields != fields;
}

static bool check_text(struct memory *memory, size_t conn, const char *text)
{
    return check(memory, conn, text, strlen(text));
}

#define HEAD(length)                                                                               \
    "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer 0123456789\r\n"  \
    "Content-Type: application/json\r\nContent-Length: " length "\r\nAccept: */*\r\n\r\n"

/* ------- what is remembered ------- */

static void test_a_head_is_known_the_third_time(void **state)
{
    (void)state;
    struct memory memory = memory_make(HTTP_REQUEST);
    assert_false(check_text(&memory, 0, HEAD("200")));
    assert_false(check_text(&memory, 0, HEAD("200")));
    assert_true(check_text(&memory, 0, HEAD("200")));
    assert_true(check_text(&memory, 0, HEAD("999") "and a body"));
    assert_true(check_text(&memory, 0, HEAD("000")));
    /* Another connection has to send it once. */
    assert_false(check_text(&memory, 1, HEAD("123")));
    assert_true(check_text(&memory, 1, HEAD("321")));
    http_head_memo_destroy(memory.memo);
}

static void test_other_bytes_are_another_head(void **state)
{
    static const char *const others[] = {HEAD("20"), HEAD("2000"), HEAD("+20"), HEAD("2 0"),
        HEAD("20\r"), HEAD("20\n"), HEAD("2,0"), HEAD(" 20"), HEAD("20 "), HEAD("-20"), HEAD("0x2"),
        HEAD("20:"), HEAD("20/"), HEAD("\xb2\xb0\xb0"), HEAD(""),
        HEAD("200\r\nContent-Length: 200"), HEAD("200\r\nTransfer-Encoding: chunked")};
    (void)state;
    struct memory memory = memory_make(HTTP_REQUEST);
    for (int i = 0; i < 3; i++)
        check_text(&memory, 0, HEAD("200"));
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_false(check_text(&memory, 0, others[i]));
        assert_true(check_text(&memory, 0, HEAD("200")));
    }
    http_head_memo_destroy(memory.memo);
}

static void test_a_length_past_63_bits_is_refused(void **state)
{
    (void)state;
    struct memory memory = memory_make(HTTP_REQUEST);
    for (int i = 0; i < 3; i++)
        check_text(&memory, 0, HEAD("0000000000000000200"));
    assert_true(check_text(&memory, 0, HEAD("0900000000000000000")));
    assert_false(check_text(&memory, 0, HEAD("9999999999999999999")));
    assert_false(check_text(&memory, 0, HEAD("9223372036854775808")));
    http_head_memo_destroy(memory.memo);
}

static void test_heads_in_parts_are_parsed(void **state)
{
    (void)state;
    static const char head[] = HEAD("200");
    struct memory memory = memory_make(HTTP_REQUEST);
    for (int i = 0; i < 3; i++)
        check_text(&memory, 0, head);
    for (size_t cut = 1; cut < sizeof head - 1; cut++) {
        struct http_field_slice fields[FIELDS];
        struct http_head_parser parser;
        struct http_head_hint *hint = &memory.hints[0];
        http_head_parser_init(&parser, HTTP_REQUEST, &limits, fields);
        assert_int_equal(
            http_head_memo_parse(memory.memo, hint, &parser, head, cut), HTTP_PARSE_MORE);
        assert_int_equal(http_head_memo_parse(memory.memo, hint, &parser, head, sizeof head - 1),
            HTTP_PARSE_DONE);
        assert_ptr_equal(parser.head.fields, fields);
    }
    http_head_memo_destroy(memory.memo);
}

static void test_too_large_heads_are_parsed(void **state)
{
    (void)state;
    struct memory memory = memory_make(HTTP_REQUEST);
    struct strbuf large = {0}, many = {0};
    strbuf_printf(&large, "GET / HTTP/1.1\r\nHost: a\r\nCookie: %01024d\r\n\r\n", 1);
    strbuf_printf(&many, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 24; i++)
        strbuf_printf(&many, "A: %d\r\n", i);
    strbuf_printf(&many, "\r\n");
    for (int i = 0; i < 4; i++) {
        assert_false(check(&memory, 0, large.text, large.length));
        assert_false(check(&memory, 1, many.text, many.length));
    }
    strbuf_finish(&large);
    strbuf_finish(&many);
    http_head_memo_destroy(memory.memo);
}

static void test_who_never_repeats_himself_is_left_alone_for_a_while(void **state)
{
    (void)state;
    struct memory memory = memory_make(HTTP_REQUEST);
    for (int i = 0; i < 3; i++)
        check_text(&memory, 0, HEAD("200"));
    for (int i = 0; i < 255; i++) {
        char head[64];
        snprintf(head, sizeof head, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i);
        assert_false(check_text(&memory, 0, head));
        if (i >= 16)
            assert_int_equal(memory.hints[0].misses, i + 1);
    }
    assert_false(check_text(&memory, 0, HEAD("200")));
    assert_true(check_text(&memory, 0, HEAD("200")));
    http_head_memo_destroy(memory.memo);
}

/* ------- anything ------- */

static uint32_t random_below(uint64_t *seed, uint32_t bound)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33) % bound;
}

static const char *const request_fields[] = {"Host: a:80\r\n", "Content-Length: %u\r\n",
    "content-length:\t %u  \r\n", "Transfer-Encoding: chunked\r\n", "Expect: 100-continue\r\n",
    "Connection: close\r\n", "Connection: keep-alive, x\r\n", "Connection: upgrade\r\n",
    "Upgrade: websocket\r\n", "Authorization: Bearer %u\r\n", "X-Any: \r\n", "Accept: */*\r\n",
    "Date: Mon, 0%u\r\n", "Bad : %u\r\n"};

static void head_write(struct strbuf *out, enum http_message message, uint64_t *seed)
{
    static const char *const starts[2][4] = {
        {"GET /a?b=%u HTTP/1.1\r\n", "POST http://a:80/v1 HTTP/1.1\r\n", "OPTIONS * HTTP/1.1\r\n",
            "GET / HTTP/1.0\r\n"},
        {"HTTP/1.1 200 OK\r\n", "HTTP/1.1 204 \r\n", "HTTP/1.0 404 Not Found\r\n",
            "HTTP/1.1 20%u OK\r\n"},
    };
    char line[128];
    strbuf_clear(out);
    snprintf(line, sizeof line, starts[message == HTTP_RESPONSE][random_below(seed, 4)],
        random_below(seed, 10));
    strbuf_printf(out, "%s", line);
    if (message == HTTP_REQUEST)
        strbuf_printf(out, "Host: a:80\r\n");
    for (uint32_t left = random_below(seed, 6); left > 0; left--) {
        uint32_t which = 1 + random_below(seed, (uint32_t)ARRAY_LEN(request_fields) - 1);
        snprintf(line, sizeof line, request_fields[which], random_below(seed, 1000));
        strbuf_printf(out, "%s", line);
    }
    strbuf_printf(out, "\r\n");
}

/* One byte becomes another, goes, or comes. */
static void mutate(struct strbuf *out, const struct strbuf *head, uint64_t *seed)
{
    static const char bytes[] = "\r\n\0 :09/1a\t,;\x7f\x80";
    char byte = bytes[random_below(seed, sizeof bytes - 1)];
    size_t at = random_below(seed, (uint32_t)head->length);
    uint32_t how = random_below(seed, 4);
    strbuf_clear(out);
    strbuf_append(out, head->text, at);
    if (how < 3)
        strbuf_append(out, &byte, 1);
    strbuf_append(out, head->text + at + (how > 0), head->length - at - (how > 0));
}

static void check_anything(enum http_message message, uint64_t seed)
{
    struct memory memory = memory_make(message);
    struct strbuf heads[6] = {{0}}, other = {0};
    size_t known = 0;
    for (int round = 0; round < 20000; round++) {
        size_t conn = random_below(&seed, ARRAY_LEN(memory.hints));
        struct strbuf *head = &heads[conn % ARRAY_LEN(heads)];
        if (head->length == 0 || random_below(&seed, 20) == 0)
            head_write(head, message, &seed);
        mutate(&other, head, &seed);
        bool changed = random_below(&seed, 4) == 0;
        const struct strbuf *sent = changed ? &other : head;
        known += check(&memory, conn, sent->text, sent->length);
    }
    assert_true(known > 2000);
    for (size_t i = 0; i < ARRAY_LEN(heads); i++)
        strbuf_finish(&heads[i]);
    strbuf_finish(&other);
    http_head_memo_destroy(memory.memo);
}

static void test_anything_is_judged_as_by_the_parser(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        check_anything(HTTP_REQUEST, seed);
        check_anything(HTTP_RESPONSE, seed);
    }
}

/* Each byte of a head that is known, as each other byte. */
static void test_every_byte_counts(void **state)
{
    (void)state;
    char head[] = HEAD("200");
    struct memory memory = memory_make(HTTP_REQUEST);
    size_t known = 0;
    for (size_t at = 0; at < sizeof head - 1; at++) {
        char was = head[at];
        for (int byte = 0; byte < 256; byte++) {
            head[at] = was;
            /* Twice, as it may have been left alone. */
            check_text(&memory, 0, head);
            check_text(&memory, 0, head);
            assert_true(check_text(&memory, 0, head));
            head[at] = (char)byte;
            known += check(&memory, 0, head, sizeof head - 1);
        }
        head[at] = was;
    }
    /* Itself, wherever, and nine other digits in three places. */
    assert_int_equal(known, sizeof head - 1 + 27);
    http_head_memo_destroy(memory.memo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_head_is_known_the_third_time),
        cmocka_unit_test(test_other_bytes_are_another_head),
        cmocka_unit_test(test_a_length_past_63_bits_is_refused),
        cmocka_unit_test(test_heads_in_parts_are_parsed),
        cmocka_unit_test(test_too_large_heads_are_parsed),
        cmocka_unit_test(test_who_never_repeats_himself_is_left_alone_for_a_while),
        cmocka_unit_test(test_anything_is_judged_as_by_the_parser),
        cmocka_unit_test(test_every_byte_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
