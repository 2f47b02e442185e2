/* The driver: the live core on a stream of jobs, in virtual time, from event to event.
 *
 *     submit      a job of the trace comes
 *     schedule    the core decides; what it stops is stopped, what it admits starts, and it is
 *                 asked again until nothing changes at this moment
 *     checkpoint  a running job saved its work
 *     done        the model says that a job's work is done
 *     node        a node fails, comes back, is taken away (spot)
 *
 * Memory is in proportion to the jobs that are live. Nothing here decides anything about jobs: with
 * the same inputs the same core takes the same decisions as in the daemon. */
#pragma once

#include "core/core.h"
#include "simulate/fragment.h"
#include "simulate/metrics.h"
#include "simulate/model.h"
#include "trace/trace.h"

/* The core's time when the clock of a trace is at 0: a whole number of days, so that rounds of any
 * usual length begin with it. */
#define RUN_EPOCH_MS (INT64_C(18000) * 24 * 3600 * 1000)

/* A job that ended, for reports; texts are valid during the call. */
struct run_job {
    uint64_t number; /* of the trace */
    uint64_t id;     /* of the core */
    const char *name, *team, *model;
    int64_t submit_ms, start_ms, end_ms; /* start_ms: first; -1: never */
    int64_t run_ms;                      /* on nodes, restarts included */
    int64_t lost_ms;                     /* of it, work lost */
    int64_t duration_ms;                 /* what it would take alone on the ranks it asked for */
    int64_t deadline_ms;                 /* 0: none */
    int64_t device_ms;                   /* accelerator-milliseconds held */
    int64_t fairness_micro;              /* finish-time fairness; 0: not known */
    int32_t ranks;                       /* asked for */
    int32_t starts;                      /* attempts that started */
    int32_t preemptions;                 /* of them, stopped by the scheduler */
    enum end_reason reason;              /* END_SUCCEEDED, END_DEADLINE, .. */
};

/* Who wants to see what happens. Any may be NULL. */
struct run_observer {
    void *context;
    /* After each tick's decisions, before core_end: for checks at every step. -1 ends the run. */
    int (*tick)(void *context, struct core *core, int64_t now_ms, struct error *err);
    void (*decision)(void *context, const struct core_decision *decision, int64_t now_ms);
    void (*job)(void *context, const struct run_job *job);
    /* Now and then: jobs that came so far, of so many (0: not known). */
    void (*progress)(void *context, int64_t jobs, int64_t expected, int64_t now_ms);
};

enum run_mode {
    RUN_EVENTS,   /* as above */
    RUN_ARRIVALS, /* jobs come one at a time and never leave; one that fits nowhere is dropped:
                   * how placement is compared (FGD, ATC'23) */
};

struct run_options {
    const struct trace_cluster *cluster;
    struct trace_source *source; /* borrowed */
    struct speed_model *model;   /* borrowed; NULL with RUN_ARRIVALS */
    const struct fragment_mix
        *mix; /* borrowed: what fragmentation is measured by; NULL: it is not */
    const struct trace_list *known; /* borrowed: RUN_ARRIVALS: what jobs ask that will come, for
                                     * policies that count them beforehand (FGD); NULL: nothing */
    struct core_options core;
    enum run_mode mode;
    uint64_t seed;
    int64_t step_ms; /* > 0: the core sees what happened, and decides, only at multiples of this;
                      * ends are still measured to the millisecond */
    bool deadlines;  /* the core is told of deadlines, and ends what passes its own; else they are
                      * measured and nothing more */
    int64_t restart_ms; /* that starting again costs a job, for the core to know; 0: nothing said */
    int64_t grace_ms;   /* from the stop of an attempt to its end */
    int64_t scale_arrivals_milli; /* 2000: jobs come twice as fast; 0: as they are */
    bool curve;                   /* RUN_ARRIVALS: fragmentation at every per cent, for plots */
    int64_t sample_ms;            /* how often fragmentation is looked at */
    int64_t progress_ms; /* how often running jobs say what they do (model's progress), > 0 */
    int64_t node_mtbf_ms, node_mttr_ms; /* each node fails and is repaired; 0: never */
    const struct trace_events *events;  /* of nodes that are spot; NULL: none */
    int64_t until_ms;                   /* the run ends here; 0: when all is done */
    int64_t jobs_max;                   /* jobs of the trace that are taken; 0: all */
    struct run_observer observer;
};

/* Runs to the end and fills the metrics (initialised by the call, finished by the caller). 0, or
 * -1 with err: the trace is wrong, or the core refused what it has to take. Jobs that no node could
 * ever hold are counted and left out. */
MUST_CHECK int run_simulate(
    const struct run_options *options, struct metrics *ret_metrics, struct error *err);
