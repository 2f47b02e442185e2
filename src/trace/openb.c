/* openb: nodes and pods of Alibaba's GPU-sharing cluster (cluster-trace-gpu-v2023), and the order
 * in which "Beware of Fragmentation" (Weng et al., ATC 2023) lets them arrive: the list shuffled,
 * then copies of pods drawn from it, while what all ask for stays within a share of the cluster.
 * Nodes are shuffled as well: trace_cluster_shuffle. */
#include "trace/draw.h"
#include "trace/reader.h"
#include "trace/readers.h"

#include <stdlib.h>
#include <string.h>

#define MIB ((int64_t)1 << 20)

enum { NODES_LISTED_MAX = 100000 };

/* ---- nodes ----------------------------------------------------------------------------- */

enum { NODE_NAME, NODE_CPU, NODE_MEMORY, NODE_DEVICES, NODE_MODEL };
static const struct line_column node_columns[] = {
    {"sn"}, {"cpu_milli"}, {"memory_mib"}, {"gpu"}, {"model"}, {NULL}};

static int node_read(struct trace_cluster *cluster, const struct lines *lines, struct error *err)
{
    int64_t cpu_milli, memory_mib, devices;
    const char *name = lines_text(lines, NODE_NAME), *model = lines_text(lines, NODE_MODEL);
    if (lines_int(lines, NODE_CPU, 1, TRACE_AMOUNT_MAX, &cpu_milli, err) < 0 ||
        lines_int(lines, NODE_MEMORY, 1, TRACE_AMOUNT_MAX / MIB, &memory_mib, err) < 0 ||
        lines_int(lines, NODE_DEVICES, 0, TRACE_DEVICES_MAX, &devices, err) < 0)
        return -1;
    if (!*name || strlen(name) > TRACE_TEXT_MAX)
        return lines_expected(lines, NODE_NAME, "a name of at most 200 bytes", err);
    if ((devices && !*model) || strlen(model) > TRACE_TEXT_MAX)
        return lines_expected(lines, NODE_MODEL, "the type of its accelerators", err);
    const struct trace_node node = {.accelerator = devices ? model : NULL,
        .devices = (int32_t)devices,
        .cpu_milli = cpu_milli,
        .memory_bytes = memory_mib * MIB,
        .fractional = true};
    trace_cluster_add(cluster, &node, 1, name);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct trace_node *)a)->name, ((const struct trace_node *)b)->name);
}

/* In order of their names, which does not depend on that of the file. */
int openb_nodes(struct trace_cluster *cluster, const char *path, struct error *err)
{
    struct lines *lines = lines_open(path, ',', false, node_columns, err);
    int got = lines ? 1 : -1;
    while (got > 0 && (got = lines_next(lines, err)) > 0) {
        if (cluster->nodes.count >= NODES_LISTED_MAX)
            got = error_set(err, ERR_TOO_LARGE, "%s: more than %d nodes", path, NODES_LISTED_MAX);
        else if (node_read(cluster, lines, err) < 0)
            got = -1;
    }
    lines_close(lines);
    if (got == 0 && cluster->nodes.count)
        qsort(cluster->nodes.items, cluster->nodes.count, sizeof *cluster->nodes.items, by_name);
    return got;
}

/* ---- pods ------------------------------------------------------------------------------ */

enum { POD_NAME, POD_CPU, POD_MEMORY, POD_DEVICES, POD_MILLI, POD_TYPES, POD_CREATED, POD_DELETED };
static const struct line_column pod_columns[] = {{"name"}, {"cpu_milli"}, {"memory_mib"},
    {"num_gpu"}, {"gpu_milli"}, {"gpu_spec", true}, {"creation_time", true},
    {"deletion_time", true}, {NULL}};

static int pod_times(const struct lines *lines, struct trace_job *job, struct error *err)
{
    int64_t deleted_ms = 0;
    if (!lines_has(lines, POD_CREATED) || !lines_has(lines, POD_DELETED))
        return 0;
    if (lines_decimal(lines, POD_CREATED, 1000, 0, TRACE_TIME_MS_MAX, &job->submit_ms, err) < 0 ||
        lines_decimal(lines, POD_DELETED, 1000, 0, TRACE_TIME_MS_MAX, &deleted_ms, err) < 0)
        return -1;
    job->duration_ms = deleted_ms > job->submit_ms ? deleted_ms - job->submit_ms : 1;
    return 0;
}

