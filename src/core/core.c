/* Creating and reading the state. */
#include "core/core.h"
#include "core/allot.h"
#include "core/attempt.h"
#include "core/backfill.h"
#include "core/copies.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/packing.h"
#include "core/pool.h"
#include "core/preempt.h"
#include "core/rollout.h"
#include "core/service.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/spot.h"
#include "core/state.h"
#include "core/symbol.h"
#include "core/table.h"
#include "core/team.h"

#include <assert.h>

enum { AGEING_MS_DEFAULT = 60000 };
#define RESERVE_AFTER_MS_DEFAULT   ((int64_t)5 * 60 * 1000)
#define USAGE_HALF_LIFE_MS_DEFAULT ((int64_t)7 * 24 * 3600 * 1000)

struct core *core_create(const struct core_options *options)
{
    struct core *core = mem_alloc(1, sizeof *core);
    if (options)
        core->options = *options;
    if (core->options.ageing_ms <= 0)
        core->options.ageing_ms = AGEING_MS_DEFAULT;
    if (core->options.usage_half_life_ms <= 0)
        core->options.usage_half_life_ms = USAGE_HALF_LIFE_MS_DEFAULT;
    core->allotment = allot_find(core->options.allotment);
    assert(core->allotment);
    if (core->options.round_ms <= 0)
        core->options.round_ms = core->allotment->round_ms;
    if (core->options.reserve_after_ms == 0)
        core->options.reserve_after_ms = RESERVE_AFTER_MS_DEFAULT;
    if (core->allotment != allot_find(NULL))
        core->options.reserve_after_ms = -1; /* who waits is its decision */
    core->reservation_next_ms = MOMENT_NEVER;
    core->wake_ms = MOMENT_NEVER;
    core->lease_next_ms = MOMENT_NEVER;
    core->topology_version = 1;
    core->capacity_version = 1;
    core->free_version = 1;
    core->stir_version = 1;
    core->packing = packing_find(core->options.placement);
    core->packing = core->packing ? core->packing : packing_find(NULL);
    core->options.placement = core->packing->name;
    core->packing_version = 1;
    core->victim_policy = victim_policy_find(core->options.victims);
    core->victim_policy = core->victim_policy ? core->victim_policy : victim_policy_find(NULL);
    core->options.victims = core->victim_policy->name;
    core->spot_policy = spot_policy_find(core->options.spot);
    core->spot_policy = core->spot_policy ? core->spot_policy : spot_policy_find(NULL);
    core->options.spot = core->spot_policy->name;
    core->images = arena_create();
    symbols_prepare(core);
    return core;
}

static void object_free(struct core *core, struct item *item)
{
    switch (item->kind) {
    case ROW_POOL:
        vec_free(&((struct live_pool *)item)->nodes);
        free(item);
        break;
    case ROW_NODE: node_free((struct live_node *)item); break;
    case ROW_TEAM: team_free((struct live_team *)item); break;
    case ROW_SERVICE:
        vec_free(&((struct live_service *)item)->replicas);
        free(item);
        break;
    case ROW_SHAPE: shape_free((struct live_shape *)item); break;
    default: item_free(core, item);
    }
}

static void lanes_free(struct core *core)
{
    TABLE_EACH (core, ROW_TEAM, struct live_team, team) {
        for (size_t i = 0; i < team->lanes.count; i++)
            free(team->lanes.items[i]);
        vec_clear(&team->lanes);
    }
}

static void arrays_free(struct core *core)
{
    TABLE_EACH (core, ROW_JOB, struct live_job, job) {
        if (job->array && --job->array->live == 0)
            free(job->array);
    }
}

static void tables_free(struct core *core)
{
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++) {
        size_t at = 0;
        for (struct item *item; (item = table_next(&core->tables[kind], &at));)
            object_free(core, item);
        vec_free(&core->tables[kind].entries);
        vec_free(&core->tables[kind].fences);
        slab_finish(&core->slabs[kind]);
    }
    slab_finish(&core->job_links);
}

