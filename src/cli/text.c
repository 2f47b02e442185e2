/* Text as people see it: see text.h. Widths come from tables of our own and not from wcwidth, so
 * that a table is aligned whatever the locale is. One decoder stands behind all of it. */
#include "cli/text.h"

#include "base/memory.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"

enum { BAD = -1, SHORT = -2 };

/* The letter at text: its length and value, BAD for what is none, SHORT when the end is missing. */
static int decode(const char *text, size_t length, uint32_t *ret_letter)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = (unsigned char)text[0];
    int size = first < 0x80                    ? 1
               : first >= 0xc2 && first < 0xe0 ? 2
               : first >= 0xe0 && first < 0xf0 ? 3
               : first >= 0xf0 && first < 0xf5 ? 4
                                               : 0;
    if (size == 0)
        return BAD;
    uint32_t letter = size == 1 ? first : first & (0x7fu >> size);
    for (int i = 1; i < size; i++) {
        if ((size_t)i >= length)
            return SHORT;
        unsigned char byte = (unsigned char)text[i];
        if ((byte & 0xc0) != 0x80)
            return BAD;
        letter = letter << 6 | (byte & 0x3f);
    }
    if (letter < least[size] || letter > 0x10ffff || (letter >= 0xd800 && letter < 0xe000))
        return BAD;
    *ret_letter = letter;
    return size;
}

struct range {
    uint32_t first;
    uint32_t last;
};

/* Letters two columns wide (Unicode's East Asian Wide and Fullwidth, by block) and those that
 * take none. Blocks, not single letters: a table is to be aligned, not typeset. */
static const struct range wide[] = {{0x1100, 0x115f}, {0x2e80, 0x303e}, {0x3041, 0x33ff},
    {0x3400, 0x4dbf}, {0x4e00, 0x9fff}, {0xa000, 0xa4cf}, {0xa960, 0xa97f}, {0xac00, 0xd7a3},
    {0xf900, 0xfaff}, {0xfe30, 0xfe6f}, {0xff00, 0xff60}, {0xffe0, 0xffe6}, {0x1f300, 0x1f64f},
    {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}};
static const struct range none[] = {{0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd},
    {0x0610, 0x061a}, {0x064b, 0x065f}, {0x0e34, 0x0e3a}, {0x0e47, 0x0e4e}, {0x1ab0, 0x1aff},
    {0x1dc0, 0x1dff}, {0x200b, 0x200f}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f},
    {0xe0100, 0xe01ef}};
/* Never shown: C0, DEL, C1, line and paragraph separators, and what turns direction around. */
static const struct range harmful[] = {{0x00, 0x1f}, {0x7f, 0x9f}, {0x061c, 0x061c},
    {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x2069}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f}};

static bool in_ranges(const struct range *ranges, size_t count, uint32_t letter)
{
    for (size_t i = 0; i < count; i++) {
        if (letter >= ranges[i].first && letter <= ranges[i].last)
            return true;
    }
    return false;
}

static size_t letter_width(uint32_t letter)
{
    if (in_ranges(none, ARRAY_LEN(none), letter))
        return 0;
    return in_ranges(wide, ARRAY_LEN(wide), letter) ? 2 : 1;
}

size_t text_width(const char *text)
{
    size_t width = 0, length = strlen(text);
    while (length > 0) {
        uint32_t letter;
        int size = decode(text, length, &letter);
        width += size > 0 ? letter_width(letter) : 1;
        text += size > 0 ? size : 1;
        length -= size > 0 ? (size_t)size : 1;
    }
    return width;
}

static void append_letter(struct strbuf *out, const char *text, int size, uint32_t letter)
{
    if (in_ranges(harmful, ARRAY_LEN(harmful), letter))
        strbuf_puts(out, REPLACEMENT);
    else
        strbuf_append(out, text, (size_t)size);
}

void text_append_safe(struct strbuf *out, const char *text)
{
    size_t length = strlen(text);
    while (length > 0) {
        uint32_t letter;
        int size = decode(text, length, &letter);
        if (size < 0)
            strbuf_puts(out, REPLACEMENT);
        else if (*text == '\n' || *text == '\t')
            strbuf_putc(out, ' ');
        else
            append_letter(out, text, size, letter);
        text += size > 0 ? size : 1;
        length -= size > 0 ? (size_t)size : 1;
    }
}

/* The length of a colour (ESC [ digits and ; m) at text; BAD when it is another sequence, SHORT
 * when it could still become one. */
static int colour_length(const char *text, size_t length, size_t most)
{
    assert(text[0] == '\033');
    if (length < 2)
        return SHORT;
    if (text[1] != '[')
        return BAD;
    size_t digits = strspn(text + 2, "0123456789;");
    if (digits > length - 2)
        digits = length - 2;
    if (2 + digits == length)
        return length < most ? SHORT : BAD;
    return text[2 + digits] == 'm' ? (int)digits + 3 : BAD;
}

/* Filters text, which NUL follows; returns how many bytes were dealt with. */
static size_t filter_text(const char *text, size_t length, size_t held_max, struct strbuf *out)
{
    size_t done = 0;
    while (done < length) {
        const char *at = text + done;
        uint32_t letter = 0;
        int size = *at == '\033' ? colour_length(at, length - done, held_max)
                                 : decode(at, length - done, &letter);
        if (size == SHORT)
            break;
        if (size == BAD)
            strbuf_puts(out, REPLACEMENT);
        else if (*at == '\033' || *at == '\n' || *at == '\t' || *at == '\r')
            strbuf_append(out, at, (size_t)size);
        else
            append_letter(out, at, size, letter);
        done += size == BAD ? 1 : (size_t)size;
    }
    return done;
}

void text_filter_piece(
    struct text_filter *filter, const char *bytes, size_t length, struct strbuf *out)
{
    SCOPED(mem_scope) char *text = mem_alloc(filter->held_length + length + 1, 1);
    size_t total = filter->held_length + length;
    memcpy(text, filter->held, filter->held_length);
    memcpy(text + filter->held_length, bytes, length);
    size_t done = filter_text(text, total, sizeof filter->held, out);
    filter->held_length = total - done;
    assert(filter->held_length <= sizeof filter->held);
    memcpy(filter->held, text + done, filter->held_length);
}

void text_filter_end(struct text_filter *filter, struct strbuf *out)
{
    for (; filter->held_length > 0; filter->held_length--)
        strbuf_puts(out, REPLACEMENT);
}
