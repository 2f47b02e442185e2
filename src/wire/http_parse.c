/* The heads of HTTP/1.1 messages: see http_parse.h.
 *
 * A head is handled line by line, as soon as a line's LF is there. Invariants:
 *  1. bytes before line_offset were handled and are never looked at again;
 *  2. bytes between line_offset and scanned hold no LF, so each byte is searched once;
 *  3. a verdict depends on the bytes of the message only, never on how they were cut up.
 * Invariant 3 is why limits are checked on lines, against offsets, and not on what one read
 * brought: a line too long is refused at the same byte in any case. */
#include "wire/http_parse_internal.h"

#include "wire/http.h"

#include <assert.h>
#include <string.h>

/* ------- faults ------- */

static const struct http_fault faults[] = {
    [FAULT_BARE_LF] = {400, "a line ends without CR before its LF"},
    [FAULT_LINE_LONG] = {414, "the request line is too long"},
    [FAULT_START_LINE] = {400, "the first line is not of HTTP/1.1"},
    [FAULT_METHOD] = {400, "the method is not a token"},
    [FAULT_TARGET] = {400, "the request target has a character that must be percent-encoded"},
    [FAULT_TARGET_FORM] = {400, "the request target is neither a path nor a URL of this server"},
    [FAULT_NO_VERSION] = {400, "the request line has no HTTP version"},
    [FAULT_VERSION_MALFORMED] = {400, "the HTTP version is malformed"},
    [FAULT_VERSION] = {505, "only HTTP/1.1 and HTTP/1.0 are spoken here"},
    [FAULT_STATUS] = {400, "the status code is not a number from 100 to 599"},
    [FAULT_HEAD_LARGE] = {431, "the header fields are too large"},
    [FAULT_FIELD_COUNT] = {431, "there are too many header fields"},
    [FAULT_FOLD] = {400, "a header field is continued on a second line"},
    [FAULT_FIELD_NAME] = {400, "a header field's name is not a token followed by a colon"},
    [FAULT_FIELD_VALUE] = {400, "a header field's value has a control character"},
    [FAULT_FIELD_TWICE] = {400, "a header field that may come once came twice"},
    [FAULT_HOST_MISSING] = {400, "there is no Host field"},
    [FAULT_HOST] = {400, "the Host field is not a host with an optional port"},
    [FAULT_HOST_DIFFERS] = {400, "the Host field and the request target name different hosts"},
    [FAULT_LENGTH] = {400, "Content-Length is not a number of bytes"},
    [FAULT_LENGTH_AND_CHUNKED] = {400, "there are both Content-Length and Transfer-Encoding"},
    [FAULT_CODING] = {501, "the only transfer coding spoken here is chunked"},
    [FAULT_CODING_OLD] = {400, "HTTP/1.0 has no Transfer-Encoding"},
    [FAULT_CONNECTION] = {400, "Connection or Upgrade is not a list of tokens"},
    [FAULT_EXPECT] = {417, "the only expectation met here is 100-continue"},
    [FAULT_CONNECT] = {501, "CONNECT is not spoken here"},
};

enum http_parse_result http_head_fail(struct http_head_parser *parser, enum fault fault)
{
    parser->fault = &faults[fault];
    return HTTP_PARSE_FAULT;
}

/* ------- the end of the head ------- */

static enum http_parse_result framing_decide(struct http_head_parser *parser)
{
    struct http_head *head = &parser->head;
    bool has_length = parser->seen & HTTP_NAME_BIT(HTTP_NAME_CONTENT_LENGTH);
    bool has_coding = parser->seen & HTTP_NAME_BIT(HTTP_NAME_TRANSFER_ENCODING);
    if (has_length && has_coding)
        return http_head_fail(parser, FAULT_LENGTH_AND_CHUNKED);
    if (has_coding && head->minor_version == 0)
        return http_head_fail(parser, FAULT_CODING_OLD);
    if (has_coding)
        head->framing = HTTP_BODY_CHUNKED;
    else if (has_length)
        http_head_set_length(head, head->content_length);
    else
        head->framing = parser->message == HTTP_RESPONSE ? HTTP_BODY_UNTIL_CLOSE : HTTP_BODY_NONE;
    return HTTP_PARSE_DONE;
}

