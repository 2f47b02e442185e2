/* Verbs the program calls itself with, and the simulator for those who test it. They get their
 * arguments as they are and must not depend on anything the command line sets up. */
#include "cli/verbs.h"
#include "engine/engine.h"
#include "sim/sim_main.h"

const struct verb verb_shim = {.name = "shim",
    .operands = "",
    .summary = "hold a local job",
    .hidden = true,
    .run_raw = shim_main};
const struct verb verb_init = {.name = "init",
    .operands = "",
    .summary = "process 1 of a local job",
    .hidden = true,
    .run_raw = init_main};
const struct verb verb_sim = {.name = "sim",
    .operands = "",
    .summary = "run the core on simulated engines",
    .hidden = true,
    .run_raw = sim_main};
