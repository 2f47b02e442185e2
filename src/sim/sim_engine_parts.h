/* The simulated engine, for its own files: the world of running attempts and of nodes.
 *
 * Invariants: `runs` is sorted by attempt id and holds each id once; a run that is over stays until
 * the core has let go of its attempt, so that its end can be told again; an id that ever ran is in
 * `started` for good. A run is `astray` when the core was told something untrue about it (a lie, a
 * node that seemed lost): what the core then does with its place is no fault of the core's. */
#pragma once

#include "base/map.h"
#include "base/vec.h"
#include "sim/sim_engine.h"

enum { RESEND_MS = 15 * 1000, STALE_COUNT = 16 };

enum run_state { RUN_STARTING, RUN_RUNNING, RUN_OVER };

struct held {
    uint64_t node;
    uint64_t devices;
    int64_t device_milli;
};

struct run {
    uint64_t attempt;
    uint64_t job;
    enum run_state state;
    bool wanted; /* seen in this reconciliation */
    bool told_to_stop;
    bool ignores_term;
    bool astray;
    int64_t start_ms;    /* STARTING: when it will run */
    int64_t end_ms;      /* when it ends by itself, as below */
    int64_t site_end_ms; /* when its site ends it; 0: never */
    int64_t kill_ms;     /* told to stop: when SIGKILL comes */
    int64_t said_ms;     /* when its state was last told */
    int64_t checkpoint_every_ms, checkpoint_ms;
    struct core_report end;
    struct held *held;
    size_t held_count;
};

struct world_node {
    uint64_t id;
    char pool_name[64], name[64];
    bool down;
    int64_t back_ms;
    int64_t said_ms;
};

struct delivery {
    int64_t due_ms;
    uint64_t sequence;
    struct sim_input input;
};

struct sim_engine {
    struct prng prng;
    struct sim_faults faults;
    int64_t run_ms_max;
    uint64_t sequence;
    VEC(struct run) runs;
    VEC(struct world_node) nodes;
    VEC(struct delivery) queue; /* by due_ms, then sequence */
    struct sim_input stale[STALE_COUNT];
    size_t stale_count;
    struct idmap started;
    bool calm;
    struct error fault; /* the first thing that went wrong */
};

/* ---- sim_engine.c ----------------------------------------------------------------------------
 */

/* Sends a report on its way, which may lose, double or delay it. */
void report_send(struct sim_engine *engine, int64_t now_ms, const struct sim_input *input);
void report_attempt(struct sim_engine *engine, int64_t now_ms, struct core_report report);
/* Sends what the run is now. */
void run_say(struct sim_engine *engine, struct run *run, int64_t now_ms);
/* The report arrives at that moment, once; one too many is dropped. */
void queue_put(struct sim_engine *engine, int64_t due_ms, const struct sim_input *input);

/* ---- sim_engine_runs.c -----------------------------------------------------------------------
 */

/* NULL: nothing is known of the attempt. Runs move when one begins or is buried. */
struct run *run_find(struct sim_engine *engine, uint64_t attempt);
/* The engine takes a start: the attempt will run, fail to start, or be forgotten. */
void run_begin(struct sim_engine *engine, const struct attempt_row *attempt,
    const struct sim_store *store, int64_t now_ms);
/* An attempt of which nothing is known here, and that cannot be started any more. */
void run_bury(struct sim_engine *engine, const struct attempt_row *attempt, bool stop);
/* Tells it to stop, which it does within the grace, or is killed after. */
void run_stop(struct sim_engine *engine, struct run *run, int64_t grace_ms, int64_t now_ms);
/* The run goes on until now, and reports what happened to it. */
void run_step(struct sim_engine *engine, struct run *run, int64_t now_ms);
/* It has ended like that; the end is yet to be told. */
void run_over(struct run *run, enum end_reason reason, int32_t exit_status, bool complete);
bool run_touches(const struct run *run, uint64_t node);
/* Frees what the run owns, not the run. */
void run_finish(struct run *run);

/* ---- sim_engine_world.c ----------------------------------------------------------------------
 */

/* Reports the node as up or lost, true or not. */
void node_say(struct sim_engine *engine, struct world_node *node, bool up, int64_t now_ms);
/* The core has heard that a node is gone, true or not: it lets go of everything on it. */
void node_lost_delivered(struct sim_engine *engine, const struct sim_input *input);