static enum http_parse_result head_complete(struct http_head_parser *parser, const char *bytes)
{
    struct http_head *head = &parser->head;
    bool modern = head->minor_version == 1;
    uint64_t seen = parser->seen;
    head->bytes = parser->line_offset;
    head->keep_alive =
        modern ? !(seen & SEEN_CLOSE) : (seen & SEEN_KEEP_ALIVE) && !(seen & SEEN_CLOSE);
    head->expect_continue = modern && (seen & HTTP_NAME_BIT(HTTP_NAME_EXPECT));
    head->connection_upgrade =
        modern && (seen & SEEN_CONNECTION_UPGRADE) && (seen & HTTP_NAME_BIT(HTTP_NAME_UPGRADE));
    if (parser->message == HTTP_REQUEST) {
        if (modern && !(seen & HTTP_NAME_BIT(HTTP_NAME_HOST)))
            return http_head_fail(parser, FAULT_HOST_MISSING);
        if (!http_hosts_agree(head, bytes))
            return http_head_fail(parser, FAULT_HOST_DIFFERS);
    }
    return framing_decide(parser);
}

/* ------- lines ------- */

static enum http_parse_result line_parse(
    struct http_head_parser *parser, const char *bytes, const struct line *line)
{
    if (line->offset == 0) {
        parser->fields_offset = parser->line_offset;
        return parser->message == HTTP_REQUEST ? http_request_line_parse(parser, line)
                                               : http_status_line_parse(parser, line);
    }
    return line->length == 0 ? head_complete(parser, bytes) : http_field_line_parse(parser, line);
}

/* Where a line that begins at line_offset must have ended at the latest. */
static size_t line_limit(const struct http_head_parser *parser)
{
    if (parser->line_offset == 0)
        return parser->limits.line_bytes;
    return (size_t)parser->fields_offset + parser->limits.field_bytes;
}

static enum http_parse_result fail_too_long(struct http_head_parser *parser)
{
    return http_head_fail(parser, parser->line_offset == 0 ? FAULT_LINE_LONG : FAULT_HEAD_LARGE);
}

void http_head_parser_init(struct http_head_parser *parser, enum http_message message,
    const struct http_head_limits *limits, struct http_field_slice *fields)
{
    assert(limits->line_bytes >= 64 && limits->field_count > 0 && limits->field_bytes > 0);
    assert((uint64_t)limits->line_bytes + limits->field_bytes < UINT32_MAX);
    *parser = (struct http_head_parser){.message = message, .limits = *limits};
    parser->head.fields = fields;
}

enum http_parse_result http_head_parse(
    struct http_head_parser *parser, const char *bytes, size_t length)
{
    assert(!parser->fault && length >= parser->scanned);
    enum http_parse_result result = HTTP_PARSE_MORE;
    while (result == HTTP_PARSE_MORE) {
        size_t limit = line_limit(parser);
        size_t seen = length < limit ? length : limit;
        const char *end = memchr(bytes + parser->scanned, '\n', seen - parser->scanned);
        if (!end) {
            parser->scanned = (uint32_t)seen;
            return length >= limit ? fail_too_long(parser) : HTTP_PARSE_MORE;
        }
        uint32_t offset = parser->line_offset;
        struct line line = {bytes + offset, (size_t)(end - bytes) - offset, offset};
        if (line.length == 0 || end[-1] != '\r')
            return http_head_fail(parser, FAULT_BARE_LF);
        line.length--;
        parser->line_offset = parser->scanned = (uint32_t)(end - bytes) + 1;
        result = line_parse(parser, bytes, &line);
    }
    return result;
}

bool http_response_has_body(const struct http_head *head, bool to_head)
{
    assert(head->status >= 100);
    return !to_head && head->status >= 200 && head->status != 204 && head->status != 304;
}

/* ------- fields to be sent ------- */

struct http_field http_field_known(struct http_field field)
{
    if (field.parsed)
        return field;
    field.name_length = (uint32_t)strlen(field.name);
    field.value_length = (uint32_t)strlen(field.value);
    field.known = http_name_find(field.name, field.name_length);
    return field;
}

bool http_field_valid(const struct http_field *field)
{
    if (field->parsed)
        return true;
    return (field->known != HTTP_NAME_OTHER || http_token_valid(field->name, field->name_length)) &&
           http_value_valid(field->value, field->value_length);
}
