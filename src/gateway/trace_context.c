/* Trace context: see trace_context.h. */
#include "gateway/trace_context.h"

#include <assert.h>
#include <string.h>

enum { KEY_MAX = 256, VALUE_MAX = 256 };

/* ---- traceparent ----------------------------------------------------------------------------- */

/* -1: none. Upper case is not allowed. */
static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(const char *text, size_t count, uint8_t *ret)
{
    for (size_t i = 0; i < count; i++) {
        int high = hex_digit(text[2 * i]), low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);
        if (low < 0)
            return false;
        ret[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool all_zeros(const uint8_t *bytes, size_t count)
{
    uint8_t any = 0;
    for (size_t i = 0; i < count; i++)
        any |= bytes[i];
    return any == 0;
}

bool trace_parent_read(const char *text, struct trace_context *ret)
{
    struct trace_context context;
    uint8_t version;
    size_t length = strnlen(text, TRACE_PARENT_TEXT);
    if (length < TRACE_PARENT_TEXT - 1 || !read_hex(text, 1, &version) || version == 0xff)
        return false;
    /* Only a later version may have more, after another '-'. */
    if (text[TRACE_PARENT_TEXT - 1] != '\0' && (version == 0 || text[TRACE_PARENT_TEXT - 1] != '-'))
        return false;
    if (text[2] != '-' || text[35] != '-' || text[52] != '-' ||
        !read_hex(text + 3, sizeof context.trace, context.trace) ||
        !read_hex(text + 36, sizeof context.span, context.span) ||
        !read_hex(text + 53, 1, &context.flags))
        return false;
    if (all_zeros(context.trace, sizeof context.trace) ||
        all_zeros(context.span, sizeof context.span))
        return false;
    context.flags &= TRACE_FLAGS;
    *ret = context;
    return true;
}

static char *put_hex(char *out, const uint8_t *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    return out;
}

void trace_parent_write(const struct trace_context *context, char out[TRACE_PARENT_TEXT])
{
    char *at = out;
    memcpy(at, "00-", 3);
    at = put_hex(at + 3, context->trace, sizeof context->trace);
    *at++ = '-';
    at = put_hex(at, context->span, sizeof context->span);
    *at++ = '-';
    at = put_hex(at, &context->flags, 1);
    *at = '\0';
    assert(at == out + TRACE_PARENT_TEXT - 1);
}

/* ---- tracestate ------------------------------------------------------------------------------ */

struct member {
    const char *key;
    size_t key_length;
};

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Of the key's length, 0: there is none. */
static size_t key_length(const char *text)
{
    size_t length = 0;
    if (!is_lower(text[0]) && !is_digit(text[0]))
        return 0;
    while (is_lower(text[length]) || is_digit(text[length]) ||
           (text[length] && strchr("_-*/@", text[length])))
        length++;
    return length <= KEY_MAX ? length : 0;
}

/* Printable but for ',' and '='; blanks at its end are not of it. 0: there is none. */
static size_t value_length(const char *text, size_t *ret_blanks)
{
    size_t length = 0, end = 0;
    for (;
         text[length] >= 0x20 && text[length] < 0x7f && text[length] != ',' && text[length] != '=';
         length++)
        end = text[length] == ' ' ? end : length + 1;
    *ret_blanks = length - end;
    return end <= VALUE_MAX ? end : 0;
}

static bool is_new(const struct member *members, size_t count, const struct member *member)
{
    for (size_t i = 0; i < count; i++) {
        if (members[i].key_length == member->key_length &&
            !memcmp(members[i].key, member->key, member->key_length))
            return false;
    }
    return true;
}

/* Reads a member at *at, which goes on behind it. An empty one is fine and is none: key NULL. */
static bool read_member(const char **at, struct member *ret)
{
    const char *text = *at + strspn(*at, " \t");
    *ret = (struct member){0};
    if (*text == ',' || *text == '\0') {
        *at = text;
        return true;
    }
    size_t blanks, key = key_length(text);
    if (key == 0 || text[key] != '=')
        return false;
    size_t value = value_length(text + key + 1, &blanks);
    if (value == 0)
        return false;
    *ret = (struct member){text, key};
    text += key + 1 + value + blanks;
    *at = text + strspn(text, " \t");
    return **at == ',' || **at == '\0';
}

bool trace_state_valid(const char *text)
{
    struct member members[TRACE_STATE_MEMBERS];
    size_t count = 0;
    if (strnlen(text, TRACE_STATE_TEXT) == TRACE_STATE_TEXT)
        return false;
    for (const char *at = text;; at++) {
        struct member member;
        if (!read_member(&at, &member))
            return false;
        if (member.key && (count == TRACE_STATE_MEMBERS || !is_new(members, count, &member)))
            return false;
        if (member.key)
            members[count++] = member;
        if (*at == '\0')
            return count > 0;
    }
}

/* ---- sampling -------------------------------------------------------------------------------- */

/* Of the id's last seven bytes, which are random in every generation of the recommendation. */
bool trace_sampled(const struct trace_context *context, int64_t per_million)
{
    uint64_t random = 0;
    for (size_t i = 9; i < sizeof context->trace; i++)
        random = random << 8 | context->trace[i];
    uint64_t rejected =
        (uint64_t)(((unsigned __int128)1 << 56) * (uint64_t)(1000000 - per_million) / 1000000);
    return random >= rejected;
}
