/* Many pools: which of those that could hold a job it goes to (broker.c), when it may come to one
 * with a burst policy (burst.c), and what to say of all this (broker_view.c).
 *
 * The rule, as docs/pools.md has it for users: a job starts in the pool that costs least for it, of
 * those that have room now and where it is in time for its deadline. What it costs is the price of
 * its place for as long as it runs and fetches its data, plus the egress of data that lie at
 * another site. A job that waits is bound to no pool, so nothing has to be moved when prices
 * change.
 *
 * Pools with a burst policy are no candidates at all (fit_matches): nothing is kept or preempted
 * there, and nothing that is remembered about nodes concerns them. Once a job found no room
 * elsewhere, burst_seek asks whether it may come to one of them. */
#pragma once

#include "core/core.h"

struct job;
struct live_attempt;
struct live_data;
struct live_job;
struct live_pool;
struct live_shape;

/* ---- broker.c --------------------------------------------------------------------------------
 */

/* What a pool costs a job, and how long its data take to get there. Money in millionths of the
 * pool's currency, saturated at BROKER_COST_MAX. */
#define BROKER_COST_MAX ((int64_t)1 << 60)
struct pool_cost {
    int64_t hour_micro; /* of its smallest gang */
    int64_t egress_micro;
    int64_t transfer_ms;
    int64_t cost_micro; /* in all */
    bool late;          /* it would miss its deadline there if it started now */
};
/* Of a pool in which a rank costs that much an hour. */
struct pool_cost broker_cost(const struct core *core, const struct live_job *job,
    const struct live_pool *pool, int64_t hour_micro);
/* The least that a rank of the shape costs in the pool, burst policy or not. False: none of its
 * nodes could hold one. */
bool broker_hour_micro(const struct core *core, const struct live_shape *shape,
    const struct live_pool *pool, int64_t *ret_hour_micro);
/* Of one of the things that it reads, which are not there: what bringing it costs and takes. */
struct pool_cost broker_transfer(
    const struct core *core, const struct data_row *data, const struct live_pool *pool);
/* How long the job runs, as far as it says: its duration, else its time limit; 0: it does not. */
int64_t broker_run_ms(const struct live_job *job);
/* Whether the pools that may hold the job cost it different amounts. False where there is one. */
bool broker_orders(struct core *core, const struct live_job *job);
/* Whether the job goes to pool a before pool b, if both have room: a strict total order of pools.
 * The older first where broker_orders is false. */
bool broker_before(struct core *core, const struct live_job *job, const struct live_pool *a,
    const struct live_pool *b);

/* At submission, of what `from` says: rows for where its data lie and how long it takes. */
void broker_begin(struct core *core, struct live_job *job, const struct job *from);
/* Hangs the row into the list of its job. */
void broker_data_link(struct core *core, struct live_data *data, struct live_job *job);
/* Deletes all rows that the broker has of a job. */
void broker_forget(struct core *core, struct live_job *job);
/* ERR_INVALID: a site or an amount of data that can not be. */
MUST_CHECK int broker_check(const struct job *job, struct error *err);

/* ---- burst.c ---------------------------------------------------------------------------------
 */

/* A queued job found no room elsewhere: it is admitted to a pool with a burst policy where one lets
 * it. *seeks counts the calls of a pass, which are bounded. */
bool burst_seek(struct core *core, struct live_job *job, int32_t *seeks);
/* From when on it would look for one; MOMENT_NEVER: it would not. */
int64_t burst_due_ms(const struct core *core, const struct live_job *job);
/* An attempt has started, so what it reads is where it is. What of that was there already, by then,
 * is reserved no more. */
void burst_started(struct core *core, struct live_attempt *attempt);
/* Before an attempt gives its places back: what it cost is taken off the budget it came under. */
void burst_ended(struct core *core, struct live_attempt *attempt);
/* The policy that a pool is to have; every job may ask again. */
void burst_pool_put(struct core *core, struct live_pool *live, const struct burst *policy);
/* What is left of the pool's budget now. */
int64_t burst_left_micro(const struct core *core, const struct live_pool *pool);
/* Sets what the policy of the pool says of the job now, for people, and by which wait elsewhere. */
void burst_judge(
    struct core *core, struct live_job *job, struct live_pool *pool, struct core_pool_view *view);
/* Counts, where there are policies, that something may fit now that did not. Before a pass and when
 * all is done. */
void burst_stirred(struct core *core);
/* Whether the job has its place under a burst policy. */
bool burst_away(const struct live_job *job);
/* The job goes on after an attempt: it waits from now on. */
void burst_requeued(struct core *core, struct live_job *job);
/* Leases that are over are renewed, or their replicas stopped; after a pass replicas are called
 * home; core->lease_next_ms is worked out. See burst_lease.c. */
void burst_leases_renew(struct core *core);
void burst_leases_home(struct core *core);
void burst_leases_index(struct core *core);
/* Whether what is counted of budgets and policies is what the rows say, for core_check. */
bool burst_check(const struct core *core);
