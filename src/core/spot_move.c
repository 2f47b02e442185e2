/* Jobs that move between spot capacity and other: who does, and when a policy (spot.h) is asked.
 *
 * A job does that has a deadline and says how long its work takes (duration), may use spot
 * capacity, and is no service. Such a job has a row for it (struct spot_row). Where it may be
 * placed now is a column of that; everything that looks for a place obeys it (fit_ranks). The
 * policy is asked when the job is about to compete, when room may have come up, when it wrote a
 * checkpoint, and at the moment that the policy named. A job that has to move is told to stop with
 * END_MOVED and competes again.
 *
 * Time is counted from what is saved: what a sudden end would lose is work that is left. A
 * changeover is what a stop and a start cost (grace period, restart) and, on capacity that goes
 * without warning, the work since the last checkpoint (interval). A job on spot capacity leaves it
 * before it could not reach the deadline from what is saved any more. So where on-demand capacity
 * is there, a job that could meet its deadline on that alone meets it. */
#include "core/allot.h"
#include "core/attempt.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/queue.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/spot.h"
#include "core/state.h"
#include "core/table.h"

#include <assert.h>

enum {
    RESTART_MS_DEFAULT = 60 * 1000, /* where the job does not say */
    MARGIN_MS = 10 * 1000,          /* of what takes a moment in any engine */
    AGAIN_MS = 30 * 1000,           /* to ask again where capacity was there and is gone */
    LIFE_MS_MIN = 60 * 1000,        /* a node that was there for less was never there */
    GONE_MS_MAX = 3600 * 1000,      /* one that is lost for longer is gone for good */
    SEEN_MS_MIN = 3600 * 1000,      /* of nodes, before anything is said to be known */
};
#define SEEN_MS_MAX ((int64_t)28 * 24 * 3600 * 1000) /* of a node: beyond, half is forgotten */

/* ---- what is known of spot pools --------------------------------------------------------- */

void spot_pool_settle(struct core *core, struct live_pool *pool)
{
    struct pool_row *row = &pool->row;
    int64_t passed_ms = row->spot_at_ms ? most(core->now_ms - row->spot_at_ms, 0) : 0;
    if (!row->spot)
        return;
    for (size_t i = 0; i < pool->nodes.count; i++) {
        const struct node_row *node = &pool->nodes.items[i]->row;
        int64_t gone_ms = most(GONE_MS_MAX - (row->spot_at_ms - node->since_ms), 0);
        row->spot_up_ms += node->state == NODE_UP ? passed_ms : 0;
        row->spot_down_ms += node->state == NODE_UP ? 0 : least(passed_ms, gone_ms);
    }
    row->spot_at_ms = core->now_ms;
    if (row->spot_up_ms + row->spot_down_ms > SEEN_MS_MAX * (int64_t)(pool->nodes.count + 1)) {
        row->spot_up_ms /= 2;
        row->spot_down_ms /= 2;
        row->spot_losses /= 2;
    }
    change_put(core, &pool->item);
}

void spot_node_seen(struct core *core, struct live_node *node, bool lost)
{
    if (!node->pool->row.spot)
        return;
    spot_pool_settle(core, node->pool);
    node->pool->row.spot_losses += lost && core->now_ms - node->row.since_ms >= LIFE_MS_MIN;
}

/* Means over all spot pools that the job may use, and their prices for one rank. */
static void look_at_pools(const struct core *core, const struct live_job *job, struct spot_case *of)
{
    int64_t up_ms = 0, down_ms = 0, losses = 0;
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool) {
        const struct live_node *fits = NULL;
        for (size_t i = 0; i < pool->nodes.count && !fits; i++)
            fits =
                fit_matches(core, job->shape, pool->nodes.items[i]) ? pool->nodes.items[i] : NULL;
        if (!fits)
            continue;
        int64_t *price = pool->row.spot ? &of->spot_price : &of->demand_price;
        int64_t hour_micro = node_hour_micro(fits);
        *price = *price == 0 ? hour_micro : least(*price, hour_micro);
        up_ms += pool->row.spot ? pool->row.spot_up_ms : 0;
        down_ms += pool->row.spot ? pool->row.spot_down_ms : 0;
        losses += pool->row.spot ? pool->row.spot_losses : 0;
    }
    if (losses == 0 || up_ms + down_ms < SEEN_MS_MIN)
        return;
    of->up_ms = most(up_ms / losses, 1);
    of->down_ms = down_ms / losses;
}

/* ---- what is known of the job ------------------------------------------------------------ */

static bool on_spot(const struct live_attempt *attempt)
{
    return attempt->placements->node->pool->row.spot;
}

