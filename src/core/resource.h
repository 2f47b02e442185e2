/* Resources as short vectors, and sums over them. */
#pragma once

#include "base/quantity.h"
#include "core/core.h"

struct live_node;
struct live_shape;

enum {
    RESOURCE_CPU,
    RESOURCE_MEMORY,
    RESOURCE_DISK,
    RESOURCE_ACCELERATORS, /* of all types */
    RESOURCE_TYPES,        /* from here on: one for each accelerator type */
    RESOURCE_MAX = 32
};

/* What is held or asked of a node's plain resources. */
struct bundle {
    int64_t cpu_milli;
    int64_t memory_bytes;
    int64_t disk_bytes;
};

struct amounts {
    int64_t of[RESOURCE_MAX];
};

/* The index of an accelerator type, given out when it is new; -1 when there are too many. */
int resource_of_type(struct core *core, uint32_t type);
int resource_find_type(const struct core *core, uint32_t type); /* -1: never seen */
/* The index of a quota's resource ("cpu", .. or a type); -1 when there are too many types. */
int resource_of_quota(struct core *core, uint32_t name);
/* Its name, as quotas spell it. */
const char *resource_name(const struct core *core, int resource);
/* So much of the resource of that name, in words: bytes or thousandths. Returns out. */
const char *amount_text(const char *what, int64_t amount, char out[QUANTITY_TEXT]);
/* What a rank asks of one resource, its accelerators being of type `resource` (-1: not known). */
int64_t amount_of_shape(const struct live_shape *shape, int of, int resource);
/* What `ranks` of a shape ask for, its type being resource (-1: not known). */
void amounts_of_shape(
    const struct live_shape *shape, int64_t ranks, int resource, struct amounts *ret);
/* Bit i: there is something of resource i. */
uint32_t amounts_bits(const struct amounts *amounts);
/* What they could hold at most of each: a shape that takes accelerators of any type counts for all
 * of them. Guarantees go by this, so that what is entitled to a place before it is known is still
 * within the guarantee after it got it. */
void amounts_possible(const struct live_shape *shape, int64_t ranks, struct amounts *ret);
struct bundle bundle_of_shape(const struct shape_row *shape, int64_t ranks);
/* What a node has. */
void amounts_of_node(const struct live_node *node, struct amounts *ret);
/* Adds the node's capacity to the total (sign 1) or takes it away (-1). */
void capacity_count(struct core *core, const struct live_node *node, int sign);
/* value * numerator / denominator, rounded half up; denominator > 0. */
int64_t scale_round(int64_t value, int64_t numerator, int64_t denominator);
