/* How fast a job runs where it was put, and what it loses when it is stopped: the part of a
 * simulation that the core does not decide. Each kind of trace has a model; the driver (run.h)
 * asks it and knows nothing of speeds itself.
 *
 * A model is made once for a run. For each live job it has a state of a fixed size, which lies in
 * the driver's memory: what the model allocates beyond it is freed in `forget`.
 *
 * The life of a state, all moments on the clock of the trace, never going back:
 *
 *     prepare                   the job is there; nothing has run
 *     place  -> done_ms ..      an attempt begins on these nodes: from now on it runs
 *       advance, progress, ..   any number of times
 *     stop                      the place is taken away; what was not saved is lost
 *     place  -> ..              and so on, until done_ms has come, then
 *     forget
 *
 * Whole numbers wherever a decision depends on them: the same inputs give the same bytes with every
 * compiler. Floating point without libm is fine inside a model when it rounds the same everywhere.
 */
#pragma once

#include "base/error.h"
#include "trace/trace.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_NEVER INT64_MAX

enum { MODEL_SPEEDS_MAX = 128 };

struct speed_model;

/* Where an attempt runs. */
struct model_place {
    int32_t ranks;
    int32_t nodes;
    const int32_t *ranks_on;  /* of each node, in order of first rank */
    const uint64_t *node_ids; /* the core's, in the same order */
    bool moved; /* not the first attempt: it starts from a checkpoint, on whatever nodes */
};

/* What a job says of itself to the scheduler while it lives (core_job_progress). */
struct model_speed {
    int32_t ranks, nodes;
    int64_t rate_milli; /* thousandths of a unit of work a second */
};
struct model_progress {
    int64_t remaining;  /* units of work, the model's own; -1: not known */
    int64_t restart_ms; /* that it loses by starting again; 0: not known */
    size_t count;       /* 0: says nothing of its speeds, or nothing new */
    struct model_speed speeds[MODEL_SPEEDS_MAX];
};

/* What a stop takes away. */
struct model_loss {
    int64_t lost_ms;   /* of running time since the newest checkpoint (or the attempt's start) */
    int64_t device_ms; /* lost_ms for each of its ranks */
};

struct model_options {
    const struct trace_cluster *cluster;
    const char *speeds;    /* file or folder of measured speeds; NULL: none given */
    int64_t restart_ms;    /* an attempt after the first does nothing for so long; -1: the model's
                            * own habit */
    int64_t checkpoint_ms; /* for jobs whose trace does not say (0); 0: none */
};

struct model_type {
    const char *name;
    const char *summary; /* for the help */
    /* NULL with err. */
    struct speed_model *(*create)(const struct model_options *options, struct error *err);
    void (*destroy)(struct speed_model *model); /* not NULL */
    size_t state_size;
    /* Sets up a zeroed state; the job's texts are valid during the call only. -1: the model has no
     * speed for such a job. May set job->duration_ms where the trace does not say. */
    int (*prepare)(
        struct speed_model *model, void *state, struct trace_job *job, struct error *err);
    void (*forget)(struct speed_model *model, void *state); /* NULL: nothing to free */
    /* It runs from now_ms on, after whatever delay a start or move costs. */
    void (*place)(
        struct speed_model *model, void *state, const struct model_place *place, int64_t now_ms);
    /* When it is done if nothing changes: not before now_ms of the last call; MODEL_NEVER. */
    int64_t (*done_ms)(const struct speed_model *model, const void *state);
    /* Accounts what ran until now_ms, which is at most done_ms. */
    void (*advance)(struct speed_model *model, void *state, int64_t now_ms);
    /* Ends the attempt at now_ms (at most done_ms): told: it was told to stop and had its grace;
     * else its node died under it. Says what was lost. */
    void (*stop)(struct speed_model *model, void *state, int64_t now_ms, bool told,
        struct model_loss *ret_loss);
    /* The moment of the next checkpoint while it runs, or MODEL_NEVER; NULL: it writes none. The
     * driver tells the core of each when it comes, after advance. */
    int64_t (*checkpoint_ms)(const struct speed_model *model, const void *state);
    /* What it says of itself, after advance, also while it waits; NULL: it says nothing. Asked for
     * at the start, whenever an attempt starts or ends, and every progress_ms of the run. */
    void (*progress)(struct speed_model *model, void *state, struct model_progress *ret_progress);
};

/* What every model begins with. */
struct speed_model {
    const struct model_type *type;
};

/* Fixed work: duration x ranks, done in proportion to the ranks that run. */
extern const struct model_type model_fixed;
/* Pollux's workloads, as the trace says and with sizes and batches of the job's own: see
 * model_pollux.c. */
extern const struct model_type model_pollux, model_pollux_adaptive;

/* Elastic jobs of a trace that says how long they take on the ranks they ask for. */
extern const struct model_type model_scaling;
/* Gangs whose batch changes while they run, by measured speeds of each batch. */
extern const struct model_type model_shockwave;

extern const struct model_type *const model_types[]; /* NULL ends the list */
/* The model of that name, or NULL. */
const struct model_type *model_find(const char *name);
/* The one that jobs of a trace format run by unless something else is asked for. */
const struct model_type *model_of_format(const char *format);
