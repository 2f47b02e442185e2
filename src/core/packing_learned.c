/* The default: a job goes where the mix of jobs loses least of what the node is worth to it
 * (packing_value.h), so that devices, CPU and memory run out together and sizes meet that fill a
 * device. The idea is that of bid prices in revenue management (Talluri and van Ryzin, 1998): take
 * the resources whose opportunity cost is least.
 *
 * The score is the sum of
 * - the value that the node loses, if CPU and memory were half and a quarter of what they are: who
 *   comes next is not known, so it is good to be careful with both;
 * - what stays idle of its devices, and of its CPU: fuller nodes first, which keeps others empty
 * for jobs that need many devices;
 * - a fee for breaking a device that is whole;
 * - the pressure of jobs that may go to few nodes, on those nodes;
 * and its last bits are a hash of the node's state, so that of equal scores the state decides and
 * not the order of nodes.
 *
 * While little is known of the mix, and where nobody asks for devices, the tight policy decides. */
#include "core/job.h"
#include "core/limits.h"
#include "core/packing.h"
#include "core/packing_value.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"

#include <assert.h>

/* Weights, in 2^-10 of a device's value; the value that is lost counts most. */
enum {
    WEIGHT_HALF = 7 << 10,    /* the value lost with half of CPU and memory.. */
    WEIGHT_QUARTER = 8 << 10, /* ..and with a quarter */
    WEIGHT_PLAIN = 1 << 10,   /* of a job without devices: with half of them */
    WEIGHT_IDLE = 18,         /* a device that stays idle */
    WEIGHT_CPU = 315,         /* all of the node's CPU that stays free */
    WEIGHT_ROOM = 8,          /* the same of CPU, memory and disk, for jobs without devices */
    WEIGHT_BREAK = 258,       /* a whole device that gets broken */
    WEIGHT_PRESSURE = 1319,   /* a device's worth of jobs that may go to few nodes */
    STATE_BITS = 16,
};

#define CPU_SEEN                                                                                   \
    ((int64_t)1 << 20) /* thousandths; more of a node makes no difference to its value */
#define MEMORY_SEEN ((int64_t)1 << 22) /* MiB */

/* Of a class: parts of what its nodes have are products. */
struct scale {
    int64_t cpu, memory, disk; /* 2^46 / what there is */
};
enum { SCALE_BITS = 46 };

struct learned {
    bool known; /* there is demand for devices */
    struct values values;
    struct scale scales[MIX_CLASSES_MAX + 1];
};

/* What is free of a node, as the values see it. */
struct view {
    const struct value_table *table;
    int64_t cpu_milli, memory_bytes, disk_bytes;
    int64_t sums[VALUE_LINES]; /* of its devices, at each line's prices */
    int64_t whole, idle;       /* devices untouched; thousandths free of all */
    int32_t devices;
    int16_t device[DEVICES_MAX];
};

struct worth {
    int64_t half, quarter;
};

/* ---- tables -----------------------------------------------------------------------------------
 */

static int64_t scale_of(int64_t whole)
{
    return whole > 0 ? ((int64_t)1 << SCALE_BITS) / whole : 0;
}

static void learned_ready(struct core *core, struct live_shape *shape)
{
    (void)shape;
    if (!mix_refresh(core))
        return;
    struct learned *learned = core->packing_state;
    if (!learned)
        learned = core->packing_state = mem_alloc(1, sizeof *learned);
    learned->known = values_make(&core->mix, &learned->values);
    for (size_t i = 0; i < core->mix.classes.count; i++) {
        const struct node_row *row = &core->mix.classes.items[i].like->row;
        learned->scales[i] = (struct scale){
            scale_of(row->cpu_milli), scale_of(row->memory_bytes), scale_of(row->disk_bytes)};
    }
    core->packing_version++;
}

static void learned_forget(struct core *core)
{
    struct learned *learned = core->packing_state;
    if (learned)
        values_finish(&learned->values);
    free(learned);
    core->packing_state = NULL;
}

/* ---- a node's worth ---------------------------------------------------------------------------
 */

