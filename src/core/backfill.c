/* Promises: the first job of the queue that finds no room gets a place and a moment, and others
 * start only where that takes nothing away from it.
 *
 * Invariants:
 * - Only a job in a lane has a promise, for its smallest gang, in one pool; a pool promises to one
 *   job at a time. Promises are rows: they are the same after a restart.
 * - The moment never gets later while the promise lasts. It lasts until the job starts, is held or
 *   ends, until its team may not start it any more, until a node of it goes or gets maintenance, or
 *   until a job that goes before it takes it over, or room that it needs: one within a guarantee
 *   when it is in none, or else one of higher base priority. Fair share and ageing order who gets a
 *   promise, and take none away, so there is no to and fro.
 * - What starts after the promise and has to respect it ends by the moment, grace included, or
 *   holds only what is neither promised nor needed to free what is. So the moment comes as it was
 *   said, plus what engines need to start and to stop attempts.
 * - What is claimed after it counts as held beyond every moment, since nobody knows when victims
 *   will have left; until then they count beside it, with their grace.
 *
 * The bound on waiting follows: a job that is first and within its limits starts at the latest
 * reserve_after plus the latest end of those that ran when it got its promise.
 *
 * Attempts without a time limit have no end to go by. A promise that needs their places is open:
 * its moment is the last one that is known, nothing new stays beyond that, and when they have
 * ended, whenever that is, the job starts. */
#include "core/backfill.h"
#include "core/attempt.h"
#include "core/broker.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/packing.h"
#include "core/preempt.h"
#include "core/queue.h"
#include "core/resource.h"
#include "core/score.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/team.h"

#include <assert.h>

enum {
    SEEKS_PER_PASS = 16, /* jobs that a pass looks for promises for */
    /* A promise is looked at again, for an earlier moment, after a share of the time that is left
     * until it, and so often at most. */
    LOOK_SHARE = 8,
    LOOK_MS = 30000,
};

/* ---- making and taking back -------------------------------------------------------------- */

bool promise_link(struct core *core, struct live_promise *promise)
{
    struct live_job *job = promise->job;
    struct live_node *node = promise->node;
    struct live_pool *pool = node->pool;
    if ((node->promises && node->promises->job != job) || (pool->promised && pool->promised != job))
        return false;
    if (job->links->promises && job->links->promises->node->pool != pool)
        return false;
    if (!job->links->promises)
        vec_push(&core->promised, job);
    pool->promised = job;
    LIST_APPEND(job_link(core, job)->promises, promise, next);
    LIST_APPEND(node->promises, promise, next_on_node);
    journal_note(node);
    return true;
}

static void promise_add(
    struct core *core, struct live_job *job, const struct promise_row *row, struct live_node *node)
{
    struct live_promise *promise = mem_alloc(1, sizeof *promise);
    promise->row = *row;
    promise->row.job = job->row.id;
    promise->row.node = node->row.id;
    promise->job = job;
    promise->node = node;
    change_new(core, ROW_PROMISE, &promise->item);
    bool linked = promise_link(core, promise);
    assert(linked);
    (void)linked;
}

static void promise_decide(struct core *core, const struct live_job *job)
{
    const struct live_promise *first = job->links->promises;
    decide(core, (struct core_decision){.kind = DECISION_PROMISE,
                     .job = job->row.id,
                     .team = job->row.team,
                     .for_job = job->row.id,
                     .node = first->row.node,
                     .pool = first->node->row.pool,
                     .begin_ms = first->row.begin_ms});
}

static int64_t next_look_ms(const struct core *core, int64_t begin_ms)
{
    int64_t far_ms = begin_ms > core->now_ms ? begin_ms - core->now_ms : core->now_ms - begin_ms;
    return core->now_ms + most(far_ms / LOOK_SHARE, LOOK_MS);
}

static void promise_make(
    struct core *core, struct live_job *job, const struct projection *projection)
{
    assert(job->lane && !job->links->promises && projection->plan.size == job->row.size_min);
    const struct live_counter *newest = core->counters[ROW_ATTEMPT];
    struct promise_row row = {
        .begin_ms = projection->begin_ms,
        .open = projection->open,
        .last_attempt = newest ? (uint64_t)newest->row.last : 0,
        .look_ms = next_look_ms(core, projection->begin_ms),
    };
    for (size_t i = 0; i < projection->plan.parts.count; i++) {
        const struct plan_part *part = &projection->plan.parts.items[i];
        row.devices = part->devices;
        row.device_milli = part->device_milli;
        row.ranks = part->ranks;
        promise_add(core, job, &row, part->node);
        row.look_ms = 0;
    }
    promise_decide(core, job);
}

/* Whether the job has just got the very place that was promised to it: nothing is left over. */
static bool promise_used(const struct live_job *job)
{
    if (!job->attempt)
        return false;
    const struct live_placement *got = job->attempt->placements;
    const struct live_promise *one = job->links->promises;
    for (; got && one; got = got->next, one = one->next) {
        if (got->node != one->node || got->row.devices != one->row.devices ||
            got->row.ranks != one->row.ranks)
            return false;
    }
    return !got && !one;
}

