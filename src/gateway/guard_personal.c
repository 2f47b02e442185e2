/* Personal data: see guard_find.h. What has a checksum is checked; of the rest the form alone. */
#include "gateway/guard_find.h"

#include "base/memory.h"

#include <string.h>

static char byte_at(const struct guard_text *text, size_t at)
{
    return at < text->length ? text->text[at] : '\0';
}

static bool digit_at(const struct guard_text *text, size_t at)
{
    return guard_is_digit(byte_at(text, at));
}

static bool digits_at(const struct guard_text *text, size_t at, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!digit_at(text, at + i))
            return false;
    }
    return true;
}

static int number_at(const struct guard_text *text, size_t at, size_t count)
{
    int number = 0;
    for (size_t i = 0; i < count; i++)
        number = number * 10 + (text->text[at + i] - '0');
    return number;
}

static bool found(struct guard_match *ret, size_t begin, size_t end, enum guard_kind kind)
{
    *ret = (struct guard_match){begin, end, kind, RUN_NONE};
    return true;
}

/* ---- e-mail ---------------------------------------------------------------------------------- */

enum { LOCAL_MAX = 64, DOMAIN_MAX = 120 };

static bool is_local(char c)
{
    return guard_is_word(c) || c == '.' || c == '%' || c == '+' || c == '-';
}

static bool is_letter(char c)
{
    return guard_is_word(c) && !guard_is_digit(c) && c != '_';
}

/* The end of "example.com" in "example.com." and the like, or 0. */
static size_t domain_end(const struct guard_text *text, size_t at)
{
    size_t end = at, good = 0, label = at;
    while (end - at < DOMAIN_MAX && (guard_word_at(text, end) || byte_at(text, end) == '-' ||
                                        (byte_at(text, end) == '.' && end > label))) {
        label = byte_at(text, end) == '.' ? end + 1 : label;
        end++;
        bool top = label > at && end - label >= 2 && is_letter(text->text[label]) &&
                   is_letter(text->text[end - 1]);
        good = top && !guard_word_at(text, end) ? end : good;
    }
    return good;
}

bool guard_find_email(
    const struct guard_text *text, size_t at, enum guard_kind kind, struct guard_match *ret)
{
    size_t begin = at;
    if (byte_at(text, at) != '@' || !guard_word_at(text, at + 1))
        return false;
    while (begin > 0 && at - begin <= LOCAL_MAX && is_local(text->text[begin - 1]))
        begin--;
    size_t end = domain_end(text, at + 1);
    return begin < at && at - begin <= LOCAL_MAX && end > 0 && found(ret, begin, end, kind);
}

/* ---- phone numbers --------------------------------------------------------------------------- */

/* One separator, or a bracket and a space; 0: no digit follows. */
static size_t separator(const struct guard_text *text, size_t at)
{
    char c = byte_at(text, at);
    if (!c || !strchr(" -.()/", c))
        return 0;
    if (digit_at(text, at + 1))
        return 1;
    bool two = (c == ' ' && byte_at(text, at + 1) == '(') ||
               (c == ')' && (byte_at(text, at + 1) == ' ' || byte_at(text, at + 1) == '-'));
    return two && digit_at(text, at + 2) ? 2 : 0;
}

/* E.164: at most 15 digits. Of a longer row of groups those that fit. */
bool guard_find_phone_plus(
    const struct guard_text *text, size_t at, enum guard_kind kind, struct guard_match *ret)
{
    size_t digits = 0, good = 0, i = at + 1;
    if (byte_at(text, at) != '+' || !digit_at(text, i) || text->text[i] == '0' ||
        guard_word_before(text, at) || (at > 0 && text->text[at - 1] == '+'))
        return false;
    while (digit_at(text, i) && digits < 16) {
        digits++;
        i++;
        if (digit_at(text, i))
            continue;
        good = digits >= 8 && digits <= 15 && !guard_word_at(text, i) ? i : good;
        i += separator(text, i);
    }
    return good > 0 && found(ret, at, good, kind);
}

static bool is_separator(char c)
{
    return c == '-' || c == '.' || c == ' ';
}

static bool exchange_at(const struct guard_text *text, size_t at)
{
    return digits_at(text, at, 3) && text->text[at] >= '2';
}

/* 415-555-0100 */
bool guard_find_phone_groups(
    const struct guard_text *text, size_t at, enum guard_kind kind, struct guard_match *ret)
{
    return !guard_word_before(text, at) && exchange_at(text, at) &&
           is_separator(byte_at(text, at + 3)) && exchange_at(text, at + 4) &&
           byte_at(text, at + 7) == text->text[at + 3] && digits_at(text, at + 8, 4) &&
           !guard_word_at(text, at + 12) && found(ret, at, at + 12, kind);
}