static void sums_add(struct view *view, const int32_t *lines, int sign)
{
    for (int i = 0; i < VALUE_LINES; i++)
        view->sums[i] += sign * lines[i];
}

static const int32_t *level_lines(const struct view *view, int64_t milli)
{
    return view->table->level[milli * VALUE_LEVELS / DEVICE_MILLI];
}

static void view_init(const struct learned *learned, const struct live_node *node,
    const int16_t *taken, struct view *view)
{
    view->table = &learned->values.tables.items[learned->values.table_of[node->packing_class]];
    view->cpu_milli = node->room.all.cpu_milli;
    view->memory_bytes = node->room.all.memory_bytes;
    view->disk_bytes = node->room.all.disk_bytes;
    view->devices = node->row.devices;
    view->whole = view->idle = 0;
    memset(view->sums, 0, sizeof view->sums);
    for (int32_t i = 0; i < view->devices; i++) {
        int64_t left = most(device_free(node, i) - (taken ? taken[i] : 0), 0);
        view->device[i] = (int16_t)left;
        view->idle += left;
        view->whole += left == DEVICE_MILLI;
        if (left > 0 && left < DEVICE_MILLI)
            sums_add(view, level_lines(view, left), 1);
    }
    sums_add(view, view->table->whole[view->whole], 1);
}

static struct worth worth_of(const struct learned *learned, const struct view *view)
{
    const struct values *values = &learned->values;
    int64_t cpu = least(most(view->cpu_milli, 0), CPU_SEEN);
    int64_t memory = least(most(view->memory_bytes, 0) >> 20, MEMORY_SEEN);
    struct worth worth = {INT64_MAX, INT64_MAX};
    for (int i = 0; i < VALUE_LINES; i++) {
        int64_t rest = (values->cpu_price[i] * cpu >> VALUE_PRICE_BITS) +
                       (values->memory_price[i] * memory >> VALUE_PRICE_BITS);
        worth.half = least(worth.half, view->sums[i] + rest / 2);
        worth.quarter = least(worth.quarter, view->sums[i] + rest / 4);
    }
    return worth;
}

static int64_t weighed(const struct worth *worth)
{
    return worth->half * WEIGHT_HALF + worth->quarter * WEIGHT_QUARTER;
}

/* ---- taking -----------------------------------------------------------------------------------
 */

static void take_level(struct view *view, int32_t device, int64_t milli)
{
    int64_t left = view->device[device];
    if (left == DEVICE_MILLI) {
        sums_add(view, view->table->whole[view->whole], -1);
        view->whole--;
        sums_add(view, view->table->whole[view->whole], 1);
    } else {
        sums_add(view, level_lines(view, left), -1);
    }
    view->device[device] = (int16_t)(left - milli);
    sums_add(view, level_lines(view, left - milli), 1);
    view->idle -= milli;
}

/* Whether an earlier device has as much left: the same choice. */
static bool seen_before(const struct view *view, int32_t device)
{
    for (int32_t i = 0; i < device; i++) {
        if (view->device[i] == view->device[device])
            return true;
    }
    return false;
}

/* The device on which a share leaves most value behind; of equals the fullest. CPU and memory of
 * the rank are taken already. */
static int32_t share_device(const struct learned *learned, const struct view *view, int64_t milli)
{
    int32_t best = -1;
    int64_t best_value = 0;
    for (int32_t i = 0; i < view->devices; i++) {
        if (view->device[i] < milli || seen_before(view, i))
            continue;
        struct view after = *view;
        take_level(&after, i, milli);
        struct worth worth = worth_of(learned, &after);
        int64_t value = weighed(&worth);
        if (best >= 0 &&
            (value < best_value || (value == best_value && view->device[i] >= view->device[best])))
            continue;
        best = i;
        best_value = value;
    }
    return best;
}

