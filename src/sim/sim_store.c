/* The simulated store.
 *
 * Invariants: each table is sorted by id and holds an id once; an id that was retired or deleted
 * is never put again (the checker says so, not the store); a transaction is applied entirely or
 * not at all, and only as the tick that follows the last one stored. */
#include "sim/sim_store.h"

#include "base/vec.h"
#include "sim/sim_hash.h"

#include <assert.h>
#include <string.h>

struct table {
    unsigned char *rows;
    size_t size; /* of a row */
    size_t count;
    size_t capacity;
};

struct sim_store {
    struct table live[ROW_KIND_COUNT];
    struct table retired[ROW_KIND_COUNT];
    uint64_t last_id[ROW_KIND_COUNT];
    int64_t tick; /* of the last transaction stored */
};

/* ---- transactions ---------------------------------------------------------------------- */

void sim_txn_init(struct sim_txn *txn)
{
    *txn = (struct sim_txn){.arena = arena_create()};
}

void sim_txn_finish(struct sim_txn *txn)
{
    arena_destroy(txn->arena);
    vec_free(&txn->changes);
    vec_free(&txn->decisions);
    txn->arena = NULL;
}

void sim_txn_add(struct sim_txn *txn, enum change_kind change, enum row_kind kind, const void *row)
{
    assert(kind < ROW_KIND_COUNT);
    size_t size = change == CHANGE_DELETE ? sizeof(uint64_t) : row_type(kind)->size;
    void *copy = arena_alloc(txn->arena, 1, row_type(kind)->size);
    memcpy(copy, row, size);
    struct core_change item = {.change = change, .kind = kind, .row = copy};
    vec_push(&txn->changes, item);
}

static void collect_change(void *context, const struct core_change *change)
{
    sim_txn_add(context, change->change, change->kind, change->row);
}

static void collect_decision(void *context, const struct core_decision *decision)
{
    struct sim_txn *txn = context;
    vec_push(&txn->decisions, *decision);
}

void sim_txn_collect(struct sim_txn *txn, struct core *core, int64_t tick)
{
    arena_reset(txn->arena);
    vec_clear(&txn->changes);
    vec_clear(&txn->decisions);
    txn->tick = tick;
    core_changes(core, collect_change, txn);
    core_decisions(core, collect_decision, txn);
}

static uint64_t decision_id(const struct core_decision *decision, enum decision_field of)
{
    switch (of) {
    case DECISION_OF_JOB: return decision->job;
    case DECISION_OF_ATTEMPT: return decision->attempt;
    case DECISION_OF_NODE: return decision->node;
    case DECISION_OF_POOL: return decision->pool;
    case DECISION_OF_TEAM: return decision->team;
    }
    return 0;
}

const struct core_decision *sim_txn_decision(
    const struct sim_txn *txn, enum decision_kind kind, enum decision_field of, uint64_t id)
{
    for (size_t i = 0; i < txn->decisions.count; i++) {
        const struct core_decision *decision = &txn->decisions.items[i];
        if (decision->kind == kind && decision_id(decision, of) == id)
            return decision;
    }
    return NULL;
}

/* ---- tables ---------------------------------------------------------------------------- */

static unsigned char *table_at(const struct table *table, size_t i)
{
    assert(i < table->count);
    return table->rows + i * table->size;
}

