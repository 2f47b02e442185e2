/* Rounds of an allotment policy: when they are, what the policy is asked, and what becomes of its
 * answer. See allot.h.
 *
 * A round first stops what has another target. Then places are looked for as they will be when
 * everything that is stopping has left: a queued job with a target claims its place at once, so
 * that the outcome is independent of the order in which engines confirm, and a job that is being
 * resized gets its place when it has ended (allot_place). What finds no place waits for the next
 * round.
 *
 * Why there is no loop: a round happens once for its moment, whatever is reported in between, and
 * between rounds nothing is stopped here. A round that changed nothing while
 * nobody has a place leaves no trace: the next is held when something else happens. */
#include "core/allot.h"
#include "core/attempt.h"
#include "core/broker.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/preempt.h"
#include "core/resource.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/team.h"

#include <assert.h>

enum { RESTART_MS_DEFAULT = 30000 };

bool allot_governs(const struct core *core, const struct live_job *job)
{
    int64_t milli = job->shape->row.accelerator_milli;
    return core->allotment->round_ms > 0 && !job->row.service && milli > 0 &&
           milli % DEVICE_MILLI == 0;
}

void allot_served(struct core *core, const struct live_attempt *attempt)
{
    struct live_allotment *allotment = attempt->job->links->allotment;
    if (!allotment)
        return;
    int64_t held_ms = core->now_ms - attempt->row.admitted_ms;
    int64_t devices = attempt->job->shape->row.accelerator_milli / DEVICE_MILLI;
    allotment->row.served_ms += held_ms;
    allotment->row.served_device_ms += held_ms * devices * attempt->row.size;
    change_put(core, &allotment->item);
}

/* ---- when ---------------------------------------------------------------------------------- */

/* The first moment of a round at or after `from`. */
static int64_t round_from(const struct core *core, int64_t from_ms)
{
    int64_t round_ms = core->options.round_ms;
    int64_t since_ms = from_ms - core->options.round_anchor_ms;
    int64_t past_ms = since_ms % round_ms;
    if (past_ms < 0)
        past_ms += round_ms;
    return past_ms == 0 ? from_ms : from_ms - past_ms + round_ms;
}

int64_t allot_next_ms(const struct core *core)
{
    if (core->allotment->round_ms == 0 || core->governed == 0 || core->round_quiet)
        return MOMENT_NEVER;
    return core->round ? core->round->row.last : core->now_ms;
}

static void round_set(struct core *core, int64_t at_ms)
{
    counter_mark(core, &core->round, "round", at_ms);
}

void allot_join(struct core *core, const struct live_job *job)
{
    if (!allot_governs(core, job))
        return;
    core->governed++;
    core->round_quiet = false;
    if (!core->round || core->round->row.last < core->now_ms)
        round_set(core, round_from(core, core->now_ms));
}

/* ---- what the policy sees ------------------------------------------------------------------ */

static bool attempt_governed(const struct core *core, const struct live_attempt *attempt)
{
    return attempt->row.stop_reason == END_NONE && allot_governs(core, attempt->job);
}

/* Devices of the node that governed jobs have or may get. */
static int64_t node_devices(const struct core *core, const struct live_node *node)
{
    uint64_t others = 0, own = 0;
    for (size_t i = 0; i < node->placements.count; i++) {
        const struct live_placement *one = node->placements.items[i];
        if (!allot_governs(core, one->attempt->job) || burst_away(one->attempt->job))
            others |= one->row.devices;
        else if (attempt_governed(core, one->attempt))
            own |= one->row.devices;
    }
    for (size_t i = 0; i < node->claims.count; i++)
        others |= node->claims.items[i]->row.devices;
    if (!node_takes_work(node))
        return __builtin_popcountll(own);
    return most(node->row.devices - __builtin_popcountll(others), 0);
}

static void count_devices(struct allot_round *round)
{
    TABLE_EACH (round->core, ROW_NODE, struct live_node, node) {
        if (node->pool->row.burst_budget_micro)
            continue; /* no round gives them out */
        round->devices += node_devices(round->core, node);
        round->node_devices = most(round->node_devices, node->row.devices);
    }
    round->node_devices = most(round->node_devices, 1);
}

/* Whether the attempt may not be stopped now, for another size or for others. */
static bool attempt_fixed(const struct core *core, const struct live_attempt *attempt)
{
    const struct attempt_row *row = &attempt->row;
    int64_t since_ms = row->started_ms ? row->started_ms : row->admitted_ms;
    return job_firm(attempt->job) || since_ms + attempt->job->row.min_runtime_ms > core->now_ms;
}

static const struct allot_speed *copy_speeds(const struct live_allotment *allotment)
{
    struct allot_speed *speeds = mem_alloc(allotment->speed_count + 1, sizeof *speeds);
    size_t count = 0;
    for (const struct live_speed *one = allotment->speeds; one; one = one->next)
        speeds[count++] = (struct allot_speed){one->row.ranks, one->row.nodes, one->row.rate_milli};
    assert(count == allotment->speed_count);
    return speeds;
}

