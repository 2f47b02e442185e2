/* What the files about explaining a job share. Private to this folder. */
#pragma once

#include "planner/explain.h"
#include "planner/forecast.h"

#define EXPLAIN_HORIZON_MS ((int64_t)90 * 24 * 3600 * 1000)

struct explain {
    struct arena *arena;
    struct core *core;
    const struct explain_options *options;
    const struct job_row *job;
    struct core_block block;
};

/* explain_waits.c: what the job of a block waits for. */
struct doc *explain_waits(const struct explain *in);
/* Sets "job", "name" and "team" of a live job. */
void explain_set_job(const struct explain *in, struct doc *map, uint64_t id);
/* Sets a spread under the key and returns it. */
struct doc *explain_set_spread(
    struct arena *arena, struct doc *map, const char *key, const struct spread *spread);
/* When the attempt of a job that has one ends. */
void explain_end_of(const struct explain *in, const struct job_row *job, struct spread *ret);

/* explain_pools.c: sets "pools" where there are several. forecast, with every_pool: says when it
 * would start in each; NULL: none was made. */
void explain_set_pools(const struct explain *in, struct doc *out, const struct forecast *forecast);
/* explain.c: sets "reached": the least moment that a run was cut at in which it did not come. */
void explain_set_reached(const struct explain *in, struct doc *spread,
    const struct forecast *forecast, const int64_t *moments);

/* explain_holders.c: sets "holders" and "ahead". */
void explain_set_holders(const struct explain *in, struct doc *out);
void explain_set_ahead(const struct explain *in, struct doc *out, const struct forecast *forecast);
