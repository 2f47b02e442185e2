/* What promises keep of nodes: who has to respect it, what that leaves of a node, and whether it
 * will be there at its moment. The invariants stand in backfill.c.
 *
 * At the moment of a promise a node holds what stays beyond it, and what is promised. So of what is
 * promised as much is taken now as those that leave in time do not hold: what they hold comes free
 * by itself. */
#include "core/attempt.h"
#include "core/backfill.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/resource.h"
#include "core/score.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/team.h"

#include <assert.h>

/* ---- who has to respect what ------------------------------------------------------------- */

static bool within_guarantee(const struct live_job *job)
{
    return quota_entitled_shape(job->team, job->shape, job->row.size_min);
}

bool promise_goes_before(const struct live_job *job, const struct live_job *holder)
{
    bool job_within = within_guarantee(job), holder_within = within_guarantee(holder);
    if (job_within != holder_within)
        return job_within;
    return job->row.priority > holder->row.priority;
}

static bool promise_binds(
    const struct core *core, const struct live_job *job, const struct live_job *holder)
{
    if (job == holder)
        return false;
    /* Nobody knows when victims have left, so nobody knows when a claimant ends. */
    if (!core->claiming && job_leaves_ms(core, job) <= holder->links->promises->row.begin_ms)
        return false;
    return !promise_goes_before(job, holder);
}

bool promises_bind_none(const struct core *core, const struct live_job *job)
{
    for (size_t i = 0; i < core->promised.count; i++) {
        if (promise_binds(core, job, core->promised.items[i]))
            return false;
    }
    return true;
}

bool promises_bind_all(const struct core *core, const struct live_job *job)
{
    for (size_t i = 0; i < core->promised.count; i++) {
        if (!promise_binds(core, job, core->promised.items[i]))
            return false;
    }
    return true;
}

/* Whether the attempt will have left by the moment of the promise, as far as it was promised. */
static bool leaves_in_time(const struct promise_row *promise, const struct live_attempt *attempt)
{
    if (attempt_leaves_ms(attempt) <= promise->begin_ms)
        return true;
    return promise->open && attempt->row.id <= promise->last_attempt && attempt_unbounded(attempt);
}

/* Amounts of a node. */
struct share {
    struct bundle plain;
    int64_t devices[DEVICES_MAX]; /* thousandths */
};

static void share_add(struct share *share, const struct live_job *job, int64_t ranks,
    uint64_t devices, int64_t device_milli)
{
    struct bundle part = bundle_of_shape(&job->shape->row, ranks);
    share->plain.cpu_milli += part.cpu_milli;
    share->plain.memory_bytes += part.memory_bytes;
    share->plain.disk_bytes += part.disk_bytes;
    for (int32_t d = 0; devices >> d && d < DEVICES_MAX; d++)
        share->devices[d] += (devices >> d & 1) ? device_milli : 0;
}

static void share_promised(const struct live_node *node, struct share *ret)
{
    *ret = (struct share){0};
    for (const struct live_promise *one = node->promises; one; one = one->next_on_node)
        share_add(ret, one->job, one->row.ranks, one->row.devices, one->row.device_milli);
}

/* What attempts hold there that leave in time. */
static void share_leaving(const struct live_node *node, struct share *ret)
{
    *ret = (struct share){0};
    for (size_t i = 0; i < node->placements.count; i++) {
        const struct live_placement *one = node->placements.items[i];
        if (one->attempt->away || !leaves_in_time(&node->promises->row, one->attempt))
            continue;
        share_add(ret, one->attempt->job, one->row.ranks, one->row.devices, one->row.device_milli);
    }
}

/* Of what is promised, as much as those that leave in time do not hold now is taken already: at the
 * moment of the promise it has to be there besides what stays. */
static void view_claim(struct node_view *view, const struct live_node *node)
{
    struct share promised, leaving;
    struct bundle *claimed = &view->node.claimed;
    share_promised(node, &promised);
    share_leaving(node, &leaving);
    claimed->cpu_milli += most(promised.plain.cpu_milli - leaving.plain.cpu_milli, 0);
    claimed->memory_bytes += most(promised.plain.memory_bytes - leaving.plain.memory_bytes, 0);
    claimed->disk_bytes += most(promised.plain.disk_bytes - leaving.plain.disk_bytes, 0);
    for (int32_t d = 0; d < node->row.devices; d++)
        view->claimed[d] =
            (int16_t)(node->device_claimed[d] + most(promised.devices[d] - leaving.devices[d], 0));
}

const struct live_node *promise_view(const struct core *core, const struct live_job *job,
    const struct live_node *node, struct node_view *view)
{
    const struct live_job *holder = node->promises->job;
    if (!promise_binds(core, job, holder))
        return node;
    view->node = *node;
    view->node.promises = NULL;
    view->node.device_claimed = view->claimed;
    view_claim(view, node);
    bool apart =
        holder->shape->row.exclusive || job->shape->row.exclusive || fit_keeps_apart(job, holder);
    view->node.exclusive_claimed += apart;
    node_room_derive(&view->node);
    return &view->node;
}

static bool crowded(int64_t promised, int64_t held, int64_t has)
{
    return promised > 0 && held + promised > has;
}

