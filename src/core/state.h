/* The live state: one object for each live row, linked to its relatives, and the indexes and totals
 * derived from them. Whatever is not in a row can be computed again from the rows: core_check does
 * so. */
#pragma once

#include "base/map.h"
#include "base/vec.h"
#include "core/core.h"
#include "core/packing_mix.h"
#include "core/pool.h"
#include "core/resource.h"
#include "core/score.h"
#include "core/slab.h"
#include "core/table.h"
#include "core/team.h"

struct allotment_policy;
struct arena;
struct live_job;
struct live_service;
struct live_symbol;
struct packing;
struct spot_policy;
struct victim_policy;

/* Symbols by their texts: lists of those whose hashes end alike, about one in each. */
struct symbol_index {
    struct live_symbol **lists;
    size_t capacity; /* of lists: a power of two, or 0 */
    size_t count;    /* of symbols, at most as many as lists */
};

/* Live jobs by team and name, in the same way: see job_name.c. */
struct job_index {
    struct live_job **lists;
    size_t capacity;
    size_t count;
};

/* When something happens to a job by itself. */
struct timer {
    int64_t at_ms;
    struct live_job *job;
};

struct priority_count {
    int32_t priority;
    int32_t attempts;
};

struct core {
    struct core_options options;
    const struct victim_policy *victim_policy;
    const struct spot_policy *spot_policy;
    VEC(struct live_job *) spot_jobs; /* that move between spot pools and others */
    uint64_t spot_version;            /* free_version when all were asked last */
    int64_t spot_moving;              /* to spot pools: who will be there soon; of one pass */
    const struct packing *packing;    /* the placement policy */
    void *packing_state;              /* its own */
    uint64_t packing_version;         /* of its tables; what was scored under another is stale */
    struct mix mix;                   /* what jobs ask for, learnt */
    int64_t now_ms;
    bool loading;
    bool forward; /* a copy of the state that runs forward: see core_run_forward */
    struct table tables[ROW_KIND_COUNT];
    struct slab slabs[ROW_KIND_COUNT];
    struct slab job_links;                         /* of the jobs that have some */
    int64_t jobs_linked;                           /* how many those are */
    struct live_counter *counters[ROW_KIND_COUNT]; /* NULL: nothing was given out yet */
    struct live_counter *clock;
    struct live_counter *round; /* its value: the moment of the next round; NULL: none was set */
    struct live_counter *forecast_wait; /* its value: core_forecast_expected; NULL: 0 */

    struct symbol_index symbols;
    struct idmap symbols_gone; /* by id, until core_end */
    int64_t symbol_bytes;
    uint64_t symbol_columns[ROW_KIND_COUNT];   /* bit i: column i of the kind is a symbol */
    struct idmap teams_by_name, pools_by_name; /* by symbol */
    struct idmap nodes_by_name;                /* by pool << 32 | symbol */
    struct job_index jobs_by_name;
    struct idmap arrays_by_name, services_by_name; /* by team << 32 | symbol */
    struct idmap arrays;                           /* by the first job's id */
    struct idmap shapes_by_hash, lanes_by_hash;
    VEC(uint32_t) accelerator_types; /* symbols; index + RESOURCE_TYPES is the resource */
    VEC(struct live_team *) roots;   /* ids ascending */
    VEC(struct live_job *) claimants;
    VEC(struct live_job *) promised;             /* those that have promises */
    bool promises_released;                      /* something is not kept any more that was */
    bool claiming;                               /* places are looked for that have to be claimed */
    VEC(struct timer) timers;                    /* a heap by (at_ms, the job's id) */
    VEC(struct live_service *) services_wanting; /* those that lack replicas; ids ascending */
    VEC(struct live_service *) services_changed; /* not looked at since */
    int64_t replicas_ready;

    int64_t capacity[RESOURCE_MAX]; /* of the nodes that are up */
    uint64_t capacity_version;      /* counts its changes, from 1 */
    int64_t jobs_queued, jobs_running, nodes_up;
    int64_t attempts_stopping;           /* that were told to */
    VEC(struct priority_count) yielding; /* attempts that may be preempted; priorities ascending */
    int64_t apart_shapes;                /* live shapes with anti-affinity */
    const struct allotment_policy *allotment; /* who runs with how many ranks */
    int64_t governed;                         /* live jobs that it decides about in rounds */
    bool round_quiet; /* the last one changed nothing, and time alone will not */
    int64_t reservation_next_ms;
    struct scores scores;
    uint64_t topology_version;  /* of nodes and whether they take work */
    int64_t burst_pools;        /* those with a burst policy */
    struct live_counter *stirs; /* of burst_stirs; NULL: nothing was counted yet */
    uint64_t stirs_version;     /* free_version when it was counted last */
    int64_t leases;             /* replicas that are in one of them */
    int64_t lease_next_ms;      /* when the first of these is looked at again */
    struct idmap copies;        /* by version << 32 | site: see copies.c */
    int64_t copies_next_ms;     /* no copy is dropped before */
    uint64_t free_version;      /* counts whatever may make something fit */
    uint64_t stir_version;      /* the same, but for what the journal of nodes has: see nofit.c */
    uint64_t mark;
    uint64_t pass;                   /* counts scheduling passes */
    VEC(struct live_team *) waiting; /* teams that have lanes, in no order that counts */
    struct rivals rivals;            /* see turn.c */
    bool foresight_off;              /* tests: every lane gets its turn, every plan is made anew */
    bool pass_wanted;
    int64_t wake_ms; /* when a pass may do what the last one could not */

    VEC(struct item *) changes;
    VEC(struct core_decision) decisions;
    VEC(struct item *) gone; /* freed at core_end */
    struct arena *images;    /* full rows of changed symbols */
};
