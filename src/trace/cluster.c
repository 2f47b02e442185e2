/* The machines of a run: read from files, or said in a word. */
#include "trace/draw.h"
#include "trace/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* So large that CPU and memory never bind where a trace knows only of accelerators. */
#define AMPLE_CPU_MILLI    ((int64_t)1 << 30)
#define AMPLE_MEMORY_BYTES ((int64_t)1 << 46)

enum { CLUSTER_NODES_MAX = 100000, CLUSTER_CPUS_MAX = 100000 };

void trace_cluster_init(struct trace_cluster *cluster)
{
    *cluster = (struct trace_cluster){.arena = arena_create()};
}

void trace_cluster_finish(struct trace_cluster *cluster)
{
    vec_free(&cluster->nodes);
    arena_destroy(cluster->arena);
    *cluster = (struct trace_cluster){0};
}

void trace_cluster_add(
    struct trace_cluster *cluster, const struct trace_node *like, int64_t count, const char *prefix)
{
    struct arena *arena = cluster->arena;
    struct trace_node node = *like;
    node.type = arena_strdup(arena, like->type);
    node.accelerator = arena_strdup(arena, like->accelerator);
    struct trace_label *labels = arena_alloc(arena, like->label_count + 1, sizeof *labels);
    for (size_t i = 0; i < like->label_count; i++)
        labels[i] = (struct trace_label){
            arena_strdup(arena, like->labels[i].key), arena_strdup(arena, like->labels[i].value)};
    node.labels = labels;
    for (int64_t i = 0; i < count; i++) {
        node.name = count > 1 ? arena_printf(arena, "%s-%05" PRId64, prefix, i)
                              : arena_strdup(arena, prefix);
        vec_push(&cluster->nodes, node);
    }
}

/* A number from low to high at the start of *text, which moves behind it. */
static int number_take(const char **text, int64_t low, int64_t high, int64_t *ret)
{
    char *end;
    if (**text < '0' || **text > '9')
        return -1;
    errno = 0;
    long long value = strtoll(*text, &end, 10);
    if (errno || value < low || value > high)
        return -1;
    *text = end;
    *ret = value;
    return 0;
}

int trace_cluster_parse(struct trace_cluster *cluster, const char *text, struct error *err)
{
    int64_t nodes, devices, cpus = 0;
    char type[TRACE_TEXT_MAX + 1] = "gpu";
    const char *rest = text;
    bool fine = number_take(&rest, 1, CLUSTER_NODES_MAX, &nodes) == 0 && *rest++ == 'x' &&
                number_take(&rest, 0, TRACE_DEVICES_MAX, &devices) == 0;
    if (fine && *rest == ':') {
        size_t length = strcspn(++rest, "/");
        fine = length > 0 && length < sizeof type;
        snprintf(type, sizeof type, "%.*s", (int)(fine ? length : 0), rest);
        rest += length;
    }
    if (fine && *rest == '/') {
        rest++;
        fine = number_take(&rest, 1, CLUSTER_CPUS_MAX, &cpus) == 0;
    }
    if (!fine || *rest)
        return error_set(err, ERR_INVALID,
            "expected NODESxDEVICES[:TYPE][/CPUS], such as 16x4 or 64x8:A100, got \"%.60s\"", text);
    const struct trace_node like = {.accelerator = devices ? type : NULL,
        .devices = (int32_t)devices,
        .cpu_milli = cpus ? cpus * 1000 : AMPLE_CPU_MILLI,
        .memory_bytes = AMPLE_MEMORY_BYTES,
        .fractional = true};
    trace_cluster_add(cluster, &like, nodes, "node");
    return 0;
}

void trace_cluster_shuffle(
    const struct trace_cluster *from, uint64_t seed, struct trace_cluster *ret)
{
    enum { STREAM = 0x6e6f6465 }; /* not the numbers that jobs are drawn from */
    struct prng prng = {seed ^ STREAM};
    size_t count = from->nodes.count;
    SCOPED(mem_scope) size_t *order = mem_alloc(count + 1, sizeof *order);
    draw_order(&prng, order, count);
    for (size_t i = 0; i < count; i++)
        vec_push(&ret->nodes, from->nodes.items[order[i]]);
}

int64_t trace_cluster_accelerator_milli(const struct trace_cluster *cluster)
{
    int64_t milli = 0;
    for (size_t i = 0; i < cluster->nodes.count; i++)
        milli += (int64_t)cluster->nodes.items[i].devices * 1000;
    return milli;
}
