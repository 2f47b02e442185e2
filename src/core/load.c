/* Loading stored rows: each is linked to rows that came before it; what is derived from all of them
 * is built at the end, and then everything is checked. A row that contradicts the others is
 * reported, never trusted: the store may be damaged. */
#include "base/hash.h"
#include "core/allot.h"
#include "core/attempt.h"
#include "core/backfill.h"
#include "core/broker.h"
#include "core/copies.h"
#include "core/core.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/pool.h"
#include "core/preempt.h"
#include "core/queue.h"
#include "core/resource.h"
#include "core/rollout.h"
#include "core/service.h"
#include "core/shape.h"
#include "core/socket.h"
#include "core/sort.h"
#include "core/spot.h"
#include "core/state.h"
#include "core/symbol.h"
#include "core/table.h"
#include "core/team.h"
#include "core/topology.h"

#include <assert.h>
#include <inttypes.h>

struct loader {
    struct core *core;
    const void *row;
    struct error *err;
};

static int corrupt(const struct loader *in, enum row_kind kind, const char *what)
{
    return error_set(in->err, ERR_CORRUPT, "%s %" PRIu64 ": %s", row_type(kind)->name,
        *(const uint64_t *)in->row, what);
}

/* Copies the row into a new object, and tells the table. */
static void object_known(const struct loader *in, enum row_kind kind, struct item *item)
{
    memcpy(item_row(item), in->row, row_type(kind)->size);
    table_add(in->core, kind, item);
    symbols_hold(in->core, item);
}

static void *object_load(const struct loader *in, enum row_kind kind, size_t size)
{
    struct item *item = item_alloc(in->core, kind, size);
    object_known(in, kind, item);
    return item;
}

#define LOAD(in, kind, type)     ((type *)object_load((in), (kind), sizeof(type)))
#define FIND(in, kind, type, id) ((type *)table_find((in)->core, (kind), (id)))

static int load_counter(const struct loader *in)
{
    struct core *core = in->core;
    const struct counter_row *row = in->row;
    if (!memchr(row->name, '\0', sizeof row->name) || row->last < 0)
        return corrupt(in, ROW_COUNTER, "not a counter");
    struct live_counter *counter = LOAD(in, ROW_COUNTER, struct live_counter);
    if (strcmp(row->name, "clock") == 0) {
        core->clock = counter;
        core->now_ms = most(core->now_ms, least(row->last, TIME_MS_MAX));
    }
    if (strcmp(row->name, "round") == 0)
        core->round = counter;
    if (strcmp(row->name, "forecast") == 0)
        core->forecast_wait = counter;
    if (strcmp(row->name, "stir") == 0)
        core->stirs = counter;
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++) {
        if (strcmp(row->name, row_type((enum row_kind)kind)->name) == 0)
            core->counters[kind] = counter;
    }
    return 0;
}

static int load_symbol(const struct loader *in)
{
    const struct symbol_row *row = in->row;
    if (!memchr(row->text, '\0', sizeof row->text) || !row->text[0] || row->id > UINT32_MAX)
        return corrupt(in, ROW_SYMBOL, "not a text");
    if (symbol_find(in->core, row->text))
        return corrupt(in, ROW_SYMBOL, "its text is there twice");
    symbol_load(in->core, row);
    return 0;
}

