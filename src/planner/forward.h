/* A forward run: a core with the live state goes on in virtual time, without new jobs, each attempt
 * as long as one draw from the history says. It is the live scheduler that decides, so a run is one
 * possible future. */
#pragma once

#include "core/core.h"
#include "planner/history.h"

struct forward_options {
    const struct history *history;
    int scenario, scenarios; /* which draw, of how many */
    int64_t now_ms;          /* the run begins here.. */
    int64_t until_ms;        /* ..and ends here at the latest */
    uint64_t target;         /* it ends once this job has started or ended; 0: once all have */
    void *context;
    /* A job that had not started yet does so. */
    void (*started)(void *context, uint64_t job, int64_t at_ms);
    /* A job ended for good. */
    void (*ended)(void *context, uint64_t job, int64_t at_ms, enum end_reason reason);
    /* An attempt of the job, or what was left of it, ended: what it cost. May be NULL. */
    void (*held)(void *context, uint64_t job, int64_t cost_nano);
    /* A job that had not started yet would do so in that pool: whether it turns it down, and waits
     * for the others (core_job_decline). The target's run ends when none is left. May be NULL. */
    bool (*declines)(void *context, uint64_t job, uint64_t pool, int64_t at_ms);
    int64_t on_ms; /* the run goes on for so long at most once the target turned one down */
    /* Asked now and then: whether the run has taken enough of the processor. May be NULL. */
    bool (*enough)(void *context);
};

struct forward_result {
    int64_t reached_ms; /* the moment the run came to */
    bool cut;           /* by until_ms or enough, not because nothing more would happen */
    int64_t ticks, admissions;
};

/* Runs the core forward; it is of no other use afterwards. */
void forward_run(
    struct core *core, const struct forward_options *options, struct forward_result *ret);
/* What the history knows the job by, with its texts from the core. */
void forward_describe(const struct core *core, const struct job_row *job, struct history_job *ret);
