/* Whose attempts may be stopped for a job.
 *
 * (a) Reclaim: a team that stays within its guarantee gets it back from teams that are above
 *     theirs, whatever the priorities. Compared are the two branches below the teams' nearest
 *     common ancestor: the asking branch has to be entitled there, and on the other side every team
 *     from that branch down to the victim's has to be above its guarantee in one of the resources
 *     that are asked back.
 * (b) Priority: a job is stopped for one of higher base priority (ageing does not count), unless
 *     its team, or one above it within its branch, is within its guarantee.
 *
 * Why there is hardly a loop: what (a) moves goes from above a guarantee to within one, and (b) leaves
 * alone what (a) could take back, and otherwise replaces lower by higher priority. */
#include "core/core_state.h"

enum { CALM_AFTER = 3, CALM_DOUBLINGS = 12 }; /* preemptions; 12: 68 hours at most */
#define CALM_MS INT64_C(60000)

void victim_rules_init(struct victim_rules *rules, struct live_job *job)
{
    rules->job = job;
    rules->protected_ms = MOMENT_NEVER;
    amounts_of_shape(job->shape, job->row.size_min, job->shape->resource, &rules->ask);
    rules->reclaims = quota_entitled_path(job->team, &rules->ask);
}

void victim_choose(const struct live_attempt *attempt, int sign)
{
    struct amounts amounts;
    attempt_amounts(attempt, &amounts);
    for (struct live_team *team = attempt->job->team; team; team = team->parent) {
        for (int i = 0; i < RESOURCE_MAX; i++) {
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
    for (int i = 0; i < RESOURCE_MAX; i++) {
        if (ask->of[i] == 0 || asking->guarantee[i] == 0 || victim->of[i] == 0)
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
    if (!asking || !quota_entitled(asking, &rules->ask))
        return false;
    for (const struct live_team *at = owner; at != common; at = at->parent) {
        if (!above_guarantee(at, asking, &rules->ask, victim))
            return false;
    }
    return true;
}

/* Whether the team could take back what the victim holds; chosen: it is counted as chosen. */
static bool within_guarantee(
    const struct live_team *team, const struct amounts *victim, bool chosen)
{
    bool guaranteed = false;
    for (int i = 0; i < RESOURCE_MAX; i++) {
        if (victim->of[i] == 0 || team->guarantee[i] == 0)
            continue;
        int64_t with_it = team->held[i] - team->chosen[i] + (chosen ? victim->of[i] : 0);
        if (with_it > team->guarantee[i])
            return false;
        guaranteed = true;
    }
    return guaranteed;
}

static bool guaranteed_place(const struct victim_rules *rules, const struct live_attempt *attempt,
    const struct amounts *victim, bool chosen)
{
    struct live_team *owner = attempt->job->team;
    const struct live_team *common = team_common(rules->job->team, owner);
    for (const struct live_team *at = owner; at != common; at = at->parent) {
        if (within_guarantee(at, victim, chosen))
            return true;
    }
    return false;
}

/* How long an attempt is left alone. Who was preempted again and again is so for longer each time:
 * whatever cycle rules (a) and (b) might still form, its members come to run to their ends. */
static int64_t left_alone_ms(const struct job_row *row)
{
    if (row->preemptions < CALM_AFTER)
        return row->min_runtime_ms;
    int32_t doublings = row->preemptions - CALM_AFTER;
    int64_t calm_ms = CALM_MS << (doublings < CALM_DOUBLINGS ? doublings : CALM_DOUBLINGS);
    return most(row->min_runtime_ms, calm_ms);
}

static bool runs_long_enough(
    const struct core *core, struct victim_rules *rules, const struct live_attempt *attempt)
{
    const struct attempt_row *row = &attempt->row;
    int64_t since_ms = row->started_ms ? row->started_ms : row->admitted_ms;
    int64_t until_ms = since_ms + left_alone_ms(&attempt->job->row);
    if (until_ms <= core->now_ms)
        return true;
    rules->protected_ms = least(rules->protected_ms, until_ms);
    return false;
}

bool victim_allowed(
    struct core *core, struct victim_rules *rules, const struct live_attempt *attempt)
{
    const struct live_job *victim = attempt->job;
    if (attempt->row.stop_reason != END_NONE || job_firm(victim))
        return false;
    bool outranked = victim->row.priority < rules->job->row.priority;
    if (!outranked && !rules->reclaims)
        return false;
    struct amounts amounts;
    attempt_amounts(attempt, &amounts);
    outranked = outranked && !guaranteed_place(rules, attempt, &amounts, false);
    if (!outranked && !may_reclaim(rules, attempt, &amounts))
        return false;
    return runs_long_enough(core, rules, attempt);
}

/* A victim of (a) is above a guarantee of the asking branch, which it can not take back. Of (b) it
 * has to hold with everything chosen counted: a set may reach below a guarantee together. */
bool victim_stays_out(const struct victim_rules *rules, const struct live_attempt *attempt)
{
    struct amounts amounts;
    attempt_amounts(attempt, &amounts);
    const struct live_team *common = team_common(rules->job->team, attempt->job->team);
    const struct live_team *asking = team_below(rules->job->team, common);
    if (asking && quota_entitled(asking, &rules->ask))
        return true;
    return !guaranteed_place(rules, attempt, &amounts, true);
}