static int load_pool(const struct loader *in)
{
    const struct pool_row *row = in->row;
    if (!row->name || idmap_get(&in->core->pools_by_name, row->name))
        return corrupt(in, ROW_POOL, "its name is missing or taken");
    if (row->spot_up_ms < 0 || row->spot_down_ms < 0 || row->spot_losses < 0 ||
        row->spot_at_ms < 0 || row->spot_at_ms > TIME_MS_MAX || row->spot_up_ms > SPOT_SEEN_MAX ||
        row->spot_down_ms > SPOT_SEEN_MAX)
        return corrupt(in, ROW_POOL, "numbers out of range");
    if (row->link_bytes < 0 || row->egress_gib_micro < 0 || row->burst_budget_micro < 0 ||
        row->burst_spent_micro < 0 || row->burst_begin_ms < 0 || row->burst_after_ms < 0 ||
        row->burst_period_ms < 0 || (row->burst_budget_micro && !row->burst_period_ms))
        return corrupt(in, ROW_POOL, "a burst policy out of range");
    in->core->burst_pools += row->burst_budget_micro > 0;
    struct live_pool *pool = LOAD(in, ROW_POOL, struct live_pool);
    idmap_put(&in->core->pools_by_name, pool->row.name, pool);
    return 0;
}

static int load_price(const struct loader *in)
{
    const struct price_row *row = in->row;
    struct live_pool *pool = FIND(in, ROW_POOL, struct live_pool, row->pool);
    if (!pool || row->hour_micro < 0)
        return corrupt(in, ROW_PRICE, "no pool or a negative price");
    struct live_price *price = LOAD(in, ROW_PRICE, struct live_price);
    LIST_APPEND(pool->prices, price, next);
    return 0;
}

static int load_level(const struct loader *in)
{
    const struct level_row *row = in->row;
    struct live_pool *pool = FIND(in, ROW_POOL, struct live_pool, row->pool);
    if (!pool || !row->name || !row->label || pool->level_count >= LEVELS_MAX)
        return corrupt(in, ROW_LEVEL, "no pool, name or label, or too many levels");
    struct live_level *level = LOAD(in, ROW_LEVEL, struct live_level);
    LIST_APPEND(pool->levels, level, next);
    pool->level_count++;
    return 0;
}

static bool amount_sane(int64_t amount)
{
    return amount >= 0 && amount <= AMOUNT_MAX;
}

/* Whether what there is can be counted with the node. */
static bool capacity_bounded(const struct core *core, const struct node_row *row)
{
    return core->capacity[RESOURCE_CPU] + row->cpu_milli <= CAPACITY_MAX &&
           core->capacity[RESOURCE_MEMORY] + row->memory_bytes <= CAPACITY_MAX &&
           core->capacity[RESOURCE_DISK] + row->disk_bytes <= CAPACITY_MAX;
}

static int load_node(const struct loader *in)
{
    const struct node_row *row = in->row;
    struct live_pool *pool = FIND(in, ROW_POOL, struct live_pool, row->pool);
    if (!pool || pool->row.id > UINT32_MAX || node_named(in->core, pool, row->name))
        return corrupt(in, ROW_NODE, "no pool, or its name is taken");
    if (row->devices < 0 || row->devices > DEVICES_MAX || !amount_sane(row->cpu_milli) ||
        !amount_sane(row->memory_bytes) || !amount_sane(row->disk_bytes) ||
        (unsigned)row->state > NODE_LOST)
        return corrupt(in, ROW_NODE, "amounts out of range");
    if (row->accelerator && resource_of_type(in->core, row->accelerator) < 0)
        return corrupt(in, ROW_NODE, "too many accelerator types");
    if (row->state == NODE_UP && !capacity_bounded(in->core, row))
        return corrupt(in, ROW_NODE, "all nodes together have more than can be counted");
    struct live_node *node = LOAD(in, ROW_NODE, struct live_node);
    node->pool = pool;
    node_prepare(in->core, node);
    if (!sockets_derive(in->core, node))
        return corrupt(in, ROW_NODE, "no lists of devices");
    vec_push(&pool->nodes, node);
    idmap_put(&in->core->nodes_by_name, pool->row.id << 32 | row->name, node);
    if (node->row.state == NODE_UP)
        capacity_count(in->core, node, 1);
    return 0;
}

