/* Minimum satisfactory shares by progressive filling, after ElasticFlow (Gu et al., ASPLOS 2023,
 * algorithm 1): jobs are put into the plan one after the other; each takes the smallest gang with
 * which its work is done by its deadline in what those before it left.
 *
 * Sizes are powers of two times the smallest, and the largest: what lies between saves little and
 * breaks nodes up. Steps are bounded: when there are too many, a reservation lasts to the end of
 * the step that it ends in, so a plan is never too good. Work is reckoned in millionths of a unit:
 * thousandths of a unit a second times milliseconds. */
#include "core/allot_plan.h"
#include "core/sort.h"

#include <assert.h>
#include <string.h>

void plan_open(struct plan *plan, int64_t now_ms, int64_t round_ms, int64_t devices)
{
    plan->round_ms = round_ms;
    plan->count = 1;
    plan->steps[0] = (struct plan_step){now_ms, most(devices, 0)};
}

static void level_add(struct plan_job *one, int32_t ranks, int64_t node_devices)
{
    int64_t rate = allot_rate_milli(one->job, ranks, node_devices);
    int last = one->level_count - 1;
    if (last >= 0 && (one->levels[last] == ranks || (one->known && rate <= one->rates[last])))
        return;
    one->levels[one->level_count] = ranks;
    one->rates[one->level_count++] = rate;
}

static void spread_set(struct plan_job *one)
{
    one->spread_ms = INT64_MAX;
    for (int i = 0; one->known && i < one->level_count; i++) {
        int64_t gang = (int64_t)one->levels[i] * one->job->devices;
        int64_t left = plan_left_ms(one, i);
        one->spread_ms =
            least(one->spread_ms, left < INT64_MAX / 4 / gang ? left * gang : INT64_MAX);
    }
}

void plan_job_open(struct plan_job *one, struct allot_job *job, const struct allot_round *round)
{
    *one =
        (struct plan_job){.job = job, .promised = job->level == 1, .restart_ms = job->restart_ms};
    one->known = job->remaining >= 0 && job->speed_count > 0;
    int64_t ranks = most(job->size_min, 1);
    for (; ranks < job->size_max && one->level_count < PLAN_LEVELS_MAX - 1; ranks *= 2)
        level_add(one, (int32_t)ranks, round->node_devices);
    level_add(one, job->size_max, round->node_devices);
    if (one->known && one->rates[0] == 0)
        one->known = false;
    spread_set(one);
}

int plan_level(const struct plan_job *one, int64_t ranks)
{
    int level = -1;
    while (level + 1 < one->level_count && one->levels[level + 1] <= ranks)
        level++;
    return level;
}

int64_t plan_left_ms(const struct plan_job *one, int level)
{
    assert(level >= 0 && level < one->level_count);
    if (!one->known)
        return INT64_MAX / 4;
    __int128 left = (__int128)one->job->remaining * 1000000 / one->rates[level] + 1;
    return left < INT64_MAX / 4 ? (int64_t)left : INT64_MAX / 4;
}

/* The step that begins at that moment, made if there is room; else the first one after it. */
static int step_at(struct plan *plan, int64_t at_ms)
{
    int i = plan->count;
    while (i > 0 && plan->steps[i - 1].at_ms >= at_ms)
        i--;
    if ((i < plan->count && plan->steps[i].at_ms == at_ms) || plan->count == PLAN_STEPS_MAX)
        return i;
    assert(i > 0);
    memmove(&plan->steps[i + 1], &plan->steps[i], (size_t)(plan->count - i) * sizeof *plan->steps);
    plan->steps[i] = (struct plan_step){at_ms, plan->steps[i - 1].free};
    plan->count++;
    return i;
}

/* The level in a step: at most `most_level`, and what is free. */
static int level_in(const struct plan_step *step, const struct plan_job *one, int most_level)
{
    int level = plan_level(one, step->free / one->job->devices);
    return level < most_level ? level : most_level;
}

