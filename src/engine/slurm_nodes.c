/* The nodes of a cluster, as the nodes of its pool: one request for all of them. What is listed
 * takes the place of what was known only when the answer was read to its end. */
#include "engine/slurm.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

enum { NODES_MS = 5000, NODES_MOST = 65536, SHARDS_MOST = 1 << 16 };

static bool in_partition(const struct slurm *slurm, const struct slurm_node *node)
{
    const struct doc *list = node->partitions;
    if (!slurm->site.partition || !list || list->type != DOC_LIST)
        return true;
    for (const struct doc *item = list->first; item; item = item->next) {
        if (item->type == DOC_STRING && strcmp(item->text, slurm->site.partition) == 0)
            return true;
    }
    return false;
}

/* Each feature is a label of its own name. */
static void add_features(
    struct arena *arena, const struct slurm_node *node, struct engine_site_node *out)
{
    enum { FEATURES_MAX = 32 };
    struct engine_label *labels = arena_alloc(arena, FEATURES_MAX, sizeof *labels);
    out->labels = labels;
    for (const char *at = node->features; *at && out->label_count < FEATURES_MAX;) {
        size_t length = strcspn(at, ",&|()");
        if (length > 0)
            labels[out->label_count++] =
                (struct engine_label){arena_strndup(arena, at, length), "true"};
        at += length + (at[length] != '\0');
    }
}

static uint64_t bounded(int64_t number, int64_t most)
{
    return (uint64_t)(number < 0 ? 0 : number > most ? most : number);
}

/* Jobs work on the storage that is shared, whichever node they are on. */
static uint64_t disk_bytes(const struct slurm *slurm)
{
    struct statvfs volume;
    if (statvfs(slurm->folder.root, &volume) < 0)
        return 0;
    return (uint64_t)volume.f_blocks * volume.f_frsize;
}

static void add_node(struct slurm *slurm, const struct slurm_node *node)
{
    struct arena *arena = slurm->next_node_arena;
    struct engine_site_node out = {.name = arena_strdup(arena, node->name),
        .health = node->down     ? ENGINE_NODE_DOWN
                  : node->closed ? ENGINE_NODE_CLOSED
                                 : ENGINE_NODE_UP,
        .why = arena_strdup(arena, node->reason),
        .cpu_milli = bounded(node->cpus, 1 << 20) * 1000,
        .memory_bytes = bounded(node->memory_mb, INT64_C(1) << 32) << 20,
        .disk_bytes = slurm->next_disk_bytes,
        .accelerators = (uint32_t)bounded(node->devices, ENGINE_DEVICES_MAX)};
    uint32_t shards =
        out.accelerators ? (uint32_t)bounded(node->shards, SHARDS_MOST) / out.accelerators : 0;
    if (out.accelerators)
        out.accelerator = arena_strdup(arena, node->device_type);
    out.shared = shards > 0;
    add_features(arena, node, &out);
    vec_push(&slurm->next_nodes, out);
    vec_push(&slurm->next_places,
        ((struct slurm_place){out.name, arena_strdup(arena, node->address), shards}));
}

static int on_node(
    void *context, const char *list, const char *json, size_t length, struct error *err)
{
    struct slurm *slurm = context;
    struct slurm_node node;
    if (strcmp(list, "nodes") != 0)
        return 0;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc = reply_item(arena, list, json, length, err);
    if (!doc)
        return -1;
    if (slurm->next_nodes.count == NODES_MOST)
        return error_set(err, ERR_TOO_LARGE, "the cluster has more than %d nodes", NODES_MOST);
    if (dialect_read_node(doc, &node) && in_partition(slurm, &node))
        add_node(slurm, &node);
    return 0;
}

static int on_nodes_piece(void *context, const char *bytes, size_t length, struct error *err)
{
    struct slurm *slurm = context;
    return reply_feed(&slurm->node_reply, bytes, length, err);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(
        ((const struct engine_site_node *)a)->name, ((const struct engine_site_node *)b)->name);
}

