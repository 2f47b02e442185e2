/* A transaction in memory: a list of operations in the order they were asked for, everything they
 * need copied beside them. For the store's own files. */
#pragma once

#include "base/memory.h"
#include "base/vec.h"
#include "store/store.h"

enum operation_kind {
    OPERATION_PUT_ROW,
    OPERATION_DELETE_ROW,
    OPERATION_PUT_DOCUMENT,
    OPERATION_DELETE_DOCUMENT,
    OPERATION_AUDIT,
    OPERATION_AUDIT_PRUNE,
    OPERATION_JOBS_PRUNE,
    OPERATION_FORGET_JOB,
    OPERATION_KIND_COUNT
};

struct operation {
    enum operation_kind kind;
    union {
        struct {
            enum row_kind kind;
            bool live;
            const void *bytes;
        } row;
        struct {
            enum row_kind kind;
            uint64_t id;
        } row_id;
        struct {
            const char *collection, *key, *scope, *json;
            int64_t at_ms;
        } document;
        struct audit_event audit;
        struct {
            int64_t before_ms;
            int64_t most;
        } prune;
        uint64_t job;
    };
};

struct store_txn {
    int64_t epoch;
    int64_t tick;
    struct arena *arena;
    VEC(struct operation) operations;
};

/* Adds an operation to fill in; the pointer is valid until the next. */
struct operation *store_txn_add(struct store_txn *txn, enum operation_kind kind);
