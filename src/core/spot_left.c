/* How much work a job has left that moves between spot capacity and other: by its duration, or,
 * once it says how far it is (core_job_progress), by what remains at the speed that it has.
 *
 * Work counts as done when it is saved: what was done since the newest checkpoint is work that is
 * left. So what a job says remains is corrected by the time between its saying so and what is
 * saved: more when it went on after its checkpoint, less when it has saved since. When an attempt
 * ends, what is said to remain is set back to what its last checkpoint left. */
#include "core/allot.h"
#include "core/attempt.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/sort.h"
#include "core/spot.h"
#include "core/state.h"

#include <assert.h>

#define UNITS_MAX ((int64_t)1 << 50) /* as core_job_progress has it */
enum { RATE_PER_MS = 1000000 };      /* thousandths of a unit a second in a unit a millisecond */

int64_t spot_kept_ms(const struct live_attempt *attempt, int64_t until_ms)
{
    const struct spot_row *row = &attempt->job->links->spot->row;
    if (!attempt->row.started_ms)
        return 0;
    int64_t begun_ms = attempt->row.started_ms + (attempt->row.number > 1 ? row->restart_ms : 0);
    return most(until_ms - begun_ms, 0);
}

/* Of the nearest size that is not larger, the slowest that was said; in proportion below all. */
static int64_t rate_milli(const struct live_allotment *known, int32_t ranks)
{
    const struct live_speed *best = NULL;
    for (const struct live_speed *one = known->speeds; one; one = one->next) {
        if (one->row.ranks > ranks)
            break;
        if (!best || one->row.ranks > best->row.ranks || one->row.rate_milli < best->row.rate_milli)
            best = one;
    }
    if (best)
        return best->row.rate_milli;
    const struct live_speed *smallest = known->speeds;
    if (!smallest)
        return 0;
    return (int64_t)((__int128)smallest->row.rate_milli * ranks / smallest->row.ranks);
}

/* Its speed when it said what remains; 0: it did not. */
static int64_t said_rate_milli(const struct live_job *job)
{
    const struct live_allotment *known = job->links->allotment;
    if (!known || known->row.remaining < 0)
        return 0;
    return rate_milli(known, job->attempt ? job->attempt->row.size : job->row.size_min);
}

/* Work that the attempt has saved at `saved_ms` besides what it had done when it said what remains;
 * negative: it had done more then. What was said before the attempt is of what it began with. */
static int64_t saved_since_ms(const struct live_attempt *attempt, int64_t saved_ms)
{
    int64_t kept_ms = spot_kept_ms(attempt, saved_ms);
    int64_t said_ms = attempt->job->links->allotment->row.reported_ms;
    if (!attempt->row.started_ms || said_ms <= attempt->row.started_ms)
        return kept_ms;
    return kept_ms - spot_kept_ms(attempt, said_ms);
}

/* What is left from what is saved at that moment, where the job says what remains: else -1. */
static int64_t said_left_ms(const struct live_job *job, int64_t saved_ms)
{
    int64_t rate = said_rate_milli(job);
    if (rate <= 0)
        return -1;
    __int128 left_ms = (__int128)job->links->allotment->row.remaining * RATE_PER_MS / rate;
    left_ms -= job->attempt ? saved_since_ms(job->attempt, saved_ms) : 0;
    return left_ms < 0 ? 0 : left_ms > TIME_MS_MAX ? TIME_MS_MAX : (int64_t)left_ms;
}

int64_t spot_left_ms(const struct live_job *job)
{
    const struct live_attempt *attempt = job->attempt;
    const struct spot_row *row = &job->links->spot->row;
    int64_t saved_ms = attempt ? attempt->row.checkpoint_ms : 0;
    int64_t said_ms = said_left_ms(job, saved_ms);
    int64_t kept_ms = row->saved_ms + (attempt ? spot_kept_ms(attempt, saved_ms) : 0);
    return most(said_ms >= 0 ? said_ms : row->duration_ms - kept_ms, 1);
}

void spot_left_settle(struct core *core, struct live_attempt *attempt, int64_t saved_ms)
{
    struct live_job *job = attempt->job;
    assert(job->attempt == attempt && job->links->spot);
    int64_t left_ms = said_left_ms(job, saved_ms);
    if (left_ms < 0)
        return;
    struct allotment_row *row = &job->links->allotment->row;
    __int128 units = (__int128)left_ms * said_rate_milli(job) / RATE_PER_MS;
    row->remaining = units < UNITS_MAX ? (int64_t)units : UNITS_MAX;
    row->reported_ms = core->now_ms;
    change_put(core, &job->links->allotment->item);
}
