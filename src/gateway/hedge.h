/* When a request is made a second time at another replica, and how often: latencies of a service to
 * the first byte, and a budget (Dean and Barroso, "The Tail at Scale", 2013). */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    HEDGE_BUCKETS = 96,     /* four for each doubling, from 64 us to 18 minutes */
    HEDGE_SAMPLES_MIN = 20, /* fewer say nothing */
    HEDGE_SAMPLES_MAX = 2048,
};

/* Of a service, shared by workers. Old samples fade: at HEDGE_SAMPLES_MAX all counts are halved. */
struct hedge_latency {
    atomic_uint_fast32_t total;
    atomic_uint_least16_t counts[HEDGE_BUCKETS];
};

/* An answer began after so long. */
void hedge_latency_add(struct hedge_latency *latency, int64_t us);
/* Within how many microseconds so many of a hundred answers began: the upper end of the bucket; 0:
 * too few are known. */
int64_t hedge_latency_quantile(const struct hedge_latency *latency, int percent);

/* Each request allows a part of a second one: one is there to begin with, ten are saved at most.
 * Zeroed: none was used. */
struct hedge_budget {
    int64_t spent_milli;
};
/* A request that may be made twice comes. */
void hedge_budget_earn(struct hedge_budget *budget, int64_t percent);
/* Whether one may be made now: then it is paid for. */
bool hedge_budget_take(struct hedge_budget *budget);
