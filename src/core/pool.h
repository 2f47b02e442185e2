/* Pools, their nodes and what is held of each, maintenance. */
#pragma once

#include "base/vec.h"
#include "core/core.h"
#include "core/limits.h"
#include "core/resource.h"
#include "core/table.h"

#include <assert.h>

struct live_claim;
struct live_job;
struct scores;
struct live_placement;
struct sockets;
struct live_promise;

struct live_price {
    struct item item;
    struct price_row row;
    struct live_price *next;
};

struct live_level {
    struct item item;
    struct level_row row;
    struct live_level *next;
};

struct live_pool {
    struct item item;
    struct pool_row row;
    struct live_price *prices;
    struct live_level *levels; /* outermost first */
    int32_t level_count;
    uint32_t domain_count[LEVELS_MAX]; /* by level */
    VEC(struct live_node *) nodes;     /* ids ascending */
    struct live_job *promised;         /* the job that it has promised a place to, or NULL */
    int64_t burst_reserved_micro;      /* of its budget, for attempts that run; derived */
};

struct live_node_label {
    struct item item;
    struct node_label_row row;
    struct live_node_label *next;
};

struct live_reservation {
    struct item item;
    struct reservation_row row;
    struct live_reservation *next;
};

/* What is neither held nor claimed of a node: derived from the sums. Below 0 where claims wait for
 * victims to leave. */
struct node_room {
    struct bundle all;
    int64_t whole;   /* devices of which nothing is taken */
    int64_t shares;  /* thousandths free of devices of which something is taken */
    int64_t largest; /* a share that a device has room for, in thousandths; 0: it takes none */
};

struct live_node {
    struct item item;
    struct node_row row;
    /* Right behind what it has is what is free and held, which is all that most scores go by. */
    struct node_room room;
    struct bundle held;
    int32_t exclusive_held; /* placements that want the node for themselves */
    int32_t exclusive_claimed;
    struct live_promise *promises; /* to one job */
    int32_t packing_class;         /* the placement policy's own: nodes that it takes for alike */
    uint32_t ordinal;              /* in the order of candidates */
    uint64_t changes;              /* counts what changed of what is held or claimed of it */
    int64_t empty_key;             /* when it is empty, see project.c; 0: to be computed again */
    int16_t *device_held;          /* thousandths, of each device */
    int16_t *device_claimed;
    struct bundle claimed;
    struct scores *scores; /* of the core */
    struct live_pool *pool;
    int resource;            /* index of its accelerator type, or -1 */
    struct sockets *sockets; /* of its devices; NULL: not known */
    struct live_node_label *labels;
    struct live_reservation *reservations;
    uint32_t domains[LEVELS_MAX]; /* by level; derived, see topology.h */
    int32_t domains_known;        /* levels, from the outermost on, of which it has labels */
    VEC(struct live_placement *) placements;
    VEC(struct live_claim *) claims;
    /* Valid within a preemption search only. */
    uint64_t search_mark;
    size_t search_at;
};

/* Thousandths of a device that are neither held nor claimed; may be negative. */
static inline int64_t device_free(const struct live_node *node, int32_t device)
{
    assert(device >= 0 && device < node->row.devices);
    return DEVICE_MILLI - node->device_held[device] - node->device_claimed[device];
}

/* ---- node.c -----------------------------------------------------------------------------------
 */

/* The node of that name in the pool of that name, or NULL. */
struct live_node *node_find(const struct core *core, const char *pool, const char *node);
/* The same by symbol. */
struct live_node *node_named(const struct core *core, const struct live_pool *pool, uint32_t name);
/* Whether new work may come to it, reservations apart. */
bool node_takes_work(const struct live_node *node);
/* Nothing is held, claimed or promised of it. */
bool node_unused(const struct live_node *node);
/* Node accounting of a placement or claim: sign 1 takes, -1 gives back. */
void node_hold(struct live_node *node, const struct shape_row *shape, uint64_t devices,
    int64_t device_milli, int64_t ranks, int sign);
void node_claim(struct live_node *node, const struct shape_row *shape, uint64_t devices,
    int64_t device_milli, int64_t ranks, int sign);
/* Computes its room again, after what it has or what is held of it changed. */
void node_room_derive(struct live_node *node);
/* Stops every attempt on it that is not stopping yet. */
void node_stop_attempts(struct core *core, struct live_node *node, enum end_reason reason);
/* Takes a node away that holds nothing. */
void node_vanish(struct core *core, struct live_node *node);
/* Removes it if it was only waiting for its attempts to end. */
void node_vanish_if_left(struct core *core, struct live_node *node);
void node_free(struct live_node *node);
/* The devices arrays, after row.devices is set. */
void node_prepare(struct core *core, struct live_node *node);
/* Counts a change of nodes: what shapes remember of them is stale. */
void topology_changed(struct core *core);

/* ---- reserve.c --------------------------------------------------------------------------------
 */

/* Stops what still runs where maintenance begins, and drops reservations that are over. */
void reservations_run(struct core *core);
/* Finds the next moment at which a reservation begins or ends. */
void reservations_index(struct core *core);
/* Whether an attempt of that length (0: no bound) may start on the node now. */
bool reservation_allows(
    const struct core *core, const struct live_node *node, int64_t time_limit_ms);
