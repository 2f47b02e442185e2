/* The structs of `spec.rollout` of a Service. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum service_strategy {
    STRATEGY_NONE,
    STRATEGY_CANARY,
    STRATEGY_BLUE_GREEN,
    STRATEGY_SHADOW,
};

struct rollout_stage {
    int64_t weight; /* percent of the requests; the baseline gets as many */
    int64_t bake_ms;
};

enum { ROLLOUT_STAGES_MAX = 8 };

/* How a new revision takes over: see docs/gateway-rollouts.md. Probabilities in millionths. */
struct service_rollout {
    int64_t surge;       /* replicas more than wanted, while it rolls; default 1 */
    int64_t unavailable; /* replicas fewer that are ready, while it rolls; default 0 */
    enum service_strategy strategy;
    struct {
        struct rollout_stage *items; /* none: 5, 20 and 50 percent */
        size_t count;
    } steps;
    int64_t requests;    /* of each arm, in each step */
    int64_t patience_ms; /* a step without a verdict for so long is inconclusive.. */
    bool give_up;        /* ..and the rollout is aborted then, else paused */
    bool by_time;        /* sample and time are enough to pass a step */
    int64_t alpha_micro;
    struct {
        int64_t errors_micro, latency_micro, quality_micro, differences_micro;
    } margins;
    struct {
        int64_t requests;
        int64_t errors_micro;
        int64_t p99_ms; /* 0: none */
    } guard;
};
