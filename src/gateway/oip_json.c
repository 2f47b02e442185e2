/* Moving over JSON: see oip_json.h. Nothing is read at or beyond cursor->end; recursion is bounded
 * by OIP_DEPTH_MAX. */
#include "gateway/oip_json.h"

#include "base/strbuf.h"

#include <string.h>

bool oip_span_is(struct oip_span span, const char *text)
{
    return span.text && strlen(text) == span.length && !memcmp(span.text, text, span.length);
}

void oip_pass_space(struct oip_cursor *cursor)
{
    while (cursor->at < cursor->end && (*cursor->at == ' ' || *cursor->at == '\n' ||
                                           *cursor->at == '\r' || *cursor->at == '\t'))
        cursor->at++;
}

bool oip_take(struct oip_cursor *cursor, char c)
{
    oip_pass_space(cursor);
    if (cursor->at == cursor->end || *cursor->at != c)
        return false;
    cursor->at++;
    return true;
}

bool oip_at_end(struct oip_cursor *cursor)
{
    oip_pass_space(cursor);
    return cursor->at == cursor->end;
}

/* ---- scalars --------------------------------------------------------------------------------- */

/* The value of four hexadecimal digits, or -1. */
static int hex4(const struct oip_cursor *cursor)
{
    int value = 0;
    if (cursor->end - cursor->at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = cursor->at[i];
        int digit = c >= '0' && c <= '9'                     ? c - '0'
                    : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                             : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* What follows "\u". A half of a pair alone is a fault: parsers differ about it. */
static bool pass_code(struct oip_cursor *cursor)
{
    int code = hex4(cursor);
    if (code < 0 || (code >= 0xdc00 && code <= 0xdfff))
        return false;
    cursor->at += 4;
    if (code < 0xd800 || code > 0xdbff)
        return true;
    if (cursor->end - cursor->at < 6 || cursor->at[0] != '\\' || cursor->at[1] != 'u')
        return false;
    cursor->at += 2;
    code = hex4(cursor);
    cursor->at += 4;
    return code >= 0xdc00 && code <= 0xdfff;
}

static bool pass_escape(struct oip_cursor *cursor)
{
    if (cursor->at == cursor->end)
        return false;
    char c = *cursor->at++;
    return c == 'u' ? pass_code(cursor) : c != '\0' && strchr("\"\\/bfnrt", c) != NULL;
}

/* After the opening quote. */
static bool pass_string(struct oip_cursor *cursor)
{
    while (cursor->at < cursor->end) {
        unsigned char c = (unsigned char)*cursor->at;
        size_t length = 1;
        if (c >= 0x80)
            length = utf8_length_within(cursor->at, (size_t)(cursor->end - cursor->at));
        if (c < 0x20 || length == 0)
            return false;
        cursor->at += length;
        if (c == '"')
            return true;
        if (c == '\\' && !pass_escape(cursor))
            return false;
    }
    return false;
}

/* At least one digit. */
static bool pass_digits(struct oip_cursor *cursor)
{
    const char *begin = cursor->at;
    while (cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9')
        cursor->at++;
    return cursor->at > begin;
}

static bool is_one_of(const struct oip_cursor *cursor, char a, char b)
{
    return cursor->at < cursor->end && (*cursor->at == a || *cursor->at == b);
}

static bool pass_number(struct oip_cursor *cursor)
{
    if (is_one_of(cursor, '-', '-'))
        cursor->at++;
    const char *begin = cursor->at;
    if (!pass_digits(cursor) || (*begin == '0' && cursor->at - begin > 1))
        return false;
    if (is_one_of(cursor, '.', '.')) {
        cursor->at++;
        if (!pass_digits(cursor))
            return false;
    }
    if (!is_one_of(cursor, 'e', 'E'))
        return true;
    cursor->at++;
    if (is_one_of(cursor, '+', '-'))
        cursor->at++;
    return pass_digits(cursor);
}

static bool pass_word(struct oip_cursor *cursor, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(cursor->end - cursor->at) < length || memcmp(cursor->at, word, length) != 0)
        return false;
    cursor->at += length;
    return true;
}

bool oip_skip_scalar(struct oip_cursor *cursor, enum oip_value value)
{
    oip_pass_space(cursor);
    if (value == OIP_NUMBER)
        return pass_number(cursor);
    if (value == OIP_STRING)
        return oip_take(cursor, '"') && pass_string(cursor);
    if (value == OIP_BOOL)
        return pass_word(cursor, "true") || pass_word(cursor, "false");
    return value == OIP_NULL && pass_word(cursor, "null");
}

bool oip_take_whole(struct oip_cursor *cursor, int64_t *ret)
{
    int64_t value = 0;
    oip_pass_space(cursor);
    const char *begin = cursor->at;
    if (!pass_digits(cursor) || cursor->at - begin > 18 ||
        (*begin == '0' && cursor->at - begin > 1) || is_one_of(cursor, '.', '.') ||
        is_one_of(cursor, 'e', 'E'))
        return false;
    for (const char *digit = begin; digit < cursor->at; digit++)
        value = value * 10 + (*digit - '0');
    *ret = value;
    return true;
}

/* ---- lists and maps -------------------------------------------------------------------------- */

static enum oip_step next_of(struct oip_cursor *cursor, bool *first, char close)
{
    bool is_first = *first;
    *first = false;
    if (oip_take(cursor, close))
        return OIP_END;
    return is_first || oip_take(cursor, ',') ? OIP_ITEM : OIP_FAULT;
}

enum oip_step oip_next(struct oip_cursor *cursor, bool *first)
{
    return next_of(cursor, first, ']');
}

enum oip_step oip_next_member(struct oip_cursor *cursor, bool *first, struct oip_span *ret_name)
{
    enum oip_step step = next_of(cursor, first, '}');
    if (step != OIP_ITEM)
        return step;
    if (!oip_take(cursor, '"'))
        return OIP_FAULT;
    struct oip_span name = {.text = cursor->at};
    if (!pass_string(cursor))
        return OIP_FAULT;
    name.length = (size_t)(cursor->at - name.text) - 1;
    if (memchr(name.text, '\\', name.length) || !oip_take(cursor, ':'))
        return OIP_FAULT;
    *ret_name = name;
    return OIP_ITEM;
}

static bool skip_at(struct oip_cursor *cursor, enum oip_value *ret_value, int depth);

static bool skip_list(struct oip_cursor *cursor, int depth)
{
    enum oip_value value;
    bool first = true;
    for (;;) {
        enum oip_step step = oip_next(cursor, &first);
        if (step != OIP_ITEM)
            return step == OIP_END;
        if (!skip_at(cursor, &value, depth))
            return false;
    }
}

static bool skip_map(struct oip_cursor *cursor, int depth)
{
    struct oip_span name;
    enum oip_value value;
    bool first = true;
    for (;;) {
        enum oip_step step = oip_next_member(cursor, &first, &name);
        if (step != OIP_ITEM)
            return step == OIP_END;
        if (!skip_at(cursor, &value, depth))
            return false;
    }
}

static enum oip_value value_of(char c)
{
    switch (c) {
    case '[': return OIP_LIST;
    case '{': return OIP_MAP;
    case '"': return OIP_STRING;
    case 't':
    case 'f': return OIP_BOOL;
    case 'n': return OIP_NULL;
    default: return OIP_NUMBER;
    }
}

static bool skip_at(struct oip_cursor *cursor, enum oip_value *ret_value, int depth)
{
    oip_pass_space(cursor);
    if (cursor->at == cursor->end || depth == OIP_DEPTH_MAX)
        return false;
    *ret_value = value_of(*cursor->at);
    if (*ret_value != OIP_LIST && *ret_value != OIP_MAP)
        return oip_skip_scalar(cursor, *ret_value);
    cursor->at++;
    return *ret_value == OIP_LIST ? skip_list(cursor, depth + 1) : skip_map(cursor, depth + 1);
}

bool oip_skip(struct oip_cursor *cursor, struct oip_span *ret_span, enum oip_value *ret_value)
{
    oip_pass_space(cursor);
    const char *begin = cursor->at;
    if (!skip_at(cursor, ret_value, 0))
        return false;
    *ret_span = (struct oip_span){begin, (size_t)(cursor->at - begin)};
    return true;
}
