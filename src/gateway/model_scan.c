/* A JSON reader as a state machine over bytes: see model_scan.h. Each state is a function that
 * takes one byte; strings, which are most of a body, have a loop of their own. */
#include "gateway/model_scan.h"

#include <assert.h>
#include <string.h>

enum state {
    BEGIN,
    FIRST_KEY, /* a key or the end of the object */
    KEY,
    COLON,
    FIRST_ITEM, /* a value or the end of the list */
    VALUE,
    AFTER, /* a value has ended */
    STRING,
    ESCAPE,
    HEX1,
    HEX2,
    HEX3,
    HEX4,
    LITERAL,
    NUMBER,
    FOUND,
    FAULT,
    STATES
};

/* Where in a number (RFC 8259, 6). */
enum number { MINUS, ZERO, DIGITS, POINT, FRACTION, EXPONENT, SIGN, POWER };

static void fail(struct model_scan *scan, const char *text)
{
    scan->state = FAULT;
    scan->fault = text;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ---- strings -------------------------------------------------------------------------------- */

static void capture(struct model_scan *scan, char c)
{
    if (!scan->capturing)
        return;
    if (scan->length < MODEL_BYTES_MAX)
        scan->model[scan->length++] = c;
    else if (!scan->is_key)
        fail(scan, "\"model\" is too long");
}

static void begin_string(struct model_scan *scan, bool is_key)
{
    scan->is_key = is_key;
    scan->capturing = is_key ? scan->depth == 1 : scan->model_next;
    scan->length = 0;
    scan->state = STRING;
}

static void end_string(struct model_scan *scan)
{
    scan->model[scan->length] = '\0';
    if (scan->is_key) {
        scan->model_next = scan->capturing && !strcmp(scan->model, "model");
        scan->state = COLON;
    } else if (scan->model_next) {
        scan->state = FOUND;
    } else {
        scan->state = AFTER;
    }
}

static void on_string(struct model_scan *scan, char c)
{
    if (c == '"')
        end_string(scan);
    else if (c == '\\')
        scan->state = ESCAPE;
    else if ((unsigned char)c < 0x20)
        fail(scan, "a control character in a text");
    else
        capture(scan, (unsigned char)c < 0x80 && c != 0x7f ? c : '?');
}

static void on_escape(struct model_scan *scan, char c)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/?????";
    const char *found = c ? strchr(from, c) : NULL;
    if (c == 'u') {
        scan->code = 0;
        scan->state = HEX1;
    } else if (found) {
        scan->state = STRING;
        capture(scan, to[found - from]);
    } else {
        fail(scan, "an unknown escape in a text");
    }
}

static void on_hex(struct model_scan *scan, char c)
{
    uint32_t digit;
    if (is_digit(c))
        digit = (uint32_t)(c - '0');
    else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        digit = (uint32_t)((c | 0x20) - 'a' + 10);
    else {
        fail(scan, "an unknown escape in a text");
        return;
    }
    scan->code = scan->code << 4 | digit;
    if (scan->state != HEX4) {
        scan->state++;
        return;
    }
    scan->state = STRING;
    capture(scan, scan->code >= 0x20 && scan->code < 0x7f ? (char)scan->code : '?');
}

/* ---- structure ------------------------------------------------------------------------------ */

static void open_level(struct model_scan *scan, bool object)
{
    if (scan->depth == MODEL_DEPTH_MAX) {
        fail(scan, "nested too deep");
        return;
    }
    uint64_t bit = (uint64_t)1 << scan->depth++;
    scan->in_object = object ? scan->in_object | bit : scan->in_object & ~bit;
    scan->state = object ? FIRST_KEY : FIRST_ITEM;
}

static bool in_object(const struct model_scan *scan)
{
    return scan->in_object >> (scan->depth - 1) & 1;
}

static void close_level(struct model_scan *scan)
{
    scan->state = AFTER;
    if (--scan->depth == 0)
        fail(scan, "there is no \"model\"");
}

static void on_begin(struct model_scan *scan, char c)
{
    if (c == '{')
        open_level(scan, true);
    else if (!is_space(c))
        fail(scan, "it is no JSON object");
}

static void on_key(struct model_scan *scan, char c)
{
    if (c == '"')
        begin_string(scan, true);
    else if (c == '}' && scan->state == FIRST_KEY)
        close_level(scan);
    else if (!is_space(c))
        fail(scan, "expected a member of an object");
}

static void on_colon(struct model_scan *scan, char c)
{
    if (c == ':')
        scan->state = VALUE;
    else if (!is_space(c))
        fail(scan, "expected ':'");
}

