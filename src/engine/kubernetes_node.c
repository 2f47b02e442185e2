/* The nodes of a cluster, as they can be allocated: what a node's object says of its amounts,
 * labels, taints and health, and which ones their owner may take back. */
#include "engine/kubernetes_node.h"

#include "base/quantity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABELS_MAX = 64 };

/* ---- amounts --------------------------------------------------------------------------------- */

/* Kubernetes writes amounts in more ways than we do ("1500m" of memory, "1e3", "128974848"): what
 * cannot be read counts as nothing. */
static uint64_t cpu_of(const struct doc *resources)
{
    int64_t milli;
    return quantity_parse_milli(kube_text(resources, "cpu", NULL), &milli, NULL) == 0
               ? (uint64_t)milli
               : 0;
}

static uint64_t bytes_of(const struct doc *resources, const char *name)
{
    int64_t bytes;
    return quantity_parse_bytes(kube_text(resources, name, NULL), &bytes, NULL) == 0
               ? (uint64_t)bytes
               : 0;
}

/* Devices by the names of their makers' plugins, parts of them (MIG) too. */
static bool is_accelerator(const char *resource)
{
    static const char *const prefixes[] = {
        "nvidia.com/gpu", "nvidia.com/mig-", "amd.com/gpu", "gpu.intel.com/", "habana.ai/gaudi"};
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        if (strncmp(resource, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    }
    return false;
}

/* Of the kind that there is most of: muster counts one kind on a node. */
static void devices_of(const struct doc *resources, struct kube_devices *ret)
{
    *ret = (struct kube_devices){0};
    for (const struct doc *item = resources && resources->type == DOC_MAP ? resources->first : NULL;
         item; item = item->next) {
        if (!is_accelerator(item->key) || item->type != DOC_STRING ||
            strlen(item->key) >= sizeof ret->resource)
            continue;
        uint64_t here = strtoull(item->text, NULL, 10);
        if (here <= ret->count)
            continue;
        snprintf(ret->resource, sizeof ret->resource, "%s", item->key);
        ret->count = here;
    }
}

void kube_amounts_read(const struct doc *resources, struct kube_amounts *ret_amounts)
{
    ret_amounts->cpu_milli = cpu_of(resources);
    ret_amounts->memory_bytes = bytes_of(resources, "memory");
    ret_amounts->disk_bytes = bytes_of(resources, "ephemeral-storage");
    devices_of(resources, &ret_amounts->devices);
}

static const char *type_of(const char *resource)
{
    return strcmp(resource, "nvidia.com/gpu") == 0 ? "nvidia"
           : strcmp(resource, "amd.com/gpu") == 0  ? "amd"
                                                   : resource;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

struct kube_node *kube_node_of(struct kubernetes *engine, const char *name)
{
    struct kube_node *node = strmap_get(&engine->node_names, name);
    size_t at = engine->nodes.count;
    if (node)
        return node;
    node = mem_alloc(1, sizeof *node);
    node->name = mem_strdup(name);
    node->arena = arena_create();
    while (at > 0 && strcmp(engine->nodes.items[at - 1]->name, name) > 0)
        at--;
    vec_insert(&engine->nodes, at, node);
    strmap_put(&engine->node_names, name, node);
    return node;
}

static const struct {
    const char *key, *value;
} spot_markers[] = {
    {"cloud.google.com/gke-spot", "true"},
    {"cloud.google.com/gke-preemptible", "true"},
    {"eks.amazonaws.com/capacityType", "SPOT"},
    {"karpenter.sh/capacity-type", "spot"},
    {"kubernetes.azure.com/scalesetpriority", "spot"},
    {"node.kubernetes.io/lifecycle", "spot"},
};

const char *kube_node_spot_marker(size_t i, const char **ret_value)
{
    if (i >= ARRAY_LEN(spot_markers))
        return NULL;
    *ret_value = spot_markers[i].value;
    return spot_markers[i].key;
}

static bool is_spot_key(const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(spot_markers); i++) {
        if (strcmp(spot_markers[i].key, key) == 0)
            return true;
    }
    return false;
}

static bool is_spot(const struct doc *labels)
{
    for (size_t i = 0; i < ARRAY_LEN(spot_markers); i++) {
        if (strcmp(kube_text(labels, spot_markers[i].key, NULL), spot_markers[i].value) == 0)
            return true;
    }
    return false;
}

static void take_labels(struct kube_node *node, const struct doc *labels)
{
    struct engine_label *out = arena_alloc(node->arena, LABELS_MAX, sizeof *out);
    size_t count = 0;
    for (const struct doc *item = labels && labels->type == DOC_MAP ? labels->first : NULL;
         item && count < LABELS_MAX; item = item->next) {
        if (item->type == DOC_STRING)
            out[count++] = (struct engine_label){
                arena_strdup(node->arena, item->key), arena_strdup(node->arena, item->text)};
    }
    node->about.labels = out;
    node->about.label_count = count;
}

/* Those that keep new pods off; what only would rather not have them does not count, nor what marks
 * a spot node: that is for spot pools, whose pods tolerate it. */
static void take_taints(struct kube_node *node, const struct doc *taints)
{
    struct engine_taint *out = arena_alloc(node->arena, LABELS_MAX, sizeof *out);
    size_t count = 0;
    for (const struct doc *item = taints && taints->type == DOC_LIST ? taints->first : NULL;
         item && count < LABELS_MAX; item = item->next) {
        const char *effect = kube_text(item, "effect", NULL), *key = kube_text(item, "key", NULL);
        if (strcmp(effect, "PreferNoSchedule") == 0 || (node->about.spot && is_spot_key(key)))
            continue;
        out[count++] = (struct engine_taint){arena_strdup(node->arena, key),
            arena_strdup(node->arena, kube_text(item, "value", NULL)),
            strcmp(effect, "NoExecute") == 0};
    }
    node->about.taints = out;
    node->about.taint_count = count;
}

static void take_health(struct kube_node *node, const struct doc *object)
{
    const struct doc *conditions = kube_at(object, "status", "conditions", NULL);
    bool ready = false;
    node->about.why = "the node has not said that it is ready";
    for (const struct doc *item = conditions && conditions->type == DOC_LIST ? conditions->first
                                                                             : NULL;
         item; item = item->next) {
        if (strcmp(kube_text(item, "type", NULL), "Ready") != 0)
            continue;
        ready = strcmp(kube_text(item, "status", NULL), "True") == 0;
        node->about.why = arena_printf(node->arena, "%s: %s", kube_text(item, "reason", NULL),
            kube_text(item, "message", NULL));
    }
    node->about.health = ready ? ENGINE_NODE_UP : ENGINE_NODE_DOWN;
    node->about.why = ready ? "" : node->about.why;
    if (ready && doc_get_bool(doc_get(object, "spec"), "unschedulable", false)) {
        node->about.health = ENGINE_NODE_CLOSED;
        node->about.why = "cordoned";
    }
}

void kube_node_read(struct kube_node *node, const struct doc *object)
{
    const struct doc *resources = kube_at(object, "status", "allocatable", NULL);
    const struct doc *labels = kube_at(object, "metadata", "labels", NULL);
    struct kube_amounts amounts;
    arena_reset(node->arena);
    kube_amounts_read(resources, &amounts);
    node->devices = amounts.devices;
    node->pods = strtoull(kube_text(resources, "pods", NULL), NULL, 10);
    node->about = (struct engine_site_node){.name = node->name,
        .cpu_milli = amounts.cpu_milli,
        .memory_bytes = amounts.memory_bytes,
        .disk_bytes = amounts.disk_bytes,
        .accelerators = (uint32_t)node->devices.count,
        .spot = is_spot(labels)};
    if (node->devices.count)
        node->about.accelerator = arena_strdup(node->arena, type_of(node->devices.resource));
    take_labels(node, labels);
    take_taints(node, kube_at(object, "spec", "taints", NULL));
    take_health(node, object);
}

bool kube_node_is_spot(const struct kubernetes *engine, const char *name)
{
    const struct kube_node *node = strmap_get(&engine->node_names, name);
    return node && node->about.spot;
}

bool kube_node_is_down(const struct kubernetes *engine, const char *name)
{
    const struct kube_node *node = strmap_get(&engine->node_names, name);
    return engine->nodes_known && *name &&
           (!node || !node->there || node->about.health == ENGINE_NODE_DOWN);
}
