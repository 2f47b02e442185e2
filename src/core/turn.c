/* Whose turn it is. The order is that of schedule.c: rank (guarantee, band), then down the tree the
 * team that used least for its weight, then priority, then time waited.
 *
 * Each team has a heap of its lanes, and each team and the root one of those teams below it that
 * have lanes somewhere. A turn changes one team and those above it, so it costs a path through the
 * heaps and not a look at everybody. What a lane is ordered by is kept in it, and may be out of
 * date: but within a pass nobody frees anything, so ranks only fall, and it is enough to look again
 * at whoever is on top. Every comparison ends with an id. */
#include "core/turn.h"
#include "core/job.h"
#include "core/queue.h"
#include "core/resource.h"
#include "core/shape.h"
#include "core/state.h"
#include "core/team.h"

#include <assert.h>

int32_t lane_rank(const struct core *core, const struct lane *lane)
{
    if (lane->blocked || !lane->cursor || lane->key.governed)
        return RANK_NONE;
    int32_t band = 1 + priority_band(priority_now(core, lane->cursor));
    bool entitled = quota_entitled_shape(lane->key.team, lane->key.shape, lane->key.size_min);
    return band + (entitled ? RANK_ENTITLED : 0);
}

/* ---- a team's lanes ---------------------------------------------------------------------------
 */

static bool lane_before(const struct lane *a, const struct lane *b)
{
    const struct turn *x = &a->turn, *y = &b->turn;
    if (x->rank != y->rank)
        return x->rank > y->rank;
    if (x->priority != y->priority)
        return x->priority > y->priority;
    if (x->queued_ms != y->queued_ms)
        return x->queued_ms < y->queued_ms;
    return x->job < y->job;
}

static void lane_set(struct live_team *team, size_t at, struct lane *lane)
{
    team->lanes.items[at] = lane;
    lane->position = at;
}

static size_t lane_up(struct live_team *team, size_t at)
{
    struct lane *lane = team->lanes.items[at];
    for (; at > 0 && lane_before(lane, team->lanes.items[(at - 1) / 2]); at = (at - 1) / 2)
        lane_set(team, at, team->lanes.items[(at - 1) / 2]);
    lane_set(team, at, lane);
    return at;
}

static void lane_down(struct live_team *team, size_t at)
{
    struct lane *lane = team->lanes.items[at];
    for (size_t child; (child = at * 2 + 1) < team->lanes_ready; at = child) {
        if (child + 1 < team->lanes_ready &&
            lane_before(team->lanes.items[child + 1], team->lanes.items[child]))
            child++;
        if (!lane_before(team->lanes.items[child], lane))
            break;
        lane_set(team, at, team->lanes.items[child]);
    }
    lane_set(team, at, lane);
}

void turn_leave(struct lane *lane)
{
    struct live_team *team = lane->key.team;
    size_t at = lane->position;
    if (at >= team->lanes_ready)
        return;
    struct lane *last = team->lanes.items[--team->lanes_ready];
    lane_set(team, at, last);
    lane_set(team, team->lanes_ready, lane);
    if (last != lane)
        lane_down(team, lane_up(team, at));
}

static struct turn turn_now(const struct core *core, const struct lane *lane)
{
    struct turn turn = {.rank = lane_rank(core, lane)};
    if (turn.rank == RANK_NONE)
        return turn;
    turn.priority = priority_now(core, lane->cursor);
    turn.queued_ms = lane->cursor->row.queued_ms;
    turn.job = lane->cursor->row.id;
    return turn;
}

static bool same_turn(const struct turn *a, const struct turn *b)
{
    return a->rank == b->rank && a->job == b->job;
}

/* Looks at the first lane again until it is what it was. */
static void lanes_correct(const struct core *core, struct live_team *team)
{
    while (team->lanes_ready > 0) {
        struct lane *lane = team->lanes.items[0];
        struct turn turn = turn_now(core, lane);
        if (turn.rank == RANK_NONE) {
            turn_leave(lane);
            continue;
        }
        if (same_turn(&turn, &lane->turn))
            break;
        lane->turn = turn;
        lane_down(team, 0);
    }
    team->pass_own_rank = team->lanes_ready ? team->lanes.items[0]->turn.rank : RANK_NONE;
}

