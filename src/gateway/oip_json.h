/* A strict reader of JSON (RFC 8259) that moves over text and gives parts of it, without copies and
 * without allocation: for bodies whose parts go on as they were written. What is unusual but
 * allowed (names with escapes, above all) is a fault here: whoever asks passes such a body on as it
 * is. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OIP_DEPTH_MAX = 32 };

/* A part of a text that somebody else keeps. */
struct oip_span {
    const char *text; /* NULL: there is none */
    size_t length;
};

struct oip_cursor {
    const char *at, *end;
};

/* One of the values that JSON has; each also stands for what a tensor's elements may be. */
enum oip_value { OIP_NUMBER, OIP_STRING, OIP_BOOL, OIP_NULL, OIP_LIST, OIP_MAP };

enum oip_step { OIP_FAULT = -1, OIP_END, OIP_ITEM };

/* Whether the two are the same bytes. */
bool oip_span_is(struct oip_span span, const char *text);
void oip_pass_space(struct oip_cursor *cursor); /* white space */
/* Passes white space; true and past it when the next byte is c. */
bool oip_take(struct oip_cursor *cursor, char c);
/* Only white space is left. */
bool oip_at_end(struct oip_cursor *cursor);
/* Passes one value of any depth up to OIP_DEPTH_MAX; *ret_span is its text without white space
 * around it. False: it is no JSON. */
bool oip_skip(struct oip_cursor *cursor, struct oip_span *ret_span, enum oip_value *ret_value);
/* Passes one value that is no list or map and of the given kind. */
bool oip_skip_scalar(struct oip_cursor *cursor, enum oip_value value);
/* After '[' was taken: moves before the next item, or past the ']'. *first is true before the first
 * call, and the cursor's business from then on. */
enum oip_step oip_next(struct oip_cursor *cursor, bool *first);
/* After '{' was taken: moves before the next member's value and gives its name without quotes, or
 * moves past the '}'. A name with an escape is a fault. */
enum oip_step oip_next_member(struct oip_cursor *cursor, bool *first, struct oip_span *ret_name);
/* A whole number of at most 18 digits, without fraction, exponent or sign. */
bool oip_take_whole(struct oip_cursor *cursor, int64_t *ret);
