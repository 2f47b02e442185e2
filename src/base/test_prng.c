/* Tests of the seeded generator: seeds printed by a failing run must mean the same everywhere. */
#include "base/memory.h"
#include "base/prng.h"
#include "base/test.h"

static void test_a_seed_gives_the_published_numbers(void **state)
{
    (void)state;
    static const uint64_t expected[] = {6457827717110365317u, 3203168211198807973u,
        9817491932198370423u, 4593380528125082431u, 16408922859458223821u};
    struct prng prng = {1234567};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        assert_true(prng_next(&prng) == expected[i]);
}

static void test_numbers_stay_below_their_bound_and_reach_all_of_it(void **state)
{
    (void)state;
    struct prng prng = {1};
    for (uint64_t bound = 1; bound < 20; bound++) {
        uint64_t seen = 0;
        for (int i = 0; i < 2000; i++) {
            uint64_t n = prng_below(&prng, bound);
            assert_true(n < bound);
            seen |= 1u << n;
        }
        assert_true(seen == (1u << bound) - 1);
    }
    assert_true(prng_below(&prng, 0) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_seed_gives_the_published_numbers),
        cmocka_unit_test(test_numbers_stay_below_their_bound_and_reach_all_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
