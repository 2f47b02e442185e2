/* Deadlines: as many jobs as possible end in time, and a promise is kept.
 *
 * Admission and shares are those of ElasticFlow (Gu et al., ASPLOS 2023): a job's minimum
 * satisfactory share is the least gang with which it ends in time beside all that was promised
 * before; what is free after that goes where another accelerator speeds a job up most. What
 * differs:
 *
 * - A job whose deadline can not be promised is not dropped. It runs on what is left over, and is
 *   looked at anew in every round: others end sooner than their plan says, and it may still be
 *   promised.
 * - Of those that wait for a promise the one that needs the least device-time comes first: more of
 *   them fit.
 * - A restart costs time. It is part of a plan, and a running job grows only if it ends sooner by
 *   more than the restart again, and keeps what it has while nobody else needs it.
 *
 * ElasticFlow itself, as published, is there to compare with: who is refused gets what nobody else
 * has a use for, instead of nothing at all, because a job is never dropped here.
 *
 * A promise is a bit of the job's memory (level 1). A promised job is put into the plan before any
 * that is not, so nobody who comes later takes its share; only nodes that are lost, or a job that
 * is slower than it said, can break one, and then it gets all it can. Deadlines are goals here:
 * a late job goes on (late_goes_on in the policy's entry). Jobs without a deadline have what is
 * left over, by priority and age. */
#include "core/allot_plan.h"
#include "core/allot_policies.h"
#include "core/queue.h"
#include "core/sort.h"

#include <assert.h>
#include <stdlib.h>

/* A round's bounds: candidates for which all promises are planned anew; promised jobs that choose
 * before their turn. */
enum { TRIALS_MAX = 64, PRESSED_MAX = 8 };

enum { LEVEL_NEW, LEVEL_PROMISED, LEVEL_TRIED };

/* What ours and ElasticFlow's differ in. */
struct habits {
    bool again;    /* who was refused is looked at again.. */
    bool smallest; /* ..and the one that needs least comes first, not the oldest */
    bool restarts; /* a restart's cost counts, and what runs keeps what it has */
};

struct deadline {
    const struct allot_round *round;
    const struct habits *habits;
    struct plan_job *all;
    struct plan_job **order; /* promised, by deadline; then the rest */
    size_t promised, count;
    struct plan plan, trial;
};

static int by_deadline(const void *a, const void *b, const void *context)
{
    const struct habits *habits = context;
    const struct plan_job *left = a, *right = b;
    int order = compare_i64(!left->promised, !right->promised);
    if (!order && left->promised)
        order = compare_i64(left->job->row->deadline_ms, right->job->row->deadline_ms);
    else if (!order && habits->smallest)
        order = compare_i64(left->spread_ms, right->spread_ms);
    return order ? order : compare_u64(left->job->row->id, right->job->row->id);
}

/* Whose turn it is to use what is left over. */
static int by_claim(const void *a, const void *b, const void *context)
{
    (void)context;
    const struct plan_job *left = a, *right = b;
    int order = compare_i64(!left->feasible, !right->feasible);
    if (!order && left->feasible)
        order = compare_i64(left->job->row->deadline_ms, right->job->row->deadline_ms);
    if (!order)
        order = compare_i64(
            priority_band(right->job->row->priority), priority_band(left->job->row->priority));
    return order ? order : compare_u64(left->job->row->id, right->job->row->id);
}

static void deadline_open(
    struct deadline *all, const struct habits *habits, struct allot_round *round)
{
    *all = (struct deadline){.round = round, .habits = habits, .count = round->count};
    all->all = mem_alloc(round->count + 1, sizeof *all->all);
    all->order = mem_alloc(round->count + 1, sizeof(void *));
    for (size_t i = 0; i < round->count; i++) {
        struct allot_job *job = round->jobs[i];
        plan_job_open(&all->all[i], job, round);
        if (!habits->restarts)
            all->all[i].restart_ms = 0;
        all->order[i] = &all->all[i];
        if (job->row->deadline_ms == 0)
            all->all[i].promised = false;
    }
    sort_pointers((void **)all->order, all->count, by_deadline, habits);
    while (all->promised < all->count && all->order[all->promised]->promised)
        all->promised++;
}

static bool may_be_promised(const struct deadline *all, const struct plan_job *one)
{
    const struct allot_job *job = one->job;
    int64_t within = job->row->deadline_ms - all->round->now_ms;
    return job->row->deadline_ms && !job->fixed && one->level_count &&
           (!one->known || plan_left_ms(one, one->level_count - 1) <= within);
}

