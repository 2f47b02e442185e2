/* The heads of HTTP/1.1 messages: see http_parse.h.
 *
 * A head is handled line by line, as soon as a line's LF is there. Invariants:
 *  1. bytes before line_offset were handled and are never looked at again;
 *  2. bytes between line_offset and scanned hold no LF, so each byte is searched once;
 *  3. a verdict depends on the bytes of the message only, never on how they were cut up.
 * Invariant 3 is why limits are checked on lines, against offsets, and not on what one read
 * brought: a line too long is refused at the same byte in any case. */
#include "wire/http_parse.h"

#include "base/memory.h"
#include "wire/http.h"
#include "wire/url.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

/* ------- character classes ------- */

enum { CLASS_TOKEN = 1, CLASS_VALUE = 2, CLASS_TARGET = 4, CLASS_DIGIT = 8 };

static const unsigned char classes[256] = {
    ['\t'] = CLASS_VALUE,
    [' '] = CLASS_VALUE,
    ['!'] = CLASS_VALUE | CLASS_TOKEN | CLASS_TARGET,
    ['"'] = CLASS_VALUE,
    ['#'] = CLASS_VALUE | CLASS_TOKEN,
    ['$' ... '\''] = CLASS_VALUE | CLASS_TOKEN | CLASS_TARGET,
    ['('] = CLASS_VALUE | CLASS_TARGET,
    [')'] = CLASS_VALUE | CLASS_TARGET,
    ['*'] = CLASS_VALUE | CLASS_TOKEN | CLASS_TARGET,
    ['+'] = CLASS_VALUE | CLASS_TOKEN | CLASS_TARGET,
    [','] = CLASS_VALUE | CLASS_TARGET,
    ['-'] = CLASS_VALUE | CLASS_TOKEN | CLASS_TARGET,
    ['.'] = CLASS_VALUE | CLASS_TOKEN | CLASS_TARGET,
    ['/'] = CLASS_VALUE | CLASS_TARGET,
    ['0' ... '9'] = CLASS_VALUE | CLASS_TOKEN | CLASS_TARGET | CLASS_DIGIT,
    [':'] = CLASS_VALUE | CLASS_TARGET,
    [';'] = CLASS_VALUE | CLASS_TARGET,
    ['<'] = CLASS_VALUE,
    ['='] = CLASS_VALUE | CLASS_TARGET,
    ['>'] = CLASS_VALUE,
    ['?'] = CLASS_VALUE | CLASS_TARGET,
    ['@'] = CLASS_VALUE | CLASS_TARGET,
    ['A' ... 'Z'] = CLASS_VALUE | CLASS_TOKEN | CLASS_TARGET,
    ['['] = CLASS_VALUE | CLASS_TARGET,
    ['\\'] = CLASS_VALUE,
    [']'] = CLASS_VALUE | CLASS_TARGET,
    ['^'] = CLASS_VALUE | CLASS_TOKEN,
    ['_'] = CLASS_VALUE | CLASS_TOKEN | CLASS_TARGET,
    ['`'] = CLASS_VALUE | CLASS_TOKEN,
    ['a' ... 'z'] = CLASS_VALUE | CLASS_TOKEN | CLASS_TARGET,
    ['{'] = CLASS_VALUE,
    ['|'] = CLASS_VALUE | CLASS_TOKEN,
    ['}'] = CLASS_VALUE,
    ['~'] = CLASS_VALUE | CLASS_TOKEN | CLASS_TARGET,
    [0x80 ... 0xff] = CLASS_VALUE,
};

/* How many bytes from text on are of the class. */
static size_t span(const char *text, size_t length, unsigned char class)
{
    size_t i = 0;
    while (i < length && (classes[(unsigned char)text[i]] & class))
        i++;
    return i;
}

bool http_token_valid(const char *text, size_t length)
{
    return length > 0 && span(text, length, CLASS_TOKEN) == length;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Eight bytes at once: the highest bit of each byte says what is wrong with it. No sum carries into
 * the next byte, because that bit is left out of it. */
static uint64_t controls8(const char *text)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), low = ones * 0x7f;
    uint64_t word;
    memcpy(&word, text, sizeof word);
    uint64_t rest = word & low, not_tab = ((word ^ ones * '\t') & low) + low;
    return ((~(rest + ones * 0x60) & not_tab) | (rest + ones)) & ~word;
}

