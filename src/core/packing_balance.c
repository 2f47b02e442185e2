/* Devices, CPU and memory in proportion: see packing_balance.h. */
#include "core/packing_balance.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/shape.h"
#include "core/sort.h"

#include <assert.h>

/* Multiples of the average, in percent; memory counts with a little more of it. */
static const int64_t steps[BALANCE_STEPS] = {70, 100, 145, 200};
enum { MEMORY_PERCENT = 138 };

/* Weights where CPU and memory are plenty, and where they are short. */
static const struct balance_weights loose = {.reach = {0, 0, 2000, 0}, .lacks = 50, .breaks = 258},
                                    scarce = {.reach = {1000, 1050, 5000, 1680},
                                        .lacks = 115,
                                        .breaks = 1010};

/* What is asked beside devices, in thousandths of what nodes have beside theirs: from where on it
 * is not plenty, and from where on it is short. */
enum { LOOSE_MILLE = 850, SCARCE_MILLE = 1000 };

/* The most that room for many devices counts more: where CPU and memory are next to free; where
 * jobs hardly differ in what they ask of one of them, from so much on down to so much, in
 * thousandths of what nodes have beside a device, and where not only a few ask for many, between
 * these parts of the demand; where all ask for many, beginning at so much of it. */
enum { KEEP_PLENTY = 100, KEEP_ALIKE = 9, KEEP_MANY = 200 };
enum { DIFFERENT_MILLE = 250, ALIKE_MILLE = 190, FEW_MILLE = 100, SOME_MILLE = 250 };
enum { MANY_MILLE = 750 };

static_assert(
    (KEEP_PLENTY + KEEP_ALIKE + KEEP_MANY + 1) * (VALUE_DEVICE * VALUE_DEVICES_MAX) < INT32_MAX,
    "what is kept fits");

#define REACH_MAX ((int64_t)1 << 28) /* above the worth of all devices of a node */

/* ---- how scarce things are ----------------------------------------------------------------
 */

/* Sums of whole pools, or of all jobs. */
struct sums {
    __int128 milli, cpu_milli, mib;
};

static struct sums asked_of(const struct mix *mix)
{
    struct sums sums = {0};
    for (size_t i = 0; i < mix->items.count; i++) {
        const struct shape_row *shape = &mix->items.items[i].shape->row;
        __int128 ranks = mix->items.items[i].ranks;
        sums.milli += ranks * shape->accelerator_milli;
        sums.cpu_milli += ranks * shape->cpu_milli;
        sums.mib += ranks * (shape->memory_bytes >> 20);
    }
    return sums;
}

static struct sums nodes_of(const struct mix *mix)
{
    struct sums sums = {0};
    for (size_t i = 0; i < mix->classes.count; i++) {
        const struct mix_class *class = &mix->classes.items[i];
        sums.milli += (__int128)class->nodes * class->like->row.devices * DEVICE_MILLI;
        sums.cpu_milli += (__int128)class->nodes * class->like->row.cpu_milli;
        sums.mib += (__int128)class->nodes * (class->like->row.memory_bytes >> 20);
    }
    return sums;
}

/* Asked beside a device against there beside a device, in thousandths. */
static int64_t mille_of(__int128 asked, __int128 asked_devices, __int128 has, __int128 has_devices)
{
    if (has == 0 || asked_devices == 0)
        return 0;
    __int128 mille = asked * has_devices / asked_devices * 1000 / has;
    return mille > SCARCE_MILLE ? SCARCE_MILLE : (int64_t)mille;
}

static int64_t between(int64_t low, int64_t high, int64_t mille)
{
    return low + (high - low) * (mille - LOOSE_MILLE) / (SCARCE_MILLE - LOOSE_MILLE);
}

/* Of CPU or memory, whichever is shorter. */
static int64_t shortage_of(const struct sums *asked, const struct sums *has)
{
    int64_t cpu = mille_of(asked->cpu_milli, asked->milli, has->cpu_milli, has->milli);
    return most(cpu, mille_of(asked->mib, asked->milli, has->mib, has->milli));
}

