/* Jobs, with their labels, arrays, dependencies and timers. */
#pragma once

#include "core/core.h"
#include "core/table.h"
#include "core/team.h"

struct lane;
struct live_allotment;
struct live_attempt;
struct live_claim;
struct live_promise;
struct live_replica;
struct live_shape;

struct live_array {
    uint64_t id;
    struct live_team *team;
    uint32_t name;
    int32_t parallel;
    int32_t live;
    int32_t active; /* with an attempt or claims */
};

struct live_job_label {
    struct item item;
    struct job_label_row row;
    struct live_job_label *next;
};

struct live_dependency {
    struct item item;
    struct dependency_row row;
    struct live_job *job, *on;
    struct live_dependency *next_of_job, *next_of_on;
};

struct live_spot {
    struct item item;
    struct spot_row row;
    struct live_job *job;
};

struct live_data {
    struct item item;
    struct data_row row;
    struct live_data *next;
};

struct live_broker {
    struct item item;
    struct broker_row row;
};

/* What few jobs have. Those that have none of it share one that is empty. */
struct job_links {
    struct live_job_label *labels;
    struct live_dependency *depends;    /* what it waits for */
    struct live_dependency *dependents; /* what waits for it */
    struct live_claim *claims;
    struct live_promise *promises;
    struct live_allotment *allotment; /* NULL: a policy without rounds, and it reported nothing */
    struct live_replica *replica;     /* of a service that it is, or NULL */
    struct live_spot *spot;           /* NULL: it does not move between spot pools and others */
    struct live_data *data;           /* where what it reads lies, as far as that is known */
    struct live_broker *broker;       /* NULL: no burst policy was asked about it yet */
};
extern const struct job_links job_links_none;

struct live_job {
    struct item item;
    struct job_row row;
    struct live_team *team;
    struct live_shape *shape;
    struct live_attempt *attempt;
    struct live_array *array;
    const struct job_links *links; /* never NULL; job_link() gives one to write to */
    struct lane *lane;             /* it competes in, or NULL */
    struct live_job *lane_next, *lane_previous;
    struct live_job *name_next; /* in its list of jobs_by_name */
    uint32_t timer;             /* 1 + its place among the timers; 0: it has none */
};

/* ---- job.c ------------------------------------------------------------------------------------
 */

/* Where the job may be placed now: enum spot_place; SPOT_NOWHERE: wherever it may. */
static inline int32_t job_spot(const struct live_job *job)
{
    return job->links->spot ? job->links->spot->row.now : SPOT_NOWHERE;
}
/* An object without a row, with no links and no timer. */
struct live_job *job_create(struct core *core);
/* The job's own links, which are there from the first call to the job's end. */
struct job_links *job_link(struct core *core, struct live_job *job);
/* Frees the job's own links, when its object goes. */
void job_links_free(struct core *core, struct live_job *job);
/* Not preempted (any more): what it holds can not be taken back. */
static inline bool job_firm(const struct live_job *job)
{
    const struct job_row *row = &job->row;
    return !row->preemptible ||
           (row->preemptions_max >= 0 && row->preemptions >= row->preemptions_max);
}
/* Another state, and what follows from it: its place in the queue, its timer, the counts. */
void job_set_state(struct core *core, struct live_job *job, enum job_state state);
/* Waiting or queued, whichever it is now. */
void job_ready(struct core *core, struct live_job *job);
/* Ends a job without an attempt, and what depended on its success with it. */
void job_end(struct core *core, struct live_job *job, enum job_state state, enum end_reason reason,
    int32_t exit_status);
/* Tells a live job to end for good, with grace when it has an attempt: END_CANCELLED or
 * END_REPLACED. */
void job_cancel(struct core *core, struct live_job *job, enum end_reason reason);
void job_decide(
    struct core *core, enum decision_kind kind, const struct live_job *job, int32_t reason);
static inline uint64_t name_key(const struct live_team *team, uint32_t name)
{
    return team->row.id << 32 | name;
}

/* A copy of a job that moves, as it would be if it might be placed there. */
struct spot_probe {
    struct live_job job;
    struct job_links links;
    struct live_spot spot;
};
/* Fills the probe and returns its job. */
const struct live_job *spot_probe(
    struct spot_probe *probe, const struct live_job *job, enum spot_place where);

/* ---- job_name.c -------------------------------------------------------------------------------
 */

/* The team's live job of that name, or NULL. */
struct live_job *job_named(const struct core *core, const struct live_team *team, uint32_t name);
/* The job is found by its team and name, which no other has, until it is removed. */
void job_name_put(struct core *core, struct live_job *job);
void job_name_remove(struct core *core, struct live_job *job);

/* ---- array.c ----------------------------------------------------------------------------------
 */

/* The team's live array of that name, or NULL. */
struct live_array *array_find(const struct core *core, const struct live_team *team, uint32_t name);
/* Puts an element into its array, which its first element makes. False: no symbol has the array's
 * name. */
bool array_join(struct core *core, struct live_job *job);
void array_leave(struct core *core, struct live_job *job);
/* Whether the job's array has as many active elements as it may. */
static inline bool array_full(const struct live_job *job)
{
    const struct live_array *array = job->array;
    return array && array->parallel > 0 && array->active >= array->parallel;
}
/* Counts an element as active (1) or not any more (-1). */
void array_count(struct live_job *job, int sign);

/* ---- depend.c ---------------------------------------------------------------------------------
 */

/* Hangs the dependency into the lists of the job that waits and of the one it waits for. */
void dependency_link(struct core *core, struct live_dependency *dependency, struct live_job *job,
    struct live_job *on);
/* Retires it: it is satisfied, or one of its ends is gone. */
void dependency_drop(struct core *core, struct live_dependency *dependency);

/* ---- timer.c ----------------------------------------------------------------------------------
 */

/* Puts the job's next moment right after its state changed. */
void timer_set(struct core *core, struct live_job *job);
void timer_clear(struct core *core, struct live_job *job);
void timers_run(struct core *core);
