/* The table of Pool: capacity at one site, run by one engine, with its prices. */
#include "base/sockets.h"
#include "spec/tables.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off: a field is a paragraph, not a column */

enum { NODES_MAX = 65536, TOPOLOGY_LEVELS_MAX = 8 };

static const struct field_word engine_words[] = {
    {"local", ENGINE_LOCAL, "this machine"},
    {"slurm", ENGINE_SLURM, "a Slurm cluster, through slurmrestd"},
    {"kubernetes", ENGINE_KUBERNETES, "a Kubernetes cluster"},
    {NULL},
};

static const struct field_word taint_words[] = {
    {"noSchedule", TAINT_NO_SCHEDULE, "nothing new is placed there"},
    {"noExecute", TAINT_NO_EXECUTE, "what runs there is stopped, too"},
    {NULL},
};

static const struct field taint_fields[] = {
    {.name = "key",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_label_key,
        .offset = offsetof(struct taint, key),
        .doc = "Its name."},
    {.name = "value",
        .type = FIELD_TEXT,
        .rule = &rule_label_value,
        .offset = offsetof(struct taint, value),
        .doc = "What tolerations may ask for."},
    {.name = "effect",
        .type = FIELD_ENUM,
        .words = taint_words,
        .fallback = TAINT_NO_SCHEDULE,
        .offset = offsetof(struct taint, effect),
        .doc = "What it keeps away."},
};
static const struct field_table taint_table = FIELD_TABLE("Taint", struct taint, taint_fields,
    .shorthand = "key", .doc = "Keeps jobs away that do not tolerate it.");

static const struct field devices_fields[] = {
    {.name = "type",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_resource,
        .offset = offsetof(struct resources, accelerator),
        .doc = "Such as `a100`."},
    {.name = "count",
        .type = FIELD_MILLI,
        .flags = FIELD_REQUIRED,
        .min = 1000,
        .max = 1024 * 1000,
        .multiple = 1000,
        .offset = offsetof(struct resources, accelerator_milli),
        .doc = "Whole devices."},
};
static const struct field_table devices_table = FIELD_TABLE("NodeAccelerators", struct resources,
    devices_fields, .doc = "The accelerators of a node, all of one type.");

static const struct field node_fields[] = {
    {.name = "name",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_name,
        .offset = offsetof(struct node, name),
        .doc = "Unique in the pool. With a count above 1, nodes are named `name-1` and so on."},
    {.name = "count",
        .type = FIELD_INT,
        .fallback = 1,
        .min = 1,
        .max = 10000,
        .offset = offsetof(struct node, count),
        .doc = "How many such nodes there are."},
    {.name = "type",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .offset = offsetof(struct node, type),
        .doc = "The node type: jobs may ask for it, and prices refer to it."},
    {.name = "cpu",
        .type = FIELD_MILLI,
        .max = 4096 * 1000,
        .offset = offsetof(struct node, capacity.cpu_milli),
        .doc = "CPUs. 0 in a local pool: what the machine has."},
    {.name = "memory",
        .type = FIELD_BYTES,
        .max = 1LL << 48,
        .offset = offsetof(struct node, capacity.memory_bytes),
        .doc = "Memory. 0 in a local pool: what the machine has."},
    {.name = "disk",
        .type = FIELD_BYTES,
        .max = 1LL << 54,
        .offset = offsetof(struct node, capacity.disk_bytes),
        .doc = "Room for jobs' files."},
    {.name = "accelerators",
        .type = FIELD_OBJECT,
        .table = &devices_table,
        .offset = offsetof(struct node, capacity),
        .also = "gpu gpus",
        .doc = "The accelerators of each node."},
    {.name = "fractional",
        .type = FIELD_BOOL,
        .offset = offsetof(struct node, fractional),
        .doc = "Whether a device may be shared by several jobs."},
    {.name = "sockets",
        .type = FIELD_TEXTS,
        .max = SOCKETS_MAX,
        .offset = offsetof(struct node, sockets),
        .doc =
            "Which accelerators share a socket, or a link: a list such as `0-3` for each. A local "
            "node that says nothing of its accelerators: as the machine has them."},
    {.name = "labels",
        .type = FIELD_MAP,
        .table = &label_table,
        .max = LABELS_MAX,
        .offset = offsetof(struct node, labels),
        .doc = "Labels that jobs may require."},
    {.name = "taints",
        .type = FIELD_OBJECTS,
        .table = &taint_table,
        .max = 16,
        .offset = offsetof(struct node, taints),
        .doc = "What keeps jobs away."},
};
static const struct field_table node_table =
    FIELD_TABLE("Node", struct node, node_fields, .doc = "A node, or several alike.");

