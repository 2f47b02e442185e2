/* Fragmentation as "Beware of Fragmentation" (Weng et al., ATC 2023) defines it: the idle GPU of a
 * node that a typical pod cannot use, in expectation over the typical pods.
 *
 * F(node) = sum over typical shapes of weight x
 *     all idle GPU of the node, when the shape asks for none, may not go there, or lacks CPU or
 * GPU; else the idle GPU on devices that have less left than the shape's share. */
#pragma once

#include "trace/trace.h"

#include <stdint.h>

/* What is free on a node. */
struct fragment_node {
    int64_t cpu_milli;
    int32_t devices;
    const char *accelerator; /* type; NULL: none */
    int16_t device_milli[TRACE_DEVICES_MAX];
};

/* Shapes by falling count until they cover 95% of all jobs. */
struct fragment_mix;
/* The typical shapes of these jobs; the caller destroys it. */
struct fragment_mix *fragment_mix_create(const struct trace_list *jobs);
void fragment_mix_destroy(struct fragment_mix *mix); /* NULL is fine */
/* How many shapes it has. */
size_t fragment_mix_count(const struct fragment_mix *mix);
/* F of the node, in millionths of a device. */
int64_t fragment_micro(const struct fragment_mix *mix, const struct fragment_node *node);
