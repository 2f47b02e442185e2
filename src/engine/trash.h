/* The trash: what is removed from the data directory without holding up the loop. A tree is renamed
 * into the folder `trash` at once, and its entries are unlinked a few at a time between the other
 * events of the loop. What is in the folder when an engine begins is removed too. */
#pragma once

#include "base/error.h"

#include <stdbool.h>

struct event_base;
struct trash;

enum { TRASH_SLICE_ENTRIES = 128, TRASH_SLICE_MS = 2 };

/* Makes the folder when it is missing, mode 0700, and starts to empty it. NULL: it cannot be used.
 * The base outlives the trash. */
MUST_CHECK struct trash *trash_create(
    struct event_base *base, const char *folder, struct error *err);
/* Puts a file or tree into the trash: once it returns 0, nothing is at the path any more. Fine when
 * nothing was. The path has to be in the same file system. -1: nothing was changed. */
MUST_CHECK int trash_put(struct trash *trash, const char *path, struct error *err);
/* Is there nothing left to do? Entries that cannot be removed stay, are logged, and are tried again
 * by the next engine. */
bool trash_is_idle(const struct trash *trash);
/* Stops where it is; what is left is for the next one. NULL is fine. */
void trash_destroy(struct trash *trash);
