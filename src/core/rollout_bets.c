/* Evidence in bits: bets on which arm a loss comes from.
 *
 * A request is assigned to the canary or to the baseline by a fair coin, whatever it is. Somebody
 * with a capital of 1 bets before each request a part of it, lambda, that a loss is the canary's:
 * a loss L (0 to 1) of the canary multiplies the capital by 1 + lambda * L, one of the baseline by
 * 1 - lambda * L. Where the canary loses no more than the baseline in the mean, each factor's
 * expectation, 1 + lambda * (L canary - L baseline) / 2, is at most 1, so the capital is a
 * supermartingale and passes 1/alpha at any moment with a probability of at most alpha (Ville):
 * testing by betting (Shafer 2021; Waudby-Smith and Ramdas 2023), for two arms as in Turner, Ly and
 * Gruenwald 2024. Against a margin d the bet is on the baseline, with d / 2 given on top of each
 * request: factors 1 + lambda * (d / 2 - L) and 1 + lambda * (d / 2 + L), whose expectation is at
 * most 1 where the canary loses at least d more. Against "at most d more" it is on the canary, with
 * d / 2 taken from each request.
 *
 * The factors do not depend on the order of requests, so that counts are all that is needed and
 * reading them at any pace changes nothing. Of several lambdas each gets its part of the capital;
 * what the best of them has is below what all have, and that is taken.
 *
 * Rounding is always down, towards less evidence. */
#include "core/rollout.h"

#include <assert.h>

enum {
    PARTS = 64, /* lambdas are multiples of 1 / PARTS */
    MILLION = 1000000,
    COUNT_BITS_MAX = 28, /* of requests of a level: so that sums stay within 63 bits */
};

static const uint64_t lambdas[BETS_LAMBDAS] = {1, 2, 4, 8, 16, 32, 48, 60};
enum { LAMBDA_BITS = 3 /* log2 of how many there are */ };
static_assert(BETS_LAMBDAS == 1 << LAMBDA_BITS, "the parts of the capital");

int64_t bits_log2(uint64_t numerator, uint64_t denominator)
{
    assert(numerator > 0 && denominator > 0 && (numerator | denominator) >> 62 == 0);
    int64_t whole = 0;
    while (numerator < denominator) {
        numerator <<= 1;
        whole--;
    }
    while (numerator >> 1 >= denominator) {
        denominator <<= 1;
        whole++;
    }
    /* The quotient, 1 to 2, with 31 binary places; then a place of the logarithm for each square.
     */
    uint64_t x = 1, rest = numerator - denominator;
    for (int i = 0; i < 31; i++) {
        rest <<= 1;
        bool one = rest >= denominator;
        x = x << 1 | one;
        rest -= one ? denominator : 0;
    }
    int64_t bits = 0;
    for (int i = 0; i < CORE_BITS_SHIFT; i++) {
        x = x * x >> 31;
        bool one = x >> 32;
        bits = bits << 1 | one;
        x >>= one;
    }
    return whole * BITS_ONE + bits;
}

static int64_t times(int64_t count, int64_t bits)
{
    int64_t most = (int64_t)1 << COUNT_BITS_MAX;
    return (count < most ? count : most) * bits;
}

/* A lambda with which the capital could get below nothing is not bet with. */
void bets_odds(size_t levels, int64_t margin_ppm, struct bets_odds *ret)
{
    assert(levels >= 2 && levels <= BETS_LEVELS_MAX);
    assert(margin_ppm >= -MILLION && margin_ppm <= MILLION);
    int64_t last = (int64_t)levels - 1, one = PARTS * last * 2 * MILLION;
    *ret = (struct bets_odds){.levels = levels};
    for (size_t i = 0; i < BETS_LAMBDAS; i++) {
        int64_t lambda = (int64_t)lambdas[i], given = lambda * last * margin_ppm;
        for (int64_t k = 0; k <= last && one + given > lambda * last * 2 * MILLION; k++) {
            int64_t loss = lambda * k * 2 * MILLION;
            ret->won[i][k] = bits_log2((uint64_t)(one + given + loss), (uint64_t)one);
            ret->lost[i][k] = bits_log2((uint64_t)(one + given - loss), (uint64_t)one);
        }
    }
}

/* winner: whose losses the bet is on. What the best of the lambdas has, and its part of all. */
static int64_t best(const struct bets_odds *odds, const int64_t *winner, const int64_t *loser)
{
    int64_t most = INT64_MIN;
    for (size_t i = 0; i < BETS_LAMBDAS; i++) {
        int64_t bits = 0;
        for (size_t k = 0; k < odds->levels; k++)
            bits += times(winner[k], odds->won[i][k]) + times(loser[k], odds->lost[i][k]);
        most = bits > most ? bits : most;
    }
    return most - LAMBDA_BITS * BITS_ONE;
}

int64_t bets_worse(const struct bets_odds *odds, const struct bets *bets)
{
    return best(odds, bets->canary, bets->baseline);
}

int64_t bets_no_worse(const struct bets_odds *odds, const struct bets *bets)
{
    return best(odds, bets->baseline, bets->canary);
}

/* ---- one arm ---------------------------------------------------------------------------------
 *
 * The bet is on X - limit: factors 1 + lambda * (X - limit) / limit' with limit' so large that no
 * factor gets below 0. */

static int64_t lone(int64_t differing, int64_t compared, uint64_t limit, bool above)
{
    uint64_t one = (uint64_t)PARTS * MILLION, rest = MILLION - limit;
    /* Of those that differ the factor is one + lambda * rest / limit, or one - lambda; of the
     * others one - lambda, or one + lambda * limit / rest. */
    uint64_t scale = above ? limit : rest, gain = above ? rest : limit;
    int64_t hits = above ? differing : compared - differing, most = INT64_MIN;
    for (size_t i = 0; i < BETS_LAMBDAS; i++) {
        int64_t won = bits_log2(PARTS * scale + lambdas[i] * gain, PARTS * scale);
        int64_t lost = bits_log2(one - lambdas[i] * MILLION, one);
        int64_t bits = times(hits, won) + times(compared - hits, lost);
        most = bits > most ? bits : most;
    }
    return most - LAMBDA_BITS * BITS_ONE;
}

int64_t bets_above(int64_t differing, int64_t compared, int64_t limit_ppm)
{
    assert(limit_ppm > 0 && limit_ppm < MILLION && differing <= compared);
    return lone(differing, compared, (uint64_t)limit_ppm, true);
}

int64_t bets_below(int64_t differing, int64_t compared, int64_t limit_ppm)
{
    assert(limit_ppm > 0 && limit_ppm < MILLION && differing <= compared);
    return lone(differing, compared, (uint64_t)limit_ppm, false);
}
