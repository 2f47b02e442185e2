/* Promises: a place and a moment for a job that does not fit, and what others may do meanwhile.
 *
 * The rule is that of conservative backfilling for the head of the queue and EASY behind it
 * (Mu'alem and Feitelson, "Utilization, predictability, workloads, and user runtime estimates in
 * scheduling the IBM SP2 with backfilling", 2001): the first job that finds no room gets a promise,
 * the others start whenever that does not touch it. docs/scheduling.md has the rule for users,
 * backfill.c the invariants, project.c how a place is found. */
#pragma once

#include "core/core.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/table.h"

struct live_attempt;
struct live_job;

/* What is kept of one node. All rows of a job have the same moment. */
struct live_promise {
    struct item item;
    struct promise_row row;
    struct live_job *job;
    struct live_node *node;
    struct live_promise *next;         /* of the job */
    struct live_promise *next_on_node; /* all of a node belong to one job */
    /* When its node was last found to keep it: as many changes of the node, and of the topology, as
     * there were then; 0: not yet. */
    uint64_t kept_changes, kept_topology;
};

/* ---- backfill.c -------------------------------------------------------------------------------
 */

/* A job found no room: it gets a promise if it has waited for long enough, and there is a pool that
 * promises nothing, or something to one that it goes before. *seeks counts the calls of a pass,
 * which are bounded. */
void promise_seek(struct core *core, struct live_job *job, int32_t *seeks);
/* From when on it would look for one, as things stand; MOMENT_NEVER: it would not. */
int64_t promise_due_ms(const struct core *core, const struct live_job *job);
/* Before and after a pass: drops promises that can not be kept or are not wanted any more; before
 * it (look) also brings forward those that can be kept earlier. Whether anything that was kept
 * before this call's predecessor is kept no more, so that another pass may find room. */
bool promises_settle(struct core *core, bool look);
/* Something has ended, or will before it was said to: what is promised may come earlier. */
void promises_touch(struct core *core);
/* Takes a job's promise back. The job goes on waiting. */
void promise_release(struct core *core, struct live_job *job);
/* The same for the job that a node is promised to, if there is one. */
void promise_release_node(struct core *core, struct live_node *node);
/* Loading: hangs it into the lists of its job and node. False: they contradict other promises. */
bool promise_link(struct core *core, struct live_promise *promise);
/* The node of what is promised that one rank of the job goes to, of pools before that of `before`
 * (NULL: of all), or NULL: what score_best leaves out. */
struct live_node *promise_best(
    struct core *core, const struct live_job *job, const struct live_node *before);
/* The first thing that is wrong with promises, and the job that it is wrong with; NULL: nothing. */
const char *promises_fault(const struct core *core, uint64_t *ret_job);

/* ---- kept.c -----------------------------------------------------------------------------------
 */

/* Whether the job may take what is promised to the other one. A strict order, the same as between
 * ranks of lanes: two jobs can not take from each other. */
bool promise_goes_before(const struct live_job *job, const struct live_job *holder);
/* Whether the place that is promised to the job will be there at its moment. Looks at the nodes
 * that changed since it was asked last. */
bool promise_keeps(const struct core *core, const struct live_job *job);
/* Whether all that was found to be kept, and needs no look, is: for core_check. */
bool promise_check(const struct core *core, const struct live_job *job);
/* Whether nothing is promised that the job has to respect. */
bool promises_bind_none(const struct core *core, const struct live_job *job);
/* Whether it has to respect all that is promised. */
bool promises_bind_all(const struct core *core, const struct live_job *job);
/* A node as a job may see it: what is promised to others and would still be held at the moment of
 * the promise is claimed. */
struct node_view {
    struct live_node node;
    int16_t claimed[DEVICES_MAX];
};
/* The view of a node of which something is promised; the node itself when the job need not respect
 * that. */
const struct live_node *promise_view(const struct core *core, const struct live_job *job,
    const struct live_node *node, struct node_view *view);

/* Whether so much is held of the node that the job may not hold a part of it: less is left than is
 * promised to another and not held by those that leave in time. */
bool promise_crowded(
    const struct core *core, const struct live_job *job, const struct live_node *node);

/* ---- project.c --------------------------------------------------------------------------------
 */

/* A place in the future. Its parts' nodes are those of the state. */
struct projection {
    struct plan plan;
    int64_t begin_ms; /* the last end by a time limit that it waits for; now when there is none */
    bool open;        /* it waits also for attempts that nothing but themselves ends */
};

/* The latest moment at which the attempt leaves its place: time limit or deadline, and grace, from
 * its admission on; MOMENT_NEVER when it has neither. What engines need to start and stop it comes
 * on top. */
int64_t attempt_leaves_ms(const struct live_attempt *attempt);
/* The same for a job that would be admitted now. */
int64_t job_leaves_ms(const struct core *core, const struct live_job *job);
/* Whether it ends some day, though nothing says when: it has no time limit and is no service. */
bool attempt_unbounded(const struct live_attempt *attempt);
/* The same, and nobody told it to stop. */
bool attempt_open(const struct live_attempt *attempt);
/* Where and when the smallest gang of the job fits first on these nodes of one pool, when nothing
 * starts there before. False: not before a service ends. plan_finish(&ret->plan) frees it. */
bool project(struct core *core, const struct live_job *job, struct live_node *const *nodes,
    size_t count, struct projection *ret);
/* Whether a is earlier than b: what is bounded before what is open, then by the moment. */
bool projection_before(bool open_a, int64_t begin_a_ms, bool open_b, int64_t begin_b_ms);
