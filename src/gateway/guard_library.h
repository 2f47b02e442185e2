/* The search for anchors: Hyperscan, loaded when a service has a guard, so that nobody else pays.
 * One database for all services, which never changes; each worker has a scratch of its own. */
#pragma once

#include "base/error.h"
#include "gateway/guard_find.h"

#include <stddef.h>
#include <stdint.h>

struct guard_library;
struct guard_scratch;

/* Loads and compiles. ERR_UNAVAILABLE says what is missing. Freed with guard_library_free. */
MUST_CHECK int guard_library_load(struct guard_library **ret, struct error *err);
/* NULL is fine; no scratch of it may be used any more. */
void guard_library_free(struct guard_library *library);

/* For one thread at a time; NULL: there is no memory. Freed with guard_scratch_free. */
struct guard_scratch *guard_scratch_create(const struct guard_library *library);
/* NULL is fine. */
void guard_scratch_free(struct guard_scratch *scratch);

/* Called for each anchor in the order of their last bytes: its number in guard_anchors, and the
 * offset of its first byte. */
typedef void guard_anchor_fn(void *context, unsigned number, size_t at);

/* Finds the anchors of a text of at most 4 GiB. False: it could not be searched. */
bool guard_library_scan(const struct guard_library *library, struct guard_scratch *scratch,
    const char *text, size_t length, guard_anchor_fn *on_anchor, void *context);