static void begin_literal(struct model_scan *scan, char c)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (words[i][0] == c) {
            scan->literal = words[i] + 1;
            scan->state = LITERAL;
            return;
        }
    }
    fail(scan, "expected a value");
}

static void on_value(struct model_scan *scan, char c)
{
    if (is_space(c))
        return;
    if (c == '"')
        begin_string(scan, false);
    else if (scan->model_next)
        fail(scan, "\"model\" is no text");
    else if (c == '{' || c == '[')
        open_level(scan, c == '{');
    else if (c == ']' && scan->state == FIRST_ITEM)
        close_level(scan);
    else if (c == '-' || is_digit(c)) {
        scan->number = c == '-' ? MINUS : c == '0' ? ZERO : DIGITS;
        scan->state = NUMBER;
    } else {
        begin_literal(scan, c);
    }
}

static void on_after(struct model_scan *scan, char c)
{
    if (c == ',')
        scan->state = in_object(scan) ? KEY : VALUE;
    else if (c == (in_object(scan) ? '}' : ']'))
        close_level(scan);
    else if (!is_space(c))
        fail(scan, "expected ',' or an end");
}

static void on_literal(struct model_scan *scan, char c)
{
    if (c != *scan->literal)
        fail(scan, "expected a value");
    else if (!*++scan->literal)
        scan->state = AFTER;
}

/* The next place in the number, or -1 where the character cannot go on with it. */
static int number_next(uint8_t place, char c)
{
    bool digit = is_digit(c), e = c == 'e' || c == 'E';
    switch ((enum number)place) {
    case MINUS: return c == '0' ? ZERO : digit ? DIGITS : -1;
    case ZERO: return c == '.' ? POINT : e ? EXPONENT : -1;
    case DIGITS: return digit ? DIGITS : c == '.' ? POINT : e ? EXPONENT : -1;
    case POINT: return digit ? FRACTION : -1;
    case FRACTION: return digit ? FRACTION : e ? EXPONENT : -1;
    case EXPONENT: return digit ? POWER : c == '+' || c == '-' ? SIGN : -1;
    case SIGN:
    case POWER: return digit ? POWER : -1;
    }
    return -1;
}

static void on_number(struct model_scan *scan, char c)
{
    static const uint8_t complete = 1 << ZERO | 1 << DIGITS | 1 << FRACTION | 1 << POWER;
    int next = number_next(scan->number, c);
    if (next >= 0) {
        scan->number = (uint8_t)next;
    } else if (complete >> scan->number & 1) {
        scan->state = AFTER;
        on_after(scan, c);
    } else {
        fail(scan, "a malformed number");
    }
}

typedef void state_fn(struct model_scan *scan, char c);
static state_fn *const states[STATES] = {
    [BEGIN] = on_begin,
    [FIRST_KEY] = on_key,
    [KEY] = on_key,
    [COLON] = on_colon,
    [FIRST_ITEM] = on_value,
    [VALUE] = on_value,
    [AFTER] = on_after,
    [STRING] = on_string,
    [ESCAPE] = on_escape,
    [HEX1] = on_hex,
    [HEX2] = on_hex,
    [HEX3] = on_hex,
    [HEX4] = on_hex,
    [LITERAL] = on_literal,
    [NUMBER] = on_number,
};

/* ---- interface ------------------------------------------------------------------------------ */

void model_scan_init(struct model_scan *scan)
{
    memset(scan, 0, sizeof *scan);
}

/* How many bytes of a text that is not kept need no look. */
static size_t skip_text(const char *bytes, size_t length)
{
    size_t i = 0;
    while (i < length && bytes[i] != '"' && bytes[i] != '\\' && (unsigned char)bytes[i] >= 0x20)
        i++;
    return i;
}

enum model_scan_result model_scan_feed(struct model_scan *scan, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length && scan->state != FOUND && scan->state != FAULT; i++) {
        if (scan->state == STRING && !scan->capturing) {
            i += skip_text(bytes + i, length - i);
            if (i == length)
                break;
        }
        states[scan->state](scan, bytes[i]);
    }
    return scan->state == FOUND   ? MODEL_SCAN_FOUND
           : scan->state == FAULT ? MODEL_SCAN_FAULT
                                  : MODEL_SCAN_MORE;
}

enum model_scan_result model_scan_end(struct model_scan *scan)
{
    if (scan->state != FOUND && scan->state != FAULT)
        fail(scan, "the JSON text is not complete");
    return model_scan_feed(scan, "", 0);
}
