/* Whether two answers say the same: JSON by value, whatever the order of members and however a
 * number is written. */
#pragma once

#include "base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>

struct arena;

/* Whether what was recorded (`was`, in which parts of texts may be "[REDACTED:KIND]", which stand
 * for any text) and what came now (`is`) are the same but for the outermost members in `ignored`,
 * a list ended by NULL. Else where, in *why: "outputs[0].data[1]: 0.5, was 0.25". Texts that are no
 * JSON are compared byte by byte. */
bool differ_same(struct arena *arena, const char *was, const char *is, const char *const *ignored,
    struct strbuf *why);
