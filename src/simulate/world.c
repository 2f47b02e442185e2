/* The core and its machines. Nodes are put in the order of the cluster, so that what ties leave
 * open goes by that order. */
#include "simulate/world.h"

#include "simulate/run.h"

#include <stdlib.h>
#include <string.h>

#define LABEL_TYPE   "accelerator" /* of nodes: the type of their devices */
#define TEAM_UNNAMED "trace"
#define CURRENCY     "USD"

enum { TYPES_LISTED_MAX = 64, TEAMS_MAX = 100000 };

/* ---- machines -------------------------------------------------------------------------- */

static void node_spec(struct arena *arena, const struct trace_node *from, struct node *to)
{
    size_t count = from->label_count + (from->accelerator != NULL);
    struct label *labels = arena_alloc(arena, count + 1, sizeof *labels);
    for (size_t i = 0; i < from->label_count; i++)
        labels[i] = (struct label){from->labels[i].key, from->labels[i].value};
    if (from->accelerator)
        labels[from->label_count] = (struct label){LABEL_TYPE, from->accelerator};
    *to = (struct node){.name = from->name,
        .count = 1,
        .type = from->type,
        .capacity = {.cpu_milli = from->cpu_milli,
            .memory_bytes = from->memory_bytes,
            .accelerator = from->accelerator,
            .accelerator_milli = (int64_t)from->devices * 1000},
        .fractional = from->fractional,
        .labels = {labels, count}};
}

static bool price_known(const struct pool *pool, const char *type)
{
    for (size_t i = 0; i < pool->prices.nodes.count; i++) {
        if (strcmp(pool->prices.nodes.items[i].name, type) == 0)
            return true;
    }
    return false;
}

/* The price of a node type is that of its first node. */
static void price_add(struct pool *pool, const struct trace_node *node)
{
    if (node->hour_micro && node->type && !price_known(pool, node->type))
        pool->prices.nodes.items[pool->prices.nodes.count++] =
            (struct named_price){node->type, node->hour_micro};
}

static int pool_put(struct world *world, bool spot, const char *name, struct error *err)
{
    size_t all = world->cluster->nodes.count;
    struct arena *arena = world->arena;
    struct pool pool = {.metadata = {.name = name},
        .engine = ENGINE_SLURM,
        .spot = spot,
        .prices = {.currency = CURRENCY}};
    pool.nodes.items = arena_alloc(arena, all + 1, sizeof *pool.nodes.items);
    pool.prices.nodes.items = arena_alloc(arena, all + 1, sizeof *pool.prices.nodes.items);
    for (size_t i = 0; i < all; i++) {
        const struct trace_node *node = &world->cluster->nodes.items[i];
        if (node->spot != spot)
            continue;
        world->nodes[i].pool = name;
        node_spec(arena, node, &pool.nodes.items[pool.nodes.count++]);
        price_add(&pool, node);
    }
    int failed = pool.nodes.count ? core_pool_put(world->core, &pool, err) : 0;
    arena_reset(arena);
    return failed;
}

static void node_found(void *context, enum row_kind kind, const void *row)
{
    (void)kind;
    struct world *world = context;
    const struct node_row *node = row;
    struct world_node *mine = strmap_get(&world->by_name, core_symbol(world->core, node->name));
    assert(mine);
    mine->id = node->id;
    idmap_put(&world->by_id, node->id, mine);
}

static void nodes_init(struct world *world)
{
    size_t count = world->cluster->nodes.count;
    world->nodes = mem_alloc(count + 1, sizeof *world->nodes);
    for (size_t i = 0; i < count; i++) {
        const struct trace_node *of = &world->cluster->nodes.items[i];
        struct world_node *node = &world->nodes[i];
        *node = (struct world_node){.of = of, .up = true};
        node->free = (struct fragment_node){
            .cpu_milli = of->cpu_milli, .devices = of->devices, .accelerator = of->accelerator};
        for (int32_t d = 0; d < of->devices; d++)
            node->free.device_milli[d] = 1000;
        strmap_put(&world->by_name, of->name, node);
        world->cpu_milli += of->cpu_milli;
    }
    world->accelerator_milli = trace_cluster_accelerator_milli(world->cluster);
}

static int core_fill(struct world *world, struct error *err)
{
    if (core_load_end(world->core, err) < 0)
        return -1;
    core_begin(world->core, RUN_EPOCH_MS);
    if (pool_put(world, false, "trace", err) < 0 || pool_put(world, true, "spot", err) < 0)
        return -1;
    core_row_each(world->core, ROW_NODE, node_found, world);
    core_end(world->core);
    return 0;
}

int world_init(struct world *world, const struct trace_cluster *cluster,
    const struct core_options *options, struct error *err)
{
    *world = (struct world){.cluster = cluster};
    world->arena = arena_create();
    world->core = core_create(options);
    nodes_init(world);
    if (core_fill(world, err) == 0)
        return 0;
    world_finish(world);
    return -1;
}

void world_finish(struct world *world)
{
    core_destroy(world->core);
    free(world->nodes);
    idmap_finish(&world->by_id);
    strmap_finish(&world->by_name);
    strmap_finish(&world->teams);
    arena_destroy(world->arena);
    *world = (struct world){0};
}