/* Sixteen at once, where the processor can. */
typedef unsigned char lanes16 __attribute__((vector_size(16)));
typedef uint64_t words16 __attribute__((vector_size(16)));

static words16 controls16(const char *text)
{
    lanes16 bytes;
    memcpy(&bytes, text, sizeof bytes);
    return (words16)(((bytes < 0x20) & (bytes != '\t')) | (bytes == 0x7f));
}

/* The last bytes may be looked at twice. */
bool http_text_valid(const char *text, size_t length)
{
    const uint64_t high = UINT64_C(0x8080808080808080);
    if (length < 8)
        return span(text, length, CLASS_VALUE) == length;
    if (length < 16)
        return ((controls8(text) | controls8(text + length - 8)) & high) == 0;
    words16 bad = controls16(text + length - 16);
    for (size_t i = 0; i + 16 < length; i += 16)
        bad |= controls16(text + i);
    return (bad[0] | bad[1]) == 0;
}

static words16 invisible16(const char *text)
{
    lanes16 bytes;
    memcpy(&bytes, text, sizeof bytes);
    return (words16)((bytes <= ' ') | (bytes >= 0x7f));
}

bool http_visible_valid(const char *text, size_t length)
{
    unsigned odd = 0;
    for (size_t i = 0; i < length && length < 16; i++)
        odd |= text[i] <= ' ' || text[i] >= 0x7f;
    if (length < 16)
        return !odd;
    words16 bad = invisible16(text + length - 16);
    for (size_t i = 0; i + 16 < length; i += 16)
        bad |= invisible16(text + i);
    return (bad[0] | bad[1]) == 0;
}

bool http_value_valid(const char *text, size_t length)
{
    if (length == 0)
        return true;
    return http_text_valid(text, length) && !is_blank(text[0]) && !is_blank(text[length - 1]);
}

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

/* ------- faults ------- */

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

static enum http_parse_result fail(struct http_head_parser *parser, enum fault fault)
{
    parser->fault = &faults[fault];
    return HTTP_PARSE_FAULT;
}

/* A line while it is handled: text[0 .. length), without its CRLF, at offset in the message. */
struct line {
    const char *text;
    size_t length;
    uint32_t offset;
};

static struct http_slice slice_of(const struct line *line, const char *text, size_t length)
{
    assert(text >= line->text && text + length <= line->text + line->length);
    return (struct http_slice){line->offset + (uint32_t)(text - line->text), (uint32_t)length};
}

/* ------- the first line ------- */

