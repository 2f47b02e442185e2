/* Tests of the parsers of heads and bodies: every attack is a row with the status it deserves, and
 * however a message is cut up, it reads the same. */
#include "wire/http_body.h"
#include "wire/http_parse.h"

#include "base/memory.h"
#include "base/strbuf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FIELDS = 64, LINE_BYTES = 8192, FIELD_BYTES = 32768 };

static const struct http_head_limits limits = {LINE_BYTES, FIELD_BYTES, FIELDS};

/* What reading a whole message came to: equal for equal messages, however they arrive. */
struct outcome {
    int status; /* of the fault, 0 for none */
    bool done;
    uint32_t head_bytes;
    uint32_t fields;
    struct strbuf content;
};

static void outcome_finish(struct outcome *outcome)
{
    strbuf_finish(&outcome->content);
}

/* Reads the body that follows a complete head, in pieces of at most step bytes. */
static void read_body(struct outcome *outcome, const struct http_head *head, const char *bytes,
    size_t length, size_t step)
{
    struct http_body body;
    size_t at = 0, end = 0;
    http_body_init(&body, head->framing, head->content_length);
    for (;;) {
        size_t used, piece;
        enum http_parse_result result = http_body_next(&body, bytes + at, end - at, &used, &piece);
        if (result == HTTP_PARSE_FAULT) {
            outcome->status = body.fault->status;
            return;
        }
        if (piece)
            strbuf_append(&outcome->content, bytes + at + used - piece, piece);
        at += used;
        if (result == HTTP_PARSE_DONE) {
            outcome->done = true;
            return;
        }
        if (at == end && end == length)
            return;
        if (at == end || used == 0)
            end = end + step < length ? end + step : length;
    }
}

/* The message in pieces of step bytes, each in memory of exactly its size, so that a sanitizer
 * sees a read past the end. */
static struct outcome read_in_steps(
    enum http_message kind, const char *bytes, size_t length, size_t first, size_t step)
{
    struct http_field_slice fields[FIELDS];
    struct http_head_parser parser;
    struct outcome outcome = {0};
    http_head_parser_init(&parser, kind, &limits, fields);
    size_t have = first < length ? first : length;
    for (;;) {
        char *copy = malloc(have ? have : 1);
        memcpy(copy, bytes, have);
        enum http_parse_result result = http_head_parse(&parser, copy, have);
        free(copy);
        if (result == HTTP_PARSE_FAULT) {
            outcome.status = parser.fault->status;
            return outcome;
        }
        if (result == HTTP_PARSE_DONE)
            break;
        if (have == length)
            return outcome;
        have = have + step < length ? have + step : length;
    }
    outcome.head_bytes = parser.head.bytes;
    outcome.fields = parser.head.field_count;
    read_body(&outcome, &parser.head, bytes + parser.head.bytes, length - parser.head.bytes, step);
    return outcome;
}

static struct outcome read_whole(enum http_message kind, const char *bytes, size_t length)
{
    return read_in_steps(kind, bytes, length, length, length ? length : 1);
}

/* ------- attacks ------- */

#define HOST "Host: a\r\n"

struct attack {
    const char *what;
    int status; /* 0: to be accepted */
    const char *bytes;
    size_t length; /* 0: strlen */
};