static int load_node_label(const struct loader *in)
{
    const struct node_label_row *row = in->row;
    struct live_node *node = FIND(in, ROW_NODE, struct live_node, row->node);
    if (!node)
        return corrupt(in, ROW_NODE_LABEL, "no node");
    struct live_node_label *label = LOAD(in, ROW_NODE_LABEL, struct live_node_label);
    LIST_APPEND(node->labels, label, next);
    return 0;
}

static int load_reservation(const struct loader *in)
{
    const struct reservation_row *row = in->row;
    struct live_node *node = FIND(in, ROW_NODE, struct live_node, row->node);
    if (!node || row->end_ms <= row->begin_ms)
        return corrupt(in, ROW_RESERVATION, "no node or no length");
    struct live_reservation *one = LOAD(in, ROW_RESERVATION, struct live_reservation);
    LIST_APPEND(node->reservations, one, next);
    return 0;
}

static int load_team(const struct loader *in)
{
    const struct team_row *row = in->row;
    if (!row->name || idmap_get(&in->core->teams_by_name, row->name))
        return corrupt(in, ROW_TEAM, "its name is missing or taken");
    if (row->id > UINT32_MAX || row->usage < 0 || row->weight_micro < 0)
        return corrupt(in, ROW_TEAM, "numbers out of range");
    struct live_team *team = LOAD(in, ROW_TEAM, struct live_team);
    idmap_put(&in->core->teams_by_name, team->row.name, team);
    return 0;
}

static int load_quota(const struct loader *in)
{
    const struct quota_row *row = in->row;
    struct live_team *team = FIND(in, ROW_TEAM, struct live_team, row->team);
    if (!team || !row->resource || row->guarantee < 0 || row->limit < -1 ||
        resource_of_quota(in->core, row->resource) < 0)
        return corrupt(in, ROW_QUOTA, "no team or amounts out of range");
    struct live_quota *quota = LOAD(in, ROW_QUOTA, struct live_quota);
    LIST_APPEND(team->quotas, quota, next);
    return 0;
}

static int load_shape(const struct loader *in)
{
    const struct shape_row *row = in->row;
    if (!amount_sane(row->cpu_milli) || !amount_sane(row->memory_bytes) ||
        !amount_sane(row->disk_bytes) || row->accelerator_milli < 0 ||
        row->accelerator_milli > DEVICES_MAX * DEVICE_MILLI)
        return corrupt(in, ROW_SHAPE, "amounts out of range");
    if (row->mix < 0 || row->mix > INT32_MAX)
        return corrupt(in, ROW_SHAPE, "its part of the mix is out of range");
    if ((unsigned)row->topology > WISH_REQUIRED || (row->topology != 0) != (row->within != 0))
        return corrupt(in, ROW_SHAPE, "a topology without a level");
    if (row->accelerator && resource_of_type(in->core, row->accelerator) < 0)
        return corrupt(in, ROW_SHAPE, "too many accelerator types");
    LOAD(in, ROW_SHAPE, struct live_shape);
    return 0;
}

static int load_rule(const struct loader *in)
{
    const struct rule_row *row = in->row;
    struct live_shape *shape = FIND(in, ROW_SHAPE, struct live_shape, row->shape);
    if (!shape)
        return corrupt(in, ROW_RULE, "no shape");
    struct live_rule *rule = LOAD(in, ROW_RULE, struct live_rule);
    LIST_APPEND(shape->rules, rule, next);
    return 0;
}

static bool length_sane(int64_t ms)
{
    return ms >= 0 && ms <= TIME_MS_MAX;
}

static bool job_sane(const struct job_row *row)
{
    return row->size_min >= 1 && row->size_min <= row->size_max && row->size_max <= GANG_SIZE_MAX &&
           row->state >= JOB_HELD && row->state <= JOB_STOPPING && row->backoff_ms >= 0 &&
           row->time_limit_ms >= 0 && row->vain >= 0 && length_sane(row->grace_ms) &&
           length_sane(row->deadline_ms) && row->interval_ms >= 0 && row->put_off_s >= 0;
}

