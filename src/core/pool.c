/* Pools: capacity at a site. Putting a pool describes it whole: what it names is made or changed,
 * nodes that it does not name any more leave. Everything is checked first. */
#include "core/pool.h"
#include "core/attempt.h"
#include "core/broker.h"
#include "core/copies.h"
#include "core/core.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/preempt.h"
#include "core/resource.h"
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
#include <stdio.h>

/* One node, a group of count > 1 unfolded. */
struct node_spec {
    char name[256];
    const struct node *of;
};

typedef VEC(struct node_spec) node_specs;

static int unfold_name(const struct node *node, int64_t index, char out[256], struct error *err)
{
    int length = node->count > 1 ? snprintf(out, 256, "%s-%" PRId64, node->name, index)
                                 : snprintf(out, 256, "%s", node->name);
    if (length <= 0 || length > 255)
        return error_set(err, ERR_INVALID, "spec.nodes: a name has %d bytes", length);
    return 0;
}

static int check_capacity(const struct node *node, struct error *err)
{
    const struct resources *has = &node->capacity;
    if (has->cpu_milli <= 0 || has->cpu_milli > AMOUNT_MAX || has->memory_bytes <= 0 ||
        has->memory_bytes > AMOUNT_MAX || has->disk_bytes < 0 || has->disk_bytes > AMOUNT_MAX)
        return error_set(err, ERR_INVALID,
            "spec.nodes: %s: expected CPU and memory above 0 and no disk below it", node->name);
    if (has->accelerator_milli < 0 || has->accelerator_milli % DEVICE_MILLI != 0 ||
        has->accelerator_milli > DEVICES_MAX * DEVICE_MILLI)
        return error_set(err, ERR_INVALID, "spec.nodes: %s: expected 0 to %d whole accelerators",
            node->name, DEVICES_MAX);
    if (has->accelerator_milli && (!has->accelerator || !*has->accelerator))
        return error_set(
            err, ERR_INVALID, "spec.nodes: %s: its accelerators have no type", node->name);
    return 0;
}

static int check_node(const struct node *node, struct error *err)
{
    if (!node->name || !*node->name)
        return error_set(err, ERR_INVALID, "spec.nodes: a node has no name");
    if (node->count < 0 || node->count > NODES_MAX)
        return error_set(
            err, ERR_INVALID, "spec.nodes: %s: count: expected 1 to %d", node->name, NODES_MAX);
    if (check_capacity(node, err) < 0 || sockets_check(node, err) < 0 ||
        symbol_check(node->type, "spec.nodes.type", err) < 0 ||
        symbol_check(node->capacity.accelerator, "spec.nodes.accelerator", err) < 0 ||
        symbol_check_labels(&node->labels, "spec.nodes.labels", err) < 0)
        return -1;
    for (size_t i = 0; i < node->taints.count; i++) {
        const struct taint *taint = &node->taints.items[i];
        if (!taint->key || !*taint->key || (unsigned)taint->effect > TAINT_NO_EXECUTE ||
            symbol_check(taint->key, "spec.nodes.taints", err) < 0 ||
            symbol_check(taint->value, "spec.nodes.taints", err) < 0)
            return error_set(err, ERR_INVALID, "spec.nodes: %s: a taint is wrong", node->name);
    }
    return 0;
}

static int unfold(
    const struct pool *pool, struct arena *arena, node_specs *specs, struct error *err)
{
    struct strmap seen = {0};
    int rc = 0;
    for (size_t i = 0; i < pool->nodes.count && rc == 0; i++) {
        const struct node *node = &pool->nodes.items[i];
        rc = check_node(node, err);
        int64_t count = rc == 0 ? most(node->count, 1) : 0;
        for (int64_t n = 1; n <= count && rc == 0; n++) {
            struct node_spec spec = {.of = topology_label(arena, pool, node, n)};
            rc = unfold_name(node, n, spec.name, err);
            if (rc == 0 && strmap_get(&seen, spec.name))
                rc = error_set(err, ERR_INVALID, "spec.nodes: %.64s is named twice", spec.name);
            if (rc == 0 && specs->count >= NODES_MAX)
                rc = error_set(err, ERR_TOO_LARGE, "spec.nodes: more than %d nodes", NODES_MAX);
            if (rc < 0)
                break;
            strmap_put(&seen, spec.name, specs);
            vec_push(specs, spec);
        }
    }
    strmap_finish(&seen);
    return rc;
}

