/* The rest of the seeded runs: see test_seeds.c. */
#include "sim/test_worlds.h"

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD(6, "seeds: pools and teams that change"),
        WORLD(7, "seeds: a crowded cluster"),
        WORLD(8, "seeds: services that roll, crash and flap"),
        WORLD(9, "seeds: spot capacity and deadlines"),
        WORLD(10, "seeds: gangs that wait for room beside small jobs"),
        WORLD(11, "seeds: gangs that rounds resize"),
        WORLD(13, "seeds: services that burst and come home"),
        WORLD(14, "seeds: many pools, and rounds"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
