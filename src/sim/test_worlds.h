/* Seeded runs of one kind of world, for the tests that run all kinds. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sim/sim_run.h"

/* Runs the seeds of the profile that *context is. A seed that fails says how to see it again. */
void every_seed_keeps_the_invariants(void **context);

/* A test of the profile of that number. */
#define WORLD(number, title)                                                                       \
    {                                                                                              \
        title, every_seed_keeps_the_invariants, NULL, NULL, (void *)&sim_profiles[number]          \
    }