static int check_price_list(const struct price_list *list, struct error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct named_price *price = &list->items[i];
        if (!price->name || !*price->name || price->hour_micro < 0)
            return error_set(err, ERR_INVALID, "spec.prices: expected a name and a price >= 0");
        if (symbol_check(price->name, "spec.prices", err) < 0)
            return -1;
    }
    return 0;
}

static int check_burst(const struct pool *pool, struct error *err)
{
    const struct burst *burst = &pool->burst;
    if (pool->link_bytes < 0 || pool->prices.egress_gib_micro < 0)
        return error_set(err, ERR_INVALID, "spec.link, spec.prices.egressGiB: expected >= 0");
    if (pool->keep_inputs_ms < 0 || pool->keep_inputs_ms > TIME_MS_MAX)
        return error_set(err, ERR_INVALID, "spec.keepInputs: expected a length, 0 or more");
    if (burst->budget_micro < 0 || burst->budget_micro > BROKER_COST_MAX || burst->after_ms < 0 ||
        burst->after_ms > TIME_MS_MAX || burst->period_ms < 0 || burst->period_ms > TIME_MS_MAX ||
        (burst->budget_micro && !burst->period_ms))
        return error_set(err, ERR_INVALID,
            "spec.burst: expected a budget, a period above 0 and a wait that are none below 0");
    return 0;
}

static int check_pool(const struct pool *pool, struct error *err)
{
    const struct prices *prices = &pool->prices;
    if (!pool->metadata.name || !*pool->metadata.name)
        return error_set(err, ERR_INVALID, "metadata.name: a pool needs a name");
    if ((unsigned)pool->engine > ENGINE_KUBERNETES)
        return error_set(err, ERR_INVALID, "spec.engine: unknown");
    if (prices->cpu_hour_micro < 0 || prices->memory_gib_hour_micro < 0 ||
        prices->disk_gib_hour_micro < 0)
        return error_set(err, ERR_INVALID, "spec.prices: expected prices >= 0");
    if (symbol_check(pool->metadata.name, "metadata.name", err) < 0 ||
        symbol_check(pool->jurisdiction, "spec.jurisdiction", err) < 0 ||
        symbol_check(pool->site, "spec.site", err) < 0 || check_burst(pool, err) < 0 ||
        symbol_check(prices->currency, "spec.prices.currency", err) < 0 ||
        check_price_list(&prices->nodes, err) < 0)
        return -1;
    return check_price_list(&prices->accelerators, err) < 0 ? -1 : topology_check(pool, err);
}

/* What the node holds has to fit into what it is to have. */
static int check_shrink(const struct core *core, const struct live_node *node,
    const struct node *want, struct error *err)
{
    const struct resources *has = &want->capacity;
    int64_t devices = has->accelerator_milli / DEVICE_MILLI;
    bool fits = node->held.cpu_milli <= has->cpu_milli &&
                node->held.memory_bytes <= has->memory_bytes &&
                node->held.disk_bytes <= has->disk_bytes;
    bool in_use = false;
    for (int d = 0; d < DEVICES_MAX; d++) {
        in_use |= node->device_held[d] > 0;
        fits = fits && (d < devices || node->device_held[d] == 0);
    }
    uint32_t type = devices ? symbol_find(core, has->accelerator) : 0;
    if (fits && (!in_use || type == node->row.accelerator))
        return 0;
    return error_set(err, ERR_CONFLICT, "node %s holds more than its new capacity: drain it first",
        core_symbol(core, node->row.name));
}

