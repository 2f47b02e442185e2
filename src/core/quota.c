/* The quota tree. Each team's account covers itself and all below it.
 *
 * A limit is never passed. A guarantee is what the team gets back by preemption if it asks; beyond
 * it the team borrows what nobody uses. Where a team states no guarantee of a resource, it stands
 * for the sum of its children's. A team that may not borrow is limited to its guarantee, in the
 * resources that its quota names.
 *
 * What can not be preempted may only borrow what nobody is guaranteed: otherwise a guarantee would
 * be a promise that preemption can not keep. */
#include "core/job.h"
#include "core/resource.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/team.h"

#include <assert.h>

static void derive_own(struct core *core, struct live_team *team)
{
    for (int i = 0; i < RESOURCE_MAX; i++) {
        team->guarantee[i] = 0;
        team->limit[i] = INT64_MAX;
    }
    for (const struct live_quota *quota = team->quotas; quota; quota = quota->next) {
        int resource = resource_of_quota(core, quota->row.resource);
        assert(resource >= 0);
        team->guarantee[resource] = quota->row.guarantee;
        if (quota->row.limit >= 0)
            team->limit[resource] = quota->row.limit;
        if (!team->row.borrow)
            team->limit[resource] = least(team->limit[resource], quota->row.guarantee);
    }
}

static void derive_bits(struct live_team *team)
{
    team->guaranteed = team->limited = 0;
    for (int i = 0; i < RESOURCE_MAX; i++) {
        team->guaranteed |= (uint32_t)(team->guarantee[i] != 0) << i;
        team->limited |= (uint32_t)(team->limit[i] != INT64_MAX) << i;
    }
}

void quota_derive(struct core *core, struct live_team *team)
{
    for (; team; team = team->parent) {
        derive_own(core, team);
        int64_t sums[RESOURCE_MAX] = {0};
        for (size_t c = 0; c < team->children.count; c++) {
            for (int i = 0; i < RESOURCE_MAX; i++)
                sums[i] += team->children.items[c]->guarantee[i];
        }
        for (int i = 0; i < RESOURCE_MAX; i++) {
            if (team->guarantee[i] == 0)
                team->guarantee[i] = sums[i];
        }
        derive_bits(team);
    }
}

void quota_hold(
    struct core *core, struct live_team *team, const struct amounts *amounts, bool firm, int sign)
{
    assert(sign == 1 || sign == -1);
    for (; team; team = team->parent) {
        if (!core->loading)
            usage_settle(core, team);
        for (int i = 0; i < RESOURCE_TYPES + (int)core->accelerator_types.count; i++) {
            team->held[i] += sign * amounts->of[i];
            team->firm[i] += firm ? sign * amounts->of[i] : 0;
            assert(team->held[i] >= 0 && team->firm[i] >= 0);
        }
        share_settle(core, team);
    }
}

const struct live_team *quota_limit_over(
    const struct live_team *team, const struct amounts *amounts, int *ret_resource)
{
    for (; team; team = team->parent) {
        for (uint32_t left = team->limited; left; left &= left - 1) {
            int i = __builtin_ctz(left);
            *ret_resource = i;
            if (amounts->of[i] > 0 && team->held[i] > team->limit[i] - amounts->of[i])
                return team;
        }
    }
    return NULL;
}

bool quota_allows(const struct live_team *team, const struct amounts *amounts)
{
    int resource;
    return !quota_limit_over(team, amounts, &resource);
}

const struct live_team *quota_never(
    const struct live_team *team, const struct amounts *amounts, int *ret_resource)
{
    for (; team; team = team->parent) {
        for (uint32_t left = team->limited; left; left &= left - 1) {
            int i = __builtin_ctz(left);
            *ret_resource = i;
            if (amounts->of[i] > 0 && amounts->of[i] > team->limit[i])
                return team;
        }
    }
    return NULL;
}

bool quota_possible(const struct live_team *team, const struct amounts *amounts)
{
    int resource;
    return !quota_never(team, amounts, &resource);
}

int32_t quota_ranks(const struct core *core, const struct live_job *job, int32_t ranks)
{
    (void)core;
    const struct live_shape *shape = job->shape;
    int64_t fit = ranks;
    for (const struct live_team *team = job->team; team; team = team->parent) {
        for (uint32_t bits = team->limited; bits; bits &= bits - 1) {
            int i = __builtin_ctz(bits);
            int64_t one = amount_of_shape(shape, i, shape->resource);
            int64_t left = most(team->limit[i] - team->held[i], 0);
            if (one > 0 && left / one < fit)
                fit = left / one;
        }
    }
    return (int32_t)fit;
}