static void take_fixed(struct deadline *all)
{
    for (size_t i = 0; i < all->count; i++) {
        if (!all->all[i].job->fixed)
            continue;
        plan_fixed(&all->plan, &all->all[i]);
        all->all[i].feasible = true;
    }
}

/* Plans the promised in order of deadline, but those that were pressed before all others. Returns
 * the first that does not fit, or NULL. */
static struct plan_job *keep_promises(struct deadline *all)
{
    struct plan_job *late = NULL;
    plan_open(&all->plan, all->round->now_ms, all->round->round_ms, all->round->devices);
    take_fixed(all);
    for (size_t i = 0; i < 2 * all->promised; i++) {
        struct plan_job *one = all->order[i % all->promised];
        if (one->job->fixed || one->pressed != (i < all->promised))
            continue;
        one->feasible = true;
        if (plan_fit(&all->plan, one))
            continue;
        plan_best(&all->plan, one);
        late = late ? late : one;
    }
    return late;
}

/* A least share lasts long, so a job may stand in the way of another although it did not when that
 * was promised its end; that one then chooses first, if all promises are kept by that. */
static void plan_anew(struct deadline *all)
{
    struct plan_job *late = keep_promises(all);
    for (int turn = 0; late && !late->pressed && turn < PRESSED_MAX; turn++) {
        late->pressed = true;
        late = keep_promises(all);
    }
    if (!late)
        return;
    for (size_t i = 0; i < all->promised; i++)
        all->order[i]->pressed = false;
    (void)keep_promises(all);
}

/* Whether all promises could be kept with this job among them, in order of deadline. */
static bool fits_among(struct deadline *all, struct plan_job *one)
{
    struct plan_job other = *one;
    bool placed = false;
    for (size_t i = 0; i <= all->promised; i++) {
        bool last = i == all->promised;
        if (!placed &&
            (last || all->order[i]->job->row->deadline_ms > one->job->row->deadline_ms)) {
            placed = true;
            if (!plan_fit(&all->trial, &other))
                return false;
        }
        if (last || all->order[i]->job->fixed)
            continue;
        struct plan_job copy = *all->order[i];
        if (!plan_fit(&all->trial, &copy) && all->order[i]->feasible)
            return false;
    }
    return true;
}

/* Puts it among the promised, which stay in order of deadline. */
static void promise(struct deadline *all, size_t from)
{
    struct plan_job *one = all->order[from];
    size_t to = all->promised;
    for (size_t i = from; i > to; i--)
        all->order[i] = all->order[i - 1];
    while (to > 0 && all->order[to - 1]->job->row->deadline_ms > one->job->row->deadline_ms) {
        all->order[to] = all->order[to - 1];
        to--;
    }
    all->order[to] = one;
    all->promised++;
    one->promised = true;
    one->feasible = true;
    one->job->level = LEVEL_PROMISED;
}

static void promise_more(struct deadline *all)
{
    int trials = 0;
    for (size_t i = all->promised; i < all->count; i++) {
        struct plan_job *one = all->order[i];
        bool refused = one->job->level == LEVEL_TRIED;
        if (!may_be_promised(all, one) || (refused && !all->habits->again))
            continue;
        if (plan_fit(&all->plan, one)) {
            promise(all, i);
            continue;
        }
        if (refused || trials++ >= TRIALS_MAX)
            continue;
        one->job->level = LEVEL_TRIED;
        plan_open(&all->trial, all->round->now_ms, all->round->round_ms, all->round->devices);
        struct plan planned = all->plan;
        all->plan = all->trial;
        take_fixed(all);
        all->trial = all->plan;
        all->plan = planned;
        if (!fits_among(all, one))
            continue;
        promise(all, i);
        plan_anew(all);
    }
}

/* ---- what is left over --------------------------------------------------------------------- */

static void give(struct plan_job *one, int32_t ranks, int64_t *left)
{
    *left -= (int64_t)(ranks - one->base) * one->job->devices;
    one->base = ranks;
}

/* Those that run with more than the plan says keep it. */
static void keep(struct deadline *all, int64_t *left)
{
    for (size_t i = 0; i < all->count; i++) {
        struct plan_job *one = all->order[i];
        int64_t more = (int64_t)(one->job->size - one->base) * one->job->devices;
        if (more > 0 && more <= *left)
            give(one, one->job->size, left);
    }
}

/* Those that could not be promised anything, and would be in time if it cost less to start for the
 * first time than to start again: how much less nobody knows. */
static void hope(struct deadline *all, int64_t *left)
{
    for (size_t i = 0; i < all->count; i++) {
        struct plan_job *one = all->order[i];
        int64_t restart_ms = one->restart_ms;
        bool fits = one->promised || !may_be_promised(all, one);
        for (int64_t share = 2; !fits && share >= 0; share--) {
            one->restart_ms = restart_ms * share / 4;
            fits = plan_fit(&all->plan, one);
            *left -= fits ? (int64_t)one->base * one->job->devices : 0;
        }
        one->restart_ms = restart_ms;
    }
}

