/* Whether and how well ranks of a shape fit a node.
 *
 * Three questions, from what changes rarely to what changes always: does the node match at all
 * (type, labels, taints: remembered for each shape until nodes change), what is free on it, and
 * who is there already (affinity, anti-affinity, exclusive use). Only the first two depend on the
 * shape alone. Anti-affinity holds both ways: a job does not come to a node whose jobs want to be
 * apart from it. */
#include "core/attempt.h"
#include "core/backfill.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/preempt.h"
#include "core/resource.h"
#include "core/shape.h"
#include "core/socket.h"
#include "core/sort.h"
#include "core/spot.h"
#include "core/state.h"
#include "core/table.h"
#include "core/topology.h"

#include <assert.h>

static const struct live_node_label *label_of(const struct live_node *node, uint32_t key)
{
    for (const struct live_node_label *label = node->labels; label; label = label->next) {
        if (label->row.effect < 0 && label->row.key == key)
            return label;
    }
    return NULL;
}

static bool value_listed(
    const struct live_shape *shape, int32_t operation, uint32_t key, uint32_t value)
{
    for (const struct live_rule *rule = shape->rules; rule; rule = rule->next) {
        if (rule->row.rule == operation && rule->row.key == key && rule->row.value == value)
            return true;
    }
    return false;
}

static bool rule_matches(
    const struct live_shape *shape, const struct live_rule *rule, const struct live_node *node)
{
    if (rule->row.rule > LABEL_ABSENT)
        return true;
    const struct live_node_label *label = label_of(node, rule->row.key);
    switch (rule->row.rule) {
    case LABEL_IN:
        return label && label->row.value &&
               value_listed(shape, LABEL_IN, rule->row.key, label->row.value);
    case LABEL_NOT_IN: return !label || label->row.value != rule->row.value;
    case LABEL_EXISTS: return label != NULL;
    default: return label == NULL;
    }
}

static bool tolerated(const struct live_shape *shape, const struct live_node_label *taint)
{
    return value_listed(shape, RULE_TOLERATE, taint->row.key, taint->row.value) ||
           value_listed(shape, RULE_TOLERATE, taint->row.key, 0);
}

bool fit_tolerates(
    const struct live_shape *shape, const struct live_node *node, enum taint_effect effect)
{
    for (const struct live_node_label *label = node->labels; label; label = label->next) {
        if (label->row.effect == (int32_t)effect && !tolerated(shape, label))
            return false;
    }
    return true;
}

static bool taints_allow(const struct live_shape *shape, const struct live_node *node)
{
    return fit_tolerates(shape, node, TAINT_NO_SCHEDULE) &&
           fit_tolerates(shape, node, TAINT_NO_EXECUTE);
}

static bool pool_matches(const struct shape_row *shape, const struct pool_row *pool)
{
    if ((shape->spot == SPOT_NEVER && pool->spot) || (shape->spot == SPOT_ONLY && !pool->spot))
        return false;
    if (shape->pool && shape->pool != pool->name)
        return false;
    return !shape->jurisdiction || shape->jurisdiction == pool->jurisdiction;
}

static bool type_matches(const struct shape_row *shape, const struct live_node *node)
{
    if (!pool_matches(shape, &node->pool->row))
        return false;
    if (shape->node_type && shape->node_type != node->row.type)
        return false;
    if (!shape->accelerator_milli)
        return true;
    if (shape->accelerator && shape->accelerator != node->row.accelerator)
        return false;
    return shape->accelerator_milli >= DEVICE_MILLI || node->row.fractional;
}

const struct live_rule *fit_rule_failed(
    const struct live_shape *shape, const struct live_node *node)
{
    for (const struct live_rule *rule = shape->rules; rule; rule = rule->next) {
        if (!rule_matches(shape, rule, node))
            return rule;
    }
    return NULL;
}

static bool barred(const struct live_shape *shape, const struct live_pool *pool)
{
    for (size_t i = 0; i < shape->barred.count; i++) {
        if (shape->barred.items[i] == pool)
            return true;
    }
    return false;
}