/* The place of id, or the place where it would be put. */
static size_t table_place(const struct table *table, uint64_t id)
{
    size_t low = 0, high = table->count;
    if (high && sim_row_id(table_at(table, high - 1)) < id)
        return high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (sim_row_id(table_at(table, middle)) < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const void *table_find(const struct table *table, uint64_t id)
{
    size_t i = table_place(table, id);
    if (i == table->count || sim_row_id(table_at(table, i)) != id)
        return NULL;
    return table_at(table, i);
}

static void table_put(struct table *table, const void *row)
{
    size_t i = table_place(table, sim_row_id(row));
    if (i == table->count || sim_row_id(table_at(table, i)) != sim_row_id(row)) {
        if (table->count == table->capacity) {
            table->capacity = table->capacity ? table->capacity * 2 : 16;
            table->rows = mem_resize(table->rows, table->capacity, table->size);
        }
        table->count++;
        memmove(table_at(table, i) + table->size, table_at(table, i),
            (table->count - 1 - i) * table->size);
    }
    memcpy(table_at(table, i), row, table->size);
}

static void table_delete(struct table *table, uint64_t id)
{
    size_t i = table_place(table, id);
    if (i == table->count || sim_row_id(table_at(table, i)) != id)
        return;
    unsigned char *at = table_at(table, i);
    memmove(at, at + table->size, (table->count - i - 1) * table->size);
    table->count--;
}

/* ---- the store ------------------------------------------------------------------------- */

struct sim_store *sim_store_create(void)
{
    struct sim_store *store = mem_alloc(1, sizeof *store);
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++)
        store->live[kind].size = store->retired[kind].size = row_type(kind)->size;
    return store;
}

void sim_store_destroy(struct sim_store *store)
{
    if (!store)
        return;
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++) {
        free(store->live[kind].rows);
        free(store->retired[kind].rows);
    }
    free(store);
}

int64_t sim_store_next_tick(const struct sim_store *store)
{
    return store->tick + 1;
}

static void store_apply(struct sim_store *store, const struct core_change *change)
{
    uint64_t id = sim_row_id(change->row);
    assert(id);
    if (id > store->last_id[change->kind])
        store->last_id[change->kind] = id;
    if (change->change == CHANGE_PUT) {
        table_put(&store->live[change->kind], change->row);
        return;
    }
    table_delete(&store->live[change->kind], id);
    if (change->change == CHANGE_RETIRE)
        table_put(&store->retired[change->kind], change->row);
}

int sim_store_commit(
    struct sim_store *store, const struct sim_txn *txn, enum commit_fate fate, struct error *err)
{
    if (txn->tick != store->tick + 1)
        return error_set(err, ERR_CONFLICT, "tick %lld does not follow %lld", (long long)txn->tick,
            (long long)store->tick);
    if (fate == COMMIT_FAILS)
        return error_set(err, ERR_IO, "the simulated store refuses to commit");
    if (fate != COMMIT_UNKNOWN_LOST) {
        for (size_t i = 0; i < txn->changes.count; i++)
            store_apply(store, &txn->changes.items[i]);
        store->tick = txn->tick;
    }
    if (fate != COMMIT_DONE)
        return error_set(err, ERR_UNKNOWN, "the simulated store does not say");
    return 0;
}

bool sim_store_settle(const struct sim_store *store, int64_t tick)
{
    return store->tick >= tick;
}

size_t sim_store_count(const struct sim_store *store, enum row_kind kind)
{
    return store->live[kind].count;
}

const void *sim_store_at(const struct sim_store *store, enum row_kind kind, size_t i)
{
    return table_at(&store->live[kind], i);
}

const void *sim_store_row(const struct sim_store *store, enum row_kind kind, uint64_t id)
{
    return table_find(&store->live[kind], id);
}

size_t sim_store_retired_count(const struct sim_store *store, enum row_kind kind)
{
    return store->retired[kind].count;
}

const void *sim_store_retired_at(const struct sim_store *store, enum row_kind kind, size_t i)
{
    return table_at(&store->retired[kind], i);
}

const void *sim_store_retired(const struct sim_store *store, enum row_kind kind, uint64_t id)
{
    return table_find(&store->retired[kind], id);
}

uint64_t sim_store_last_id(const struct sim_store *store, enum row_kind kind)
{
    return store->last_id[kind];
}

const char *sim_store_symbol(const struct sim_store *store, uint32_t symbol)
{
    const struct symbol_row *row = sim_store_row(store, ROW_SYMBOL, symbol);
    return row ? row->text : "";
}

void sim_store_put(struct sim_store *store, enum row_kind kind, const void *row)
{
    struct core_change change = {.change = CHANGE_PUT, .kind = kind, .row = row};
    store_apply(store, &change);
}

/* ---- loading and comparing ------------------------------------------------------------- */

