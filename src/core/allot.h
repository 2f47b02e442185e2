/* Allotment: who runs with how many ranks.
 *
 * The default, "fair", decides job by job whenever something is free (schedule.c). The other
 * policies decide in rounds: at moments that are multiples of their round from an anchor, they look
 * at all jobs that they govern and give each a target, 0 for none. The core does the rest, for
 * every policy alike: it keeps limits and guarantees (allot_settle.c), stops what has another
 * target than it runs with, and places what has one, in the order of the policy's preference, with
 * exactly the target's ranks. A job whose target is what it runs with is left alone. Between rounds
 * nothing is admitted but what the last round decided.
 *
 * Governed are jobs whose ranks ask for whole accelerators, services apart; all others are
 * scheduled as ever, beside them. */
#pragma once

#include "base/vec.h"
#include "core/core.h"
#include "core/table.h"

struct live_attempt;
struct live_job;
struct plan;

struct live_speed {
    struct item item;
    struct speed_row row;
    struct live_speed *next; /* ranks, nodes ascending */
};

/* What is known of a governed job, and of one that reported. */
struct live_allotment {
    struct item item;
    struct allotment_row row;
    struct live_job *job;
    struct live_speed *speeds;
    size_t speed_count;
};

/* Work done a second, in thousandths of a unit, with so many ranks on so many nodes. */
struct allot_speed {
    int32_t ranks, nodes;
    int64_t rate_milli;
};

/* A job as policies see it. */
struct allot_job {
    const struct job_row *row;
    const struct live_job *live;
    int32_t size;                     /* ranks that it runs with and may go on with; 0: none */
    int32_t size_min;                 /* a target is 0, or from size_min.. */
    int32_t size_max;                 /* ..to size_max */
    int32_t devices;                  /* accelerators of a rank */
    bool fixed;                       /* can not be stopped now: its target is its size */
    int64_t served_ms;                /* that it held a place, all attempts together.. */
    int64_t served_device_ms;         /* ..weighed with its accelerators */
    int64_t remaining;                /* units of work; -1: it never said */
    int64_t restart_ms;               /* that another size would cost it */
    const struct allot_speed *speeds; /* what it reported; ranks, nodes ascending */
    size_t speed_count;
    /* The policy's memory of the job, kept over rounds and reloads; 0 at first. */
    int32_t level;
    int64_t level_ms;
    int64_t note;
    int32_t target; /* the answer; at first what the last round decided */
};

struct allot_round {
    const struct core *core;
    int64_t now_ms;
    int64_t round_ms;
    int64_t devices;         /* accelerators that these jobs may hold together */
    int64_t node_devices;    /* of the largest node */
    int64_t spare;           /* of what was given to jobs and taken back by limits */
    struct allot_job **jobs; /* ids ascending; the policy leaves them in its order of preference */
    size_t count;
};

struct allotment_policy {
    const char *name;
    int64_t round_ms;  /* 0: no rounds */
    bool widest;       /* a gang takes the emptiest nodes first, not the tightest that hold it */
    bool late_goes_on; /* deadlines are goals: a job that passed its own is not ended */
    void (*decide)(struct allot_round *round);
};

/* By name; NULL: there is none of that name. The first is the default. */
const struct allotment_policy *allot_find(const char *name);
/* The i-th, or NULL: for lists of names. */
const struct allotment_policy *allot_policy(size_t i);

/* ---- allot.c ----------------------------------------------------------------------------------
 */

/* Whether a policy with rounds decides about the job. */
bool allot_governs(const struct core *core, const struct live_job *job);
/* Counts a new job that it decides about; the first of them sets the moment of the next round. */
void allot_join(struct core *core, const struct live_job *job);
/* Holds the round that is due, if one is, and says whether it did. */
void allot_run(struct core *core);
/* Places what the last round decided and what could not be placed at once. */
void allot_place(struct core *core);
/* The moment of the next round, or MOMENT_NEVER while there is nothing to decide. */
int64_t allot_next_ms(const struct core *core);
/* Counts what an attempt that ends has held. */
void allot_served(struct core *core, const struct live_attempt *attempt);

/* ---- allot_settle.c ---------------------------------------------------------------------------
 */

/* What policies begin with: who can not be stopped keeps its size, nobody else has any. Returns the
 * accelerators that are left. */
int64_t allot_begin(struct allot_round *round);
/* Brings the targets within sizes, limits and what there is, in the order given; guarantees come
 * before everything but what can not be stopped. Changes nothing but the targets. */
void allot_settle(struct core *core, struct allot_round *round);

/* ---- allot_trial.c ----------------------------------------------------------------------------
 */

struct allot_trial {
    struct core *core;
    struct allot_round *round;
    struct plan *plans; /* for each job of the round: the new place, or of no ranks */
    VEC(struct live_attempt *) away;
    int64_t spare; /* devices that are over */
};

/* Brings the targets within what has room, and finds places for those that get something new.
 * allot_trial_finish frees what it holds. */
void allot_try(struct allot_trial *trial, struct core *core, struct allot_round *round);
void allot_trial_finish(struct allot_trial *trial);

/* ---- allot_progress.c -------------------------------------------------------------------------
 */

/* What is known of the job, made if it is not there yet. */
struct live_allotment *allotment_of(struct core *core, struct live_job *job);
/* Retires it with its job. */
void allotment_forget(struct core *core, struct live_job *job);
/* Hangs a speed into the list of its allotment, in order. */
void speed_link(struct live_allotment *allotment, struct live_speed *speed);

/* ---- allot_place.c ----------------------------------------------------------------------------
 */

/* A place for size_min to size_max ranks, as the policy wants it; see plan_make. */
bool allot_plan(struct core *core, const struct live_job *job, int32_t size_min, int32_t size_max,
    struct plan *plan);
/* Counts the plan as claimed of its nodes (1), or not any more (-1). */
void plan_claim(const struct live_job *job, const struct plan *plan, int sign);

/* ---- allot_speed.c ----------------------------------------------------------------------------
 */

/* The rate with so many ranks on the fewest nodes of `node_devices` accelerators each, from what
 * the job reported: exact where it did; straight lines between reported sizes; in proportion to
 * ranks below the smallest and constant above the largest. 0: it reported nothing. */
int64_t allot_rate_milli(const struct allot_job *job, int32_t ranks, int64_t node_devices);
