/* What the cluster has: nodes as they can be allocated, less what the pods of others hold of them,
 * and our own pods, which are handed to their attempts. Both are lists that are watched; what a new
 * list does not have any more is gone. */
#include "engine/kubernetes.h"

#include "base/clock.h"
#include "base/quantity.h"
#include "base/strbuf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABELS_MAX = 64 };

void kube_site_changed(struct kubernetes *engine)
{
    engine->site_changed = true;
    kubernetes_turn(engine);
}

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

static const char *type_of(const char *resource)
{
    return strcmp(resource, "nvidia.com/gpu") == 0 ? "nvidia"
           : strcmp(resource, "amd.com/gpu") == 0  ? "amd"
                                                   : resource;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

struct kube_node *kube_site_node(struct kubernetes *engine, const char *name)
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

const char *kube_site_spot_marker(size_t i, const char **ret_value)
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

static void take_node(struct kube_node *node, const struct doc *object)
{
    const struct doc *resources = kube_at(object, "status", "allocatable", NULL);
    const struct doc *labels = kube_at(object, "metadata", "labels", NULL);
    arena_reset(node->arena);
    devices_of(resources, &node->devices);
    node->pods = strtoull(kube_text(resources, "pods", NULL), NULL, 10);
    node->about = (struct engine_site_node){.name = node->name,
        .cpu_milli = cpu_of(resources),
        .memory_bytes = bytes_of(resources, "memory"),
        .disk_bytes = bytes_of(resources, "ephemeral-storage"),
        .accelerators = (uint32_t)node->devices.count,
        .spot = is_spot(labels)};
    if (node->devices.count)
        node->about.accelerator = arena_strdup(node->arena, type_of(node->devices.resource));
    take_labels(node, labels);
    take_taints(node, kube_at(object, "spec", "taints", NULL));
    take_health(node, object);
}

/* Attempts on it may be lost, or well again. */
static void all_due(struct kubernetes *engine)
{
    for (size_t i = 0; i < engine->attempts.count; i++)
        kube_attempt_due(engine->attempts.items[i]);
}

static void on_trouble(void *ctx, const char *text)
{
    struct kubernetes *engine = ctx;
    struct engine_site *about = &engine->about;
    if (about->answers == !text &&
        (!text || strncmp(about->text, text, sizeof about->text - 1) == 0))
        return;
    about->answers = !text;
    about->since_ms = clock_wall_ms();
    snprintf(about->text, sizeof about->text, "%s", text ? text : "kubernetes");
    if (!text)
        all_due(engine);
    kube_site_changed(engine);
}

static void on_node(void *ctx, enum kube_event_kind kind, const struct doc *object)
{
    struct kubernetes *engine = ctx;
    const char *name = kube_text(object, "metadata", "name", NULL);
    if (!*name)
        return;
    struct kube_node *node = kube_site_node(engine, name);
    enum engine_node_health before = node->about.health;
    bool was_there = node->there;
    node->there = kind != KUBE_DELETED;
    node->seen = engine->node_listing;
    if (node->there)
        take_node(node, object);
    if (node->there != was_there || node->about.health != before)
        all_due(engine);
    kube_site_changed(engine);
}

bool kube_site_node_is_spot(const struct kubernetes *engine, const char *name)
{
    const struct kube_node *node = strmap_get(&engine->node_names, name);
    return node && node->about.spot;
}

bool kube_site_node_is_down(const struct kubernetes *engine, const char *name)
{
    const struct kube_node *node = strmap_get(&engine->node_names, name);
    return engine->nodes_known && *name &&
           (!node || !node->there || node->about.health == ENGINE_NODE_DOWN);
}

static void on_nodes_synced(void *ctx)
{
    struct kubernetes *engine = ctx;
    for (size_t i = 0; i < engine->nodes.count; i++)
        engine->nodes.items[i]->there &= engine->nodes.items[i]->seen == engine->node_listing;
    engine->nodes_known = true;
    all_due(engine);
    on_trouble(engine, NULL);
    kube_site_changed(engine);
}

/* ---- what others hold ------------------------------------------------------------------------ */

/* How many of a kind are held on a node; NULL where it has more kinds than are counted. */
static uint64_t *held_devices(struct kube_node *node, const char *resource)
{
    for (size_t i = 0; i < KUBE_DEVICE_KINDS_MAX; i++) {
        struct kube_devices *held = &node->held[i];
        if (!held->resource[0])
            snprintf(held->resource, sizeof held->resource, "%s", resource);
        if (strcmp(held->resource, resource) == 0)
            return &held->count;
    }
    return NULL;
}

static void hold(struct kube_foreign *foreign, bool more)
{
    struct kube_node *node = foreign->node;
    if (!node)
        return;
    node->held_pods += more ? 1 : UINT64_MAX;
    node->held_cpu_milli += more ? foreign->cpu_milli : -foreign->cpu_milli;
    node->held_memory_bytes += more ? foreign->memory_bytes : -foreign->memory_bytes;
    uint64_t *held = foreign->devices.count ? held_devices(node, foreign->devices.resource) : NULL;
    if (held)
        *held += more ? foreign->devices.count : -foreign->devices.count;
}

static void foreign_drop(struct kubernetes *engine, struct kube_foreign *foreign)
{
    size_t at = 0;
    hold(foreign, false);
    strmap_remove(&engine->foreign_names, foreign->name);
    while (engine->foreign.items[at] != foreign)
        at++;
    engine->foreign.items[at] = engine->foreign.items[--engine->foreign.count];
    free(foreign->name);
    free(foreign);
}

static void measure(struct kube_foreign *foreign, const struct doc *object)
{
    const struct doc *all = kube_at(object, "spec", "containers", NULL);
    struct kube_devices devices;
    foreign->cpu_milli = foreign->memory_bytes = 0;
    foreign->devices = (struct kube_devices){0};
    for (const struct doc *item = all && all->type == DOC_LIST ? all->first : NULL; item;
         item = item->next) {
        const struct doc *requests = kube_at(item, "resources", "requests", NULL);
        foreign->cpu_milli += cpu_of(requests);
        foreign->memory_bytes += bytes_of(requests, "memory");
        devices_of(requests, &devices);
        devices.count += foreign->devices.count;
        if (devices.resource[0])
            foreign->devices = devices;
    }
}

static void take_foreign(struct kubernetes *engine, const struct doc *object, bool there)
{
    const char *phase = kube_text(object, "status", "phase", NULL);
    const char *node = kube_text(object, "spec", "nodeName", NULL);
    struct strbuf name = {0};
    strbuf_printf(&name, "%s/%s", kube_text(object, "metadata", "namespace", NULL),
        kube_text(object, "metadata", "name", NULL));
    struct kube_foreign *foreign = strmap_get(&engine->foreign_names, name.text);
    there &= *node && strcmp(phase, "Succeeded") != 0 && strcmp(phase, "Failed") != 0;
    if (!there && foreign) {
        foreign_drop(engine, foreign);
        kube_site_changed(engine);
    }
    if (there) {
        if (!foreign) {
            foreign = mem_alloc(1, sizeof *foreign);
            foreign->name = mem_strdup(name.text);
            strmap_put(&engine->foreign_names, name.text, foreign);
            vec_push(&engine->foreign, foreign);
        }
        hold(foreign, false);
        foreign->node = kube_site_node(engine, node);
        foreign->seen = engine->listing;
        measure(foreign, object);
        hold(foreign, true);
        kube_site_changed(engine);
    }
    strbuf_finish(&name);
}

/* ---- our own pods ---------------------------------------------------------------------------- */

static bool is_ours(const struct kubernetes *engine, const struct doc *object)
{
    const struct doc *labels = kube_at(object, "metadata", "labels", NULL);
    return strcmp(kube_text(labels, KUBE_LABEL_OWNER, NULL), engine->owner) == 0 &&
           strcmp(kube_text(labels, KUBE_LABEL_POOL, NULL), engine->pool) == 0 &&
           strcmp(kube_text(object, "metadata", "namespace", NULL), engine->name_space) == 0;
}

static void take_own(struct kubernetes *engine, const struct doc *object, bool there)
{
    const char *mark = kube_text(object, "metadata", "labels", KUBE_LABEL_ATTEMPT, NULL);
    const char *number = kube_text(object, "metadata", "labels", KUBE_LABEL_RANK, NULL);
    uint64_t id = 0;
    uint32_t rank = (uint32_t)strtoul(number, NULL, 10);
    struct kube_attempt *attempt =
        engine_mark_read(mark, engine->owner, &id) ? kubernetes_find(engine, id) : NULL;
    if (!attempt || rank >= attempt->ledger.ranks) {
        if (there && !*kube_text(object, "metadata", "deletionTimestamp", NULL))
            kubernetes_sweep(engine, "pods", kube_text(object, "metadata", "name", NULL));
        return;
    }
    kube_attempt_saw(&attempt->ranks[rank], object);
    if (!there)
        kube_attempt_saw(&attempt->ranks[rank], NULL);
}

static void on_pod(void *ctx, enum kube_event_kind kind, const struct doc *object)
{
    struct kubernetes *engine = ctx;
    if (is_ours(engine, object))
        take_own(engine, object, kind != KUBE_DELETED);
    else
        take_foreign(engine, object, kind != KUBE_DELETED);
}

/* A service is made before all else of an attempt, and so is left where a record was lost. */
static void on_services(void *ctx, const struct kube_answer *answer)
{
    struct kubernetes *engine = ctx;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *items = doc_get(kube_answer_doc(answer, arena, "services", NULL), "items");
    for (const struct doc *item = items && items->type == DOC_LIST ? items->first : NULL; item;
         item = item->next) {
        const char *mark = kube_text(item, "metadata", "labels", KUBE_LABEL_ATTEMPT, NULL);
        uint64_t id = 0;
        if (engine_mark_read(mark, engine->owner, &id) && !kubernetes_find(engine, id))
            kubernetes_sweep(engine, "services", kube_text(item, "metadata", "name", NULL));
    }
}

static void look_for_left_services(struct kubernetes *engine)
{
    SCOPED(mem_scope) char *path = kubernetes_path(engine, "services", NULL);
    struct strbuf target = {0};
    strbuf_printf(&target, "%s?labelSelector=muster.dev%%2Fowner%%3D%s%%2Cmuster.dev%%2Fpool%%3D%s",
        path, engine->owner, engine->pool);
    const struct kube_request request = {.method = "GET", .target = target.text};
    (void)kube_client_call(engine->client, &request, on_services, engine);
    strbuf_finish(&target);
}

static void on_nodes_begin(void *ctx)
{
    struct kubernetes *engine = ctx;
    engine->node_listing++;
}

static void on_pods_begin(void *ctx)
{
    struct kubernetes *engine = ctx;
    engine->listing++;
    for (size_t i = 0; i < engine->attempts.count; i++) {
        struct kube_attempt *attempt = engine->attempts.items[i];
        for (uint32_t rank = 0; rank < attempt->ledger.ranks; rank++)
            attempt->ranks[rank].seen = false;
    }
}

/* What a list does not have may have been made after it: it is looked for by its name. */
static void on_pods_synced(void *ctx)
{
    struct kubernetes *engine = ctx;
    for (size_t i = engine->foreign.count; i-- > 0;) {
        if (engine->foreign.items[i]->seen < engine->listing)
            foreign_drop(engine, engine->foreign.items[i]);
    }
    for (size_t i = 0; i < engine->attempts.count; i++) {
        struct kube_attempt *attempt = engine->attempts.items[i];
        for (uint32_t rank = 0; rank < attempt->ledger.ranks; rank++) {
            struct kube_rank *one = &attempt->ranks[rank];
            one->look |=
                !one->seen && (one->pod.exists || attempt->unsure) && !attempt->ledger.ended;
            one->pod.exists &= one->seen || !attempt->ledger.ended;
        }
        attempt->unsure = false;
        kube_attempt_due(attempt);
    }
    if (!engine->pods_known)
        look_for_left_services(engine);
    engine->pods_known = true;
    on_trouble(engine, NULL);
    kube_site_changed(engine);
}

/* ---- the site -------------------------------------------------------------------------------- */

void kube_site_show(struct kubernetes *engine)
{
    static const struct engine_fact facts[] = {
        {"memory-limit", true, "a container above its memory is killed by its node"},
        {"cpu", true, "CPUs are a weight between containers of a node"},
        {"unprivileged", true, "no root, no capabilities, a read-only root, the runtime's seccomp"},
        {"network", true, "network policies per team, where the cluster's network keeps them"},
    };
    vec_clear(&engine->shown);
    for (size_t i = 0; i < engine->nodes.count; i++) {
        struct kube_node *node = engine->nodes.items[i];
        struct engine_site_node shown = node->about;
        if (!node->there || node->about.spot != engine->spot ||
            kube_room_is_elsewhere(node, engine))
            continue;
        const uint64_t *devices =
            node->devices.count ? held_devices(node, node->devices.resource) : NULL;
#define LESS(member, held) shown.member -= shown.member < (held) ? shown.member : (held)
        LESS(cpu_milli, node->held_cpu_milli);
        LESS(memory_bytes, node->held_memory_bytes);
        LESS(accelerators, devices ? (uint32_t)*devices : 0);
#undef LESS
        vec_push(&engine->shown, shown);
    }
    struct engine_site *about = &engine->about;
    about->known = engine->nodes_known && engine->pods_known;
    about->placed = engine->site.place == SITE_PLACE_MUSTER;
    about->nodes = engine->shown.items;
    about->node_count = engine->shown.count;
    about->facts = facts;
    about->fact_count = ARRAY_LEN(facts);
}

static void mix(uint64_t *hash, uint64_t value)
{
    *hash = (*hash ^ value) * UINT64_C(0x100000001b3);
    *hash ^= *hash >> 29;
}

static void mix_text(uint64_t *hash, const char *text)
{
    for (; text && *text; text++)
        mix(hash, (unsigned char)*text);
    mix(hash, 256);
}

uint64_t kube_site_hash(const struct kubernetes *engine)
{
    const struct engine_site *about = &engine->about;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    mix(&hash, (uint64_t)about->known << 1 | about->answers);
    mix_text(&hash, about->text);
    for (size_t i = 0; i < about->node_count; i++) {
        const struct engine_site_node *node = &about->nodes[i];
        const uint64_t numbers[] = {node->health, node->cpu_milli, node->memory_bytes,
            node->disk_bytes, node->accelerators, node->spot};
        mix_text(&hash, node->name);
        mix_text(&hash, node->accelerator);
        for (size_t k = 0; k < ARRAY_LEN(numbers); k++)
            mix(&hash, numbers[k]);
        for (size_t k = 0; k < node->label_count; k++) {
            mix_text(&hash, node->labels[k].key);
            mix_text(&hash, node->labels[k].value);
        }
        for (size_t k = 0; k < node->taint_count; k++) {
            mix_text(&hash, node->taints[k].key);
            mix_text(&hash, node->taints[k].value);
            mix(&hash, node->taints[k].no_execute);
        }
    }
    return hash;
}

void kube_site_start(struct kubernetes *engine)
{
    static const struct kube_watch_callbacks nodes = {
        on_nodes_begin, on_node, on_nodes_synced, on_trouble};
    static const struct kube_watch_callbacks pods = {
        on_pods_begin, on_pod, on_pods_synced, on_trouble};
    snprintf(engine->about.text, sizeof engine->about.text, "not asked yet");
    engine->nodes_watch =
        kube_watch_start(engine->client, engine->base, "/api/v1/nodes", NULL, &nodes, engine);
    engine->pods_watch =
        kube_watch_start(engine->client, engine->base, "/api/v1/pods", NULL, &pods, engine);
}

void kube_site_finish(struct kubernetes *engine)
{
    kube_watch_stop(engine->nodes_watch);
    kube_watch_stop(engine->pods_watch);
    for (size_t i = 0; i < engine->foreign.count; i++) {
        free(engine->foreign.items[i]->name);
        free(engine->foreign.items[i]);
    }
    for (size_t i = 0; i < engine->nodes.count; i++) {
        arena_destroy(engine->nodes.items[i]->arena);
        free(engine->nodes.items[i]->name);
        free(engine->nodes.items[i]);
    }
    vec_free(&engine->foreign);
    vec_free(&engine->nodes);
    vec_free(&engine->shown);
    strmap_finish(&engine->foreign_names);
    strmap_finish(&engine->node_names);
}
