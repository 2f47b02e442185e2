/* A run while it goes, and its parts: only for the files that make it, sim_run.c and those below.
 */
#pragma once

#include "base/vec.h"
#include "sim/invariants.h"
#include "sim/sim_run.h"
#include "sim/sim_trace.h"

/* Where a step is cut off. */
enum cut {
    CUT_NONE,
    CUT_BEFORE_SCHEDULE,
    CUT_BEFORE_COMMIT,
    CUT_BEFORE_ANSWER, /* committed, and nobody was told */
    CUT_BEFORE_EFFECTS,
    CUT_COUNT
};

struct sim {
    const struct sim_options *options;
    struct sim_profile profile;
    struct prng prng;
    struct sim_world world;
    struct sim_engine *engine;
    struct sim_store *store;
    struct core *core;
    struct core *shadow; /* loaded anew before this step, or NULL */
    struct invariants *inv;
    struct sim_trace trace;
    struct sim_txn txn;
    struct arena *arena; /* of this step's inputs */
    VEC(struct sim_input) inputs;
    VEC(struct sim_answer) answers;
    int64_t now_ms;
    int64_t core_ms; /* what time the core believes it is: the greatest it was told */
    int64_t steps;
    int64_t loads;
    int64_t next_ms; /* when the core wanted to be woken, when it was last asked; 0: not known */
    bool fresh;      /* the core was loaded and has not stored anything since */
    uint64_t digest; /* of the committed state, when the step can fail */
    enum cut cut;
    enum commit_fate fate;
    bool calm; /* the drain has begun */
    VEC(struct core_wanted) wanted, shadow_wanted;
    VEC(uint64_t) hopeless; /* services of which a replica was refused, when calm */
};

/* ---- inputs of a step: sim_gather.c ----------------------------------------------------- */

/* One more, unless there are as many as a step may have. */
void sim_add(struct sim *sim, const struct sim_input *input);
/* What people ask for now, by the seed. */
void sim_gather_commands(struct sim *sim);
/* What the engine reports, as far as it is due. */
void sim_gather_reports(struct sim *sim);
/* What the server's checks find out and its gateway measures. In the drain it gives up on what can
 * not be made. */
void sim_gather_services(struct sim *sim);
/* Loading wakes the core: so that both schedule, the one that lives on is woken as well. */
void sim_gather_alarm(struct sim *sim);
/* Every obstacle that people put up is taken away. */
void sim_gather_relief(struct sim *sim);
/* Deletes and cancels all there is; deleting a service has to be enough for its replicas. */
void sim_gather_cancels(struct sim *sim);

/* ---- the core is told: sim_apply.c ------------------------------------------------------ */

/* Gives all inputs to the core, and to the shadow. -1: a violation. */
MUST_CHECK int sim_apply(struct sim *sim, int64_t told_ms, struct error *err);
/* Makes the jobs of the replicas that are wanted, or says that they can not be made. */
MUST_CHECK int sim_answer_wanted(struct sim *sim, struct error *err);
/* Whether replicas are wanted that nobody was asked for yet: stopping others left room for them. */
bool sim_wants_more(struct sim *sim);

/* ---- decisions and their commit: sim_commit.c ------------------------------------------- */

/* Whether the core holds together, and is what the store describes. */
MUST_CHECK int sim_check_core(const struct sim *sim, const struct core *core, struct error *err);
/* The machine was stopped or a commit failed: everything in memory is gone. */
MUST_CHECK int sim_reload(struct sim *sim, const char *why, struct error *err);
/* Lets the core decide, and holds the shadow's decisions against it; the shadow ends here. */
MUST_CHECK int sim_schedule(struct sim *sim, struct error *err);
/* 1: the tick is stored and the core lives on; 0: the core was loaded again. *ret_stored says
 * whether the tick is stored, which answers may say. */
MUST_CHECK int sim_commit(struct sim *sim, bool *ret_stored, struct error *err);

/* ---- a step: sim_step.c ----------------------------------------------------------------- */

/* Runs one step with the inputs gathered so far. */
MUST_CHECK int sim_step(struct sim *sim, struct error *err);
