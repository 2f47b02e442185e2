/* How many pods a node takes: the scheduler counts CPUs, memory, disk and devices, and a node has a
 * bound of pods besides. A node that is full is not shown for as long as another like it has room,
 * so that what comes next goes there; what was placed on it before that is given back. It is shown
 * where there is no other: what fits only there waits for a pod to go, and is not refused. */
#include "engine/kubernetes_node.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static uint64_t pods_on(const struct kube_node *node)
{
    return node->held_pods + node->own_pods;
}

static bool is_full(const struct kube_node *node)
{
    return node->pods && pods_on(node) >= node->pods;
}

static const struct kube_node *node_without_room(
    const struct kubernetes *engine, const struct launch *launch)
{
    for (size_t i = 0; i < launch->placement_count; i++) {
        const struct launch_placement *place = &launch->placements[i];
        const struct kube_node *node = strmap_get(&engine->node_names, place->node);
        if (node && node->pods && pods_on(node) + place->ranks > node->pods)
            return node;
    }
    return NULL;
}

enum kube_room kube_room_of(
    const struct kubernetes *engine, const struct launch *launch, struct error *err)
{
    const struct kube_node *node =
        engine->site.place == SITE_PLACE_MUSTER ? node_without_room(engine, launch) : NULL;
    if (!node)
        return KUBE_ROOM_HERE;
    error_set(err, ERR_BUSY,
        "the node %s takes %" PRIu64 " pods and has %" PRIu64 " of others, %" PRIu64 " of muster's",
        node->name, node->pods, node->held_pods, node->own_pods);
    return !engine->listed && kube_room_is_elsewhere(node, engine) ? KUBE_ROOM_ELSEWHERE
                                                                   : KUBE_ROOM_NONE;
}

void kube_room_take(struct kube_rank *rank, const char *name)
{
    struct kubernetes *engine = rank->attempt->engine;
    if (rank->place || !*name)
        return;
    rank->place = kube_node_of(engine, name);
    rank->place->own_pods++;
    if (is_full(rank->place))
        kube_site_changed(engine);
}

void kube_room_leave(struct kube_rank *rank)
{
    if (!rank->place)
        return;
    assert(rank->place->own_pods > 0);
    if (is_full(rank->place))
        kube_site_changed(rank->attempt->engine);
    rank->place->own_pods--;
    rank->place = NULL;
}

/* ---- nodes that are alike -------------------------------------------------------------------- */

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Labels come sorted by their names. That of a node's own name is no difference. */
static bool same_labels(const struct engine_site_node *a, const struct engine_site_node *b)
{
    if (a->label_count != b->label_count)
        return false;
    for (size_t i = 0; i < a->label_count; i++) {
        if (!same(a->labels[i].key, b->labels[i].key) ||
            (strcmp(a->labels[i].key, "kubernetes.io/hostname") != 0 &&
                !same(a->labels[i].value, b->labels[i].value)))
            return false;
    }
    return true;
}

static bool same_taints(const struct engine_site_node *a, const struct engine_site_node *b)
{
    if (a->taint_count != b->taint_count)
        return false;
    for (size_t i = 0; i < a->taint_count; i++) {
        if (!same(a->taints[i].key, b->taints[i].key) ||
            !same(a->taints[i].value, b->taints[i].value) ||
            a->taints[i].no_execute != b->taints[i].no_execute)
            return false;
    }
    return true;
}

/* Whatever fits a could be put on b, were it empty. */
static bool covers(const struct engine_site_node *b, const struct engine_site_node *a)
{
    return b->health == ENGINE_NODE_UP && b->spot == a->spot && b->cpu_milli >= a->cpu_milli &&
           b->memory_bytes >= a->memory_bytes && b->disk_bytes >= a->disk_bytes &&
           b->accelerators >= a->accelerators && same(a->accelerator, b->accelerator) &&
           same_labels(a, b) && same_taints(a, b);
}

bool kube_room_is_elsewhere(const struct kube_node *node, const struct kubernetes *engine)
{
    if (!is_full(node))
        return false;
    for (size_t i = 0; i < engine->nodes.count; i++) {
        const struct kube_node *other = engine->nodes.items[i];
        if (other != node && other->there && !is_full(other) && covers(&other->about, &node->about))
            return true;
    }
    return false;
}
