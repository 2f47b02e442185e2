/* What a pool with a burst policy answers when it is asked about a job. Private to burst.c and
 * burst_ask.c; broker.h has what others ask. */
#pragma once

#include "core/core.h"
#include "core/place.h"

struct live_attempt;
struct live_job;
struct live_pool;

/* What the pools without a burst policy are for a job that waits. */
struct elsewhere {
    bool lack;           /* none of them could hold the job */
    int64_t left_ms;     /* until it starts there, foreseen */
    int64_t waited_ms;   /* so far */
    int64_t wait_ms;     /* both */
    int64_t forecast_ms; /* when the forecast was made that says so; 0: none was asked */
    int64_t start_ms;    /* what it says */
    int64_t sure_ms;     /* until then a forecast is waited for, and left_ms decides nothing; 0 */
};

/* What comes of asking a pool; of one that lets the job come, with its place. */
struct burst_answer {
    enum burst_verdict verdict;
    struct live_pool *pool;
    struct plan plan; /* plan_finish frees it, whatever the verdict is */
    int64_t reserve_micro, egress_micro;
};

/* Looks at every node that the job may use, unless a forecast says it. */
struct elsewhere burst_elsewhere(struct core *core, const struct live_job *job);
void burst_ask(struct core *core, const struct live_job *job, const struct elsewhere *elsewhere,
    struct live_pool *pool, struct burst_answer *ret);

/* ---- burst_forecast.c ------------------------------------------------------------------------
 */

struct live_broker;

/* Whether the row (NULL is fine) has a forecast that may be decided by. */
bool forecast_fresh(const struct core *core, const struct live_broker *broker);
/* Until when a job without one is held back for it; 0: it is not. */
int64_t forecast_awaited_ms(const struct core *core, const struct live_job *job);

/* ---- burst.c ---------------------------------------------------------------------------------
 */

struct broker_row;

/* Grows with every change that may make something fit, from 1: what a look has seen. Unlike
 * core->free_version it is kept over loading, so that a core loaded anew looks when this one does.
 */
int64_t burst_stirs(const struct core *core);
/* Since when the job waits. */
int64_t burst_since_ms(const struct live_job *job);
/* A new period begins where the last one is over. */
void burst_period_settle(struct core *core, struct live_pool *pool);
/* What the attempt and its data cost so far and is not booked yet. */
int64_t burst_cost_micro(
    const struct core *core, const struct live_attempt *attempt, const struct broker_row *row);

/* ---- burst_lease.c ---------------------------------------------------------------------------
 */

/* Whether the job has no end and comes for one lease after the other: a replica that serves. */
bool burst_leases(const struct live_job *job);
/* Whether it is one of a service that calls one home. */
bool burst_recalls(const struct live_job *job);
/* What a lease pays for. */
int64_t burst_lease_held_ms(const struct live_job *job);
/* Its attempt came under a policy; has ended. Whoever calls writes the row. */
void burst_lease_begin(struct core *core, struct live_job *job);
void burst_lease_end(struct core *core, struct live_job *job);
