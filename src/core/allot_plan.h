/* A plan of the devices to come: how many are free from now on until the end of time, in steps, and
 * the least gangs with which jobs end by their deadlines. What the policy "deadline" reckons with;
 * private to it. */
#pragma once

#include "core/allot.h"

#include <stdbool.h>
#include <stdint.h>

enum { PLAN_LEVELS_MAX = 20, PLAN_STEPS_MAX = 2048 };

/* A job as the plan sees it. */
struct plan_job {
    struct allot_job *job;
    int32_t levels[PLAN_LEVELS_MAX]; /* ranks it may have, ascending, no two of them equal.. */
    int64_t rates[PLAN_LEVELS_MAX];  /* ..and its speed with each; never falling */
    int level_count;
    bool known;    /* work and speeds are; else it is taken to need its gang to the end */
    bool promised; /* its deadline was */
    bool feasible; /* the plan holds it to its end before the deadline */
    bool pressed;  /* chooses before those whose deadline is earlier */
    int32_t base;  /* ranks that the plan gives it now */
    int64_t restart_ms;
    int64_t spread_ms; /* device-time that it needs at its most efficient */
};

struct plan_step {
    int64_t at_ms;
    int64_t free; /* devices from then to the next step's moment, or for ever */
};

struct plan {
    int64_t round_ms;
    int count;
    struct plan_step steps[PLAN_STEPS_MAX];
};

/* Everything free from now_ms on. */
void plan_open(struct plan *plan, int64_t now_ms, int64_t round_ms, int64_t devices);
/* Fills in levels, rates and what follows from them. */
void plan_job_open(struct plan_job *one, struct allot_job *job, const struct allot_round *round);
/* Finds the smallest level with which the job ends by its deadline in what is free, takes those
 * devices out of the plan and sets base. A step with fewer free than the level gives it the largest
 * level that is. Returns whether it was found; otherwise nothing was taken. */
bool plan_fit(struct plan *plan, struct plan_job *one);
/* Takes what it can get with its largest level, although that is too late. */
void plan_best(struct plan *plan, struct plan_job *one);
/* Takes a job that can not be stopped with its size. */
void plan_fixed(struct plan *plan, struct plan_job *one);
/* The index of the largest level of at most so many ranks, or -1. */
int plan_level(const struct plan_job *one, int64_t ranks);
/* How long the work that is left takes at a level, without restarts. */
int64_t plan_left_ms(const struct plan_job *one, int level);