static int64_t step_end(const struct plan *plan, int i)
{
    return i + 1 < plan->count ? plan->steps[i + 1].at_ms : INT64_MAX / 2;
}

/* When the job would be done with at most that level, or INT64_MAX. */
static int64_t done_ms(const struct plan *plan, const struct plan_job *one, int most_level)
{
    const struct allot_job *job = one->job;
    __int128 left = (__int128)job->remaining * 1000000;
    int32_t ranks = job->size;
    int64_t delay = 0;
    for (int i = 0; i < plan->count && plan->steps[i].at_ms < job->row->deadline_ms; i++) {
        int level = level_in(&plan->steps[i], one, most_level);
        if (level < 0) {
            ranks = 0;
            continue;
        }
        if (one->levels[level] != ranks)
            delay = one->restart_ms;
        ranks = one->levels[level];
        int64_t lasts = step_end(plan, i) - plan->steps[i].at_ms;
        int64_t idle = least(delay, lasts);
        delay -= idle;
        __int128 does = (__int128)(lasts - idle) * one->rates[level];
        if (does >= left)
            return plan->steps[i].at_ms + idle +
                   (int64_t)((left + one->rates[level] - 1) / one->rates[level]);
        left -= does;
    }
    return INT64_MAX;
}

static void reserve(struct plan *plan, struct plan_job *one, int most_level, int64_t until_ms)
{
    int end = step_at(plan, most(until_ms, plan->steps[0].at_ms + 1));
    for (int i = 0; i < end; i++) {
        int level = level_in(&plan->steps[i], one, most_level);
        if (i == 0)
            one->base = level < 0 ? 0 : one->levels[level];
        if (level >= 0)
            plan->steps[i].free -= (int64_t)one->levels[level] * one->job->devices;
    }
}

/* Rounded up to a round: what it frees is given out there. */
static int64_t round_up(const struct plan *plan, int64_t at_ms)
{
    int64_t since = at_ms - plan->steps[0].at_ms;
    return plan->steps[0].at_ms + (since + plan->round_ms - 1) / plan->round_ms * plan->round_ms;
}

/* Its size, or what it asks for, all the time to the deadline. */
static bool fit_unknown(struct plan *plan, struct plan_job *one)
{
    const struct allot_job *job = one->job;
    int level = plan_level(one, job->size ? job->size : job->row->size);
    for (int i = 0; i < plan->count && plan->steps[i].at_ms < job->row->deadline_ms; i++) {
        if (level < 0 || level_in(&plan->steps[i], one, level) < level)
            return false;
    }
    reserve(plan, one, level, job->row->deadline_ms);
    return true;
}

bool plan_fit(struct plan *plan, struct plan_job *one)
{
    const struct allot_job *job = one->job;
    int64_t within = job->row->deadline_ms - plan->steps[0].at_ms;
    one->base = 0;
    if (within <= 0)
        return false;
    if (!one->known)
        return fit_unknown(plan, one);
    for (int level = 0; level < one->level_count; level++) {
        if (plan_left_ms(one, level) > within)
            continue;
        int64_t done = done_ms(plan, one, level);
        if (done <= job->row->deadline_ms) {
            reserve(plan, one, level, round_up(plan, done));
            return true;
        }
    }
    return false;
}

void plan_best(struct plan *plan, struct plan_job *one)
{
    int64_t until = one->job->row->deadline_ms;
    one->base = 0;
    reserve(plan, one, one->level_count - 1, most(until, plan->steps[0].at_ms + plan->round_ms));
}

void plan_fixed(struct plan *plan, struct plan_job *one)
{
    int level = plan_level(one, one->job->size);
    int64_t left = level < 0 ? INT64_MAX / 4 : plan_left_ms(one, level);
    int64_t now = plan->steps[0].at_ms;
    int end = left < INT64_MAX / 8 ? step_at(plan, round_up(plan, now + left)) : plan->count;
    for (int i = 0; i < end; i++)
        plan->steps[i].free -= (int64_t)one->job->size * one->job->devices;
    one->base = one->job->size;
}
