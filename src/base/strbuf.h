/* A growing string. It is always terminated by NUL, which length does not count. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct strbuf {
    char *text; /* never NULL once something was appended; owned by the strbuf */
    size_t length;
    size_t capacity;
};

void strbuf_finish(struct strbuf *buf); /* frees the text and zeroes the struct */
void strbuf_clear(struct strbuf *buf);  /* keeps the memory */
/* Appends length bytes, which may contain NUL; text must not be the buffer's own. */
void strbuf_append(struct strbuf *buf, const void *bytes, size_t length);
void strbuf_puts(struct strbuf *buf, const char *text);
void strbuf_putc(struct strbuf *buf, char c);
/* Appends a number in decimal digits, ten times as fast as strbuf_printf. */
void strbuf_int(struct strbuf *buf, int64_t number);
void strbuf_printf(struct strbuf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void strbuf_vprintf(struct strbuf *buf, const char *format, va_list args);
/* Appends text as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void strbuf_json(struct strbuf *buf, const char *text);
/* The length of the well-formed UTF-8 sequence at text (RFC 3629: no surrogates, no overlong
 * forms), or 0. text ends with NUL, which is a sequence of length 1. */
size_t utf8_length(const char *text);
/* The same where only `left` bytes, at least one, are there. */
size_t utf8_length_within(const char *text, size_t left);
/* Drops the first count bytes. */
void strbuf_consume(struct strbuf *buf, size_t count);
/* The text ("" when empty), valid until the next change. */
const char *strbuf_text(const struct strbuf *buf);
/* Gives the text to the caller, who frees it; the buffer is empty after it. Never NULL. */
char *strbuf_steal(struct strbuf *buf);
