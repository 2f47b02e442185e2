/* Waiting for a checkpoint: a job that could be started by stopping others lets one of them go on
 * to its next checkpoint where that is due soon and loses less than to stop it now.
 *
 * What a victim costs is the least of what its stop loses now and of what it costs that the job
 * waits until the checkpoint: that time, times the smaller of the two shares. The set that costs
 * least is looked for as without patience; where somebody of it is better waited for, nobody is
 * stopped yet, and the question is asked again when the first of their checkpoints is due.
 *
 * Invariants:
 * - A job of high or urgent priority, and one within its team's guarantee, never waits.
 * - A job waits for PATIENCE_MS, rounded up to a minute, from the first time that it was put off
 *   until it starts, whatever comes due meanwhile. When that was is in its row.
 * - A checkpoint that is late is waited for no longer: what it was due at is past. */
#include "core/attempt.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/preempt.h"
#include "core/resource.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/team.h"
#include "spec/kinds.h"

#include <assert.h>

/* Jobs that are put off within a minute of each other wait until the same moment, so that what a
 * search found for one of them holds for the others. */
enum { SECOND_MS = 1000, STEP_MS = 60 * SECOND_MS, PATIENCE_MS = 20 * STEP_MS };

int64_t patience_end_ms(const struct core *core, const struct victim_rules *rules)
{
    const struct job_row *job = &rules->job->row;
    if (core->victim_policy->order || rules->reclaims || job->priority >= PRIORITY_HIGH)
        return 0;
    int64_t since_ms =
        job->put_off_s ? job->queued_ms + (int64_t)job->put_off_s * SECOND_MS : core->now_ms;
    return (since_ms + PATIENCE_MS + STEP_MS - 1) / STEP_MS * STEP_MS;
}

/* When its next checkpoint is due, as it says; 0: not known, or late. */
static int64_t due_ms(const struct core *core, const struct live_attempt *attempt)
{
    const struct attempt_row *row = &attempt->row;
    int64_t interval_ms = attempt->job->row.interval_ms;
    if (row->state != ATTEMPT_STARTED || interval_ms == 0)
        return 0;
    int64_t at_ms = most(row->started_ms, row->checkpoint_ms) + interval_ms;
    return at_ms > core->now_ms ? at_ms : 0;
}

/* The cost of waiting for it, or INT64_MAX where that is not done. */
static int64_t waiting_cost(
    const struct core *core, const struct victim_rules *rules, const struct live_attempt *attempt)
{
    int64_t until_ms = due_ms(core, attempt);
    if (until_ms == 0 || until_ms > rules->patient_ms)
        return INT64_MAX;
    struct amounts amounts;
    attempt_amounts(attempt, &amounts);
    int64_t share = least(dominant_share(core, amounts.of), dominant_share(core, rules->ask.of));
    __int128 cost = (__int128)(until_ms - core->now_ms) * share;
    return cost < INT64_MAX ? (int64_t)cost : INT64_MAX;
}

int64_t victim_cost(
    const struct core *core, const struct victim_rules *rules, const struct live_attempt *attempt)
{
    int64_t loss = attempt_loss(core, attempt);
    if (loss == 0 || rules->patient_ms <= core->now_ms)
        return loss;
    return least(loss, waiting_cost(core, rules, attempt));
}

void victims_awaited(const struct core *core, const struct victim_rules *rules,
    struct live_attempt *const *victims, size_t victim_count, struct awaited *ret)
{
    int64_t count = 0;
    *ret = (struct awaited){.due_ms = MOMENT_NEVER, .until_ms = rules->patient_ms};
    for (size_t i = 0; i < victim_count; i++) {
        if (victim_cost(core, rules, victims[i]) >= attempt_loss(core, victims[i]))
            continue;
        int64_t at_ms = due_ms(core, victims[i]);
        count++;
        if (at_ms < ret->due_ms) {
            ret->due_ms = at_ms;
            ret->job = victims[i]->job;
        }
    }
    ret->others = most(count - 1, 0);
}

bool preempt_put_off(struct core *core, struct live_job *job, struct live_attempt *const *victims,
    size_t victim_count)
{
    struct victim_rules rules;
    struct awaited awaited;
    victim_rules_init(&rules, core, job);
    victims_awaited(core, &rules, victims, victim_count, &awaited);
    if (!awaited.job)
        return false;
    assert(awaited.due_ms > core->now_ms && awaited.due_ms <= rules.patient_ms);
    core->wake_ms = least(core->wake_ms, awaited.due_ms);
    if (!job->row.put_off_s) {
        int64_t waited_s = most(core->now_ms - job->row.queued_ms, 0) / SECOND_MS;
        job->row.put_off_s = (int32_t)least(waited_s + 1, INT32_MAX);
        change_put(core, &job->item);
    }
    return true;
}