static const struct field level_fields[] = {
    {.name = "name",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_name,
        .offset = offsetof(struct topology_level, name),
        .doc = "What jobs call it, such as `rack`."},
    {.name = "label",
        .type = FIELD_TEXT,
        .rule = &rule_label_key,
        .fallback_doc = "`name`",
        .offset = offsetof(struct topology_level, label),
        .doc = "The label of nodes whose value is the domain. A domain lies within one of the "
               "level before: two racks of one name in two blocks are two racks."},
    {.name = "nodes",
        .type = FIELD_INT,
        .max = 10000,
        .offset = offsetof(struct topology_level, nodes),
        .doc = "For nodes with a count that lack the label: so many in a row share a domain. 0: "
               "nodes without the label are in no domain of the level."},
};
static const struct field_table level_table = FIELD_TABLE("TopologyLevel", struct topology_level,
    level_fields, .shorthand = "name", .doc = "A level: racks, say, or NVLink domains.");

static const struct field pool_topology_fields[] = {
    {.name = "levels",
        .type = FIELD_OBJECTS,
        .table = &level_table,
        .max = TOPOLOGY_LEVELS_MAX,
        .offset = offsetof(struct pool, levels),
        .doc = "From the outermost to the innermost; `node` is always the last and not named."},
};
static const struct field_table pool_topology_table = FIELD_TABLE("PoolTopology", struct pool,
    pool_topology_fields, .doc = "Which nodes are near to each other.");

static const struct field price_fields[] = {
    {.name = "name",
        .type = FIELD_TEXT,
        .rule = &rule_resource,
        .offset = offsetof(struct named_price, name),
        .doc = "A type."},
    {.name = "price",
        .type = FIELD_MICRO,
        .max = 1000000000000,
        .offset = offsetof(struct named_price, hour_micro),
        .doc = "Its price an hour."},
};
static const struct field_table price_table = FIELD_TABLE(
    "NamedPrice", struct named_price, price_fields, .pair = true, .doc = "Prices an hour by type.");

static const struct field prices_fields[] = {
    {.name = "currency",
        .type = FIELD_TEXT,
        .rule = &rule_currency,
        .fallback_text = "EUR",
        .offset = offsetof(struct prices, currency),
        .doc = "Of all prices here (ISO 4217)."},
    {.name = "nodes",
        .type = FIELD_MAP,
        .table = &price_table,
        .offset = offsetof(struct prices, nodes),
        .doc = "By node type: a whole node for an hour. A job pays the share of the resource of "
               "which it holds most. Nodes of such a type have no other price."},
    {.name = "cpu",
        .type = FIELD_MICRO,
        .max = 1000000000000,
        .offset = offsetof(struct prices, cpu_hour_micro),
        .doc = "A CPU for an hour."},
    {.name = "memoryGiB",
        .type = FIELD_MICRO,
        .max = 1000000000000,
        .offset = offsetof(struct prices, memory_gib_hour_micro),
        .doc = "A GiB for an hour."},
    {.name = "diskGiB",
        .type = FIELD_MICRO,
        .max = 1000000000000,
        .offset = offsetof(struct prices, disk_gib_hour_micro),
        .doc = "A GiB for an hour."},
    {.name = "accelerators",
        .type = FIELD_MAP,
        .table = &price_table,
        .offset = offsetof(struct prices, accelerators),
        .doc = "By accelerator type: a whole device for an hour."},
    {.name = "egressGiB",
        .type = FIELD_MICRO,
        .max = 1000000000000,
        .offset = offsetof(struct prices, egress_gib_micro),
        .doc = "A GiB of data that leaves its site for another. Where pools of a site differ: the "
               "highest."},
};
static const struct field_table prices_table =
    FIELD_TABLE("Prices", struct prices, prices_fields, .doc = "What a pool's resources cost.");