/* ---- jobs ------------------------------------------------------------------------------ */

static int team_need(struct world *world, const char *name, struct error *err)
{
    if (strmap_get(&world->teams, name))
        return 0;
    if (world->teams.count >= TEAMS_MAX)
        return error_set(err, ERR_TOO_LARGE, "the trace has more than %d teams", TEAMS_MAX);
    struct team team = {.metadata = {.name = name},
        .weight_micro = 1000 * 1000,
        .borrow = true,
        .uid = -1,
        .jobs_max = INT64_C(1000) * 1000 * 1000};
    if (core_team_put(world->core, &team, err) < 0)
        return -1;
    strmap_put(&world->teams, name, world);
    return 0;
}

/* Several types are a condition on the label of nodes, a single one is said as it is. */
static void ask_types(struct arena *arena, const char *types, struct job *job)
{
    if (!*types)
        return;
    if (!strchr(types, '|') && job->resources.accelerator_milli) {
        job->resources.accelerator = types;
        return;
    }
    struct node_requirement *require = arena_alloc(arena, 1, sizeof *require);
    const char **values = arena_alloc(arena, TYPES_LISTED_MAX, sizeof *values);
    *require = (struct node_requirement){LABEL_TYPE, LABEL_IN, {values, 0}};
    for (const char *at = types; *at && require->values.count < TYPES_LISTED_MAX;) {
        size_t length = strcspn(at, "|");
        values[require->values.count++] = arena_strndup(arena, at, length);
        at += length + (at[length] == '|');
    }
    job->placement.require.items = require;
    job->placement.require.count = 1;
}

/* "j" and the number: printf is a hundredth of a run. */
static const char *job_name(struct arena *arena, uint64_t number)
{
    enum { DIGITS_MAX = 20 };
    char *name = arena_alloc(arena, DIGITS_MAX + 2, 1);
    char *at = name + DIGITS_MAX + 1;
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    *--at = 'j';
    return at;
}

int world_submit(struct world *world, const struct trace_job *from, bool deadline, uint64_t *ret_id,
    struct error *err)
{
    static const char *command[] = {"true"};
    const char *team = *from->team ? from->team : TEAM_UNNAMED;
    if (team_need(world, team, err) < 0)
        return -1;
    arena_reset(world->arena);
    struct job job = {
        .metadata = {.name = job_name(world->arena, from->number), .team = team},
        .command = {command, 1},
        .gang = {from->ranks, from->ranks_min, from->ranks_max},
        .resources = {.cpu_milli = from->cpu_milli,
            .memory_bytes = from->memory_bytes,
            .accelerator_milli = from->accelerator_milli},
        .priority = from->priority,
        .preemptible = from->preemptible,
        .preemptions_max = -1,
        .deadline_ms = deadline && from->deadline_ms ? RUN_EPOCH_MS + from->deadline_ms : 0,
        .duration_ms = from->duration_ms,
        .checkpoint = {.interval_ms = from->checkpoint_ms > 0 ? from->checkpoint_ms : 0,
            .restart_ms = world->restart_ms,
            .on_stop = from->checkpoint_ms == 0},
        .retries = {.limit = 1000000}, /* a lost node uses one, and is no fault of the job */
    };
    ask_types(world->arena, from->accelerators, &job);
    return core_job_submit(world->core, &job, ret_id, err);
}

/* ---- what is free ---------------------------------------------------------------------- */

struct places_read {
    const struct world *world;
    struct world_places *places;
};

static void place_read(void *context, enum row_kind kind, const void *row)
{
    (void)kind;
    const struct places_read *read = context;
    const struct placement_row *placement = row;
    struct world_place place = {.node = idmap_get(&read->world->by_id, placement->node),
        .devices = placement->devices,
        .device_milli = (int32_t)placement->device_milli,
        .ranks = placement->ranks};
    assert(place.node);
    vec_push(&read->places->items, place);
}

void world_places_read(const struct world *world, uint64_t attempt, struct world_places *places)
{
    struct places_read read = {world, places};
    vec_clear(&places->items);
    core_placement_each(world->core, attempt, place_read, &read);
}

void world_hold(const struct world_places *places, int64_t cpu_milli, int sign)
{
    for (size_t i = 0; i < places->items.count; i++) {
        const struct world_place *place = &places->items.items[i];
        struct fragment_node *free = &place->node->free;
        free->cpu_milli += sign * cpu_milli * place->ranks;
        for (uint64_t left = place->devices; left; left &= left - 1) {
            int16_t *milli = &free->device_milli[__builtin_ctzll(left)];
            *milli = (int16_t)(*milli + sign * place->device_milli);
            assert(*milli >= 0 && *milli <= 1000);
        }
    }
}

int64_t world_fragmented_micro(const struct world *world, const struct fragment_mix *mix)
{
    int64_t micro = 0;
    for (size_t i = 0; i < world->cluster->nodes.count; i++) {
        if (world->nodes[i].up)
            micro += fragment_micro(mix, &world->nodes[i].free);
    }
    return micro;
}
