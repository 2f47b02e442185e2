/* See canon.h. The form is never more than twice as long as the text (the worst is a digit after a
 * point: "1.1" becomes "11e-1"), so room is made once and nothing is checked as it is written.
 *
 * Invariants: nothing is read at or beyond `end`; recursion is bounded by CANON_DEPTH_MAX; the
 * members of maps that are open lie behind each other in canon->members, those of the innermost
 * last. */
#include "gateway/canon.h"

#include "base/memory.h"
#include "base/strbuf.h"

#include <assert.h>
#include <endian.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SLACK = 32, EXPONENT_DIGITS_MAX = 9 };

struct pass {
    const char *at, *end; /* what is read */
    char *out;            /* where is written */
    struct canon *canon;
};

static size_t offset_of(const struct pass *pass, const char *at)
{
    return (size_t)(at - pass->canon->text);
}

static void pass_space(struct pass *pass)
{
    while (pass->at < pass->end &&
           (*pass->at == ' ' || *pass->at == '\n' || *pass->at == '\r' || *pass->at == '\t'))
        pass->at++;
}

static bool take(struct pass *pass, char c)
{
    if (pass->at == pass->end || *pass->at != c)
        return false;
    pass->at++;
    return true;
}

/* ---- strings --------------------------------------------------------------------------------- */

/* The highest bit of each byte says whether it is 0. */
static uint64_t zeros8(uint64_t word)
{
    const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
    return ~(((word & low) + low) | word);
}

/* Copies eight bytes, of which so many stand for themselves. */
static size_t copy8(char *to, const char *from)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), low = ones * 0x7f;
    uint64_t word;
    memcpy(&word, from, sizeof word);
    memcpy(to, &word, sizeof word);
    word = le64toh(word);
    uint64_t odd = (~((word & low) + ones * 0x60) | word | zeros8(word ^ ones * '"') |
                       zeros8(word ^ ones * '\\')) &
                   ones * 0x80;
    return odd ? (size_t)__builtin_ctzll(odd) / 8 : 8;
}

static void copy_plain(struct pass *pass)
{
    size_t plain = 8;
    while (plain == 8 && pass->end - pass->at >= 8) {
        plain = copy8(pass->out, pass->at);
        pass->out += plain;
        pass->at += plain;
    }
}