void promise_release(struct core *core, struct live_job *job)
{
    assert(job->links->promises);
    bool used = promise_used(job);
    job->links->promises->node->pool->promised = NULL;
    for (struct live_promise *one = job->links->promises, *next; one; one = next) {
        next = one->next;
        one->node->promises = NULL;
        journal_note(one->node);
        change_delete(core, &one->item);
    }
    job_link(core, job)->promises = NULL;
    size_t at = 0;
    while (core->promised.items[at] != job)
        at++;
    vec_remove(&core->promised, at);
    core->pass_wanted = true;
    core->stir_version++;
    if (used)
        return;
    core->free_version++;
    core->promises_released = true;
}

void promises_touch(struct core *core)
{
    for (size_t i = 0; i < core->promised.count; i++) {
        struct live_promise *first = core->promised.items[i]->links->promises;
        if (first->row.stale)
            continue;
        first->row.stale = 1;
        change_put(core, &first->item);
    }
}

void promise_release_node(struct core *core, struct live_node *node)
{
    if (node->promises)
        promise_release(core, node->promises->job);
}

/* A job of the same lane that has waited longer came back to it: what was promised is its. */
static void promise_move(struct core *core, struct live_job *from, struct live_job *to)
{
    VEC(struct live_promise) parts = {0};
    for (const struct live_promise *one = from->links->promises; one; one = one->next)
        vec_push(&parts, *one);
    promise_release(core, from);
    for (size_t i = 0; i < parts.count; i++) {
        struct promise_row row = parts.items[i].row;
        row.id = 0;
        promise_add(core, to, &row, parts.items[i].node);
    }
    vec_free(&parts);
    promise_decide(core, to);
}

/* ---- looking for a place ----------------------------------------------------------------- */

/* Whether the pool may promise something to the job. */
static bool pool_open(const struct live_pool *pool, const struct live_job *job)
{
    return !pool->promised || (pool->promised != job && promise_goes_before(job, pool->promised));
}

static bool any_pool_open(const struct core *core, const struct live_job *job)
{
    if (core->promised.count < core->tables[ROW_POOL].live)
        return true;
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool) {
        if (pool_open(pool, job))
            return true;
    }
    return false;
}

static bool quota_lets(const struct live_job *job, const struct plan *plan)
{
    struct amounts amounts;
    plan_amounts(plan, job, &amounts);
    return quota_allows(job->team, &amounts);
}

/* The earliest place in `pool` (NULL: in those that may promise it something). */
static bool project_best(
    struct core *core, struct live_job *job, const struct live_pool *pool, struct projection *best)
{
    bool found = false;
    struct live_shape *shape = job->shape;
    shape_candidates(core, shape);
    size_t count = shape->candidates.count;
    for (size_t begin = 0, end; begin < count; begin = end) {
        struct live_node *const *nodes = shape->candidates.items;
        struct projection other;
        end = plan_pool_end(core, shape, nodes, begin, count);
        bool asked = pool ? nodes[begin]->pool == pool : pool_open(nodes[begin]->pool, job);
        if (!asked || !project(core, job, nodes + begin, end - begin, &other))
            continue;
        bool better =
            quota_lets(job, &other.plan) &&
            (!found || projection_before(other.open, other.begin_ms, best->open, best->begin_ms));
        struct projection worse = better ? *best : other;
        if (found || !better)
            plan_finish(&worse.plan);
        if (better)
            *best = other;
        found |= better;
    }
    return found;
}

/* Where a job goes that has to be near others is for them to say, and a job that weighs spot
 * capacity against its deadline changes its mind about what it waits for. */
static bool may_be_promised(const struct live_job *job)
{
    return !job->shape->near && !job_spot(job);
}

int64_t promise_due_ms(const struct core *core, const struct live_job *job)
{
    int64_t after_ms = core->options.reserve_after_ms;
    if (after_ms < 0 || job->links->promises || !may_be_promised(job) || !any_pool_open(core, job))
        return MOMENT_NEVER;
    return job->row.queued_ms + after_ms;
}

void promise_seek(struct core *core, struct live_job *job, int32_t *seeks)
{
    int64_t due_ms = *seeks < SEEKS_PER_PASS ? promise_due_ms(core, job) : MOMENT_NEVER;
    if (due_ms > core->now_ms) {
        core->wake_ms = least(core->wake_ms, due_ms);
        return;
    }
    ++*seeks;
    struct projection best;
    if (!project_best(core, job, NULL, &best))
        return;
    struct live_pool *pool = best.plan.parts.items[0].node->pool;
    if (pool->promised)
        promise_release(core, pool->promised);
    promise_make(core, job, &best);
    plan_finish(&best.plan);
}

/* ---- before a pass ----------------------------------------------------------------------- */

