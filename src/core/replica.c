/* Replicas: whether they are ready, and which are stopped by choice.
 *
 * By choice is stopped what the service does not want: every replica of an older revision, and of
 * the newest those beyond `replicas`; one that its site ends soon (`leaving`), or that is called
 * home from a pool under a burst policy (burst_lease.c), is as one of an older revision, so that
 * another is ready before it goes. In this order: the oldest revision first, of that what is
 * leaving, what is called home, what is not ready, what is in a pool under a burst policy, then the
 * youngest. Each is passed over for which its condition does not hold:
 *
 * - One that is ready is stopped only while at least replicas - unavailable others are ready.
 * - An older one that is not ready serves nobody, but it may again (it was preempted, or it is
 *   slow): it is stopped only while at least replicas - unavailable others exist, not counting
 *   those of the newest revision that are not ready. A revision that has not shown that it works
 *   thus takes the place of nothing, and one that does work gets rid of replicas that never did.
 * - One of the newest revision that is not ready is stopped freely when there are more than wanted
 *   of it, or, after all others had their turn, more than replicas + surge of all (a service whose
 *   surge was lowered while it rolled).
 *
 * So after each look at most replicas + surge exist: if more did and none could be stopped, those
 * of the newest revision would all be ready or too few, the others would be more than
 * replicas - unavailable, and one of them could be stopped. And a roll never stands still but for
 * replicas that do not get ready or do not exist yet: with all of the newest ready, every condition
 * holds, for surge + unavailable is at least 1.
 *
 * Stopping only lowers the numbers that the conditions ask for, so one round through the order
 * finds all that may be stopped; and what is stopped never comes back, so it ends. Nor does a
 * replica that is unready from now on, by a preemption say, let another go, or go itself: older
 * ones are asked for the same numbers as those that were unready already and stayed, and of the
 * newest revision there are not too many after a look.
 *
 * Invariant: a replica is ready only while its job runs and its attempt was not told to stop. */
#include "core/attempt.h"
#include "core/broker.h"
#include "core/core.h"
#include "core/job.h"
#include "core/rollout.h"
#include "core/service.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/table.h"

#include <assert.h>

/* ---- counting ------------------------------------------------------------------------------- */

static bool is_newest(const struct live_replica *replica)
{
    return replica->row.revision == service_goal(replica->service) && !replica->row.leaving &&
           !replica->row.recalled_ms;
}

static void count(struct replica_counts *counts, const struct live_replica *replica, int sign)
{
    if (replica->job->row.cancel)
        return; /* told to end for good: see service.c for what exists */
    const struct live_service *service = replica->service;
    enum replica_arm arm = (enum replica_arm)replica->row.arm;
    if (arm != ARM_MAIN) {
        bool wanted = replica->row.revision == rollout_revision(service, arm);
        counts->arms[arm] += wanted ? sign : 0;
        counts->arms_ready[arm] += wanted && replica->row.ready ? sign : 0;
        return;
    }
    bool newest = is_newest(replica);
    counts->recalled += replica->row.recalled_ms ? sign : 0;
    counts->existing += sign;
    counts->newest += newest ? sign : 0;
    counts->ready += replica->row.ready ? sign : 0;
    counts->newest_ready += newest && replica->row.ready ? sign : 0;
}

struct replica_counts replicas_count(const struct live_service *service)
{
    struct replica_counts counts = {0};
    for (size_t i = 0; i < service->replicas.count; i++)
        count(&counts, service->replicas.items[i], 1);
    return counts;
}

void replica_link(struct core *core, struct live_replica *replica, struct live_service *service,
    struct live_job *job)
{
    assert(!job->links->replica);
    replica->service = service;
    replica->job = job;
    job_link(core, job)->replica = replica;
    vec_push(&service->replicas, replica);
    count(&service->counts, replica, 1);
}

