/* The default: a job goes where the mix of jobs loses least of what the node is worth to it
 * (packing_value.h), so that devices, CPU and memory run out together and sizes meet that fill a
 * device. The idea is that of bid prices in revenue management (Talluri and van Ryzin, 1998): take
 * the resources whose opportunity cost is least.
 *
 * The score is the sum of
 * - the value that the node loses, if CPU and memory were half and a quarter of what they are: who
 *   comes next is not known, so it is good to be careful with both;
 * - what gets out of reach of its devices because CPU or memory beside them are not in proportion
 *   (packing_balance.h);
 * - what stays idle of its devices, and of its CPU: fuller nodes first, which keeps others empty
 * for jobs that need many devices;
 * - what jobs of many devices can no longer use, and a fee for breaking a device that is whole;
 * - the pressure of jobs that may go to few nodes, on those nodes;
 * - the price at which nodes of its class fill together with others (packing_market.h);
 * and its last bits are a hash of the node's state, so that of equal scores the state decides and
 * not the order of nodes.
 *
 * While little is known of the mix, and where nobody asks for devices, the tight policy decides. */
#include "core/job.h"
#include "core/limits.h"
#include "core/packing.h"
#include "core/packing_market.h"
#include "core/packing_take.h"
#include "core/packing_view.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/score.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"

#include <assert.h>

/* Weights, in 2^-10 of a device's value; the value that is lost counts most: packing_view.h. */
enum {
    WEIGHT_PLAIN = 1 << 10, /* of a job without devices: with half of them */
    WEIGHT_IDLE = 18,       /* a device that stays idle */
    WEIGHT_CPU = 315,       /* all of the node's CPU that stays free */
    WEIGHT_ROOM = 8,        /* the same of CPU, memory and disk, for jobs without devices */
    WEIGHT_KEEP = 500,      /* a device that jobs of many can no longer use, if all ask for many */
    WEIGHT_PRESSURE = 1319, /* a device's worth of jobs that may go to few nodes */
    STATE_BITS = 16,
};

/* Of a class: parts of what its nodes have are products. */
struct scale {
    int64_t cpu, memory, disk; /* 2^46 / what there is */
};
enum { SCALE_BITS = 46 };

/* What is the same of a node whoever asks, until it changes: what every score looks at is in front.
 */
struct standing {
    int64_t worth;     /* what it is worth, less what is out of reach, and more for what jobs of
                        * many devices can use: all weighed */
    int64_t plain;     /* the same to jobs without devices: with half of its CPU and memory, less
                        * what lacks CPU beside its idle devices */
    int64_t cpu_scale; /* its class's */
    uint64_t pressure; /* on its class, and its price, weighed: of a device */
    struct bundle free;
    int32_t hash; /* of its state */
    int32_t class;
    struct reach reach;
    struct view view;
    char rest[8]; /* so that each begins a line of the cache, where there are many */
};
static_assert(sizeof(struct standing) % 64 == 0, "whole lines");
static_assert(offsetof(struct standing, view) % 32 == 0, "no eight numbers lie on two lines");

/* The same of a shape, until the tables change. */
struct asking {
    uint64_t version; /* core->packing_version */
    struct view_ask ask;
    struct reach reach;
};

struct learned {
    bool known; /* there is demand for devices */
    struct values values;
    struct balance balance;
    int64_t prices[MIX_CLASSES_MAX + 1]; /* of a device on nodes of each class: packing_market.h */
    struct scale scales[MIX_CLASSES_MAX + 1];
    VEC(struct standing) standings; /* by the nodes' ordinals.. */
    VEC(uint64_t) made;             /* at which node->changes each was; all bits: it was not */
    uint64_t numbered;              /* ..of core->scores.version */
    struct standing other;          /* of a node that is looked at as a copy, for a moment */
    struct asking stranger;         /* of a shape that was not got ready, for a moment */
};

/* ---- tables -----------------------------------------------------------------------------------
 */

static int64_t scale_of(int64_t whole)
{
    return whole > 0 ? ((int64_t)1 << SCALE_BITS) / whole : 0;
}

/* Looked at all over, hence side by side and in large pages. */
static void standings_provide(struct learned *learned, struct scores *scores)
{
    size_t count = scores->nodes.count;
    vec_reserve(&learned->made, count + 1);
    memset(learned->made.items, 0xff, count * sizeof *learned->made.items);
    for (size_t i = 0; i < count; i++)
        scores->known.items[i] = 0;
    vec_large(&learned->standings, count);
}