static int by_node(const void *a, const void *b)
{
    return strcmp(((const struct slurm_place *)a)->node, ((const struct slurm_place *)b)->node);
}

static bool same_nodes(const struct slurm *slurm)
{
    if (slurm->nodes.count != slurm->next_nodes.count)
        return false;
    for (size_t i = 0; i < slurm->nodes.count; i++) {
        const struct engine_site_node *a = &slurm->nodes.items[i], *b = &slurm->next_nodes.items[i];
        if (strcmp(a->name, b->name) != 0 || a->health != b->health ||
            a->cpu_milli != b->cpu_milli || a->memory_bytes != b->memory_bytes ||
            a->accelerators != b->accelerators || a->shared != b->shared)
            return false;
    }
    return true;
}

static void take_nodes(struct slurm *slurm)
{
    if (slurm->next_nodes.count > 0)
        qsort(slurm->next_nodes.items, slurm->next_nodes.count, sizeof *slurm->next_nodes.items,
            by_name);
    if (slurm->next_places.count > 0)
        qsort(slurm->next_places.items, slurm->next_places.count, sizeof *slurm->next_places.items,
            by_node);
    bool changed = !slurm->about.known || !same_nodes(slurm);
    arena_destroy(slurm->node_arena);
    slurm->node_arena = slurm->next_node_arena;
    slurm->next_node_arena = NULL;
    vec_clear(&slurm->nodes);
    for (size_t i = 0; i < slurm->next_nodes.count; i++)
        vec_push(&slurm->nodes, slurm->next_nodes.items[i]);
    vec_clear(&slurm->places);
    for (size_t i = 0; i < slurm->next_places.count; i++)
        vec_push(&slurm->places, slurm->next_places.items[i]);
    slurm->about.known = true;
    slurm->about.nodes = slurm->nodes.items;
    slurm->about.node_count = slurm->nodes.count;
    if (changed)
        slurm_watch_report(slurm);
}

static void on_nodes(void *context, const struct rest_answer *answer)
{
    struct slurm *slurm = context;
    struct error err;
    slurm->asking_nodes = false;
    bool good = slurm_watch_is_whole(answer, &slurm->node_reply, &err);
    reply_finish(&slurm->node_reply);
    if (good) {
        slurm_watch_answered(slurm);
        take_nodes(slurm);
    } else {
        slurm_watch_failed(slurm, err.text);
        arena_destroy(slurm->next_node_arena);
        slurm->next_node_arena = NULL;
    }
    vec_clear(&slurm->next_nodes);
    vec_clear(&slurm->next_places);
}

void slurm_nodes_ask(struct slurm *slurm)
{
    int64_t now_ms = clock_boot_ms();
    int64_t pause = slurm_watch_pause_ms(slurm);
    int64_t every = slurm->about.known && slurm->failures == 0 && pause * 10 < NODES_MS ? pause * 10
                    : pause > NODES_MS                                                  ? pause
                                                                                        : NODES_MS;
    if (!slurm->about.known || slurm->failures)
        every = pause;
    if (slurm->asking_nodes || now_ms - slurm->nodes_ms < every)
        return;
    slurm->asking_nodes = true;
    slurm->nodes_ms = now_ms;
    slurm->next_node_arena = arena_create();
    slurm->next_disk_bytes = disk_bytes(slurm);
    reply_begin(&slurm->node_reply, on_node, slurm);
    slurm_watch_get(slurm, "nodes", 0, on_nodes_piece, on_nodes);
}

/* Both lists are by name, and have the same nodes. */
uint32_t slurm_nodes_shards(const struct slurm *slurm, const struct launch *launch)
{
    uint32_t most = 0;
    const char *type = launch->accelerator_type;
    for (size_t i = 0; i < slurm->nodes.count; i++) {
        const struct engine_site_node *node = &slurm->nodes.items[i];
        if (node->shared && (!type || strcmp(type, node->accelerator) == 0) &&
            slurm->places.items[i].shards > most)
            most = slurm->places.items[i].shards;
    }
    return (most * launch->placements[0].device_milli + 999) / 1000;
}