/* Beyond the bound a sum says only that it is. */
static int64_t bounded_sum(int64_t sum, int64_t more)
{
    return sum > CAPACITY_MAX ? sum : sum + more;
}

/* All nodes together, with those that the pool is to have in place of those that it has; ones that
 * wait for their attempts to end count twice. */
static int check_sum(const struct core *core, const struct live_pool *live, const node_specs *specs,
    struct error *err)
{
    struct bundle sum = {0};
    for (size_t i = 0; i < specs->count; i++) {
        const struct resources *has = &specs->items[i].of->capacity;
        sum.memory_bytes = bounded_sum(sum.memory_bytes, has->memory_bytes);
        sum.disk_bytes = bounded_sum(sum.disk_bytes, has->disk_bytes);
        sum.cpu_milli = bounded_sum(sum.cpu_milli, has->cpu_milli);
    }
    TABLE_EACH (core, ROW_NODE, struct live_node, node) {
        if (node->pool == live && !node->row.leaving)
            continue;
        sum.memory_bytes = bounded_sum(sum.memory_bytes, node->row.memory_bytes);
        sum.disk_bytes = bounded_sum(sum.disk_bytes, node->row.disk_bytes);
        sum.cpu_milli = bounded_sum(sum.cpu_milli, node->row.cpu_milli);
    }
    if (most(sum.cpu_milli, most(sum.memory_bytes, sum.disk_bytes)) > CAPACITY_MAX)
        return error_set(err, ERR_TOO_LARGE,
            "spec.nodes: all nodes together have more CPU, memory or disk than can be counted");
    return 0;
}

static int check_changes(
    struct core *core, const struct live_pool *live, const node_specs *specs, struct error *err)
{
    int64_t fresh = 0;
    for (size_t i = 0; i < specs->count; i++) {
        const struct node_spec *spec = &specs->items[i];
        const struct live_node *node = node_named(core, live, symbol_find(core, spec->name));
        fresh += node == NULL;
        if (node && check_shrink(core, node, spec->of, err) < 0)
            return -1;
        if (spec->of->capacity.accelerator_milli &&
            resource_of_type(core, symbol_intern(core, spec->of->capacity.accelerator)) < 0)
            return error_set(err, ERR_TOO_LARGE, "there are more than %d accelerator types",
                RESOURCE_MAX - RESOURCE_TYPES);
    }
    if ((int64_t)core->tables[ROW_NODE].live + fresh > NODES_MAX)
        return error_set(err, ERR_TOO_LARGE, "more than %d nodes in all pools", NODES_MAX);
    return check_sum(core, live, specs, err);
}

static void prices_add(
    struct core *core, struct live_pool *live, int32_t of, const struct price_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        struct live_price *price = mem_alloc(1, sizeof *price);
        price->row = (struct price_row){
            .pool = live->row.id,
            .of = of,
            .name = symbol_intern(core, list->items[i].name),
            .hour_micro = list->items[i].hour_micro,
        };
        change_new(core, ROW_PRICE, &price->item);
        LIST_APPEND(live->prices, price, next);
    }
}

static bool prices_same(
    const struct core *core, const struct live_pool *live, const struct prices *prices)
{
    const struct live_price *price = live->prices;
    const struct price_list *lists[] = {&prices->nodes, &prices->accelerators};
    for (int32_t of = 0; of < 2; of++) {
        for (size_t i = 0; i < lists[of]->count; i++, price = price->next) {
            const struct named_price *want = &lists[of]->items[i];
            if (!price || price->row.of != of || price->row.hour_micro != want->hour_micro ||
                price->row.name != symbol_find(core, want->name))
                return false;
        }
    }
    const struct pool_row *row = &live->row;
    return !price && row->cpu_hour_micro == prices->cpu_hour_micro &&
           row->memory_gib_hour_micro == prices->memory_gib_hour_micro &&
           row->disk_gib_hour_micro == prices->disk_gib_hour_micro &&
           row->currency == symbol_find(core, prices->currency);
}

