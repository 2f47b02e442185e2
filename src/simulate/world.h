/* A core with the machines of a trace, and what the driver has to know of both: how a job of the
 * trace is said to the core, and what is free on each node (for measures that the core has not). */
#pragma once

#include "base/map.h"
#include "core/core.h"
#include "simulate/fragment.h"
#include "trace/trace.h"

struct world_node {
    const struct trace_node *of;
    uint64_t id;
    const char *pool;
    bool up;
    struct fragment_node free;
};

struct world {
    struct core *core;
    const struct trace_cluster *cluster;
    struct world_node *nodes; /* as many as the cluster has, in its order */
    struct idmap by_id;       /* from the core's id of a node */
    struct strmap by_name;
    struct strmap teams;
    struct arena *arena; /* of one submission */
    int64_t restart_ms;  /* that starting again costs a job, as far as the core is told; 0: nothing
                            said */
    int64_t accelerator_milli;
    int64_t cpu_milli; /* thousandths of a CPU, all nodes */
};

/* Makes the core and puts its pools: "trace", and "spot" with the nodes that are. 0 or -1 with err
 * and nothing to finish. */
MUST_CHECK int world_init(struct world *world, const struct trace_cluster *cluster,
    const struct core_options *options, struct error *err);
void world_finish(struct world *world);

/* Submits the job, in a tick that has begun; its team is made at need. deadline: whether the core
 * is told of it. As core_job_submit. */
MUST_CHECK int world_submit(struct world *world, const struct trace_job *job, bool deadline,
    uint64_t *ret_id, struct error *err);

/* Ranks of an attempt on a node. */
struct world_place {
    struct world_node *node;
    uint64_t devices;
    int32_t device_milli;
    int32_t ranks;
};
struct world_places {
    VEC(struct world_place) items;
};
/* Fills the list, emptied first, with the places of a live attempt, in order of first rank. */
void world_places_read(const struct world *world, uint64_t attempt, struct world_places *places);
/* Takes places from what is free (sign -1), or gives them back (1). A rank holds cpu_milli. */
void world_hold(const struct world_places *places, int64_t cpu_milli, int sign);
/* F of all nodes that are up, in millionths of a device. */
int64_t world_fragmented_micro(const struct world *world, const struct fragment_mix *mix);
