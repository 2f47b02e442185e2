/* The jobs of a run that are live, and the machines that fail: the state of the driver. Private to
 * the run_*.c files. */
#pragma once

#include "base/prng.h"
#include "simulate/heap.h"
#include "simulate/run.h"
#include "simulate/world.h"

#include <stdalign.h>

/* What a heap item is part of: the top bit of its order. Machines go before jobs. */
#define LIVE_ORDER_JOB ((uint64_t)1 << 63)

/* A job from its submission to its end. Its model's state lies behind it. */
struct live_run {
    struct heap_item next;           /* done, a checkpoint, or the end of its grace */
    struct live_run *before, *after; /* in order of submission */
    uint64_t number, id;
    uint64_t attempt; /* that runs; 0: none */
    int64_t submit_ms, deadline_ms, duration_ms;
    int64_t start_ms;  /* of the first attempt; -1: none yet */
    int64_t placed_ms; /* of the attempt that runs */
    int64_t done_ms;   /* when its work was done; -1: it is not */
    int64_t stop_ms;   /* when the grace of a stop ends; HEAP_NEVER: it was not told to stop */
    int64_t run_ms, lost_ms, device_ms;
    int64_t cost_hour_micro;              /* of the attempt that runs */
    __int128 contention_before_micro;     /* contention up to its submission, see fairness_micro */
    int64_t ask_milli;                    /* of the resource that counts, all ranks it asked for */
    int64_t cpu_milli, accelerator_milli; /* of a rank */
    int32_t ranks, size;                  /* asked for; of the attempt that runs */
    int32_t starts, preemptions;
    struct world_places places;
    char *texts; /* name, team, model, each ended by NUL; NULL when nobody wants them */
    alignas(16) unsigned char state[];
};

/* A node that fails and comes back. */
struct live_node_run {
    struct heap_item next;
    struct world_node *node;
};

struct run {
    const struct run_options *options;
    struct world world;
    struct metrics *metrics;
    struct heap heap;
    struct idmap jobs;              /* from the core's id to struct live_run */
    struct live_run *first, *last;  /* the same in order of submission */
    int64_t live;                   /* how many */
    int64_t progress_ms;            /* when running jobs say next what they do */
    struct live_node_run *failures; /* as many as nodes; NULL: none fail */
    size_t event;                   /* the next of options->events */
    struct prng prng;
    int64_t now_ms;

    struct trace_job coming; /* the next of the trace.. */
    int64_t coming_ms;       /* ..when it comes; HEAP_NEVER: none any more */

    bool by_cpu;                      /* the cluster has no accelerators: shares are of CPU */
    int64_t capacity_milli, up_milli; /* of the resource that counts; of nodes that are up */
    __int128 demand_milli;            /* asked for by live jobs */
    int64_t held_milli;               /* by those that run.. */
    int64_t running;                  /* ..so many */
    int64_t accounted_ms;             /* sums over time are up to here */
    __int128 contention_micro;        /* max(1, demand / capacity) summed over milliseconds */
    int64_t sample_ms, sampled_ms;    /* when fragmentation is looked at next, and was last */

    VEC(struct core_decision) decisions; /* of the tick */
};

/* ---- run_live.c: what becomes of a job -------------------------------------------------- */

/* Submits the coming job. -1: the core refused it for another reason than that no node could hold
 * it, or the model does not know it. */
MUST_CHECK int live_submit(struct run *run, struct error *err);
/* Something of this job is due by run->now_ms: done, a checkpoint, the end of its grace. */
void live_due(struct run *run, struct live_run *job);
/* What the core decided, in the order it did. */
void live_decided(struct run *run, const struct core_decision *decision);
/* Running jobs tell the core how far they are, if it is time. */
void live_progress(struct run *run);
/* Frees the jobs that are live when the run ends. */
void live_drop(struct run *run);

/* ---- run_nodes.c: machines that come and go --------------------------------------------- */

/* Takes those away that an event adds later, and draws the first failure of each. */
void nodes_begin(struct run *run);
/* The moment of the next event of the file; HEAP_NEVER: none. */
int64_t nodes_next_ms(const struct run *run);
/* Tells the core of what is due. */
MUST_CHECK int nodes_due(struct run *run, struct error *err);
/* A failure or repair is due. */
void node_due(struct run *run, struct live_node_run *node);
void nodes_end(struct run *run); /* frees what nodes_begin made */

/* ---- run_events.c ------------------------------------------------------------------------ */

/* Brings sums over time up to now. */
void run_account(struct run *run, int64_t now_ms);
