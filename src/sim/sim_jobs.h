/* Random jobs with every feature that a manifest has. */
#pragma once

#include "sim/sim_world.h"

/* Makes a random job; its texts live in the arena. */
void sim_job_make(struct sim_world *world, struct arena *arena, const struct sim_store *store,
    const char *team, int64_t now_ms, struct sim_input *ret_input);