static void learned_make(struct core *core)
{
    struct learned *learned = core->packing_state;
    if (!learned)
        learned = core->packing_state = mem_alloc(1, sizeof *learned);
    learned->known = values_make(&core->mix, &learned->values);
    if (learned->known) {
        balance_make(&core->mix, learned->values.device, &learned->balance);
        market_make(&core->mix, &learned->values, &learned->balance, learned->prices);
    }
    for (size_t i = 0; i < core->mix.classes.count; i++) {
        const struct node_row *row = &core->mix.classes.items[i].like->row;
        learned->scales[i] = (struct scale){
            scale_of(row->cpu_milli), scale_of(row->memory_bytes), scale_of(row->disk_bytes)};
    }
    learned->numbered = core->scores.version;
    standings_provide(learned, &core->scores);
    core->packing_version++;
}

static void asking_make(
    const struct learned *learned, const struct shape_row *shape, struct asking *ret)
{
    view_ask_make(&learned->values, shape, &ret->ask);
    reach_make(&learned->balance, shape->cpu_milli, shape->memory_bytes, &ret->reach);
}

static void learned_ready(struct core *core, struct live_shape *shape)
{
    if (core->mix.topology_version != core->topology_version && mix_refresh(core))
        learned_make(core);
    const struct learned *learned = core->packing_state;
    if (!shape || !learned->known)
        return;
    struct asking *asking = shape->packing;
    if (!asking)
        asking = shape->packing = mem_alloc(1, sizeof *asking);
    if (asking->version == core->packing_version)
        return;
    asking->version = core->packing_version;
    asking_make(learned, &shape->row, asking);
}

static void learned_forget(struct core *core)
{
    struct learned *learned = core->packing_state;
    if (learned) {
        values_finish(&learned->values);
        vec_free(&learned->standings);
        vec_free(&learned->made);
    }
    free(learned);
    core->packing_state = NULL;
}

/* ---- what is remembered -----------------------------------------------------------------------
 */

static uint64_t state_hash(const struct mix_class *class, const struct live_node *node)
{
    uint64_t hash = class->hash ^ (uint64_t)node->room.all.cpu_milli * 0x9e3779b97f4a7c15u;
    hash ^= (uint64_t)node->room.all.memory_bytes * 0xbf58476d1ce4e5b9u;
    hash ^= (uint64_t)node->room.all.disk_bytes * 0x94d049bb133111ebu;
    hash ^= (uint64_t)(node->room.whole << 32 | node->room.shares) * 0xd6e8feb86659fd93u;
    return (hash ^ hash >> 32) * 0x9e3779b97f4a7c15u >> (64 - STATE_BITS);
}

/* What jobs of many devices can use of so many whole ones. */
LANES_PART int64_t keep_weighed(const struct balance *balance, int32_t whole)
{
    return (int64_t)balance->keep[whole] * WEIGHT_KEEP;
}

static __attribute__((noinline)) void standing_make(const struct core *core,
    const struct learned *learned, const struct live_node *node, struct standing *ret)
{
    const struct balance *balance = &learned->balance;
    view_make(&learned->values, node, NULL, &ret->view);
    struct worth worth = view_worth(&ret->view);
    reach_make(balance, node->room.all.cpu_milli, node->room.all.memory_bytes, &ret->reach);
    ret->worth = worth_weighed(worth) -
                 balance_stranded(balance, &ret->reach, &ret->reach, 0, worth.bare) +
                 keep_weighed(balance, ret->view.whole);
    ret->plain = (int64_t)worth.half * WEIGHT_PLAIN -
                 balance_lacking(balance, node->room.all.cpu_milli, ret->view.idle);
    ret->cpu_scale = learned->scales[node->packing_class].cpu;
    ret->pressure = (uint64_t)(learned->values.pressure[node->packing_class] * WEIGHT_PRESSURE +
                               learned->prices[node->packing_class]);
    ret->free = node->room.all;
    ret->hash = (int32_t)state_hash(mix_class_of(core, node), node);
    ret->class = node->packing_class;
}

/* What is remembered of the node, brought up to date; of one without a number, and of a copy, what
 * is made for the moment. */