static int load_job(const struct loader *in)
{
    const struct job_row *row = in->row;
    struct live_team *team = FIND(in, ROW_TEAM, struct live_team, row->team);
    struct live_shape *shape = FIND(in, ROW_SHAPE, struct live_shape, row->shape);
    if (!team || !shape || !row->name)
        return corrupt(in, ROW_JOB, "no team, shape or name");
    if (!job_sane(row))
        return corrupt(in, ROW_JOB, "numbers out of range");
    if (job_named(in->core, team, row->name))
        return corrupt(in, ROW_JOB, "its name is taken");
    if (row->name_hash != hash_text(core_symbol(in->core, row->name)))
        return corrupt(in, ROW_JOB, "not the hash of its name");
    struct live_job *job = job_create(in->core);
    object_known(in, ROW_JOB, &job->item);
    job->team = team;
    job->shape = shape;
    shape_ref(in->core, shape);
    team->jobs++;
    in->core->governed += allot_governs(in->core, job);
    job_name_put(in->core, job);
    if (row->array && !array_join(in->core, job))
        return corrupt(in, ROW_JOB, "not an element of an array");
    return 0;
}

static int load_job_label(const struct loader *in)
{
    const struct job_label_row *row = in->row;
    struct live_job *job = FIND(in, ROW_JOB, struct live_job, row->job);
    if (!job)
        return corrupt(in, ROW_JOB_LABEL, "no job");
    struct live_job_label *label = LOAD(in, ROW_JOB_LABEL, struct live_job_label);
    LIST_APPEND(job_link(in->core, job)->labels, label, next);
    return 0;
}

static int load_dependency(const struct loader *in)
{
    const struct dependency_row *row = in->row;
    struct live_job *job = FIND(in, ROW_JOB, struct live_job, row->job);
    struct live_job *on = FIND(in, ROW_JOB, struct live_job, row->on_job);
    if (!job || !on || row->on_job >= row->job)
        return corrupt(in, ROW_DEPENDENCY, "no job, or none that was there before");
    struct live_dependency *dependency = LOAD(in, ROW_DEPENDENCY, struct live_dependency);
    dependency_link(in->core, dependency, job, on);
    return 0;
}

static int load_attempt(const struct loader *in)
{
    const struct attempt_row *row = in->row;
    struct live_job *job = FIND(in, ROW_JOB, struct live_job, row->job);
    if (!job || job->row.attempt != row->id || row->size < 1 || row->size > GANG_SIZE_MAX ||
        row->state < ATTEMPT_ADMITTED || row->state >= ATTEMPT_ENDED)
        return corrupt(in, ROW_ATTEMPT, "not its job's live attempt");
    if (row->site_end_ms < 0 || row->site_end_ms > TIME_MS_MAX)
        return corrupt(in, ROW_ATTEMPT, "its site ends it at no such moment");
    struct live_attempt *attempt = LOAD(in, ROW_ATTEMPT, struct live_attempt);
    attempt->job = job;
    job->attempt = attempt;
    attempt_yields(in->core, attempt, 1);
    in->core->attempts_stopping += attempt->row.stop_reason != END_NONE;
    array_count(job, 1);
    return 0;
}

/* Devices and ranks within what the node has; sums are checked at the end. */
static bool held_sane(const struct live_node *node, uint64_t devices, int64_t milli, int32_t ranks)
{
    uint64_t there = node->row.devices >= 64 ? UINT64_MAX : ((uint64_t)1 << node->row.devices) - 1;
    return (devices & ~there) == 0 && milli >= 0 && milli <= DEVICE_MILLI && ranks >= 1 &&
           ranks <= GANG_SIZE_MAX;
}

