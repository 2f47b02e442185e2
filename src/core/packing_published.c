/* Policies of papers and simulators, for comparison: first fit, random, dot product (Tetris,
 * SIGCOMM 2014), GPU packing (MLaaS in the wild, NSDI 2022), GPU clustering (Gandiva, OSDI 2018)
 * and best fit, as FGD's paper compares them (Weng et al., ATC 2023): its simulator gives every
 * node a whole number from 0 to 100, of equal nodes the first takes the job, and a node's CPU and
 * devices are parts of the largest node's, 128 CPUs and 8 devices.
 *
 * A score here is 100 less theirs, so that less is better; what they cut off is rounded up. */
#include "core/attempt.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/packing.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/shape.h"
#include "core/sort.h"

#include <assert.h>

#define CPU_WHOLE     ((int64_t)128000) /* of the largest node */
#define DEVICES_WHOLE ((int64_t)8000)

static int64_t cpu_left(const struct live_node *node)
{
    return most(node->room.all.cpu_milli, 0);
}

static int64_t devices_left(const struct live_node *node)
{
    return node->room.whole * DEVICE_MILLI + node->room.shares;
}

static bool wants_share(const struct live_job *job)
{
    int64_t milli = job->shape->row.accelerator_milli;
    return milli > 0 && milli < DEVICE_MILLI;
}

/* ---- first fit, random ------------------------------------------------------------------------
 */

static int64_t first_score(const struct core *core, const struct live_job *job,
    const struct live_node *node, int32_t ranks)
{
    (void)core, (void)job, (void)node, (void)ranks;
    return 0;
}

static int32_t first_device(const struct core *core, const struct live_job *job,
    const struct live_node *node, const int16_t *taken)
{
    (void)core;
    for (int32_t i = 0; i < node->row.devices; i++) {
        if (device_free(node, i) - taken[i] >= job->shape->row.accelerator_milli)
            return i;
    }
    return -1;
}

const struct packing packing_first_fit = {
    .name = "first-fit",
    .summary = "the first node that has room",
    .score = first_score,
    .device = first_device,
};