void replica_leave(struct core *core, struct live_job *job, enum end_reason reason)
{
    if (!job->links->replica)
        return;
    replica_unready(core, job, reason);
    count(&job->links->replica->service->counts, job->links->replica, -1);
    service_touch(core, job->links->replica->service);
}

void replica_recall(struct core *core, struct live_replica *replica, bool recalled)
{
    bool counts = !replica->job->row.cancel;
    if (counts)
        count(&replica->service->counts, replica, -1);
    replica->row.recalled_ms = recalled ? core->now_ms : 0;
    if (counts)
        count(&replica->service->counts, replica, 1);
    change_put(core, &replica->item);
    service_touch(core, replica->service);
}

void replica_forget(struct core *core, struct live_job *job)
{
    struct live_replica *replica = job->links->replica;
    if (!replica)
        return;
    struct live_service *service = replica->service;
    size_t at = 0;
    while (service->replicas.items[at] != replica)
        at++;
    vec_remove(&service->replicas, at);
    count(&service->counts, replica, -1);
    job_link(core, job)->replica = NULL;
    change_retire(core, &replica->item);
    service_touch(core, service);
    service_vanish(core, service);
}

/* ---- readiness ------------------------------------------------------------------------------ */

static void ready_set(
    struct core *core, struct live_replica *replica, bool ready, enum end_reason reason)
{
    struct live_job *job = replica->job;
    count(&replica->service->counts, replica, -1);
    replica->row.ready = ready;
    replica->row.since_ms = core->now_ms;
    if (ready)
        replica->row.attempt = job->row.attempt;
    count(&replica->service->counts, replica, 1);
    core->replicas_ready += ready ? 1 : -1;
    if (ready)
        rollout_proven(core, replica->service, replica->row.revision);
    change_put(core, &replica->item);
    service_touch(core, replica->service);
    decide(core,
        (struct core_decision){.kind = ready ? DECISION_REPLICA_READY : DECISION_REPLICA_UNREADY,
            .job = job->row.id,
            .attempt = replica->row.attempt,
            .team = job->row.team,
            .service = replica->row.service,
            .reason = (int32_t)reason});
}

/* Having served for that long it has shown that it works: the next failure is a first one. */
static void ready_end(struct core *core, struct live_replica *replica, enum end_reason reason)
{
    struct live_job *job = replica->job;
    if (core->now_ms - replica->row.since_ms > job->row.backoff_max_ms && job->row.failures) {
        job->row.failures = 0;
        change_put(core, &job->item);
    }
    ready_set(core, replica, false, reason);
}

void replica_unready(struct core *core, struct live_job *job, enum end_reason reason)
{
    if (job->links->replica && job->links->replica->row.ready)
        ready_end(core, job->links->replica, reason);
}

void replica_leaving_set(struct core *core, struct live_job *job, bool leaving)
{
    struct live_replica *replica = job->links->replica;
    if (!replica || replica->row.leaving == leaving)
        return;
    count(&replica->service->counts, replica, -1);
    replica->row.leaving = leaving;
    count(&replica->service->counts, replica, 1);
    change_put(core, &replica->item);
    service_touch(core, replica->service);
}

bool core_replica_report(
    struct core *core, uint64_t id, uint64_t attempt, enum replica_report report)
{
    struct live_job *job = (struct live_job *)table_find(core, ROW_JOB, id);
    /* Running: the attempt has started, and was not told to stop. */
    if (!job || !job->links->replica || job->row.attempt != attempt ||
        job->row.state != JOB_RUNNING)
        return false;
    struct live_replica *replica = job->links->replica;
    if (report == REPLICA_UNHEALTHY)
        attempt_stop(core, job->attempt, END_UNHEALTHY, NULL);
    else if (replica->row.ready == (report == REPLICA_READY))
        return false;
    else if (report == REPLICA_READY)
        ready_set(core, replica, true, END_NONE);
    else
        ready_end(core, replica, END_NONE);
    return true;
}

const struct replica_row *core_replica_of(const struct core *core, uint64_t job)
{
    const struct live_job *live = (const struct live_job *)table_find(core, ROW_JOB, job);
    return live && live->links->replica ? &live->links->replica->row : NULL;
}

