/* Whose attempts may be stopped for a job.
 *
 * (a) Reclaim: a team that stays within its guarantee gets it back from teams that are above
 *     theirs, whatever the priorities. Compared are the two branches below the teams' nearest
 *     common ancestor: the asking branch has to be entitled there, and on the other side every team
 *     from that branch down to the victim's has to be above its guarantee in one of the resources
 *     that are asked back.
 * (b) Priority: a job is stopped for one of higher base priority; ageing does not count.
 *
 * In both, whoever has its place by a guarantee (its team, or one above it, being within its own)
 * gives way only to a job that would have the place by the same guarantee. Who asks for an
 * accelerator of any type is entitled where each type that it could get is guaranteed, and
 * protected by what it asks for as well as by what it got: whoever was entitled to a place is
 * protected in it.
 *
 * Why there is no loop: a place goes from borrowed to guaranteed, never back, and among places of
 * one sort from lower to higher priority. */
#include "core/attempt.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/preempt.h"
#include "core/resource.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/team.h"

#include <assert.h>

void victim_rules_init(struct victim_rules *rules, const struct core *core, struct live_job *job)
{
    rules->job = job;
    rules->protected_ms = MOMENT_NEVER;
    amounts_of_shape(job->shape, job->row.size_min, job->shape->resource, &rules->ask);
    amounts_possible(job->shape, job->row.size_min, &rules->possible);
    rules->reclaims = quota_entitled_path(job->team, &rules->possible);
    rules->patient_ms = patience_end_ms(core, rules);
}

void victim_choose(const struct live_attempt *attempt, int sign)
{
    struct amounts amounts;
    attempt_amounts(attempt, &amounts);
    uint32_t bits = amounts_bits(&amounts);
    for (struct live_team *team = attempt->job->team; team; team = team->parent) {
        for (uint32_t left = bits; left; left &= left - 1) {
            int i = __builtin_ctz(left);
            team->chosen[i] += sign * amounts.of[i];
            assert(team->chosen[i] >= 0);
        }
    }
}

/* Whether the team holds more than its guarantee of a resource that is asked and guaranteed to
 * the asking branch, and that the victim holds. */
static bool above_guarantee(const struct live_team *team, const struct live_team *asking,
    const struct amounts *ask, const struct amounts *victim)
{
    for (uint32_t left = asking->guaranteed; left; left &= left - 1) {
        int i = __builtin_ctz(left);
        if (ask->of[i] == 0 || victim->of[i] == 0)
            continue;
        if (team->held[i] - team->chosen[i] > team->guarantee[i])
            return true;
    }
    return false;
}

static bool may_reclaim(const struct victim_rules *rules, const struct live_attempt *attempt,
    const struct amounts *victim)
{
    struct live_team *owner = attempt->job->team;
    struct live_team *common = team_common(rules->job->team, owner);
    const struct live_team *asking = team_below(rules->job->team, common);
    if (!asking || !quota_entitled(asking, &rules->possible))
        return false;
    for (const struct live_team *at = owner; at != common; at = at->parent) {
        if (!above_guarantee(at, asking, &rules->ask, victim))
            return false;
    }
    return true;
}

/* A victim's amounts: what it holds, and of that what it asked for. */
struct share {
    struct amounts held, asked;
};

static void share_of(const struct live_attempt *attempt, struct share *ret)
{
    const struct live_shape *shape = attempt->job->shape;
    attempt_amounts(attempt, &ret->held);
    amounts_of_shape(shape, attempt->row.size, shape->resource, &ret->asked);
}

/* What the team holds of a resource without what is chosen; the victim, too, is gone in the end. */
static int64_t rest_of(
    const struct live_team *team, const struct share *victim, bool chosen, int resource)
{
    int64_t rest = team->held[resource] - team->chosen[resource];
    return chosen ? rest : rest - victim->held.of[resource];
}

/* Whether the team, everything chosen being gone, would be within its guarantee with amounts. */
static bool within_guarantee(const struct live_team *team, const struct share *victim, bool chosen,
    const struct amounts *amounts)
{
    bool guaranteed = false;
    for (uint32_t left = team->guaranteed; left; left &= left - 1) {
        int i = __builtin_ctz(left);
        if (amounts->of[i] == 0)
            continue;
        if (rest_of(team, victim, chosen, i) + amounts->of[i] > team->guarantee[i])
            return false;
        guaranteed = true;
    }
    return guaranteed;
}

static bool is_above(const struct live_team *team, const struct live_team *below)
{
    while (below && below != team)
        below = below->parent;
    return below != NULL;
}

/* Whether the victim has its place by the guarantee of a team from `from` up, and the job would
 * not have it by the same one. */
static bool guaranteed_place(const struct victim_rules *rules, const struct live_team *from,
    const struct share *victim, bool chosen)
{
    for (const struct live_team *at = from; at; at = at->parent) {
        if (!within_guarantee(at, victim, chosen, &victim->asked) &&
            !within_guarantee(at, victim, chosen, &victim->held))
            continue;
        if (!is_above(at, rules->job->team) || !within_guarantee(at, victim, chosen, &rules->ask))
            return true;
    }
    return false;
}

static bool runs_long_enough(
    const struct core *core, struct victim_rules *rules, const struct live_attempt *attempt)
{
    const struct attempt_row *row = &attempt->row;
    int64_t since_ms = row->started_ms ? row->started_ms : row->admitted_ms;
    int64_t until_ms = since_ms + attempt->job->row.min_runtime_ms;
    if (until_ms <= core->now_ms)
        return true;
    rules->protected_ms = least(rules->protected_ms, until_ms);
    return false;
}

/* Whether a claim on one of its nodes is kept by a job that has to be near it: without it the
 * claimant would stop somebody for a place that it can not use, again and again. It lasts until the
 * claimant has started. */
static bool claims_lean_on(const struct live_attempt *attempt)
{
    for (const struct live_placement *one = attempt->placements; one; one = one->next) {
        for (size_t i = 0; i < one->node->claims.count; i++) {
            if (fit_leans_on(one->node->claims.items[i]->job, attempt->job))
                return true;
        }
    }
    return false;
}

bool victim_allowed(
    struct core *core, struct victim_rules *rules, const struct live_attempt *attempt)
{
    const struct live_job *victim = attempt->job;
    if (attempt->row.stop_reason != END_NONE || job_firm(victim))
        return false;
    bool outranked = victim->row.priority < rules->job->row.priority;
    if ((!outranked && !rules->reclaims) || claims_lean_on(attempt))
        return false;
    struct share share;
    share_of(attempt, &share);
    if (guaranteed_place(rules, victim->team, &share, false))
        return false;
    if (!outranked && !may_reclaim(rules, attempt, &share.held))
        return false;
    return runs_long_enough(core, rules, attempt);
}

/* Everything chosen counted: a set may reach below a guarantee together. Below the common ancestor
 * that does not matter to who is entitled: nobody can take back from within a guarantee. */
bool victim_stays_out(const struct victim_rules *rules, const struct live_attempt *attempt)
{
    struct share share;
    share_of(attempt, &share);
    struct live_team *owner = attempt->job->team;
    struct live_team *common = team_common(rules->job->team, owner);
    const struct live_team *asking = team_below(rules->job->team, common);
    bool entitled = asking && quota_entitled(asking, &rules->possible);
    return !guaranteed_place(rules, entitled ? common : owner, &share, true);
}
