/* A store in memory that fails on demand: what it holds is what a real one would hold after the
 * same commits, failed commits, unknown commits and crashes. It keeps rows by their description
 * alone and knows nothing of what they mean. */
#pragma once

#include "base/error.h"
#include "base/memory.h"
#include "core/core.h"

struct change_list {
    struct core_change *items;
    size_t count;
    size_t capacity;
};

struct decision_list {
    struct core_decision *items;
    size_t count;
    size_t capacity;
};

/* What one tick wants stored, copied out of the core. */
struct sim_txn {
    struct arena *arena; /* owns the rows */
    int64_t tick;
    struct change_list changes;
    struct decision_list decisions;
};

/* An empty transaction; finish frees what it holds. */
void sim_txn_init(struct sim_txn *txn);
void sim_txn_finish(struct sim_txn *txn);
/* Forgets what was there and takes the core's changes and decisions of this tick. */
void sim_txn_collect(struct sim_txn *txn, struct core *core, int64_t tick);
/* Adds one change; the row is copied. */
void sim_txn_add(struct sim_txn *txn, enum change_kind change, enum row_kind kind, const void *row);
/* Whether a decision of that kind names this id: the field of the decision that `of` says. */
enum decision_field {
    DECISION_OF_JOB,
    DECISION_OF_ATTEMPT,
    DECISION_OF_NODE,
    DECISION_OF_POOL,
    DECISION_OF_TEAM
};
const struct core_decision *sim_txn_decision(
    const struct sim_txn *txn, enum decision_kind kind, enum decision_field of, uint64_t id);

struct sim_store;

/* An empty store. */
struct sim_store *sim_store_create(void);
void sim_store_destroy(struct sim_store *store); /* NULL is fine */
int64_t sim_store_next_tick(const struct sim_store *store);

/* How a commit goes. After the two unknown ones only sim_store_settle says which it was. */
enum commit_fate { COMMIT_DONE, COMMIT_FAILS, COMMIT_UNKNOWN_DONE, COMMIT_UNKNOWN_LOST };
/* 0 or -1: ERR_IO (nothing is stored), ERR_UNKNOWN, ERR_CONFLICT (not the next tick). */
MUST_CHECK int sim_store_commit(
    struct sim_store *store, const struct sim_txn *txn, enum commit_fate fate, struct error *err);
/* Whether the transaction of that tick is stored. */
bool sim_store_settle(const struct sim_store *store, int64_t tick);

/* Live rows of a kind by place, ids ascending, or by id (NULL: not live). Valid until the next
 * commit. History kinds keep their rows too. */
size_t sim_store_count(const struct sim_store *store, enum row_kind kind);
const void *sim_store_at(const struct sim_store *store, enum row_kind kind, size_t i);
const void *sim_store_row(const struct sim_store *store, enum row_kind kind, uint64_t id);
/* Rows that were written for the last time. */
size_t sim_store_retired_count(const struct sim_store *store, enum row_kind kind);
const void *sim_store_retired_at(const struct sim_store *store, enum row_kind kind, size_t i);
const void *sim_store_retired(const struct sim_store *store, enum row_kind kind, uint64_t id);
/* The greatest id that a row of this kind ever had. */
uint64_t sim_store_last_id(const struct sim_store *store, enum row_kind kind);
/* The text of a symbol; "" when there is none. */
const char *sim_store_symbol(const struct sim_store *store, uint32_t symbol);

/* Puts one row in place without a transaction: for states made by hand. */
void sim_store_put(struct sim_store *store, enum row_kind kind, const void *row);

/* A new core with everything that is committed. NULL with the core's error. */
struct core *sim_store_load(
    const struct sim_store *store, const struct core_options *options, struct error *err);
/* That the core's live rows are the store's, column by column. -1: ERR_CORRUPT names the row. */
MUST_CHECK int sim_store_compare(
    const struct sim_store *store, const struct core *core, struct error *err);

/* A digest of the core's live rows of all kinds but the counters: ids that were given out in vain
 * are no change. */
uint64_t sim_core_digest(const struct core *core);

/* Whether two rows of a kind have equal columns; ret_column (may be NULL) gets the first that
 * differs. */
bool sim_row_equal(
    enum row_kind kind, const void *a, const void *b, const struct column **ret_column);
/* An integer column's value, or a text's hash. */
uint64_t sim_column_value(const struct column *column, const void *row);

static inline uint64_t sim_row_id(const void *row)
{
    return *(const uint64_t *)row;
}
