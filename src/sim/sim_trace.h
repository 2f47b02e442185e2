/* The trace of a run: one line for each input with its answer, each change and each decision.
 * The digest is taken of the same things whether or not lines are written. */
#pragma once

#include "base/strbuf.h"
#include "sim/sim_input.h"
#include "sim/sim_store.h"

#include <stdio.h>

struct sim_trace {
    FILE *out; /* NULL: the digest only */
    uint64_t digest;
    struct strbuf line;
};

/* Writes to out, which stays the caller's; NULL: only the digest is kept. */
void sim_trace_init(struct sim_trace *trace, FILE *out);
void sim_trace_finish(struct sim_trace *trace);
/* One line for what the core was told. */
void sim_trace_input(struct sim_trace *trace, int64_t now_ms, const struct sim_input *input,
    const struct sim_answer *answer);
/* What the tick changed and decided; symbols are spelled out as the store and the transaction
 * know them. */
void sim_trace_txn(
    struct sim_trace *trace, const struct sim_store *store, const struct sim_txn *txn);
/* The digest of one decision, mixed into `digest`: its fields, without the padding between. */
uint64_t sim_trace_decision(uint64_t digest, const struct core_decision *decision);
/* Anything else worth a line: crashes, failed commits. */
void sim_trace_note(struct sim_trace *trace, int64_t now_ms, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