static int load_placement(const struct loader *in)
{
    const struct placement_row *row = in->row;
    struct live_attempt *attempt = FIND(in, ROW_ATTEMPT, struct live_attempt, row->attempt);
    struct live_node *node = FIND(in, ROW_NODE, struct live_node, row->node);
    if (!attempt || !node)
        return corrupt(in, ROW_PLACEMENT, "no attempt or node");
    if (!held_sane(node, row->devices, row->device_milli, row->ranks))
        return corrupt(in, ROW_PLACEMENT, "devices or ranks out of range");
    struct live_placement *placement = LOAD(in, ROW_PLACEMENT, struct live_placement);
    placement->attempt = attempt;
    placement->node = node;
    placement_link(in->core, placement);
    return 0;
}

static int load_span(const struct loader *in)
{
    const struct span_row *row = in->row;
    struct live_placement *placement =
        FIND(in, ROW_PLACEMENT, struct live_placement, row->placement);
    if (!placement || row->end_ms < row->begin_ms || row->hour_micro < 0)
        return corrupt(in, ROW_SPAN, "no placement, or numbers out of range");
    struct live_span *span = LOAD(in, ROW_SPAN, struct live_span);
    LIST_APPEND(placement->spans, span, next);
    return 0;
}

static int load_claim(const struct loader *in)
{
    const struct claim_row *row = in->row;
    struct live_job *job = FIND(in, ROW_JOB, struct live_job, row->job);
    struct live_node *node = FIND(in, ROW_NODE, struct live_node, row->node);
    if (!job || !node || job->attempt)
        return corrupt(in, ROW_CLAIM, "no waiting job or no node");
    if (!held_sane(node, row->devices, row->device_milli, row->ranks))
        return corrupt(in, ROW_CLAIM, "devices or ranks out of range");
    struct live_claim *claim = LOAD(in, ROW_CLAIM, struct live_claim);
    claim->job = job;
    claim->node = node;
    if (!job->links->claims) {
        vec_push(&in->core->claimants, job);
        array_count(job, 1);
    }
    LIST_APPEND(job_link(in->core, job)->claims, claim, next);
    vec_push(&node->claims, claim);
    node_claim(node, &job->shape->row, row->devices, row->device_milli, row->ranks, 1);
    return 0;
}

static int load_promise(const struct loader *in)
{
    const struct promise_row *row = in->row;
    struct live_job *job = FIND(in, ROW_JOB, struct live_job, row->job);
    struct live_node *node = FIND(in, ROW_NODE, struct live_node, row->node);
    if (!job || !node || job->attempt || job->links->claims || job->row.state != JOB_QUEUED)
        return corrupt(in, ROW_PROMISE, "no job that competes or no node");
    if (!held_sane(node, row->devices, row->device_milli, row->ranks) || row->begin_ms < 0)
        return corrupt(in, ROW_PROMISE, "devices, ranks or moment out of range");
    struct live_promise *promise = LOAD(in, ROW_PROMISE, struct live_promise);
    promise->job = job;
    promise->node = node;
    return promise_link(in->core, promise)
               ? 0
               : corrupt(in, ROW_PROMISE, "its node or pool is promised to another");
}

static bool service_sane(const struct service_row *row)
{
    bool counts = row->replicas >= 0 && row->replicas <= REPLICAS_MAX && row->surge >= 0 &&
                  row->surge <= REPLICAS_MAX && row->unavailable >= 0 &&
                  row->unavailable <= REPLICAS_MAX && row->surge + row->unavailable >= 1;
    return counts && row->revision >= 1 && row->number >= 0 && row->refusals >= 0;
}

static int load_service(const struct loader *in)
{
    const struct service_row *row = in->row;
    struct live_team *team = FIND(in, ROW_TEAM, struct live_team, row->team);
    if (!team || !row->name || idmap_get(&in->core->services_by_name, name_key(team, row->name)))
        return corrupt(in, ROW_SERVICE, "no team, or its name is missing or taken");
    if (!service_sane(row))
        return corrupt(in, ROW_SERVICE, "numbers out of range");
    service_link(in->core, LOAD(in, ROW_SERVICE, struct live_service), team);
    return 0;
}

