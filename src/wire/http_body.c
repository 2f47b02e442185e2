/* Message bodies: see http_body.h. The chunked coding is a table: states by classes of bytes.
 * Only the bytes around the content (sizes, line ends, trailers) walk through it one by one; the
 * content itself is skipped in one step. Trailers are checked, bounded and dropped: nothing here
 * has a use for them, and merging them into the head is how fields are smuggled past checks. */
#include "wire/http_body.h"

#include <assert.h>

enum {
    SIZE_DIGITS_MAX = 15,      /* 60 bits: sums of sizes cannot overflow before a limit is met */
    OVERHEAD_BYTES_MAX = 1024, /* extensions of all chunks together */
    TRAILER_BYTES_MAX = 4096,
};

enum byte_class { BAD, CR, LF, HEX, COLON, SEMICOLON, TOKEN, BLANK, OTHER, CLASS_COUNT };

static const unsigned char classes[256] = {
    ['\r'] = CR,
    ['\n'] = LF,
    ['\t'] = BLANK,
    [' '] = BLANK,
    ['!'] = TOKEN,
    ['"'] = OTHER,
    ['#' ... '\''] = TOKEN,
    ['('] = OTHER,
    [')'] = OTHER,
    ['*'] = TOKEN,
    ['+'] = TOKEN,
    [','] = OTHER,
    ['-'] = TOKEN,
    ['.'] = TOKEN,
    ['/'] = OTHER,
    ['0' ... '9'] = HEX,
    [':'] = COLON,
    [';'] = SEMICOLON,
    ['<' ... '@'] = OTHER,
    ['A' ... 'F'] = HEX,
    ['G' ... 'Z'] = TOKEN,
    ['[' ... ']'] = OTHER,
    ['^' ... '`'] = TOKEN,
    ['a' ... 'f'] = HEX,
    ['g' ... 'z'] = TOKEN,
    ['{'] = OTHER,
    ['|'] = TOKEN,
    ['}'] = OTHER,
    ['~'] = TOKEN,
    [0x80 ... 0xff] = OTHER,
};

/* Faults come first, so that a zero in the table is one. */
enum state {
    FAULT_SYNTAX,
    SIZE_FIRST, /* at least one digit of the size */
    SIZE,       /* more of them */
    EXTENSION,
    SIZE_LF,
    DATA, /* not in the table: content */
    DATA_CR,
    DATA_LF,
    TRAILER_FIRST, /* the start of a trailer line, or of the empty line */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    END,
    STATE_COUNT
};

static const unsigned char transitions[STATE_COUNT][CLASS_COUNT] = {
    [SIZE_FIRST] = {[HEX] = SIZE},
    [SIZE] = {[HEX] = SIZE, [SEMICOLON] = EXTENSION, [CR] = SIZE_LF},
    [EXTENSION] = {[HEX] = EXTENSION,
        [COLON] = EXTENSION,
        [SEMICOLON] = EXTENSION,
        [TOKEN] = EXTENSION,
        [BLANK] = EXTENSION,
        [OTHER] = EXTENSION,
        [CR] = SIZE_LF},
    [SIZE_LF] = {[LF] = DATA},
    [DATA_CR] = {[CR] = DATA_LF},
    [DATA_LF] = {[LF] = SIZE_FIRST},
    [TRAILER_FIRST] = {[HEX] = TRAILER_NAME, [TOKEN] = TRAILER_NAME, [CR] = END_LF},
    [TRAILER_NAME] = {[HEX] = TRAILER_NAME, [TOKEN] = TRAILER_NAME, [COLON] = TRAILER_VALUE},
    [TRAILER_VALUE] = {[HEX] = TRAILER_VALUE,
        [COLON] = TRAILER_VALUE,
        [SEMICOLON] = TRAILER_VALUE,
        [TOKEN] = TRAILER_VALUE,
        [BLANK] = TRAILER_VALUE,
        [OTHER] = TRAILER_VALUE,
        [CR] = TRAILER_LF},
    [TRAILER_LF] = {[LF] = TRAILER_FIRST},
    [END_LF] = {[LF] = END},
};

