/* Fuzz target: a response, read whole and byte by byte. */
#include "wire/http_body.h"
#include "wire/http_head_memo.h"
#include "wire/http_parse.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

enum { FIELDS = 16 };

static const struct http_head_limits limits = {1024, 2048, FIELDS};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_body(const struct http_head *head, const char *bytes, size_t length)
{
    struct http_body body;
    bool has_body = http_response_has_body(head, false);
    size_t used, piece, at = 0;
    http_body_init(&body, has_body ? head->framing : HTTP_BODY_NONE, head->content_length);
    do {
        if (http_body_next(&body, bytes + at, length - at, &used, &piece) != HTTP_PARSE_MORE)
            return;
        assert(piece <= used && used <= length - at);
        at += used;
    } while (used > 0);
    assert(at == length);
}

/* Over and over on one link, a memo says what the parser says. */
static void check_memo(const struct http_head_parser *plain, enum http_parse_result expected,
    const char *bytes, size_t length)
{
    struct http_head_memo *memo = http_head_memo_create(HTTP_RESPONSE, &limits);
    struct http_head_hint hint = {0};
    for (int i = 0; i < 3; i++) {
        struct http_field_slice fields[FIELDS];
        struct http_head_parser parser;
        http_head_parser_init(&parser, HTTP_RESPONSE, &limits, fields);
        enum http_parse_result result = http_head_memo_parse(memo, &hint, &parser, bytes, length);
        const struct http_head *head = &parser.head, *other = &plain->head;
        assert(result == expected && parser.fault == plain->fault);
        if (result != HTTP_PARSE_DONE)
            continue;
        assert(head->bytes == other->bytes && head->framing == other->framing);
        assert(head->content_length == other->content_length && head->status == other->status);
        assert(head->keep_alive == other->keep_alive && head->field_count == other->field_count);
        assert(memcmp(head->fields, other->fields, head->field_count * sizeof fields[0]) == 0);
    }
    http_head_memo_destroy(memo);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_field_slice fields[FIELDS], slow_fields[FIELDS];
    struct http_head_parser whole, slow;
    const char *bytes = (const char *)data;
    http_head_parser_init(&whole, HTTP_RESPONSE, &limits, fields);
    http_head_parser_init(&slow, HTTP_RESPONSE, &limits, slow_fields);
    enum http_parse_result a = http_head_parse(&whole, bytes, size), b = HTTP_PARSE_MORE;
    for (size_t i = 0; i <= size && b == HTTP_PARSE_MORE; i++)
        b = http_head_parse(&slow, bytes, i);
    assert(a == b && whole.fault == slow.fault);
    check_memo(&whole, a, bytes, size);
    if (a != HTTP_PARSE_DONE)
        return 0;
    assert(whole.head.bytes == slow.head.bytes && whole.head.framing == slow.head.framing);
    assert(whole.head.status >= 100 && whole.head.status <= 599);
    read_body(&whole.head, bytes + whole.head.bytes, size - whole.head.bytes);
    return 0;
}