#define KEEP_INPUTS_MS  ((int64_t)10 * 60 * 1000)
#define BURST_AFTER_MS  ((int64_t)10 * 60 * 1000)
#define BURST_PERIOD_MS ((int64_t)30 * 24 * 3600 * 1000)

static const struct field burst_fields[] = {
    {.name = "after",
        .type = FIELD_DURATION,
        .fallback = BURST_AFTER_MS,
        .max = (int64_t)30 * 24 * 3600 * 1000,
        .offset = offsetof(struct pool, burst.after_ms),
        .doc = "A job comes here when it would wait for longer than this for the other pools: what "
               "it has waited, and what is foreseen."},
    {.name = "budget",
        .type = FIELD_MICRO,
        .max = 1000000000000000,
        .offset = offsetof(struct pool, burst.budget_micro),
        .doc = "What all jobs that come so may cost in a period, in the currency of its prices. A "
               "job counts with its whole time limit until it has ended. 0: there is no policy, "
               "and the pool is as others."},
    {.name = "period",
        .type = FIELD_DURATION,
        .fallback = BURST_PERIOD_MS,
        .min = 60 * 1000,
        .max = (int64_t)366 * 24 * 3600 * 1000,
        .offset = offsetof(struct pool, burst.period_ms),
        .doc = "How long the budget is for; then it begins anew."},
};
static const struct field_table burst_table = FIELD_TABLE(
    "Burst", struct pool, burst_fields, .doc = "When jobs may come to a pool that costs extra.");

/* Whether a and b, one of which may stand for several nodes, share a node's name. */
static bool names_overlap(const struct node *a, const struct node *b)
{
    if (a->count == 1 && b->count == 1)
        return strcmp(a->name, b->name) == 0;
    if (a->count > 1 && b->count > 1)
        return strcmp(a->name, b->name) == 0;
    const struct node *many = a->count > 1 ? a : b, *one = a->count > 1 ? b : a;
    size_t length = strlen(many->name);
    if (strncmp(one->name, many->name, length) != 0 || one->name[length] != '-')
        return false;
    const char *digits = one->name + length + 1;
    char *end;
    long number = strtol(digits, &end, 10);
    return *digits >= '1' && *digits <= '9' && *end == '\0' && number <= many->count;
}

static void check_node_names(struct field_reader *reader, const struct node_list *nodes)
{
    for (size_t i = 0; i < nodes->count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (!names_overlap(&nodes->items[i], &nodes->items[j]))
                continue;
            char path[40];
            snprintf(path, sizeof path, "nodes[%zu].name", i);
            fields_report(reader, path, "nodes[%zu] already has a node of this name", j);
            break;
        }
    }
}

static void check_sockets(struct field_reader *reader, const struct pool *pool)
{
    for (size_t i = 0; i < pool->nodes.count; i++) {
        const struct node *node = &pool->nodes.items[i];
        struct sockets sockets;
        struct error err;
        char path[48];
        snprintf(path, sizeof path, "nodes[%zu].sockets", i);
        if (sockets_read(node->sockets.items, node->sockets.count,
                node->capacity.accelerator_milli / 1000, &sockets, &err) < 0)
            fields_report(reader, path, "%s", err.text);
    }
}

static void check_levels(struct field_reader *reader, const struct pool *pool)
{
    for (size_t i = 0; i < pool->levels.count; i++) {
        const char *name = pool->levels.items[i].name;
        char path[48];
        snprintf(path, sizeof path, "topology.levels[%zu].name", i);
        if (strcmp(name, "node") == 0 || strcmp(name, "socket") == 0)
            fields_report(reader, path, "node and socket are always the innermost levels");
        for (size_t j = 0; j < i; j++) {
            if (strcmp(name, pool->levels.items[j].name) == 0)
                fields_report(reader, path, "topology.levels[%zu] has this name already", j);
        }
    }
}

static void finish_pool(struct field_reader *reader, void *object)
{
    const struct pool *pool = object;
    int64_t total = 0;
    for (size_t i = 0; i < pool->nodes.count; i++)
        total += pool->nodes.items[i].count;
    if (total > NODES_MAX)
        fields_report(
            reader, "nodes", "expected at most %d nodes in all, got %" PRId64, NODES_MAX, total);
    if (total == 0 && pool->engine == ENGINE_LOCAL)
        fields_report(reader, "nodes", "a local pool has at least one node");
    if (!pool->burst.budget_micro &&
        (pool->burst.after_ms != BURST_AFTER_MS || pool->burst.period_ms != BURST_PERIOD_MS))
        fields_report(reader, "burst.budget", "expected a budget: without one nothing comes here");
    pool_site_check(reader, pool);
    check_node_names(reader, &pool->nodes);
    check_levels(reader, pool);
    check_sockets(reader, pool);
}

