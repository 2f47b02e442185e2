/* Worlds from a seed: clusters, trees of teams, and streams of commands of every kind. What is
 * chosen depends on the seed and on what is committed, on nothing else. */
#pragma once

#include "base/memory.h"
#include "sim/sim_engine.h"
#include "sim/sim_input.h"
#include "sim/sim_store.h"

/* What kind of worlds: shares in thousandths. */
struct sim_profile {
    const char *name;
    int steps;
    int64_t step_ms_max; /* of virtual time between two steps */
    int64_t run_ms_max;  /* of a job */
    int pools_max, groups_max, group_nodes_max, teams_max;
    int jobs_live_max;
    int64_t gang_max;
    int64_t accelerators; /* node groups with devices, jobs that ask for them */
    int64_t fractions;    /* of these: shared devices */
    int64_t constraints;  /* jobs with placement conditions */
    int64_t quotas;       /* teams with quotas */
    int64_t submits;      /* steps with a submission */
    int64_t commands;     /* steps with another command */
    int64_t reconfigures; /* of these: pools and teams */
    int64_t services;     /* of the rest: services */
    bool spot;            /* half of the jobs have deadlines, every other pool is spot capacity */
    int64_t limits;       /* jobs with time limits; 0: some */
    int64_t topology;     /* pools with levels, jobs that wish for one */
    int64_t sites;        /* pools at named sites, some with burst policies; jobs with data */
    int64_t forecasts;    /* of the commands: how long a job would wait, true or not */
    int64_t progress;     /* of the commands about jobs: what they say of their progress */
    struct core_options core; /* of every core that is loaded */
    struct sim_faults faults;
};

/* All profiles, ended by one without a name. */
extern const struct sim_profile sim_profiles[];
/* NULL when there is none of that name. */
const struct sim_profile *sim_profile_find(const char *name);

struct sim_world {
    const struct sim_profile *profile;
    struct prng prng;
    uint64_t jobs_named;
};

/* The random world of a seed. */
void sim_world_init(struct sim_world *world, const struct sim_profile *profile, uint64_t seed);

/* Inputs that build the first pool and team; the step number goes up from 0. False: no more. */
bool sim_world_setup(
    struct sim_world *world, struct arena *arena, int step, struct sim_input *ret_input);
/* One submission, one other command. False: nothing to name. */
bool sim_world_submit(struct sim_world *world, struct arena *arena, const struct sim_store *store,
    int64_t now_ms, struct sim_input *ret_input);
bool sim_world_command(struct sim_world *world, struct arena *arena, const struct sim_store *store,
    int64_t now_ms, struct sim_input *ret_input);
