/* Loading services: their replicas, rollouts and the evidence of these. */
#include "core/job.h"
#include "core/load.h"
#include "core/rollout.h"
#include "core/service.h"
#include "core/team.h"

static bool service_sane(const struct service_row *row)
{
    bool counts = row->replicas >= 0 && row->replicas <= REPLICAS_MAX && row->surge >= 0 &&
                  row->surge <= REPLICAS_MAX && row->unavailable >= 0 &&
                  row->unavailable <= REPLICAS_MAX && row->surge + row->unavailable >= 1;
    return counts && row->revision >= 1 && row->number >= 0 && row->refusals >= 0;
}

int load_service(const struct loader *in)
{
    const struct service_row *row = in->row;
    struct live_team *team = FIND(in, ROW_TEAM, struct live_team, row->team);
    if (!team || !row->name || idmap_get(&in->core->services_by_name, name_key(team, row->name)))
        return load_corrupt(in, ROW_SERVICE, "no team, or its name is missing or taken");
    if (!service_sane(row))
        return load_corrupt(in, ROW_SERVICE, "numbers out of range");
    service_link(in->core, LOAD(in, ROW_SERVICE, struct live_service), team);
    return 0;
}

int load_replica(const struct loader *in)
{
    const struct replica_row *row = in->row;
    struct live_service *service = FIND(in, ROW_SERVICE, struct live_service, row->service);
    struct live_job *job = FIND(in, ROW_JOB, struct live_job, row->job);
    if (!service || !job || job->links->replica || !job->row.service || job->team != service->team)
        return load_corrupt(in, ROW_REPLICA, "no service, or no job for it");
    if (!length_sane(row->recalled_ms))
        return load_corrupt(in, ROW_REPLICA, "a moment out of range");
    struct live_replica *replica = LOAD(in, ROW_REPLICA, struct live_replica);
    replica_link(in->core, replica, service, job);
    in->core->replicas_ready += replica->row.ready;
    return 0;
}

int load_rollout(const struct loader *in)
{
    const struct rollout_row *row = in->row;
    struct live_service *service = FIND(in, ROW_SERVICE, struct live_service, row->service);
    if (!service)
        return load_corrupt(in, ROW_ROLLOUT, "no service");
    const char *fault = rollout_link(LOAD(in, ROW_ROLLOUT, struct live_rollout), service);
    return fault ? load_corrupt(in, ROW_ROLLOUT, fault) : 0;
}

int load_evidence(const struct loader *in)
{
    const struct evidence_row *row = in->row;
    struct live_rollout *rollout = FIND(in, ROW_ROLLOUT, struct live_rollout, row->rollout);
    if (!rollout)
        return load_corrupt(in, ROW_EVIDENCE, "no rollout");
    const char *fault = evidence_link(LOAD(in, ROW_EVIDENCE, struct live_evidence), rollout);
    return fault ? load_corrupt(in, ROW_EVIDENCE, fault) : 0;
}
