/* The invariants of ARCHITECTURE.md, checked from outside: from the rows that are stored, the
 * decisions that are audited and the answers that were given, and from nothing inside the core.
 * A second opinion that shared code with the first would share its mistakes.
 *
 * Errors are ERR_CORRUPT; their texts begin with the number of the invariant that is broken. */
#pragma once

#include "sim/sim_input.h"
#include "sim/sim_store.h"

struct invariants;

/* Has seen nothing yet. */
struct invariants *invariants_create(void);
void invariants_destroy(struct invariants *inv); /* NULL is fine */

/* What a transaction does to what is stored, just before it is stored: rows change only as they
 * may, ids ascend, every change has its decision and every decision its change, charges fit what
 * was held. Remembers what it needs for later transactions: call it only for one that is (or turns
 * out to be) committed. */
MUST_CHECK int invariants_change(struct invariants *inv, const struct sim_store *before,
    const struct sim_txn *txn, int64_t now_ms, struct error *err);
/* What became of it, just after: each placement that is new was allowed, limits are kept. */
MUST_CHECK int invariants_admission(
    const struct sim_store *after, const struct sim_txn *txn, int64_t now_ms, struct error *err);
/* What every stored state must be. */
MUST_CHECK int invariants_state(const struct sim_store *store, struct error *err);
/* What must hold once time has passed and the core was asked to schedule. */
MUST_CHECK int invariants_time(const struct sim_store *store, int64_t now_ms, struct error *err);
/* A command was answered as done: what it asked for is stored. Accepted jobs are remembered. */
MUST_CHECK int invariants_answered(struct invariants *inv, const struct sim_store *store,
    const struct sim_input *input, const struct sim_answer *answer, struct error *err);
/* Nothing runs: a queued job that fits into the idle cluster and its team's limits starves. */
MUST_CHECK int invariants_idle(const struct sim_store *store, int64_t now_ms, struct error *err);
/* The end: every job that was ever accepted ended once, and nothing is held. */
MUST_CHECK int invariants_final(
    const struct invariants *inv, const struct sim_store *store, struct error *err);

/* Nothing fails any more and time has passed: every service of which no replica waits for room has
 * just what it wants, of the newest revision and ready. */
MUST_CHECK int invariants_services_settled(
    struct invariants *inv, const struct sim_store *store, struct error *err);

struct invariants_counts {
    uint64_t jobs_accepted, jobs_succeeded, jobs_failed, jobs_cancelled;
    uint64_t attempts, preemptions, charges;
    uint64_t replicas, services_settled;
};
/* How much was seen and checked so far. */
const struct invariants_counts *invariants_count(const struct invariants *inv);