static void case_make(const struct core *core, const struct live_job *job, struct spot_case *ret)
{
    const struct spot_row *row = &job->links->spot->row;
    const struct live_attempt *attempt = job->attempt;
    int64_t restart_ms = row->restart_ms ? row->restart_ms : RESTART_MS_DEFAULT;
    int64_t work_ms = spot_left_ms(job);
    *ret = (struct spot_case){
        .at = !attempt           ? SPOT_NOWHERE
              : on_spot(attempt) ? SPOT_ON_SPOT
                                 : SPOT_ON_DEMAND,
        .left_ms = most(job->row.deadline_ms - core->now_ms, 0),
        .work_ms = work_ms,
        .total_ms = most(row->duration_ms, work_ms),
        .span_ms = most(job->row.deadline_ms - row->since_ms, 1),
        .change_ms = restart_ms + job->row.grace_ms + row->interval_ms + MARGIN_MS,
    };
    look_at_pools(core, job, ret);
}

const struct live_job *spot_probe(
    struct spot_probe *probe, const struct live_job *job, enum spot_place where)
{
    probe->job = *job;
    probe->links = *job->links;
    probe->spot = *job->links->spot;
    probe->spot.row.now = (int32_t)where;
    probe->links.spot = &probe->spot;
    probe->job.links = &probe->links;
    return &probe->job;
}

/* Whether it would find a place there now. */
static bool room_for(struct core *core, const struct live_job *job, enum spot_place where)
{
    struct spot_probe probe;
    struct plan plan = {0};
    bool found = plan_make(
        core, spot_probe(&probe, job, where), job->row.size_min, job->row.size_min, &plan);
    plan_finish(&plan);
    return found;
}

/* ---- asking ------------------------------------------------------------------------------ */

static void set_moment(struct core *core, struct live_job *job, int64_t wait_ms)
{
    struct live_spot *spot = job->links->spot;
    bool never = wait_ms >= TIME_MS_MAX - core->now_ms;
    spot->row.again_ms = never ? 0 : core->now_ms + most(wait_ms, 1);
    timer_set(core, job);
    change_put(core, &spot->item);
}

/* Where a job that waits may be placed; what it waits for comes, or the moment does. */
static void ask_waiting(struct core *core, struct live_job *job)
{
    struct spot_case now;
    case_make(core, job, &now);
    now.there = room_for(core, job, SPOT_ON_SPOT);
    struct spot_choice choice = core->spot_policy->choose(&now);
    if (choice.to == SPOT_ON_SPOT && now.there)
        choice.again_ms = AGAIN_MS;
    /* No room where it should go, and some where it could: any is better than none. */
    bool must = choice.to == SPOT_ON_DEMAND;
    if (must && now.there && !room_for(core, job, SPOT_ON_DEMAND))
        choice.to = SPOT_ON_SPOT;
    if (must)
        choice.again_ms = AGAIN_MS;
    enum spot_place where = choice.to == SPOT_ON_DEMAND ? SPOT_ON_DEMAND : SPOT_ON_SPOT;
    bool queued = job->lane != NULL;
    if (queued && job_spot(job) != (int32_t)where)
        queue_remove(core, job);
    job->links->spot->row.now = (int32_t)where;
    if (queued && !job->lane)
        queue_add(core, job);
    set_moment(core, job, choice.again_ms);
}

static void move(struct core *core, struct live_job *job, enum spot_place where)
{
    job->links->spot->row.now = (int32_t)where;
    change_put(core, &job->links->spot->item);
    attempt_stop(core, job->attempt, END_MOVED, NULL);
}

/* To the last moment at which it can leave and be in time from what is saved. */
static void ask_on_spot(struct core *core, struct live_job *job)
{
    struct spot_case now;
    case_make(core, job, &now);
    int64_t spare_ms = now.left_ms - now.work_ms - now.change_ms;
    if (spare_ms <= 0 && room_for(core, job, SPOT_ON_DEMAND)) {
        move(core, job, SPOT_ON_DEMAND);
        return;
    }
    set_moment(core, job, spare_ms > 0 ? spare_ms : AGAIN_MS);
}

/* Whether stopping it now loses next to nothing. */
static bool stops_well(const struct core *core, const struct live_job *job)
{
    return job->row.saves_on_stop ||
           core->now_ms - most(job->attempt->row.checkpoint_ms, job->attempt->row.started_ms) <=
               MARGIN_MS;
}

