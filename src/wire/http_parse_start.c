/* The first line of a head: see http_parse_internal.h. */
#include "wire/http_parse_internal.h"

#include "base/memory.h"
#include "wire/url.h"

#include <string.h>
#include <strings.h>

/* "HTTP/1.0" or "HTTP/1.1". */
static enum http_parse_result version_parse(
    struct http_head_parser *parser, const char *text, size_t length)
{
    if (length != 8 || memcmp(text, "HTTP/", 5) != 0 || text[6] != '.' ||
        !(http_classes[(unsigned char)text[5]] & CLASS_DIGIT) ||
        !(http_classes[(unsigned char)text[7]] & CLASS_DIGIT))
        return http_head_fail(parser, FAULT_VERSION_MALFORMED);
    if (text[5] != '1' || text[7] > '1')
        return http_head_fail(parser, FAULT_VERSION);
    parser->head.minor_version = text[7] - '0';
    return HTTP_PARSE_MORE;
}

static struct http_slice slice_after(struct http_slice whole, uint32_t count)
{
    assert(count <= whole.length);
    return (struct http_slice){whole.offset + count, whole.length - count};
}

/* Splits what follows the authority into path and query; an empty path is left empty. */
static void target_split(struct http_head *head, const char *text, struct http_slice rest)
{
    const char *mark = memchr(text, '?', rest.length);
    head->path = rest;
    head->query = slice_after(rest, rest.length);
    if (mark) {
        head->path.length = (uint32_t)(mark - text);
        head->query = slice_after(rest, head->path.length + 1);
    }
}

/* The bytes of "http://host:port" at the start of an absolute-form target, or 0. */
static size_t absolute_prefix(const char *target, size_t length, size_t *ret_scheme_length)
{
    static const char *const prefixes[] = {"http://", "https://"};
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        size_t scheme = strlen(prefixes[i]);
        if (length <= scheme || strncasecmp(target, prefixes[i], scheme) != 0)
            continue;
        size_t end = scheme;
        while (end < length && target[end] != '/' && target[end] != '?')
            end++;
        *ret_scheme_length = scheme;
        return end;
    }
    return 0;
}

static enum http_parse_result target_parse(
    struct http_head_parser *parser, const struct line *line, const char *target, size_t length)
{
    struct http_head *head = &parser->head;
    size_t scheme;
    head->target = slice_of(line, target, length);
    if (!http_target_valid(target, length))
        return http_head_fail(parser, FAULT_TARGET);
    size_t method_length = head->method.length;
    if (method_length == 7 && memcmp(line->text, "CONNECT", 7) == 0)
        return http_head_fail(parser, FAULT_CONNECT);
    if (length == 1 && target[0] == '*') {
        head->target_is_asterisk = method_length == 7 && memcmp(line->text, "OPTIONS", 7) == 0;
        return head->target_is_asterisk ? HTTP_PARSE_MORE
                                        : http_head_fail(parser, FAULT_TARGET_FORM);
    }
    size_t prefix = target[0] == '/' ? 0 : absolute_prefix(target, length, &scheme);
    if (target[0] != '/' && prefix == 0)
        return http_head_fail(parser, FAULT_TARGET_FORM);
    target_split(head, target + prefix, slice_after(head->target, (uint32_t)prefix));
    return HTTP_PARSE_MORE;
}

enum http_parse_result http_request_line_parse(
    struct http_head_parser *parser, const struct line *line)
{
    size_t method = http_span(line->text, line->length, CLASS_TOKEN);
    if (method == 0 || method == line->length || line->text[method] != ' ')
        return http_head_fail(parser, FAULT_METHOD);
    parser->head.method = slice_of(line, line->text, method);
    const char *target = line->text + method + 1;
    const char *space = memchr(target, ' ', line->length - method - 1);
    if (!space)
        return http_head_fail(parser, FAULT_NO_VERSION);
    const char *version = space + 1;
    enum http_parse_result result =
        version_parse(parser, version, line->length - (size_t)(version - line->text));
    if (result != HTTP_PARSE_MORE)
        return result;
    return target_parse(parser, line, target, (size_t)(space - target));
}

enum http_parse_result http_status_line_parse(
    struct http_head_parser *parser, const struct line *line)
{
    const char *text = line->text;
    if (line->length < 13 || text[8] != ' ' || text[12] != ' ')
        return http_head_fail(parser, FAULT_START_LINE);
    if (http_span(text + 9, 3, CLASS_DIGIT) != 3 || text[9] < '1' || text[9] > '5')
        return http_head_fail(parser, FAULT_STATUS);
    if (http_span(text + 13, line->length - 13, CLASS_VALUE) != line->length - 13)
        return http_head_fail(parser, FAULT_START_LINE);
    parser->head.status = (text[9] - '0') * 100 + (text[10] - '0') * 10 + (text[11] - '0');
    return version_parse(parser, text, 8);
}

/* An absolute-form target has to name the same host as the Host field does. */
bool http_hosts_agree(const struct http_head *head, const char *bytes)
{
    const char *target = bytes + head->target.offset;
    size_t scheme = 0;
    if (head->target_is_asterisk || target[0] == '/')
        return true;
    size_t end = absolute_prefix(target, head->target.length, &scheme);
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct http_field_slice *field = &head->fields[i];
        if (field->known != HTTP_NAME_HOST)
            continue;
        return field->value.length == end - scheme &&
               strncasecmp(bytes + field->value.offset, target + scheme, end - scheme) == 0;
    }
    return url_authority_valid(target + scheme, end - scheme);
}
