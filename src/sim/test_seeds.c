/* Two thousand seeded runs, split by the kind of world, half of the kinds in each of two programs
 * that run side by side. A seed that fails says how to see it again; the same seed gives the same
 * digest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sim/sim_reclaim.h"
#include "sim/sim_run.h"

#include <inttypes.h>

enum { SEEDS_EACH = 180, SERVICE_SEEDS = 100 };

static void every_seed_keeps_the_invariants(void **context)
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

#ifndef MORE_WORLDS
static void a_guarantee_comes_back(void **context)
{
    (void)context;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct sim_reclaim_result result;
        struct error err = {0};
        if (sim_reclaim(seed, &result, &err) < 0)
            fail_msg("seed %" PRIu64 ": %s", seed, err.text);
    }
}

static void a_seed_gives_the_same_bytes_again(void **context)
{
    (void)context;
    for (uint64_t seed = 1; seed <= 16; seed++) {
        struct sim_options options = {.seed = seed};
        struct sim_result first, second;
        struct error err = {0};
        assert_int_equal(sim_run(&options, &first, &err), 0);
        assert_int_equal(sim_run(&options, &second, &err), 0);
        assert_true(first.digest == second.digest);
    }
}

static void seeds_differ(void **context)
{
    (void)context;
    struct sim_options options = {.seed = 1, .profile = sim_profiles};
    struct sim_result first, second;
    struct error err = {0};
    assert_int_equal(sim_run(&options, &first, &err), 0);
    options.seed = 2;
    assert_int_equal(sim_run(&options, &second, &err), 0);
    assert_true(first.digest != second.digest);
}

static void each_kind_of_world_has_its_seeds(void **context)
{
    (void)context;
    assert_string_equal(sim_profiles[11].name, "elastic");
    assert_null(sim_profiles[12].name);
}
#endif

#define WORLD(number, title)                                                                       \
    {                                                                                              \
        title, every_seed_keeps_the_invariants, NULL, NULL, (void *)&sim_profiles[number]          \
    }

#ifdef MORE_WORLDS
static const struct CMUnitTest tests[] = {
    WORLD(6, "seeds: pools and teams that change"),
    WORLD(7, "seeds: a crowded cluster"),
    WORLD(8, "seeds: services that roll, crash and flap"),
    WORLD(9, "seeds: spot capacity and deadlines"),
    WORLD(10, "seeds: gangs that wait for room beside small jobs"),
    WORLD(11, "seeds: gangs that rounds resize"),
};
#else
static const struct CMUnitTest tests[] = {
    WORLD(0, "seeds: a small cluster"),
    WORLD(1, "seeds: accelerators, whole and shared"),
    WORLD(2, "seeds: quotas"),
    WORLD(3, "seeds: placement conditions"),
    WORLD(4, "seeds: engines that lie and die"),
    WORLD(5, "seeds: a store that fails and machines that stop"),
    cmocka_unit_test(a_guarantee_comes_back),
    cmocka_unit_test(a_seed_gives_the_same_bytes_again),
    cmocka_unit_test(seeds_differ),
    cmocka_unit_test(each_kind_of_world_has_its_seeds),
};
#endif

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
