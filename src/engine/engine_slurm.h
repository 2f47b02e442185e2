/* The engine of a Slurm cluster, for engine_create. */
#pragma once

#include "engine/engine.h"

/* As engine_create. */
MUST_CHECK struct engine *engine_slurm_create(
    const struct engine_options *options, struct error *err);
