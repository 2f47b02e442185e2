/* Topology: the levels of a pool and the domains of its nodes.
 *
 * Domains are numbered in the order in which the pool's nodes, by id, come to them, level by level:
 * a domain is known by the domain around it and the value of its own label. Invariant: the numbers
 * follow from the rows alone, so they are the same after loading. A node that lacks a label is from
 * that level on in domains of its own, which no shape that requires the level may use.
 *
 * How a gang is spread over domains is in domain.c. */
#include "core/topology.h"
#include "core/limits.h"
#include "core/pool.h"
#include "core/shape.h"
#include "core/socket.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/symbol.h"
#include "core/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LEVEL_NODE "node"

/* ---- domains ----------------------------------------------------------------------------- */

static uint32_t label_value(const struct live_node *node, uint32_t key)
{
    for (const struct live_node_label *label = node->labels; label; label = label->next) {
        if (label->row.effect < 0 && label->row.key == key)
            return label->row.value;
    }
    return 0;
}

static void node_domain(
    struct live_node *node, const struct live_level *level, int32_t at, struct idmap *domains)
{
    uint32_t *count = &node->pool->domain_count[at];
    uint32_t value = label_value(node, level->row.label);
    bool known = node->domains_known == at && value != 0;
    uint64_t around = at ? node->domains[at - 1] + 1 : 0;
    uint64_t key = around << 32 | value;
    void *number = known ? idmap_get(domains, key) : NULL;
    node->domains_known += known;
    node->domains[at] = number ? (uint32_t)(uintptr_t)number - 1 : (*count)++;
    if (known && !number)
        idmap_put(domains, key, (void *)(uintptr_t)(node->domains[at] + 1));
}

void topology_derive(struct live_pool *pool)
{
    int32_t at = 0;
    for (size_t i = 0; i < pool->nodes.count; i++)
        pool->nodes.items[i]->domains_known = 0;
    for (const struct live_level *level = pool->levels; level; level = level->next, at++) {
        struct idmap domains = {0};
        pool->domain_count[at] = 0;
        for (size_t i = 0; i < pool->nodes.count; i++)
            node_domain(pool->nodes.items[i], level, at, &domains);
        idmap_finish(&domains);
    }
}

/* ---- levels of a pool -------------------------------------------------------------------- */

static const char *level_label(const struct topology_level *level)
{
    return level->label ? level->label : level->name;
}

int topology_check(const struct pool *pool, struct error *err)
{
    if (pool->levels.count > LEVELS_MAX)
        return error_set(
            err, ERR_TOO_LARGE, "spec.topology.levels: more than %d levels", LEVELS_MAX);
    for (size_t i = 0; i < pool->levels.count; i++) {
        const struct topology_level *level = &pool->levels.items[i];
        if (!level->name || !*level->name || strcmp(level->name, LEVEL_NODE) == 0 ||
            strcmp(level->name, LEVEL_SOCKET) == 0 || level->nodes < 0)
            return error_set(err, ERR_INVALID,
                "spec.topology.levels: expected names other than node and socket, and nodes >= 0");
        if (symbol_check(level->name, "spec.topology.levels", err) < 0 ||
            symbol_check(level->label, "spec.topology.levels", err) < 0)
            return -1;
    }
    return 0;
}

static bool levels_same(
    const struct core *core, const struct live_pool *live, const struct pool *pool)
{
    const struct live_level *level = live->levels;
    for (size_t i = 0; i < pool->levels.count; i++, level = level->next) {
        const struct topology_level *want = &pool->levels.items[i];
        if (!level || level->row.name != symbol_find(core, want->name) ||
            level->row.label != symbol_find(core, level_label(want)))
            return false;
    }
    return level == NULL;
}

void topology_drop(struct core *core, struct live_pool *live)
{
    for (struct live_level *level = live->levels, *next; level; level = next) {
        next = level->next;
        change_delete(core, &level->item);
    }
    live->levels = NULL;
    live->level_count = 0;
}