static const struct standing *standing_of(const struct core *core, const struct live_node *node)
{
    struct learned *learned = core->packing_state;
    const struct scores *scores = &core->scores;
    uint32_t at = node->ordinal;
    bool there = learned->numbered == scores->version && at < learned->standings.count &&
                 scores->nodes.items[at] == node;
    struct standing *standing = there ? &learned->standings.items[at] : &learned->other;
    if (there && learned->made.items[at] == node->changes)
        return standing;
    standing_make(core, learned, node, standing);
    if (there) {
        learned->made.items[at] = node->changes;
        scores->known.items[at] = 0; /* on trial it changes unnoted */
    }
    return standing;
}

static const struct asking *asking_of(const struct core *core, const struct live_shape *shape)
{
    struct learned *learned = core->packing_state;
    const struct asking *asking = shape->packing;
    if (asking && asking->version == core->packing_version)
        return asking;
    asking_make(learned, &shape->row, &learned->stranger);
    return &learned->stranger;
}

/* ---- the score --------------------------------------------------------------------------------
 */

/* What is left of a whole, times a weight. */
LANES_PART int64_t part(int64_t left, int64_t scale, int64_t weight)
{
    return (most(left, 0) * scale >> (SCALE_BITS - VALUE_BITS)) * weight;
}

/* Nobody's demand for devices is known, or the node came since it was looked at. */
static bool unknown(const struct core *core, const struct live_node *node)
{
    const struct learned *learned = core->packing_state;
    return !learned || !learned->known || !mix_knows(core, node);
}

/* One decision: what the node was, who asks for what of it, and what is left. */
struct taking {
    const struct learned *learned;
    const struct standing *standing;
    const struct asking *asking;
    const struct shape_row *ask;
    struct view_taken taken;
    int32_t ranks;
};

/* Of ranks that take no device. */
LANES_PART int64_t score_plain(const struct taking *taking)
{
    const struct scale *scale = &taking->learned->scales[taking->standing->class];
    const struct bundle *free = &taking->standing->free;
    const struct balance *balance = &taking->learned->balance;
    const struct shape_row *ask = taking->ask;
    int64_t cpu_left = free->cpu_milli - ask->cpu_milli * taking->ranks;
    return taking->standing->plain - (int64_t)taking->taken.worth.half * WEIGHT_PLAIN +
           balance_lacking(balance, cpu_left, taking->taken.idle) +
           part(cpu_left, scale->cpu, WEIGHT_ROOM) +
           part(
               free->memory_bytes - ask->memory_bytes * taking->ranks, scale->memory, WEIGHT_ROOM) +
           part(free->disk_bytes - ask->disk_bytes * taking->ranks, scale->disk, WEIGHT_ROOM);
}

/* Of ranks that take devices. */
LANES_PART int64_t score_devices(const struct taking *taking)
{
    const struct standing *standing = taking->standing;
    const struct balance *balance = &taking->learned->balance;
    const struct reach *asks = &taking->asking->reach;
    const struct view_taken *taken = &taking->taken;
    int64_t cpu_left = standing->free.cpu_milli - taking->ask->cpu_milli * taking->ranks;
    uint64_t pressure = standing->pressure * (uint64_t)taking->ask->accelerator_milli;
    int64_t score =
        standing->worth - worth_weighed(taken->worth) - keep_weighed(balance, taken->whole);
    score +=
        taking->ranks == 1
            ? balance_stranded_one(balance, &standing->reach, asks, taken->worth.bare)
            : balance_stranded(balance, &standing->reach, asks, taking->ranks, taken->worth.bare);
    score += part(cpu_left, standing->cpu_scale, WEIGHT_CPU);
    score += taken->broke * balance->weights.breaks * VALUE_DEVICE;
    return score + (int64_t)(pressure / DEVICE_MILLI) * taking->ranks;
}

/* Of what `taken` leaves. */
LANES_PART int64_t score_taken(const struct taking *taking)
{
    uint64_t idle = (uint64_t)taking->taken.idle; /* of what fits it is not negative */
    int64_t score = (int64_t)(WEIGHT_IDLE * idle * VALUE_DEVICE / DEVICE_MILLI);
    score += taking->asking->ask.milli ? score_devices(taking) : score_plain(taking);
    return score * ((int64_t)1 << STATE_BITS) + taking->standing->hash;
}

static int64_t learned_score(const struct core *core, const struct live_job *job,
    const struct live_node *node, int32_t ranks)
{
    if (unknown(core, node))
        return packing_tight.score(core, job, node, ranks);
    struct taking taking = {core->packing_state, standing_of(core, node),
        asking_of(core, job->shape), &job->shape->row, .ranks = ranks};
    taking.taken = view_take(&taking.standing->view, &taking.asking->ask, ranks);
    return score_taken(&taking);
}

