/* One seeded run: a world, a core, a store and an engine with faults, checked at every step, and
 * at the end drained until nothing is left. The same seed and profile give the same bytes. */
#pragma once

#include "sim/invariants.h"
#include "sim/sim_world.h"

#include <stdio.h>

struct sim_options {
    uint64_t seed;
    const struct sim_profile *profile; /* NULL: by the seed, all in turn */
    int steps;                         /* 0: the profile's */
    int jobs_live_max;                 /* 0: the profile's */
    FILE *trace;                       /* NULL: none is written; the digest is the same */
};

struct sim_result {
    uint64_t digest; /* of all inputs, answers, changes and decisions */
    int64_t steps;
    int64_t loads; /* how often the core was dropped and loaded again */
    struct invariants_counts counts;
};

/* 0, or -1 with the first violation: "step 17: invariant 3: ...". */
MUST_CHECK int sim_run(
    const struct sim_options *options, struct sim_result *ret_result, struct error *err);
