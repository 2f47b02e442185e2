/* What the cluster has: nodes, less what the pods of others hold of them, and our own pods, which
 * are handed to their attempts. Both are lists that are watched; what a new list does not have any
 * more is gone. */
#include "engine/kubernetes_node.h"

#include "base/clock.h"
#include "base/strbuf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void kube_site_changed(struct kubernetes *engine)
{
    engine->site_changed = true;
    kubernetes_turn(engine);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

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
    struct kube_node *node = kube_node_of(engine, name);
    enum engine_node_health before = node->about.health;
    bool was_there = node->there;
    node->there = kind != KUBE_DELETED;
    node->seen = engine->node_listing;
    if (node->there)
        kube_node_read(node, object);
    if (node->there != was_there || node->about.health != before)
        all_due(engine);
    kube_site_changed(engine);
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
        kube_foreign_saw(engine, object, kind != KUBE_DELETED);
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
    kube_foreign_synced(engine);
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
#define LESS(member, held) shown.member -= shown.member < (held) ? shown.member : (held)
        LESS(cpu_milli, node->held_cpu_milli);
        LESS(memory_bytes, node->held_memory_bytes);
        LESS(accelerators, (uint32_t)kube_foreign_devices(node));
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
    kube_foreign_finish(engine);
    for (size_t i = 0; i < engine->nodes.count; i++) {
        arena_destroy(engine->nodes.items[i]->arena);
        free(engine->nodes.items[i]->name);
        free(engine->nodes.items[i]);
    }
    vec_free(&engine->nodes);
    vec_free(&engine->shown);
    strmap_finish(&engine->node_names);
}
