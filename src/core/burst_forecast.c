/* Forecasts of how long a job would wait for the pools without a burst policy.
 *
 * Somebody outside runs a copy of the state forward and says when each job would start; what he
 * says is kept in the job's row with the moment of the state that he saw. From there on it is a
 * column as any other: stored, loaded and replayed, so that decisions stay those of rows and time.
 *
 * Invariants:
 * - A forecast decides for CORE_FORECAST_FRESH_MS from its moment; after that the core's own bound
 *   does. One of an older state never replaces a newer.
 * - Where forecasts are expected, a job is held back for its first until it has waited for what
 *   core_forecast_expect said, no longer: a forecaster that died costs that and nothing else. What
 *   a job has really waited needs no forecast, and is never held back for one. */
#include "core/broker.h"
#include "core/burst.h"
#include "core/core.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/table.h"

#include <assert.h>
#include <inttypes.h>

enum { REFRESH_MS = CORE_FORECAST_FRESH_MS / 2 };

bool forecast_fresh(const struct core *core, const struct live_broker *broker)
{
    return broker && broker->row.forecast_ms &&
           (core->forward || core->now_ms - broker->row.forecast_ms <= CORE_FORECAST_FRESH_MS);
}

int64_t forecast_awaited_ms(const struct core *core, const struct live_job *job)
{
    int64_t until_ms = burst_since_ms(job) + core_forecast_expected(core);
    return until_ms > core->now_ms ? until_ms : 0;
}

/* Whether the answer of a policy hangs on how long the job would wait. */
static bool of_use(const struct live_job *job, const struct broker_row *row)
{
    return job->row.state == JOB_QUEUED && !job->links->claims && row->verdict > BURST_UNFIT;
}

bool core_bursts(const struct core *core)
{
    return core->burst_pools > 0;
}

void core_forecast_wanted(const struct core *core, core_forecast_fn *visit, void *context)
{
    int32_t left = CORE_FORECASTS_MAX;
    if (!core->burst_pools)
        return;
    TABLE_EACH (core, ROW_BROKER, struct live_broker, broker) {
        const struct live_job *job =
            (const struct live_job *)table_find(core, ROW_JOB, broker->row.job);
        bool old = core->now_ms - broker->row.forecast_ms >= REFRESH_MS;
        if (left > 0 && old && of_use(job, &broker->row)) {
            visit(context, job->row.id);
            left--;
        }
    }
}

static int check_one(
    const struct core *core, const struct core_forecast *forecast, struct error *err)
{
    if (forecast->at_ms <= 0 || forecast->at_ms > core->now_ms ||
        forecast->start_ms < forecast->at_ms || forecast->start_ms > TIME_MS_MAX)
        return error_set(err, ERR_INVALID,
            "a forecast about job %" PRIu64 ": expected one of the past, of a moment after it",
            forecast->job);
    return 0;
}

static void put_one(struct core *core, const struct core_forecast *forecast)
{
    struct live_job *job = (struct live_job *)table_find(core, ROW_JOB, forecast->job);
    struct live_broker *broker = job ? job->links->broker : NULL;
    if (!broker || !of_use(job, &broker->row) || forecast->at_ms < broker->row.forecast_ms)
        return;
    broker->row.forecast_ms = forecast->at_ms;
    broker->row.start_ms = forecast->start_ms;
    broker->row.look_ms = 0;
    broker->row.seen = 0;
    change_put(core, &broker->item);
    core->pass_wanted = true;
}

int core_forecast_put(
    struct core *core, const struct core_forecast *forecasts, size_t count, struct error *err)
{
    assert(forecasts || !count);
    if (count > CORE_FORECASTS_MAX)
        return error_set(
            err, ERR_TOO_LARGE, "more than %d forecasts at once", (int)CORE_FORECASTS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (check_one(core, &forecasts[i], err) < 0)
            return -1;
    }
    for (size_t i = 0; i < count; i++)
        put_one(core, &forecasts[i]);
    return 0;
}

void core_forecast_expect(struct core *core, int64_t wait_ms)
{
    assert(wait_ms >= 0 && wait_ms <= TIME_MS_MAX);
    if (wait_ms != core_forecast_expected(core))
        counter_mark(core, &core->forecast_wait, "forecast", wait_ms);
}

int64_t core_forecast_expected(const struct core *core)
{
    return core->forecast_wait ? core->forecast_wait->row.last : 0;
}
