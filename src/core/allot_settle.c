/* What is left of a policy's answer when limits, guarantees and devices are counted.
 *
 * The governed jobs' own holdings are put aside on trial and given out anew, in three turns: what
 * can not be stopped keeps its size; then, in the policy's order, each job that its team's
 * guarantee covers gets its smallest gang; then each gets what the policy said, as far as limits
 * and devices go. So no policy can pass a limit or keep back a guarantee. A job that gets less than
 * its smallest gang gets nothing. The trial changes team totals and puts every one back. */
#include "core/allot.h"
#include "core/attempt.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/resource.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/team.h"

#include <assert.h>

struct grant {
    struct allot_job *job;
    int32_t want;
    int32_t ranks;
};

struct trial {
    struct core *core;
    struct grant *grants;
    size_t count;
    int64_t devices; /* not given out */
};

/* Totals alone: usage is not settled, for all of it is taken back at this very moment. */
static void team_hold(struct live_team *team, const struct amounts *amounts, bool firm, int sign)
{
    for (; team; team = team->parent) {
        for (int i = 0; i < RESOURCE_MAX; i++) {
            team->held[i] += sign * amounts->of[i];
            team->firm[i] += firm ? sign * amounts->of[i] : 0;
        }
    }
}

static void hold_attempts(const struct trial *trial, int sign)
{
    for (size_t i = 0; i < trial->count; i++) {
        const struct live_job *job = trial->grants[i].job->live;
        struct amounts amounts;
        if (!job->attempt)
            continue;
        attempt_amounts(job->attempt, &amounts);
        team_hold(job->team, &amounts, job_firm(job), sign);
    }
}

static void ask_of(const struct live_job *job, int32_t ranks, struct amounts *ret)
{
    amounts_of_shape(job->shape, ranks, job->shape->resource, ret);
}

static void grant_set(struct trial *trial, struct grant *grant, int32_t ranks)
{
    const struct live_job *job = grant->job->live;
    struct amounts amounts;
    ask_of(job, grant->ranks, &amounts);
    team_hold(job->team, &amounts, job_firm(job), -1);
    ask_of(job, ranks, &amounts);
    team_hold(job->team, &amounts, job_firm(job), 1);
    trial->devices -= (int64_t)(ranks - grant->ranks) * grant->job->devices;
    grant->ranks = ranks;
}

/* As many ranks more, at most `ranks`, as limits and devices leave. */
static int32_t ranks_more(const struct trial *trial, const struct grant *grant, int32_t ranks)
{
    const struct live_job *job = grant->job->live;
    int64_t most_ranks = most(trial->devices, 0) / grant->job->devices;
    return quota_ranks(trial->core, job, (int32_t)least(ranks, most_ranks));
}

/* What can not be taken back leaves everybody's guarantees possible. */
static int32_t firm_ranks(const struct trial *trial, const struct grant *grant, int32_t ranks)
{
    const struct live_job *job = grant->job->live;
    struct amounts amounts;
    for (; job_firm(job) && ranks > 0; ranks--) {
        amounts_possible(job->shape, ranks, &amounts);
        if (quota_firm_allows(trial->core, job->team, &amounts))
            break;
    }
    return ranks;
}

static void grant_guaranteed(struct trial *trial, struct grant *grant)
{
    const struct live_job *job = grant->job->live;
    struct amounts amounts;
    amounts_possible(job->shape, grant->job->size_min, &amounts);
    if (!quota_entitled_path(job->team, &amounts) ||
        ranks_more(trial, grant, grant->job->size_min) < grant->job->size_min)
        return;
    grant_set(trial, grant, grant->job->size_min);
}

static void grant_wanted(struct trial *trial, struct grant *grant)
{
    if (grant->want <= grant->ranks)
        return;
    int32_t more = ranks_more(trial, grant, grant->want - grant->ranks);
    int32_t ranks = grant->ranks + firm_ranks(trial, grant, more);
    if (ranks >= grant->job->size_min)
        grant_set(trial, grant, ranks);
}

/* Within what the job takes. */
static int32_t target_sane(const struct allot_job *job)
{
    if (job->fixed && job->size > 0)
        return job->size;
    if (job->target < job->size_min)
        return 0;
    return (int32_t)least(job->target, job->size_max);
}

int64_t allot_begin(struct allot_round *round)
{
    int64_t left = round->devices;
    for (size_t i = 0; i < round->count; i++) {
        struct allot_job *job = round->jobs[i];
        job->target = job->fixed ? job->size : 0;
        left -= (int64_t)job->target * job->devices;
    }
    return left;
}

void allot_settle(struct core *core, struct allot_round *round)
{
    SCOPED(mem_scope) struct grant *grants = mem_alloc(round->count + 1, sizeof *grants);
    struct trial trial = {core, grants, round->count, round->devices};
    for (size_t i = 0; i < round->count; i++)
        grants[i] = (struct grant){.job = round->jobs[i], .want = target_sane(round->jobs[i])};
    hold_attempts(&trial, -1);
    for (size_t i = 0; i < trial.count; i++) {
        if (grants[i].job->fixed && grants[i].job->size > 0)
            grant_set(&trial, &grants[i], grants[i].want);
    }
    for (size_t i = 0; i < trial.count; i++) {
        if (grants[i].ranks == 0)
            grant_guaranteed(&trial, &grants[i]);
    }
    for (size_t i = 0; i < trial.count; i++)
        grant_wanted(&trial, &grants[i]);
    int64_t left = most(trial.devices, 0);
    for (size_t i = trial.count; i-- > 0;) {
        int64_t cut = grants[i].want - grants[i].ranks;
        round->spare += most(cut, 0) * grants[i].job->devices;
        round->jobs[i]->target = grants[i].ranks;
        grant_set(&trial, &grants[i], 0);
    }
    hold_attempts(&trial, 1);
    round->spare = least(round->spare, left);
}
