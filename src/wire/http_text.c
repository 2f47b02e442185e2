/* Bytes of heads: see http_text.h. */
#include "wire/http_text.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

const unsigned char http_classes[256] = {
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

bool http_token_valid(const char *text, size_t length)
{
    return length > 0 && http_span(text, length, CLASS_TOKEN) == length;
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
        return http_span(text, length, CLASS_VALUE) == length;
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
    return http_text_valid(text, length) && !http_is_blank(text[0]) &&
           !http_is_blank(text[length - 1]);
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

bool http_target_valid(const char *text, size_t length)
{
    if (length < 16)
        return length > 0 && http_span(text, length, CLASS_TARGET) == length;
    words16 bad = odd16(text + length - 16);
    for (size_t i = 0; i + 16 < length; i += 16)
        bad |= odd16(text + i);
    return (bad[0] | bad[1]) == 0;
}

/* ------- lists ------- */

struct http_text http_list_next(const char *list, size_t length, size_t *at)
{
    size_t start = *at, end = start;
    while (end < length && list[end] != ',')
        end++;
    *at = end + 1;
    while (start < end && http_is_blank(list[start]))
        start++;
    while (end > start && http_is_blank(list[end - 1]))
        end--;
    return (struct http_text){list + start, end - start};
}

bool http_list_has(const char *list, size_t length, const char *token)
{
    for (size_t at = 0; at < length;) {
        struct http_text element = http_list_next(list, length, &at);
        if (element.length == strlen(token) &&
            strncasecmp(element.text, token, element.length) == 0)
            return true;
    }
    return false;
}
