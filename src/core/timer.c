/* The moments at which something happens to a job by itself: the end of a wait, a deadline, a time
 * limit. A binary heap by (moment, id), a total order. */
#include "core/allot.h"
#include "core/attempt.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/sort.h"
#include "core/spot.h"
#include "core/state.h"

#include <assert.h>

static bool before(const struct timer *a, const struct timer *b)
{
    if (a->at_ms != b->at_ms)
        return a->at_ms < b->at_ms;
    return a->job->row.id < b->job->row.id;
}

static void heap_set(struct core *core, size_t at, struct timer timer)
{
    core->timers.items[at] = timer;
    timer.job->timer = (uint32_t)at + 1;
}

static void heap_up(struct core *core, size_t at)
{
    struct timer timer = core->timers.items[at];
    while (at > 0 && before(&timer, &core->timers.items[(at - 1) / 2])) {
        heap_set(core, at, core->timers.items[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_set(core, at, timer);
}

static void heap_down(struct core *core, size_t at)
{
    struct timer timer = core->timers.items[at];
    for (size_t child; (child = at * 2 + 1) < core->timers.count; at = child) {
        if (child + 1 < core->timers.count &&
            before(&core->timers.items[child + 1], &core->timers.items[child]))
            child++;
        if (!before(&core->timers.items[child], &timer))
            break;
        heap_set(core, at, core->timers.items[child]);
    }
    heap_set(core, at, timer);
}

void timer_clear(struct core *core, struct live_job *job)
{
    if (!job->timer)
        return;
    size_t at = job->timer - 1;
    assert(core->timers.items[at].job == job);
    struct timer last = core->timers.items[--core->timers.count];
    if (last.job != job) {
        heap_set(core, at, last);
        heap_up(core, at);
        heap_down(core, last.job->timer - 1);
    }
    job->timer = 0;
}

static int64_t timer_at_ms(const struct core *core, const struct live_job *job)
{
    return job->timer ? core->timers.items[job->timer - 1].at_ms : MOMENT_NEVER;
}

static int64_t sum_ms(int64_t a, int64_t b)
{
    return a > MOMENT_NEVER - b ? MOMENT_NEVER : a + b;
}

/* A policy that makes the best of deadlines lets a late job go on. */
static bool deadline_ends(const struct core *core, const struct live_job *job)
{
    return job->row.deadline_ms && !(core->allotment->late_goes_on && allot_governs(core, job));
}

static int64_t moment_of(const struct core *core, const struct live_job *job)
{
    const struct job_row *row = &job->row;
    int64_t moment = MOMENT_NEVER;
    if (row->state == JOB_STOPPING || job_state_ended(row->state))
        return moment;
    if (deadline_ends(core, job))
        moment = row->deadline_ms;
    const struct live_spot *spot = job->links->spot;
    if (spot && spot->row.again_ms && (row->state == JOB_QUEUED || row->state == JOB_RUNNING))
        moment = least(moment, spot->row.again_ms);
    if (row->state == JOB_WAITING && !job->links->depends)
        moment = least(moment, row->not_before_ms);
    if (row->state == JOB_RUNNING)
        moment = least(moment, handover_ms(job));
    if (row->state == JOB_RUNNING && row->time_limit_ms > 0)
        moment = least(moment, sum_ms(job->attempt->row.started_ms, row->time_limit_ms));
    return moment;
}

void timer_set(struct core *core, struct live_job *job)
{
    int64_t moment = moment_of(core, job);
    if (moment == timer_at_ms(core, job))
        return;
    timer_clear(core, job);
    if (moment == MOMENT_NEVER)
        return;
    assert(core->timers.count < UINT32_MAX);
    vec_push(&core->timers, ((struct timer){moment, job}));
    heap_up(core, core->timers.count - 1);
}

static void timer_fire(struct core *core, struct live_job *job)
{
    const struct job_row *row = &job->row;
    bool late = deadline_ends(core, job) && row->deadline_ms <= core->now_ms;
    bool over = row->state == JOB_RUNNING && row->time_limit_ms > 0 &&
                sum_ms(job->attempt->row.started_ms, row->time_limit_ms) <= core->now_ms;
    if (late && job->attempt)
        attempt_stop(core, job->attempt, END_DEADLINE, NULL);
    else if (late)
        job_end(core, job, JOB_FAILED, END_DEADLINE, 0);
    else if (over)
        attempt_stop(core, job->attempt, END_TIME_LIMIT, NULL);
    else if (row->state == JOB_RUNNING && handover_ms(job) <= core->now_ms)
        handover(core, job);
    else if (row->state == JOB_WAITING)
        job_ready(core, job);
    else
        spot_ask(core, job);
}

void timers_run(struct core *core)
{
    while (core->timers.count && core->timers.items[0].at_ms <= core->now_ms) {
        struct timer timer = core->timers.items[0];
        timer_fire(core, timer.job);
        /* Each firing moves the job's moment on or ends the job: the loop ends. */
        assert(core->timers.count == 0 || core->timers.items[0].job != timer.job ||
               core->timers.items[0].at_ms > timer.at_ms);
    }
}
