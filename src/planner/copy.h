/* The planner's copy of the live state: rows by kind and id, and nothing derived from them. A core
 * is made from it when there is a question. */
#pragma once

#include "base/error.h"
#include "core/core.h"

struct copy;

/* An empty one. */
struct copy *copy_create(void);
void copy_destroy(struct copy *copy); /* NULL is fine */
/* Forgets every row. */
void copy_clear(struct copy *copy);
/* New or changed; the row is copied. */
void copy_put(struct copy *copy, enum row_kind kind, const void *row);
/* Fine when it is not there. */
void copy_remove(struct copy *copy, enum row_kind kind, uint64_t id);
/* The row, or NULL. Valid until the next change. */
const void *copy_find(const struct copy *copy, enum row_kind kind, uint64_t id);
size_t copy_count(const struct copy *copy, enum row_kind kind);
/* Every row of a kind, ids ascending. */
void copy_each(const struct copy *copy, enum row_kind kind, core_row_fn *visit, void *context);
/* As core_digest_slice gave it for the rows with ids above `after` up to `last`. */
uint64_t copy_digest(const struct copy *copy, enum row_kind kind, uint64_t after, uint64_t last);
/* Bytes of all rows. */
size_t copy_bytes(const struct copy *copy);
/* A core with this state, the caller's. NULL with ERR_CORRUPT when the rows are no state. */
MUST_CHECK struct core *copy_load(
    const struct copy *copy, const struct core_options *options, struct error *err);