static void job_describe(const struct core *core, const struct live_job *job, struct allot_job *ret)
{
    const struct allotment_row *known = &job->links->allotment->row;
    const struct live_attempt *attempt = job->attempt;
    *ret = (struct allot_job){
        .row = &job->row,
        .live = job,
        .size_min = job->row.size_min,
        .size_max = job->row.size_max,
        .devices = (int32_t)(job->shape->row.accelerator_milli / DEVICE_MILLI),
        .served_ms = known->served_ms,
        .served_device_ms = known->served_device_ms,
        .remaining = known->remaining,
        .restart_ms = known->restart_ms ? known->restart_ms : RESTART_MS_DEFAULT,
        .speeds = copy_speeds(job->links->allotment),
        .speed_count = job->links->allotment->speed_count,
        .level = known->level,
        .level_ms = known->level_ms,
        .note = known->note,
        .target = known->target,
    };
    if (!attempt)
        return;
    int64_t held_ms = core->now_ms - attempt->row.admitted_ms;
    ret->served_ms += held_ms;
    ret->served_device_ms += held_ms * ret->devices * attempt->row.size;
    if (attempt->row.stop_reason != END_NONE)
        return;
    ret->size = attempt->row.size;
    ret->fixed = attempt_fixed(core, attempt);
}

/* Whether a round decides about it: it competes, or has a place. */
static bool job_takes_part(const struct core *core, const struct live_job *job)
{
    if (!allot_governs(core, job) || job->row.cancel || burst_away(job))
        return false;
    return job->attempt || (job->row.state == JOB_QUEUED && !job->links->claims);
}

/* Elements of an array beyond what it may have active do not ask. Ids of elements follow each
 * other, so that it is enough to know how many of the last array were let in. */
struct array_door {
    const struct live_array *array;
    int32_t let_in;
};

static bool array_lets(struct array_door *door, const struct live_job *job)
{
    if (job->attempt || !job->array || job->array->parallel == 0)
        return true;
    if (door->array != job->array)
        *door = (struct array_door){.array = job->array};
    return job->array->active + door->let_in++ < job->array->parallel;
}

/* Whether any node takes a rank of it, and one pool its smallest gang; asked once for jobs of one
 * kind that follow each other. */
struct shape_door {
    const struct live_shape *shape;
    int32_t size_min;
    bool open;
};

static bool shape_lets(const struct core *core, struct shape_door *door, const struct live_job *job)
{
    if (door->shape != job->shape || door->size_min != job->row.size_min)
        *door = (struct shape_door){.shape = job->shape,
            .size_min = job->row.size_min,
            .open = fit_possible_here(core, job->shape, job->row.size_min)};
    return job->attempt || door->open;
}

/* Whether its smallest gang is within what its teams may have at all: a policy that shared with one
 * that is not would shrink others for nothing. */
static bool limits_let(const struct live_job *job)
{
    struct amounts amounts;
    if (job->attempt)
        return true;
    amounts_possible(job->shape, job->row.size_min, &amounts);
    return quota_possible(job->team, &amounts);
}

static void round_open(struct core *core, struct allot_round *round)
{
    *round = (struct allot_round){
        .core = core,
        .now_ms = core->now_ms,
        .round_ms = core->options.round_ms,
        .jobs = mem_alloc((size_t)core->governed + 1, sizeof *round->jobs),
    };
    struct array_door arrays = {0};
    struct shape_door shapes = {0};
    TABLE_EACH (core, ROW_JOB, struct live_job, job) {
        if (!job_takes_part(core, job) || !array_lets(&arrays, job) ||
            !shape_lets(core, &shapes, job) || !limits_let(job))
            continue;
        assert(round->count < (size_t)core->governed);
        allotment_of(core, job);
        struct allot_job *one = mem_alloc(1, sizeof *one);
        job_describe(core, job, one);
        round->jobs[round->count++] = one;
    }
    count_devices(round);
}

static void round_close(struct allot_round *round)
{
    for (size_t i = 0; i < round->count; i++) {
        free((void *)round->jobs[i]->speeds);
        free(round->jobs[i]);
    }
    free(round->jobs);
}

/* ---- what becomes of its answer ------------------------------------------------------------ */

static bool remember(struct core *core, const struct allot_job *one, int32_t turn)
{
    struct live_allotment *allotment = one->live->links->allotment;
    struct allotment_row *row = &allotment->row;
    bool placed = one->size == one->target;
    turn = placed ? 0 : turn;
    if (row->target == one->target && row->turn == turn && row->level == one->level &&
        row->level_ms == one->level_ms && row->note == one->note)
        return false;
    row->target = one->target;
    row->turn = turn;
    row->level = one->level;
    row->level_ms = one->level_ms;
    row->note = one->note;
    change_put(core, &allotment->item);
    return true;
}

/* Whether anything is different. */
static bool stop_changed(struct core *core, const struct allot_round *round)
{
    bool changed = false;
    for (size_t i = 0; i < round->count; i++) {
        const struct allot_job *one = round->jobs[i];
        changed |= remember(core, one, (int32_t)i);
        if (one->size == 0 || one->size == one->target)
            continue;
        attempt_stop(core, one->live->attempt, one->target ? END_RESIZED : END_PREEMPTED, NULL);
        changed = true;
    }
    return changed;
}

