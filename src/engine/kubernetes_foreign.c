/* What the pods of others hold of the cluster's nodes. */
#include "engine/kubernetes_node.h"

#include "base/strbuf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    struct kube_amounts more;
    foreign->cpu_milli = foreign->memory_bytes = 0;
    foreign->devices = (struct kube_devices){0};
    for (const struct doc *item = all && all->type == DOC_LIST ? all->first : NULL; item;
         item = item->next) {
        const struct doc *requests = kube_at(item, "resources", "requests", NULL);
        kube_amounts_read(requests, &more);
        foreign->cpu_milli += more.cpu_milli;
        foreign->memory_bytes += more.memory_bytes;
        more.devices.count += foreign->devices.count;
        if (more.devices.resource[0])
            foreign->devices = more.devices;
    }
}

void kube_foreign_saw(struct kubernetes *engine, const struct doc *object, bool there)
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
        foreign->node = kube_node_of(engine, node);
        foreign->seen = engine->listing;
        measure(foreign, object);
        hold(foreign, true);
        kube_site_changed(engine);
    }
    strbuf_finish(&name);
}

void kube_foreign_synced(struct kubernetes *engine)
{
    for (size_t i = engine->foreign.count; i-- > 0;) {
        if (engine->foreign.items[i]->seen < engine->listing)
            foreign_drop(engine, engine->foreign.items[i]);
    }
}

uint64_t kube_foreign_devices(struct kube_node *node)
{
    const uint64_t *held = node->devices.count ? held_devices(node, node->devices.resource) : NULL;
    return held ? *held : 0;
}

void kube_foreign_finish(struct kubernetes *engine)
{
    for (size_t i = 0; i < engine->foreign.count; i++) {
        free(engine->foreign.items[i]->name);
        free(engine->foreign.items[i]);
    }
    vec_free(&engine->foreign);
    strmap_finish(&engine->foreign_names);
}