/* (415) 555-0100 */
bool guard_find_phone_area(
    const struct guard_text *text, size_t at, enum guard_kind kind, struct guard_match *ret)
{
    if (byte_at(text, at) != '(' || !exchange_at(text, at + 1) || byte_at(text, at + 4) != ')' ||
        guard_word_before(text, at))
        return false;
    size_t i = at + 5 + is_separator(byte_at(text, at + 5));
    return exchange_at(text, i) && is_separator(byte_at(text, i + 3)) &&
           digits_at(text, i + 4, 4) && !guard_word_at(text, i + 8) && found(ret, at, i + 8, kind);
}

/* ---- accounts -------------------------------------------------------------------------------- */

/* Countries and the lengths of their numbers (the registry of ISO 13616). */
static const char iban_lengths[] =
    "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BR29BY28CH21CR22CY28CZ24DE22DK18DO28EE20EG29ES24FI18FO18"
    "FR27GB22GE22GI23GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21"
    "LY25MC27MD24ME22MK19MR27MT31MU30NL18NO15PK24PL28PS29PT25QA29RO24RS22SA24SC31SE24SI19SK24SM27"
    "ST25SV28TL23TN24TR26UA29VA22VG24XK20";

static size_t iban_length(const char *country)
{
    for (size_t i = 0; i + 4 < sizeof iban_lengths; i += 4) {
        if (!memcmp(iban_lengths + i, country, 2))
            return (size_t)(iban_lengths[i + 2] - '0') * 10 + (size_t)(iban_lengths[i + 3] - '0');
    }
    return 0;
}

static bool is_iban_char(char c)
{
    return guard_is_digit(c) || (c >= 'A' && c <= 'Z');
}

static unsigned mod97(unsigned rest, char c)
{
    if (guard_is_digit(c))
        return (rest * 10 + (unsigned)(c - '0')) % 97;
    return (rest * 100 + (unsigned)(c - 'A' + 10)) % 97;
}

/* The first four belong at the end. */
static bool iban_checks(const char *number, size_t length)
{
    unsigned rest = 0;
    for (size_t i = 0; i < length; i++)
        rest = mod97(rest, number[(i + 4) % length]);
    return rest == 1;
}

bool guard_find_iban(
    const struct guard_text *text, size_t at, enum guard_kind kind, struct guard_match *ret)
{
    char number[40];
    size_t count = 0, i = at;
    if (text->length - at < 15 || guard_word_before(text, at))
        return false;
    size_t length = iban_length(text->text + at);
    while (count < length && is_iban_char(byte_at(text, i))) {
        number[count++] = text->text[i++];
        i += count < length && byte_at(text, i) == ' ' && is_iban_char(byte_at(text, i + 1));
    }
    return length > 0 && count == length && !guard_word_at(text, i) &&
           iban_checks(number, length) && found(ret, at, i, kind);
}

/* ---- cards ----------------------------------------------------------------------------------- */

static bool luhn(const char *digits, size_t count)
{
    int sum = 0;
    for (size_t i = 0; i < count; i++) {
        int digit = digits[count - 1 - i] - '0';
        digit = i % 2 ? digit * 2 : digit;
        sum += digit > 9 ? digit - 9 : digit;
    }
    return sum % 10 == 0;
}

static bool is_issued(const char *digits, size_t count)
{
    static const struct {
        int first, last; /* of the first four digits */
        unsigned lengths;
    } issuers[] = {{4000, 4999, 1 << 13 | 1 << 16 | 1 << 19}, {5100, 5599, 1 << 16},
        {2221, 2720, 1 << 16}, {3400, 3499, 1 << 15}, {3700, 3799, 1 << 15}, {3000, 3059, 1 << 14},
        {3600, 3699, 1 << 14}, {3800, 3999, 1 << 14}, {3528, 3589, 1 << 16},
        {6011, 6011, 1 << 16 | 1 << 19}, {6440, 6599, 1 << 16 | 1 << 19},
        {6200, 6299, 1 << 16 | 1 << 17 | 1 << 18 | 1 << 19}};
    int head = 0;
    for (size_t i = 0; i < 4; i++)
        head = head * 10 + (digits[i] - '0');
    for (size_t i = 0; i < ARRAY_LEN(issuers); i++) {
        if (head >= issuers[i].first && head <= issuers[i].last && issuers[i].lengths >> count & 1)
            return true;
    }
    return false;
}