static int load_replica(const struct loader *in)
{
    const struct replica_row *row = in->row;
    struct live_service *service = FIND(in, ROW_SERVICE, struct live_service, row->service);
    struct live_job *job = FIND(in, ROW_JOB, struct live_job, row->job);
    if (!service || !job || job->links->replica || !job->row.service || job->team != service->team)
        return corrupt(in, ROW_REPLICA, "no service, or no job for it");
    if (!length_sane(row->recalled_ms))
        return corrupt(in, ROW_REPLICA, "a moment out of range");
    struct live_replica *replica = LOAD(in, ROW_REPLICA, struct live_replica);
    replica_link(in->core, replica, service, job);
    in->core->replicas_ready += replica->row.ready;
    return 0;
}

static int load_rollout(const struct loader *in)
{
    const struct rollout_row *row = in->row;
    struct live_service *service = FIND(in, ROW_SERVICE, struct live_service, row->service);
    if (!service)
        return corrupt(in, ROW_ROLLOUT, "no service");
    const char *fault = rollout_link(LOAD(in, ROW_ROLLOUT, struct live_rollout), service);
    return fault ? corrupt(in, ROW_ROLLOUT, fault) : 0;
}

static int load_evidence(const struct loader *in)
{
    const struct evidence_row *row = in->row;
    struct live_rollout *rollout = FIND(in, ROW_ROLLOUT, struct live_rollout, row->rollout);
    if (!rollout)
        return corrupt(in, ROW_EVIDENCE, "no rollout");
    const char *fault = evidence_link(LOAD(in, ROW_EVIDENCE, struct live_evidence), rollout);
    return fault ? corrupt(in, ROW_EVIDENCE, fault) : 0;
}

static int load_allotment(const struct loader *in)
{
    const struct allotment_row *row = in->row;
    struct live_job *job = FIND(in, ROW_JOB, struct live_job, row->job);
    if (!job || job->links->allotment)
        return corrupt(in, ROW_ALLOTMENT, "no job, or it has one");
    if (row->target < 0 || row->target > GANG_SIZE_MAX || row->served_ms < 0 ||
        row->served_device_ms < 0 || row->remaining < -1 || row->restart_ms < 0)
        return corrupt(in, ROW_ALLOTMENT, "numbers out of range");
    struct live_allotment *allotment = LOAD(in, ROW_ALLOTMENT, struct live_allotment);
    allotment->job = job;
    job_link(in->core, job)->allotment = allotment;
    return 0;
}

