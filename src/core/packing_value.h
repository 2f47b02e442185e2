/* What free resources of a node are worth to the jobs of the mix.
 *
 * Prices. The sizes that jobs take of a device (thousandths; whole devices) are packed into devices
 * by a linear program: as much of the demand as fits, when all of it asks for exactly what there
 * is. Its dual gives each size a price, below the size itself where it leaves behind what nobody
 * takes: of a mix with many 0.81 a whole device is worth 0.81 to all.
 *
 * Values. With a price on CPU and one on memory as well, a device (or what is left of one) is worth
 * the best packing of sizes in it, each at its price less what its CPU and memory cost; a node is
 * worth that, plus its CPU and memory at their price. Any such pair of prices bounds the value of
 * the node from above (Lagrange), so the value is the least over some pairs, from "CPU and memory
 * cost nothing" to "they cost more than devices do". One pair is a line below. */
#pragma once

#include "core/packing_mix.h"

enum {
    VALUE_LINES = 8,        /* pairs of prices */
    VALUE_LEVELS = 100,     /* what is left of a device, in hundredths of it, rounded down */
    VALUE_DEVICES_MAX = 64, /* whole devices */
    VALUE_BITS = 16,        /* of a device's size in units of value */
    VALUE_PRICE_BITS = 24,  /* further bits of a price of CPU or memory */
    VALUE_TABLES_MAX = 64,
};
#define VALUE_DEVICE ((int64_t)1 << VALUE_BITS)

/* For nodes that may take the same shapes. */
struct value_table {
    int32_t level[VALUE_LEVELS + 1][VALUE_LINES];
    int32_t whole[VALUE_DEVICES_MAX + 1][VALUE_LINES];
};

struct values {
    int64_t device;                    /* what a whole one is worth at most */
    int64_t cpu_price[VALUE_LINES];    /* of a thousandth of a CPU */
    int64_t memory_price[VALUE_LINES]; /* of a MiB */
    VEC(struct value_table) tables;
    uint8_t table_of[MIX_CLASSES_MAX + 1];
    /* Of each class: what jobs that may go to few nodes will ask of its devices, if they spread
     * evenly over those, in parts of its devices; in units of value. */
    int64_t pressure[MIX_CLASSES_MAX + 1];
};

/* Makes everything from the mix and its classes; whether there is demand for devices at all. */
bool values_make(const struct mix *mix, struct values *values);
void values_finish(struct values *values);
/* What of CPU (thousandths) or of memory (MiB) goes with a whole device, on average over the jobs
 * that take devices; at least 1. The mix asks for some. */
int64_t values_per_device(const struct mix *mix, bool memory);
