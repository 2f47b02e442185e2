/* Policies for spot capacity under a deadline; see spot.h.
 *
 * "uniform-progress" is the policy of Wu et al., "Can't Be Late" (NSDI'24), which has no
 * parameters: stay on the line from nothing at the beginning to everything at the deadline, use
 * spot capacity whenever it is there and until it is gone, on-demand capacity when the job is idle
 * and behind the line, and then until it is two changeovers ahead of it; and on-demand capacity to
 * the end when no more than two changeovers of slack are left.
 *
 * "slack", ours, keeps the last rule and replaces the line. On-demand work costs the same whenever
 * it is done, and may turn out not to be needed: so it waits for as long as slack allows. What
 * slack has to be kept for are changeovers: each time that spot capacity comes and goes costs two
 * of them. So it keeps two for each time that capacity is expected to come and go until the
 * deadline, waits with the rest, and then works on on-demand capacity while there is no other,
 * moving to spot capacity whenever that pays. */
#include "core/spot.h"
#include "base/memory.h"

#include <stddef.h>
#include <string.h>

static int64_t slack_ms(const struct spot_case *of)
{
    return of->left_ms - of->work_ms;
}

/* The safety net: not a moment too late on on-demand capacity, and not away from it again. */
static bool must_not_wait(const struct spot_case *of)
{
    return slack_ms(of) <= 2 * of->change_ms;
}

static struct spot_choice until_something_happens(enum spot_place to)
{
    return (struct spot_choice){to, INT64_MAX};
}

/* Waits or works; asks again when the slack that waiting uses up has shrunk to `keep_ms`. */
static struct spot_choice nowhere_until(const struct spot_case *of, int64_t keep_ms)
{
    int64_t wait_ms = slack_ms(of) - keep_ms;
    return (struct spot_choice){SPOT_NOWHERE, wait_ms > 0 ? wait_ms : 1};
}

static struct spot_choice choose_on_demand(const struct spot_case *of)
{
    (void)of;
    return until_something_happens(SPOT_ON_DEMAND);
}

static struct spot_choice choose_greedy(const struct spot_case *of)
{
    if (of->at == SPOT_ON_SPOT)
        return until_something_happens(SPOT_ON_SPOT);
    if (of->at == SPOT_ON_DEMAND || must_not_wait(of))
        return until_something_happens(SPOT_ON_DEMAND);
    if (of->there)
        return until_something_happens(SPOT_ON_SPOT);
    return nowhere_until(of, 2 * of->change_ms);
}

/* What should be done so long after the beginning. */
static int64_t line_ms(const struct spot_case *of, int64_t elapsed_ms)
{
    return (int64_t)((__int128)of->total_ms * elapsed_ms / of->span_ms);
}

static struct spot_choice choose_uniform(const struct spot_case *of)
{
    int64_t done_ms = of->total_ms - of->work_ms;
    int64_t elapsed_ms = of->span_ms - of->left_ms;
    if (of->at == SPOT_ON_SPOT)
        return until_something_happens(SPOT_ON_SPOT);
    if (must_not_wait(of))
        return until_something_happens(SPOT_ON_DEMAND);
    bool demand = of->at == SPOT_ON_DEMAND;
    int64_t ahead_ms = demand ? 2 * of->change_ms : 0;
    if (demand && done_ms < line_ms(of, elapsed_ms + ahead_ms)) {
        /* On on-demand capacity it gains on the line as fast as the line is flatter than work. */
        int64_t behind_ms = line_ms(of, elapsed_ms + ahead_ms) - done_ms;
        __int128 wait_ms = (__int128)behind_ms * of->span_ms / (of->span_ms - of->total_ms + 1);
        return (struct spot_choice){
            SPOT_ON_DEMAND, wait_ms < of->left_ms ? (int64_t)wait_ms + 1 : INT64_MAX};
    }
    if (of->there)
        return until_something_happens(SPOT_ON_SPOT);
    if (done_ms < line_ms(of, elapsed_ms))
        return until_something_happens(SPOT_ON_DEMAND);
    /* The moment at which the line has caught up, or the safety net holds. */
    int64_t even_ms = (int64_t)((__int128)done_ms * of->span_ms / of->total_ms) - elapsed_ms + 1;
    struct spot_choice choice = nowhere_until(of, 2 * of->change_ms);
    choice.again_ms = even_ms < choice.again_ms ? (even_ms > 0 ? even_ms : 1) : choice.again_ms;
    return choice;
}

/* Whether an excursion to spot capacity from on-demand capacity and back saves anything. */
static bool pays(const struct spot_case *of)
{
    if (of->up_ms == 0)
        return true;
    __int128 saved = (__int128)of->up_ms * (of->demand_price - of->spot_price);
    return saved > (__int128)2 * of->change_ms * of->demand_price;
}

/* Slack to be kept for changeovers until the deadline: two for each time that spot capacity comes
 * and goes; for two times while nothing is known of it. */
static int64_t reserve_ms(const struct spot_case *of)
{
    int64_t cycle_ms = of->up_ms + of->down_ms;
    if (of->up_ms == 0 || cycle_ms == 0)
        return 4 * of->change_ms;
    return (int64_t)((__int128)2 * of->change_ms * of->left_ms / cycle_ms);
}

static struct spot_choice choose_slack(const struct spot_case *of)
{
    if (of->at == SPOT_ON_SPOT)
        return until_something_happens(SPOT_ON_SPOT);
    if (must_not_wait(of))
        return until_something_happens(SPOT_ON_DEMAND);
    if (of->there && (of->at == SPOT_NOWHERE || pays(of)))
        return until_something_happens(SPOT_ON_SPOT);
    int64_t keep_ms = 2 * of->change_ms + reserve_ms(of);
    if (of->at == SPOT_ON_DEMAND || slack_ms(of) <= keep_ms)
        return until_something_happens(SPOT_ON_DEMAND);
    return nowhere_until(of, keep_ms);
}

static const struct spot_policy policies[] = {
    {"slack", "waits while slack is not needed for changeovers", choose_slack},
    {"uniform-progress", "keeps to the line of uniform progress (NSDI'24)", choose_uniform},
    {"greedy", "spot capacity until the last moment", choose_greedy},
    {"on-demand", "no spot capacity", choose_on_demand},
};

const struct spot_policy *spot_policy_at(int i)
{
    return i >= 0 && (size_t)i < ARRAY_LEN(policies) ? &policies[i] : NULL;
}

const char *core_spot_name(size_t i)
{
    return i < ARRAY_LEN(policies) ? policies[i].name : NULL;
}

const struct spot_policy *spot_policy_find(const char *name)
{
    if (!name || !*name)
        return &policies[0];
    for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
        if (strcmp(policies[i].name, name) == 0)
            return &policies[i];
    }
    return NULL;
}
