/* Fuzz target: a request, head and body, read whole and cut in two. The two readings must agree,
 * and what is accepted must keep what http_parse.h promises. */
#include "wire/http_body.h"
#include "wire/http_head_memo.h"
#include "wire/http_parse.h"
#include "wire/http_text.h"

#include "base/memory.h"
#include "wire/url.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { FIELDS = 16 };

static const struct http_head_limits limits = {1024, 2048, FIELDS};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_slice(struct http_slice slice, const struct http_head *head)
{
    assert((uint64_t)slice.offset + slice.length <= head->bytes);
}

static void check_head(const struct http_head *head, const char *bytes)
{
    check_slice(head->method, head);
    check_slice(head->target, head);
    check_slice(head->path, head);
    check_slice(head->query, head);
    assert(http_token_valid(bytes + head->method.offset, head->method.length));
    assert(head->field_count <= FIELDS);
    assert(head->bytes <= limits.line_bytes + limits.field_bytes);
    for (uint32_t i = 0; i < head->field_count; i++) {
        check_slice(head->fields[i].name, head);
        check_slice(head->fields[i].value, head);
        const struct http_slice name = head->fields[i].name, value = head->fields[i].value;
        assert(http_token_valid(bytes + name.offset, name.length));
        assert(http_value_valid(bytes + value.offset, value.length));
    }
    assert(head->framing != HTTP_BODY_UNTIL_CLOSE);
    assert(head->framing != HTTP_BODY_CHUNKED || head->minor_version == 1);
}

static void check_path(const struct http_head *head, const char *bytes)
{
    char *out = malloc(head->path.length + 1);
    size_t length;
    if (head->path.length &&
        url_decode_path(bytes + head->path.offset, head->path.length, out, &length, NULL) == 0) {
        assert(length <= head->path.length && strlen(out) == length && out[0] == '/');
        assert(!strstr(out, "//") && !strstr(out, "/../") && !strstr(out, "/./"));
    }
    free(out);
}

/* Content bytes of the body, or -1 for a fault. */
static int64_t read_body(
    const struct http_head *head, const char *bytes, size_t length, size_t cut, bool *ret_done)
{
    struct http_body body;
    int64_t content = 0;
    size_t at = 0, end = cut < length ? cut : length;
    http_body_init(&body, head->framing, head->content_length);
    *ret_done = false;
    for (;;) {
        size_t used, piece;
        enum http_parse_result result = http_body_next(&body, bytes + at, end - at, &used, &piece);
        if (result == HTTP_PARSE_FAULT)
            return -1;
        assert(piece <= used && used <= end - at);
        at += used;
        content += (int64_t)piece;
        *ret_done = result == HTTP_PARSE_DONE;
        if (*ret_done || (used == 0 && end == length))
            return content;
        if (used == 0)
            end = length;
    }
}

/* Over and over on one connection, a memo says what the parser says. */
static void check_memo(const struct http_head_parser *plain, enum http_parse_result expected,
    const char *bytes, size_t length)
{
    struct http_head_memo *memo = http_head_memo_create(HTTP_REQUEST, &limits);
    struct http_head_hint hint = {0};
    for (int i = 0; i < 3; i++) {
        struct http_field_slice fields[FIELDS];
        struct http_head_parser parser;
        http_head_parser_init(&parser, HTTP_REQUEST, &limits, fields);
        enum http_parse_result result = http_head_memo_parse(memo, &hint, &parser, bytes, length);
        const struct http_head *head = &parser.head, *other = &plain->head;
        assert(result == expected && parser.fault == plain->fault);
        if (result != HTTP_PARSE_DONE)
            continue;
        assert(head->bytes == other->bytes && head->framing == other->framing);
        assert(head->content_length == other->content_length);
        assert(head->keep_alive == other->keep_alive && head->field_count == other->field_count);
        assert(memcmp(head->fields, other->fields, head->field_count * sizeof fields[0]) == 0);
    }
    http_head_memo_destroy(memo);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_field_slice fields[FIELDS], cut_fields[FIELDS];
    struct http_head_parser whole, parts;
    if (size < 1)
        return 0;
    const char *bytes = (const char *)data + 1;
    size_t length = size - 1, cut = length * data[0] / 256;
    http_head_parser_init(&whole, HTTP_REQUEST, &limits, fields);
    http_head_parser_init(&parts, HTTP_REQUEST, &limits, cut_fields);
    enum http_parse_result a = http_head_parse(&whole, bytes, length);
    enum http_parse_result b = http_head_parse(&parts, bytes, cut);
    if (b == HTTP_PARSE_MORE)
        b = http_head_parse(&parts, bytes, length);
    assert(a == b && whole.fault == parts.fault);
    check_memo(&whole, a, bytes, length);
    if (a != HTTP_PARSE_DONE)
        return 0;
    check_head(&whole.head, bytes);
    check_path(&whole.head, bytes);
    assert(memcmp(fields, cut_fields, whole.head.field_count * sizeof fields[0]) == 0);
    bool done, cut_done;
    const char *rest = bytes + whole.head.bytes;
    size_t left = length - whole.head.bytes;
    int64_t content = read_body(&whole.head, rest, left, left, &done);
    assert(content == read_body(&whole.head, rest, left, left * data[0] / 256, &cut_done));
    assert(done == cut_done);
    return 0;
}
