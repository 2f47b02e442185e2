/* Bodies that are compressed on their way: gzip, and deflate, which is zlib's format (RFC
 * 9110, 8.4.1). */
#pragma once

#include "base/error.h"
#include "base/strbuf.h"

#include <stddef.h>

/* Appends what a body is once its Content-Encoding is undone. ERR_INVALID: it is none of these, or
 * not complete; ERR_TOO_LARGE: it would be more than bytes_max. */
MUST_CHECK int encoding_undo(const char *encoding, const char *bytes, size_t length,
    size_t bytes_max, struct strbuf *out, struct error *err);
/* The encoding that an Accept-Encoding names first of those known here; NULL: none. */
const char *encoding_wanted(const char *accept);
/* Appends the bytes in an encoding that encoding_wanted gave. */
void encoding_do(const char *encoding, const char *bytes, size_t length, struct strbuf *out);
