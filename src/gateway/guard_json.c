/* See guard_json.h. One loop over the values, with the levels as its stack. */
#include "gateway/guard_json.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- texts ----------------------------------------------------------------------------------- */

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int unit_at(const char *bytes)
{
    int unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_of(bytes[i]);
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

static void put_point(struct strbuf *out, unsigned point)
{
    char bytes[4];
    size_t count = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const unsigned char heads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = count; i-- > 1; point >>= 6)
        bytes[i] = (char)(0x80 | (point & 0x3f));
    bytes[0] = (char)(heads[count] | point);
    strbuf_append(out, bytes, count);
}

/* An escape with its backslash; how long it is. */
static size_t put_escape(const char *bytes, size_t left, struct strbuf *out)
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    const char *letter = memchr(letters, bytes[1], sizeof letters - 1);
    if (bytes[1] != 'u') {
        strbuf_putc(out, letter ? meanings[letter - letters] : bytes[1]);
        return 2;
    }
    unsigned unit = (unsigned)unit_at(bytes + 2);
    bool pair = (unit & 0xfc00) == 0xd800 && left >= 12 && bytes[6] == '\\' && bytes[7] == 'u';
    int second = pair ? unit_at(bytes + 8) : 0;
    pair = pair && (second & 0xfc00) == 0xdc00;
    put_point(out, pair ? 0x10000 + ((unit & 0x3ff) << 10 | (second & 0x3ff)) : unit);
    return pair ? 12 : 6;
}

void guard_text_decode(const char *bytes, size_t length, struct strbuf *out)
{
    for (size_t at = 0; at < length;) {
        const char *escape = memchr(bytes + at, '\\', length - at);
        size_t plain = escape ? (size_t)(escape - bytes) - at : length - at;
        if (plain > 0)
            strbuf_append(out, bytes + at, plain);
        at += plain;
        if (escape)
            at += put_escape(escape, length - at, out);
    }
}

static bool is_half(const char *text, size_t left)
{
    return left >= 3 && (unsigned char)text[0] == 0xed && ((unsigned char)text[1] & 0xe0) == 0xa0 &&
           ((unsigned char)text[2] & 0xc0) == 0x80;
}

static void put_unit(struct strbuf *out, unsigned unit)
{
    static const char digits[] = "0123456789abcdef";
    char escape[6] = {'\\', 'u', digits[unit >> 12 & 15], digits[unit >> 8 & 15],
        digits[unit >> 4 & 15], digits[unit & 15]};
    strbuf_append(out, escape, sizeof escape);
}

void guard_text_encode(const char *text, size_t length, struct strbuf *out)
{
    size_t plain = 0;
    strbuf_putc(out, '"');
    for (size_t at = 0; at < length;) {
        unsigned char c = (unsigned char)text[at];
        bool half = is_half(text + at, length - at);
        if (c >= 0x20 && c != '"' && c != '\\' && !half) {
            at++;
            continue;
        }
        if (at > plain)
            strbuf_append(out, text + plain, at - plain);
        if (half) {
            put_unit(out, 0xd000u | ((unsigned)text[at + 1] & 0x3f) << 6 | (text[at + 2] & 0x3f));
        } else if (c < 0x20) {
            put_unit(out, c);
        } else {
            strbuf_putc(out, '\\');
            strbuf_putc(out, (char)c);
        }
        at += half ? 3 : 1;
        plain = at;
    }
    if (length > plain)
        strbuf_append(out, text + plain, length - plain);
    strbuf_putc(out, '"');
}

/* ---- the walk -------------------------------------------------------------------------------- */

static bool fail(struct guard_walk *walk, const char *what)
{
    walk->fault = what;
    return false;
}

static char peek(const struct guard_walk *walk)
{
    return walk->at < walk->length ? walk->text[walk->at] : '\0';
}

static void pass_space(struct guard_walk *walk)
{
    while (
        walk->at < walk->length && strchr(" \t\n\r", walk->text[walk->at]) && walk->text[walk->at])
        walk->at++;
}

