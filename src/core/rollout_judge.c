/* What the evidence of a rollout says: an alarm, a step passed, or what is missing.
 *
 * An alarm is an e-value (rollout_bets.c) above tests / alpha: the probability that a canary that
 * is no worse is ever aborted by any of its tests is at most alpha. Latency is tested at the bound
 * of every bucket at once, each with an equal part of the capital (stochastic order, as Lindon,
 * Sanden and Shirikian 2022 test it), and beyond the margin: two processes of one program are never
 * quite as fast, and with enough requests any difference is shown.
 *
 * A step passes when every test has shown the opposite: an e-value above 1 / alpha against "worse
 * by the margin", for latency at every bound. So what was not seen passes nothing, and neither does
 * a sample below the minimum.
 *
 * The guard is no test: thresholds, from so many requests on. */
#include "core/rollout.h"

#include "base/memory.h"
#include "core/sort.h"

#include <string.h>

enum { MILLION = 1000000, BOUNDS = ROLLOUT_BUCKETS - 1, FIRST_BOUND_US = 64 };

struct judging {
    const struct rollout_row *row;
    const struct evidence_row *baseline, *canary;
    struct rollout_verdict verdict;
};

/* ---- the tests ------------------------------------------------------------------------------ */

static void note(struct judging *judging, enum rollout_test test, int64_t worse, int64_t fine)
{
    judging->verdict.made |= 1u << test;
    judging->verdict.worse[test] = worse;
    judging->verdict.fine[test] = fine;
}

/* The odds of both directions. */
struct odds_pair {
    struct bets_odds even, margin;
};

static struct odds_pair odds_of(size_t levels, int64_t margin_ppm)
{
    struct odds_pair odds;
    bets_odds(levels, 0, &odds.even);
    bets_odds(levels, margin_ppm, &odds.margin);
    return odds;
}

/* Counters are read one after the other while they grow: a loss may be seen before its request. */
static int64_t errors_of(const struct evidence_row *seen)
{
    return least(seen->errors, seen->requests);
}

static void test_errors(struct judging *judging)
{
    const struct evidence_row *canary = judging->canary, *baseline = judging->baseline;
    struct bets bets = {.canary = {canary->requests - errors_of(canary), errors_of(canary)},
        .baseline = {baseline->requests - errors_of(baseline), errors_of(baseline)}};
    struct odds_pair odds = odds_of(2, judging->row->plan.error_margin_ppm);
    note(judging, TEST_ERRORS, bets_worse(&odds.even, &bets), bets_no_worse(&odds.margin, &bets));
}

/* Where most requests lose, the bet is better on those that do not: half of the capital is on each
 * side. Of the other side the baseline is the one that may not lose more. */
static int64_t no_worse_either(const struct bets_odds *odds, const struct bets *bets)
{
    struct bets other = {.canary = {bets->baseline[1], bets->baseline[0]},
        .baseline = {bets->canary[1], bets->canary[0]}};
    return most(bets_no_worse(odds, bets), bets_no_worse(odds, &other)) - BITS_ONE;
}

static void test_latency(struct judging *judging)
{
    struct bets bets = {
        .canary = {0, judging->canary->requests}, .baseline = {0, judging->baseline->requests}};
    struct odds_pair odds = odds_of(2, judging->row->plan.latency_margin_ppm);
    int64_t worst = INT64_MIN, fine = INT64_MAX;
    bets_odds(2, -judging->row->plan.latency_margin_ppm, &odds.even);
    for (int32_t i = 0; i < BOUNDS; i++) {
        bets.canary[0] += judging->canary->within[i];
        bets.canary[1] -= judging->canary->within[i];
        bets.baseline[0] += judging->baseline->within[i];
        bets.baseline[1] -= judging->baseline->within[i];
        int64_t bits = bets_worse(&odds.even, &bets);
        if (bits > worst)
            judging->verdict.bucket = i;
        worst = most(worst, bits);
        fine = least(fine, no_worse_either(&odds.margin, &bets));
    }
    note(judging, TEST_LATENCY, worst - bits_log2(BOUNDS, 1) - 1, fine);
}

static void test_quality(struct judging *judging)
{
    struct bets bets = {0};
    if (judging->row->plan.quality_margin_ppm == 0)
        return;
    for (int32_t i = 0; i < ROLLOUT_SCORES; i++) {
        bets.canary[i] = judging->canary->scores[ROLLOUT_SCORES - 1 - i];
        bets.baseline[i] = judging->baseline->scores[ROLLOUT_SCORES - 1 - i];
    }
    struct odds_pair odds = odds_of(ROLLOUT_SCORES, judging->row->plan.quality_margin_ppm);
    note(judging, TEST_QUALITY, bets_worse(&odds.even, &bets), bets_no_worse(&odds.margin, &bets));
}

