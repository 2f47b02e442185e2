/* Fair share: teams are served by how little they use for their weight. A team's usage is the
 * moving average of its dominant share (the largest part of any resource it holds), which forgets
 * half in each half-life; what it holds now counts on top, so that a placement moves it back at
 * once.
 *
 * Invariant: usage is settled to now before what a team holds, or what there is to hold, changes;
 * in between the share is constant and the average has a closed form. All is fixed point. */
#include "core/resource.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/table.h"
#include "core/team.h"

#include <assert.h>

/* 2^32 * 2^(-1/2^k) for k = 1 .. 16: the powers from which any other is multiplied. */
static const uint64_t decay_powers[16] = {
    3037000500,
    3611622603,
    3938502376,
    4112874773,
    4202935003,
    4248701965,
    4271771996,
    4283353945,
    4289156690,
    4292061010,
    4293513907,
    4294240540,
    4294603903,
    4294785595,
    4294876445,
    4294921870,
};

/* 2^32 * 2^(-elapsed / half_life). */
static uint64_t decay_factor(int64_t elapsed_ms, int64_t half_life_ms)
{
    assert(elapsed_ms >= 0 && half_life_ms > 0);
    int64_t halvings = elapsed_ms / half_life_ms;
    if (halvings >= 32)
        return 0;
    int64_t rest = elapsed_ms % half_life_ms;
    uint32_t fraction = (uint32_t)(((__int128)rest << 16) / half_life_ms);
    uint64_t factor = (uint64_t)1 << 32;
    for (int k = 1; k <= 16; k++) {
        if (fraction >> (16 - k) & 1)
            factor = factor * decay_powers[k - 1] >> 32;
    }
    return factor >> halvings;
}

/* The largest share is that of the largest quotient, so one division does. */
int64_t dominant_share(const struct core *core, const int64_t *amounts)
{
    int64_t part = 0, whole = 1;
    for (int i = 0; i < RESOURCE_TYPES + (int)core->accelerator_types.count; i++) {
        int64_t capacity = core->capacity[i];
        if (amounts[i] <= 0 || capacity <= 0 ||
            (__int128)amounts[i] * whole <= (__int128)part * capacity)
            continue;
        part = amounts[i];
        whole = capacity;
    }
    return part ? least(scale_round(part, SHARE_ONE, whole), SHARE_ONE) : 0;
}

/* Of what the team holds: as it was computed last, if it still is that. */
static int64_t share_held(const struct core *core, const struct live_team *team)
{
    if (team->share_version == core->capacity_version)
        return team->share;
    return dominant_share(core, team->held);
}

void share_settle(const struct core *core, struct live_team *team)
{
    team->share = dominant_share(core, team->held);
    team->share_version = core->capacity_version;
}

int64_t usage_now(const struct core *core, const struct live_team *team)
{
    int64_t elapsed_ms = core->now_ms - team->row.usage_at_ms;
    int64_t share = share_held(core, team);
    if (elapsed_ms <= 0 || team->row.usage == share)
        return team->row.usage;
    uint64_t factor = decay_factor(elapsed_ms, core->options.usage_half_life_ms);
    __int128 distance = (__int128)(team->row.usage - share) * (int64_t)factor;
    return share + (int64_t)(distance / ((int64_t)1 << 32));
}

void usage_settle(struct core *core, struct live_team *team)
{
    if (team->row.usage_at_ms == core->now_ms)
        return;
    team->row.usage = usage_now(core, team);
    team->row.usage_at_ms = core->now_ms;
    change_put(core, &team->item);
}

void usage_settle_all(struct core *core)
{
    TABLE_EACH (core, ROW_TEAM, struct live_team, team)
        usage_settle(core, team);
}

int64_t fair_key(const struct core *core, const struct live_team *team)
{
    int64_t used = usage_now(core, team) + share_held(core, team);
    return scale_round(used, 1000000, most(team->row.weight_micro, 1));
}