bool topology_put(struct core *core, struct live_pool *live, const struct pool *pool)
{
    if (levels_same(core, live, pool))
        return false;
    topology_drop(core, live);
    for (size_t i = 0; i < pool->levels.count; i++) {
        struct live_level *level = mem_alloc(1, sizeof *level);
        level->row.pool = live->row.id;
        level->row.name = symbol_intern(core, pool->levels.items[i].name);
        level->row.label = symbol_intern(core, level_label(&pool->levels.items[i]));
        change_new(core, ROW_LEVEL, &level->item);
        LIST_APPEND(live->levels, level, next);
        live->level_count++;
    }
    return true;
}

static bool has_label(const struct node *node, const char *key)
{
    for (size_t i = 0; i < node->labels.count; i++) {
        if (strcmp(node->labels.items[i].key, key) == 0)
            return true;
    }
    return false;
}

const struct node *topology_label(
    struct arena *arena, const struct pool *pool, const struct node *node, int64_t index)
{
    struct label made[LEVELS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < pool->levels.count && node->count > 1; i++) {
        const struct topology_level *level = &pool->levels.items[i];
        if (!level->nodes || has_label(node, level_label(level)))
            continue;
        made[count].key = level_label(level);
        made[count++].value = arena_printf(
            arena, "%s-%s-%" PRId64, node->name, level->name, (index - 1) / level->nodes + 1);
    }
    if (!count)
        return node;
    struct node *own = arena_alloc(arena, 1, sizeof *own);
    *own = *node;
    own->labels.count = node->labels.count + count;
    own->labels.items = arena_alloc(arena, own->labels.count, sizeof *own->labels.items);
    for (size_t i = 0; i < own->labels.count; i++)
        own->labels.items[i] =
            i < node->labels.count ? node->labels.items[i] : made[i - node->labels.count];
    return own;
}

/* ---- what shapes ask for ----------------------------------------------------------------- */

int32_t topology_level(
    const struct core *core, const struct live_pool *pool, const struct live_shape *shape)
{
    int32_t at = 0;
    for (const struct live_level *level = pool->levels; level; level = level->next, at++) {
        if (level->row.name == shape->row.within)
            return at;
    }
    /* A gang within a socket is within a node; socket.c sees to the rest. */
    const char *within = core_symbol(core, shape->row.within);
    return strcmp(within, LEVEL_NODE) == 0 || strcmp(within, LEVEL_SOCKET) == 0 ? at : LEVEL_NONE;
}

bool topology_matches(
    const struct core *core, const struct live_shape *shape, const struct live_node *node)
{
    if (shape->row.topology != WISH_REQUIRED)
        return true;
    int32_t level = topology_level(core, node->pool, shape);
    return level == node->pool->level_count || (level >= 0 && level < node->domains_known);
}

/* The number of the domain that a node is in at a level of its pool. */
static uint64_t domain_at(const struct live_node *node, int32_t level)
{
    return level < node->pool->level_count ? node->domains[level] : node->row.id;
}

bool topology_same(const struct core *core, const struct live_shape *shape,
    const struct live_node *a, const struct live_node *b)
{
    if (shape->row.topology != WISH_REQUIRED || a == b)
        return true;
    int32_t level = topology_level(core, a->pool, shape);
    return a->pool == b->pool && domain_at(a, level) == domain_at(b, level);
}

struct order {
    const struct core *core;
    const struct live_shape *shape;
};

static int by_domain(const void *a, const void *b, const void *context)
{
    const struct live_node *left = a, *right = b;
    const struct order *in = context;
    int order = compare_u64(left->row.pool, right->row.pool);
    if (order)
        return order;
    int32_t level = topology_level(in->core, left->pool, in->shape);
    order = compare_u64(domain_at(left, level), domain_at(right, level));
    return order ? order : compare_u64(left->row.id, right->row.id);
}

