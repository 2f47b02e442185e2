/* What did not fit, remembered for each shape: a job that waits is asked for at every end of
 * another, and mostly still does not fit.
 *
 * Invariant: if something is known, then no plan can be made for a job of the shape with so many
 * ranks or more, that all promises bind (NOFIT_BOUND), or whatever binds it (NOFIT_ANY).
 *
 * What is known at one version of what is free (core->free_version) holds until that changes. It
 * holds further while nothing but nodes changed since: what fits the changed ones now is taken off
 * what was lacking, and as long as that leaves something lacking no plan can be made. What
 * else may make something fit counts core->stir_version: nodes that come or are put to use, limits,
 * promises and claims that go, and attempts that are told to stop, for they leave before a promise
 * is due. Affinity, maintenance and moves between spot and other capacity go by more than nodes:
 * where there are any, nothing is remembered beyond the version. */
#include "core/nofit.h"
#include "core/backfill.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/queue.h"
#include "core/score.h"
#include "core/shape.h"
#include "core/state.h"

#include <assert.h>

enum { NOFIT_BOUND, NOFIT_ANY };

/* Ranks that fit the node, at least as many as for any job that the knowledge is for. */
static int64_t ranks_there(
    const struct core *core, const struct live_job *job, const struct live_node *node, int which)
{
    if (!node || !node_takes_work(node))
        return 0;
    int64_t ranks = node->promises && which == NOFIT_ANY
                        ? room_ranks(&job->shape->row, node)
                        : fit_ranks(core, job, node, GANG_SIZE_MAX);
    return ranks > 0 && fit_matches(core, job->shape, node) ? ranks : 0;
}

/* Whether nothing but nodes that are in the journal changed since. */
static bool lasts(const struct core *core, const struct nofit *nofit)
{
    return nofit->version && nofit->stirred == core->stir_version && core->scores.journal.open &&
           nofit->at >= core->scores.journal.begin && core->apart_shapes == 0 &&
           core->reservation_next_ms == MOMENT_NEVER;
}

/* Ranks that fit nodes that changed from change *at on, which moves behind some of them. */
static int64_t ranks_changed(
    const struct core *core, const struct live_job *job, uint64_t *at, int which)
{
    const struct scores *scores = &core->scores;
    uint32_t changed[JOURNAL_SOME];
    size_t count = journal_some(&scores->journal, at, changed);
    int64_t ranks = 0;
    for (size_t i = 0; i < count; i++)
        ranks += ranks_there(core, job, scores->nodes.items[changed[i]], which);
    return ranks;
}

/* Counts what changed of nodes since; whether it is known still. */
static bool follow(struct core *core, const struct live_job *job, struct nofit *nofit, int which)
{
    if (!lasts(core, nofit) || core->foresight_off)
        return false;
    while (nofit->at < core->scores.journal.end && nofit->lacking > 0)
        nofit->lacking -= ranks_changed(core, job, &nofit->at, which);
    if (nofit->lacking <= 0)
        nofit->version = 0;
    return nofit->lacking > 0;
}

static bool known(
    struct core *core, const struct live_job *job, struct nofit *nofit, int which, bool now)
{
    if (nofit->version == core->free_version)
        return true;
    if (!follow(core, job, nofit, which))
        return false;
    nofit->version = now ? core->free_version : nofit->version;
    return true;
}

/* Of a job of the shape. The job is looked at only where that is needed. */
static bool known_any(struct core *core, const struct live_job *job, struct live_shape *shape,
    int32_t size_min, bool now)
{
    struct nofit *any = &shape->nofit[NOFIT_ANY], *bound = &shape->nofit[NOFIT_BOUND];
    if (any->version && any->ranks <= size_min && known(core, job, any, NOFIT_ANY, now))
        return true;
    return bound->version && bound->ranks <= size_min && promises_bind_all(core, job) &&
           known(core, job, bound, NOFIT_BOUND, now);
}

bool nofit_known(struct core *core, const struct live_job *job)
{
    return !job_spot(job) && known_any(core, job, job->shape, job->row.size_min, true);
}

bool nofit_foreseen(struct core *core, const struct lane *lane)
{
    const struct lane_key *key = &lane->key;
    return !key->spot && known_any(core, lane->first, key->shape, key->size_min, false);
}

void nofit_remember(struct core *core, const struct live_job *job, const struct plan *plan)
{
    struct live_shape *shape = job->shape;
    assert(plan->most < job->row.size_min);
    if (shape->near || job_spot(job) || core->apart_shapes > 0 ||
        core->reservation_next_ms != MOMENT_NEVER)
        return;
    struct nofit *nofit = &shape->nofit[promises_bind_none(core, job) ? NOFIT_ANY : NOFIT_BOUND];
    if (nofit->version == core->free_version && nofit->ranks <= job->row.size_min)
        return;
    nodes_number(core); /* what changes from here on is in the journal */
    *nofit = (struct nofit){.version = core->free_version,
        .stirred = core->stir_version,
        .at = core->scores.journal.end,
        .lacking = job->row.size_min - plan->most,
        .ranks = job->row.size_min};
}

/* Of no pool do the nodes that did not change since have room for more than what was counted. */
static bool holds(const struct core *core, const struct live_job *job, int which)
{
    const struct scores *scores = &core->scores;
    const struct nofit *nofit = &job->shape->nofit[which];
    const struct live_pool *pool = NULL;
    int64_t ranks = 0;
    for (size_t i = 0; i < scores->nodes.count; i++) {
        const struct live_node *node = scores->nodes.items[i];
        if (!node || scores->noted.items[i].last > nofit->at || !node_takes_work(node) ||
            !fit_matches(core, job->shape, node))
            continue;
        ranks = node->pool == pool ? ranks : 0;
        pool = node->pool;
        ranks += fit_ranks(core, job, node, GANG_SIZE_MAX);
        if (ranks > nofit->ranks - nofit->lacking)
            return false;
    }
    return true;
}

bool nofit_check(const struct core *core, const struct live_job *job)
{
    for (int which = NOFIT_BOUND; which <= NOFIT_ANY; which++) {
        const struct nofit *nofit = &job->shape->nofit[which];
        bool applies = lasts(core, nofit) && nofit->ranks <= job->row.size_min && !job_spot(job) &&
                       job->shape->row.topology != WISH_REQUIRED &&
                       (which == NOFIT_ANY || promises_bind_all(core, job));
        if (applies && !holds(core, job, which))
            return false;
    }
    return true;
}