static void prices_replace(struct core *core, struct live_pool *live, const struct prices *prices)
{
    for (struct live_price *price = live->prices, *next; price; price = next) {
        next = price->next;
        change_delete(core, &price->item);
    }
    live->prices = NULL;
    prices_add(core, live, 0, &prices->nodes);
    prices_add(core, live, 1, &prices->accelerators);
    live->row.currency = symbol_intern(core, prices->currency);
    live->row.cpu_hour_micro = prices->cpu_hour_micro;
    live->row.memory_gib_hour_micro = prices->memory_gib_hour_micro;
    live->row.disk_gib_hour_micro = prices->disk_gib_hour_micro;
}

static void node_label_add(
    struct core *core, struct live_node *live, int32_t effect, const char *key, const char *value)
{
    struct live_node_label *label = mem_alloc(1, sizeof *label);
    label->row.node = live->row.id;
    label->row.effect = effect;
    label->row.key = symbol_intern(core, key);
    label->row.value = symbol_intern(core, value);
    change_new(core, ROW_NODE_LABEL, &label->item);
    LIST_APPEND(live->labels, label, next);
}

static bool label_is(const struct core *core, const struct live_node_label *label, int32_t effect,
    const char *key, const char *value)
{
    return label && label->row.effect == effect && label->row.key == symbol_find(core, key) &&
           label->row.value == symbol_find(core, value);
}

static bool labels_same(
    const struct core *core, const struct live_node *live, const struct node *node)
{
    const struct live_node_label *label = live->labels;
    for (size_t i = 0; i < node->labels.count; i++, label = label->next) {
        if (!label_is(core, label, -1, node->labels.items[i].key, node->labels.items[i].value))
            return false;
    }
    for (size_t i = 0; i < node->taints.count; i++, label = label->next) {
        const struct taint *taint = &node->taints.items[i];
        if (!label_is(core, label, (int32_t)taint->effect, taint->key, taint->value))
            return false;
    }
    return label == NULL;
}

static void labels_replace(struct core *core, struct live_node *live, const struct node *node)
{
    if (labels_same(core, live, node))
        return;
    for (struct live_node_label *label = live->labels, *next; label; label = next) {
        next = label->next;
        change_delete(core, &label->item);
    }
    live->labels = NULL;
    for (size_t i = 0; i < node->labels.count; i++)
        node_label_add(core, live, -1, node->labels.items[i].key, node->labels.items[i].value);
    for (size_t i = 0; i < node->taints.count; i++) {
        const struct taint *taint = &node->taints.items[i];
        node_label_add(core, live, (int32_t)taint->effect, taint->key, taint->value);
    }
}

/* A taint of that effect puts out what does not tolerate it. */
static void taints_evict(struct core *core, struct live_node *live)
{
    bool executes = false;
    for (const struct live_node_label *label = live->labels; label; label = label->next)
        executes |= label->row.effect == TAINT_NO_EXECUTE;
    for (size_t i = 0; executes && i < live->placements.count; i++) {
        struct live_attempt *attempt = live->placements.items[i]->attempt;
        if (!fit_tolerates(attempt->job->shape, live, TAINT_NO_EXECUTE))
            attempt_stop(core, attempt, END_DRAINED, NULL);
    }
}

/* The pool is in another jurisdiction now: what has to be in the one before is put out. */
static void jurisdiction_evict(struct core *core, struct live_pool *live)
{
    for (size_t i = 0; i < live->nodes.count; i++) {
        struct live_node *node = live->nodes.items[i];
        claims_release_node(core, node);
        for (size_t p = 0; p < node->placements.count; p++) {
            struct live_attempt *attempt = node->placements.items[p]->attempt;
            uint32_t asks = attempt->job->shape->row.jurisdiction;
            if (asks && asks != live->row.jurisdiction)
                attempt_stop(core, attempt, END_DRAINED, NULL);
        }
    }
}

