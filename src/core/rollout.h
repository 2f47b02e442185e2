/* Rollouts: how far each is, what it wants, and what the evidence says. */
#pragma once

#include "core/core.h"
#include "core/table.h"

#include <stdbool.h>
#include <stdint.h>

struct live_replica;
struct live_service;

struct live_evidence {
    struct item item;
    struct evidence_row row;
};

struct live_rollout {
    struct item item;
    struct rollout_row row;
    struct live_service *service;
    struct live_evidence *seen[ARM_COUNT]; /* of ARM_MAIN: NULL */
    bool changed;                          /* it has to be looked at.. */
    int64_t look_ms;                       /* ..or it is time to */
};

/* ---- rollout_bets.c: evidence in bits ---------------------------------------------------------
 */

/* Bits are logarithms to the base of 2, in units of 2^-CORE_BITS_SHIFT. */
enum { BETS_LEVELS_MAX = ROLLOUT_SCORES, BETS_LAMBDAS = 8 };
#define BITS_ONE ((int64_t)1 << CORE_BITS_SHIFT)

/* log2(numerator / denominator), rounded down; both above 0 and below 2^62. */
int64_t bits_log2(uint64_t numerator, uint64_t denominator);

/* Outcomes of two arms between which each request was assigned by a fair coin. A request of level k
 * lost k / (levels - 1): with two levels it failed or it did not. */
struct bets {
    int64_t canary[BETS_LEVELS_MAX];
    int64_t baseline[BETS_LEVELS_MAX];
};
/* What a request adds to the evidence, by level; the same for all bets of one kind. */
struct bets_odds {
    size_t levels; /* 2 to BETS_LEVELS_MAX */
    int64_t won[BETS_LAMBDAS][BETS_LEVELS_MAX];
    int64_t lost[BETS_LAMBDAS][BETS_LEVELS_MAX];
};
void bets_odds(size_t levels, int64_t margin_ppm, struct bets_odds *ret);
/* Evidence, in bits, against "the canary loses no more than the baseline", with odds of margin 0,
 * or "at most so much more", with odds of that margin, negative:
 * 2^bits is an e-value whenever it is looked at, so that it ever exceeds log2(1/alpha) has a
 * probability of at most alpha where the canary is no worse. */
int64_t bets_worse(const struct bets_odds *odds, const struct bets *bets);
/* The same against "the canary loses more than the baseline by the margin of the odds or more". */
int64_t bets_no_worse(const struct bets_odds *odds, const struct bets *bets);
/* Of one arm: so many of so many differed; against "at most limit_ppm differ", and against "at
 * least limit_ppm differ". */
int64_t bets_above(int64_t differing, int64_t compared, int64_t limit_ppm);
int64_t bets_below(int64_t differing, int64_t compared, int64_t limit_ppm);

/* ---- rollout.c: the state ---------------------------------------------------------------------
 */

/* Gives the service the plan, before it is renewed: a row is made, changed or taken away. */
void rollout_plan_put(
    struct core *core, struct live_service *service, const struct rollout_plan *plan);
/* The service has a new revision. */
void rollout_renewed(struct core *core, struct live_service *service);
/* It has another number of replicas: its arms may be ready with fewer. */
void rollout_scaled(struct live_service *service);
/* It goes with its service. */
void rollout_vanish(struct core *core, struct live_service *service);
/* A replica of the wanted revision got ready. */
void rollout_proven(struct core *core, struct live_service *service, int32_t revision);
/* How many replicas an arm is to have, and of which revision. */
int32_t rollout_wants(const struct live_service *service, enum replica_arm arm);
int32_t rollout_revision(const struct live_service *service, enum replica_arm arm);
/* Moves every rollout as far as time and evidence tell. */
void rollouts_settle(struct core *core);
/* When one has to be looked at next, or MOMENT_NEVER. */
int64_t rollouts_next_ms(const struct core *core);
/* Loading: a rollout is hung below its service, evidence below its rollout. NULL, or what is wrong.
 */
const char *rollout_link(struct live_rollout *rollout, struct live_service *service);
const char *evidence_link(struct live_evidence *evidence, struct live_rollout *rollout);
/* For core_check: NULL, or what is wrong. */
const char *rollout_fault(const struct live_service *service);
