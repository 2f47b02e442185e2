/* Sites that end attempts by themselves (the walltime of a cluster's allocation), and what is done
 * before they do: a job is told to stop in time to save what it has, a replica has another one
 * beside it first. Nobody's failure, and no retry.
 *
 * Of a time that is long enough an attempt keeps all but the end; of a short one at least half.
 * What an engine says that leaves no time at all is not believed: it would be all that a job ever
 * does. */
#include "core/attempt.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/service.h"
#include "core/sort.h"
#include "core/state.h"

enum {
    LEAST_MS = 10 * 1000,             /* a shorter time is none */
    SLACK_MS = 30 * 1000,             /* until the site's word is heard, and ours */
    REPLICA_LEAD_MS = 15 * 60 * 1000, /* for another replica to be placed and to load its model */
};

/* When it is stopped, so that its grace is over before the site ends it. */
static int64_t stop_ms(const struct live_attempt *attempt)
{
    const struct attempt_row *row = &attempt->row;
    int64_t whole_ms = row->site_end_ms - row->started_ms;
    int64_t slack_ms = least(SLACK_MS, whole_ms / 8);
    int64_t left_ms = whole_ms - attempt->job->row.grace_ms - slack_ms;
    return row->started_ms + most(left_ms, whole_ms / 2);
}

static bool leaves_first(const struct live_job *job)
{
    const struct live_replica *replica = job->links->replica;
    return replica && replica->row.arm == ARM_MAIN && !replica->row.leaving;
}

int64_t handover_ms(const struct live_job *job)
{
    const struct attempt_row *row = &job->attempt->row;
    int64_t whole_ms = row->site_end_ms - row->started_ms;
    if (row->site_end_ms == 0 || whole_ms < LEAST_MS)
        return MOMENT_NEVER;
    if (job->row.time_limit_ms > 0 && job->row.time_limit_ms <= whole_ms)
        return MOMENT_NEVER; /* what it may take is over by then */
    int64_t stop = stop_ms(job->attempt);
    if (!leaves_first(job))
        return stop;
    return stop - least(REPLICA_LEAD_MS, (stop - row->started_ms) / 2);
}

void handover(struct core *core, struct live_job *job)
{
    if (!leaves_first(job)) {
        attempt_stop(core, job->attempt, END_HANDED_OVER, NULL);
        return;
    }
    replica_leaving_set(core, job, true);
    timer_set(core, job);
}
