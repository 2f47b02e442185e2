/* The life of a job: held, waiting, queued, then with an attempt starting, running, stopping, and
 * at last ended, exactly once.
 *
 * Invariants: a job has an attempt in exactly the three states that say so; claims only while it is
 * queued; dependencies only while it is held or waiting. An ended job is retired at once. */
#include "core/job.h"
#include "core/allot.h"
#include "core/attempt.h"
#include "core/broker.h"
#include "core/core.h"
#include "core/packing_mix.h"
#include "core/preempt.h"
#include "core/queue.h"
#include "core/service.h"
#include "core/shape.h"
#include "core/spot.h"
#include "core/state.h"
#include "core/symbol.h"
#include "core/table.h"
#include "core/team.h"

#include <assert.h>

const struct job_links job_links_none;

struct live_job *job_create(struct core *core)
{
    struct live_job *job = item_alloc(core, ROW_JOB, sizeof *job);
    job->links = &job_links_none;
    return job;
}

struct job_links *job_link(struct core *core, struct live_job *job)
{
    if (job->links == &job_links_none) {
        job->links = slab_alloc(&core->job_links, sizeof *job->links);
        core->jobs_linked++;
    }
    return (struct job_links *)job->links;
}

void job_links_free(struct core *core, struct live_job *job)
{
    if (job->links == &job_links_none)
        return;
    slab_free(&core->job_links, (struct job_links *)job->links);
    job->links = &job_links_none;
    core->jobs_linked--;
}

void job_decide(
    struct core *core, enum decision_kind kind, const struct live_job *job, int32_t reason)
{
    decide(core, (struct core_decision){.kind = kind,
                     .job = job->row.id,
                     .team = job->row.team,
                     .attempt = job->row.attempt,
                     .reason = reason,
                     .exit_status = job->row.exit_status});
}

static void count_state(struct core *core, int32_t state, int sign)
{
    core->jobs_queued += state == JOB_QUEUED ? sign : 0;
    core->jobs_running += state == JOB_RUNNING ? sign : 0;
}

void job_set_state(struct core *core, struct live_job *job, enum job_state state)
{
    assert(!job_state_ended(job->row.state));
    if (state != JOB_QUEUED && job->links->claims)
        claims_release(core, job);
    if (state != JOB_QUEUED)
        queue_remove(core, job);
    count_state(core, job->row.state, -1);
    count_state(core, (int32_t)state, 1);
    job->row.state = (int32_t)state;
    if (state == JOB_QUEUED && !job->lane && !job->links->claims)
        queue_add(core, job);
    timer_set(core, job);
    change_put(core, &job->item);
}

void job_ready(struct core *core, struct live_job *job)
{
    assert(!job->attempt);
    if (job->links->depends || job->row.not_before_ms > core->now_ms) {
        job_set_state(core, job, JOB_WAITING);
        return;
    }
    job->row.not_before_ms = 0;
    if (!job->row.queued_ms)
        job->row.queued_ms = core->now_ms;
    job_set_state(core, job, JOB_QUEUED);
    if (spot_governs(core, job))
        spot_ask(core, job);
}

static void job_forget(struct core *core, struct live_job *job)
{
    while (job->links->depends)
        dependency_drop(core, job->links->depends);
    for (struct live_job_label *label = job->links->labels; label; label = label->next)
        change_retire(core, &label->item);
    if (job->links->labels)
        job_link(core, job)->labels = NULL;
    replica_forget(core, job);
    core->governed -= allot_governs(core, job);
    allotment_forget(core, job);
    spot_forget(core, job);
    broker_forget(core, job);
    job_name_remove(core, job);
    array_leave(core, job);
    job->team->jobs--;
    mix_count(core, job->shape, -job->row.size);
    shape_unref(core, job->shape);
    change_retire(core, &job->item);
}

typedef VEC(struct live_job *) job_vec;

/* Lets go of what waited for the job: of those that go on waiting for nothing more, and of those
 * that can not succeed any more, which are added to the list of jobs to end. */
static void release_dependents(struct core *core, struct live_job *job, job_vec *ending)
{
    bool succeeded = job->row.state == JOB_SUCCEEDED;
    while (job->links->dependents) {
        struct live_dependency *dependency = job->links->dependents;
        struct live_job *dependent = dependency->job;
        bool fails = !succeeded && dependency->row.condition == DEPENDENCY_SUCCEEDED;
        dependency_drop(core, dependency);
        if (dependent->row.end_reason)
            continue; /* it is in the list already */
        if (fails) {
            dependent->row.end_reason = END_DEPENDENCY;
            vec_push(ending, dependent);
        } else if (!dependent->links->depends && dependent->row.state == JOB_WAITING) {
            job_ready(core, dependent);
        }
    }
}

