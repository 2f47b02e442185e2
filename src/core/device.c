/* Accelerator devices of a node: whole ones are bits of a mask, a share of one goes to the device
 * that is fullest and still has room, so that whole devices stay whole.
 *
 * Invariant: what is held of a device never passes 1000 thousandths. Held and claimed together may,
 * while a claim waits for a victim to leave. */
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/sort.h"

#include <assert.h>

static int32_t share_ranks(const struct live_node *node, int64_t milli, int32_t ranks)
{
    if (!node->row.fractional)
        return 0;
    int64_t fit = 0;
    for (int32_t i = 0; i < node->row.devices && fit < ranks; i++) {
        int64_t left = device_free(node, i);
        fit += left > 0 ? left / milli : 0;
    }
    return (int32_t)least(fit, ranks);
}

int32_t device_ranks(const struct live_node *node, const struct shape_row *shape, int32_t ranks)
{
    if (shape->accelerator_milli == 0)
        return ranks;
    if (shape->accelerator_milli < DEVICE_MILLI)
        return share_ranks(node, shape->accelerator_milli, ranks);
    int64_t need = shape->accelerator_milli / DEVICE_MILLI;
    return (int32_t)least(node->room.whole / need, ranks);
}

uint64_t device_pick_whole(
    const struct live_node *node, const struct shape_row *shape, int32_t ranks)
{
    int64_t need = shape->accelerator_milli / DEVICE_MILLI * ranks;
    uint64_t mask = 0;
    for (int32_t i = 0; i < node->row.devices && need > 0; i++) {
        if (device_free(node, i) != DEVICE_MILLI)
            continue;
        mask |= (uint64_t)1 << i;
        need--;
    }
    assert(need == 0);
    return mask;
}

int32_t device_pick_share(const struct live_node *node, int64_t milli, const int16_t *taken)
{
    int32_t best = -1;
    int64_t best_left = 0;
    for (int32_t i = 0; i < node->row.devices; i++) {
        int64_t left = device_free(node, i) - taken[i];
        if (left < milli || (best >= 0 && left >= best_left))
            continue;
        best = i;
        best_left = left;
    }
    return best;
}