/* Of a row of groups the longest that is a card. */
bool guard_find_card(
    const struct guard_text *text, size_t at, enum guard_kind kind, struct guard_match *ret)
{
    enum { DIGITS_MAX = 19 };
    char digits[DIGITS_MAX];
    size_t count = 0, good = 0, i = at;
    if (guard_word_before(text, at) || !digits_at(text, at, 4))
        return false;
    while (digit_at(text, i) && count < DIGITS_MAX) {
        digits[count++] = text->text[i++];
        if (digit_at(text, i))
            continue;
        if (!guard_word_at(text, i) && count >= 13 && is_issued(digits, count) &&
            luhn(digits, count))
            good = i;
        i += (byte_at(text, i) == ' ' || byte_at(text, i) == '-') && digit_at(text, i + 1);
    }
    return good > 0 && found(ret, at, good, kind);
}

/* ---- social security (United States) --------------------------------------------------------- */

bool guard_find_ssn(
    const struct guard_text *text, size_t at, enum guard_kind kind, struct guard_match *ret)
{
    char between = byte_at(text, at + 3);
    if (!digits_at(text, at, 3) || (between != '-' && between != ' ') ||
        !digits_at(text, at + 4, 2) || byte_at(text, at + 6) != between ||
        !digits_at(text, at + 7, 4))
        return false;
    int area = number_at(text, at, 3);
    bool given = area > 0 && area != 666 && area < 900 && number_at(text, at + 4, 2) > 0 &&
                 number_at(text, at + 7, 4) > 0;
    bool alone = !guard_word_before(text, at) && (at == 0 || text->text[at - 1] != '-') &&
                 !guard_word_at(text, at + 11) &&
                 !(byte_at(text, at + 11) == '-' && digit_at(text, at + 12));
    return given && alone && found(ret, at, at + 11, kind);
}

/* ---- addresses of the network ---------------------------------------------------------------- */

/* One of four numbers; how many bytes it has. */
static size_t octet_at(const struct guard_text *text, size_t at)
{
    size_t count = 0;
    while (count < 4 && digit_at(text, at + count))
        count++;
    bool fine = count > 0 && count < 4 && number_at(text, at, count) < 256 &&
                (count == 1 || text->text[at] != '0');
    return fine ? count : 0;
}

/* The anchor is the last digit of the first number. */
bool guard_find_ipv4(
    const struct guard_text *text, size_t at, enum guard_kind kind, struct guard_match *ret)
{
    size_t begin = at;
    if (!digit_at(text, at) || byte_at(text, at + 1) != '.' || !digit_at(text, at + 2))
        return false;
    while (begin > 0 && at - begin < 3 && guard_is_digit(text->text[begin - 1]))
        begin--;
    size_t i = begin;
    if (guard_word_before(text, begin) || (begin > 0 && text->text[begin - 1] == '.'))
        return false;
    for (int part = 0; part < 4; part++) {
        size_t count = octet_at(text, i);
        if (count == 0 || (part < 3 && byte_at(text, i + count) != '.'))
            return false;
        i += count + (part < 3);
    }
    return !guard_word_at(text, i) && !(byte_at(text, i) == '.' && digit_at(text, i + 1)) &&
           found(ret, begin, i, kind);
}

static bool is_hex(char c)
{
    return guard_is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Eight groups, or three and more with one "::" among them; the anchor is the last digit of the
 * first group. Shorter ones look like names in programs. */
bool guard_find_ipv6(
    const struct guard_text *text, size_t at, enum guard_kind kind, struct guard_match *ret)
{
    size_t begin = at, groups = 0, gaps = 0, end = 0;
    if (!is_hex(byte_at(text, at)) || byte_at(text, at + 1) != ':')
        return false;
    while (begin > 0 && at - begin < 4 && is_hex(text->text[begin - 1]))
        begin--;
    if (guard_word_before(text, begin) || (begin > 0 && text->text[begin - 1] == ':'))
        return false;
    for (size_t i = begin; groups < 9;) {
        size_t count = 0;
        while (count < 5 && is_hex(byte_at(text, i + count)))
            count++;
        if (count == 0 || count > 4)
            break;
        groups++;
        i += count;
        end = i;
        size_t colons = byte_at(text, i) == ':' ? 1 + (byte_at(text, i + 1) == ':') : 0;
        gaps += colons == 2;
        if (colons == 0)
            break;
        i += colons;
    }
    bool fine = (gaps == 0 && groups == 8) || (gaps == 1 && groups >= 3 && groups < 8);
    return fine && !guard_word_at(text, end) && byte_at(text, end) != ':' &&
           found(ret, begin, end, kind);
}