void core_destroy(struct core *core)
{
    if (!core)
        return;
    core_end(core);
    scores_forget(core);
    packing_forget(core);
    mix_free(&core->mix);
    lanes_free(core);
    arrays_free(core);
    tables_free(core);
    symbols_finish(core);
    idmap_finish(&core->symbols_gone);
    idmap_finish(&core->copies);
    idmap_finish(&core->teams_by_name);
    idmap_finish(&core->pools_by_name);
    idmap_finish(&core->nodes_by_name);
    free(core->jobs_by_name.lists);
    idmap_finish(&core->services_by_name);
    idmap_finish(&core->arrays_by_name);
    idmap_finish(&core->arrays);
    idmap_finish(&core->shapes_by_hash);
    idmap_finish(&core->lanes_by_hash);
    vec_free(&core->accelerator_types);
    vec_free(&core->roots);
    vec_free(&core->waiting);
    vec_free(&core->yielding);
    vec_free(&core->rivals);
    scores_free(&core->scores);
    vec_free(&core->claimants);
    vec_free(&core->spot_jobs);
    vec_free(&core->promised);
    vec_free(&core->timers);
    vec_free(&core->services_wanting);
    vec_free(&core->services_changed);
    vec_free(&core->changes);
    vec_free(&core->decisions);
    vec_free(&core->gone);
    arena_destroy(core->images);
    free(core);
}

void core_begin(struct core *core, int64_t now_ms)
{
    core->now_ms = most(core->now_ms, least(now_ms, TIME_MS_MAX));
}

void core_row_each(const struct core *core, enum row_kind kind, core_row_fn *visit, void *context)
{
    assert((unsigned)kind < ROW_KIND_COUNT);
    size_t at = 0;
    struct symbol_row image;
    for (struct item *item; (item = table_next(&core->tables[kind], &at));)
        visit(context, kind, item_image(item, &image));
}

static int64_t table_bytes(const struct core *core, int kind)
{
    static const size_t sizes[ROW_KIND_COUNT] = {
        [ROW_COUNTER] = sizeof(struct live_counter),
        [ROW_POOL] = sizeof(struct live_pool),
        [ROW_PRICE] = sizeof(struct live_price),
        [ROW_LEVEL] = sizeof(struct live_level),
        [ROW_NODE] = sizeof(struct live_node) + 4 * DEVICES_MAX,
        [ROW_NODE_LABEL] = sizeof(struct live_node_label),
        [ROW_RESERVATION] = sizeof(struct live_reservation),
        [ROW_TEAM] = sizeof(struct live_team),
        [ROW_QUOTA] = sizeof(struct live_quota),
        [ROW_SHAPE] = sizeof(struct live_shape),
        [ROW_RULE] = sizeof(struct live_rule),
        [ROW_JOB] = sizeof(struct live_job),
        [ROW_JOB_LABEL] = sizeof(struct live_job_label),
        [ROW_DEPENDENCY] = sizeof(struct live_dependency),
        [ROW_ATTEMPT] = sizeof(struct live_attempt),
        [ROW_PLACEMENT] = sizeof(struct live_placement),
        [ROW_SPAN] = sizeof(struct live_span),
        [ROW_CLAIM] = sizeof(struct live_claim),
        [ROW_PROMISE] = sizeof(struct live_promise),
        [ROW_SERVICE] = sizeof(struct live_service),
        [ROW_REPLICA] = sizeof(struct live_replica),
        [ROW_ALLOTMENT] = sizeof(struct live_allotment),
        [ROW_SPEED] = sizeof(struct live_speed),
        [ROW_SPOT] = sizeof(struct live_spot),
        [ROW_ROLLOUT] = sizeof(struct live_rollout),
        [ROW_EVIDENCE] = sizeof(struct live_evidence),
        [ROW_DATA] = sizeof(struct live_data),
        [ROW_BROKER] = sizeof(struct live_broker),
        [ROW_COPY] = sizeof(struct live_copy),
    };
    const struct table *table = &core->tables[kind];
    return (int64_t)(table->live * sizes[kind] +
                     table->entries.capacity * sizeof *table->entries.items +
                     table->fences.capacity * sizeof *table->fences.items);
}

void core_count(const struct core *core, struct core_counts *ret_counts)
{
    struct core_counts counts = {
        .jobs_live = (int64_t)core->tables[ROW_JOB].live,
        .jobs_queued = core->jobs_queued,
        .jobs_running = core->jobs_running,
        .attempts_live = (int64_t)core->tables[ROW_ATTEMPT].live,
        .nodes_up = core->nodes_up,
        .services = (int64_t)core->tables[ROW_SERVICE].live,
        .replicas = (int64_t)core->tables[ROW_REPLICA].live,
        .replicas_ready = core->replicas_ready,
        .bytes = (int64_t)sizeof *core + core->symbol_bytes,
    };
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++)
        counts.bytes += table_bytes(core, kind);
    counts.bytes += core->jobs_linked * (int64_t)sizeof(struct job_links);
    counts.bytes += (int64_t)(core->symbols.capacity * sizeof *core->symbols.lists);
    counts.bytes += (int64_t)(core->jobs_by_name.capacity * sizeof *core->jobs_by_name.lists);
    counts.bytes += (int64_t)(core->timers.capacity * sizeof *core->timers.items);
    *ret_counts = counts;
}
