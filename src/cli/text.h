/* Text as people see it: how wide it is, and what a terminal may be told.
 *
 * What a server or a job sends is not to be trusted with a terminal: an escape sequence can move
 * the cursor, rename the window or answer for the user. What is neutralised becomes U+FFFD. */
#pragma once

#include "base/strbuf.h"

#include <stddef.h>
#include <stdint.h>

/* Columns a UTF-8 text takes: wide letters two, combining marks none; what is not UTF-8 is one
 * column a byte. */
size_t text_width(const char *text);

/* Appends text on one line without control characters (tabs and newlines become spaces), without
 * marks that turn the direction of text around, and as valid UTF-8. */
void text_append_safe(struct strbuf *out, const char *text);

/* A log on its way to a terminal, in pieces. Zero it before the first one. */
struct text_filter {
    char held[40]; /* the beginning of a letter or a colour whose end has not come yet */
    size_t held_length;
};
/* Passes newlines, tabs, carriage returns and colours (ESC [ .. m), and neutralises the rest. */
void text_filter_piece(
    struct text_filter *filter, const char *bytes, size_t length, struct strbuf *out);
/* What was held back at the end. */
void text_filter_end(struct text_filter *filter, struct strbuf *out);