bool quota_permits(const struct core *core, const struct live_job *job, int32_t *ret_ranks)
{
    int32_t ranks = quota_ranks(core, job, job->row.size_max);
    if (ranks < job->row.size_min)
        return false;
    struct amounts ask;
    if (job_firm(job)) {
        for (; ranks >= job->row.size_min; ranks--) {
            amounts_possible(job->shape, ranks, &ask);
            if (quota_firm_allows(core, job->team, &ask))
                break;
        }
    }
    *ret_ranks = ranks;
    return ranks >= job->row.size_min;
}

bool quota_entitled(const struct live_team *team, const struct amounts *amounts)
{
    bool guaranteed = false;
    for (uint32_t left = team->guaranteed; left; left &= left - 1) {
        int i = __builtin_ctz(left);
        if (amounts->of[i] == 0)
            continue;
        if (team->held[i] + amounts->of[i] > team->guarantee[i])
            return false;
        guaranteed = true;
    }
    return guaranteed;
}

/* quota_entitled() of amounts_possible(), which need not be made. */
bool quota_entitled_one(const struct live_team *team, const struct live_shape *shape, int64_t ranks)
{
    bool guaranteed = false;
    for (uint32_t left = team->guaranteed; left; left &= left - 1) {
        int i = __builtin_ctz(left);
        int any = shape->resource < 0 && i >= RESOURCE_TYPES ? i : shape->resource;
        int64_t ask = amount_of_shape(shape, i, any) * ranks;
        if (ask == 0)
            continue;
        if (team->held[i] + ask > team->guarantee[i])
            return false;
        guaranteed = true;
    }
    return guaranteed;
}

bool quota_entitled_path(const struct live_team *team, const struct amounts *amounts)
{
    for (; team; team = team->parent) {
        if (quota_entitled(team, amounts))
            return true;
    }
    return false;
}

/* What the children of a team (NULL: the root) hold firmly beyond their guarantees, `more` of it
 * added to one of them, and what they are all guaranteed. */
static bool firm_fits(const struct core *core, const struct live_team *parent,
    const struct live_team *one, int resource, int64_t more)
{
    size_t count = parent ? parent->children.count : core->roots.count;
    struct live_team *const *children = parent ? parent->children.items : core->roots.items;
    int64_t over = 0, guaranteed = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t firm = children[i]->firm[resource] + (children[i] == one ? more : 0);
        over += most(firm - children[i]->guarantee[resource], 0);
        guaranteed += children[i]->guarantee[resource];
    }
    int64_t room = core->capacity[resource];
    if (parent && parent->guarantee[resource] > 0)
        room = least(room, parent->guarantee[resource]);
    return guaranteed == 0 || over <= room - guaranteed;
}

/* A level at which the team stays within its guarantee needs no further look at that resource:
 * everybody above has promised it that much. */
const struct live_team *quota_firm_over(const struct core *core, const struct live_team *team,
    const struct amounts *amounts, int *ret_resource)
{
    for (int i = 0; i < RESOURCE_MAX; i++) {
        if (amounts->of[i] == 0)
            continue;
        *ret_resource = i;
        for (const struct live_team *at = team; at; at = at->parent) {
            if (at->firm[i] + amounts->of[i] <= at->guarantee[i])
                break;
            if (!firm_fits(core, at->parent, at, i, amounts->of[i]))
                return at;
        }
    }
    return NULL;
}

bool quota_firm_allows(
    const struct core *core, const struct live_team *team, const struct amounts *amounts)
{
    int resource;
    return !quota_firm_over(core, team, amounts, &resource);
}

static int team_depth(const struct live_team *team)
{
    int depth = 0;
    for (; team; team = team->parent)
        depth++;
    return depth;
}

struct live_team *team_common(struct live_team *a, struct live_team *b)
{
    int depth_a = team_depth(a), depth_b = team_depth(b);
    for (; depth_a > depth_b; depth_a--)
        a = a->parent;
    for (; depth_b > depth_a; depth_b--)
        b = b->parent;
    while (a != b) {
        a = a->parent;
        b = b->parent;
    }
    return a;
}

struct live_team *team_below(struct live_team *team, const struct live_team *above)
{
    struct live_team *below = NULL;
    for (; team != above; team = team->parent)
        below = team;
    return below;
}
