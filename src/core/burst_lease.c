/* Replicas in pools with a burst policy: what they cost has no end, so it is paid for in leases,
 * and they come home when there is room.
 *
 * A replica comes as a job does (burst.c), but what is reserved for it is a lease: its place for
 * LEASE_MS and its grace. When the lease is over, what it did cost is spent and the next one is
 * reserved; where the budget does not allow that, it is stopped and competes for the other pools,
 * as any replica without a place. So a budget holds for replicas as it does for jobs.
 *
 * Coming home is a roll of one replica. When the pass has left room elsewhere that nobody wanted,
 * the replica is *recalled*: from then on it counts as one of an older revision (replica.c), and
 * the rules of a roll do the rest: another is made, within surge, and the recalled one is stopped
 * once it is not needed to have enough that are ready.
 *
 * Why this does not go round in circles: a replica is recalled only while its service is complete,
 * all of it ready, one of a service and one in a pass at a time, and what is made for it does not
 * burst while the recall lasts. If the room has gone meanwhile, the recall is taken back, and the
 * one that waits is stopped as one too many. */
#include "core/attempt.h"
#include "core/broker.h"
#include "core/burst.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/resource.h"
#include "core/rollout.h"
#include "core/service.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/table.h"
#include "core/team.h"

#include <assert.h>

enum {
    LEASE_MS = 3600 * 1000,
    HOME_MS = 60 * 1000, /* between two looks.. */
    SHORT_MS = 1000,     /* ..and for those that have to wait for another's recall */
};
#define HOUR_MS ((int64_t)3600 * 1000)

bool burst_away(const struct live_job *job)
{
    return job->links->broker && job->links->broker->row.pool;
}

bool burst_leases(const struct live_job *job)
{
    return job->links->replica && job->links->replica->row.arm == ARM_MAIN;
}

bool burst_recalls(const struct live_job *job)
{
    return job->links->replica && job->links->replica->service->counts.recalled > 0;
}

int64_t burst_lease_held_ms(const struct live_job *job)
{
    return LEASE_MS + job->row.grace_ms;
}

/* The same moments for all, so that it is one tick that writes them. */
static int64_t next_look_ms(const struct core *core)
{
    return (core->now_ms / HOME_MS + 1) * HOME_MS;
}

void burst_lease_begin(struct core *core, struct live_job *job)
{
    struct broker_row *row = &job->links->broker->row;
    if (!burst_leases(job))
        return;
    row->lease_ms = core->now_ms + LEASE_MS;
    row->look_ms = next_look_ms(core);
    core->leases++;
}

void burst_lease_end(struct core *core, struct live_job *job)
{
    struct broker_row *row = &job->links->broker->row;
    if (!row->lease_ms)
        return;
    row->lease_ms = 0;
    core->leases--;
    if (job->links->replica && job->links->replica->row.recalled_ms)
        replica_recall(core, job->links->replica, false);
}

/* ---- paying ---------------------------------------------------------------------------------- */

/* The budget does not allow another lease. */
static void give_up(struct core *core, struct live_broker *broker, struct live_job *job)
{
    broker->row.verdict = BURST_OVER_BUDGET;
    broker->row.refused_by = broker->row.pool;
    change_put(core, &broker->item);
    decide(core, (struct core_decision){.kind = DECISION_BURST_REFUSED,
                     .job = job->row.id,
                     .team = job->row.team,
                     .attempt = job->row.attempt,
                     .pool = broker->row.pool,
                     .burst = BURST_OVER_BUDGET});
    attempt_stop(core, job->attempt, END_MOVED, NULL);
}

static void lease_renew(struct core *core, struct live_broker *broker, struct live_job *job)
{
    struct live_pool *pool = job->attempt->placements->node->pool;
    struct broker_row *row = &broker->row;
    if (!pool->row.burst_budget_micro) {
        burst_lease_end(core, job);
        change_put(core, &broker->item);
        return;
    }
    burst_period_settle(core, pool);
    int64_t cost_micro = burst_cost_micro(core, job->attempt, row);
    __int128 next_micro =
        ((__int128)core_attempt_hour_micro(core, job->row.attempt) * burst_lease_held_ms(job) +
            HOUR_MS - 1) /
        HOUR_MS;
    if (next_micro + cost_micro > burst_left_micro(core, pool) + row->reserved_micro) {
        give_up(core, broker, job);
        return;
    }
    pool->row.burst_spent_micro = least(pool->row.burst_spent_micro + cost_micro, BROKER_COST_MAX);
    pool->burst_reserved_micro += (int64_t)next_micro - row->reserved_micro;
    row->booked_micro += cost_micro - row->egress_micro;
    row->reserved_micro = (int64_t)next_micro;
    row->egress_micro = 0;
    row->lease_ms = core->now_ms + LEASE_MS;
    change_put(core, &broker->item);
    change_put(core, &pool->item);
}