/* Whether everything but a place allows the job to start. */
static bool promise_wanted(const struct core *core, const struct live_job *job)
{
    int32_t ranks;
    return core->options.reserve_after_ms >= 0 && may_be_promised(job) && !array_full(job) &&
           quota_permits(core, job, &ranks);
}

static void promise_improve(struct core *core, struct live_job *job)
{
    struct projection sooner;
    struct promise_row row = job->links->promises->row;
    if (!project_best(core, job, job->links->promises->node->pool, &sooner))
        return;
    if (projection_before(sooner.open, sooner.begin_ms, row.open, row.begin_ms)) {
        promise_release(core, job);
        promise_make(core, job, &sooner);
    }
    plan_finish(&sooner.plan);
}

static void promise_look(struct core *core, struct live_job *job)
{
    struct live_promise *first = job->links->promises;
    first->row.stale = 0;
    first->row.look_ms = next_look_ms(core, first->row.begin_ms);
    change_put(core, &first->item);
    promise_improve(core, job);
}

/* Whether it is to be looked at again now. */
static bool look_due(const struct core *core, const struct live_job *job)
{
    return job->links->promises->row.stale && job->links->promises->row.look_ms <= core->now_ms;
}

static void promise_settle(struct core *core, struct live_job *job, bool changed, bool look)
{
    struct live_job *first = job->lane->first;
    if (first != job && !first->links->promises) {
        promise_move(core, job, first);
        job = first;
    }
    if (!promise_wanted(core, job) || (changed && !promise_keeps(core, job)))
        promise_release(core, job);
    else if (look && look_due(core, job))
        promise_look(core, job);
}

bool promises_settle(struct core *core, bool look)
{
    enum { JOBS_FEW = 16 };
    struct live_job *few[JOBS_FEW], **jobs = few;
    SCOPED(mem_scope) struct live_job **many = NULL;
    size_t count = core->promised.count;
    if (count > JOBS_FEW)
        jobs = many = mem_alloc(count, sizeof *jobs);
    bool changed = core->scores.promised;
    core->scores.promised = false;
    for (size_t i = 0; i < count; i++)
        jobs[i] = core->promised.items[i];
    for (size_t i = 0; i < count; i++) {
        if (jobs[i]->links->promises)
            promise_settle(core, jobs[i], changed, look);
    }
    bool again = core->promises_released;
    core->promises_released = false;
    for (size_t i = 0; i < core->promised.count; i++) {
        const struct live_job *job = core->promised.items[i];
        again |= look_due(core, job);
        if (job->links->promises->row.stale)
            core->wake_ms = least(core->wake_ms, job->links->promises->row.look_ms);
    }
    return again;
}

struct live_node *promise_best(
    struct core *core, const struct live_job *job, const struct live_node *before)
{
    struct live_node *best = NULL;
    int64_t best_score = 0;
    for (size_t i = 0; i < core->promised.count; i++) {
        const struct live_promise *one = core->promised.items[i]->links->promises;
        for (; one; one = one->next) {
            struct live_node *node = one->node;
            if ((before && (node->pool == before->pool ||
                               broker_before(core, job, before->pool, node->pool))) ||
                (best && broker_before(core, job, best->pool, node->pool)) ||
                !node_takes_work(node) || !fit_matches(core, job->shape, node) ||
                fit_ranks(core, job, node, 1) == 0)
                continue;
            int64_t score = packing_score(core, job, node, 1);
            bool better = !best || node->pool != best->pool || score < best_score ||
                          (score == best_score && node->row.id < best->row.id);
            best = better ? node : best;
            best_score = better ? score : best_score;
        }
    }
    return best;
}

/* ---- checking ---------------------------------------------------------------------------- */

static const char *promise_fault(const struct live_job *job)
{
    const struct promise_row *row = &job->links->promises->row;
    int64_t ranks = 0;
    if (!job->lane)
        return "it has a promise and does not compete";
    for (const struct live_promise *one = job->links->promises; one; one = one->next) {
        const struct live_promise *there = one->node->promises;
        ranks += one->row.ranks;
        while (there && there != one)
            there = there->next_on_node;
        if (one->job != job || !there || one->node->promises->job != job ||
            one->node->pool->promised != job)
            return "what is promised to it is promised to another";
        if (one->row.begin_ms != row->begin_ms || one->row.open != row->open ||
            one->row.last_attempt != row->last_attempt)
            return "its promise has two moments";
    }
    return ranks == job->row.size_min ? NULL : "its promise is not for a whole gang";
}

const char *promises_fault(const struct core *core, uint64_t *ret_job)
{
    size_t holders = 0;
    TABLE_EACH (core, ROW_JOB, struct live_job, job) {
        if (!job->links->promises)
            continue;
        holders++;
        *ret_job = job->row.id;
        const char *fault = promise_fault(job);
        if (!fault && !promise_check(core, job))
            fault = "a node that was found to keep its promise does not";
        if (fault)
            return fault;
    }
    *ret_job = 0;
    return holders == core->promised.count ? NULL : "promises are counted wrong";
}