/* ---- stopping by choice --------------------------------------------------------------------- */

/* The order in which replicas are stopped, as above. */
static int by_unwanted(const void *a, const void *b, const void *context)
{
    (void)context;
    const struct replica_row *left = &((const struct live_replica *)a)->row;
    const struct replica_row *right = &((const struct live_replica *)b)->row;
    bool left_away = burst_away(((const struct live_replica *)a)->job);
    bool right_away = burst_away(((const struct live_replica *)b)->job);
    if (left->revision != right->revision)
        return left->revision < right->revision ? -1 : 1;
    if (left->leaving != right->leaving)
        return left->leaving ? -1 : 1;
    if (!left->recalled_ms != !right->recalled_ms)
        return left->recalled_ms ? -1 : 1;
    if (left->ready != right->ready)
        return left->ready ? 1 : -1;
    if (left_away != right_away)
        return left_away ? -1 : 1;
    return compare_u64((uint64_t)right->number, (uint64_t)left->number);
}

/* Whether the replica is stopped, the way things are. */
static bool is_unwanted(const struct live_replica *replica)
{
    const struct service_row *service = &replica->service->row;
    const struct replica_counts *counts = &replica->service->counts;
    int32_t needed = service->replicas - service->unavailable;
    int32_t newest_unready = counts->newest - counts->newest_ready;
    bool older = !is_newest(replica);
    bool beyond = counts->newest > service->replicas;
    if (replica->row.ready)
        return (older || beyond) && counts->ready - 1 >= needed;
    if (older)
        return counts->existing - newest_unready - 1 >= needed;
    return beyond || counts->existing > service->replicas + service->surge;
}

/* Of an arm goes whatever is of another revision than it wants, and what is too many: from the
 * youngest on, those that are not ready first. Nothing waits for them, so nothing holds them. */
static bool arm_goes(const struct live_replica *replica)
{
    const struct live_service *service = replica->service;
    enum replica_arm arm = (enum replica_arm)replica->row.arm;
    return replica->row.revision != rollout_revision(service, arm) ||
           service->counts.arms[arm] > rollout_wants(service, arm);
}

static void service_settle(struct core *core, struct live_service *service)
{
    if (service->item.gone || !service->replicas.count)
        return;
    SCOPED(mem_scope)
    struct live_replica **order = mem_alloc(service->replicas.count, sizeof *order);
    size_t existing = 0;
    for (size_t i = 0; i < service->replicas.count; i++) {
        if (!service->replicas.items[i]->job->row.cancel)
            order[existing++] = service->replicas.items[i];
    }
    sort_pointers((void **)order, existing, by_unwanted, NULL);
    for (size_t i = 0; i < existing; i++) {
        bool main = order[i]->row.arm == ARM_MAIN;
        if (main ? is_unwanted(order[i]) : arm_goes(order[i]))
            job_cancel(core, order[i]->job, END_REPLACED);
    }
    assert(service->counts.existing <= service->row.replicas + service->row.surge);
}

static int by_service_id(const void *a, const void *b, const void *context)
{
    (void)context;
    return compare_u64(
        ((const struct live_service *)a)->row.id, ((const struct live_service *)b)->row.id);
}

/* By id, so that it is of no account in which order they changed. Stopping touches the service
 * again: it is looked at once more and found settled. */
void services_settle(struct core *core)
{
    size_t total = core->services_changed.count;
    if (!total)
        return;
    SCOPED(mem_scope) struct live_service **services = mem_alloc(total, sizeof *services);
    memcpy(services, core->services_changed.items, total * sizeof *services);
    sort_pointers((void **)services, total, by_service_id, NULL);
    for (size_t i = 0; i < total; i++)
        service_settle(core, services[i]);
    vec_clear(&core->services_changed);
    for (size_t i = 0; i < total; i++)
        services[i]->changed = false;
}