static void ask_on_demand(struct core *core, struct live_job *job)
{
    struct spot_case now;
    case_make(core, job, &now);
    bool well = stops_well(core, job);
    now.there = well && core->spot_moving == 0 && room_for(core, job, SPOT_ON_SPOT);
    struct spot_choice choice = core->spot_policy->choose(&now);
    if (choice.to != SPOT_ON_DEMAND && well) {
        core->spot_moving += choice.to == SPOT_ON_SPOT;
        move(core, job, SPOT_ON_SPOT);
        return;
    }
    set_moment(core, job, most(choice.again_ms, AGAIN_MS));
}

/* What it said may mean that it has to leave sooner, or can stay for longer. */
void spot_progress(struct core *core, struct live_job *job)
{
    if (!spot_governs(core, job) || job->row.state != JOB_RUNNING)
        return;
    job->links->spot->row.again_ms = core->now_ms;
    timer_set(core, job);
    change_put(core, &job->links->spot->item);
}

bool spot_governs(const struct core *core, const struct live_job *job)
{
    return job->links->spot && !allot_governs(core, job);
}

void spot_ask(struct core *core, struct live_job *job)
{
    assert(spot_governs(core, job));
    if (job->row.state == JOB_QUEUED && !job->links->claims)
        ask_waiting(core, job);
    else if (job->row.state == JOB_RUNNING && on_spot(job->attempt))
        ask_on_spot(core, job);
    else if (job->row.state == JOB_RUNNING)
        ask_on_demand(core, job);
    else
        set_moment(core, job, INT64_MAX);
}

void spot_seen(struct core *core)
{
    core->spot_version = core->free_version;
}

void spot_run(struct core *core)
{
    if (core->spot_jobs.count == 0 || core->spot_version == core->free_version)
        return;
    core->spot_moving = 0;
    for (size_t i = 0; i < core->spot_jobs.count; i++) {
        const struct live_job *job = core->spot_jobs.items[i];
        core->spot_moving += job_spot(job) == SPOT_ON_SPOT && job->row.state == JOB_STOPPING;
    }
    for (size_t i = 0; i < core->spot_jobs.count; i++) {
        struct live_job *job = core->spot_jobs.items[i];
        if (spot_governs(core, job) && !job->links->claims &&
            (job->row.state == JOB_QUEUED || job->row.state == JOB_RUNNING))
            spot_ask(core, job);
    }
}

/* ---- the life of a job ------------------------------------------------------------------- */

void spot_begin(struct core *core, struct live_job *job, const struct job *from)
{
    const struct job_row *row = &job->row;
    bool moves = row->deadline_ms && from->duration_ms && !row->service &&
                 job->shape->row.spot == SPOT_ALLOWED;
    bool spot = false, other = false;
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool) {
        for (size_t i = 0; moves && i < pool->nodes.count; i++) {
            if (!fit_matches(core, job->shape, pool->nodes.items[i]))
                continue;
            *(pool->row.spot ? &spot : &other) = true;
            break;
        }
    }
    if (!moves || !spot || !other)
        return;
    struct live_spot *one = mem_alloc(1, sizeof *one);
    one->row = (struct spot_row){
        .job = row->id,
        .duration_ms = from->duration_ms,
        .interval_ms = from->checkpoint.interval_ms,
        .restart_ms = from->checkpoint.restart_ms,
        .since_ms = most(core->now_ms, row->not_before_ms),
    };
    change_new(core, ROW_SPOT, &one->item);
    spot_link(core, one, job);
}

void spot_link(struct core *core, struct live_spot *spot, struct live_job *job)
{
    assert(!job->links->spot);
    spot->job = job;
    job_link(core, job)->spot = spot;
    vec_push(&core->spot_jobs, job);
}

void spot_forget(struct core *core, struct live_job *job)
{
    struct live_spot *spot = job->links->spot;
    size_t at = 0;
    if (!spot)
        return;
    while (core->spot_jobs.items[at] != job)
        at++;
    vec_remove(&core->spot_jobs, at);
    job_link(core, job)->spot = NULL;
    change_delete(core, &spot->item);
}

void spot_ended(struct core *core, struct live_attempt *attempt, enum end_reason reason)
{
    struct live_spot *spot = attempt->job->links->spot;
    if (!spot)
        return;
    struct spot_row *row = &spot->row;
    int64_t until_ms = attempt->row.checkpoint_ms;
    if (attempt->job->row.saves_on_stop && attempt->row.stop_reason != END_NONE &&
        reason != END_NODE_LOST && reason != END_LOST)
        until_ms = most(until_ms, attempt->row.stop_ms);
    row->saved_ms = least(row->saved_ms + spot_kept_ms(attempt, until_ms), row->duration_ms);
    row->again_ms = 0;
    spot_left_settle(core, attempt, until_ms);
    change_put(core, &spot->item);
}
