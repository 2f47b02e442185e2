/* The scheduling pass: which job next, and what becomes of it.
 *
 * Order: jobs that keep their team (or one above it) within its guarantee come first; then the
 * higher band of named priorities, waiting counted; then, down the tree, the team that has used
 * least for its weight (a team's own jobs before its children's); within a team the higher
 * priority, then who has waited longer.
 *
 * A job that does not fit blocks its lane, not the queue: others go on (what a claim or a promise
 * keeps is out of their reach). Within a pass teams only gain, so a lane that was blocked
 * stays so and every step either admits a job or blocks a lane: the pass ends. */
#include "core/allot.h"
#include "core/attempt.h"
#include "core/backfill.h"
#include "core/broker.h"
#include "core/copies.h"
#include "core/core.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/nofit.h"
#include "core/packing.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/preempt.h"
#include "core/queue.h"
#include "core/resource.h"
#include "core/rollout.h"
#include "core/service.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/spot.h"
#include "core/state.h"
#include "core/table.h"
#include "core/team.h"
#include "core/turn.h"

#include <assert.h>

enum {
    PLACEMENTS_PER_PASS = 100000,
    SIMILAR_TRIES = 16, /* jobs of a lane that differ in labels only */
    SEARCHES_PER_PASS = 64,
    ROUNDS_MAX = 64, /* in each but the last a promise was given back */
};

struct pass {
    struct core *core;
    int32_t placements;
    int32_t searches; /* for victims, that looked at all nodes */
    struct preempt_books books;
    struct plan plan; /* of one job after the other */
    int32_t seeks;    /* for promises */
    int32_t bursts;   /* looks at pools with burst policies */
    bool preempted;
    int32_t lowest;    /* base priority that may be preempted.. */
    bool lowest_known; /* ..once it was asked for */
    bool near_waits;   /* a job that has to be near others found no place.. */
    bool near_gains;   /* ..and one that has labels got one */
};

/* Whether failing says nothing about the next job of the lane. */
static bool lane_varies(const struct core *core, const struct lane *lane)
{
    return core->apart_shapes > 0 && lane->cursor && lane->cursor->links->labels;
}

static void lane_fail(const struct core *core, struct lane *lane)
{
    if (lane_varies(core, lane) && ++lane->tries < SIMILAR_TRIES)
        lane->cursor = lane->cursor->lane_next;
    else
        lane->blocked = true;
    if (!lane->cursor)
        lane->blocked = true;
}

static bool job_place(struct pass *pass, struct live_job *job, int32_t size_max)
{
    struct core *core = pass->core;
    struct plan *plan = &pass->plan;
    if (nofit_known(core, job))
        return false;
    plan_clear(plan);
    if (!plan_make(core, job, job->row.size_min, size_max, plan)) {
        nofit_remember(core, job, plan);
        return false;
    }
    struct amounts amounts;
    plan_amounts(plan, job, &amounts);
    bool allowed = quota_allows(job->team, &amounts);
    if (allowed)
        attempt_admit(core, job, plan);
    return allowed;
}

/* Whether a search for victims can find any: nobody of lower priority, no guarantee, no search. */
static bool may_preempt(struct pass *pass, const struct live_job *job)
{
    struct core *core = pass->core;
    if (!pass->lowest_known) {
        pass->lowest = core->yielding.count ? core->yielding.items[0].priority : INT32_MAX;
        pass->lowest_known = true;
    }
    return pass->lowest < job->row.priority ||
           quota_entitled_shape(job->team, job->shape, job->row.size_min);
}

static bool lane_preempt(struct pass *pass, struct live_job *job)
{
    bool cheap;
    if (!may_preempt(pass, job) || pass->searches >= SEARCHES_PER_PASS)
        return false;
    bool preempted = preempt_for(pass->core, job, &pass->books, &cheap);
    pass->searches += !cheap;
    pass->preempted |= preempted;
    return preempted;
}

/* Tries the lane's next job; whether it left the lane. */
static bool lane_try(struct pass *pass, struct lane *lane)
{
    struct core *core = pass->core;
    struct live_job *job = lane->cursor;
    int32_t size_max;
    if (array_full(job) || !quota_permits(core, job, &size_max))
        return false;
    if (job_place(pass, job, size_max)) {
        pass->placements++;
        pass->near_gains |= job->links->labels != NULL;
        return true;
    }
    pass->near_waits |= job->shape->near;
    if (lane_preempt(pass, job))
        return true;
    if (burst_seek(core, job, &pass->bursts)) {
        pass->placements++;
        return true;
    }
    promise_seek(core, job, &pass->seeks);
    return false;
}

/* Whether another pass may find a place for a job that has to be near one placed in this. */
static bool pass_run(struct core *core)
{
    struct pass pass = {.core = core};
    turns_begin(core, !lanes_foresee(core));
    for (struct lane *lane; (lane = turn_next(core));) {
        struct live_team *team = lane->key.team;
        int32_t rank = lane_rank(core, lane);
        assert(rank <= team->pass_own_rank);
        if (rank == team->pass_own_rank && !lane_try(&pass, lane))
            lane_fail(core, lane);
        turn_done(core, team);
        if (pass.placements >= PLACEMENTS_PER_PASS)
            break;
    }
    preempt_books_finish(&pass.books);
    plan_finish(&pass.plan);
    /* The rest has its turn in the next pass, right away if this one got anywhere. */
    core->pass_wanted = pass.placements >= PLACEMENTS_PER_PASS ||
                        (pass.searches >= SEARCHES_PER_PASS && pass.preempted);
    return !core->pass_wanted && pass.near_waits && pass.near_gains;
}

static void queue_run(struct core *core)
{
    if (core->wake_ms <= core->now_ms)
        core->pass_wanted = true;
    if (!core->pass_wanted)
        return;
    int32_t rounds = 0;
    do {
        core->wake_ms = MOMENT_NEVER;
        claims_settle(core);
        promises_settle(core, true);
        allot_place(core);
        core->pass_wanted = false;
        while (pass_run(core)) {
            /* Each pass but the last has placed a job. */
        }
    } while (promises_settle(core, false) && ++rounds < ROUNDS_MAX);
    core->pass_wanted |= rounds == ROUNDS_MAX;
}

/* Replicas that go leave places, so they are stopped first. The pass makes no others go, see
 * replica.c. */
void core_schedule(struct core *core)
{
    timers_run(core);
    reservations_run(core);
    rollouts_settle(core);
    burst_leases_renew(core);
    copies_run(core);
    services_settle(core);
    packing_learn(core);
    allot_run(core);
    spot_run(core);
    burst_stirred(core);
    queue_run(core);
    burst_leases_home(core);
    spot_seen(core);
    burst_stirred(core);
}

int64_t core_next_ms(const struct core *core)
{
    if (core->pass_wanted)
        return core->now_ms;
    int64_t next_ms = least(core->reservation_next_ms, core->wake_ms);
    next_ms = least(next_ms, core->lease_next_ms);
    next_ms = least(next_ms, core->copies_next_ms);
    next_ms = least(next_ms, services_next_ms(core));
    next_ms = least(next_ms, allot_next_ms(core));
    if (core->timers.count)
        next_ms = least(next_ms, core->timers.items[0].at_ms);
    return next_ms;
}
