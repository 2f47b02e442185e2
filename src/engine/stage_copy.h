/* Copying a folder with all that is below it. */
#pragma once

#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Shared by the thread that copies and whoever looks on. */
struct stage_progress {
    atomic_uint_least64_t bytes; /* copied so far */
    atomic_bool stop;            /* set: the copy ends with ERR_UNAVAILABLE */
};

/* Copies `from` to `to`, which must not be there: folders as 0755, files as 0444, symbolic links as
 * they are; what is none of these is ERR_INVALID. No link is followed. Everything is on disk when
 * it returns 0; after -1 (ERR_NOT_FOUND: there is no `from`; ERR_TOO_LARGE: nested too deeply)
 * there may be a part of it. */
MUST_CHECK int stage_copy(
    const char *from, const char *to, struct stage_progress *progress, struct error *err);