/* "HTTP/1.0" or "HTTP/1.1". */
static enum http_parse_result version_parse(
    struct http_head_parser *parser, const char *text, size_t length)
{
    if (length != 8 || memcmp(text, "HTTP/", 5) != 0 || text[6] != '.' ||
        !(classes[(unsigned char)text[5]] & CLASS_DIGIT) ||
        !(classes[(unsigned char)text[7]] & CLASS_DIGIT))
        return fail(parser, FAULT_VERSION_MALFORMED);
    if (text[5] != '1' || text[7] > '1')
        return fail(parser, FAULT_VERSION);
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

/* The bytes of a target, as CLASS_TARGET has them. */
static words16 odd16(const char *text)
{
    lanes16 bytes;
    memcpy(&bytes, text, sizeof bytes);
    return (words16)((bytes <= ' ') | ((bytes >= '{') & (bytes != '~')) | (bytes == '"') |
                     (bytes == '#') | (bytes == '<') | (bytes == '>') | (bytes == '\\') |
                     (bytes == '^') | (bytes == '`'));
}

static bool target_valid(const char *text, size_t length)
{
    if (length < 16)
        return length > 0 && span(text, length, CLASS_TARGET) == length;
    words16 bad = odd16(text + length - 16);
    for (size_t i = 0; i + 16 < length; i += 16)
        bad |= odd16(text + i);
    return (bad[0] | bad[1]) == 0;
}

static enum http_parse_result target_parse(
    struct http_head_parser *parser, const struct line *line, const char *target, size_t length)
{
    struct http_head *head = &parser->head;
    size_t scheme;
    head->target = slice_of(line, target, length);
    if (!target_valid(target, length))
        return fail(parser, FAULT_TARGET);
    size_t method_length = head->method.length;
    if (method_length == 7 && memcmp(line->text, "CONNECT", 7) == 0)
        return fail(parser, FAULT_CONNECT);
    if (length == 1 && target[0] == '*') {
        head->target_is_asterisk = method_length == 7 && memcmp(line->text, "OPTIONS", 7) == 0;
        return head->target_is_asterisk ? HTTP_PARSE_MORE : fail(parser, FAULT_TARGET_FORM);
    }
    size_t prefix = target[0] == '/' ? 0 : absolute_prefix(target, length, &scheme);
    if (target[0] != '/' && prefix == 0)
        return fail(parser, FAULT_TARGET_FORM);
    target_split(head, target + prefix, slice_after(head->target, (uint32_t)prefix));
    return HTTP_PARSE_MORE;
}

static enum http_parse_result request_line_parse(
    struct http_head_parser *parser, const struct line *line)
{
    size_t method = span(line->text, line->length, CLASS_TOKEN);
    if (method == 0 || method == line->length || line->text[method] != ' ')
        return fail(parser, FAULT_METHOD);
    parser->head.method = slice_of(line, line->text, method);
    const char *target = line->text + method + 1;
    const char *space = memchr(target, ' ', line->length - method - 1);
    if (!space)
        return fail(parser, FAULT_NO_VERSION);
    const char *version = space + 1;
    enum http_parse_result result =
        version_parse(parser, version, line->length - (size_t)(version - line->text));
    if (result != HTTP_PARSE_MORE)
        return result;
    return target_parse(parser, line, target, (size_t)(space - target));
}

static enum http_parse_result status_line_parse(
    struct http_head_parser *parser, const struct line *line)
{
    const char *text = line->text;
    if (line->length < 13 || text[8] != ' ' || text[12] != ' ')
        return fail(parser, FAULT_START_LINE);
    if (span(text + 9, 3, CLASS_DIGIT) != 3 || text[9] < '1' || text[9] > '5')
        return fail(parser, FAULT_STATUS);
    if (span(text + 13, line->length - 13, CLASS_VALUE) != line->length - 13)
        return fail(parser, FAULT_START_LINE);
    parser->head.status = (text[9] - '0') * 100 + (text[10] - '0') * 10 + (text[11] - '0');
    return version_parse(parser, text, 8);
}

/* ------- fields that decide how the message is read ------- */

struct value {
    const char *text;
    size_t length;
};

typedef enum http_parse_result field_handler(struct http_head_parser *parser, struct value value);

static enum http_parse_result host_parse(struct http_head_parser *parser, struct value value)
{
    if (!url_authority_valid(value.text, value.length))
        return fail(parser, FAULT_HOST);
    return HTTP_PARSE_MORE;
}

static enum http_parse_result length_parse(struct http_head_parser *parser, struct value value)
{
    uint64_t number = 0;
    if (value.length == 0 || span(value.text, value.length, CLASS_DIGIT) != value.length)
        return fail(parser, FAULT_LENGTH);
    for (size_t i = 0; i < value.length; i++) {
        if (number > (INT64_MAX - 9) / 10)
            return fail(parser, FAULT_LENGTH);
        number = number * 10 + (uint64_t)(value.text[i] - '0');
    }
    parser->head.content_length = number;
    return HTTP_PARSE_MORE;
}

static enum http_parse_result coding_parse(struct http_head_parser *parser, struct value value)
{
    if (value.length != 7 || strncasecmp(value.text, "chunked", 7) != 0)
        return fail(parser, FAULT_CODING);
    return HTTP_PARSE_MORE;
}

/* The next element of a comma-separated list; moves *at behind it. An empty one has length 0. */
static struct value list_next(const char *list, size_t length, size_t *at)
{
    size_t start = *at, end = start;
    while (end < length && list[end] != ',')
        end++;
    *at = end + 1;
    while (start < end && is_blank(list[start]))
        start++;
    while (end > start && is_blank(list[end - 1]))
        end--;
    return (struct value){list + start, end - start};
}

bool http_list_has(const char *list, size_t length, const char *token)
{
    for (size_t at = 0; at < length;) {
        struct value element = list_next(list, length, &at);
        if (element.length == strlen(token) &&
            strncasecmp(element.text, token, element.length) == 0)
            return true;
    }
    return false;
}

static enum http_parse_result tokens_parse(struct http_head_parser *parser, struct value value)
{
    for (size_t at = 0; at < value.length;) {
        struct value element = list_next(value.text, value.length, &at);
        /* An Upgrade protocol may have a version: "name/1". */
        const char *slash = memchr(element.text, '/', element.length);
        size_t name = slash ? (size_t)(slash - element.text) : element.length;
        if (!http_token_valid(element.text, name))
            return fail(parser, FAULT_CONNECTION);
    }
    return HTTP_PARSE_MORE;
}

static enum http_parse_result expect_parse(struct http_head_parser *parser, struct value value)
{
    if (value.length != 12 || strncasecmp(value.text, "100-continue", 12) != 0)
        return fail(parser, FAULT_EXPECT);
    return HTTP_PARSE_MORE;
}

/* Connection may come several times; the flags gather over all of them. */
#define SEEN_CLOSE              (UINT64_C(1) << 61)
#define SEEN_KEEP_ALIVE         (UINT64_C(1) << 62)
#define SEEN_CONNECTION_UPGRADE (UINT64_C(1) << 63)

static enum http_parse_result connection_parse(struct http_head_parser *parser, struct value value)
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
    struct http_head_parser *parser, enum http_name known, struct value value)
{
    uint64_t bit = HTTP_NAME_BIT(known);
    if (parser->seen & bit & ONCE)
        return fail(parser, FAULT_FIELD_TWICE);
    parser->seen |= bit;
    return handlers[known] ? handlers[known](parser, value) : HTTP_PARSE_MORE;
}

