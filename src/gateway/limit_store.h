/* All counters of a gateway's limits: one table in shared memory, of a fixed size, used by all
 * workers at once. With a path it is a mapped file and survives SIGKILL; what was reserved then
 * stays taken, and nothing is under way any more.
 *
 * A counter is named by a hash of whose it is and what it counts, not by its limit: a limit that
 * changes goes on with its count. Counters are made when they are first needed. One for which
 * nothing counts any more gives way to others; when there is room for no more, those that are new
 * share one counter for each window: strangers' addresses cannot take the memory. */
#pragma once

#include "base/error.h"
#include "gateway/limit_cell.h"

#include <stddef.h>
#include <stdint.h>

struct limit_store;

enum { LIMIT_COUNTERS_MAX = 65536 };

/* path NULL: in memory only. ERR_IO. A file that is damaged or of another version is made anew.
 * Beside a process that uses the file both count together, also what is under way. */
MUST_CHECK int limit_store_open(const char *path, struct limit_store **ret, struct error *err);
void limit_store_close(struct limit_store *store); /* NULL is fine */

/* A name for a counter: keyed, so that nobody can aim for another's. */
uint64_t limit_store_name(const struct limit_store *store, const void *bytes, size_t length);

/* What was taken, from which counter. */
struct limit_taken {
    uint64_t tag; /* 0: from the shared one */
    struct limit_mark mark;
    enum limit_window window;
};

/* As limit_cell_take, of the counter with that name. */
bool limit_store_take(struct limit_store *store, uint64_t name, enum limit_window window,
    int64_t most, int64_t amount, int64_t now_ms, struct limit_taken *ret_taken);
/* What was really used: more than was taken is added, whatever the limit; less is given back. With
 * LIMIT_NOW everything is. Once for each taking. */
void limit_store_settle(
    struct limit_store *store, const struct limit_taken *taken, int64_t used, int64_t now_ms);

/* How a counter stands. */
struct limit_state {
    int64_t used, wait_ms, reset_ms; /* as in limit_cell.h */
};
/* wait_ms is for the amount. */
void limit_store_state(struct limit_store *store, uint64_t name, enum limit_window window,
    int64_t most, int64_t amount, int64_t now_ms, struct limit_state *ret);