bool promise_crowded(
    const struct core *core, const struct live_job *job, const struct live_node *node)
{
    struct node_view view;
    if (!node->promises || promise_view(core, job, node, &view) == node)
        return false;
    const struct bundle *held = &node->held, *before = &node->claimed, *after = &view.node.claimed;
    bool full =
        crowded(after->cpu_milli - before->cpu_milli, held->cpu_milli, node->row.cpu_milli) ||
        crowded(after->memory_bytes - before->memory_bytes, held->memory_bytes,
            node->row.memory_bytes) ||
        crowded(after->disk_bytes - before->disk_bytes, held->disk_bytes, node->row.disk_bytes);
    for (int32_t d = 0; d < node->row.devices; d++)
        full |=
            crowded(view.claimed[d] - node->device_claimed[d], node->device_held[d], DEVICE_MILLI);
    return full;
}

/* ---- whether it will be there ------------------------------------------------------------ */

static bool maintenance_allows(const struct live_node *node, int64_t begin_ms)
{
    for (const struct live_reservation *one = node->reservations; one; one = one->next) {
        if (one->row.end_ms > begin_ms)
            return false;
    }
    return true;
}

/* Whether those that stay bear the company of the job that the node is promised to. */
static bool company_keeps(const struct live_node *node)
{
    const struct live_job *job = node->promises->job;
    for (size_t i = 0; i < node->placements.count; i++) {
        const struct live_attempt *attempt = node->placements.items[i]->attempt;
        if (leaves_in_time(&node->promises->row, attempt))
            continue;
        if (job->shape->row.exclusive || attempt->job->shape->row.exclusive ||
            fit_keeps_apart(job, attempt->job))
            return false;
    }
    return true;
}

/* Claims may be beyond what the node has until victims have left. */
static bool over(int64_t kept, int64_t taken, int64_t has)
{
    return kept > 0 && kept + taken > has;
}

/* What attempts hold that do not leave in time; of those that are stopping only when asked. */
static void share_staying(const struct live_node *node, bool stopping, struct share *ret)
{
    *ret = (struct share){0};
    for (size_t i = 0; i < node->placements.count; i++) {
        const struct live_placement *one = node->placements.items[i];
        bool counts = stopping || one->attempt->row.stop_reason == END_NONE;
        if (counts && !leaves_in_time(&node->promises->row, one->attempt))
            share_add(
                ret, one->attempt->job, one->row.ranks, one->row.devices, one->row.device_milli);
    }
}

static void share_claim(const struct live_node *node, struct share *share)
{
    share->plain.cpu_milli += node->claimed.cpu_milli;
    share->plain.memory_bytes += node->claimed.memory_bytes;
    share->plain.disk_bytes += node->claimed.disk_bytes;
    for (int32_t d = 0; d < node->row.devices; d++)
        share->devices[d] += node->device_claimed[d];
}

static bool has_room(
    const struct live_node *node, const struct share *promised, const struct share *stays)
{
    const struct bundle *kept = &promised->plain, *taken = &stays->plain;
    if (over(kept->cpu_milli, taken->cpu_milli, node->row.cpu_milli) ||
        over(kept->memory_bytes, taken->memory_bytes, node->row.memory_bytes) ||
        over(kept->disk_bytes, taken->disk_bytes, node->row.disk_bytes))
        return false;
    for (int32_t d = 0; d < node->row.devices; d++) {
        if (over(promised->devices[d], stays->devices[d], DEVICE_MILLI))
            return false;
    }
    return true;
}

/* Whether what is promised of the node is there at the moment of the promise. A claim is for the
 * place of those that are stopping: it has to be there beside these, which may need their grace
 * beyond the moment, and beside the claims that come after them. */
static bool node_keeps(const struct live_node *node)
{
    struct share promised, stays;
    share_promised(node, &promised);
    share_staying(node, true, &stays);
    if (!company_keeps(node) || !has_room(node, &promised, &stays))
        return false;
    if (node->claims.count == 0)
        return true;
    share_staying(node, false, &stays);
    share_claim(node, &stays);
    return has_room(node, &promised, &stays);
}

static bool part_keeps(const struct core *core, const struct live_promise *promise)
{
    const struct live_node *node = promise->node;
    return node_takes_work(node) && fit_matches(core, promise->job->shape, node) &&
           maintenance_allows(node, promise->row.begin_ms) && node_keeps(node);
}

/* Whether nothing has happened to its node since it was found to keep the promise. An attempt that
 * is told to stop leaves earlier than it would have, so that takes nothing away. */
static bool part_known(const struct core *core, const struct live_promise *promise)
{
    return promise->kept_topology == core->topology_version &&
           promise->kept_changes == promise->node->changes;
}

bool promise_keeps(const struct core *core, const struct live_job *job)
{
    for (struct live_promise *one = job->links->promises; one; one = one->next) {
        if (part_known(core, one))
            continue;
        if (!part_keeps(core, one))
            return false;
        one->kept_topology = core->topology_version;
        one->kept_changes = one->node->changes;
    }
    return true;
}

bool promise_check(const struct core *core, const struct live_job *job)
{
    for (const struct live_promise *one = job->links->promises; one; one = one->next) {
        if (part_known(core, one) && !part_keeps(core, one))
            return false;
    }
    return true;
}