static void node_fill(struct core *core, struct node_row *row, const struct node *node)
{
    const struct resources *has = &node->capacity;
    row->type = symbol_intern(core, node->type);
    row->devices = (int32_t)(has->accelerator_milli / DEVICE_MILLI);
    row->accelerator = row->devices ? symbol_intern(core, has->accelerator) : 0;
    row->fractional = node->fractional;
    row->sockets = sockets_intern(core, node);
    row->cpu_milli = has->cpu_milli;
    row->memory_bytes = has->memory_bytes;
    row->disk_bytes = has->disk_bytes;
}

static void node_create(struct core *core, struct live_pool *pool, const struct node_spec *spec)
{
    struct live_node *live = mem_alloc(1, sizeof *live);
    live->pool = pool;
    live->row.pool = pool->row.id;
    live->row.name = symbol_intern(core, spec->name);
    live->row.since_ms = core->now_ms;
    node_fill(core, &live->row, spec->of);
    node_prepare(core, live);
    bool known = sockets_derive(core, live);
    assert(known);
    (void)known;
    change_new(core, ROW_NODE, &live->item);
    vec_push(&pool->nodes, live);
    idmap_put(&core->nodes_by_name, pool->row.id << 32 | live->row.name, live);
    labels_replace(core, live, spec->of);
    capacity_count(core, live, 1);
}

static void node_update(struct core *core, struct live_node *live, const struct node *node)
{
    struct node_row row = live->row;
    node_fill(core, &row, node);
    if (row.leaving) {
        row.leaving = 0;
        row.cordoned = row.draining;
    }
    bool same = row_same(row_type(ROW_NODE), &row, &live->row) && labels_same(core, live, node);
    if (same)
        return;
    claims_release_node(core, live);
    charge_split(core, live);
    row.since_ms = live->row.since_ms;
    if (live->row.state == NODE_UP)
        capacity_count(core, live, -1);
    live->row = row;
    bool known = sockets_derive(core, live);
    assert(known);
    (void)known;
    live->resource = row.accelerator ? resource_of_type(core, row.accelerator) : -1;
    node_room_derive(live);
    if (live->row.state == NODE_UP)
        capacity_count(core, live, 1);
    labels_replace(core, live, node);
    taints_evict(core, live);
    change_put(core, &live->item);
}

static void nodes_leave(struct core *core, struct live_pool *live, const node_specs *specs)
{
    struct idmap named = {0};
    for (size_t i = 0; i < specs->count; i++)
        idmap_put(&named, symbol_find(core, specs->items[i].name), live);
    for (size_t i = live->nodes.count; i-- > 0;) {
        struct live_node *node = live->nodes.items[i];
        if (idmap_get(&named, node->row.name))
            continue;
        claims_release_node(core, node);
        node->row.leaving = 1;
        node->row.cordoned = 1;
        change_put(core, &node->item);
        node_vanish_if_left(core, node);
    }
    idmap_finish(&named);
}

static struct live_pool *pool_create(struct core *core, const struct pool *pool)
{
    struct live_pool *live = mem_alloc(1, sizeof *live);
    live->row.name = symbol_intern(core, pool->metadata.name);
    change_new(core, ROW_POOL, &live->item);
    idmap_put(&core->pools_by_name, live->row.name, live);
    return live;
}

