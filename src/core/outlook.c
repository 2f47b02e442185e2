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
    bool entitled, open; /* some lane is */
    bool bounded;        /* a lane whose wait for a promise ends with what its limits leave it */
    int64_t wake_ms;
    int32_t highest; /* priority of who waits */
    int32_t lowest;  /* of who runs, may start, or has a promise */
};

/* Whether it may have no turn any more because others start first. */
static bool is_bounded(const struct live_job *job)
{
    const struct live_team *team = job->team;
    while (team && !team->limited)
        team = team->parent;
    return team || job->array || job_firm(job);
}

/* Whether the lane's turn may do something although its job does not fit; priorities and guarantees
 * apart. */
static bool stirs(struct foresight *foresight, const struct live_job *job, bool stuck)
{
    struct core *core = foresight->core;
    if (job->shape->near || (job->links->promises && !stuck))
        return true;
    int64_t due_ms = promise_due_ms(core, job), burst_ms = burst_due_ms(core, job);
    foresight->wake_ms = least(foresight->wake_ms, burst_ms);
    if (burst_ms <= core->now_ms)
        return true;
    if (stuck) {
        foresight->wake_ms = least(foresight->wake_ms, due_ms);
        foresight->bounded |= due_ms != MOMENT_NEVER && is_bounded(job);
    }
    return due_ms <= core->now_ms;
}

static void lane_foresee(struct foresight *foresight, struct lane *lane)
{
    const struct live_job *job = lane->first;
    int32_t ranks;
    if (lane->key.governed || array_full(job) || !quota_permits(foresight->core, job, &ranks)) {
        lane->outlook = LANE_OUT;
        return;
    }
    bool stuck = nofit_foreseen(foresight->core, job);
    lane->outlook = stuck ? LANE_STUCK : LANE_OPEN;
    int32_t priority = job->row.priority;
    foresight->highest = priority > foresight->highest ? priority : foresight->highest;
    if ((!stuck || job->links->promises) && priority < foresight->lowest)
        foresight->lowest = priority;
    foresight->open |= !stuck;
    foresight->entitled =
        foresight->entitled || quota_entitled_shape(job->team, job->shape, job->row.size_min);
    foresight->calm = foresight->calm && !stirs(foresight, job, stuck);
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
        .highest = INT32_MIN,
        .lowest = core->yielding.count ? core->yielding.items[0].priority : INT32_MAX};
    for (size_t t = 0; t < core->waiting.count; t++) {
        const struct live_team *team = core->waiting.items[t];
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
