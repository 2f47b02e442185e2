/* How long jobs really took: what forecasts draw the lengths of running and waiting jobs from.
 *
 * A job is described by what is known before it runs: team, name without its numbers, class, shape,
 * ranks, time limit. Six sketches, from the most alike ("this team's train-#, of this shape") to
 * all jobs, each keep the newest SKETCH_SAMPLES lengths. A draw begins with the most alike and goes
 * on to the next with a chance that shrinks with what there is: with n samples a sketch is left
 * with 3 in n + 3, so that three runs of the same job count for half, and thirty for nearly all.
 *
 * Bounded: at most HISTORY_SKETCHES_MAX sketches, of 16 bytes a sample; those unused for longest
 * make room. */
#pragma once

#include "core/rows.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HISTORY_LEVELS = 6,
    SKETCH_SAMPLES = 256,
    HISTORY_SKETCHES_MAX = 4096,
};

struct history;

/* A job as the sketches know it. */
struct history_job {
    uint64_t keys[HISTORY_LEVELS]; /* the most alike first; the last is that of all jobs */
    int64_t time_limit_ms;         /* 0: none */
};

/* What the job is known by; texts and shape (may be NULL) are read now. */
void history_describe(const struct job_row *job, const struct shape_row *shape, const char *team,
    const char *name, const char *class_name, struct history_job *ret);

/* An empty one. */
struct history *history_create(void);
void history_destroy(struct history *history); /* NULL is fine */
/* An attempt of the job ran to its own end, after run_ms. */
void history_learn(struct history *history, const struct history_job *job, int64_t run_ms);
/* How long such a job runs in all, given that it has run for elapsed_ms: more than that. The same
 * job, scenario and history give the same answer; over `scenarios` the answers spread evenly over
 * what is likely. */
int64_t history_draw(const struct history *history, const struct history_job *job, uint64_t id,
    int64_t elapsed_ms, int scenario, int scenarios);
/* Samples of the most alike sketch that has any, and which that is (HISTORY_LEVELS: none at all).
 */
int64_t history_samples(
    const struct history *history, const struct history_job *job, int *ret_level);
/* "the same name in the team", .. for a level. */
extern const char *const history_level_names[HISTORY_LEVELS + 1];
/* How many there are. */
size_t history_sketches(const struct history *history);
/* How often something was learned. */
int64_t history_learned(const struct history *history);