/* Takes a rank; how many whole devices it breaks. */
static int64_t take_rank(
    const struct learned *learned, struct view *view, const struct shape_row *ask)
{
    view->cpu_milli -= ask->cpu_milli;
    view->memory_bytes -= ask->memory_bytes;
    view->disk_bytes -= ask->disk_bytes;
    if (ask->accelerator_milli == 0)
        return 0;
    if (ask->accelerator_milli >= DEVICE_MILLI) {
        sums_add(view, view->table->whole[view->whole], -1);
        view->whole = most(view->whole - ask->accelerator_milli / DEVICE_MILLI, 0);
        sums_add(view, view->table->whole[view->whole], 1);
        view->idle -= ask->accelerator_milli;
        return 0;
    }
    int32_t device = share_device(learned, view, ask->accelerator_milli);
    if (device < 0)
        return 0;
    bool breaks = view->device[device] == DEVICE_MILLI;
    take_level(view, device, ask->accelerator_milli);
    return breaks;
}

/* ---- the score --------------------------------------------------------------------------------
 */

/* What is left of a whole, times a weight. */
static int64_t part(int64_t left, int64_t scale, int64_t weight)
{
    return (most(left, 0) * scale >> (SCALE_BITS - VALUE_BITS)) * weight;
}

static uint64_t state_hash(const struct mix_class *class, const struct live_node *node)
{
    uint64_t hash = class->hash ^ (uint64_t)node->room.all.cpu_milli * 0x9e3779b97f4a7c15u;
    hash ^= (uint64_t)node->room.all.memory_bytes * 0xbf58476d1ce4e5b9u;
    hash ^= (uint64_t)node->room.all.disk_bytes * 0x94d049bb133111ebu;
    hash ^= (uint64_t)(node->room.whole << 32 | node->room.shares) * 0xd6e8feb86659fd93u;
    return (hash ^ hash >> 32) * 0x9e3779b97f4a7c15u >> (64 - STATE_BITS);
}

static int64_t learned_score(const struct core *core, const struct live_job *job,
    const struct live_node *node, int32_t ranks)
{
    const struct learned *learned = core->packing_state;
    if (!learned || !learned->known)
        return packing_tight.score(core, job, node, ranks);
    const struct shape_row *ask = &job->shape->row;
    const struct mix_class *class = mix_class_of(core, node);
    const struct scale *scale = &learned->scales[node->packing_class];
    struct view view;
    view_init(learned, node, NULL, &view);
    struct worth before = worth_of(learned, &view);
    int64_t broken = 0;
    for (int32_t i = 0; i < ranks; i++)
        broken += take_rank(learned, &view, ask);
    struct worth after = worth_of(learned, &view);
    int64_t score = WEIGHT_IDLE * view.idle * VALUE_DEVICE / DEVICE_MILLI;
    if (ask->accelerator_milli == 0) {
        score += (before.half - after.half) * WEIGHT_PLAIN;
        score += part(view.cpu_milli, scale->cpu, WEIGHT_ROOM) +
                 part(view.memory_bytes, scale->memory, WEIGHT_ROOM) +
                 part(view.disk_bytes, scale->disk, WEIGHT_ROOM);
    } else {
        score += weighed(&before) - weighed(&after);
        score += part(view.cpu_milli, scale->cpu, WEIGHT_CPU);
        score += broken * WEIGHT_BREAK * VALUE_DEVICE;
        score += learned->values.pressure[node->packing_class] * WEIGHT_PRESSURE *
                 ask->accelerator_milli / DEVICE_MILLI * ranks;
    }
    return score * ((int64_t)1 << STATE_BITS) + (int64_t)state_hash(class, node);
}

static int32_t learned_device(const struct core *core, const struct live_job *job,
    const struct live_node *node, const int16_t *taken)
{
    const struct learned *learned = core->packing_state;
    if (!learned || !learned->known)
        return packing_fullest_device(core, job, node, taken);
    const struct shape_row *ask = &job->shape->row;
    struct view view;
    view_init(learned, node, taken, &view);
    view.cpu_milli -= ask->cpu_milli;
    view.memory_bytes -= ask->memory_bytes;
    return share_device(learned, &view, ask->accelerator_milli);
}

const struct packing packing_learned = {
    .name = "default",
    .summary = "the node that loses least of what it is worth to the jobs there are",
    .score = learned_score,
    .device = learned_device,
    .ready = learned_ready,
    .learns = true,
    .forget = learned_forget,
};