static void weights_make(int64_t shortage, struct balance_weights *ret)
{
    int64_t mille = most(shortage, LOOSE_MILLE);
    for (int i = 0; i < BALANCE_STEPS; i++)
        ret->reach[i] = (int32_t)between(loose.reach[i], scarce.reach[i], mille);
    ret->lacks = between(loose.lacks, scarce.lacks, mille);
    ret->breaks = between(loose.breaks, scarce.breaks, mille);
}

/* ---- tables -------------------------------------------------------------------------------
 */

static void prices_make(const struct mix *mix, int64_t device, struct balance *ret)
{
    int64_t cpu = values_per_device(mix, false), memory = values_per_device(mix, true);
    for (int i = 0; i < BALANCE_STEPS; i++) {
        ret->cpu_price[i] = (device << VALUE_PRICE_BITS) / steps[i] * 100 / cpu;
        ret->memory_price[i] =
            (device << VALUE_PRICE_BITS) / steps[i] * 100 / memory * 100 / MEMORY_PERCENT;
    }
}

/* The shortage that nine tenths of the demand for devices have at most, up to LOOSE_MILLE. */
static int64_t shortage_mostly(const struct mix *mix, const struct sums *has, __int128 asked_milli)
{
    __int128 milli[LOOSE_MILLE + 1] = {0}, above = 0;
    int64_t mille = LOOSE_MILLE;
    for (size_t i = 0; i < mix->items.count; i++) {
        const struct shape_row *shape = &mix->items.items[i].shape->row;
        const struct sums one = {
            shape->accelerator_milli, shape->cpu_milli, shape->memory_bytes >> 20};
        if (one.milli)
            milli[least(shortage_of(&one, has), LOOSE_MILLE)] +=
                one.milli * mix->items.items[i].ranks;
    }
    while (mille > 0 && (above += milli[mille]) * 10 <= asked_milli)
        mille--;
    return mille;
}

/* What asks for many devices, but for more than the largest node has. */
static __int128 many_of(const struct mix *mix)
{
    __int128 milli = 0;
    for (size_t i = 0; i < mix->items.count; i++) {
        int64_t each = mix->items.items[i].shape->row.accelerator_milli;
        if (each >= 2 * DEVICE_MILLI && each <= (int64_t)VALUE_DEVICES_MAX * DEVICE_MILLI)
            milli += (__int128)mix->items.items[i].ranks * each;
    }
    return milli;
}

static bool asks_for_few(const struct shape_row *shape)
{
    return shape->accelerator_milli > 0 && shape->accelerator_milli < 2 * DEVICE_MILLI;
}

static int64_t beside(const struct shape_row *shape, bool memory)
{
    return memory ? shape->memory_bytes >> 20 : shape->cpu_milli;
}

/* By how much what jobs of few devices ask for beside one differs from its average, on average. */
static int64_t spread_of(const struct mix *mix, const struct sums *has, bool memory)
{
    __int128 milli = 0, sum = 0, off = 0, there = memory ? has->mib : has->cpu_milli;
    for (size_t i = 0; i < mix->items.count; i++) {
        const struct mix_item *item = &mix->items.items[i];
        if (!asks_for_few(&item->shape->row))
            continue;
        milli += (__int128)item->ranks * item->shape->row.accelerator_milli;
        sum += (__int128)item->ranks * beside(&item->shape->row, memory);
    }
    if (milli == 0 || there == 0)
        return 0;
    for (size_t i = 0; i < mix->items.count; i++) {
        const struct shape_row *shape = &mix->items.items[i].shape->row;
        if (!asks_for_few(shape))
            continue;
        __int128 more = beside(shape, memory) - sum * shape->accelerator_milli / milli;
        off += (more < 0 ? -more : more) * mix->items.items[i].ranks;
    }
    return (int64_t)(off * has->milli / milli * 1000 / there);
}

/* 0 where jobs ask for CPU as well as memory in different measure, 1000 where for one of them they
 * hardly do; as far as there are jobs of many devices for which it is worth to keep others away. Of
 * what there is more of, differences count double. */
static int64_t alike_mille(
    const struct mix *mix, const struct sums *asked, const struct sums *has, int64_t many_mille)
{
    bool memory = asked->mib * has->cpu_milli > asked->cpu_milli * has->mib;
    int64_t spread = least(spread_of(mix, has, memory), 2 * spread_of(mix, has, !memory));
    int64_t some = most(least(many_mille, SOME_MILLE) - FEW_MILLE, 0);
    return most(DIFFERENT_MILLE - most(spread, ALIKE_MILLE), 0) * some * 1000 /
           ((DIFFERENT_MILLE - ALIKE_MILLE) * (SOME_MILLE - FEW_MILLE));
}

