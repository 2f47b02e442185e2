/* Building a transaction: see store.h. Nothing here touches SQLite. */
#include "store/txn.h"

#include <assert.h>
#include <string.h>

struct store_txn *store_txn_create(int64_t epoch, int64_t tick)
{
    assert(epoch > 0 && tick > 0);
    struct store_txn *txn = mem_alloc(1, sizeof *txn);
    txn->epoch = epoch;
    txn->tick = tick;
    txn->arena = arena_create();
    return txn;
}

void store_txn_destroy(struct store_txn *txn)
{
    if (!txn)
        return;
    arena_destroy(txn->arena);
    vec_free(&txn->operations);
    free(txn);
}

bool store_txn_empty(const struct store_txn *txn)
{
    return txn->operations.count == 0;
}

struct operation *store_txn_add(struct store_txn *txn, enum operation_kind kind)
{
    assert(txn && kind < OPERATION_KIND_COUNT);
    vec_push(&txn->operations, (struct operation){.kind = kind});
    return &txn->operations.items[txn->operations.count - 1];
}

static void add_row(struct store_txn *txn, enum row_kind kind, const void *row, bool live)
{
    assert(kind < ROW_KIND_COUNT && row);
    const struct row_type *type = row_type(kind);
    void *copy = arena_alloc(txn->arena, 1, type->size);
    memcpy(copy, row, type->size);
    struct operation *operation = store_txn_add(txn, OPERATION_PUT_ROW);
    operation->row.kind = kind;
    operation->row.live = live && !type->history;
    operation->row.bytes = copy;
}

void store_txn_put_row(struct store_txn *txn, enum row_kind kind, const void *row)
{
    add_row(txn, kind, row, true);
}

void store_txn_retire_row(struct store_txn *txn, enum row_kind kind, const void *row)
{
    assert(!row_type(kind)->deleted);
    add_row(txn, kind, row, false);
}

void store_txn_delete_row(struct store_txn *txn, enum row_kind kind, uint64_t id)
{
    assert(kind < ROW_KIND_COUNT && id > 0 && id <= INT64_MAX);
    struct operation *operation = store_txn_add(txn, OPERATION_DELETE_ROW);
    operation->row_id.kind = kind;
    operation->row_id.id = id;
}

void store_txn_put_document(struct store_txn *txn, const char *collection, const char *key,
    const char *scope, const char *json, int64_t at_ms)
{
    assert(collection && key && scope && json);
    struct operation *operation = store_txn_add(txn, OPERATION_PUT_DOCUMENT);
    operation->document.collection = arena_strdup(txn->arena, collection);
    operation->document.key = arena_strdup(txn->arena, key);
    operation->document.scope = arena_strdup(txn->arena, scope);
    operation->document.json = arena_strdup(txn->arena, json);
    operation->document.at_ms = at_ms;
}

void store_txn_delete_document(struct store_txn *txn, const char *collection, const char *key)
{
    assert(collection && key);
    struct operation *operation = store_txn_add(txn, OPERATION_DELETE_DOCUMENT);
    operation->document.collection = arena_strdup(txn->arena, collection);
    operation->document.key = arena_strdup(txn->arena, key);
}

void store_txn_audit(struct store_txn *txn, const struct audit_event *event)
{
    assert(event->actor && event->action && event->kind && event->name && event->team);
    struct operation *operation = store_txn_add(txn, OPERATION_AUDIT);
    operation->audit = (struct audit_event){
        .at_ms = event->at_ms,
        .actor = arena_strdup(txn->arena, event->actor),
        .action = arena_strdup(txn->arena, event->action),
        .kind = arena_strdup(txn->arena, event->kind),
        .name = arena_strdup(txn->arena, event->name),
        .team = arena_strdup(txn->arena, event->team),
        .detail = arena_strdup(txn->arena, event->detail),
    };
}

void store_txn_jobs_prune(struct store_txn *txn, int64_t before_ms, int64_t most)
{
    assert(most > 0);
    struct operation *operation = store_txn_add(txn, OPERATION_JOBS_PRUNE);
    operation->prune.before_ms = before_ms;
    operation->prune.most = most;
}

void store_txn_forget_job(struct store_txn *txn, uint64_t job)
{
    assert(job > 0);
    struct operation *operation = store_txn_add(txn, OPERATION_FORGET_JOB);
    operation->job = job;
}
