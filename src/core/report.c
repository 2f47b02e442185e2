/* What engines say about attempts. Engines may lie, repeat themselves and be late: whatever does
 * not fit the attempt's state changes nothing.
 *
 * An engine reports the end of every attempt that it was told to stop, also of one that it never
 * started. `complete` means that the job's work is done, every rank having ended with status 0;
 * whether an exit in answer to SIGTERM counts as that is the engine's to decide. */
#include "core/attempt.h"
#include "core/broker.h"
#include "core/core.h"
#include "core/job.h"
#include "core/sort.h"
#include "core/spot.h"
#include "core/state.h"
#include "core/table.h"

#include <assert.h>

static bool report_submitted(struct core *core, struct live_attempt *attempt)
{
    if (attempt->row.state != ATTEMPT_ADMITTED)
        return false;
    attempt->row.state = ATTEMPT_SUBMITTED;
    change_put(core, &attempt->item);
    return true;
}

static bool report_started(struct core *core, struct live_attempt *attempt)
{
    if (attempt->row.state >= ATTEMPT_STARTED)
        return false;
    attempt->row.state = ATTEMPT_STARTED;
    attempt->row.started_ms = core->now_ms;
    change_put(core, &attempt->item);
    if (attempt->row.stop_reason == END_NONE)
        job_set_state(core, attempt->job, JOB_RUNNING);
    decide(core, (struct core_decision){.kind = DECISION_START,
                     .job = attempt->row.job,
                     .attempt = attempt->row.id,
                     .team = attempt->job->row.team});
    burst_started(core, attempt);
    if (spot_governs(core, attempt->job) && attempt->row.stop_reason == END_NONE)
        spot_ask(core, attempt->job);
    return true;
}

static bool report_checkpoint(struct core *core, struct live_attempt *attempt, int64_t at_ms)
{
    at_ms = least(at_ms, core->now_ms);
    /* When it started is when that was heard of, which its first checkpoint may precede. */
    if (attempt->row.state != ATTEMPT_STARTED || at_ms <= attempt->row.checkpoint_ms ||
        at_ms < attempt->row.admitted_ms)
        return false;
    attempt->row.checkpoint_ms = at_ms;
    change_put(core, &attempt->item);
    if (at_ms > attempt->job->row.checkpoint_ms) {
        attempt->job->row.checkpoint_ms = at_ms;
        change_put(core, &attempt->job->item);
    }
    if (spot_governs(core, attempt->job) && attempt->job->row.state == JOB_RUNNING)
        spot_ask(core, attempt->job);
    return true;
}

static bool report_site_end(struct core *core, struct live_attempt *attempt, int64_t at_ms)
{
    if (at_ms < 0 || at_ms > TIME_MS_MAX || at_ms == attempt->row.site_end_ms)
        return false;
    attempt->row.site_end_ms = at_ms;
    change_put(core, &attempt->item);
    timer_set(core, attempt->job);
    return true;
}

/* Ends that an engine can see by itself; anything else it says is not knowing. */
static enum end_reason seen_reason(enum end_reason reason)
{
    bool seen = reason > END_NONE && reason <= END_LOST && reason != END_DEADLINE &&
                reason != END_RESIZED && reason != END_CANCELLED;
    seen |= reason == END_HANDED_OVER; /* its site's time was over before it was handed over */
    return seen ? reason : END_LOST;
}

static enum end_reason resolve_reason(
    const struct live_attempt *attempt, const struct core_report *report)
{
    enum end_reason seen = seen_reason(report->reason);
    enum end_reason stop = (enum end_reason)attempt->row.stop_reason;
    if (stop == END_CANCELLED || stop == END_REPLACED)
        return stop;
    /* A service has no work that could be done: when it was told to stop, that is why it ended. */
    if (stop != END_NONE && attempt->job->row.service)
        return stop;
    if (report->complete && (seen == END_SUCCEEDED || seen == END_EXIT))
        return END_SUCCEEDED;
    return stop != END_NONE ? stop : seen;
}

bool core_attempt_report(struct core *core, const struct core_report *report)
{
    assert(report);
    struct live_attempt *attempt =
        (struct live_attempt *)table_find(core, ROW_ATTEMPT, report->attempt);
    if (!attempt)
        return false;
    switch (report->kind) {
    case REPORT_SUBMITTED: return report_submitted(core, attempt);
    case REPORT_STARTED: return report_started(core, attempt);
    case REPORT_CHECKPOINT: return report_checkpoint(core, attempt, report->at_ms);
    case REPORT_SITE_END: return report_site_end(core, attempt, report->at_ms);
    case REPORT_ENDED:
        attempt_end(core, attempt, resolve_reason(attempt, report), report->exit_status);
        return true;
    }
    return false;
}
