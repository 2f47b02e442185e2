/* Measured training speed and statistical efficiency of the models that Pollux's workloads train
 * (Qiao et al., "Pollux: Co-adaptive Cluster Scheduling for Goodput-Optimized Deep Learning", OSDI
 * 2021; public data: petuum/adaptdl, branch osdi21-artifact, folder simulator), and what follows
 * from them: how much progress a second a job makes on a place with a batch.
 *
 * Progress is counted in iterations of the smallest validation batch: goodput = gain / time, where
 * gain is what one pass with a larger batch is worth. */
#pragma once

#include "base/error.h"
#include "base/vec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    POLLUX_NODE_DEVICES = 4, /* of the machines that were measured */
    POLLUX_RANKS_MAX = 64,
    POLLUX_NODES_MAX = 64,
};

/* Seconds of a pass with so many samples a rank. */
struct pollux_point {
    int32_t local_batch;
    double step_s, sync_s; /* sync is part of step */
};

/* What was measured on one place, or on places of one size: points by local batch. */
struct pollux_curve {
    int32_t nodes, ranks;
    uint64_t digits; /* of the place: ranks on each node, rotated to the smallest; 0: any place */
    VEC(struct pollux_point) points;
};

typedef VEC(struct pollux_curve) pollux_curves;

struct pollux_epoch {
    double progress, sqr, var;
};
struct pollux_validation {
    int32_t batch; /* total */
    VEC(struct pollux_epoch) epochs;
};

/* What a job may do with its batch on a place: the best goodput in each epoch, once computed. */
struct pollux_best {
    uint64_t digits;
    int32_t nodes, ranks;
    double *goodput; /* by epoch; 0: not yet */
    struct pollux_best *next;
};

struct pollux_app {
    char name[32];
    pollux_curves places; /* placements.csv */
    pollux_curves sizes;  /* by (nodes, ranks): placements.csv averaged, scalability.csv */
    pollux_curves known;  /* given from outside for places that were not measured */
    VEC(struct pollux_validation) validations; /* batches ascending */
    int32_t epochs;                            /* a job is done after so many */
    double *epoch_end;                         /* progress at the end of each */
    int32_t local_min, local_max;              /* batch of a rank that one pass can have */
    struct pollux_best *best;
};

struct pollux_apps {
    VEC(struct pollux_app) items;
};

/* Ranks on each node, in order of first rank. */
struct pollux_place {
    int32_t nodes, ranks;
    uint64_t digits; /* rotated to the smallest; 0 when it has more nodes than digits */
};

/* How a job runs its batch: passes accumulate before they are applied. */
struct pollux_batch {
    int32_t local;      /* samples of a rank in a pass */
    int32_t accumulate; /* passes beyond the first */
};

/* ---- pollux_data.c ------------------------------------------------------------------------ */

/* Reads FOLDER/traces/APP/ for each model and, if it is there,
 * FOLDER/derived/tiresias_interpolated_speeds.csv. 0 or -1 and nothing to finish. */
MUST_CHECK int pollux_load(struct pollux_apps *apps, const char *folder, struct error *err);
/* One model, into a zeroed struct, from the folder with its files. 0 or -1; pollux_app_unload frees
 * what there is in either case. */
MUST_CHECK int pollux_app_load(
    struct pollux_app *app, const char *folder, const char *name, struct error *err);
void pollux_app_unload(struct pollux_app *app);
void pollux_unload(struct pollux_apps *apps);
/* By name, or NULL. */
struct pollux_app *pollux_find(struct pollux_apps *apps, const char *name);

/* ---- pollux_speed.c ----------------------------------------------------------------------- */

/* The place with so many ranks on each of the nodes, in order. */
void pollux_place_make(struct pollux_place *place, const int32_t *ranks_on, int32_t nodes);
/* So many ranks on as few nodes as can be, all of them full but one. */
void pollux_place_packed(struct pollux_place *place, int32_t ranks);
/* Seconds of one pass. Exact where the place was measured (linear in the local batch); else from
 * what was given for it; else along equal ranks per node between the two nearest measured numbers
 * of nodes, linear in nodes, ranks and batch. */
void pollux_time(const struct pollux_app *app, const struct pollux_place *place,
    int32_t local_batch, struct pollux_point *ret);
/* How a total batch is run on so many ranks. */
struct pollux_batch pollux_batch_of(const struct pollux_app *app, int32_t ranks, int32_t batch);
/* Progress a second in an epoch. */
double pollux_goodput(const struct pollux_app *app, const struct pollux_place *place,
    struct pollux_batch batch, int32_t epoch);
/* The same with the batch for which it is best. Remembered. */
double pollux_goodput_best(struct pollux_app *app, const struct pollux_place *place, int32_t epoch);
/* The most ranks that a batch can be divided to. */
int32_t pollux_ranks_max(const struct pollux_app *app);