/* ---- coming home ----------------------------------------------------------------------------- */

/* Whether one of its service waits for a place. */
static bool substitute_waits(const struct live_service *service)
{
    for (size_t i = 0; i < service->replicas.count; i++) {
        const struct live_replica *one = service->replicas.items[i];
        if (one->row.arm == ARM_MAIN && !one->job->row.cancel && !one->job->attempt)
            return true;
    }
    return false;
}

/* What was made in its place waits for room that is there no more. */
static void recall_end(struct core *core, struct live_replica *replica)
{
    if (core->now_ms - replica->row.recalled_ms >= HOME_MS && substitute_waits(replica->service))
        replica_recall(core, replica, false);
}

static bool may_recall(const struct live_replica *replica)
{
    const struct live_service *service = replica->service;
    const struct replica_counts *counts = &service->counts;
    int32_t wanted = service->row.replicas;
    return replica->row.ready && replica->row.revision == service_goal(service) &&
           rollout_wants(service, ARM_CANARY) == 0 && counts->newest_ready == wanted &&
           counts->existing == wanted;
}

/* Room for a second one, if it is to be there before the first goes. */
static bool home_has_room(struct core *core, struct live_job *job)
{
    struct plan plan = {0};
    bool room = plan_make(core, job, 1, 1, &plan);
    if (room && job->links->replica->service->row.surge > 0) {
        struct amounts amounts;
        plan_amounts(&plan, job, &amounts);
        room = quota_allows(job->team, &amounts);
    }
    plan_finish(&plan);
    return room;
}

/* Whether it was recalled; another was in this pass: it may have been for the same room. */
static bool look_home(
    struct core *core, struct live_broker *broker, struct live_job *job, bool another)
{
    struct live_replica *replica = job->links->replica;
    broker->row.look_ms = another ? core->now_ms + SHORT_MS : next_look_ms(core);
    change_put(core, &broker->item);
    if (another || replica->row.recalled_ms || !may_recall(replica) || !home_has_room(core, job))
        return false;
    replica_recall(core, replica, true);
    decide(core, (struct core_decision){.kind = DECISION_BURST_RECALL,
                     .job = job->row.id,
                     .team = job->row.team,
                     .attempt = job->row.attempt,
                     .pool = broker->row.pool});
    return true;
}

/* ---- when ------------------------------------------------------------------------------------ */

/* The job of a row with a lease that goes on, or NULL. */
static struct live_job *leaseholder(const struct core *core, const struct live_broker *broker)
{
    struct live_job *job = (struct live_job *)table_find(core, ROW_JOB, broker->row.job);
    bool on = broker->row.lease_ms && job->attempt->row.stop_reason == END_NONE;
    return on ? job : NULL;
}

void burst_leases_renew(struct core *core)
{
    if (!core->leases || core->lease_next_ms > core->now_ms)
        return;
    TABLE_EACH (core, ROW_BROKER, struct live_broker, broker) {
        struct live_job *job = leaseholder(core, broker);
        if (job && job->links->replica->row.recalled_ms)
            recall_end(core, job->links->replica);
        if (job && broker->row.lease_ms <= core->now_ms)
            lease_renew(core, broker, job);
    }
}

void burst_leases_index(struct core *core)
{
    core->lease_next_ms = MOMENT_NEVER;
    if (!core->leases)
        return;
    TABLE_EACH (core, ROW_BROKER, struct live_broker, broker) {
        if (leaseholder(core, broker))
            core->lease_next_ms =
                least(core->lease_next_ms, least(broker->row.lease_ms, broker->row.look_ms));
    }
}

void burst_leases_home(struct core *core)
{
    bool recalled = false;
    if (core->leases) {
        TABLE_EACH (core, ROW_BROKER, struct live_broker, broker) {
            struct live_job *job = leaseholder(core, broker);
            if (job && broker->row.look_ms <= core->now_ms)
                recalled |= look_home(core, broker, job, recalled);
        }
    }
    if (recalled)
        services_settle(core); /* what a recall lets go, goes at once */
    burst_leases_index(core);
}
