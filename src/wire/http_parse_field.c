/* The field lines of a head, and those that decide how the message is read: see
 * http_parse_internal.h. */
#include "wire/http_parse_internal.h"

#include "base/memory.h"
#include "wire/url.h"

#include <string.h>
#include <strings.h>

typedef enum http_parse_result field_handler(
    struct http_head_parser *parser, struct http_text value);

static enum http_parse_result host_parse(struct http_head_parser *parser, struct http_text value)
{
    if (!url_authority_valid(value.text, value.length))
        return http_head_fail(parser, FAULT_HOST);
    return HTTP_PARSE_MORE;
}

bool http_length_read(const char *text, size_t length, uint64_t *ret_number)
{
    uint64_t number = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned digit = (unsigned char)text[i] - (unsigned)'0';
        if (digit > 9 || number > (INT64_MAX - 9) / 10)
            return false;
        number = number * 10 + digit;
    }
    *ret_number = number;
    return length > 0;
}

static enum http_parse_result length_parse(struct http_head_parser *parser, struct http_text value)
{
    if (!http_length_read(value.text, value.length, &parser->head.content_length))
        return http_head_fail(parser, FAULT_LENGTH);
    return HTTP_PARSE_MORE;
}

static enum http_parse_result coding_parse(struct http_head_parser *parser, struct http_text value)
{
    if (value.length != 7 || strncasecmp(value.text, "chunked", 7) != 0)
        return http_head_fail(parser, FAULT_CODING);
    return HTTP_PARSE_MORE;
}

static enum http_parse_result tokens_parse(struct http_head_parser *parser, struct http_text value)
{
    for (size_t at = 0; at < value.length;) {
        struct http_text element = http_list_next(value.text, value.length, &at);
        /* An Upgrade protocol may have a version: "name/1". */
        const char *slash = memchr(element.text, '/', element.length);
        size_t name = slash ? (size_t)(slash - element.text) : element.length;
        if (!http_token_valid(element.text, name))
            return http_head_fail(parser, FAULT_CONNECTION);
    }
    return HTTP_PARSE_MORE;
}

static enum http_parse_result expect_parse(struct http_head_parser *parser, struct http_text value)
{
    if (value.length != 12 || strncasecmp(value.text, "100-continue", 12) != 0)
        return http_head_fail(parser, FAULT_EXPECT);
    return HTTP_PARSE_MORE;
}

static enum http_parse_result connection_parse(
    struct http_head_parser *parser, struct http_text value)
{
    static const struct {
        const char *token;
        uint64_t bit;
    } options[] = {
        {"close", SEEN_CLOSE},
        {"keep-alive", SEEN_KEEP_ALIVE},
        {"upgrade", SEEN_CONNECTION_UPGRADE},
    };
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        if (http_list_has(value.text, value.length, options[i].token))
            parser->seen |= options[i].bit;
    }
    return tokens_parse(parser, value);
}

/* What is asked of fields that are known here. Those that are not lists may come once: two values
 * would leave it to each reader which one counts. */
#define ONCE                                                                                       \
    (HTTP_NAME_BIT(HTTP_NAME_HOST) | HTTP_NAME_BIT(HTTP_NAME_RANGE) |                              \
        HTTP_NAME_BIT(HTTP_NAME_COOKIE) | HTTP_NAME_BIT(HTTP_NAME_EXPECT) |                        \
        HTTP_NAME_BIT(HTTP_NAME_UPGRADE) | HTTP_NAME_BIT(HTTP_NAME_USER_AGENT) |                   \
        HTTP_NAME_BIT(HTTP_NAME_CONTENT_TYPE) | HTTP_NAME_BIT(HTTP_NAME_AUTHORIZATION) |           \
        HTTP_NAME_BIT(HTTP_NAME_LAST_EVENT_ID) | HTTP_NAME_BIT(HTTP_NAME_CONTENT_LENGTH) |         \
        HTTP_NAME_BIT(HTTP_NAME_IDEMPOTENCY_KEY) | HTTP_NAME_BIT(HTTP_NAME_CONTENT_ENCODING) |     \
        HTTP_NAME_BIT(HTTP_NAME_TRANSFER_ENCODING) | HTTP_NAME_BIT(HTTP_NAME_PROXY_AUTHORIZATION))

static field_handler *const handlers[HTTP_NAMES] = {
    [HTTP_NAME_HOST] = host_parse,
    [HTTP_NAME_EXPECT] = expect_parse,
    [HTTP_NAME_UPGRADE] = tokens_parse,
    [HTTP_NAME_CONNECTION] = connection_parse,
    [HTTP_NAME_CONTENT_LENGTH] = length_parse,
    [HTTP_NAME_TRANSFER_ENCODING] = coding_parse,
};

static enum http_parse_result known_field_check(
    struct http_head_parser *parser, enum http_name known, struct http_text value)
{
    uint64_t bit = HTTP_NAME_BIT(known);
    if (parser->seen & bit & ONCE)
        return http_head_fail(parser, FAULT_FIELD_TWICE);
    parser->seen |= bit;
    return handlers[known] ? handlers[known](parser, value) : HTTP_PARSE_MORE;
}

enum http_parse_result http_field_line_parse(
    struct http_head_parser *parser, const struct line *line)
{
    if (http_is_blank(line->text[0]))
        return http_head_fail(parser, FAULT_FOLD);
    const char *colon = memchr(line->text, ':', line->length);
    size_t name = colon ? (size_t)(colon - line->text) : 0;
    enum http_name known = http_name_find(line->text, name);
    if (known == HTTP_NAME_OTHER && !http_token_valid(line->text, name))
        return http_head_fail(parser, FAULT_FIELD_NAME);
    if (parser->head.field_count == parser->limits.field_count)
        return http_head_fail(parser, FAULT_FIELD_COUNT);
    struct http_text value = {line->text + name + 1, line->length - name - 1};
    if (!http_text_valid(value.text, value.length))
        return http_head_fail(parser, FAULT_FIELD_VALUE);
    while (value.length > 0 && http_is_blank(value.text[0]))
        value.text++, value.length--;
    while (value.length > 0 && http_is_blank(value.text[value.length - 1]))
        value.length--;
    parser->head.fields[parser->head.field_count++] = (struct http_field_slice){
        slice_of(line, line->text, name), slice_of(line, value.text, value.length), known};
    return known_field_check(parser, known, value);
}
