/* What is free of a node as its value goes by it (packing_value.h), and what is left of that value
 * when ranks take their part.
 *
 * All of it is by line, in 32 bits and without branches, so that a compiler makes one or two
 * instructions of each loop over the lines. A view does not depend on who asks: it is made once
 * for each change of the node, and looked at for every shape. */
#pragma once

#include "core/limits.h"
#include "core/packing_value.h"

struct live_node;
struct node_row;
struct shape_row;

/* Weights of the value that is lost, in 2^-10 of a device's. */
enum {
    WEIGHT_HALF = 7 << 10,     /* with half of CPU and memory.. */
    WEIGHT_QUARTER = 12 << 10, /* ..and with a quarter */
};

struct view {
    int32_t sums[VALUE_LINES]; /* of its devices, at each line's prices */
    int32_t rest[VALUE_LINES]; /* its free CPU and memory at those prices */
    const struct value_table *table;
    int32_t whole, idle;       /* devices untouched; thousandths free of all */
    int32_t broken;            /* devices of which something is left, as in `left` */
    int16_t left[DEVICES_MAX]; /* thousandths, ascending */
};

/* What a rank takes, as the values see it. */
struct view_ask {
    int64_t milli;
    int32_t devices;           /* whole ones */
    int32_t cost[VALUE_LINES]; /* its CPU and memory at each line's prices */
};

/* A node's value with half and with a quarter of its CPU and memory, and that of its devices alone,
 * as if those cost nothing. */
struct worth {
    int32_t half, quarter, bare;
};

/* What is left after ranks took their part. */
struct view_taken {
    struct worth worth;
    int32_t idle;  /* thousandths */
    int32_t whole; /* devices untouched */
    int32_t broke; /* how many devices that were whole the ranks took a part of */
    int32_t from;  /* what was left of the device that the last took a part of; 0: of none */
};

/* The view of the node, less taken (thousandths of each device; or NULL). */
void view_make(const struct values *values, const struct live_node *node, const int16_t *taken,
    struct view *ret);
/* The same of an idle node of the class. */
void view_make_idle(
    const struct values *values, const struct node_row *node, size_t class, struct view *ret);
void view_ask_make(
    const struct values *values, const struct shape_row *shape, struct view_ask *ret);
struct worth view_worth(const struct view *view);
/* Lets `ranks` (>= 1, they fit) take their part: each a share of the device on which that leaves
 * most value behind, of equals the fullest; or as many whole devices. */
struct view_taken view_take(const struct view *view, const struct view_ask *ask, int32_t ranks);

/* Both as one number. */
static inline int64_t worth_weighed(struct worth worth)
{
    return (int64_t)worth.half * WEIGHT_HALF + (int64_t)worth.quarter * WEIGHT_QUARTER;
}
