/* Tight: the node that is left fullest. Accelerators count before everything else, and a device
 * that is broken already before one that is whole, so that whole devices and nodes with
 * accelerators are spared; then what is left of CPU, memory and disk, as parts of the node. */
#include "core/job.h"
#include "core/limits.h"
#include "core/packing.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/resource.h"
#include "core/shape.h"

#include <assert.h>

/* Rounded half up. A thousand AMOUNT_MAX fit 64 bits, where a division is several times as fast as
 * scale_round's: this is done three times for each node a job may go to. */
static int64_t per_mille(int64_t part, int64_t whole)
{
    static_assert(AMOUNT_MAX < INT64_MAX / 2048, "no overflow");
    assert(part <= AMOUNT_MAX && whole <= AMOUNT_MAX);
    return whole > 0 && part > 0 ? (part * 1000 + whole / 2) / whole : 0;
}

/* Thousandths of devices that stay free; what is open already counts more than what is not. */
static int64_t devices_left(
    const struct live_shape *shape, const struct live_node *node, int32_t ranks)
{
    int64_t whole = node->room.whole, shares = node->room.shares;
    int64_t milli = shape->row.accelerator_milli;
    if (milli == 0 || milli >= DEVICE_MILLI)
        return whole * DEVICE_MILLI - milli * ranks;
    /* A share: opening a whole device costs a whole one. */
    int64_t opens = shares >= milli * ranks ? 0 : DEVICE_MILLI;
    return opens * DEVICES_MAX + shares;
}

static int64_t tight_score(const struct core *core, const struct live_job *job,
    const struct live_node *node, int32_t ranks)
{
    (void)core;
    const struct live_shape *shape = job->shape;
    struct bundle ask = bundle_of_shape(&shape->row, ranks);
    int64_t left =
        per_mille(node->row.cpu_milli - node->held.cpu_milli - ask.cpu_milli, node->row.cpu_milli);
    left += per_mille(node->row.memory_bytes - node->held.memory_bytes - ask.memory_bytes,
        node->row.memory_bytes);
    left += per_mille(
        node->row.disk_bytes - node->held.disk_bytes - ask.disk_bytes, node->row.disk_bytes);
    return devices_left(shape, node, ranks) * 4096 + left;
}

const struct packing packing_tight = {
    .name = "tight",
    .summary = "the node that is left fullest, accelerators before CPU and memory",
    .score = tight_score,
    .device = packing_fullest_device,
};
