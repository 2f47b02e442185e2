/* Services and their replicas: how many there are, which are wanted and which are not any more. */
#pragma once

#include "base/vec.h"
#include "core/core.h"
#include "core/table.h"

struct live_attempt;
struct live_job;
struct live_rollout;
struct live_service;
struct live_team;

struct live_replica {
    struct item item;
    struct replica_row row;
    struct live_service *service;
    struct live_job *job;
};

/* What a service has, without the replicas that were told to end for good: those still hold their
 * place for a while, and are nobody's any more. The first four are those of ARM_MAIN. */
struct replica_counts {
    int32_t existing;
    int32_t newest; /* of the revision that is wanted: service_goal */
    int32_t ready;
    int32_t newest_ready;
    int32_t recalled;        /* that others are made for: burst_lease.c */
    int32_t arms[ARM_COUNT]; /* of the arms of a rollout: those of the revision it wants there */
    int32_t arms_ready[ARM_COUNT];
};

struct live_service {
    struct item item;
    struct service_row row;
    struct live_team *team;
    VEC(struct live_replica *) replicas; /* all that have not ended; numbers ascending */
    struct replica_counts counts;
    struct live_rollout *rollout; /* NULL: new revisions go in plainly */
    bool changed;                 /* it is in core->services_changed */
    bool wanting;                 /* it is in core->services_wanting */
};

/* ---- service.c --------------------------------------------------------------------------------
 */

/* The service, or NULL. */
struct live_service *service_find(const struct core *core, uint64_t id);
/* How many replicas it lacks and may have now; 0 or more. Refusals have no part in it. */
int32_t service_missing(const struct live_service *service);
/* The revision that its main replicas are to be of: the newest, or the stable one of a rollout that
 * has not passed. */
int32_t service_goal(const struct live_service *service);
/* Its counts, or what it wants, changed: it is looked at when replicas are stopped by choice. */
void service_touch(struct core *core, struct live_service *service);
/* Forgets a service that is deleted, when it has no replicas left. */
void service_vanish(struct core *core, struct live_service *service);
/* When core_service_wanted has something to say next, or MOMENT_NEVER. */
int64_t services_next_ms(const struct core *core);
/* Loading: hangs a service below its team, and, when all rows are there, looks at all of them. */
void service_link(struct core *core, struct live_service *service, struct live_team *team);
void services_index(struct core *core);
/* For core_check: NULL, or what is wrong, with the id of the service. */
const char *services_fault(const struct core *core, uint64_t *ret_id);

/* ---- replica.c --------------------------------------------------------------------------------
 */

/* Hangs the replica below its service and its job, and counts it. */
void replica_link(struct core *core, struct live_replica *replica, struct live_service *service,
    struct live_job *job);
/* The job's attempt was told to stop, or ended: its replica, if it is one, gets no requests. */
void replica_unready(struct core *core, struct live_job *job, enum end_reason reason);
/* If the job is a replica's: its site ends it soon, so that another one takes its place, or not any
 * more. */
void replica_leaving_set(struct core *core, struct live_job *job, bool leaving);
/* Before a job is told to end for good: its replica does not count from here on. */
void replica_leave(struct core *core, struct live_job *job, enum end_reason reason);
/* Another is wanted in its place, or is not any more: burst_lease.c. */
void replica_recall(struct core *core, struct live_replica *replica, bool recalled);
/* The job has ended, and its replica with it. */
void replica_forget(struct core *core, struct live_job *job);
/* All of a service's replicas counted again: a new revision makes all of them older. */
struct replica_counts replicas_count(const struct live_service *service);
/* Stops what is stopped by choice, of every service that changed since the last time. */
void services_settle(struct core *core);
