/* Which pool costs a job least.
 *
 * A pool's cost is that of its cheapest node that could hold a rank: a figure of the pool and the
 * shape alone, remembered until pools change, so that the order of pools for a job needs no look at
 * nodes. Costs are compared within one currency; pools of another than the oldest pool's come
 * after it, since nobody said what theirs is worth. Every order ends with the pool's id.
 *
 * How long a job runs is what it says: its duration, else its time limit, else an hour. That only
 * matters beside egress and transfers; without data, the cheaper hour is the cheaper pool. */
#include "core/broker.h"
#include "core/attempt.h"
#include "core/copies.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/score.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/symbol.h"
#include "core/table.h"

#include <assert.h>

enum { DATA_MAX = 1024 };
#define HOUR_MS ((int64_t)3600 * 1000)
#define GIB     ((int64_t)1 << 30)

/* ---- prices -------------------------------------------------------------------------------- */

static bool price_differs(const struct shape_price *a, const struct shape_price *b)
{
    return a->hour_micro != b->hour_micro || a->pool->row.currency != b->pool->row.currency;
}

/* Nodes of a kind are alike, and kinds are in order of pools. */
static void prices_fill(struct core *core, struct live_shape *shape)
{
    nodes_number(core);
    vec_clear(&shape->prices);
    shape->prices_differ = false;
    shape->prices_version = core->topology_version;
    struct shape_price *last = NULL;
    for (size_t i = 0; i < core->scores.kinds.count; i++) {
        const struct live_node *like = core->scores.kinds.items[i].like;
        if (!fit_matches(core, shape, like))
            continue;
        int64_t hour_micro = shape_hour_micro(shape, like, 1);
        if (last && last->pool == like->pool) {
            last->hour_micro = least(last->hour_micro, hour_micro);
            continue;
        }
        vec_push(&shape->prices, ((struct shape_price){like->pool, hour_micro}));
        last = &shape->prices.items[shape->prices.count - 1];
    }
    for (size_t i = 1; i < shape->prices.count; i++)
        shape->prices_differ |= price_differs(&shape->prices.items[0], &shape->prices.items[i]);
}

bool broker_orders(struct core *core, const struct live_job *job)
{
    struct live_shape *shape = job->shape;
    if (core->tables[ROW_POOL].live < 2)
        return false;
    if (shape->prices_version != core->topology_version)
        prices_fill(core, shape);
    return shape->prices.count > 1 && (shape->prices_differ || job->links->data);
}

bool broker_hour_micro(const struct core *core, const struct live_shape *shape,
    const struct live_pool *pool, int64_t *ret_hour_micro)
{
    int64_t hour_micro = MOMENT_NEVER;
    for (size_t i = 0; i < pool->nodes.count; i++) {
        if (fit_suits(core, shape, pool->nodes.items[i]))
            hour_micro = least(hour_micro, shape_hour_micro(shape, pool->nodes.items[i], 1));
    }
    if (hour_micro != MOMENT_NEVER)
        *ret_hour_micro = hour_micro;
    return hour_micro != MOMENT_NEVER;
}

/* ---- costs --------------------------------------------------------------------------------- */

static int64_t bounded(__int128 value)
{
    return value > BROKER_COST_MAX ? BROKER_COST_MAX : (int64_t)value;
}

/* The slower of two links; 0 is no bound. */
static int64_t slower(int64_t a, int64_t b)
{
    return a && b ? least(a, b) : most(a, b);
}

/* Data that are not at the pool's site. */
static void add_transfer(const struct core *core, const struct data_row *data,
    const struct live_pool *to, struct pool_cost *cost)
{
    int64_t gib_micro = 0, link_bytes = to->row.link_bytes;
    TABLE_EACH (core, ROW_POOL, struct live_pool, from) {
        if (from->row.site != data->site)
            continue;
        gib_micro = most(gib_micro, from->row.egress_gib_micro);
        link_bytes = slower(link_bytes, from->row.link_bytes);
    }
    __int128 egress = ((__int128)gib_micro * data->bytes + GIB / 2) / GIB;
    cost->egress_micro = bounded((__int128)cost->egress_micro + bounded(egress));
    if (link_bytes)
        cost->transfer_ms = least(
            cost->transfer_ms + bounded((__int128)data->bytes * 1000 / link_bytes), TIME_MS_MAX);
}

struct pool_cost broker_transfer(
    const struct core *core, const struct data_row *data, const struct live_pool *pool)
{
    struct pool_cost cost = {.hour_micro = 0};
    add_transfer(core, data, pool, &cost);
    return cost;
}