static void test_differences(struct judging *judging)
{
    const struct evidence_row *canary = judging->canary;
    int64_t limit = judging->row->plan.differences_ppm;
    int64_t differing = least(canary->differing, canary->compared);
    if (judging->row->plan.strategy == ROLLOUT_SHADOW)
        note(judging, TEST_DIFFERENCES, bets_above(differing, canary->compared, limit),
            bets_below(differing, canary->compared, limit));
}

/* ---- what follows --------------------------------------------------------------------------- */

static enum rollout_reason guard(const struct judging *judging)
{
    const struct rollout_plan *plan = &judging->row->plan;
    const struct evidence_row *canary = judging->canary;
    int64_t slow = 0;
    if (canary->requests < plan->guard_requests)
        return REASON_NONE;
    if (canary->errors > canary->requests / MILLION * plan->guard_errors_ppm +
                             canary->requests % MILLION * plan->guard_errors_ppm / MILLION)
        return REASON_GUARD_ERRORS;
    /* Those that are surely slower: the bucket below theirs ends at the guard or beyond. */
    for (int32_t i = 1; i < ROLLOUT_BUCKETS; i++)
        slow += (int64_t)FIRST_BOUND_US << (i - 1) >= plan->guard_p99_us ? canary->within[i] : 0;
    return plan->guard_p99_us > 0 && slow > canary->requests / 100 ? REASON_GUARD_LATENCY
                                                                   : REASON_NONE;
}

static const enum rollout_reason reason_of[TEST_COUNT] = {
    [TEST_ERRORS] = REASON_ERRORS,
    [TEST_LATENCY] = REASON_LATENCY,
    [TEST_QUALITY] = REASON_QUALITY,
    [TEST_DIFFERENCES] = REASON_DIFFERENCES,
};

static bool sample_is_small(const struct judging *judging)
{
    const struct rollout_row *row = judging->row;
    const struct evidence_row *canary = judging->canary, *baseline = judging->baseline;
    int64_t seen = row->plan.strategy == ROLLOUT_SHADOW ? canary->compared : canary->requests;
    return seen - row->step_seen[ARM_CANARY] < row->plan.requests_min ||
           (baseline && baseline->requests - row->step_seen[ARM_BASELINE] < row->plan.requests_min);
}

static enum rollout_reason missing(const struct judging *judging, int64_t now_ms)
{
    const struct rollout_row *row = judging->row;
    const struct rollout_verdict *verdict = &judging->verdict;
    if (sample_is_small(judging))
        return REASON_SAMPLE;
    for (int test = 0; !row->plan.by_time && test < TEST_COUNT; test++) {
        if (verdict->made & 1u << test && verdict->fine[test] < verdict->pass_bits)
            return reason_of[test];
    }
    return now_ms - row->step_ms < row->plan.bakes_ms[row->step] ? REASON_BAKE : REASON_NONE;
}

static enum rollout_reason alarm(const struct judging *judging)
{
    const struct rollout_verdict *verdict = &judging->verdict;
    enum rollout_reason guarded = guard(judging);
    if (guarded != REASON_NONE)
        return guarded;
    for (int test = 0; test < TEST_COUNT; test++) {
        if (verdict->made & 1u << test && verdict->worse[test] >= verdict->alarm_bits)
            return reason_of[test];
    }
    return REASON_NONE;
}

struct rollout_verdict core_rollout_judge(const struct rollout_row *row,
    const struct evidence_row *baseline, const struct evidence_row *canary, int64_t now_ms)
{
    struct judging judging = {.row = row, .baseline = baseline, .canary = canary};
    struct rollout_verdict *verdict = &judging.verdict;
    uint64_t alpha = (uint64_t)row->plan.alpha_ppm;
    if (baseline) {
        test_errors(&judging);
        test_latency(&judging);
        test_quality(&judging);
    }
    test_differences(&judging);
    int tests = __builtin_popcount(verdict->made);
    /* Rounded up. */
    verdict->pass_bits = bits_log2(MILLION, alpha) + 1;
    verdict->alarm_bits = bits_log2((uint64_t)(tests > 0 ? tests : 1) * MILLION, alpha) + 1;
    verdict->alarm = alarm(&judging);
    verdict->missing = missing(&judging, now_ms);
    return judging.verdict;
}