void topology_sort(
    const struct core *core, const struct live_shape *shape, struct live_node **nodes, size_t count)
{
    struct order order = {core, shape};
    sort_pointers((void **)nodes, count, by_domain, &order);
}

/* ---- what can never be ------------------------------------------------------------------- */

static void largest_of(const struct core *core, const struct live_pool *pool,
    const struct live_shape *shape, int64_t ranks, bool open, struct topology_largest *ret)
{
    int32_t level = topology_level(core, pool, shape);
    bool nodes = level == pool->level_count;
    SCOPED(mem_scope)
    int64_t *sums = mem_alloc(nodes || level < 0 ? 1 : pool->domain_count[level] + 1, sizeof *sums);
    for (size_t i = 0; i < pool->nodes.count; i++) {
        const struct live_node *node = pool->nodes.items[i];
        bool counts = open ? node_takes_work(node) : !node->row.leaving;
        if (!counts || !fit_suits(core, shape, node))
            continue;
        int64_t *sum = &sums[nodes ? 0 : node->domains[level]];
        int64_t here = fit_idle_ranks(&shape->row, node, (int32_t)ranks);
        if (shape->socket)
            here = least(here, sockets_ranks(node, &shape->row, true));
        *sum = (nodes ? 0 : *sum) + here;
        if (!ret->node || *sum > ret->ranks)
            *ret = (struct topology_largest){node, *sum};
    }
}

void topology_largest(const struct core *core, const struct live_shape *shape, int64_t ranks,
    bool open, struct topology_largest *ret)
{
    *ret = (struct topology_largest){0};
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool) {
        if (topology_level(core, pool, shape) != LEVEL_NONE)
            largest_of(core, pool, shape, ranks, open, ret);
    }
}

const char *topology_domain(
    const struct core *core, const struct live_node *node, const struct live_shape *shape)
{
    int32_t at = topology_level(core, node->pool, shape);
    const struct live_level *level = node->pool->levels;
    for (int32_t i = 0; i < at && level; i++)
        level = level->next;
    return core_symbol(core, level ? label_value(node, level->row.label) : node->row.name);
}

/* Ranks, or the accelerators that they ask for. */
static int64_t counted(const struct live_shape *shape, int64_t ranks)
{
    int64_t milli = shape->row.accelerator_milli;
    return milli >= DEVICE_MILLI ? ranks * milli / DEVICE_MILLI : ranks;
}

void topology_shortage(const struct core *core, const struct live_shape *shape, int64_t ranks,
    struct topology_shortage *ret)
{
    struct topology_largest largest;
    topology_largest(core, shape, ranks, false, &largest);
    *ret = (struct topology_shortage){
        .level = core_symbol(core, shape->row.within),
        .domain = largest.node ? topology_domain(core, largest.node, shape) : NULL,
        .what = shape->row.accelerator_milli >= DEVICE_MILLI ? "accelerators" : "ranks",
        .need = counted(shape, ranks),
        .largest = counted(shape, largest.ranks),
    };
}

/* Whether an earlier pool, or the pool itself before, has a level of that name. */
static bool named_before(const struct core *core, const struct live_level *level)
{
    TABLE_EACH (core, ROW_LEVEL, struct live_level, other) {
        if (other == level)
            return false;
        if (other->row.name == level->row.name)
            return true;
    }
    return false;
}

void topology_names(const struct core *core, char *out, size_t size)
{
    size_t length = 0;
    out[0] = '\0';
    TABLE_EACH (core, ROW_LEVEL, struct live_level, level) {
        if (named_before(core, level))
            continue;
        int more =
            snprintf(out + length, size - length, "%.64s, ", core_symbol(core, level->row.name));
        if (more < 0 || (size_t)more >= size - length)
            break;
        length += (size_t)more;
    }
    snprintf(out + length, size - length, "%s, %s", LEVEL_NODE, LEVEL_SOCKET);
}
