/* How a recording looks: lines of "HASH JSON", each written at once. A process that ended while it
 * wrote leaves a torn line at the end of a file, a disk that lied leaves damaged ones: both are
 * told from whole ones by the hash, and reading goes on behind the next line's end. */
#pragma once

#include "base/strbuf.h"

#include <stddef.h>
#include <stdint.h>

enum { RECORD_HASH_TEXT = 16 };

/* Appends the line of a JSON text without line breaks. */
void record_line_write(struct strbuf *out, const char *json, size_t length);

enum record_found {
    RECORD_END,     /* nothing is left */
    RECORD_TORN,    /* a line without its end is left */
    RECORD_DAMAGED, /* a line that is not what was written; reading went on behind it */
    RECORD_WHOLE,
};
/* The next line at *at, which moves behind it but for RECORD_END and RECORD_TORN. *ret_json is in
 * bytes, and not ended by NUL. */
enum record_found record_line_read(
    const char *bytes, size_t length, size_t *at, const char **ret_json, size_t *ret_length);