static const struct http_fault fault_syntax = {400, "the chunked coding is malformed"};
static const struct http_fault fault_size = {400, "a chunk's size is too large"};
static const struct http_fault fault_overhead = {400, "the chunk extensions are too long"};
static const struct http_fault fault_trailer = {431, "the trailer fields are too large"};

void http_body_init(struct http_body *body, enum http_framing framing, uint64_t content_length)
{
    *body = (struct http_body){
        .framing = framing,
        .remaining = framing == HTTP_BODY_LENGTH ? content_length : 0,
        .state = SIZE_FIRST,
        .complete = framing == HTTP_BODY_NONE,
    };
    assert(framing != HTTP_BODY_LENGTH || content_length > 0);
}

static unsigned hex_value(unsigned char c)
{
    return c <= '9' ? c - 0x30u : (c | 0x20u) - 0x61u + 10u;
}

static const struct http_fault *count_byte(struct http_body *body, enum state entered, char byte)
{
    switch (entered) {
    case FAULT_SYNTAX: return &fault_syntax;
    case SIZE:
        body->remaining = body->remaining * 16 + hex_value((unsigned char)byte);
        return ++body->size_digits > SIZE_DIGITS_MAX ? &fault_size : NULL;
    case EXTENSION: return ++body->overhead_bytes > OVERHEAD_BYTES_MAX ? &fault_overhead : NULL;
    case TRAILER_NAME:
    case TRAILER_VALUE: return ++body->trailer_bytes > TRAILER_BYTES_MAX ? &fault_trailer : NULL;
    default: return NULL;
    }
}

/* One byte of what surrounds the content. */
static const struct http_fault *step(struct http_body *body, char byte)
{
    assert(body->state > FAULT_SYNTAX && body->state < END && body->state != DATA);
    body->state = transitions[body->state][classes[(unsigned char)byte]];
    if (body->state == DATA) {
        if (body->remaining == 0)
            body->state = TRAILER_FIRST;
        body->size_digits = 0;
    }
    return count_byte(body, body->state, byte);
}

/* Content: as much of it as there is. */
static void take_content(struct http_body *body, size_t length, size_t *ret_used, size_t *ret_piece)
{
    size_t piece = body->remaining < length ? (size_t)body->remaining : length;
    body->remaining -= piece;
    *ret_used += piece;
    *ret_piece = piece;
}

static enum http_parse_result chunked_next(
    struct http_body *body, const char *bytes, size_t length, size_t *ret_used, size_t *ret_piece)
{
    size_t used = 0;
    while (used < length && body->state != DATA) {
        body->fault = step(body, bytes[used++]);
        if (body->fault)
            return HTTP_PARSE_FAULT;
        if (body->state == END) {
            body->complete = true;
            *ret_used = used;
            return HTTP_PARSE_DONE;
        }
    }
    *ret_used = used;
    if (body->state == DATA) {
        take_content(body, length - used, ret_used, ret_piece);
        if (body->remaining == 0)
            body->state = DATA_CR;
    }
    return HTTP_PARSE_MORE;
}

enum http_parse_result http_body_next(
    struct http_body *body, const char *bytes, size_t length, size_t *ret_used, size_t *ret_piece)
{
    assert(!body->fault);
    *ret_used = *ret_piece = 0;
    if (body->complete)
        return HTTP_PARSE_DONE;
    switch (body->framing) {
    case HTTP_BODY_CHUNKED: return chunked_next(body, bytes, length, ret_used, ret_piece);
    case HTTP_BODY_LENGTH:
        take_content(body, length, ret_used, ret_piece);
        body->complete = body->remaining == 0;
        return body->complete ? HTTP_PARSE_DONE : HTTP_PARSE_MORE;
    default: *ret_used = *ret_piece = length; return HTTP_PARSE_MORE;
    }
}