static const struct attack attacks[] = {
    /* Two readers, two lengths: request smuggling. */
    {"two lengths that differ", 400,
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 0},
    {"two lengths that agree", 400,
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 0},
    {"a list of lengths", 400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n", 0},
    {"length and chunked", 400,
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
    {"chunked and length", 400,
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 0},
    {"a length with a sign", 400, "POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n", 0},
    {"a negative length", 400, "POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", 0},
    {"a hexadecimal length", 400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 0x1\r\n\r\n", 0},
    {"an empty length", 400, "POST / HTTP/1.1\r\n" HOST "Content-Length: \r\n\r\n", 0},
    {"a length with a space in it", 400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1 1\r\n\r\n",
        0},
    {"a length past 63 bits", 400,
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551617\r\n\r\n", 0},
    {"a space before the colon", 400, "POST / HTTP/1.1\r\n" HOST "Content-Length : 1\r\n\r\nx", 0},
    {"a tab before the colon", 400, "GET / HTTP/1.1\r\n" HOST "X\t: 1\r\n\r\n", 0},
    {"gzip, chunked", 501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n",
        0},
    {"chunked, chunked", 501,
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n", 0},
    {"chunked, identity", 501,
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, identity\r\n\r\n", 0},
    {"xchunked", 501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n", 0},
    {"quoted chunked", 501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \"chunked\"\r\n\r\n", 0},
    {"chunked with a parameter", 501,
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked;q=1\r\n\r\n", 0},
    {"chunked after a vertical tab", 400,
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \vchunked\r\n\r\n", 0},
    {"an empty coding", 501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n", 0},
    {"two codings", 400,
        "POST / HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        0},
    {"chunked in HTTP/1.0", 400,
        "POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0},
    /* Line ends. */
    {"bare LF after the request line", 400, "GET / HTTP/1.1\n" HOST "\r\n", 0},
    {"bare LF after a field", 400, "GET / HTTP/1.1\r\nHost: a\n\r\n", 0},
    {"bare LF as the empty line", 400, "GET / HTTP/1.1\r\n" HOST "\n", 0},
    {"bare CR in a value", 400, "GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n", 0},
    {"bare CR between fields", 400, "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 0},
    {"CR CR LF", 400, "GET / HTTP/1.1\r\n" HOST "X: a\r\r\n\r\n", 0},
    {"bare CR in the request line", 400, "GET /\r HTTP/1.1\r\n" HOST "\r\n", 0},
    {"an empty line first", 400, "\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 0},
    {"a folded field", 400, "GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", 0},
    {"a field folded by a tab", 400, "GET / HTTP/1.1\r\n" HOST "X: a\r\n\tb\r\n\r\n", 0},
    {"white space before the first field", 400, "GET / HTTP/1.1\r\n " HOST "\r\n", 0},
    /* Bytes that do not belong. */
    {"NUL in a value", 400, "GET / HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n", 35},
    {"NUL in a name", 400, "GET / HTTP/1.1\r\n" HOST "X\0: a\r\n\r\n", 34},
    {"NUL in the target", 400, "GET /\0 HTTP/1.1\r\n" HOST "\r\n", 28},
    {"a control byte in a value", 400, "GET / HTTP/1.1\r\n" HOST "X: a\x01\r\n\r\n", 0},
    {"DEL in a value", 400, "GET / HTTP/1.1\r\n" HOST "X: a\x7f\r\n\r\n", 0},
    {"a name that is no token", 400, "GET / HTTP/1.1\r\n" HOST "X(: a\r\n\r\n", 0},
    {"an empty name", 400, "GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n", 0},
    {"a line without a colon", 400, "GET / HTTP/1.1\r\n" HOST "nonsense\r\n\r\n", 0},
    {"a name of bytes above 127", 400, "GET / HTTP/1.1\r\n" HOST "\xc3\xa4: a\r\n\r\n", 0},
    {"a TLS greeting", 400, "\x16\x03\x01\x02\x00\x01\n", 7},
    /* Hosts. */
    {"no Host", 400, "GET / HTTP/1.1\r\n\r\n", 0},
    {"two Hosts", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 0},
    {"the same Host twice", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 0},
    {"an empty Host", 400, "GET / HTTP/1.1\r\nHost:\r\n\r\n", 0},
    {"a Host with a path", 400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 0},
    {"a Host with a user", 400, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 0},
    {"a Host with a bad port", 400, "GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", 0},
    {"a Host with a port too large", 400, "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 0},
    {"two Hosts in one", 400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 0},
    {"a Host that is half an address", 400, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 0},
    {"a URL of another host", 400, "GET http://b/ HTTP/1.1\r\n" HOST "\r\n", 0},
    {"a URL of another port", 400, "GET http://a:81/ HTTP/1.1\r\nHost: a:80\r\n\r\n", 0},
    {"a URL with a user", 400, "GET http://u@a/ HTTP/1.1\r\n" HOST "\r\n", 0},
    {"a URL of another scheme", 400, "GET ftp://a/ HTTP/1.1\r\n" HOST "\r\n", 0},
    /* Versions and request lines. */
    {"HTTP/0.9", 400, "GET /\r\n", 0},
    {"HTTP/0.9 with its digits", 505, "GET / HTTP/0.9\r\n" HOST "\r\n", 0},
    {"HTTP/1.2", 505, "GET / HTTP/1.2\r\n" HOST "\r\n", 0},
    {"HTTP/2.0", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0},
    {"HTTP/3.7", 505, "GET / HTTP/3.7\r\n" HOST "\r\n", 0},
    {"HTTP/1", 400, "GET / HTTP/1\r\n" HOST "\r\n", 0},
    {"HTTP/1.10", 400, "GET / HTTP/1.10\r\n" HOST "\r\n", 0},
    {"HTTP/1.1 and a space", 400, "GET / HTTP/1.1 \r\n" HOST "\r\n", 0},
    {"http/1.1", 400, "GET / http/1.1\r\n" HOST "\r\n", 0},
    {"another protocol", 400, "GET / ICY/1.1\r\n" HOST "\r\n", 0},
    {"two spaces before the version", 400, "GET /  HTTP/1.1\r\n" HOST "\r\n", 0},
    {"two spaces before the target", 400, "GET  / HTTP/1.1\r\n" HOST "\r\n", 0},
    {"a tab for a space", 400, "GET\t/ HTTP/1.1\r\n" HOST "\r\n", 0},
    {"a space in the target", 400, "GET /a b HTTP/1.1\r\n" HOST "\r\n", 0},
    {"a space before the method", 400, " GET / HTTP/1.1\r\n" HOST "\r\n", 0},
    {"a method that is no token", 400, "GE(T / HTTP/1.1\r\n" HOST "\r\n", 0},
    {"no method", 400, "/ HTTP/1.1\r\n" HOST "\r\n", 0},
    {"a fragment in the target", 400, "GET /a#b HTTP/1.1\r\n" HOST "\r\n", 0},
    {"a raw byte above 127 in the target", 400, "GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n", 0},
    {"a target without a slash", 400, "GET a HTTP/1.1\r\n" HOST "\r\n", 0},
    {"an asterisk to GET", 400, "GET * HTTP/1.1\r\n" HOST "\r\n", 0},
    {"CONNECT", 501, "CONNECT a:443 HTTP/1.1\r\n" HOST "\r\n", 0},
    /* Fields that may come once. */
    {"two tokens", 400,
        "GET / HTTP/1.1\r\n" HOST "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n", 0},
    {"two content types", 400,
        "GET / HTTP/1.1\r\n" HOST "Content-Type: a/b\r\ncontent-type: c/d\r\n\r\n", 0},
    {"two idempotency keys", 400,
        "GET / HTTP/1.1\r\n" HOST "Idempotency-Key: a\r\nIdempotency-Key: b\r\n\r\n", 0},
    {"an expectation we cannot meet", 417, "GET / HTTP/1.1\r\n" HOST "Expect: teapot\r\n\r\n", 0},
    {"Connection that is no list of tokens", 400,
        "GET / HTTP/1.1\r\n" HOST "Connection: close, (x\r\n\r\n", 0},
    {"an empty element in Connection", 400,
        "GET / HTTP/1.1\r\n" HOST "Connection: close,,x\r\n\r\n", 0},
/* The chunked coding. */
#define CHUNKED "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
    {"a chunk size of 0x5", 400, CHUNKED "0x5\r\nhello\r\n0\r\n\r\n", 0},
    {"a chunk size of +5", 400, CHUNKED "+5\r\nhello\r\n0\r\n\r\n", 0},
    {"a chunk size of -5", 400, CHUNKED "-5\r\nhello\r\n0\r\n\r\n", 0},
    {"an empty chunk size", 400, CHUNKED "\r\nhello\r\n0\r\n\r\n", 0},
    {"a space before the chunk size", 400, CHUNKED " 5\r\nhello\r\n0\r\n\r\n", 0},
    {"a space after the chunk size", 400, CHUNKED "5 \r\nhello\r\n0\r\n\r\n", 0},
    {"a chunk size past 64 bits", 400, CHUNKED "10000000000000005\r\nhello\r\n0\r\n\r\n", 0},
    {"a chunk size of many zeros", 400, CHUNKED "00000000000000005\r\nhello\r\n0\r\n\r\n", 0},
    {"a chunk longer than its size", 400, CHUNKED "4\r\nhello\r\n0\r\n\r\n", 0},
    {"a chunk shorter than its size", 400, CHUNKED "6\r\nhello\r\n0\r\n\r\n", 0},
    {"a chunk size ended by bare LF", 400, CHUNKED "5\nhello\r\n0\r\n\r\n", 0},
    {"a chunk ended by bare LF", 400, CHUNKED "5\r\nhello\n0\r\n\r\n", 0},
    {"a last chunk ended by bare LF", 400, CHUNKED "5\r\nhello\r\n0\n\r\n", 0},
    {"a body ended by bare LF", 400, CHUNKED "5\r\nhello\r\n0\r\n\n", 0},
    {"bare LF in an extension", 400, CHUNKED "5;a\nhello\r\n0\r\n\r\n", 0},
    {"bare CR in an extension", 400, CHUNKED "5;a\rb\r\nhello\r\n0\r\n\r\n", 0},
    {"a control byte in an extension", 400, CHUNKED "5;a\x01\r\nhello\r\n0\r\n\r\n", 0},
    {"a folded trailer", 400, CHUNKED "0\r\nA: b\r\n c\r\n\r\n", 0},
    {"a trailer with a space before its colon", 400, CHUNKED "0\r\nA : b\r\n\r\n", 0},
    {"a trailer without a name", 400, CHUNKED "0\r\n: b\r\n\r\n", 0},
    {"a control byte in a trailer", 400, CHUNKED "0\r\nA: \x01\r\n\r\n", 0},
    /* Not attacks: what must keep working beside them. */
    {"a plain request", 0, "GET / HTTP/1.1\r\n" HOST "\r\n", 0},
    {"HTTP/1.0 without Host", 0, "GET / HTTP/1.0\r\n\r\n", 0},
    {"a URL of this host", 0, "GET http://A:80/x?y HTTP/1.1\r\nHost: a:80\r\n\r\n", 0},
    {"OPTIONS *", 0, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 0},
    {"an empty value", 0, "GET / HTTP/1.1\r\n" HOST "X:\r\nY: \t \r\n\r\n", 0},
    {"UTF-8 in a value", 0, "GET / HTTP/1.1\r\n" HOST "X: \xc3\xa4\r\n\r\n", 0},
    {"an address with a port", 0, "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 0},
    {"Chunked in capitals", 0,
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", 0},
    {"a chunk extension", 0, CHUNKED "5;a=\"b\" ; c\r\nhello\r\n0\r\n\r\n", 0},
    {"a trailer", 0, CHUNKED "5\r\nhello\r\n0\r\nA: b\r\n\r\n", 0},
};

static void every_attack_gets_its_status(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(attacks); i++) {
        const struct attack *attack = &attacks[i];
        size_t length = attack->length ? attack->length : strlen(attack->bytes);
        struct outcome outcome = read_whole(HTTP_REQUEST, attack->bytes, length);
        bool right = outcome.status == attack->status && (attack->status || outcome.done);
        if (!right)
            print_error("%s: expected %d, got %d%s\n", attack->what, attack->status, outcome.status,
                outcome.done ? "" : " (incomplete)");
        wrong += !right;
        outcome_finish(&outcome);
    }
    assert_int_equal(wrong, 0);
}

static void attacks_read_the_same_however_they_are_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(attacks); i++) {
        const struct attack *attack = &attacks[i];
        size_t length = attack->length ? attack->length : strlen(attack->bytes);
        struct outcome whole = read_whole(HTTP_REQUEST, attack->bytes, length);
        for (size_t cut = 0; cut <= length; cut++) {
            struct outcome parts = read_in_steps(HTTP_REQUEST, attack->bytes, length, cut, length);
            assert_int_equal(parts.status, whole.status);
            assert_int_equal(parts.done, whole.done);
            assert_string_equal(strbuf_text(&parts.content), strbuf_text(&whole.content));
            outcome_finish(&parts);
        }
        struct outcome bytewise = read_in_steps(HTTP_REQUEST, attack->bytes, length, 0, 1);
        assert_int_equal(bytewise.status, whole.status);
        assert_int_equal(bytewise.done, whole.done);
        outcome_finish(&bytewise);
        outcome_finish(&whole);
    }
}

/* ------- limits ------- */

static void a_request_line_past_its_limit_is_414_and_one_at_it_passes(void **state)
{
    (void)state;
    for (int over = 0; over <= 1; over++) {
        struct strbuf text = {0};
        strbuf_puts(&text, "GET /");
        while (text.length < LINE_BYTES - strlen(" HTTP/1.1\r\n") + (size_t)over)
            strbuf_putc(&text, 'a');
        strbuf_puts(&text, " HTTP/1.1\r\n" HOST "\r\n");
        struct outcome outcome = read_whole(HTTP_REQUEST, text.text, text.length);
        assert_int_equal(outcome.status, over ? 414 : 0);
        struct outcome slow = read_in_steps(HTTP_REQUEST, text.text, text.length, 0, 777);
        assert_int_equal(slow.status, outcome.status);
        strbuf_finish(&text);
    }
}

static void fields_past_their_limit_are_431_and_those_at_it_pass(void **state)
{
    (void)state;
    for (int over = 0; over <= 1; over++) {
        struct strbuf text = {0};
        strbuf_puts(&text, "GET / HTTP/1.1\r\n" HOST "X: ");
        size_t line = strlen("GET / HTTP/1.1\r\n");
        while (text.length < line + FIELD_BYTES - 4 + (size_t)over)
            strbuf_putc(&text, 'a');
        strbuf_puts(&text, "\r\n\r\n");
        struct outcome outcome = read_whole(HTTP_REQUEST, text.text, text.length);
        assert_int_equal(outcome.status, over ? 431 : 0);
        struct outcome slow = read_in_steps(HTTP_REQUEST, text.text, text.length, 0, 777);
        assert_int_equal(slow.status, outcome.status);
        strbuf_finish(&text);
    }
}

static void too_many_fields_are_431_and_the_most_pass(void **state)
{
    (void)state;
    for (int over = 0; over <= 1; over++) {
        struct strbuf text = {0};
        strbuf_puts(&text, "GET / HTTP/1.1\r\n" HOST);
        for (int i = 1; i < FIELDS + over; i++)
            strbuf_printf(&text, "X%d: y\r\n", i);
        strbuf_puts(&text, "\r\n");
        struct outcome outcome = read_whole(HTTP_REQUEST, text.text, text.length);
        assert_int_equal(outcome.status, over ? 431 : 0);
        strbuf_finish(&text);
    }
}

static void long_extensions_and_trailers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *before, *repeated, *after;
        int count, status;
    } rows[] = {
        {CHUNKED "5;", "e", "\r\nhello\r\n0\r\n\r\n", 1000, 0},
        {CHUNKED "5;", "e", "\r\nhello\r\n0\r\n\r\n", 1100, 400},
        {CHUNKED, "1;eeeeeeeee\r\nx\r\n", "0\r\n\r\n", 100, 0},
        {CHUNKED, "1;eeeeeeeee\r\nx\r\n", "0\r\n\r\n", 110, 400},
        {CHUNKED "0\r\n", "A: bcdefgh\r\n", "\r\n", 300, 0},
        {CHUNKED "0\r\n", "A: bcdefgh\r\n", "\r\n", 500, 431},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct strbuf text = {0};
        strbuf_puts(&text, rows[i].before);
        for (int k = 0; k < rows[i].count; k++)
            strbuf_puts(&text, rows[i].repeated);
        strbuf_puts(&text, rows[i].after);
        struct outcome outcome = read_whole(HTTP_REQUEST, text.text, text.length);
        assert_int_equal(outcome.status, rows[i].status);
        outcome_finish(&outcome);
        strbuf_finish(&text);
    }
}

/* ------- what is found ------- */

static void a_head_is_taken_apart(void **state)
{
    (void)state;
    static const char text[] = "PUT /a/b?c=d&e HTTP/1.1\r\nHost: h:1\r\nContent-Length: 12\r\n"
                               "Connection: Upgrade, keep-alive\r\nUpgrade: muster-exec\r\n"
                               "Expect: 100-Continue\r\nX-Empty:\r\n\r\n";
    struct http_field_slice fields[FIELDS];
    struct http_head_parser parser;
    http_head_parser_init(&parser, HTTP_REQUEST, &limits, fields);
    assert_int_equal(http_head_parse(&parser, text, strlen(text)), HTTP_PARSE_DONE);
    const struct http_head *head = &parser.head;
    assert_int_equal(head->bytes, strlen(text));
    assert_memory_equal(text + head->method.offset, "PUT", head->method.length);
    assert_memory_equal(text + head->path.offset, "/a/b", head->path.length);
    assert_int_equal(head->path.length, 4);
    assert_memory_equal(text + head->query.offset, "c=d&e", head->query.length);
    assert_int_equal(head->query.length, 5);
    assert_int_equal(head->field_count, 6);
    assert_int_equal(head->framing, HTTP_BODY_LENGTH);
    assert_int_equal(head->content_length, 12);
    assert_true(head->keep_alive && head->expect_continue && head->connection_upgrade);
    assert_int_equal(fields[5].value.length, 0);
}

static bool keeps_alive(const char *text)
{
    struct http_field_slice fields[FIELDS];
    struct http_head_parser parser;
    http_head_parser_init(&parser, HTTP_REQUEST, &limits, fields);
    assert_int_equal(http_head_parse(&parser, text, strlen(text)), HTTP_PARSE_DONE);
    return parser.head.keep_alive;
}

static void keep_alive_follows_version_and_connection(void **state)
{
    (void)state;
    assert_true(keeps_alive("GET / HTTP/1.1\r\n" HOST "\r\n"));
    assert_false(keeps_alive("GET / HTTP/1.1\r\n" HOST "Connection: x, CLOSE\r\n\r\n"));
    assert_false(keeps_alive("GET / HTTP/1.0\r\n\r\n"));
    assert_true(keeps_alive("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    assert_false(
        keeps_alive("GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n"));
}

/* ------- responses ------- */

static const struct attack responses[] = {
    {"a plain answer", 0, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0},
    {"an empty phrase", 0, "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 0},
    {"chunks", 0, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 0},
    {"no space after the status", 400, "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 0},
    {"a status of two digits", 400, "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", 0},
    {"a status of four digits", 400, "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", 0},
    {"a status of 600", 400, "HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n", 0},
    {"another version", 505, "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", 0},
    {"bare LF", 400, "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", 0},
    {"two lengths", 400, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n", 0},
    {"a control byte in the phrase", 400, "HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n", 0},
    {"not HTTP", 400, "SSH-2.0-OpenSSH_9.2\r\n", 0},
};

static void responses_are_held_to_the_same_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(responses); i++) {
        size_t length = strlen(responses[i].bytes);
        struct outcome whole = read_whole(HTTP_RESPONSE, responses[i].bytes, length);
        struct outcome bytewise = read_in_steps(HTTP_RESPONSE, responses[i].bytes, length, 0, 1);
        if (whole.status != responses[i].status)
            print_error("%s\n", responses[i].what);
        assert_int_equal(whole.status, responses[i].status);
        assert_int_equal(bytewise.status, responses[i].status);
        assert_int_equal(whole.done, responses[i].status == 0);
        outcome_finish(&whole);
        outcome_finish(&bytewise);
    }
}

/* Sixteen bytes of a target are judged at once: each byte, at each place of targets around that
 * length, is judged as one at a time would be. */
static void each_byte_of_a_target_is_judged_wherever_it_is(void **state)
{
    static const char others[] = "!$%&'()*+,-./:;=?@[]_~";
    char message[96];
    (void)state;
    for (int length = 2; length <= 50; length++) {
        for (int place = 1; place < length; place++) {
            for (int byte = 1; byte < 256; byte++) {
                bool letter = (byte | 32) >= 'a' && (byte | 32) <= 'z';
                bool fine = letter || (byte >= '0' && byte <= '9') || strchr(others, byte);
                if (byte == ' ' || byte == '\n')
                    continue; /* ends the target, or the line */
                int count = snprintf(message, sizeof message, "GET /%.*s HTTP/1.1\r\n" HOST "\r\n",
                    length - 1, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
                message[4 + place] = (char)byte;
                struct outcome whole = read_whole(HTTP_REQUEST, message, (size_t)count);
                assert_int_equal(whole.status, fine ? 0 : 400);
                outcome_finish(&whole);
            }
        }
    }
}

static void answers_without_content_have_no_body(void **state)
{
    (void)state;
    struct http_head head = {.status = 200, .framing = HTTP_BODY_LENGTH, .content_length = 5};
    assert_true(http_response_has_body(&head, false));
    assert_false(http_response_has_body(&head, true));
    head.status = 204;
    assert_false(http_response_has_body(&head, false));
    head.status = 101;
    assert_false(http_response_has_body(&head, false));
}

static void what_follows_a_body_is_left_for_the_next_message(void **state)
{
    (void)state;
    struct http_body body;
    size_t used, piece;
    http_body_init(&body, HTTP_BODY_LENGTH, 5);
    assert_int_equal(http_body_next(&body, "helloGET", 8, &used, &piece), HTTP_PARSE_DONE);
    assert_int_equal(used, 5);
    assert_int_equal(piece, 5);
    http_body_init(&body, HTTP_BODY_CHUNKED, 0);
    assert_int_equal(http_body_next(&body, "0\r\n\r\nGET", 8, &used, &piece), HTTP_PARSE_DONE);
    assert_int_equal(used, 5);
    assert_int_equal(piece, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_attack_gets_its_status),
        cmocka_unit_test(attacks_read_the_same_however_they_are_cut),
        cmocka_unit_test(a_request_line_past_its_limit_is_414_and_one_at_it_passes),
        cmocka_unit_test(fields_past_their_limit_are_431_and_those_at_it_pass),
        cmocka_unit_test(too_many_fields_are_431_and_the_most_pass),
        cmocka_unit_test(long_extensions_and_trailers_are_refused),
        cmocka_unit_test(a_head_is_taken_apart),
        cmocka_unit_test(keep_alive_follows_version_and_connection),
        cmocka_unit_test(responses_are_held_to_the_same_rules),
        cmocka_unit_test(each_byte_of_a_target_is_judged_wherever_it_is),
        cmocka_unit_test(answers_without_content_have_no_body),
        cmocka_unit_test(what_follows_a_body_is_left_for_the_next_message),
    };
    return cmocka_run_group_tests_name("http parse", tests, NULL, NULL);
}