static void pool_apply(
    struct core *core, struct live_pool *live, const struct pool *pool, const node_specs *specs)
{
    usage_settle_all(core);
    live->row.engine = (int32_t)pool->engine;
    uint32_t jurisdiction = symbol_intern(core, pool->jurisdiction);
    bool moves = jurisdiction != live->row.jurisdiction;
    live->row.jurisdiction = jurisdiction;
    if (moves)
        jurisdiction_evict(core, live);
    spot_pool_settle(core, live);
    live->row.spot = pool->spot;
    live->row.site = symbol_intern(core, pool->site);
    live->row.link_bytes = pool->link_bytes;
    live->row.egress_gib_micro = pool->prices.egress_gib_micro;
    live->row.keep_ms = pool->keep_inputs_ms;
    live->row.partial = pool->partial;
    copies_index(core);
    burst_pool_put(core, live, &pool->burst);
    if (!prices_same(core, live, &pool->prices)) {
        for (size_t i = 0; i < live->nodes.count; i++)
            charge_split(core, live->nodes.items[i]);
        prices_replace(core, live, &pool->prices);
    }
    change_put(core, &live->item);
    for (size_t i = 0; i < specs->count; i++) {
        struct live_node *node = node_named(core, live, symbol_find(core, specs->items[i].name));
        if (node)
            node_update(core, node, specs->items[i].of);
        else
            node_create(core, live, &specs->items[i]);
    }
    nodes_leave(core, live, specs);
    if (topology_put(core, live, pool))
        for (size_t i = 0; i < live->nodes.count; i++)
            claims_release_node(core, live->nodes.items[i]);
    topology_derive(live);
    topology_changed(core);
}

int core_pool_put(struct core *core, const struct pool *pool, struct error *err)
{
    assert(pool);
    node_specs specs = {0};
    SCOPED(arena_scope) struct arena *arena = arena_create();
    uint64_t last_symbol = core->tables[ROW_SYMBOL].last_id;
    size_t types = core->accelerator_types.count;
    int rc = check_pool(pool, err);
    struct live_pool *live =
        rc == 0 ? idmap_get(&core->pools_by_name, symbol_find(core, pool->metadata.name)) : NULL;
    if (rc == 0)
        rc = unfold(pool, arena, &specs, err);
    if (rc == 0)
        rc = check_changes(core, live, &specs, err);
    if (rc < 0) {
        core->accelerator_types.count = types;
        symbol_sweep(core, last_symbol);
        vec_free(&specs);
        return -1;
    }
    if (!live)
        live = pool_create(core, pool);
    pool_apply(core, live, pool, &specs);
    decide(core, (struct core_decision){.kind = DECISION_POOL_PUT, .pool = live->row.id});
    vec_free(&specs);
    return 0;
}

int core_pool_delete(struct core *core, const char *name, struct error *err)
{
    struct live_pool *live = idmap_get(&core->pools_by_name, symbol_find(core, name));
    if (!live)
        return error_set(err, ERR_NOT_FOUND, "there is no pool %.64s", name ? name : "");
    for (size_t i = 0; i < live->nodes.count; i++) {
        if (live->nodes.items[i]->placements.count)
            return error_set(err, ERR_CONFLICT, "node %s/%s holds attempts", name,
                core_symbol(core, live->nodes.items[i]->row.name));
    }
    decide(core, (struct core_decision){.kind = DECISION_POOL_DELETE, .pool = live->row.id});
    while (live->nodes.count)
        node_vanish(core, live->nodes.items[live->nodes.count - 1]);
    for (struct live_price *price = live->prices; price; price = price->next)
        change_delete(core, &price->item);
    topology_drop(core, live);
    core->burst_pools -= live->row.burst_budget_micro > 0;
    vec_free(&live->nodes);
    idmap_remove(&core->pools_by_name, live->row.name);
    change_retire(core, &live->item);
    topology_changed(core);
    copies_index(core); /* of its site, which may be nobody's now */
    return 0;
}

const struct pool_row *core_pool(const struct core *core, uint64_t id)
{
    const struct item *item = table_find(core, ROW_POOL, id);
    return item ? &((const struct live_pool *)item)->row : NULL;
}

uint64_t core_pool_find(const struct core *core, const char *name)
{
    const struct live_pool *pool = idmap_get(&core->pools_by_name, symbol_find(core, name));
    return pool ? pool->row.id : 0;
}

const struct node_row *core_node(const struct core *core, uint64_t id)
{
    const struct item *item = table_find(core, ROW_NODE, id);
    return item ? &((const struct live_node *)item)->row : NULL;
}
