/* Seeded runs: see test_worlds.h. */
#include "sim/test_worlds.h"

#include <inttypes.h>

enum { SEEDS_EACH = 180, SERVICE_SEEDS = 100 };

void every_seed_keeps_the_invariants(void **context)
{
    const struct sim_profile *profile = *context;
    uint64_t placed = 0, loads = 0, replicas = 0, settled = 0;
    uint64_t seeds = profile->services ? SERVICE_SEEDS : SEEDS_EACH;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct sim_options options = {.seed = seed, .profile = profile};
        struct sim_result result;
        struct error err = {0};
        if (sim_run(&options, &result, &err) < 0)
            fail_msg("%s\nagain: muster sim --seeds %" PRIu64 " --profile %s --trace -", err.text,
                seed, profile->name);
        placed += result.counts.attempts;
        loads += (uint64_t)result.loads;
        replicas += result.counts.replicas;
        settled += result.counts.services_settled;
    }
    /* A run in which nothing happens proves nothing. */
    assert_true(placed > seeds * 5);
    assert_true(!profile->services || (replicas > seeds * 10 && settled > seeds));
    assert_true(loads > 0 || !profile->faults.crash);
}
