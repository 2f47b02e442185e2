/* Spot capacity and deadlines: where a job that has to be done by a moment should run now.
 *
 * Spot capacity is cheap and may be taken away at any moment; on-demand capacity is there when it
 * is asked for. A job that may use both has work left and time left, and the difference is its
 * slack. Slack never grows: waiting uses it up, and so does every start, which costs a changeover
 * without work. When there is none left the job has to be on on-demand capacity and to stay there.
 * A policy says what slack is spent on. It knows no time and no job: the caller asks it. */
#pragma once

#include "core/core.h"

#include <stdbool.h>
#include <stdint.h>

struct spot_case {
    enum spot_place at; /* where it runs now */
    bool there;         /* spot capacity has room for it now */
    int64_t left_ms;    /* until the deadline */
    int64_t work_ms;    /* of running that is left, from what is saved */
    int64_t total_ms;   /* of work, from its beginning */
    int64_t span_ms;    /* from its beginning to the deadline */
    int64_t change_ms;  /* what a start costs */
    /* What is known of the spot capacity: how long it stays once it is there and how long it is
     * away then, means; 0: not known. */
    int64_t up_ms, down_ms;
    int64_t spot_price, demand_price; /* any unit */
};

struct spot_choice {
    enum spot_place to;
    int64_t again_ms; /* from now: when to ask again although nothing happened; INT64_MAX: never */
};

struct spot_policy {
    const char *name;
    const char *summary; /* for people, one line */
    struct spot_choice (*choose)(const struct spot_case *of);
};

/* The policy of that name, or NULL. NULL and "": the default. */
const struct spot_policy *spot_policy_find(const char *name);
/* The i-th, or NULL past the last; the first is the default. */
const struct spot_policy *spot_policy_at(int i);

/* ---- spot_move.c: the jobs that policies decide about -------------------------------------------
 */

#define SPOT_SEEN_MAX ((int64_t)1 << 60) /* node-milliseconds that a pool counts at most */

struct core;
struct job;
struct live_attempt;
struct live_job;
struct live_node;
struct live_pool;
struct live_spot;

/* At submission, of what `from` says: a job that moves between spot pools and others gets a row for
 * it. */
void spot_begin(struct core *core, struct live_job *job, const struct job *from);
/* Hangs the row of a job that does into the list of those. */
void spot_link(struct core *core, struct live_spot *spot, struct live_job *job);
void spot_forget(struct core *core, struct live_job *job);
/* Whether a policy decides where the job may be placed. */
bool spot_governs(const struct core *core, const struct live_job *job);
/* Asks the policy about a job: changes where it may be placed, or tells it to move. */
void spot_ask(struct core *core, struct live_job *job);
/* Asks about all when something became free since the last pass. */
void spot_run(struct core *core);
/* After a pass, or loading: what is free now is known. */
void spot_seen(struct core *core);
/* The job said how far it is: its policy is asked again. */
void spot_progress(struct core *core, struct live_job *job);
/* Counts what an attempt that ends has saved. */
void spot_ended(struct core *core, struct live_attempt *attempt, enum end_reason reason);
/* Counts what there was of a spot pool until now, before its nodes change. */
void spot_pool_settle(struct core *core, struct live_pool *pool);
/* The same before a node comes or goes (lost). */
void spot_node_seen(struct core *core, struct live_node *node, bool lost);

/* ---- spot_left.c --------------------------------------------------------------------------------
 */

/* Running of the attempt that is kept when it saves, or saved, its work at that moment. */
int64_t spot_kept_ms(const struct live_attempt *attempt, int64_t until_ms);
/* Running that is left from what is saved, at least 1: by what the job says of its progress, else
 * by its duration. */
int64_t spot_left_ms(const struct live_job *job);
/* At the end of an attempt whose work is saved up to that moment: what the job said remains is set
 * back to what it will begin with. */
void spot_left_settle(struct core *core, struct live_attempt *attempt, int64_t saved_ms);
