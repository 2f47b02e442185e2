/* The invariant checker: who is stopped for whom, and what that loses.
 *
 * Judged on the state after the tick: a victim is told to stop and still there, and what its stop
 * was made for has a claim. */
#include "sim/invariants_parts.h"

/* Device-milliseconds since the newest checkpoint or the start; a rank without devices counts as
 * one. Of a service it is a minute at most, of a job that saves when it is stopped nothing. */
static int64_t loss_ms(const struct job_row *job, const struct shape_row *shape,
    const struct attempt_row *attempt, int64_t now_ms)
{
    int64_t since_ms = attempt->started_ms;
    if (!since_ms || job->saves_on_stop)
        return 0;
    if (attempt->checkpoint_ms > since_ms)
        since_ms = attempt->checkpoint_ms;
    if (job->service && now_ms - since_ms > 60000)
        since_ms = now_ms - 60000;
    int64_t milli = shape->accelerator_milli ? shape->accelerator_milli : 1000;
    return (int64_t)(((__int128)(now_ms - since_ms) * milli * attempt->size + 500) / 1000);
}

/* Its place is kept, or it has started in the same tick. */
static bool has_claim(const struct sim_store *store, uint64_t job)
{
    const struct job_row *row = sim_store_row(store, ROW_JOB, job);
    const struct claim_row *claim;
    if (row && row->attempt)
        return true;
    for (each_row(claim_row, claim, store, ROW_CLAIM))
        if (claim->job == job)
            return true;
    return false;
}

static int check_victim(
    const struct job_row *job, const struct attempt_row *attempt, int64_t now_ms, struct error *err)
{
    if (!job->preemptible)
        return broken(err, 6, "job %llu is not preemptible and is preempted", (ull)job->id);
    if (job->preemptions_max >= 0 && job->preemptions >= job->preemptions_max)
        return broken(err, 6, "job %llu is preempted once more than it allows", (ull)job->id);
    if (attempt->started_ms && attempt->started_ms + job->min_runtime_ms > now_ms)
        return broken(err, 6, "job %llu is preempted before its minimum run time", (ull)job->id);
    return 0;
}

/* Whether a round gave the job nothing: then it is stopped for all others together. */
static bool round_says(const struct sim_store *store, uint64_t job)
{
    const struct allotment_row *row;
    for (each_row(allotment_row, row, store, ROW_ALLOTMENT))
        if (row->job == job)
            return row->target == 0;
    return false;
}

int invariants_resized(const struct sim_store *after, const struct core_decision *decision,
    int64_t now_ms, struct error *err)
{
    const struct attempt_row *attempt = sim_store_row(after, ROW_ATTEMPT, decision->attempt);
    const struct job_row *job = attempt ? sim_store_row(after, ROW_JOB, attempt->job) : NULL;
    if (!job || attempt->stop_reason != END_RESIZED)
        return broken(err, 6, "attempt %llu is resized and does not stop", (ull)decision->attempt);
    if (job->size_min == job->size_max)
        return broken(err, 6, "job %llu has one size and is resized", (ull)job->id);
    return check_victim(job, attempt, now_ms, err);
}

int invariants_preempted(const struct sim_store *after, const struct core_decision *decision,
    int64_t now_ms, struct error *err)
{
    const struct attempt_row *attempt = sim_store_row(after, ROW_ATTEMPT, decision->attempt);
    const struct job_row *job = attempt ? sim_store_row(after, ROW_JOB, attempt->job) : NULL;
    if (!job || attempt->stop_reason != END_PREEMPTED)
        return broken(
            err, 6, "attempt %llu is preempted and does not stop", (ull)decision->attempt);
    if (!decision->for_job && round_says(after, job->id))
        return check_victim(job, attempt, now_ms, err);
    if (!decision->for_job || decision->for_job == job->id)
        return broken(err, 6, "attempt %llu is preempted for job %llu", (ull)attempt->id,
            (ull)decision->for_job);
    if (!has_claim(after, decision->for_job))
        return broken(err, 6, "attempt %llu is preempted for job %llu, which claims nothing",
            (ull)attempt->id, (ull)decision->for_job);
    if (check_victim(job, attempt, now_ms, err) < 0)
        return -1;
    int64_t lost_ms = loss_ms(job, sim_store_row(after, ROW_SHAPE, job->shape), attempt, now_ms);
    if (decision->lost_ms != lost_ms)
        return broken(err, 6, "the preemption of attempt %llu loses %lld and says %lld",
            (ull)attempt->id, (long long)lost_ms, (long long)decision->lost_ms);
    return 0;
}
