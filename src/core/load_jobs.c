/* Loading jobs and what hangs on them: shapes, labels, dependencies, what rounds, spot capacity and
 * pools with a burst policy know of them, what they read. */
#include "base/hash.h"
#include "core/allot.h"
#include "core/broker.h"
#include "core/copies.h"
#include "core/job.h"
#include "core/load.h"
#include "core/pool.h"
#include "core/resource.h"
#include "core/shape.h"
#include "core/spot.h"
#include "core/team.h"

int load_shape(const struct loader *in)
{
    const struct shape_row *row = in->row;
    if (!amount_sane(row->cpu_milli) || !amount_sane(row->memory_bytes) ||
        !amount_sane(row->disk_bytes) || row->accelerator_milli < 0 ||
        row->accelerator_milli > DEVICES_MAX * DEVICE_MILLI)
        return load_corrupt(in, ROW_SHAPE, "amounts out of range");
    if (row->mix < 0 || row->mix > INT32_MAX)
        return load_corrupt(in, ROW_SHAPE, "its part of the mix is out of range");
    if ((unsigned)row->topology > WISH_REQUIRED || (row->topology != 0) != (row->within != 0))
        return load_corrupt(in, ROW_SHAPE, "a topology without a level");
    if (row->accelerator && resource_of_type(in->core, row->accelerator) < 0)
        return load_corrupt(in, ROW_SHAPE, "too many accelerator types");
    LOAD(in, ROW_SHAPE, struct live_shape);
    return 0;
}

int load_rule(const struct loader *in)
{
    const struct rule_row *row = in->row;
    struct live_shape *shape = FIND(in, ROW_SHAPE, struct live_shape, row->shape);
    if (!shape)
        return load_corrupt(in, ROW_RULE, "no shape");
    struct live_rule *rule = LOAD(in, ROW_RULE, struct live_rule);
    LIST_APPEND(shape->rules, rule, next);
    return 0;
}

static bool job_sane(const struct job_row *row)
{
    return row->size_min >= 1 && row->size_min <= row->size_max && row->size_max <= GANG_SIZE_MAX &&
           row->state >= JOB_HELD && row->state <= JOB_STOPPING && row->backoff_ms >= 0 &&
           row->time_limit_ms >= 0 && row->vain >= 0 && length_sane(row->grace_ms) &&
           length_sane(row->deadline_ms) && row->interval_ms >= 0 && row->put_off_s >= 0;
}

int load_job(const struct loader *in)
{
    const struct job_row *row = in->row;
    struct live_team *team = FIND(in, ROW_TEAM, struct live_team, row->team);
    struct live_shape *shape = FIND(in, ROW_SHAPE, struct live_shape, row->shape);
    if (!team || !shape || !row->name)
        return load_corrupt(in, ROW_JOB, "no team, shape or name");
    if (!job_sane(row))
        return load_corrupt(in, ROW_JOB, "numbers out of range");
    if (job_named(in->core, team, row->name))
        return load_corrupt(in, ROW_JOB, "its name is taken");
    if (row->name_hash != hash_text(core_symbol(in->core, row->name)))
        return load_corrupt(in, ROW_JOB, "not the hash of its name");
    struct live_job *job = job_create(in->core);
    load_known(in, ROW_JOB, &job->item);
    job->team = team;
    job->shape = shape;
    shape_ref(in->core, shape);
    team->jobs++;
    in->core->governed += allot_governs(in->core, job);
    job_name_put(in->core, job);
    if (row->array && !array_join(in->core, job))
        return load_corrupt(in, ROW_JOB, "not an element of an array");
    return 0;
}

int load_job_label(const struct loader *in)
{
    const struct job_label_row *row = in->row;
    struct live_job *job = FIND(in, ROW_JOB, struct live_job, row->job);
    if (!job)
        return load_corrupt(in, ROW_JOB_LABEL, "no job");
    struct live_job_label *label = LOAD(in, ROW_JOB_LABEL, struct live_job_label);
    LIST_APPEND(job_link(in->core, job)->labels, label, next);
    return 0;
}

int load_dependency(const struct loader *in)
{
    const struct dependency_row *row = in->row;
    struct live_job *job = FIND(in, ROW_JOB, struct live_job, row->job);
    struct live_job *on = FIND(in, ROW_JOB, struct live_job, row->on_job);
    if (!job || !on || row->on_job >= row->job)
        return load_corrupt(in, ROW_DEPENDENCY, "no job, or none that was there before");
    struct live_dependency *dependency = LOAD(in, ROW_DEPENDENCY, struct live_dependency);
    dependency_link(in->core, dependency, job, on);
    return 0;
}