/* How many times as much as usual it counts that room for many devices is kept. Values take it that
 * CPU and memory run short, which tells nodes apart where jobs ask for them in different measure.
 * Where nearly all ask for less than nodes have that is not so, nor where all ask for about the
 * same: no choice makes up for what one asks then, and nodes full of devices would be broken for
 * the CPU of others. And where nearly all ask for many devices nothing matters as much. */
static int64_t keep_times(const struct mix *mix, const struct sums *asked)
{
    struct sums has = nodes_of(mix);
    int64_t shortage = shortage_mostly(mix, &has, asked->milli);
    int64_t many = (int64_t)(many_of(mix) * 1000 / asked->milli);
    return 1 + KEEP_PLENTY * most(LOOSE_MILLE - shortage, 0) / LOOSE_MILLE +
           KEEP_ALIKE * alike_mille(mix, asked, &has, many) / 1000 +
           KEEP_MANY * most(many - MANY_MILLE, 0) / (1000 - MANY_MILLE);
}

static void keep_make(const struct mix *mix, const struct sums *asked, struct balance *ret)
{
    int64_t times = keep_times(mix, asked);
    memset(ret->keep, 0, sizeof ret->keep);
    for (size_t i = 0; i < mix->items.count; i++) {
        int64_t milli = mix->items.items[i].shape->row.accelerator_milli;
        int64_t devices = milli / DEVICE_MILLI;
        if (devices < 2 || devices > VALUE_DEVICES_MAX)
            continue;
        int64_t share = (int64_t)((__int128)mix->items.items[i].ranks * milli * VALUE_DEVICE *
                                  times / asked->milli);
        for (int64_t whole = devices; whole <= VALUE_DEVICES_MAX; whole++)
            ret->keep[whole] += (int32_t)(share * (whole - whole % devices));
    }
}

static void lacks_make(const struct mix *mix, __int128 asked_milli, struct balance *ret)
{
    __int128 milli[BALANCE_CPUS + 1] = {0}, less = 0;
    for (size_t i = 0; i < mix->items.count; i++) {
        const struct shape_row *shape = &mix->items.items[i].shape->row;
        int64_t step = (shape->cpu_milli + BALANCE_CPU_MILLI - 1) / BALANCE_CPU_MILLI;
        if (step <= BALANCE_CPUS)
            milli[step] += (__int128)mix->items.items[i].ranks * shape->accelerator_milli;
    }
    for (int i = 0; i <= BALANCE_CPUS; i++) {
        less += milli[i];
        ret->lacks[i] = (int32_t)((asked_milli - less) * VALUE_DEVICE / asked_milli);
    }
}

void balance_make(const struct mix *mix, int64_t device, struct balance *ret)
{
    struct sums asked = asked_of(mix), has = nodes_of(mix);
    assert(asked.milli > 0);
    int64_t shortage = shortage_of(&asked, &has);
    weights_make(shortage, &ret->weights);
    ret->slack_mille =
        (SCARCE_MILLE - most(shortage, LOOSE_MILLE)) * 1000 / (SCARCE_MILLE - LOOSE_MILLE);
    prices_make(mix, device, ret);
    keep_make(mix, &asked, ret);
    lacks_make(mix, asked.milli, ret);
}

/* ---- a decision ---------------------------------------------------------------------------
 */

static int32_t reach_of(int64_t price, int64_t amount)
{
    __int128 reach = (__int128)price * most(amount, 0) >> VALUE_PRICE_BITS;
    return (int32_t)(reach < REACH_MAX ? reach : REACH_MAX);
}

void reach_make(const struct balance *balance, int64_t cpu_milli, int64_t bytes, struct reach *ret)
{
    for (int i = 0; i < BALANCE_STEPS; i++) {
        ret->cpu[i] = reach_of(balance->cpu_price[i], cpu_milli);
        ret->memory[i] = reach_of(balance->memory_price[i], bytes >> 20);
    }
}
