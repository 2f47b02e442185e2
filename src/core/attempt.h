/* Attempts, what they hold and where, and what that costs. */
#pragma once

#include "core/core.h"
#include "core/table.h"

struct amounts;
struct live_job;
struct live_node;
struct live_shape;
struct plan;

struct live_span {
    struct item item;
    struct span_row row;
    struct live_span *next;
};

struct live_placement {
    struct item item;
    struct placement_row row;
    struct live_attempt *attempt;
    struct live_node *node;
    struct live_span *spans; /* at earlier prices, oldest first */
    struct live_placement *next;
};

struct live_attempt {
    struct item item;
    struct attempt_row row;
    struct live_job *job;
    struct live_placement *placements;
    uint64_t mark;       /* of the preemption search that saw it last */
    bool away;           /* a preemption search tries what would be without it.. */
    size_t search_at;    /* ..and has it at this place among those that it took away.. */
    int64_t search_loss; /* ..at this loss */
};

/* A history row on its way out. */
struct history_charge {
    struct item item;
    struct charge_row row;
};
struct history_capacity {
    struct item item;
    struct capacity_row row;
};

/* ---- attempt.c --------------------------------------------------------------------------------
 */

/* When the attempt that runs is handed over, before its site ends it: a job saves and its next
 * attempt goes on, of a service another replica gets ready first (handover_leave_ms). MOMENT_NEVER:
 * nothing ends it, or its own time limit does before. */
int64_t handover_ms(const struct live_job *job);
/* That moment has come. */
void handover(struct core *core, struct live_job *job);
/* Gives the job an attempt that holds what the plan says, from now on. */
void attempt_admit(struct core *core, struct live_job *job, const struct plan *plan);
/* Tells it to stop. A later reason changes nothing, but for END_CANCELLED and END_REPLACED. */
void attempt_stop(struct core *core, struct live_attempt *attempt, enum end_reason reason,
    const struct live_job *for_job);
void attempt_end(
    struct core *core, struct live_attempt *attempt, enum end_reason reason, int32_t exit_status);
/* Counts the attempt among those that preemption may look at, or (sign -1) not any more. */
void attempt_yields(struct core *core, const struct live_attempt *attempt, int sign);
/* Takes what it holds out of its nodes' accounts on trial, or puts it back. */
void attempt_set_away(struct live_attempt *attempt, bool away);
/* What its being told to stop would lose: milliseconds of work since the newest checkpoint; none of
 * a job that writes one then, and of a service its start alone. */
int64_t attempt_loss_ms(const struct core *core, const struct live_attempt *attempt);
/* The same, weighed by the dominant share it holds: what victims are compared by. */
int64_t attempt_loss(const struct core *core, const struct live_attempt *attempt);
void placement_amounts(const struct live_placement *placement, struct amounts *ret);
void attempt_amounts(const struct live_attempt *attempt, struct amounts *ret);
/* Loading: takes the placement into the accounts. */
void placement_link(struct core *core, struct live_placement *placement);

/* ---- charge.c ---------------------------------------------------------------------------------
 */

/* What the placement, or the whole node, costs for an hour at its present prices. */
int64_t placement_hour_micro(const struct live_placement *placement);
int64_t node_hour_micro(const struct live_node *node);
/* What so many ranks of the shape would cost an hour on the node. */
int64_t shape_hour_micro(
    const struct live_shape *shape, const struct live_node *node, int64_t ranks);
/* What a live attempt has cost until now, in billionths of the currency. */
int64_t attempt_cost_nano(const struct core *core, const struct live_attempt *attempt);
/* Writes the charges of a placement that ends now, one for each price it had; lost_since_ms: from
 * when on the work was lost, or MOMENT_NEVER. */
void charge_placement(struct core *core, struct live_placement *placement, int64_t lost_since_ms);
/* Before a price or what a node has changes: ends the metered span of the node, and of what
 * attempts hold of it. */
void charge_split(struct core *core, struct live_node *node);
/* Writes what there was of the node since it was metered last. */
void charge_capacity(struct core *core, struct live_node *node);