int64_t broker_run_ms(const struct live_job *job)
{
    const struct live_broker *broker = job->links->broker;
    return broker && broker->row.duration_ms ? broker->row.duration_ms : job->row.time_limit_ms;
}

struct pool_cost broker_cost(const struct core *core, const struct live_job *job,
    const struct live_pool *pool, int64_t hour_micro)
{
    struct pool_cost cost = {.hour_micro = bounded((__int128)hour_micro * job->row.size_min)};
    int64_t run_ms = broker_run_ms(job);
    for (const struct live_data *data = job->links->data; data; data = data->next) {
        if (!copies_have(core, &data->row, pool))
            add_transfer(core, &data->row, pool, &cost);
    }
    cost.late =
        job->row.deadline_ms && core->now_ms + cost.transfer_ms + run_ms > job->row.deadline_ms;
    __int128 held_ms = (run_ms ? run_ms : HOUR_MS) + cost.transfer_ms;
    cost.cost_micro = bounded(cost.hour_micro * held_ms / HOUR_MS + cost.egress_micro);
    return cost;
}

static int64_t hour_in(const struct live_shape *shape, const struct live_pool *pool)
{
    for (size_t i = 0; i < shape->prices.count; i++) {
        if (shape->prices.items[i].pool == pool)
            return shape->prices.items[i].hour_micro;
    }
    return 0;
}

bool broker_before(struct core *core, const struct live_job *job, const struct live_pool *a,
    const struct live_pool *b)
{
    if (a == b || !broker_orders(core, job))
        return a->row.id < b->row.id;
    struct pool_cost costs[] = {broker_cost(core, job, a, hour_in(job->shape, a)),
        broker_cost(core, job, b, hour_in(job->shape, b))};
    uint32_t home = job->shape->prices.items[0].pool->row.currency;
    uint32_t currency_a = a->row.currency == home ? 0 : a->row.currency;
    uint32_t currency_b = b->row.currency == home ? 0 : b->row.currency;
    if (costs[0].late != costs[1].late)
        return costs[1].late;
    if (currency_a != currency_b)
        return currency_a < currency_b;
    if (costs[0].cost_micro != costs[1].cost_micro)
        return costs[0].cost_micro < costs[1].cost_micro;
    return a->row.id < b->row.id;
}

/* ---- rows ---------------------------------------------------------------------------------- */

int broker_check(const struct job *job, struct error *err)
{
    if (job->data.count > DATA_MAX)
        return error_set(err, ERR_TOO_LARGE, "spec.inputs: more than %d", DATA_MAX);
    for (size_t i = 0; i < job->data.count; i++) {
        const struct job_data *data = &job->data.items[i];
        if (!data->site || !*data->site || data->bytes < 0 || data->bytes > AMOUNT_MAX)
            return error_set(err, ERR_INVALID,
                "spec.inputs: a site without a name, or a size of "
                "data that can not be");
        if (symbol_check(data->site, "spec.site of an input", err) < 0 ||
            symbol_check(data->version, "spec.inputs", err) < 0)
            return -1;
    }
    return 0;
}

void broker_data_link(struct core *core, struct live_data *data, struct live_job *job)
{
    LIST_APPEND(job_link(core, job)->data, data, next);
}

void broker_begin(struct core *core, struct live_job *job, const struct job *from)
{
    for (size_t i = 0; i < from->data.count; i++) {
        struct live_data *data = mem_alloc(1, sizeof *data);
        data->row.job = job->row.id;
        data->row.site = symbol_intern(core, from->data.items[i].site);
        data->row.bytes = from->data.items[i].bytes;
        data->row.version = symbol_intern(core, from->data.items[i].version);
        change_new(core, ROW_DATA, &data->item);
        broker_data_link(core, data, job);
    }
    if (!from->duration_ms || (!from->data.count && !core->burst_pools))
        return;
    struct live_broker *broker = mem_alloc(1, sizeof *broker);
    broker->row.job = job->row.id;
    broker->row.duration_ms = from->duration_ms;
    change_new(core, ROW_BROKER, &broker->item);
    job_link(core, job)->broker = broker;
}

void broker_forget(struct core *core, struct live_job *job)
{
    for (struct live_data *data = job->links->data, *next; data; data = next) {
        next = data->next;
        change_delete(core, &data->item);
    }
    if (job->links->broker)
        change_delete(core, &job->links->broker->item);
    if (job->links != &job_links_none) {
        job_link(core, job)->data = NULL;
        job_link(core, job)->broker = NULL;
    }
}
