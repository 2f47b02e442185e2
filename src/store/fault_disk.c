/* The disk of the file layer for tests: what is visible, what is durable, and what is left of the
 * one in the other when the machine stops. */
#include "store/fault_parts.h"

#include <string.h>

static void content_resize(struct content *content, size_t size)
{
    if (size > content->capacity) {
        content->capacity = size + size / 2 + 4096;
        content->bytes = mem_resize(content->bytes, content->capacity, 1);
    }
    if (size > content->size)
        memset(content->bytes + content->size, 0, size - content->size);
    content->size = size;
}

void content_write(struct content *content, size_t offset, const unsigned char *bytes, size_t size)
{
    if (size == 0)
        return;
    if (offset + size > content->size)
        content_resize(content, offset + size);
    memcpy(content->bytes + offset, bytes, size);
}

void content_apply(struct content *content, const struct change *change)
{
    if (!change->truncation)
        content_write(content, change->offset, change->bytes, change->size);
    else if (change->offset < content->size)
        content_resize(content, change->offset);
}

static void node_forget_changes(struct file_node *node)
{
    for (size_t i = 0; i < node->changes.count; i++)
        free(node->changes.items[i].bytes);
    vec_clear(&node->changes);
}

void node_sync(struct file_node *node)
{
    for (size_t i = 0; i < node->changes.count; i++)
        content_apply(&node->durable, &node->changes.items[i]);
    node_forget_changes(node);
}

static void change_survive_in_part(
    struct fault_vfs *vfs, struct file_node *node, const struct change *change)
{
    if (change->truncation) {
        if (prng_below(&vfs->prng, 2))
            content_apply(&node->durable, change);
        return;
    }
    size_t next;
    for (size_t at = 0; at < change->size; at = next) {
        size_t sector_end = (change->offset + at) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES;
        next =
            sector_end - change->offset < change->size ? sector_end - change->offset : change->size;
        if (prng_below(&vfs->prng, 2))
            content_write(&node->durable, change->offset + at, change->bytes + at, next - at);
    }
}

void node_sync_in_part(struct fault_vfs *vfs, struct file_node *node)
{
    uint64_t how = prng_below(&vfs->prng, 3);
    for (size_t i = 0; how > 0 && i < node->changes.count; i++) {
        const struct change *change = &node->changes.items[i];
        if (how == 1)
            content_apply(&node->durable, change);
        else
            change_survive_in_part(vfs, node, change);
    }
    node_forget_changes(node);
}

/* ---- the machine -----------------------------------------------------------------------------
 */

void folder_sync(struct fault_vfs *vfs)
{
    for (size_t i = 0; i < vfs->nodes.count; i++)
        vfs->nodes.items[i]->linked_durably = vfs->nodes.items[i]->linked;
}

static void node_crash(struct fault_vfs *vfs, struct file_node *node)
{
    node_sync_in_part(vfs, node);
    node->linked = node->linked_durably;
    node->visible.size = 0;
    content_write(&node->visible, 0, node->durable.bytes, node->durable.size);
    node->shared = node->map_users = 0;
    node->reserved = node->exclusive = NULL;
    memset(node->map_shared, 0, sizeof node->map_shared);
    memset(node->map_exclusive, 0, sizeof node->map_exclusive);
    for (size_t i = 0; i < node->map.count; i++)
        vec_push(&vfs->old_maps, node->map.items[i]);
    vec_clear(&node->map);
}

void fault_vfs_crash(struct fault_vfs *vfs)
{
    LOCKED(vfs);
    if (prng_below(&vfs->prng, 2)) /* the folder may have reached the disk by itself */
        folder_sync(vfs);
    for (size_t i = 0; i < vfs->nodes.count; i++)
        node_crash(vfs, vfs->nodes.items[i]);
    vfs->generation++;
    vfs->crashed = true;
    vfs->fault = FAULT_NONE;
}

bool fault_vfs_restarted(struct fault_vfs *vfs)
{
    LOCKED(vfs);
    bool crashed = vfs->crashed;
    if (crashed)
        vfs->fault = FAULT_NONE;
    vfs->crashed = false;
    return crashed;
}

void fault_vfs_plan(struct fault_vfs *vfs, enum fault_kind kind, uint64_t after, uint64_t count)
{
    LOCKED(vfs);
    vfs->fault = kind;
    vfs->fault_from = vfs->operations + after;
    vfs->fault_to = vfs->fault_from + count;
}

uint64_t fault_vfs_operations(const struct fault_vfs *vfs)
{
    LOCKED(vfs);
    return vfs->operations;
}

enum fault_kind next_fault(struct fault_vfs *vfs)
{
    uint64_t number = vfs->operations++;
    return number >= vfs->fault_from && number < vfs->fault_to ? vfs->fault : FAULT_NONE;
}

void node_destroy(struct file_node *node)
{
    node_forget_changes(node);
    vec_free(&node->changes);
    for (size_t i = 0; i < node->map.count; i++)
        free(node->map.items[i]);
    vec_free(&node->map);
    free(node->visible.bytes);
    free(node->durable.bytes);
    free(node->name);
    free(node);
}
