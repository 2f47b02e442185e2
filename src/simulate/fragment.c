/* Counts the shapes of a list of jobs, and F of a node over the typical ones. */
#include "simulate/fragment.h"

#include "base/map.h"
#include "base/strbuf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { COVER_PER_MILLE = 950, DEVICE_MILLI = 1000 };

struct shape {
    int64_t cpu_milli;
    int32_t devices;      /* 0: asks for no GPU */
    int32_t device_milli; /* of each */
    const char *types;    /* of the first job that asks so; "": any */
    int64_t count;
    size_t order; /* of first appearance: what equal counts go by */
};

struct fragment_mix {
    struct arena *arena;
    VEC(struct shape) shapes; /* the typical ones, by falling count */
    int64_t total;            /* of their counts */
};

static int by_count(const void *a, const void *b)
{
    const struct shape *left = a, *right = b;
    if (left->count != right->count)
        return left->count > right->count ? -1 : 1;
    return left->order < right->order ? -1 : left->order > right->order;
}

static void shapes_count(struct fragment_mix *mix, const struct trace_list *jobs)
{
    struct strmap known = {0}; /* from a shape's key to its place in the list, plus one */
    struct strbuf key = {0};
    for (size_t i = 0; i < trace_list_count(jobs); i++) {
        const struct trace_job *job = trace_list_at(jobs, i);
        strbuf_clear(&key);
        strbuf_printf(&key, "%" PRId64 " %" PRId64 " %s", job->cpu_milli, job->accelerator_milli,
            job->accelerators);
        size_t at = (size_t)(uintptr_t)strmap_get(&known, strbuf_text(&key));
        if (!at) {
            int64_t milli = job->accelerator_milli;
            struct shape shape = {.cpu_milli = job->cpu_milli,
                .devices = (int32_t)((milli + DEVICE_MILLI - 1) / DEVICE_MILLI),
                .device_milli = (int32_t)(milli < DEVICE_MILLI ? milli : DEVICE_MILLI),
                .types = arena_strdup(mix->arena, job->accelerators),
                .order = mix->shapes.count};
            vec_push(&mix->shapes, shape);
            at = mix->shapes.count;
            strmap_put(&known, strbuf_text(&key), (void *)(uintptr_t)at);
        }
        mix->shapes.items[at - 1].count++;
    }
    strmap_finish(&known);
    strbuf_finish(&key);
}

struct fragment_mix *fragment_mix_create(const struct trace_list *jobs)
{
    struct fragment_mix *mix = mem_alloc(1, sizeof *mix);
    mix->arena = arena_create();
    shapes_count(mix, jobs);
    if (mix->shapes.count)
        qsort(mix->shapes.items, mix->shapes.count, sizeof *mix->shapes.items, by_count);
    int64_t all = (int64_t)trace_list_count(jobs);
    size_t typical = 0;
    while (typical < mix->shapes.count && mix->total * 1000 < all * COVER_PER_MILLE)
        mix->total += mix->shapes.items[typical++].count;
    mix->shapes.count = typical;
    return mix;
}

void fragment_mix_destroy(struct fragment_mix *mix)
{
    if (!mix)
        return;
    vec_free(&mix->shapes);
    arena_destroy(mix->arena);
    free(mix);
}

size_t fragment_mix_count(const struct fragment_mix *mix)
{
    return mix->shapes.count;
}

static bool type_listed(const char *types, const char *type)
{
    size_t length = strlen(type);
    for (const char *at = types; *at;) {
        size_t item = strcspn(at, "|");
        if (item == length && memcmp(at, type, length) == 0)
            return true;
        at += item + (at[item] == '|');
    }
    return false;
}

static bool shape_goes(const struct shape *shape, const struct fragment_node *node)
{
    if (shape->devices == 0 || shape->cpu_milli > node->cpu_milli)
        return false;
    if (*shape->types && (!node->accelerator || !type_listed(shape->types, node->accelerator)))
        return false;
    int32_t usable = 0;
    for (int32_t i = 0; i < node->devices; i++)
        usable += node->device_milli[i] >= shape->device_milli;
    return usable >= shape->devices;
}

/* Idle on devices that have less left than the share. */
static int64_t too_small(const struct shape *shape, const struct fragment_node *node)
{
    int64_t milli = 0;
    for (int32_t i = 0; i < node->devices; i++)
        milli += node->device_milli[i] < shape->device_milli ? node->device_milli[i] : 0;
    return milli;
}

int64_t fragment_micro(const struct fragment_mix *mix, const struct fragment_node *node)
{
    int64_t idle_milli = 0;
    for (int32_t i = 0; i < node->devices; i++)
        idle_milli += node->device_milli[i];
    if (idle_milli == 0 || mix->total == 0)
        return 0;
    __int128 sum = 0;
    for (size_t s = 0; s < mix->shapes.count; s++) {
        const struct shape *shape = &mix->shapes.items[s];
        int64_t lost_milli = shape_goes(shape, node) ? too_small(shape, node) : idle_milli;
        sum += (__int128)lost_milli * shape->count;
    }
    return (int64_t)((sum * 1000 + mix->total / 2) / mix->total);
}