int load_allotment(const struct loader *in)
{
    const struct allotment_row *row = in->row;
    struct live_job *job = FIND(in, ROW_JOB, struct live_job, row->job);
    if (!job || job->links->allotment)
        return load_corrupt(in, ROW_ALLOTMENT, "no job, or it has one");
    if (row->target < 0 || row->target > GANG_SIZE_MAX || row->served_ms < 0 ||
        row->served_device_ms < 0 || row->remaining < -1 || row->restart_ms < 0)
        return load_corrupt(in, ROW_ALLOTMENT, "numbers out of range");
    struct live_allotment *allotment = LOAD(in, ROW_ALLOTMENT, struct live_allotment);
    allotment->job = job;
    job_link(in->core, job)->allotment = allotment;
    return 0;
}

int load_speed(const struct loader *in)
{
    const struct speed_row *row = in->row;
    struct live_allotment *allotment =
        FIND(in, ROW_ALLOTMENT, struct live_allotment, row->allotment);
    if (!allotment || allotment->speed_count >= CORE_SPEEDS_MAX)
        return load_corrupt(in, ROW_SPEED, "no allotment, or it has enough");
    if (row->ranks < 1 || row->ranks > GANG_SIZE_MAX || row->nodes < 1 || row->rate_milli < 0)
        return load_corrupt(in, ROW_SPEED, "numbers out of range");
    speed_link(allotment, LOAD(in, ROW_SPEED, struct live_speed));
    return 0;
}

static bool spot_sane(const struct spot_row *row)
{
    return row->duration_ms > 0 && length_sane(row->duration_ms) && length_sane(row->interval_ms) &&
           length_sane(row->restart_ms) && length_sane(row->saved_ms) && row->since_ms > 0 &&
           length_sane(row->since_ms) && length_sane(row->again_ms) && row->now >= SPOT_NOWHERE &&
           row->now <= SPOT_ON_DEMAND;
}

int load_spot(const struct loader *in)
{
    const struct spot_row *row = in->row;
    struct live_job *job = FIND(in, ROW_JOB, struct live_job, row->job);
    if (!job || job->links->spot)
        return load_corrupt(in, ROW_SPOT, "no job, or it has one");
    if (!job->row.deadline_ms || !spot_sane(row))
        return load_corrupt(in, ROW_SPOT, "numbers out of range, or a job without a deadline");
    spot_link(in->core, LOAD(in, ROW_SPOT, struct live_spot), job);
    return 0;
}

int load_data(const struct loader *in)
{
    const struct data_row *row = in->row;
    struct live_job *job = FIND(in, ROW_JOB, struct live_job, row->job);
    if (!job || !row->site || !amount_sane(row->bytes))
        return load_corrupt(in, ROW_DATA, "no job or site, or bytes out of range");
    broker_data_link(in->core, LOAD(in, ROW_DATA, struct live_data), job);
    return 0;
}

int load_broker(const struct loader *in)
{
    const struct broker_row *row = in->row;
    struct live_job *job = FIND(in, ROW_JOB, struct live_job, row->job);
    struct live_pool *pool = FIND(in, ROW_POOL, struct live_pool, row->pool);
    if (!job || job->links->broker || (row->pool && (!pool || !job->attempt)))
        return load_corrupt(in, ROW_BROKER, "no job or no pool, or it has one");
    if ((unsigned)row->verdict >= BURST_VERDICT_COUNT || !length_sane(row->duration_ms) ||
        !length_sane(row->wait_ms) || !length_sane(row->look_ms) || !length_sane(row->due_ms) ||
        !length_sane(row->forecast_ms) || !length_sane(row->start_ms) || row->seen < 0 ||
        !length_sane(row->since_ms) || !length_sane(row->lease_ms) || row->booked_micro < 0 ||
        (row->lease_ms && (!pool || !job->links->replica)) || row->reserved_micro < 0 ||
        row->egress_micro < 0 || row->egress_micro > row->reserved_micro)
        return load_corrupt(in, ROW_BROKER, "numbers out of range");
    struct live_broker *broker = LOAD(in, ROW_BROKER, struct live_broker);
    job_link(in->core, job)->broker = broker;
    in->core->leases += row->lease_ms > 0;
    if (pool)
        pool->burst_reserved_micro += row->reserved_micro;
    return 0;
}

int load_copy(const struct loader *in)
{
    const struct copy_row *row = in->row;
    if (!row->site || !row->version || !amount_sane(row->bytes) || !length_sane(row->since_ms) ||
        !length_sane(row->used_ms) || !length_sane(row->transfer_ms) || row->egress_micro < 0)
        return load_corrupt(in, ROW_COPY, "no version or site, or numbers out of range");
    if (!copies_link(in->core, LOAD(in, ROW_COPY, struct live_copy)))
        return load_corrupt(in, ROW_COPY, "there is one of that version at that site already");
    return 0;
}
