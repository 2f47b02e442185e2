/* The node that comes nearest to holding a rank of a shape, and what it lacks: for people whose job
 * fits nowhere. Decides nothing.
 *
 * Of two nodes the nearer one has fewer conditions that do not hold; then the one whose worst lack
 * of an amount is smaller, measured by what part of it is there; then the first. */
#include "base/quantity.h"
#include "core/attempt.h"
#include "core/core.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/resource.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/table.h"

#include <stdio.h>

struct gap {
    size_t count; /* conditions that do not hold, of which the first LACKS_MAX are kept */
    struct core_lack lacks[LACKS_MAX];
    int64_t part; /* thousandths that are there of what is lacking most */
};

static void gap_add(struct gap *gap, const struct core_lack *lack)
{
    if (gap->count < LACKS_MAX)
        gap->lacks[gap->count] = *lack;
    gap->count++;
}

static void gap_amount(struct gap *gap, const char *what, int64_t need, int64_t has)
{
    if (need <= has)
        return;
    gap->part = least(gap->part, scale_round(has, 1000, need));
    gap_add(gap, &(struct core_lack){.what = what, .need = need, .has = has});
}

static void gap_text(
    const struct core *core, struct gap *gap, const char *what, uint32_t need, uint32_t has)
{
    if (!need || need == has)
        return;
    gap_add(gap, &(struct core_lack){.what = what,
                     .need_text = core_symbol(core, need),
                     .has_text = core_symbol(core, has)});
}

/* The first taint that keeps the shape away, or NULL. */
static const struct live_node_label *taint_of(
    const struct live_shape *shape, const struct live_node *node)
{
    static const enum taint_effect effects[] = {TAINT_NO_SCHEDULE, TAINT_NO_EXECUTE};
    for (size_t i = 0; i < ARRAY_LEN(effects); i++) {
        if (fit_tolerates(shape, node, effects[i]))
            continue;
        for (const struct live_node_label *label = node->labels; label; label = label->next) {
            if (label->row.effect == (int32_t)effects[i])
                return label;
        }
    }
    return NULL;
}

static void gap_labels(const struct core *core, const struct live_shape *shape,
    const struct live_node *node, struct gap *gap)
{
    const struct live_rule *rule = fit_rule_failed(shape, node);
    const struct live_node_label *taint = taint_of(shape, node);
    if (rule)
        gap_add(gap, &(struct core_lack){.what = "label",
                         .need_text = core_symbol(core, rule->row.key),
                         .has_text = core_symbol(core, rule->row.value)});
    if (taint)
        gap_add(gap, &(struct core_lack){.what = "taint",
                         .need_text = core_symbol(core, taint->row.key),
                         .has_text = core_symbol(core, taint->row.value)});
}

static void gap_measure(const struct core *core, const struct live_shape *shape,
    const struct live_node *node, struct gap *gap)
{
    const struct shape_row *ask = &shape->row;
    int64_t there = (int64_t)node->row.devices * DEVICE_MILLI;
    *gap = (struct gap){.part = 1000};
    gap_text(core, gap, "pool", ask->pool, node->pool->row.name);
    gap_text(core, gap, "jurisdiction", ask->jurisdiction, node->pool->row.jurisdiction);
    gap_text(core, gap, "nodeType", ask->node_type, node->row.type);
    if (ask->accelerator_milli)
        gap_text(core, gap, "accelerator", ask->accelerator, node->row.accelerator);
    gap_amount(gap, "accelerators", ask->accelerator_milli, there);
    if (ask->accelerator_milli && ask->accelerator_milli < DEVICE_MILLI && there &&
        !node->row.fractional)
        gap_add(gap, &(struct core_lack){
                         .what = "accelerator", .need_text = "a share", .has_text = "whole ones"});
    gap_amount(gap, "cpu", ask->cpu_milli, node->row.cpu_milli);
    gap_amount(gap, "memory", ask->memory_bytes, node->row.memory_bytes);
    gap_amount(gap, "disk", ask->disk_bytes, node->row.disk_bytes);
    gap_labels(core, shape, node, gap);
}

static bool nearer(const struct gap *one, const struct gap *other)
{
    return one->count != other->count ? one->count < other->count : one->part > other->part;
}