/* Well mixed bits of two numbers: splitmix64's finish (Steele et al., OOPSLA 2014). */
static uint64_t mixed(uint64_t a, uint64_t b)
{
    uint64_t x = a * 0x9e3779b97f4a7c15u + b;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static int64_t random_score(const struct core *core, const struct live_job *job,
    const struct live_node *node, int32_t ranks)
{
    (void)core, (void)ranks;
    return (int64_t)(mixed(job->row.id, node->row.id) >> 4);
}

static int32_t random_device(const struct core *core, const struct live_job *job,
    const struct live_node *node, const int16_t *taken)
{
    (void)core;
    int32_t best = -1;
    uint64_t best_draw = 0;
    for (int32_t i = 0; i < node->row.devices; i++) {
        uint64_t draw = mixed(job->row.id, (uint64_t)i);
        if (device_free(node, i) - taken[i] < job->shape->row.accelerator_milli ||
            (best >= 0 && draw <= best_draw))
            continue;
        best = i;
        best_draw = draw;
    }
    return best;
}

const struct packing packing_random = {
    .name = "random",
    .summary = "any node that has room, drawn for each job",
    .per_job = true,
    .score = random_score,
    .device = random_device,
};

/* ---- best fit ---------------------------------------------------------------------------------
 */

/* ceil(50 * (cpu / 128 CPUs + devices / 8 devices)). */
static int64_t best_score(const struct core *core, const struct live_job *job,
    const struct live_node *node, int32_t ranks)
{
    (void)core;
    const struct shape_row *ask = &job->shape->row;
    int64_t cpu = cpu_left(node) - ask->cpu_milli * ranks;
    int64_t devices = devices_left(node) - ask->accelerator_milli * ranks;
    int64_t left = 50 * (cpu + devices * (CPU_WHOLE / DEVICES_WHOLE));
    return (left + CPU_WHOLE - 1) / CPU_WHOLE;
}

const struct packing packing_best_fit = {
    .name = "best-fit",
    .summary = "the node with the least CPU and devices left",
    .score = best_score,
    .device = packing_fullest_device,
};

/* ---- dot product ------------------------------------------------------------------------------
 */

/* ceil(50 * what is left . what is asked), both as parts of the largest node: a node that has much
 * left is a bad one. A job that takes part of a device sees, of the devices, one that is broken
 * already, or all that are whole. */
static int64_t dot_score_of(const struct shape_row *ask, int64_t cpu, int64_t devices)
{
    const int64_t scale = CPU_WHOLE / DEVICES_WHOLE;
    __int128 dot =
        (__int128)cpu * ask->cpu_milli + (__int128)devices * ask->accelerator_milli * scale * scale;
    const __int128 whole = (__int128)CPU_WHOLE * CPU_WHOLE;
    return (int64_t)((50 * dot + whole - 1) / whole);
}

/* The device that a share goes to, -1: one of those that are whole. */
static int64_t dot_best(
    const struct shape_row *ask, const struct live_node *node, int32_t *ret_device)
{
    int64_t cpu = cpu_left(node), best = INT64_MAX;
    *ret_device = -1;
    for (int32_t i = 0; i < node->row.devices && ask->accelerator_milli < DEVICE_MILLI; i++) {
        int64_t left = device_free(node, i);
        if (left >= DEVICE_MILLI || left < ask->accelerator_milli)
            continue;
        int64_t score = dot_score_of(ask, cpu, left);
        if (score < best) {
            best = score;
            *ret_device = i;
        }
    }
    if (node->room.whole == 0)
        return best;
    int64_t score = dot_score_of(ask, cpu, node->room.whole * DEVICE_MILLI);
    if (score < best) {
        best = score;
        *ret_device = -1;
    }
    return best;
}

static int64_t dot_score(const struct core *core, const struct live_job *job,
    const struct live_node *node, int32_t ranks)
{
    (void)core, (void)ranks;
    const struct shape_row *ask = &job->shape->row;
    int32_t device;
    if (ask->accelerator_milli == 0 && node->row.devices == 0)
        return dot_score_of(ask, cpu_left(node), 0);
    int64_t score = dot_best(ask, node, &device);
    return score == INT64_MAX ? 100 : score;
}

static int32_t dot_device(const struct core *core, const struct live_job *job,
    const struct live_node *node, const int16_t *taken)
{
    int32_t device;
    dot_best(&job->shape->row, node, &device);
    if (device >= 0 &&
        device_free(node, device) - taken[device] >= job->shape->row.accelerator_milli)
        return device;
    for (int32_t i = 0; i < node->row.devices; i++) {
        if (device_free(node, i) == DEVICE_MILLI && taken[i] == 0)
            return i;
    }
    return packing_fullest_device(core, job, node, taken);
}

const struct packing packing_dot_product = {
    .name = "dot-product",
    .summary = "the node whose room is least like what the job asks (Tetris)",
    .score = dot_score,
    .device = dot_device,
};

/* ---- GPU packing ------------------------------------------------------------------------------
 */

/* First broken devices, the fuller the better; then whole ones of a node in use, few; then a node
 * of which every device is whole, the smaller the better. */
static int64_t packing_devices_score(const struct core *core, const struct live_job *job,
    const struct live_node *node, int32_t ranks)
{
    (void)ranks;
    const struct shape_row *ask = &job->shape->row;
    if (ask->accelerator_milli == 0)
        return 100;
    if (node->room.whole == node->row.devices)
        return 100 - most(33 - node->room.whole, node->room.whole);
    int16_t taken[DEVICES_MAX] = {0};
    int32_t device = wants_share(job) ? packing_fullest_device(core, job, node, taken) : -1;
    int64_t left = device >= 0 ? device_free(node, device) : DEVICE_MILLI;
    int64_t whole = wants_share(job) ? 1 : ask->accelerator_milli / DEVICE_MILLI;
    return left == DEVICE_MILLI ? 100 - most(50 - whole, 33) : left * 100 / DEVICE_MILLI / 10;
}

const struct packing packing_gpu_packing = {
    .name = "gpu-packing",
    .summary = "broken devices first, then nodes in use, then idle nodes",
    .score = packing_devices_score,
    .device = packing_fullest_device,
};

/* ---- GPU clustering ---------------------------------------------------------------------------
 */

/* What sort of jobs is on the node: a bit for shares, others for numbers of whole devices. */
static uint64_t sort_of(const struct shape_row *shape)
{
    if (shape->accelerator_milli == 0)
        return 0;
    if (shape->accelerator_milli < DEVICE_MILLI)
        return 1;
    int64_t devices = least(shape->accelerator_milli / DEVICE_MILLI, 63);
    return (uint64_t)1 << devices;
}

static uint64_t sorts_on(const struct live_node *node)
{
    uint64_t sorts = 0;
    for (size_t i = 0; i < node->placements.count; i++) {
        const struct live_attempt *attempt = node->placements.items[i]->attempt;
        sorts |= attempt->away ? 0 : sort_of(&attempt->job->shape->row);
    }
    return sorts;
}

static int64_t clustering_score(const struct core *core, const struct live_job *job,
    const struct live_node *node, int32_t ranks)
{
    (void)core, (void)ranks;
    uint64_t mine = sort_of(&job->shape->row), there = sorts_on(node);
    if (!mine)
        return 100;
    int64_t tier = 0; /* others only */
    if (there == mine)
        tier = 75;
    else if (there & mine)
        tier = 50;
    else if (!there)
        tier = 25;
    return 100 - tier - 25 * most(DEVICES_WHOLE - devices_left(node), 0) / DEVICES_WHOLE;
}

const struct packing packing_gpu_clustering = {
    .name = "gpu-clustering",
    .summary = "nodes that have jobs of the same number of devices (Gandiva)",
    .score = clustering_score,
    .device = packing_fullest_device,
};