static bool pass_escape(struct guard_walk *walk)
{
    size_t left = walk->length - walk->at;
    char c = left > 1 ? walk->text[walk->at + 1] : '\0';
    if (c == 'u' && left >= 6 && unit_at(walk->text + walk->at + 2) >= 0) {
        walk->at += 6;
        return true;
    }
    if (!c || !strchr("\"\\/bfnrt", c))
        return fail(walk, "an escape that JSON does not have");
    walk->at += 2;
    return true;
}

static bool pass_string(struct guard_walk *walk)
{
    walk->at++;
    while (walk->at < walk->length) {
        const char *bytes = walk->text + walk->at;
        unsigned char c = (unsigned char)*bytes;
        if (c == '"') {
            walk->at++;
            return true;
        }
        if (c < 0x20)
            return fail(walk, "a control character in a string");
        size_t length = c < 0x80 ? 1 : utf8_length_within(bytes, walk->length - walk->at);
        if (length == 0)
            return fail(walk, "a string that is not UTF-8");
        if (c != '\\')
            walk->at += length;
        else if (!pass_escape(walk))
            return false;
    }
    return fail(walk, "a string without its end");
}

static bool pass_digits(struct guard_walk *walk)
{
    size_t begin = walk->at;
    while (peek(walk) >= '0' && peek(walk) <= '9')
        walk->at++;
    return walk->at > begin;
}

static bool pass_number(struct guard_walk *walk)
{
    walk->at += peek(walk) == '-';
    bool zero = peek(walk) == '0';
    size_t begin = walk->at;
    if (!pass_digits(walk) || (zero && walk->at > begin + 1))
        return fail(walk, "a value that is not JSON");
    if (peek(walk) == '.') {
        walk->at++;
        if (!pass_digits(walk))
            return fail(walk, "a number that is not JSON");
    }
    if (peek(walk) == 'e' || peek(walk) == 'E') {
        walk->at++;
        walk->at += peek(walk) == '+' || peek(walk) == '-';
        if (!pass_digits(walk))
            return fail(walk, "a number that is not JSON");
    }
    return true;
}

static bool pass_word(struct guard_walk *walk)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        size_t length = strlen(words[i]);
        if (walk->length - walk->at >= length && !memcmp(walk->text + walk->at, words[i], length)) {
            walk->at += length;
            return true;
        }
    }
    return fail(walk, "a value that is not JSON");
}

static bool read_name(struct guard_walk *walk, struct guard_level *level)
{
    pass_space(walk);
    level->name_begin = walk->at;
    if (peek(walk) != '"')
        return fail(walk, "a member without a name");
    if (!pass_string(walk))
        return false;
    strbuf_clear(&walk->name);
    guard_text_decode(
        walk->text + level->name_begin + 1, walk->at - level->name_begin - 2, &walk->name);
    bool kept = walk->name.length < GUARD_NAME_BYTES &&
                strlen(strbuf_text(&walk->name)) == walk->name.length;
    strcpy(level->name, kept ? strbuf_text(&walk->name) : "");
    pass_space(walk);
    if (peek(walk) != ':')
        return fail(walk, "a member without a colon");
    walk->at++;
    return true;
}

static bool walk_value(struct guard_walk *walk, guard_value_fn *on_value, void *ctx);

static bool walk_items(
    struct guard_walk *walk, struct guard_level *level, guard_value_fn *on_value, void *ctx)
{
    char close = level->list ? ']' : '}';
    walk->at++;
    pass_space(walk);
    if (peek(walk) == close) {
        walk->at++;
        return true;
    }
    for (;; level->items++) {
        if ((!level->list && !read_name(walk, level)) || !walk_value(walk, on_value, ctx))
            return false;
        pass_space(walk);
        char c = peek(walk);
        walk->at++;
        if (c == close)
            return true;
        if (c != ',')
            return fail(walk, "a list or an object without its end");
    }
}