static const struct field pool_spec_fields[] = {
    {.name = "description",
        .type = FIELD_TEXT,
        .offset = offsetof(struct pool, description),
        .doc = "For people."},
    {.name = "engine",
        .type = FIELD_ENUM,
        .flags = FIELD_IMMUTABLE,
        .words = engine_words,
        .fallback = ENGINE_LOCAL,
        .offset = offsetof(struct pool, engine),
        .doc = "What runs the jobs."},
    {.name = "slurm",
        .type = FIELD_OBJECT,
        .table = &slurm_site_table,
        .offset = offsetof(struct pool, slurm),
        .doc = "Of a pool with the engine `slurm`: how the cluster is reached."},
    {.name = "kubernetes",
        .type = FIELD_OBJECT,
        .table = &kubernetes_site_table,
        .offset = offsetof(struct pool, kubernetes),
        .doc = "Of a pool with the engine `kubernetes`: how the cluster is reached."},
    {.name = "jurisdiction",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .offset = offsetof(struct pool, jurisdiction),
        .doc = "Whose law holds there, such as `eu` or `ch`: jobs may ask for it."},
    {.name = "site",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .fallback_doc = "one of its own",
        .offset = offsetof(struct pool, site),
        .doc = "Where it stands. Data that lie at the site of a pool need no transfer there."},
    {.name = "link",
        .type = FIELD_BYTES,
        .max = 1LL << 50,
        .offset = offsetof(struct pool, link_bytes),
        .doc = "Bytes that go in or out of its site in a second, such as `1Gi`. 0: transfers take "
               "no time. Where pools of a site differ: the least."},
    {.name = "keepInputs",
        .type = FIELD_DURATION,
        .fallback = KEEP_INPUTS_MS,
        .min = 60 * 1000,
        .max = (int64_t)366 * 24 * 3600 * 1000,
        .offset = offsetof(struct pool, keep_inputs_ms),
        .doc = "For how long what jobs read is kept at its site after the last of them. Until then "
               "it needs no transfer there. A Slurm pool keeps it so long in its `folder`. Where "
               "pools of a site differ: the longest."},
    {.name = "spot",
        .type = FIELD_BOOL,
        .offset = offsetof(struct pool, spot),
        .doc = "Whether nodes may be taken away at any time."},
    {.name = "burst",
        .type = FIELD_OBJECT,
        .flags = FIELD_SPARSE,
        .table = &burst_table,
        .doc = "With it jobs come to the pool only when the other pools make them wait too long, "
               "and within a budget."},
    {.name = "nodes",
        .type = FIELD_OBJECTS,
        .table = &node_table,
        .offset = offsetof(struct pool, nodes),
        .doc = "The nodes."},
    {.name = "topology",
        .type = FIELD_OBJECT,
        .table = &pool_topology_table,
        .doc = "Which nodes are near to each other."},
    {.name = "prices",
        .type = FIELD_OBJECT,
        .table = &prices_table,
        .offset = offsetof(struct pool, prices),
        .doc = "What its resources cost."},
};
static const struct field_table pool_spec_table = FIELD_TABLE("PoolSpec", struct pool,
    pool_spec_fields, .finish = finish_pool, .doc = "What a pool is made of.");

static const struct field pool_fields[] = {
    ENVELOPE_FIELDS("Pool"),
    {.name = "metadata",
        .type = FIELD_OBJECT,
        .flags = FIELD_REQUIRED,
        .table = &metadata_table,
        .offset = offsetof(struct pool, metadata),
        .doc = "Its name and labels."},
    {.name = "spec",
        .type = FIELD_OBJECT,
        .flags = FIELD_REQUIRED,
        .table = &pool_spec_table,
        .doc = "What it is made of."},
    STATUS_FIELD,
};
const struct field_table pool_table = FIELD_TABLE("Pool", struct pool, pool_fields,
    .doc = "Capacity at one site, run by one engine, with its prices.");