bool fit_suits(
    const struct core *core, const struct live_shape *shape, const struct live_node *node)
{
    return !barred(shape, node->pool) && type_matches(&shape->row, node) &&
           taints_allow(shape, node) && !fit_rule_failed(shape, node) &&
           topology_matches(core, shape, node) && fit_idle_ranks(&shape->row, node, 1) == 1 &&
           (shape->socket != WISH_REQUIRED || sockets_ranks(node, &shape->row, true) > 0);
}

bool fit_matches(
    const struct core *core, const struct live_shape *shape, const struct live_node *node)
{
    return !node->pool->row.burst_budget_micro && fit_suits(core, shape, node);
}

void shape_candidates(struct core *core, struct live_shape *shape)
{
    if (shape->candidates_version == core->topology_version)
        return;
    vec_clear(&shape->candidates);
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool) {
        for (size_t i = 0; i < pool->nodes.count; i++) {
            struct live_node *node = pool->nodes.items[i];
            if (node_takes_work(node) && fit_matches(core, shape, node))
                vec_push(&shape->candidates, node);
        }
    }
    if (shape->row.topology == WISH_REQUIRED)
        topology_sort(core, shape, shape->candidates.items, shape->candidates.count);
    shape->candidates_version = core->topology_version;
}

typedef bool fit_fn(
    const struct core *core, const struct live_shape *shape, const struct live_node *node);

/* How often the ask goes into what is free. */
static int64_t times(int64_t available, int64_t ask, int64_t most_ranks)
{
    if (ask <= 0)
        return most_ranks;
    return available <= 0 ? 0 : least(available / ask, most_ranks);
}

static int32_t bundle_ranks(
    const struct bundle *available, const struct shape_row *shape, int32_t ranks)
{
    int64_t fit = times(available->cpu_milli, shape->cpu_milli, ranks);
    fit = times(available->memory_bytes, shape->memory_bytes, fit);
    return (int32_t)times(available->disk_bytes, shape->disk_bytes, fit);
}

int32_t fit_idle_ranks(const struct shape_row *shape, const struct live_node *node, int32_t ranks)
{
    struct bundle all = {node->row.cpu_milli, node->row.memory_bytes, node->row.disk_bytes};
    int64_t fit = bundle_ranks(&all, shape, ranks);
    int64_t devices = (int64_t)node->row.devices;
    if (shape->accelerator_milli >= DEVICE_MILLI)
        fit = least(fit, devices * DEVICE_MILLI / shape->accelerator_milli);
    else if (shape->accelerator_milli > 0)
        fit = least(fit, devices * (DEVICE_MILLI / shape->accelerator_milli));
    return (int32_t)fit;
}

/* The same by kinds of nodes, which are in order of pools. */
static bool possible_by_kinds(
    const struct core *core, const struct live_shape *shape, int64_t ranks, fit_fn *fits)
{
    int64_t fit = 0;
    const struct live_pool *pool = NULL;
    for (size_t i = 0; i < core->scores.kinds.count; i++) {
        const struct node_kind *kind = &core->scores.kinds.items[i];
        fit = kind->like->pool == pool ? fit : 0;
        pool = kind->like->pool;
        if (kind->staying && fits(core, shape, kind->like))
            fit += kind->staying * fit_idle_ranks(&shape->row, kind->like, (int32_t)ranks);
        if (fit >= ranks)
            return true;
    }
    return false;
}

static bool possible(
    const struct core *core, const struct live_shape *shape, int64_t ranks, bool open, fit_fn *fits)
{
    if (shape->row.topology == WISH_REQUIRED) {
        struct topology_largest largest;
        topology_largest(core, shape, ranks, open, &largest);
        return largest.ranks >= ranks;
    }
    if (!open && core->scores.version == core->topology_version)
        return possible_by_kinds(core, shape, ranks, fits);
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool) {
        int64_t fit = 0;
        for (size_t i = 0; i < pool->nodes.count && fit < ranks; i++) {
            const struct live_node *node = pool->nodes.items[i];
            bool counts = open ? node_takes_work(node) : !node->row.leaving;
            if (counts && fits(core, shape, node))
                fit += fit_idle_ranks(&shape->row, node, (int32_t)ranks);
        }
        if (fit >= ranks)
            return true;
    }
    return false;
}