static void job_end_one(struct core *core, struct live_job *job, enum job_state state)
{
    assert(!job->attempt && job_state_ended((int32_t)state));
    if (job->links->claims)
        claims_release(core, job);
    queue_remove(core, job);
    timer_clear(core, job);
    count_state(core, job->row.state, -1);
    job->row.state = (int32_t)state;
    job->row.ended_ms = core->now_ms;
    job_decide(core, DECISION_JOB_END, job, job->row.end_reason);
}

void job_end(struct core *core, struct live_job *job, enum job_state state, enum end_reason reason,
    int32_t exit_status)
{
    job_vec ending = {0};
    job->row.end_reason = (int32_t)reason;
    job->row.exit_status = exit_status;
    if (!job->links->dependents) {
        job_end_one(core, job, state);
        job_forget(core, job);
        return;
    }
    vec_push(&ending, job);
    for (size_t i = 0; i < ending.count; i++) {
        struct live_job *one = ending.items[i];
        job_end_one(core, one, i == 0 ? state : JOB_FAILED);
        release_dependents(core, one, &ending);
        job_forget(core, one);
    }
    vec_free(&ending);
}

static struct live_job *job_live(const struct core *core, uint64_t id, struct error *err)
{
    struct live_job *job = (struct live_job *)table_find(core, ROW_JOB, id);
    if (!job)
        error_set(err, ERR_NOT_FOUND, "there is no live job %llu", (unsigned long long)id);
    return job;
}

void job_cancel(struct core *core, struct live_job *job, enum end_reason reason)
{
    assert(!job->row.cancel);
    replica_leave(core, job, reason);
    job->row.cancel = 1;
    change_put(core, &job->item);
    if (job->attempt)
        attempt_stop(core, job->attempt, reason, NULL);
    else
        job_end(core, job, JOB_CANCELLED, reason, 0);
}

int core_job_cancel(struct core *core, uint64_t id, struct error *err)
{
    struct live_job *job = job_live(core, id, err);
    if (!job)
        return -1;
    if (job->row.cancel)
        return 0;
    job_decide(core, DECISION_JOB_CANCEL, job, END_NONE);
    job_cancel(core, job, END_CANCELLED);
    return 0;
}

int core_job_hold(struct core *core, uint64_t id, struct error *err)
{
    struct live_job *job = job_live(core, id, err);
    if (!job)
        return -1;
    if (job->row.state == JOB_HELD)
        return 0;
    if (job->attempt)
        return error_set(err, ERR_CONFLICT, "job %llu is %s and can not be held: cancel it",
            (unsigned long long)id, job_state_names[job->row.state]);
    if (job->links->replica)
        return error_set(err, ERR_CONFLICT,
            "job %llu is a replica and can not be held: scale its service down",
            (unsigned long long)id);
    job_decide(core, DECISION_JOB_HOLD, job, END_NONE);
    job_set_state(core, job, JOB_HELD);
    return 0;
}

int core_job_release(struct core *core, uint64_t id, struct error *err)
{
    struct live_job *job = job_live(core, id, err);
    if (!job)
        return -1;
    if (job->row.state != JOB_HELD)
        return error_set(err, ERR_CONFLICT, "job %llu is %s and not held", (unsigned long long)id,
            job_state_names[job->row.state]);
    job_decide(core, DECISION_JOB_RELEASE, job, END_NONE);
    job->row.queued_ms = 0; /* time spent on hold does not age it */
    job_ready(core, job);
    return 0;
}

const struct job_row *core_job(const struct core *core, uint64_t id)
{
    const struct item *item = table_find(core, ROW_JOB, id);
    return item ? &((const struct live_job *)item)->row : NULL;
}

uint64_t core_job_find(const struct core *core, const char *team, const char *name)
{
    const struct live_team *in = idmap_get(&core->teams_by_name, symbol_find(core, team));
    uint32_t symbol = symbol_find(core, name);
    const struct live_job *job = in && symbol ? job_named(core, in, symbol) : NULL;
    return job ? job->row.id : 0;
}
