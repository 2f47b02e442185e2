/* Tokens from the end of an answer: see token_tail.h. A quotation mark inside a JSON text is
 * escaped, so `"usage"` before a colon and a brace can only be a member. */
#include "gateway/token_tail.h"

#include "base/memory.h"

#include <string.h>

enum { DEPTH_MAX = 8 };

void token_tail_add(struct token_tail *tail, const char *bytes, size_t length)
{
    if (length > TOKEN_TAIL_BYTES) {
        bytes += length - TOKEN_TAIL_BYTES;
        length = TOKEN_TAIL_BYTES;
    }
    if (tail->length + length > sizeof tail->bytes) {
        size_t kept = TOKEN_TAIL_BYTES;
        memmove(tail->bytes, tail->bytes + tail->length - kept, kept);
        tail->length = kept;
    }
    memcpy(tail->bytes + tail->length, bytes, length);
    tail->length += length;
}

/* Cuts the word off the end of the text. */
static bool cut_end(const char *text, size_t *length, const char *word)
{
    size_t size = strlen(word);
    if (*length < size || memcmp(text + *length - size, word, size))
        return false;
    *length -= size;
    return true;
}

bool token_stream_is_done(const char *text, size_t length)
{
    while (length > 0 && strchr(" \r\n", text[length - 1]) && text[length - 1])
        length--;
    if (!cut_end(text, &length, "[DONE]"))
        return false;
    (void)cut_end(text, &length, " ");
    return cut_end(text, &length, "data:") &&
           (length == 0 || text[length - 1] == '\n' || text[length - 1] == '\r');
}

struct span {
    const char *at, *end;
};

static void skip_space(struct span *span)
{
    while (span->at < span->end && strchr(" \t\r\n", *span->at) && *span->at)
        span->at++;
}

static bool skip_char(struct span *span, char c)
{
    skip_space(span);
    if (span->at == span->end || *span->at != c)
        return false;
    span->at++;
    return true;
}

/* The text that begins here, without its quotation marks and escapes undone. */
static bool read_text(struct span *span, struct span *ret)
{
    if (!skip_char(span, '"'))
        return false;
    ret->at = span->at;
    while (span->at < span->end && *span->at != '"')
        span->at += *span->at == '\\' ? 2 : 1;
    if (span->at >= span->end)
        return false;
    ret->end = span->at++;
    return true;
}

static bool is_name(const struct span *name, const char *text)
{
    size_t length = strlen(text);
    return (size_t)(name->end - name->at) == length && !memcmp(name->at, text, length);
}

static bool read_number(struct span span, uint64_t *ret)
{
    uint64_t value = 0;
    skip_space(&span);
    const char *first = span.at;
    for (; span.at < span.end && *span.at >= '0' && *span.at <= '9'; span.at++) {
        value = value * 10 + (uint64_t)(*span.at - '0');
        if (value > (uint64_t)1 << 53)
            return false;
    }
    if (span.at == first || span.at == span.end || !strchr(",} \t\r\n", *span.at))
        return false;
    *ret = value;
    return true;
}

/* Past a value of any kind, up to the ',' or '}' that follows it on the same level. */
static bool skip_value(struct span *span)
{
    int depth = 0;
    struct span text;
    while (span->at < span->end) {
        char c = *span->at;
        if (depth == 0 && (c == ',' || c == '}'))
            return true;
        if (c == '"') {
            if (!read_text(span, &text))
                return false;
            continue;
        }
        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
        if (depth < 0 || depth > DEPTH_MAX)
            return false;
        span->at++;
    }
    return false;
}

/* The object that begins here. */
static bool read_usage(struct span span, uint64_t *ret_input, uint64_t *ret_output)
{
    static const struct {
        const char *name;
        bool output;
    } members[] = {{"prompt_tokens", false}, {"input_tokens", false}, {"completion_tokens", true},
        {"output_tokens", true}};
    uint64_t tokens[2] = {0, 0}, value;
    bool found = false;
    struct span name;
    if (!skip_char(&span, ':') || !skip_char(&span, '{'))
        return false;
    while (read_text(&span, &name) && skip_char(&span, ':')) {
        for (size_t i = 0; i < ARRAY_LEN(members); i++) {
            if (is_name(&name, members[i].name) && read_number(span, &value)) {
                tokens[members[i].output] = value;
                found = true;
            }
        }
        if (!skip_value(&span) || !skip_char(&span, ','))
            break;
    }
    if (found) {
        *ret_input = tokens[0];
        *ret_output = tokens[1];
    }
    return found;
}

bool token_tail_find(const struct token_tail *tail, uint64_t *ret_input, uint64_t *ret_output)
{
    static const char name[] = "\"usage\"";
    const size_t length = sizeof name - 1;
    const char *end = tail->bytes + tail->length;
    if (tail->length < length)
        return false;
    /* It is never the first byte of an answer: before it stands a brace or a comma. */
    for (const char *at = end - length; at > tail->bytes; at--) {
        if (memcmp(at, name, length) != 0 || at[-1] == '\\')
            continue;
        if (read_usage((struct span){at + length, end}, ret_input, ret_output))
            return true;
    }
    return false;
}