/* Those that wait begin, with their smallest gang; who says nothing of speeds with what it asks
 * for, if that fits. */
static void begin(struct deadline *all, bool promised, int64_t *left)
{
    for (size_t i = 0; i < all->count; i++) {
        struct plan_job *one = all->order[i];
        int32_t least_ranks = one->level_count ? one->levels[0] : 0;
        int32_t ranks = one->known ? least_ranks : one->job->row->size;
        if (one->base || least_ranks == 0 || (promised && !one->feasible))
            continue;
        if ((int64_t)ranks * one->job->devices > *left)
            ranks = least_ranks;
        if ((int64_t)ranks * one->job->devices <= *left)
            give(one, ranks, left);
    }
}

/* Parts in a million of the job's speed with its smallest gang that the next level adds for each
 * accelerator; -1: there is no use in it. */
static int64_t growth(const struct plan_job *one, int64_t left)
{
    const struct allot_job *job = one->job;
    int level = plan_level(one, one->base);
    if (!one->known || job->fixed || one->base == 0 || level < 0 || level + 1 >= one->level_count)
        return -1;
    int64_t more = (int64_t)(one->levels[level + 1] - one->base) * job->devices;
    if (more <= 0 || more > left)
        return -1;
    int64_t sooner = plan_left_ms(one, level) - plan_left_ms(one, level + 1);
    bool restarts = job->size && one->base == job->size;
    if (sooner < (restarts ? 2 * one->restart_ms : 1))
        return -1;
    __int128 gain = (__int128)(one->rates[level + 1] - one->rates[level]) * 1000000;
    return (int64_t)(gain / one->rates[0] / more);
}

struct grower {
    struct plan_job *one;
    int64_t gain;
};

static bool before(const struct grower *a, const struct grower *b)
{
    return a->gain != b->gain ? a->gain > b->gain : a->one->job->row->id < b->one->job->row->id;
}

static void heap_down(struct grower *heap, size_t count, size_t i)
{
    for (size_t child; (child = 2 * i + 1) < count; i = child) {
        if (child + 1 < count && before(&heap[child + 1], &heap[child]))
            child++;
        if (!before(&heap[child], &heap[i]))
            return;
        struct grower swap = heap[i];
        heap[i] = heap[child];
        heap[child] = swap;
    }
}

/* Level by level to who gains most by it. Each turn raises a level or takes one out: it ends. */
static void grow(struct deadline *all, int64_t *left)
{
    struct grower *heap = mem_alloc(all->count + 1, sizeof *heap);
    size_t count = 0;
    for (size_t i = 0; i < all->count; i++) {
        heap[count] = (struct grower){all->order[i], growth(all->order[i], *left)};
        count += heap[count].gain >= 0;
    }
    for (size_t i = count; i-- > 0;)
        heap_down(heap, count, i);
    while (count > 0 && *left > 0) {
        struct plan_job *one = heap[0].one;
        heap[0].gain = growth(one, *left);
        if (heap[0].gain >= 0) {
            give(one, one->levels[plan_level(one, one->base) + 1], left);
            heap[0].gain = growth(one, *left);
        }
        if (heap[0].gain < 0)
            heap[0] = heap[--count];
        heap_down(heap, count, 0);
    }
    free(heap);
}

static void share_out(struct allot_round *round, const struct habits *habits)
{
    struct deadline *all = mem_alloc(1, sizeof *all);
    deadline_open(all, habits, round);
    plan_anew(all);
    promise_more(all);
    sort_pointers((void **)all->order, all->count, by_claim, NULL);
    int64_t left = round->devices;
    for (size_t i = 0; i < all->count; i++)
        left -= (int64_t)all->all[i].base * all->all[i].job->devices;
    if (habits->again)
        hope(all, &left);
    if (habits->restarts)
        keep(all, &left);
    begin(all, !habits->again, &left);
    grow(all, &left);
    begin(all, false, &left);
    for (size_t i = 0; i < all->count; i++) {
        round->jobs[i] = all->order[i]->job;
        round->jobs[i]->target = all->order[i]->base;
    }
    free(all->order);
    free(all->all);
    free(all);
}

void allot_deadline(struct allot_round *round)
{
    static const struct habits ours = {.again = true, .smallest = true, .restarts = true};
    share_out(round, &ours);
}

void allot_elasticflow(struct allot_round *round)
{
    static const struct habits theirs = {0};
    share_out(round, &theirs);
}
