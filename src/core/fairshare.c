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

int64_t dominant_share(const struct core *core, const int64_t *amounts)
{
    int64_t share = 0;
    for (int i = 0; i < RESOURCE_MAX; i++) {
        if (amounts[i] <= 0)
            continue;
        int64_t part =
            core->capacity[i] > 0 ? scale_round(amounts[i], SHARE_ONE, core->capacity[i]) : 0;
        share = most(share, least(part, SHARE_ONE));
    }
    return share;
}

int64_t usage_now(const struct core *core, const struct live_team *team)
{
    int64_t elapsed_ms = core->now_ms - team->row.usage_at_ms;
    int64_t share = dominant_share(core, team->held);
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
    int64_t used = usage_now(core, team) + dominant_share(core, team->held);
    return scale_round(used, 1000000, most(team->row.weight_micro, 1));
}