bool fit_unknown(const struct core *core, const struct live_shape *shape)
{
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool) {
        if (pool->row.partial && pool_matches(&shape->row, &pool->row))
            return true;
    }
    return false;
}

bool fit_possible(const struct core *core, const struct live_shape *shape, int64_t ranks, bool open)
{
    return possible(core, shape, ranks, open, fit_suits);
}

bool fit_possible_here(const struct core *core, const struct live_shape *shape, int64_t ranks)
{
    return possible(core, shape, ranks, true, fit_matches);
}

static bool job_has_label(const struct live_job *job, uint32_t key, uint32_t value)
{
    for (const struct live_job_label *label = job->links->labels; label; label = label->next) {
        if (label->row.key == key && label->row.value == value)
            return true;
    }
    return false;
}

/* Whether a rule of that kind of the shape names a label of the job. */
static bool names_job(const struct live_shape *shape, int32_t kind, const struct live_job *job)
{
    for (const struct live_rule *rule = shape->rules; rule; rule = rule->next) {
        if (rule->row.rule == kind && job_has_label(job, rule->row.key, rule->row.value))
            return true;
    }
    return false;
}

bool fit_leans_on(const struct live_job *job, const struct live_job *other)
{
    return job->shape->near && names_job(job->shape, RULE_NEAR, other);
}

bool fit_keeps_apart(const struct live_job *a, const struct live_job *b)
{
    return (a->shape->apart && names_job(a->shape, RULE_APART, b)) ||
           (b->shape->apart && names_job(b->shape, RULE_APART, a));
}

static bool neighbours_allow(
    const struct core *core, const struct live_job *job, const struct live_node *node)
{
    if (core->apart_shapes == 0 && !job->shape->near)
        return true;
    bool near = !job->shape->near;
    for (size_t i = 0; i < node->placements.count; i++) {
        const struct live_attempt *attempt = node->placements.items[i]->attempt;
        const struct live_job *other = attempt->job;
        if (attempt->away)
            continue;
        if (fit_keeps_apart(job, other))
            return false;
        near = near || names_job(job->shape, RULE_NEAR, other);
    }
    for (size_t i = 0; i < node->claims.count; i++) {
        const struct live_job *other = node->claims.items[i]->job;
        if (other != job && fit_keeps_apart(job, other))
            return false;
    }
    return near;
}

static bool node_empty(const struct live_node *node)
{
    for (size_t i = 0; i < node->placements.count; i++) {
        if (!node->placements.items[i]->attempt->away)
            return false;
    }
    return node->claims.count == 0;
}

bool fit_company(const struct core *core, const struct live_job *job, const struct live_node *node)
{
    if (node->exclusive_held)
        return false;
    for (size_t i = 0; job->shape->row.exclusive && i < node->placements.count; i++) {
        if (!node->placements.items[i]->attempt->away)
            return false;
    }
    return neighbours_allow(core, job, node);
}

bool fit_shares(const struct live_shape *shape, const struct live_node *node)
{
    if (node->exclusive_held || node->exclusive_claimed)
        return false;
    return !shape->row.exclusive || node_empty(node);
}

int32_t fit_ranks(const struct core *core, const struct live_job *job, const struct live_node *node,
    int32_t ranks)
{
    const struct shape_row *shape = &job->shape->row;
    struct node_view view;
    if (job_spot(job) && (job_spot(job) == SPOT_ON_SPOT) != node->pool->row.spot)
        return 0;
    if (node->promises)
        node = promise_view(core, job, node, &view);
    /* Most nodes of a busy pool are known here, before anything is divided. */
    if (shape->accelerator_milli >= DEVICE_MILLI &&
        node->room.whole * DEVICE_MILLI < shape->accelerator_milli)
        return 0;
    int32_t fit = bundle_ranks(&node->room.all, shape, ranks);
    if (fit > 0)
        fit = device_ranks(node, shape, fit);
    if (fit > 0 && job->shape->socket == WISH_REQUIRED)
        fit = (int32_t)least(fit, sockets_ranks(node, shape, false));
    if (fit <= 0 || !fit_shares(job->shape, node) || !neighbours_allow(core, job, node))
        return 0;
    return reservation_allows(core, node, job->row.time_limit_ms) ? fit : 0;
}
