/* How far a job is and how fast, from the lines that it appends to its MUSTER_METRICS file: what an
 * elastic allotment goes by (core_job_progress). A job says how much is done and of how much; its
 * speed at the size that it runs with is measured here, from that and the time, and so is what a
 * restart costs it. It may also say how fast it would be with other numbers of ranks.
 *
 *     {"done": 120000, "total": 500000}
 *     {"done": 130000, "total": 500000, "speeds": {"1": 310, "4": 1150, "8x2": 2050}}
 *
 * Lines come from the job, which may write anything: what makes no sense is left out. */
#pragma once

#include "core/core.h"
#include "wire/doc.h"

enum {
    PACE_EVERY_MS = 10000,  /* between two reports about a job to the core */
    PACE_WINDOW_MS = 10000, /* the least time that a speed is measured over */
};

/* Of a job, zero at first. */
struct pace {
    int32_t attempt;              /* its number; 0: nothing was taken in yet */
    int64_t done;                 /* at the newest line.. */
    int64_t at_ms;                /* ..of then */
    int64_t since_done, since_ms; /* what is measured from */
    int64_t rate_milli;           /* measured with this attempt, smoothed; 0: not yet */
    int64_t last_milli;           /* with the one before */
    int64_t restart_ms;
    int64_t told_ms;
};

/* The attempt that runs. */
struct pace_attempt {
    int32_t number;
    int64_t admitted_ms;
    int32_t ranks, nodes;
};

/* Takes in a line that came at at_ms. True: the core is to be told; speeds has room for
 * CORE_SPEEDS_MAX and belongs to the caller. */
bool pace_take(struct pace *pace, const struct doc *line, const struct pace_attempt *attempt,
    int64_t at_ms, struct core_speed *speeds, struct core_progress *ret);
