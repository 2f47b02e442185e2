/* Shared between the files of the invariant checker. */
#pragma once

#include "sim/invariants.h"

#include <stdarg.h>
#include <stdio.h>

typedef unsigned long long ull;

/* The failing answer of a check: the number of the invariant, then the text. Always -1. */
PRINTF_LIKE(3, 4)
static inline int broken(struct error *err, int invariant, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set(err, ERR_CORRUPT, "invariant %d: %s", invariant, text);
}

/* Iterates over the live rows of a kind. */
#define each_row(type, row, store, kind)                                                           \
    size_t row##_i = 0, row##_n = sim_store_count((store), (kind));                                \
    row##_i < row##_n && ((row) = sim_store_at((store), (kind), row##_i), true);                   \
    row##_i++

/* What a placement holds of its node. */
struct holding {
    int64_t cpu_milli, memory_bytes, disk_bytes, accelerator_milli;
};

/* The shape of an attempt's job, live or retired; NULL when there is none. */
const struct job_row *invariants_job(const struct sim_store *store, uint64_t job);
const struct shape_row *invariants_shape(const struct sim_store *store, uint64_t attempt);
struct holding invariants_holding(const struct shape_row *shape, int64_t ranks);
/* The labels, taints and rules of the store. */
bool invariants_job_has_label(
    const struct sim_store *store, uint64_t job, uint32_t key, uint32_t value);

/* Whether a rank of this shape may be on the node now, by everything but what is free there. 0 or
 * -1 with the condition that is not met. */
int invariants_node_allowed(const struct sim_store *store, const struct job_row *job,
    const struct node_row *node, int64_t now_ms, struct error *err);
/* Whether the team of the job and those above it may hold `ranks` more of its shape. */
bool invariants_quota_allows(
    const struct sim_store *store, const struct job_row *job, int64_t ranks);
/* Whether any limit that counts for the job is passed. -1: which. */
int invariants_quota_kept(
    const struct sim_store *store, const struct job_row *job, struct error *err);
/* A decision to stop an attempt for another job: it could be a victim, and what it loses is said.
 */
int invariants_preempted(const struct sim_store *after, const struct core_decision *decision,
    int64_t now_ms, struct error *err);
/* An attempt that a round gave another size may be stopped for it. */
int invariants_resized(const struct sim_store *after, const struct core_decision *decision,
    int64_t now_ms, struct error *err);

/* invariants_broker.c: what the decisions of a transaction did with pools: who came to one under a
 * burst policy and what is reserved of its budget, and that for one job others are preempted in one
 * pool only. */
int invariants_pools(const struct sim_store *after, const struct sim_txn *txn, struct error *err);

/* What is promised is there at its moment, as far as what runs goes by its time limits. */
int invariants_promises(const struct sim_store *store, struct error *err);
/* A promise that is new: the job had none, or a later one, or there is a reason for the delay. */
int invariants_promise_change(const struct sim_store *before, const struct sim_txn *txn,
    const struct promise_row *promise, struct error *err);
/* Whether one gang of the shape may be on both nodes, as far as pools and topology go. */
bool invariants_same_domain(const struct sim_store *store, const struct shape_row *shape,
    const struct node_row *a, const struct node_row *b);

/* What every stored state of services and replicas must be. */
int invariants_services(const struct sim_store *store, struct error *err);
/* A service or replica that changes: numbers are new, and each change has its decision. */
int invariants_service_change(const struct sim_store *before, const struct sim_txn *txn,
    const struct core_change *change, struct error *err);
/* By choice no replica that is ready is stopped while too few others are, by the order of the
 * transaction's decisions. */
int invariants_replaced(
    const struct sim_store *before, const struct sim_txn *txn, struct error *err);
/* A service whose attempt ended by itself goes on, after a pause that grows with failures in a row.
 */
int invariants_restart(const struct job_row *old, const struct job_row *job,
    const struct attempt_row *attempt, struct error *err);
/* invariants_rollout.c: the rollout of a service, or NULL; the revision that its main replicas are
 * to be of, and how many replicas an arm may have. */
const struct rollout_row *invariants_rollout(const struct sim_store *store, uint64_t service);
int32_t invariants_goal(const struct sim_store *store, const struct service_row *service);
int32_t invariants_arm_wanted(
    const struct sim_store *store, const struct service_row *service, int32_t arm);
/* What every stored state of rollouts and their evidence must be. */
int invariants_rollouts(const struct sim_store *store, struct error *err);
/* A rollout that changes: it begins from what was wanted, and passes nothing without a sample. */
int invariants_rollout_change(const struct sim_store *before, const struct sim_txn *txn,
    const struct core_change *change, struct error *err);
/* A replica that is new is of the revision that its arm wants. */
int invariants_replica_revision(const struct sim_store *before, const struct sim_txn *txn,
    const struct replica_row *replica, struct error *err);

/* How many services have what they want; -1: one should have, and has not. */
int invariants_settled(const struct sim_store *store, struct error *err);
/* That a row was changed to this by the transaction, or else what it was; NULL: neither. */
const void *invariants_row_after(
    const struct sim_store *before, const struct sim_txn *txn, enum row_kind kind, uint64_t id);

/* That a charge, a span of one that was closed early, or a node's capacity, costs what the prices
 * before the transaction say. */
int invariants_charge(
    const struct sim_store *before, const struct charge_row *charge, struct error *err);
int invariants_span(const struct sim_store *before, const struct span_row *span, struct error *err);
int invariants_capacity(
    const struct sim_store *before, const struct capacity_row *capacity, struct error *err);
