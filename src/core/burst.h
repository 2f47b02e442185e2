/* What a pool with a burst policy answers when it is asked about a job. Private to burst.c and
 * burst_ask.c; broker.h has what others ask. */
#pragma once

#include "core/core.h"
#include "core/place.h"

struct live_job;
struct live_pool;

/* What the pools without a burst policy are for a job that waits. */
struct elsewhere {
    bool lack;       /* none of them could hold the job */
    int64_t left_ms; /* until it starts there, foreseen */
    int64_t wait_ms; /* the same and what it has waited */
};

/* What comes of asking a pool; of one that lets the job come, with its place. */
struct burst_answer {
    enum burst_verdict verdict;
    struct live_pool *pool;
    struct plan plan; /* plan_finish frees it, whatever the verdict is */
    int64_t reserve_micro, egress_micro;
};

/* Looks at every node that the job may use. */
struct elsewhere burst_elsewhere(struct core *core, const struct live_job *job);
void burst_ask(struct core *core, const struct live_job *job, const struct elsewhere *elsewhere,
    struct live_pool *pool, struct burst_answer *ret);
