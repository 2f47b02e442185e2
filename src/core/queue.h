/* The queue: lanes of jobs that compete, and what they are ordered by. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct core;
struct live_job;
struct live_shape;
struct live_team;

/* What distinguishes jobs for the scheduler. Jobs of one lane are interchangeable but for how long
 * they wait: when the first does not fit, none does. */
struct lane_key {
    struct live_team *team;
    struct live_shape *shape;
    uint64_t array; /* with a bound on parallel elements, or 0 */
    int64_t time_limit_ms;
    int32_t priority;
    int32_t size_min, size_max;
    int32_t spot; /* enum spot_place */
    int32_t firm;
    int32_t governed; /* by a policy with rounds: the pass leaves it alone */
};

/* What a lane is ordered by, as it was when it was looked at last. */
struct turn {
    int64_t priority;
    int64_t queued_ms;
    uint64_t job;
    int32_t rank;
};

/* What may come of a lane in a pass that begins: see outlook.c. */
enum lane_outlook {
    LANE_OPEN,  /* nobody knows before it is tried */
    LANE_STUCK, /* its first job does not fit */
    LANE_OUT,   /* its limits, or a policy with rounds, leave it no turn */
};

struct lane {
    struct lane_key key;
    enum lane_outlook outlook; /* of a scheduling pass */
    struct live_job *first;    /* by queued_ms, id */
    int64_t queued_ms;         /* of the first; what passes ask of every lane stands up to here */
    struct live_job *last;
    uint64_t hash;
    struct lane *same_hash;
    size_t count;
    size_t position; /* in its team */
    /* Valid within a scheduling pass only. */
    struct turn turn;
    struct live_job *cursor;
    int32_t tries;
    bool blocked;
};

/* Base priority and the points that waiting gave, never above the next named priority. */
int64_t priority_now(const struct core *core, const struct live_job *job);
/* 0 .. 4: the named priorities that it reaches. */
int32_t priority_band(int64_t priority);
void queue_add(struct core *core, struct live_job *job);
void queue_remove(struct core *core, struct live_job *job);
