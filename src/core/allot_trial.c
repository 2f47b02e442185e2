/* Whether the targets of a round find room on the nodes, tried before anything is stopped for them.
 *
 * Everything that is leaving or would have to leave is taken away on trial; then those who get
 * something new look for it in the order of preference, each finding taken what those before found.
 * What finds no room gets nothing: nobody is stopped for it. The devices that are over by that, and
 * by what limits cut off, go to who would have been stopped, as far as his place is still there,
 * and then, with their smallest gangs, to who has none. So a job that can not be placed keeps
 * nothing from the others, and no two of them take turns in being stopped for it. */
#include "core/allot.h"
#include "core/attempt.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/resource.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/team.h"

#include <assert.h>

static void set_away(struct allot_trial *trial, struct live_attempt *attempt)
{
    attempt_set_away(attempt, true);
    vec_push(&trial->away, attempt);
}

static void leave_all(struct allot_trial *trial)
{
    TABLE_EACH (trial->core, ROW_ATTEMPT, struct live_attempt, attempt) {
        if (attempt->row.stop_reason != END_NONE)
            set_away(trial, attempt);
    }
    for (size_t i = 0; i < trial->round->count; i++) {
        const struct allot_job *one = trial->round->jobs[i];
        if (one->size > 0 && one->target != one->size)
            set_away(trial, one->live->attempt);
    }
}

static bool look(struct allot_trial *trial, size_t i, int32_t size_min, int32_t size_max)
{
    const struct live_job *job = trial->round->jobs[i]->live;
    if (!allot_plan(trial->core, job, size_min, size_max, &trial->plans[i]))
        return false;
    plan_claim(job, &trial->plans[i], 1);
    return true;
}

static void look_for_targets(struct allot_trial *trial)
{
    for (size_t i = 0; i < trial->round->count; i++) {
        struct allot_job *one = trial->round->jobs[i];
        if (one->target == 0 || one->target == one->size ||
            look(trial, i, one->target, one->target))
            continue;
        trial->spare += (int64_t)one->target * one->devices;
        one->target = 0;
    }
}

/* Where something was cut off or found no room, all that is not given out is over: the policy may
 * have kept the rest from somebody whom it alone was too little for. */
static void count_spare(struct allot_trial *trial)
{
    if (trial->spare == 0)
        return;
    trial->spare = trial->round->devices;
    for (size_t i = 0; i < trial->round->count; i++)
        trial->spare -= (int64_t)trial->round->jobs[i]->target * trial->round->jobs[i]->devices;
}

/* ---- what is over ------------------------------------------------------------------------- */

/* Whether the attempt, put back, leaves its nodes within what they have. */
static bool place_is_there(const struct live_attempt *attempt)
{
    for (const struct live_placement *one = attempt->placements; one; one = one->next) {
        const struct live_node *node = one->node;
        for (int32_t d = 0; d < node->row.devices; d++) {
            if (node->device_held[d] + node->device_claimed[d] > DEVICE_MILLI)
                return false;
        }
        if (node->held.cpu_milli + node->claimed.cpu_milli > node->row.cpu_milli ||
            node->held.memory_bytes + node->claimed.memory_bytes > node->row.memory_bytes ||
            node->held.disk_bytes + node->claimed.disk_bytes > node->row.disk_bytes ||
            (node->exclusive_claimed && node->placements.count))
            return false;
    }
    return true;
}

static void put_back(struct allot_trial *trial, struct live_attempt *attempt)
{
    size_t at = 0;
    while (trial->away.items[at] != attempt)
        at++;
    attempt_set_away(attempt, false);
    vec_remove(&trial->away, at);
}

/* Those who would have been stopped altogether go on, in the order of preference. */
static void keep_places(struct allot_trial *trial)
{
    for (size_t i = 0; i < trial->round->count && trial->spare > 0; i++) {
        struct allot_job *one = trial->round->jobs[i];
        int64_t need = (int64_t)one->size * one->devices;
        if (one->size == 0 || one->target != 0 || need > trial->spare)
            continue;
        struct live_attempt *attempt = one->live->attempt;
        put_back(trial, attempt);
        if (!place_is_there(attempt)) {
            set_away(trial, attempt);
            continue;
        }
        one->target = one->size;
        trial->spare -= need;
    }
}

static bool quota_lets(const struct allot_trial *trial, const struct allot_job *one, int32_t ranks)
{
    struct amounts amounts;
    amounts_possible(one->live->shape, ranks, &amounts);
    return quota_ranks(trial->core, one->live, ranks) == ranks &&
           (!job_firm(one->live) || quota_firm_allows(trial->core, one->live->team, &amounts));
}

/* Those who got nothing, as the totals of teams are before anybody leaves. */
static void fill(struct allot_trial *trial)
{
    for (size_t i = 0; i < trial->round->count && trial->spare > 0; i++) {
        struct allot_job *one = trial->round->jobs[i];
        int64_t need = (int64_t)one->size_min * one->devices;
        if (one->live->attempt || one->target != 0 || need > trial->spare ||
            !quota_lets(trial, one, one->size_min) || !look(trial, i, one->size_min, one->size_min))
            continue;
        one->target = one->size_min;
        trial->spare -= need;
    }
}

void allot_try(struct allot_trial *trial, struct core *core, struct allot_round *round)
{
    *trial = (struct allot_trial){.core = core, .round = round, .spare = round->spare};
    trial->plans = mem_alloc(round->count + 1, sizeof *trial->plans);
    leave_all(trial);
    look_for_targets(trial);
    count_spare(trial);
    keep_places(trial);
    fill(trial);
    for (size_t i = 0; i < round->count; i++)
        plan_claim(round->jobs[i]->live, &trial->plans[i], -1);
    for (size_t i = trial->away.count; i-- > 0;)
        attempt_set_away(trial->away.items[i], false);
    vec_free(&trial->away);
}

void allot_trial_finish(struct allot_trial *trial)
{
    for (size_t i = 0; i < trial->round->count; i++)
        plan_finish(&trial->plans[i]);
    free(trial->plans);
}