/* Claims a place, as the one of an attempt would be, if limits leave room for it besides what those
 * who are stopping still hold. */
static bool claim_place(struct core *core, struct live_job *job, const struct plan *plan)
{
    struct amounts amounts;
    plan_amounts(plan, job, &amounts);
    if (array_full(job) || !quota_allows(job->team, &amounts))
        return false;
    claims_make(core, job, plan);
    return true;
}

/* At once for who waits; who is being resized gets his place when he has left the old one. */
static bool claim_places(struct core *core, const struct allot_trial *trial)
{
    bool claimed = false;
    for (size_t i = 0; i < trial->round->count; i++) {
        struct live_job *job = (struct live_job *)trial->round->jobs[i]->live;
        if (trial->plans[i].size && !job->attempt)
            claimed |= claim_place(core, job, &trial->plans[i]);
    }
    return claimed;
}

/* While somebody has a place, time alone may change what a policy decides. */
static bool anybody_runs(const struct allot_round *round)
{
    for (size_t i = 0; i < round->count; i++) {
        if (round->jobs[i]->live->attempt || round->jobs[i]->live->links->claims)
            return true;
    }
    return false;
}

void allot_run(struct core *core)
{
    if (core->allotment->round_ms == 0 || core->governed == 0)
        return;
    if (core->round && core->round->row.last > core->now_ms)
        return;
    struct allot_round round;
    round_open(core, &round);
    core->allotment->decide(&round);
    allot_settle(core, &round);
    struct allot_trial trial;
    allot_try(&trial, core, &round);
    bool changed = stop_changed(core, &round);
    changed |= claim_places(core, &trial);
    allot_trial_finish(&trial);
    core->round_quiet = !changed && !anybody_runs(&round);
    round_close(&round);
    if (!core->round_quiet)
        round_set(core, round_from(core, core->now_ms + 1));
    core->pass_wanted |= changed;
}

/* ---- between rounds ------------------------------------------------------------------------ */

static int by_turn(const void *a, const void *b, const void *context)
{
    (void)context;
    const struct live_allotment *left = a, *right = b;
    int order = compare_i64(left->row.turn, right->row.turn);
    return order ? order : compare_u64(left->job->row.id, right->job->row.id);
}

static bool waits_for_place(const struct core *core, const struct live_allotment *allotment)
{
    const struct live_job *job = allotment->job;
    return allotment->row.target > 0 && job->row.state == JOB_QUEUED && !job->links->claims &&
           allot_governs(core, job);
}

/* Whether something is on its way out that would leave room. */
static bool anybody_stopping(const struct core *core)
{
    TABLE_EACH (core, ROW_ATTEMPT, struct live_attempt, attempt) {
        if (attempt->row.stop_reason != END_NONE)
            return true;
    }
    return false;
}

/* With the target's ranks; when nothing more comes free, with as many as there is room for. */
static void place_one(struct core *core, struct live_job *job, bool last)
{
    int32_t target = (int32_t)least(job->links->allotment->row.target, job->row.size_max);
    target = (int32_t)most(target, job->row.size_min);
    int32_t ranks = quota_ranks(core, job, target);
    struct plan plan = {0};
    struct amounts amounts;
    if (array_full(job) || ranks < (last ? job->row.size_min : target))
        return;
    if (!allot_plan(core, job, last ? job->row.size_min : target, ranks, &plan))
        return;
    plan_amounts(&plan, job, &amounts);
    bool allowed = quota_allows(job->team, &amounts) &&
                   (!job_firm(job) || quota_firm_allows(core, job->team, &amounts));
    if (allowed)
        attempt_admit(core, job, &plan);
    plan_finish(&plan);
}

/* What the rounds leave waiting for too long may go to a pool with a burst policy, whole and with
 * its least size; what is there is no round's. */
static void burst_places(struct core *core)
{
    int32_t seeks = 0, ranks;
    if (!core->burst_pools)
        return;
    TABLE_EACH (core, ROW_JOB, struct live_job, job) {
        if (job->row.state == JOB_QUEUED && !job->links->claims && allot_governs(core, job) &&
            !array_full(job) && quota_permits(core, job, &ranks))
            (void)burst_seek(core, job, &seeks);
    }
}

void allot_place(struct core *core)
{
    if (core->allotment->round_ms == 0)
        return;
    VEC(struct live_allotment *) waiting = {0};
    TABLE_EACH (core, ROW_ALLOTMENT, struct live_allotment, allotment) {
        if (waits_for_place(core, allotment))
            vec_push(&waiting, allotment);
    }
    bool last = waiting.count > 0 && !anybody_stopping(core);
    sort_pointers((void **)waiting.items, waiting.count, by_turn, NULL);
    for (size_t i = 0; i < waiting.count; i++)
        place_one(core, waiting.items[i]->job, last);
    vec_free(&waiting);
    burst_places(core);
}
