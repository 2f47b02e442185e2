/* Two thousand seeded runs, split by the kind of world; test_seeds_more.c has the other half of the
 * kinds, so that they run side by side. The same seed gives the same digest. */
#include "sim/sim_reclaim.h"
#include "sim/test_worlds.h"

#include <inttypes.h>

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
    assert_string_equal(sim_profiles[12].name, "pools");
    assert_string_equal(sim_profiles[14].name, "pools-elastic");
    assert_null(sim_profiles[15].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD(0, "seeds: a small cluster"),
        WORLD(1, "seeds: accelerators, whole and shared"),
        WORLD(2, "seeds: quotas"),
        WORLD(3, "seeds: placement conditions"),
        WORLD(4, "seeds: engines that lie and die"),
        WORLD(5, "seeds: a store that fails and machines that stop"),
        WORLD(12, "seeds: many pools, with prices, data and burst policies"),
        cmocka_unit_test(a_guarantee_comes_back),
        cmocka_unit_test(a_seed_gives_the_same_bytes_again),
        cmocka_unit_test(seeds_differ),
        cmocka_unit_test(each_kind_of_world_has_its_seeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