static int hex4(const struct pass *pass)
{
    int value = 0;
    if (pass->end - pass->at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = pass->at[i], letter = (char)(c | 0x20);
        int digit = c >= '0' && c <= '9'             ? c - '0'
                    : letter >= 'a' && letter <= 'f' ? letter - 'a' + 10
                                                     : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* What follows "\u": a character, maybe of two halves; -1: none, or NUL. */
static int take_code(struct pass *pass)
{
    int code = hex4(pass);
    if (code <= 0 || (code >= 0xdc00 && code <= 0xdfff))
        return -1;
    pass->at += 4;
    if (code < 0xd800 || code > 0xdbff)
        return code;
    if (!take(pass, '\\') || !take(pass, 'u'))
        return -1;
    int second = hex4(pass);
    if (second < 0xdc00 || second > 0xdfff)
        return -1;
    pass->at += 4;
    return 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00);
}

static void put_utf8(struct pass *pass, int code)
{
    static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    int length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    if (length == 1) {
        *pass->out++ = (char)code;
        return;
    }
    for (int i = length - 1; i > 0; i--, code >>= 6)
        pass->out[i] = (char)(0x80 | (code & 0x3f));
    pass->out[0] = (char)(first[length] | code);
    pass->out += length;
}

/* As it may stand in a string: escaped when it has to be, in the shortest way. */
static void put_code(struct pass *pass, int code)
{
    static const char digits[] = "0123456789abcdef", codes[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    const char *found = code < 0x80 ? strchr(codes, code) : NULL;
    if (found) {
        *pass->out++ = '\\';
        *pass->out++ = letters[found - codes];
    } else if (code < 0x20) {
        memcpy(pass->out, "\\u00", 4);
        pass->out[4] = digits[code >> 4];
        pass->out[5] = digits[code & 15];
        pass->out += 6;
    } else {
        put_utf8(pass, code);
    }
}

static bool take_escape(struct pass *pass)
{
    static const char letters[] = "\"\\/bfnrt", codes[] = "\"\\/\b\f\n\r\t";
    if (pass->at == pass->end || *pass->at == '\0')
        return false;
    char letter = *pass->at++;
    const char *found = strchr(letters, letter);
    int code = letter == 'u' ? take_code(pass) : found ? codes[found - letters] : -1;
    if (code < 0)
        return false;
    put_code(pass, code);
    return true;
}

/* One character that is not the closing quote. */
static bool take_character(struct pass *pass)
{
    if (take(pass, '\\'))
        return take_escape(pass);
    size_t length = utf8_length_within(pass->at, (size_t)(pass->end - pass->at));
    if ((unsigned char)*pass->at < 0x20 || length == 0)
        return false;
    memcpy(pass->out, pass->at, length);
    pass->out += length;
    pass->at += length;
    return true;
}

/* After the opening quote. */
static bool take_string(struct pass *pass)
{
    *pass->out++ = '"';
    for (;;) {
        copy_plain(pass);
        if (pass->at == pass->end)
            return false;
        if (take(pass, '"'))
            break;
        if (!take_character(pass))
            return false;
    }
    *pass->out++ = '"';
    return true;
}

/* ---- numbers and words ----------------------------------------------------------------------- */

static bool is_digit(const struct pass *pass)
{
    return pass->at < pass->end && *pass->at >= '0' && *pass->at <= '9';
}

/* Digits without the zeros that no other stands before; how many there were. */
static size_t take_digits(struct pass *pass, const char *first)
{
    const char *begin = pass->at;
    for (; is_digit(pass); pass->at++) {
        if (*pass->at != '0' || pass->out > first)
            *pass->out++ = *pass->at;
    }
    return (size_t)(pass->at - begin);
}

static bool take_exponent(struct pass *pass, int64_t *exponent)
{
    if (pass->at == pass->end || (*pass->at | 0x20) != 'e')
        return true;
    pass->at++;
    bool negative = take(pass, '-');
    if (!negative)
        (void)take(pass, '+');
    const char *begin = pass->at;
    int64_t value = 0;
    for (; is_digit(pass); pass->at++) {
        if (pass->at - begin == EXPONENT_DIGITS_MAX)
            return false;
        value = value * 10 + (*pass->at - '0');
    }
    *exponent += negative ? -value : value;
    return pass->at > begin;
}

static void put_exponent(struct pass *pass, int64_t exponent)
{
    char digits[20];
    size_t first = sizeof digits;
    uint64_t rest = exponent < 0 ? -(uint64_t)exponent : (uint64_t)exponent;
    if (exponent == 0)
        return;
    for (; rest > 0; rest /= 10)
        digits[--first] = (char)('0' + rest % 10);
    *pass->out++ = 'e';
    if (exponent < 0)
        *pass->out++ = '-';
    memcpy(pass->out, digits + first, sizeof digits - first);
    pass->out += sizeof digits - first;
}

static bool take_number(struct pass *pass)
{
    char *begin = pass->out;
    int64_t exponent = 0;
    if (take(pass, '-'))
        *pass->out++ = '-';
    char *first = pass->out;
    bool zero = pass->at < pass->end && *pass->at == '0';
    size_t whole = take_digits(pass, first);
    if (whole == 0 || (zero && whole > 1))
        return false;
    if (take(pass, '.')) {
        exponent = -(int64_t)take_digits(pass, first);
        if (exponent == 0)
            return false;
    }
    if (!take_exponent(pass, &exponent))
        return false;
    while (pass->out > first && pass->out[-1] == '0') {
        pass->out--;
        exponent++;
    }
    if (pass->out > first) {
        put_exponent(pass, exponent);
    } else {
        pass->out = begin; /* zero has no sign and no power */
        *pass->out++ = '0';
    }
    return true;
}

static bool take_word(struct pass *pass, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(pass->end - pass->at) < length || memcmp(pass->at, word, length) != 0)
        return false;
    memcpy(pass->out, word, length);
    pass->out += length;
    pass->at += length;
    return true;
}

/* ---- lists and maps -------------------------------------------------------------------------- */

static bool take_value(struct pass *pass, int depth);

static bool take_list(struct pass *pass, int depth)
{
    *pass->out++ = '[';
    pass_space(pass);
    if (take(pass, ']')) {
        *pass->out++ = ']';
        return true;
    }
    do {
        if (!take_value(pass, depth))
            return false;
        *pass->out++ = ',';
        pass_space(pass);
    } while (take(pass, ','));
    *pass->out++ = ']';
    return take(pass, ']');
}

static struct canon_member *add_member(struct canon *canon)
{
    if (canon->member_count == canon->member_capacity) {
        canon->member_capacity = canon->member_capacity ? canon->member_capacity * 2 : 16;
        canon->members = mem_resize(canon->members, canon->member_capacity, sizeof *canon->members);
    }
    return &canon->members[canon->member_count++];
}

static bool take_member(struct pass *pass, int depth)
{
    struct canon *canon = pass->canon;
    size_t at = canon->member_count, name = offset_of(pass, pass->out);
    add_member(canon);
    pass_space(pass);
    if (!take(pass, '"') || !take_string(pass))
        return false;
    pass_space(pass);
    if (!take(pass, ':'))
        return false;
    *pass->out++ = ':';
    size_t value = offset_of(pass, pass->out);
    if (!take_value(pass, depth))
        return false;
    canon->members[at] = (struct canon_member){name, value, offset_of(pass, pass->out)};
    *pass->out++ = ',';
    pass_space(pass);
    return true;
}

/* By their names; a quote ends each, and is in none without a backslash before it. */
static int compare(const void *a, const void *b, void *text)
{
    const struct canon_member *one = a, *other = b;
    size_t left = one->value - one->name, right = other->value - other->name;
    int order =
        memcmp((char *)text + one->name, (char *)text + other->name, left < right ? left : right);
    return order != 0 ? order : (left > right) - (left < right);
}

/* Moves each member, with its comma, to its place, by way of a copy. */
static void arrange(struct canon *canon, struct canon_member *members, size_t count, char *end)
{
    size_t begin = SIZE_MAX;
    for (size_t i = 0; i < count; i++)
        begin = members[i].name < begin ? members[i].name : begin;
    size_t length = (size_t)(end - canon->text) - begin;
    SCOPED(mem_scope) char *copy = mem_resize(NULL, length, 1);
    memcpy(copy, canon->text + begin, length);
    qsort_r(members, count, sizeof *members, compare, canon->text);
    size_t at = begin;
    for (size_t i = 0; i < count; i++) {
        struct canon_member *member = &members[i];
        size_t size = member->end + 1 - member->name;
        memcpy(canon->text + at, copy + (member->name - begin), size);
        *member = (struct canon_member){at, at + (member->value - member->name), at + size - 1};
        at += size;
    }
    assert(at == begin + length);
}

/* False when a name is there twice. */
static bool sort_members(struct pass *pass, size_t first)
{
    struct canon *canon = pass->canon;
    struct canon_member *members = canon->members + first;
    size_t count = canon->member_count - first;
    bool sorted = true;
    for (size_t i = 1; i < count && sorted; i++)
        sorted = compare(&members[i - 1], &members[i], canon->text) < 0;
    if (sorted)
        return true;
    arrange(canon, members, count, pass->out);
    for (size_t i = 1; i < count; i++) {
        if (compare(&members[i - 1], &members[i], canon->text) == 0)
            return false;
    }
    return true;
}

static bool take_map(struct pass *pass, int depth)
{
    size_t first = pass->canon->member_count;
    *pass->out++ = '{';
    pass_space(pass);
    if (!take(pass, '}')) {
        do {
            if (!take_member(pass, depth))
                return false;
        } while (take(pass, ','));
        if (!take(pass, '}') || !sort_members(pass, first))
            return false;
    }
    *pass->out++ = '}';
    if (depth > 1)
        pass->canon->member_count = first;
    return true;
}

/* depth: how many lists and maps are around it. */
static bool take_value(struct pass *pass, int depth)
{
    pass_space(pass);
    if (pass->at == pass->end || ++pass->canon->values > CANON_VALUES_MAX)
        return false;
    switch (*pass->at) {
    case '{':
    case '[':
        if (depth == CANON_DEPTH_MAX)
            return false;
        return *pass->at++ == '{' ? take_map(pass, depth + 1) : take_list(pass, depth + 1);
    case '"': pass->at++; return take_string(pass);
    case 't': return take_word(pass, "true");
    case 'f': return take_word(pass, "false");
    case 'n': return take_word(pass, "null");
    default: return take_number(pass);
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

bool canon_make(struct canon *canon, const char *text, size_t length)
{
    size_t room = 2 * length + SLACK;
    *canon = (struct canon){.text = mem_resize(NULL, room, 1)};
    struct pass pass = {text, text + length, canon->text, canon};
    if (!take_value(&pass, 0))
        return false;
    pass_space(&pass);
    canon->length = offset_of(&pass, pass.out);
    assert(canon->length <= room);
    return pass.at == pass.end;
}

void canon_finish(struct canon *canon)
{
    free(canon->text);
    free(canon->members);
    *canon = (struct canon){0};
}

static const struct canon_member *find(const struct canon *canon, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < canon->member_count && canon->text[0] == '{'; i++) {
        const struct canon_member *member = &canon->members[i];
        /* Two quotes and a colon around it. */
        if (member->value - member->name == length + 3 &&
            memcmp(canon->text + member->name + 1, name, length) == 0)
            return member;
    }
    return NULL;
}

bool canon_has(const struct canon *canon, const char *name)
{
    return find(canon, name) != NULL;
}

bool canon_is(const struct canon *canon, const char *name, const char *form)
{
    const struct canon_member *member = find(canon, name);
    return member && member->end - member->value == strlen(form) &&
           memcmp(canon->text + member->value, form, strlen(form)) == 0;
}