static enum http_parse_result field_line_parse(
    struct http_head_parser *parser, const struct line *line)
{
    if (is_blank(line->text[0]))
        return fail(parser, FAULT_FOLD);
    const char *colon = memchr(line->text, ':', line->length);
    size_t name = colon ? (size_t)(colon - line->text) : 0;
    enum http_name known = http_name_find(line->text, name);
    if (known == HTTP_NAME_OTHER && !http_token_valid(line->text, name))
        return fail(parser, FAULT_FIELD_NAME);
    if (parser->head.field_count == parser->limits.field_count)
        return fail(parser, FAULT_FIELD_COUNT);
    struct value value = {line->text + name + 1, line->length - name - 1};
    if (!http_text_valid(value.text, value.length))
        return fail(parser, FAULT_FIELD_VALUE);
    while (value.length > 0 && is_blank(value.text[0]))
        value.text++, value.length--;
    while (value.length > 0 && is_blank(value.text[value.length - 1]))
        value.length--;
    parser->head.fields[parser->head.field_count++] = (struct http_field_slice){
        slice_of(line, line->text, name), slice_of(line, value.text, value.length), known};
    return known_field_check(parser, known, value);
}

/* ------- the end of the head ------- */

static enum http_parse_result framing_decide(struct http_head_parser *parser)
{
    struct http_head *head = &parser->head;
    bool has_length = parser->seen & HTTP_NAME_BIT(HTTP_NAME_CONTENT_LENGTH);
    bool has_coding = parser->seen & HTTP_NAME_BIT(HTTP_NAME_TRANSFER_ENCODING);
    if (has_length && has_coding)
        return fail(parser, FAULT_LENGTH_AND_CHUNKED);
    if (has_coding && head->minor_version == 0)
        return fail(parser, FAULT_CODING_OLD);
    if (has_coding)
        head->framing = HTTP_BODY_CHUNKED;
    else if (has_length)
        head->framing = head->content_length > 0 ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
    else
        head->framing = parser->message == HTTP_RESPONSE ? HTTP_BODY_UNTIL_CLOSE : HTTP_BODY_NONE;
    return HTTP_PARSE_DONE;
}

/* An absolute-form target has to name the same host as the Host field does. */
static bool hosts_agree(const struct http_head *head, const char *bytes)
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
            return fail(parser, FAULT_HOST_MISSING);
        if (!hosts_agree(head, bytes))
            return fail(parser, FAULT_HOST_DIFFERS);
    }
    return framing_decide(parser);
}

/* ------- lines ------- */

static enum http_parse_result line_parse(
    struct http_head_parser *parser, const char *bytes, const struct line *line)
{
    if (line->offset == 0) {
        parser->fields_offset = parser->line_offset;
        return parser->message == HTTP_REQUEST ? request_line_parse(parser, line)
                                               : status_line_parse(parser, line);
    }
    return line->length == 0 ? head_complete(parser, bytes) : field_line_parse(parser, line);
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
    return fail(parser, parser->line_offset == 0 ? FAULT_LINE_LONG : FAULT_HEAD_LARGE);
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
            return fail(parser, FAULT_BARE_LF);
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
