/* A seeded generator for simulations and tests: the same seed gives the same numbers on every
 * machine and compiler. Not for secrets. splitmix64: Steele, Lea, Flood, OOPSLA 2014. */
#pragma once

#include <stdint.h>

struct prng {
    uint64_t state;
};

static inline uint64_t prng_next(struct prng *prng)
{
    uint64_t x = prng->state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* A number in [0, bound); 0 when bound is 0. The bias is below 2^-32 for bounds below 2^32. */
static inline uint64_t prng_below(struct prng *prng, uint64_t bound)
{
    return bound ? (uint64_t)(((unsigned __int128)prng_next(prng) * bound) >> 64) : 0;
}
