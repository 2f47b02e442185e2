/* Between http_parse.c, which has the lines of a head and its end, http_parse_start.c, the first
 * line, and http_parse_field.c, the fields that decide how a message is read. */
#pragma once

#include "wire/http_parse.h"

#include "base/error.h"
#include "wire/http_text.h"

#include <assert.h>

enum fault {
    FAULT_BARE_LF,
    FAULT_LINE_LONG,
    FAULT_START_LINE,
    FAULT_METHOD,
    FAULT_TARGET,
    FAULT_TARGET_FORM,
    FAULT_NO_VERSION,
    FAULT_VERSION_MALFORMED,
    FAULT_VERSION,
    FAULT_STATUS,
    FAULT_HEAD_LARGE,
    FAULT_FIELD_COUNT,
    FAULT_FOLD,
    FAULT_FIELD_NAME,
    FAULT_FIELD_VALUE,
    FAULT_FIELD_TWICE,
    FAULT_HOST_MISSING,
    FAULT_HOST,
    FAULT_HOST_DIFFERS,
    FAULT_LENGTH,
    FAULT_LENGTH_AND_CHUNKED,
    FAULT_CODING,
    FAULT_CODING_OLD,
    FAULT_CONNECTION,
    FAULT_EXPECT,
    FAULT_CONNECT,
};

/* HTTP_PARSE_FAULT, and the parser says which. */
enum http_parse_result http_head_fail(struct http_head_parser *parser, enum fault fault) COLD;

/* A line while it is handled: text[0 .. length), without its CRLF, at offset in the message. */
struct line {
    const char *text;
    size_t length;
    uint32_t offset;
};

static inline struct http_slice slice_of(const struct line *line, const char *text, size_t length)
{
    assert(text >= line->text && text + length <= line->text + line->length);
    return (struct http_slice){line->offset + (uint32_t)(text - line->text), (uint32_t)length};
}

/* http_parse_start.c. HTTP_PARSE_MORE: it is fine. */
enum http_parse_result http_request_line_parse(
    struct http_head_parser *parser, const struct line *line);
enum http_parse_result http_status_line_parse(
    struct http_head_parser *parser, const struct line *line);
/* Whether the Host field, where there is one, names the host that an absolute-form target does. */
bool http_hosts_agree(const struct http_head *head, const char *bytes);

/* http_parse_field.c. What Connection said; it may come several times, and the flags gather over
 * all of them. */
#define SEEN_CLOSE              (UINT64_C(1) << 61)
#define SEEN_KEEP_ALIVE         (UINT64_C(1) << 62)
#define SEEN_CONNECTION_UPGRADE (UINT64_C(1) << 63)
enum http_parse_result http_field_line_parse(
    struct http_head_parser *parser, const struct line *line);
/* The value of Content-Length; false: it is none. */
bool http_length_read(const char *text, size_t length, uint64_t *ret_number);

/* Of a head with a Content-Length, and without a Transfer-Encoding. */
static inline void http_head_set_length(struct http_head *head, uint64_t length)
{
    head->content_length = length;
    head->framing = length > 0 ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
}