static bool walk_container(struct guard_walk *walk, guard_value_fn *on_value, void *ctx)
{
    if (walk->depth == GUARD_DEPTH_MAX)
        return fail(walk, "more levels than are read");
    struct guard_level *level = &walk->levels[walk->depth++];
    level->list = peek(walk) == '[';
    level->items = 0;
    level->name[0] = '\0';
    bool fine = walk_items(walk, level, on_value, ctx);
    walk->depth--;
    return fine;
}

/* Recursion is as deep as the levels, which are bounded. */
static bool walk_value(struct guard_walk *walk, guard_value_fn *on_value, void *ctx)
{
    enum guard_value value = GUARD_NUMBER;
    pass_space(walk);
    size_t begin = walk->at;
    char c = peek(walk);
    bool fine;
    if (c == '{' || c == '[') {
        value = c == '{' ? GUARD_OBJECT : GUARD_LIST;
        fine = walk_container(walk, on_value, ctx);
    } else if (c == '"') {
        value = GUARD_STRING;
        fine = pass_string(walk);
    } else if (c == 't' || c == 'f' || c == 'n') {
        value = GUARD_WORD;
        fine = pass_word(walk);
    } else {
        fine = pass_number(walk);
    }
    return fine && on_value(ctx, walk, value, begin, walk->at);
}

bool guard_walk(
    struct guard_walk *walk, const char *text, size_t length, guard_value_fn *on_value, void *ctx)
{
    walk->text = text;
    walk->length = length;
    walk->at = 0;
    walk->depth = 0;
    walk->fault = NULL;
    walk->name = (struct strbuf){0};
    bool fine = walk_value(walk, on_value, ctx);
    pass_space(walk);
    if (fine && walk->at < length)
        fine = fail(walk, "something after the value");
    strbuf_finish(&walk->name);
    return fine;
}

bool guard_walk_is(const struct guard_walk *walk, const char *path)
{
    for (int i = 0; i < walk->depth; i++) {
        const struct guard_level *level = &walk->levels[i];
        if (level->list) {
            if (strncmp(path, "[]", 2) != 0)
                return false;
            path += 2;
            continue;
        }
        path += i > 0 && *path == '.';
        size_t length = strcspn(path, ".[");
        if (length != strlen(level->name) || memcmp(path, level->name, length) != 0)
            return false;
        path += length;
    }
    return *path == '\0';
}

bool guard_walk_in(const struct guard_walk *walk, const char *name)
{
    const struct guard_level *level = walk->depth > 0 ? &walk->levels[walk->depth - 1] : NULL;
    return level && !level->list && !strcmp(level->name, name);
}

/* ---- edits ----------------------------------------------------------------------------------- */

void guard_edits_add(
    struct guard_edits *edits, size_t begin, size_t end, const char *text, size_t length)
{
    while (edits->count > 0 && edits->items[edits->count - 1].begin >= begin)
        edits->count--;
    assert(edits->count == 0 || edits->items[edits->count - 1].end <= begin);
    if (edits->count == edits->capacity) {
        edits->capacity = edits->capacity ? 2 * edits->capacity : 8;
        edits->items = mem_resize(edits->items, edits->capacity, sizeof *edits->items);
    }
    edits->items[edits->count++] = (struct guard_edit){begin, end, edits->text.length, length};
    if (length > 0)
        strbuf_append(&edits->text, text, length);
}

void guard_edits_apply(
    const struct guard_edits *edits, const char *text, size_t length, struct strbuf *out)
{
    size_t at = 0;
    for (size_t i = 0; i < edits->count; i++) {
        const struct guard_edit *edit = &edits->items[i];
        if (edit->begin > at)
            strbuf_append(out, text + at, edit->begin - at);
        if (edit->count > 0)
            strbuf_append(out, edits->text.text + edit->from, edit->count);
        at = edit->end;
    }
    if (length > at)
        strbuf_append(out, text + at, length - at);
}

void guard_edits_clear(struct guard_edits *edits)
{
    edits->count = 0;
    strbuf_clear(&edits->text);
}

void guard_edits_finish(struct guard_edits *edits)
{
    free(edits->items);
    strbuf_finish(&edits->text);
    *edits = (struct guard_edits){0};
}
