/* Bytes of heads: which characters may stand where, and lists. Of whole texts eight or sixteen
 * bytes are judged at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Classes of bytes: http_classes has a bit for each that a byte is of. */
enum { CLASS_TOKEN = 1, CLASS_VALUE = 2, CLASS_TARGET = 4, CLASS_DIGIT = 8 };
extern const unsigned char http_classes[256];

/* How many bytes from text on are of the class. */
static inline size_t http_span(const char *text, size_t length, unsigned char class)
{
    size_t i = 0;
    while (i < length && (http_classes[(unsigned char)text[i]] & class))
        i++;
    return i;
}

static inline bool http_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* True for a non-empty token (RFC 9110 5.6.2): methods, field names. */
bool http_token_valid(const char *text, size_t length);
/* True when text may be a field's value as we send it: visible characters, spaces, tabs and bytes
 * above 127, no space at either end. */
bool http_value_valid(const char *text, size_t length);
/* True when none of these bytes is a control character other than tab. */
bool http_text_valid(const char *text, size_t length);
/* True when all of these bytes are visible ASCII. */
bool http_visible_valid(const char *text, size_t length);
/* True when all of these, one or more, may stand in a request's target. */
bool http_target_valid(const char *text, size_t length);

struct http_text {
    const char *text;
    size_t length;
};

/* The next element of a comma-separated list; moves *at behind it. An empty one has length 0. */
struct http_text http_list_next(const char *list, size_t length, size_t *at);
/* True when the comma-separated list holds the token, whatever its case. */
bool http_list_has(const char *list, size_t length, const char *token);