/* False when the mix does not know the node. */
static __attribute__((noinline)) bool standing_remake(
    const struct core *core, struct learned *learned, uint32_t ordinal)
{
    const struct live_node *node = core->scores.nodes.items[ordinal];
    if (!mix_knows(core, node))
        return false;
    if (learned->made.items[ordinal] != node->changes)
        standing_make(core, learned, node, &learned->standings.items[ordinal]);
    learned->made.items[ordinal] = node->changes;
    core->scores.known.items[ordinal] = 1;
    return true;
}

/* Makes what is remembered of the nodes that of today; false when the mix knows one of them not. */
static bool standings_ready(
    const struct core *core, struct learned *learned, const uint32_t *ordinals, size_t count)
{
    const struct standing *standings = learned->standings.items;
    const uint8_t *known = core->scores.known.items;
    for (size_t i = 0; i < count; i++) {
        const char *standing = (const char *)&standings[ordinals[i]];
        __builtin_prefetch(standing);
        __builtin_prefetch(standing + 64);
        __builtin_prefetch(standing + 128);
        if (!known[ordinals[i]] && !standing_remake(core, learned, ordinals[i]))
            return false;
    }
    return true;
}

LANES_PART void scores_each(
    struct taking *taking, const uint32_t *ordinals, size_t count, int64_t *ret)
{
    const struct standing *standings = taking->learned->standings.items;
    for (size_t i = 0; i < count; i++) {
        taking->standing = &standings[ordinals[i]];
        taking->taken = take_one(&taking->standing->view, &taking->asking->ask);
        ret[i] = score_taken(taking);
    }
}

/* All of this is one function, for it is what most decisions spend most of their time with: of the
 * nodes themselves it looks at none. What is the same for all is a copy, which the compiler knows
 * that no score is written to; and the loop is there once for each kind of what is asked for, for
 * that decides which half of it there is to do. */
LANES static void scores_known(
    const struct taking *like, const uint32_t *ordinals, size_t count, int64_t *ret)
{
    const struct asking asking = *like->asking;
    const struct shape_row ask = *like->ask;
    struct taking taking = {like->learned, .asking = &asking, .ask = &ask, .ranks = 1};
    if (asking.ask.milli >= DEVICE_MILLI)
        scores_each(&taking, ordinals, count, ret);
    else if (asking.ask.milli > 0)
        scores_each(&taking, ordinals, count, ret);
    else
        scores_each(&taking, ordinals, count, ret);
}

static void learned_scores(const struct core *core, const struct live_job *job,
    const uint32_t *ordinals, size_t count, int64_t *ret)
{
    struct learned *learned = core->packing_state;
    if (learned && learned->known && learned->numbered == core->scores.version &&
        standings_ready(core, learned, ordinals, count)) {
        struct taking like = {
            learned, .asking = asking_of(core, job->shape), .ask = &job->shape->row};
        scores_known(&like, ordinals, count, ret);
        return;
    }
    for (size_t i = 0; i < count; i++)
        ret[i] = learned_score(core, job, core->scores.nodes.items[ordinals[i]], 1);
}

/* The view of the node less what is taken. */
static const struct view *view_less(
    const struct core *core, const struct live_node *node, const int16_t *taken)
{
    struct learned *learned = core->packing_state;
    int32_t sum = 0;
    for (int32_t i = 0; i < node->row.devices; i++)
        sum += taken[i];
    if (sum == 0)
        return &standing_of(core, node)->view;
    view_make(&learned->values, node, taken, &learned->other.view);
    return &learned->other.view;
}

static int32_t learned_device(const struct core *core, const struct live_job *job,
    const struct live_node *node, const int16_t *taken)
{
    if (unknown(core, node))
        return packing_fullest_device(core, job, node, taken);
    const struct view_ask *ask = &asking_of(core, job->shape)->ask;
    int32_t from = view_take(view_less(core, node, taken), ask, 1).from;
    for (int32_t i = 0; i < node->row.devices && from >= ask->milli; i++) {
        if (device_free(node, i) - taken[i] == from)
            return i;
    }
    return -1;
}

const struct packing packing_learned = {
    .name = "default",
    .summary = "the node that loses least of what it is worth to the jobs there are",
    .score = learned_score,
    .scores = learned_scores,
    .device = learned_device,
    .ready = learned_ready,
    .learns = true,
    .forget = learned_forget,
};
