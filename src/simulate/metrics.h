/* What a run came to. docs/simulate.md defines each metric; units are in the names. */
#pragma once

#include "simulate/quantile.h"
#include "simulate/series.h"

#include <stdbool.h>
#include <stdint.h>

/* Where allocation and fragmentation of a run with arrivals alone are taken: when the accelerators
 * that jobs asked for so far first come to so many per cent of those there are. */
enum { METRICS_POINTS = 7, METRICS_PERCENTS = 201 };
extern const int metrics_points[METRICS_POINTS]; /* 50, 80, 90, 95, 100, 110, 130 */

struct metrics_point {
    bool reached;
    int64_t allocated_milli;  /* of devices */
    int64_t fragmented_milli; /* FGD's F, rounded to the nearest */
};

struct metrics {
    uint64_t seed;
    int64_t accelerator_milli; /* of the cluster */
    bool by_cpu;               /* it has no accelerators: shares are of CPU */
    int64_t capacity_milli;    /* of the resource that counts */

    /* RUN_ARRIVALS */
    struct metrics_point points[METRICS_POINTS];
    int64_t allocated_end_milli; /* when all have come */
    int32_t curve_count;         /* of the following: per cents that were reached, from 0 */
    int64_t curve_allocated_milli[METRICS_PERCENTS];
    int64_t curve_fragmented_milli[METRICS_PERCENTS];

    /* Jobs */
    int64_t jobs;       /* that came */
    int64_t impossible; /* that no node could hold: left out */
    int64_t dropped;    /* RUN_ARRIVALS: fitted nowhere */
    int64_t succeeded, failed;
    int64_t unfinished; /* when the run ended */
    int64_t with_deadline, in_time;
    int64_t starts, preemptions, resizes, node_losses; /* of attempts */
    struct quantile waiting_ms;                        /* submission to first start */
    struct quantile urgent_ms;                         /* the same of jobs of priority urgent */
    struct quantile completion_ms;                     /* submission to end */
    struct quantile fairness_micro;                    /* finish-time fairness */
    int64_t unfair;                                    /* above 1.05 */
    struct quantile slowdown_micro; /* completion over what it takes alone on what it asked for */
    int64_t first_submit_ms, last_end_ms;

    /* Devices and machines over time, from the first submission to the last end. In a cluster
     * without accelerators all of these are of CPU. */
    __int128 device_held_ms;  /* thousandths of a device times milliseconds: held.. */
    __int128 device_there_ms; /* ..of those up.. */
    __int128 device_lost_ms;  /* ..held for work that was lost.. */
    __int128 fragmented_ms;   /* ..fragmented (sampled) */
    __int128 sampled_ms;      /* time that fragmented_ms stands for, times devices */
    __int128 cost_nano;       /* of what was held */
    struct series series; /* lines: share of devices held in per cent, jobs that run, that wait */
    int64_t decisions;    /* admissions */
    int64_t events, ticks;
};

void metrics_finish(struct metrics *metrics); /* frees and zeroes */