static int load_speed(const struct loader *in)
{
    const struct speed_row *row = in->row;
    struct live_allotment *allotment =
        FIND(in, ROW_ALLOTMENT, struct live_allotment, row->allotment);
    if (!allotment || allotment->speed_count >= CORE_SPEEDS_MAX)
        return corrupt(in, ROW_SPEED, "no allotment, or it has enough");
    if (row->ranks < 1 || row->ranks > GANG_SIZE_MAX || row->nodes < 1 || row->rate_milli < 0)
        return corrupt(in, ROW_SPEED, "numbers out of range");
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

static int load_spot(const struct loader *in)
{
    const struct spot_row *row = in->row;
    struct live_job *job = FIND(in, ROW_JOB, struct live_job, row->job);
    if (!job || job->links->spot)
        return corrupt(in, ROW_SPOT, "no job, or it has one");
    if (!job->row.deadline_ms || !spot_sane(row))
        return corrupt(in, ROW_SPOT, "numbers out of range, or a job without a deadline");
    spot_link(in->core, LOAD(in, ROW_SPOT, struct live_spot), job);
    return 0;
}

static int load_data(const struct loader *in)
{
    const struct data_row *row = in->row;
    struct live_job *job = FIND(in, ROW_JOB, struct live_job, row->job);
    if (!job || !row->site || !amount_sane(row->bytes))
        return corrupt(in, ROW_DATA, "no job or site, or bytes out of range");
    broker_data_link(in->core, LOAD(in, ROW_DATA, struct live_data), job);
    return 0;
}

static int load_broker(const struct loader *in)
{
    const struct broker_row *row = in->row;
    struct live_job *job = FIND(in, ROW_JOB, struct live_job, row->job);
    struct live_pool *pool = FIND(in, ROW_POOL, struct live_pool, row->pool);
    if (!job || job->links->broker || (row->pool && (!pool || !job->attempt)))
        return corrupt(in, ROW_BROKER, "no job or no pool, or it has one");
    if ((unsigned)row->verdict >= BURST_VERDICT_COUNT || !length_sane(row->duration_ms) ||
        !length_sane(row->wait_ms) || !length_sane(row->look_ms) || !length_sane(row->due_ms) ||
        !length_sane(row->forecast_ms) || !length_sane(row->start_ms) || row->seen < 0 ||
        !length_sane(row->since_ms) || !length_sane(row->lease_ms) || row->booked_micro < 0 ||
        (row->lease_ms && (!pool || !job->links->replica)) || row->reserved_micro < 0 ||
        row->egress_micro < 0 || row->egress_micro > row->reserved_micro)
        return corrupt(in, ROW_BROKER, "numbers out of range");
    struct live_broker *broker = LOAD(in, ROW_BROKER, struct live_broker);
    job_link(in->core, job)->broker = broker;
    in->core->leases += row->lease_ms > 0;
    if (pool)
        pool->burst_reserved_micro += row->reserved_micro;
    return 0;
}

static int load_copy(const struct loader *in)
{
    const struct copy_row *row = in->row;
    if (!row->site || !row->version || !amount_sane(row->bytes) || !length_sane(row->since_ms) ||
        !length_sane(row->used_ms) || !length_sane(row->transfer_ms) || row->egress_micro < 0)
        return corrupt(in, ROW_COPY, "no version or site, or numbers out of range");
    if (!copies_link(in->core, LOAD(in, ROW_COPY, struct live_copy)))
        return corrupt(in, ROW_COPY, "there is one of that version at that site already");
    return 0;
}

typedef int load_fn(const struct loader *in);

static load_fn *const loaders[ROW_KIND_COUNT] = {
    [ROW_COUNTER] = load_counter,
    [ROW_SYMBOL] = load_symbol,
    [ROW_POOL] = load_pool,
    [ROW_PRICE] = load_price,
    [ROW_LEVEL] = load_level,
    [ROW_NODE] = load_node,
    [ROW_NODE_LABEL] = load_node_label,
    [ROW_RESERVATION] = load_reservation,
    [ROW_TEAM] = load_team,
    [ROW_QUOTA] = load_quota,
    [ROW_SHAPE] = load_shape,
    [ROW_RULE] = load_rule,
    [ROW_JOB] = load_job,
    [ROW_JOB_LABEL] = load_job_label,
    [ROW_DEPENDENCY] = load_dependency,
    [ROW_ATTEMPT] = load_attempt,
    [ROW_PLACEMENT] = load_placement,
    [ROW_SPAN] = load_span,
    [ROW_CLAIM] = load_claim,
    [ROW_PROMISE] = load_promise,
    [ROW_SERVICE] = load_service,
    [ROW_REPLICA] = load_replica,
    [ROW_ALLOTMENT] = load_allotment,
    [ROW_SPEED] = load_speed,
    [ROW_SPOT] = load_spot,
    [ROW_ROLLOUT] = load_rollout,
    [ROW_EVIDENCE] = load_evidence,
    [ROW_DATA] = load_data,
    [ROW_BROKER] = load_broker,
    [ROW_COPY] = load_copy,
};

int core_load_row(struct core *core, enum row_kind kind, const void *row, struct error *err)
{
    assert((unsigned)kind < ROW_KIND_COUNT);
    struct loader in = {core, row, err};
    core->loading = true;
    if (!loaders[kind])
        return corrupt(&in, kind, "a history row is not live");
    if (*(const uint64_t *)row <= core->tables[kind].last_id)
        return corrupt(&in, kind, "ids do not ascend");
    if (!symbols_known(core, kind, row))
        return corrupt(&in, kind, "it names a symbol that is not there, or not pinned");
    return loaders[kind](&in);
}

static int link_teams(struct core *core, struct error *err)
{
    TABLE_EACH (core, ROW_TEAM, struct live_team, team) {
        team->parent = (struct live_team *)table_find(core, ROW_TEAM, team->row.parent);
        if (team->row.parent && !team->parent)
            return error_set(err, ERR_CORRUPT, "team %" PRIu64 ": no parent", team->row.id);
    }
    TABLE_EACH (core, ROW_TEAM, struct live_team, team) {
        int depth = 0;
        for (const struct live_team *at = team; at; at = at->parent) {
            if (++depth > TEAM_DEPTH_MAX * 2)
                return error_set(err, ERR_CORRUPT, "team %" PRIu64 ": a cycle", team->row.id);
        }
        team_link(core, team);
    }
    /* Children have to be derived before their parents: deriving goes up from each. */
    TABLE_EACH (core, ROW_TEAM, struct live_team, team)
        quota_derive(core, team);
    return 0;
}

static int link_counters(struct core *core, struct error *err)
{
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++) {
        const struct table *table = &core->tables[kind];
        const struct live_counter *counter = core->counters[kind];
        if (kind == ROW_COUNTER || !table->last_id)
            continue;
        if (!counter || (uint64_t)counter->row.last < table->last_id)
            return error_set(err, ERR_CORRUPT, "table %s: ids beyond its counter",
                row_type((enum row_kind)kind)->name);
    }
    return 0;
}