static int64_t pool_ranks(const struct core *core, const struct live_shape *shape,
    const struct live_pool *pool, int64_t ranks)
{
    int64_t fit = 0;
    for (size_t i = 0; i < pool->nodes.count && fit < ranks; i++) {
        const struct live_node *node = pool->nodes.items[i];
        if (!node->row.leaving && fit_suits(core, shape, node))
            fit += fit_idle_ranks(&shape->row, node, (int32_t)ranks);
    }
    return least(fit, ranks);
}

void nearest_find(const struct core *core, const struct live_shape *shape, int64_t ranks,
    struct core_nearest *ret)
{
    struct gap best = {.count = SIZE_MAX}, gap;
    *ret = (struct core_nearest){.need = ranks};
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool) {
        int64_t fit = pool_ranks(core, shape, pool, ranks);
        if (fit > ret->ranks) {
            ret->ranks = fit;
            ret->pool = pool->row.id;
        }
        for (size_t i = 0; i < pool->nodes.count; i++) {
            const struct live_node *node = pool->nodes.items[i];
            gap_measure(core, shape, node, &gap);
            if (node->row.leaving || !nearer(&gap, &best))
                continue;
            best = gap;
            ret->node = node->row.id;
        }
    }
    if (!ret->node)
        return;
    ret->lack_count = best.count < LACKS_MAX ? best.count : LACKS_MAX;
    memcpy(ret->lacks, best.lacks, sizeof best.lacks);
}

static void lack_text(const struct core_lack *lack, const char *node, char *out, size_t size)
{
    char need[QUANTITY_TEXT], has[QUANTITY_TEXT];
    if (!lack->need_text)
        snprintf(out, size, ": it asks %s %s, and the nearest node, %s, has %s",
            amount_text(lack->what, lack->need, need), lack->what, node,
            amount_text(lack->what, lack->has, has));
    else if (strcmp(lack->what, "taint") == 0)
        snprintf(out, size, ": the nearest node, %s, has the taint %.60s", node, lack->need_text);
    else if (strcmp(lack->what, "label") == 0)
        snprintf(out, size,
            ": the nearest node, %s, does not meet what it requires of the label %.60s", node,
            lack->need_text);
    else
        snprintf(out, size, ": it asks %s %.60s, and the nearest node, %s, has %.60s", lack->what,
            lack->need_text, node, *lack->has_text ? lack->has_text : "none");
}

void nearest_text(
    const struct core *core, const struct core_nearest *nearest, char *out, size_t size)
{
    const struct node_row *row = core_node(core, nearest->node);
    const struct pool_row *pool =
        core_pool(core, nearest->lack_count ? (row ? row->pool : 0) : nearest->pool);
    char node[160];
    *out = '\0';
    if (!row || !pool)
        return;
    if (nearest->lack_count == 0) {
        snprintf(out, size, ": the pool %.60s holds %lld of them", core_symbol(core, pool->name),
            (long long)nearest->ranks);
        return;
    }
    snprintf(node, sizeof node, "%.60s of pool %.60s", core_symbol(core, row->name),
        core_symbol(core, pool->name));
    lack_text(&nearest->lacks[0], node, out, size);
}

void core_job_nearest(const struct core *core, uint64_t id, struct core_nearest *ret)
{
    const struct live_job *job = (const struct live_job *)table_find(core, ROW_JOB, id);
    *ret = (struct core_nearest){0};
    if (job)
        nearest_find(core, job->shape, job->row.size_min, ret);
}

bool core_job_matches(const struct core *core, uint64_t id, uint64_t node_id)
{
    const struct live_job *job = (const struct live_job *)table_find(core, ROW_JOB, id);
    const struct live_node *node = (const struct live_node *)table_find(core, ROW_NODE, node_id);
    return job && node && fit_matches(core, job->shape, node);
}

int64_t core_attempt_holds(const struct core *core, uint64_t id, const char *resource)
{
    const struct live_attempt *attempt =
        (const struct live_attempt *)table_find(core, ROW_ATTEMPT, id);
    struct amounts amounts;
    if (!attempt)
        return 0;
    attempt_amounts(attempt, &amounts);
    for (int i = 0; i < RESOURCE_TYPES + (int)core->accelerator_types.count; i++) {
        if (strcmp(resource_name(core, i), resource) == 0)
            return amounts.of[i];
    }
    return 0;
}
