/* What the reader and the writer of YAML have to agree on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The code point of the well-formed UTF-8 sequence of length bytes (1 to 4) at text. */
unsigned yaml_decode(const char *text, size_t length);

/* Whether a character may stand in YAML only as an escape in double quotes. The reader refuses it
 * as it is and the writer escapes it: control characters but tab and line breaks, what has no
 * meaning, and NEL, LS and PS, which break lines in YAML 1.1 and do not in 1.2, so that parsers
 * read different texts. */
bool yaml_needs_escape(unsigned point);