/* Lanes that get no turn are behind the others. */
static void lanes_prepare(const struct core *core, struct live_team *team, bool stuck_too)
{
    team->lanes_ready = 0;
    for (size_t i = 0; i < team->lanes.count; i++) {
        struct lane *lane = team->lanes.items[i];
        if (lane->outlook == LANE_OUT || (lane->outlook == LANE_STUCK && !stuck_too))
            continue;
        lane->cursor = lane->first;
        lane->blocked = false;
        lane->tries = 0;
        lane->turn = turn_now(core, lane);
        lane_set(team, i, team->lanes.items[team->lanes_ready]);
        lane_set(team, team->lanes_ready++, lane);
    }
    for (size_t i = team->lanes_ready / 2; i-- > 0;)
        lane_down(team, i);
    lanes_correct(core, team);
}

/* ---- teams ------------------------------------------------------------------------------------
 */

static bool team_before(const struct live_team *a, const struct live_team *b)
{
    if (a->pass_rank != b->pass_rank)
        return a->pass_rank > b->pass_rank;
    if (a->pass_key != b->pass_key)
        return a->pass_key < b->pass_key;
    return a->row.id < b->row.id;
}

static void rival_set(struct rivals *rivals, size_t at, struct live_team *team)
{
    rivals->items[at] = team;
    team->pass_position = at;
}

static size_t rival_up(struct rivals *rivals, size_t at)
{
    struct live_team *team = rivals->items[at];
    for (; at > 0 && team_before(team, rivals->items[(at - 1) / 2]); at = (at - 1) / 2)
        rival_set(rivals, at, rivals->items[(at - 1) / 2]);
    rival_set(rivals, at, team);
    return at;
}

static void rival_down(struct rivals *rivals, size_t at)
{
    struct live_team *team = rivals->items[at];
    for (size_t child; (child = at * 2 + 1) < rivals->count; at = child) {
        if (child + 1 < rivals->count &&
            team_before(rivals->items[child + 1], rivals->items[child]))
            child++;
        if (!team_before(rivals->items[child], team))
            break;
        rival_set(rivals, at, rivals->items[child]);
    }
    rival_set(rivals, at, team);
}

static struct rivals *rivals_of(struct core *core, struct live_team *team)
{
    return team->parent ? &team->parent->rivals : &core->rivals;
}

/* The team and those above it take part. The depth is at most TEAM_DEPTH_MAX. */
static void team_enter(struct core *core, struct live_team *team)
{
    if (team->pass == core->pass)
        return;
    team->pass = core->pass;
    team->pass_key = fair_key(core, team);
    vec_clear(&team->rivals);
    if (!team->lanes.count)
        team->pass_own_rank = RANK_NONE;
    if (team->parent)
        team_enter(core, team->parent);
    vec_push(rivals_of(core, team), team);
}

static int32_t team_rank(const struct live_team *team)
{
    int32_t below = team->rivals.count ? team->rivals.items[0]->pass_rank : RANK_NONE;
    return below > team->pass_own_rank ? below : team->pass_own_rank;
}

static void rivals_prepare(struct rivals *rivals)
{
    for (size_t i = 0; i < rivals->count; i++) {
        struct live_team *team = rivals->items[i];
        team->pass_position = i;
        rivals_prepare(&team->rivals);
        team->pass_rank = team_rank(team);
    }
    for (size_t i = rivals->count / 2; i-- > 0;)
        rival_down(rivals, i);
}

void turns_begin(struct core *core, bool stuck_too)
{
    core->pass++;
    vec_clear(&core->rivals);
    for (size_t i = 0; i < core->waiting.count; i++)
        lanes_prepare(core, core->waiting.items[i], stuck_too);
    for (size_t i = 0; i < core->waiting.count; i++) {
        if (core->waiting.items[i]->lanes_ready)
            team_enter(core, core->waiting.items[i]);
    }
    rivals_prepare(&core->rivals);
}

struct lane *turn_next(const struct core *core)
{
    const struct live_team *team = core->rivals.count ? core->rivals.items[0] : NULL;
    if (!team || team->pass_rank == RANK_NONE)
        return NULL;
    while (team->pass_own_rank < team->pass_rank)
        team = team->rivals.items[0];
    assert(team->lanes_ready > 0);
    return team->lanes.items[0];
}

void turn_done(struct core *core, struct live_team *team)
{
    assert(team->pass == core->pass);
    lanes_correct(core, team);
    for (; team; team = team->parent) {
        struct rivals *rivals = rivals_of(core, team);
        team->pass_key = fair_key(core, team);
        team->pass_rank = team_rank(team);
        rival_down(rivals, rival_up(rivals, team->pass_position));
    }
}
