/* What may come of the lanes that wait, before a pass gives them their turns: most of what waits
 * waits for what did not become free, and a turn costs much more than to know that.
 *
 * A lane without a turn is as one whose turn came to nothing. That is certain for a lane that its
 * limits stop, for within a pass teams only gain. A lane that is stuck, by what nofit.c knows,
 * comes to nothing too, but may do something else in its turn: stop others, take over a promise or
 * get one; or it may be stuck no more by then. So the stuck ones are left out only in a pass in
 * which nothing of that can be:
 *
 * - no job is of a higher priority than one that runs or may start, or than one that has a promise,
 *   and none is within a guarantee, unless nobody runs who could be stopped or is stopping, nobody
 *   may start, and nothing is promised: so nobody is stopped, and no promise taken over;
 * - nobody has waited long enough for a promise where one could be given, and no burst policy is to
 *   be asked;
 * - those that have one are stuck, so that it is not given back by their start;
 * - nobody's place goes by who else gets one.
 *
 * Then places are only taken in the pass, and what does not fit when it begins does not later. */
#include "core/backfill.h"
#include "core/broker.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/nofit.h"
#include "core/queue.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/team.h"

struct foresight {
    struct core *core;
    bool calm;
    bool limited, guaranteed; /* the team that is looked at, or one above it, is */
    int32_t kept_from;        /* the lowest priority that something is promised to, of all pools;
                               * INT32_MIN: some pool has promised nothing */
    bool entitled, open;      /* some lane is */
    bool bounded; /* a lane whose wait for a promise ends with what its limits leave it */
    int64_t wake_ms;
    int32_t highest; /* priority of who waits */
    int32_t lowest;  /* of who runs, may start, or has a promise */
};

static void team_foresee(struct foresight *foresight, const struct live_team *team)
{
    foresight->limited = foresight->guaranteed = false;
    for (; team; team = team->parent) {
        foresight->limited |= team->limited != 0;
        foresight->guaranteed |= team->guaranteed != 0;
    }
}

static int32_t kept_from(const struct core *core)
{
    int32_t lowest = INT32_MAX;
    for (size_t i = 0; i < core->promised.count; i++) {
        int32_t priority = core->promised.items[i]->row.priority;
        lowest = priority < lowest ? priority : lowest;
    }
    return core->promised.count < core->tables[ROW_POOL].live ? INT32_MIN : lowest;
}

static bool has_promise(const struct core *core, const struct live_job *job)
{
    for (size_t i = 0; i < core->promised.count; i++) {
        if (core->promised.items[i] == job)
            return true;
    }
    return false;
}

/* When its first job gets to ask for a promise, if anybody gives one. */
static int64_t asks_ms(const struct core *core, const struct lane *lane)
{
    int64_t after_ms = core->options.reserve_after_ms;
    return after_ms < 0 ? MOMENT_NEVER : lane->queued_ms + after_ms;
}

/* Whether the lane's turn may do something although its job, which may have a promise, does not
 * fit; priorities and guarantees apart. */
static bool stirs(struct foresight *foresight, const struct lane *lane, bool promised, bool stuck)
{
    struct core *core = foresight->core;
    if (lane->key.shape->near || (promised && !stuck))
        return true;
    /* It may have no turn any more because others start first. */
    bool bounded = stuck && (foresight->limited || lane->key.array || lane->key.firm);
    int64_t due_ms = asks_ms(core, lane), burst_ms = burst_due_ms(core, lane->first);
    foresight->wake_ms = least(foresight->wake_ms, burst_ms);
    if (burst_ms <= core->now_ms)
        return true;
    /* Mostly there is nothing to learn from whether a pool is open, or none is: it takes a
     * guarantee or a higher priority to take over what is promised. */
    if (due_ms > core->now_ms && due_ms >= foresight->wake_ms && !bounded)
        return false;
    if (!foresight->guaranteed && lane->key.priority <= foresight->kept_from)
        return false;
    due_ms = promise_due_ms(core, lane->first);
    if (stuck)
        foresight->wake_ms = least(foresight->wake_ms, due_ms);
    foresight->bounded |= bounded && due_ms != MOMENT_NEVER;
    return due_ms <= core->now_ms;
}

/* Whether its limits, or a policy with rounds, leave the lane no turn. */
static bool is_out(const struct foresight *foresight, const struct lane *lane)
{
    int32_t ranks;
    if (lane->key.governed || (lane->key.array && array_full(lane->first)))
        return true;
    return (foresight->limited || lane->key.firm) &&
           !quota_permits(foresight->core, lane->first, &ranks);
}

/* By what the lane knows of its jobs: they are in no cache, mostly. */
static void lane_foresee(struct foresight *foresight, struct lane *lane)
{
    const struct lane_key *key = &lane->key;
    if (is_out(foresight, lane)) {
        lane->outlook = LANE_OUT;
        return;
    }
    bool stuck = nofit_foreseen(foresight->core, lane);
    bool promised = has_promise(foresight->core, lane->first);
    lane->outlook = stuck ? LANE_STUCK : LANE_OPEN;
    foresight->highest = key->priority > foresight->highest ? key->priority : foresight->highest;
    if ((!stuck || promised) && key->priority < foresight->lowest)
        foresight->lowest = key->priority;
    foresight->open |= !stuck;
    if (foresight->guaranteed && !foresight->entitled)
        foresight->entitled = quota_entitled_shape(key->team, key->shape, key->size_min);
    foresight->calm = foresight->calm && !stirs(foresight, lane, promised, stuck);
}

/* Whether a guarantee may get somebody a place, or a promise. */
static bool guarantees_count(const struct foresight *foresight)
{
    const struct core *core = foresight->core;
    return foresight->entitled && (foresight->open || core->yielding.count > 0 ||
                                      core->attempts_stopping > 0 || core->promised.count > 0);
}

bool lanes_foresee(struct core *core)
{
    struct foresight foresight = {.core = core,
        .calm = core->apart_shapes == 0 && !core->foresight_off,
        .wake_ms = MOMENT_NEVER,
        .kept_from = kept_from(core),
        .highest = INT32_MIN,
        .lowest = core->yielding.count ? core->yielding.items[0].priority : INT32_MAX};
    for (size_t t = 0; t < core->waiting.count; t++) {
        const struct live_team *team = core->waiting.items[t];
        team_foresee(&foresight, team);
        for (size_t i = 0; i < team->lanes.count; i++)
            lane_foresee(&foresight, team->lanes.items[i]);
    }
    if (foresight.open && foresight.bounded)
        return false;
    if (!foresight.calm || foresight.highest > foresight.lowest || guarantees_count(&foresight))
        return false;
    core->wake_ms = least(core->wake_ms, foresight.wake_ms);
    return true;
}