static void hold_all(struct core *core)
{
    struct amounts amounts;
    TABLE_EACH (core, ROW_ATTEMPT, struct live_attempt, attempt) {
        attempt_amounts(attempt, &amounts);
        quota_hold(core, attempt->job->team, &amounts, job_firm(attempt->job), 1);
    }
    TABLE_EACH (core, ROW_CLAIM, struct live_claim, claim) {
        claim_amounts(claim, &amounts);
        quota_hold(core, claim->job->team, &amounts, job_firm(claim->job), 1);
    }
}

static int link_jobs(struct core *core, struct error *err)
{
    TABLE_EACH (core, ROW_JOB, struct live_job, job) {
        int32_t state = job->row.state;
        bool active = state >= JOB_STARTING;
        bool started = job->attempt && job->attempt->row.state == ATTEMPT_STARTED;
        if (active != (job->attempt != NULL) || (active && !job->attempt->placements) ||
            (state == JOB_RUNNING && !started) || (job->links->claims && state != JOB_QUEUED) ||
            (job->links->depends && state > JOB_WAITING))
            return error_set(
                err, ERR_CORRUPT, "job %" PRIu64 ": its state contradicts its rows", job->row.id);
        core->jobs_queued += state == JOB_QUEUED;
        core->jobs_running += state == JOB_RUNNING;
        if (state == JOB_QUEUED && !job->links->claims)
            queue_add(core, job);
        timer_set(core, job);
    }
    return 0;
}

int core_load_end(struct core *core, struct error *err)
{
    TABLE_EACH (core, ROW_SHAPE, struct live_shape, shape)
        shape_index(core, shape);
    if (link_counters(core, err) < 0 || link_teams(core, err) < 0)
        return -1;
    hold_all(core);
    if (link_jobs(core, err) < 0)
        return -1;
    mix_index(core);
    services_index(core);
    reservations_index(core);
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool)
        topology_derive(pool);
    topology_changed(core);
    spot_seen(core);
    burst_leases_index(core);
    copies_index(core);
    core->stirs_version = core->free_version;
    core->loading = false;
    return core_check(core, err);
}