static int store_feed(const struct sim_store *store, struct core *core, struct error *err)
{
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++) {
        if (row_type(kind)->history)
            continue;
        for (size_t i = 0; i < store->live[kind].count; i++)
            if (core_load_row(core, kind, table_at(&store->live[kind], i), err) < 0)
                return error_prefix(err, "%s %zu", row_type(kind)->name, i);
    }
    return core_load_end(core, err);
}

struct core *sim_store_load(
    const struct sim_store *store, const struct core_options *options, struct error *err)
{
    struct core *core = core_create(options);
    if (store_feed(store, core, err) == 0)
        return core;
    core_destroy(core);
    return NULL;
}

uint64_t sim_column_value(const struct column *column, const void *row)
{
    const unsigned char *at = (const unsigned char *)row + column->offset;
    switch (column->type) {
    case COLUMN_ID:
    case COLUMN_INT:
    case COLUMN_TIME:
    case COLUMN_LENGTH: return *(const uint64_t *)at;
    case COLUMN_INT32:
    case COLUMN_ENUM: return (uint64_t)(int64_t) * (const int32_t *)at;
    case COLUMN_SYMBOL: return *(const uint32_t *)at;
    case COLUMN_FLAG: return *at;
    case COLUMN_TEXT: return sim_hash_text(SIM_HASH_START, (const char *)at);
    }
    return 0;
}

bool sim_row_equal(
    enum row_kind kind, const void *a, const void *b, const struct column **ret_column)
{
    const struct row_type *type = row_type(kind);
    if (memcmp(a, b, type->size) == 0)
        return true;
    for (size_t i = 0; i < type->column_count; i++) {
        const struct column *column = &type->columns[i];
        if (sim_column_value(column, a) == sim_column_value(column, b))
            continue;
        if (ret_column)
            *ret_column = column;
        return false;
    }
    return true;
}

static void digest_row(void *context, enum row_kind kind, const void *row)
{
    const struct row_type *type = row_type(kind);
    uint64_t *digest = context;
    for (size_t i = 0; i < type->column_count; i++)
        *digest = sim_hash_number(*digest, sim_column_value(&type->columns[i], row));
}

uint64_t sim_core_digest(const struct core *core)
{
    uint64_t digest = SIM_HASH_START;
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++)
        if (kind != ROW_COUNTER && !row_type(kind)->history)
            core_row_each(core, kind, digest_row, &digest);
    return digest;
}

struct comparison {
    const struct sim_store *store;
    size_t seen;
    struct error *err;
    bool differs;
};

static void compare_row(void *context, enum row_kind kind, const void *row)
{
    struct comparison *comparison = context;
    const struct table *table = &comparison->store->live[kind];
    const struct column *column = NULL;
    size_t i = comparison->seen++;
    if (comparison->differs)
        return;
    if (i >= table->count || sim_row_id(table_at(table, i)) != sim_row_id(row)) {
        comparison->differs = true;
        error_set(comparison->err, ERR_CORRUPT, "%s %llu is in the core and not in the store",
            row_type(kind)->name, (unsigned long long)sim_row_id(row));
    } else if (!sim_row_equal(kind, table_at(table, i), row, &column)) {
        comparison->differs = true;
        error_set(comparison->err, ERR_CORRUPT, "%s %llu: %s is %lld in the core, %lld stored",
            row_type(kind)->name, (unsigned long long)sim_row_id(row), column->name,
            (long long)sim_column_value(column, row),
            (long long)sim_column_value(column, table_at(table, i)));
    }
}

int sim_store_compare(const struct sim_store *store, const struct core *core, struct error *err)
{
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++) {
        if (row_type(kind)->history)
            continue;
        struct comparison comparison = {.store = store, .err = err};
        core_row_each(core, kind, compare_row, &comparison);
        if (comparison.differs)
            return -1;
        if (comparison.seen < store->live[kind].count)
            return error_set(err, ERR_CORRUPT, "%s %llu is in the store and not in the core",
                row_type(kind)->name,
                (unsigned long long)sim_row_id(table_at(&store->live[kind], comparison.seen)));
    }
    return 0;
}