static int pod_row(const struct lines *lines, struct trace_job *job, struct error *err)
{
    int64_t memory_mib, devices, milli;
    if (reader_text(lines, POD_NAME, true, &job->name, err) < 0 ||
        reader_text(lines, POD_TYPES, false, &job->accelerators, err) < 0 ||
        lines_int(lines, POD_CPU, 0, TRACE_AMOUNT_MAX, &job->cpu_milli, err) < 0 ||
        lines_int(lines, POD_MEMORY, 0, TRACE_AMOUNT_MAX / MIB, &memory_mib, err) < 0 ||
        lines_int(lines, POD_DEVICES, 0, TRACE_DEVICES_MAX, &devices, err) < 0 ||
        lines_int(lines, POD_MILLI, 0, 1000, &milli, err) < 0)
        return -1;
    if (devices == 1 ? milli == 0 : devices > 1 && milli < 1000)
        return lines_expected(
            lines, POD_MILLI, "thousandths of a GPU, 1000 for more than one GPU", err);
    job->memory_bytes = memory_mib * MIB;
    job->accelerator_milli = devices * milli;
    return pod_times(lines, job, err);
}

static const struct trace_reader pods = {.separator = ',', .columns = pod_columns, .row = pod_row};

/* The same where the times matter: some of the published lists have none. */
static const struct line_column timed_columns[] = {{"name"}, {"cpu_milli"}, {"memory_mib"},
    {"num_gpu"}, {"gpu_milli"}, {"gpu_spec", true}, {"creation_time"}, {"deletion_time"}, {NULL}};
static const struct trace_reader timed_pods = {
    .separator = ',', .columns = timed_columns, .row = pod_row};

struct trace_list *openb_pods_read(const char *path, struct error *err)
{
    return reader_list(&pods, path, err);
}

/* ---- the order of arrivals ------------------------------------------------------------- */

enum { ARRIVALS_MAX = 10 * 1000 * 1000, COPIES_MAX = 1000 }; /* of each pod, on average */

/* How many may arrive at most: a list that asks for next to nothing would go on for ever. */
static size_t arrivals_bound(const struct trace_list *all)
{
    size_t count = trace_list_count(all);
    int64_t milli = 0;
    for (size_t i = 0; i < count; i++)
        milli += trace_list_at(all, i)->accelerator_milli;
    size_t bound = milli ? count * COPIES_MAX : count;
    return bound < ARRIVALS_MAX ? bound : ARRIVALS_MAX;
}

static struct trace_list *arrange(const struct trace_list *all, uint64_t seed, int64_t target_milli)
{
    size_t count = trace_list_count(all);
    struct prng prng = {seed};
    struct trace_list *list = trace_list_create();
    SCOPED(mem_scope) size_t *order = mem_alloc(count + 1, sizeof *order);
    draw_order(&prng, order, count);
    int64_t asked_milli = 0;
    size_t bound = arrivals_bound(all);
    for (size_t i = 0; i < bound; i++) {
        size_t at = i < count ? order[i] : (size_t)prng_below(&prng, count);
        struct trace_job job = *trace_list_at(all, at);
        if (asked_milli + job.accelerator_milli > target_milli)
            break;
        asked_milli += job.accelerator_milli;
        job.number = i;
        job.submit_ms = 0;
        trace_list_add(list, &job);
    }
    return list;
}

struct trace_source *openb_open(const struct trace_options *options, struct error *err)
{
    if (options->steady)
        return reader_open(&timed_pods, options->jobs, err);
    struct trace_list *all = openb_pods_read(options->jobs, err);
    if (!all)
        return NULL;
    int64_t target_milli = (int64_t)((__int128)options->cluster_milli * options->tune_milli / 1000);
    struct trace_list *list = arrange(all, options->seed, target_milli);
    trace_list_destroy(all);
    return trace_list_source(list);
}
