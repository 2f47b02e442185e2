/* Whether devices, CPU and memory of a node run out together.
 *
 * Values (packing_value.h) look at one node at a time, and take it for granted that jobs which fit
 * it will come. Jobs that ask for little CPU are few, though: over the whole pool each device is
 * followed by as much CPU as jobs ask for on average. So a device is out of reach where the CPU or
 * the memory beside it is less than some multiple of that average, and a good decision puts least
 * out of reach. There are several multiples, each with a weight of its own.
 *
 * How much that matters depends on how scarce CPU and memory are: what all jobs of the mix ask for
 * beside a device, against what the nodes have. Where they have plenty it is one term among others;
 * where they have not, it decides. */
#pragma once

#include "base/lanes.h"
#include "core/limits.h"
#include "core/packing_value.h"
#include "core/sort.h"

#include <assert.h>

enum {
    BALANCE_STEPS = 4, /* multiples of the average */
    BALANCE_CPUS = 512,
    BALANCE_CPU_MILLI = 250, /* of one step of what jobs ask */
};

/* Of a decision, in 2^-10 of a device's value. */
struct balance_weights {
    int32_t reach[BALANCE_STEPS]; /* devices that get out of reach */
    int64_t lacks;                /* jobs that do not find their CPU, beside idle devices.. */
    int64_t breaks;               /* a whole device that gets broken */
};

struct balance {
    struct balance_weights weights;
    int64_t slack_mille; /* 1000 where CPU and memory are plenty, 0 where they are short */
    int64_t cpu_price[BALANCE_STEPS];    /* what a thousandth of a CPU brings within reach.. */
    int64_t memory_price[BALANCE_STEPS]; /* ..and a MiB, with VALUE_PRICE_BITS more */
    /* What jobs of many devices can still use of so many whole ones; each number of devices by its
     * share of the demand, and more where CPU and memory do not matter or tell nobody apart, or
     * nearly all ask for many. */
    int32_t keep[VALUE_DEVICES_MAX + 1];
    /* The part of the demand for devices that asks for more CPU than so much; of 2^VALUE_BITS. */
    int32_t lacks[BALANCE_CPUS + 1];
};

/* What CPU and memory bring within reach, in units of value, by step. */
struct reach {
    int32_t cpu[BALANCE_STEPS], memory[BALANCE_STEPS];
};

static_assert(BALANCE_STEPS == 4, "steps are lanes4");

/* device: what a whole one is worth. */
void balance_make(const struct mix *mix, int64_t device, struct balance *ret);
void reach_make(const struct balance *balance, int64_t cpu_milli, int64_t bytes, struct reach *ret);
/* What is out of reach of devices that are worth `value`, weighed, when `ranks` took what one of
 * them asks of what the node has. */
LANES_PART int64_t balance_stranded(const struct balance *balance, const struct reach *has,
    const struct reach *asks, int32_t ranks, int32_t value)
{
    int64_t sum = 0;
    for (int i = 0; i < BALANCE_STEPS; i++) {
        int64_t cpu = has->cpu[i] - (int64_t)asks->cpu[i] * ranks;
        int64_t memory = has->memory[i] - (int64_t)asks->memory[i] * ranks;
        int64_t beyond = value - (cpu < memory ? cpu : memory);
        sum += (beyond > 0 ? beyond : 0) * balance->weights.reach[i];
    }
    return sum;
}

/* The same of one rank. The numbers are those of reach_make and of a node's devices: far from what
 * 32 bits hold. */
LANES_PART int64_t balance_stranded_one(
    const struct balance *balance, const struct reach *has, const struct reach *asks, int32_t value)
{
    lanes4 cpu = LANES4(has->cpu) - LANES4(asks->cpu);
    lanes4 memory = LANES4(has->memory) - LANES4(asks->memory);
    lanes4 less = cpu < memory;
    lanes4 beyond = value - ((cpu & less) | (memory & ~less));
    beyond &= beyond > 0;
    uint64_t sum = 0; /* nothing of it is negative, and without signs it is fewer instructions */
    for (int i = 0; i < BALANCE_STEPS; i++)
        sum += (uint64_t)(uint32_t)beyond[i] * (uint32_t)balance->weights.reach[i];
    return (int64_t)sum;
}

/* The demand that lacks CPU where so much is left, times idle devices (thousandths), weighed. */
LANES_PART int64_t balance_lacking(
    const struct balance *balance, int64_t cpu_milli, int64_t idle_milli)
{
    int64_t step = least(most(cpu_milli, 0) / BALANCE_CPU_MILLI, BALANCE_CPUS);
    return balance->lacks[step] * idle_milli / DEVICE_MILLI * balance->weights.lacks;
}
