/* Our own format: CSV with a header, strict. Unknown columns, jobs out of order and values out of
 * their range are errors with file and line; docs/simulate.md has every column. Jobs are read as
 * they are needed, so that a trace may be larger than memory. */
#include "trace/reader.h"
#include "trace/readers.h"

#include <string.h>

/* ---- jobs ------------------------------------------------------------------------------ */

enum {
    NAME,
    SUBMIT,
    DURATION,
    RANKS,
    TEAM,
    MODEL,
    RANKS_MIN,
    RANKS_MAX,
    CPUS,
    MEMORY,
    ACCELERATORS,
    TYPES,
    PRIORITY,
    PREEMPTIBLE,
    DEADLINE,
    CHECKPOINT,
    WORK,
    BATCH
};
static const struct line_column job_columns[] = {{"name"}, {"submit"}, {"duration"},
    {"ranks", true}, {"team", true}, {"model", true}, {"ranks_min", true}, {"ranks_max", true},
    {"cpus", true}, {"memory_gib", true}, {"accelerators", true}, {"accelerator_types", true},
    {"priority", true}, {"preemptible", true}, {"deadline", true}, {"checkpoint", true},
    {"work", true}, {"batch", true}, {NULL}};

#define GIB          ((int64_t)1 << 30)
#define WORK_MAX     ((int64_t)1 << 50)
#define LATEST       TRACE_TIME_MS_MAX
#define DEVICE_MILLI 1000

/* A number that may be left out, and then stays as it is. */
static int may_int(const struct lines *lines, size_t column, int64_t low, int64_t high,
    int64_t *value, struct error *err)
{
    return *lines_text(lines, column) ? lines_int(lines, column, low, high, value, err) : 0;
}

static int may_decimal(const struct lines *lines, size_t column, int64_t scale, int64_t low,
    int64_t high, int64_t *value, struct error *err)
{
    return *lines_text(lines, column) ? lines_decimal(lines, column, scale, low, high, value, err)
                                      : 0;
}

static int may_bool(const struct lines *lines, size_t column, bool *value, struct error *err)
{
    const char *text = lines_text(lines, column);
    if (!*text)
        return 0;
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return lines_expected(lines, column, "true or false", err);
    *value = text[0] == 't';
    return 0;
}

static int row_gang(const struct lines *lines, struct trace_job *job, struct error *err)
{
    int64_t ranks = 1, least, most;
    if (may_int(lines, RANKS, 1, TRACE_RANKS_MAX, &ranks, err) < 0)
        return -1;
    least = most = ranks;
    if (may_int(lines, RANKS_MIN, 1, ranks, &least, err) < 0 ||
        may_int(lines, RANKS_MAX, ranks, TRACE_RANKS_MAX, &most, err) < 0)
        return -1;
    job->ranks = (int32_t)ranks;
    job->ranks_min = (int32_t)least;
    job->ranks_max = (int32_t)most;
    return 0;
}

static int row_resources(const struct lines *lines, struct trace_job *job, struct error *err)
{
    const int64_t devices_max = TRACE_DEVICES_MAX * DEVICE_MILLI;
    if (may_decimal(lines, CPUS, 1000, 0, TRACE_AMOUNT_MAX, &job->cpu_milli, err) < 0 ||
        may_decimal(lines, MEMORY, GIB, 0, TRACE_AMOUNT_MAX, &job->memory_bytes, err) < 0 ||
        may_decimal(
            lines, ACCELERATORS, DEVICE_MILLI, 0, devices_max, &job->accelerator_milli, err) < 0 ||
        reader_text(lines, TYPES, false, &job->accelerators, err) < 0)
        return -1;
    if (job->accelerator_milli > DEVICE_MILLI && job->accelerator_milli % DEVICE_MILLI)
        return lines_expected(lines, ACCELERATORS, "whole accelerators or a share of one", err);
    return 0;
}

static int row_rules(const struct lines *lines, struct trace_job *job, struct error *err)
{
    int64_t priority = READER_PRIORITY;
    if (may_int(lines, PRIORITY, 0, 1000, &priority, err) < 0 ||
        may_bool(lines, PREEMPTIBLE, &job->preemptible, err) < 0 ||
        may_decimal(lines, DEADLINE, 1000, 0, LATEST, &job->deadline_ms, err) < 0 ||
        may_decimal(lines, CHECKPOINT, 1000, -1000, LATEST, &job->checkpoint_ms, err) < 0 ||
        may_int(lines, WORK, 0, WORK_MAX, &job->work, err) < 0)
        return -1;
    if (job->checkpoint_ms < 0)
        job->checkpoint_ms = -1;
    job->priority = (int32_t)priority;
    return may_int(lines, BATCH, 0, WORK_MAX, &job->batch, err);
}

static int row(const struct lines *lines, struct trace_job *job, struct error *err)
{
    if (reader_text(lines, NAME, true, &job->name, err) < 0 ||
        reader_text(lines, TEAM, false, &job->team, err) < 0 ||
        reader_text(lines, MODEL, false, &job->model, err) < 0 ||
        lines_decimal(lines, SUBMIT, 1000, 0, LATEST, &job->submit_ms, err) < 0 ||
        lines_decimal(lines, DURATION, 1000, 1, LATEST, &job->duration_ms, err) < 0)
        return -1;
    if (row_gang(lines, job, err) < 0 || row_resources(lines, job, err) < 0)
        return -1;
    return row_rules(lines, job, err);
}

struct trace_source *csv_open(const struct trace_options *options, struct error *err)
{
    static const struct trace_reader reader = {
        .separator = ',', .strict = true, .sorted = true, .columns = job_columns, .row = row};
    return reader_open(&reader, options->jobs, err);
}

/* ---- machines -------------------------------------------------------------------------- */

enum {
    NODE_NAME,
    NODE_CPUS,
    NODE_MEMORY,
    NODE_COUNT,
    NODE_DEVICES,
    NODE_ACCELERATOR,
    NODE_TYPE,
    NODE_SHARED,
    NODE_SPOT,
    NODE_PRICE
};
static const struct line_column node_columns[] = {{"name"}, {"cpus"}, {"memory_gib"},
    {"count", true}, {"accelerators", true}, {"accelerator", true}, {"type", true},
    {"shared", true}, {"spot", true}, {"price_hour", true}, {NULL}};

enum { COUNT_MAX = 100000 };
#define PRICE_MAX ((int64_t)1 << 40)

static int node_row(struct trace_cluster *cluster, const struct lines *lines, struct error *err)
{
    struct trace_node node = {.fractional = true};
    const char *name, *accelerator, *type;
    int64_t count = 1, devices = 0;
    if (reader_text(lines, NODE_NAME, true, &name, err) < 0 ||
        reader_text(lines, NODE_ACCELERATOR, false, &accelerator, err) < 0 ||
        reader_text(lines, NODE_TYPE, false, &type, err) < 0 ||
        may_int(lines, NODE_COUNT, 1, COUNT_MAX, &count, err) < 0 ||
        may_int(lines, NODE_DEVICES, 0, TRACE_DEVICES_MAX, &devices, err) < 0 ||
        lines_decimal(lines, NODE_CPUS, 1000, 1, TRACE_AMOUNT_MAX, &node.cpu_milli, err) < 0 ||
        lines_decimal(lines, NODE_MEMORY, GIB, 1, TRACE_AMOUNT_MAX, &node.memory_bytes, err) < 0 ||
        may_bool(lines, NODE_SHARED, &node.fractional, err) < 0 ||
        may_bool(lines, NODE_SPOT, &node.spot, err) < 0 ||
        may_decimal(lines, NODE_PRICE, 1000000, 0, PRICE_MAX, &node.hour_micro, err) < 0)
        return -1;
    if (devices && !*accelerator)
        return lines_expected(lines, NODE_ACCELERATOR, "the type of its accelerators", err);
    node.devices = (int32_t)devices;
    node.accelerator = devices ? accelerator : NULL;
    node.type = *type ? type : NULL;
    if (node.hour_micro && !node.type)
        return lines_expected(lines, NODE_TYPE, "a type of node, which its price goes by", err);
    if ((int64_t)cluster->nodes.count + count > COUNT_MAX)
        return lines_wrong(lines, "more than 100000 machines", err);
    trace_cluster_add(cluster, &node, count, name);
    return 0;
}

int csv_nodes(struct trace_cluster *cluster, const char *path, struct error *err)
{
    struct lines *lines = lines_open(path, ',', false, node_columns, err);
    int got = lines ? 1 : -1;
    if (lines && lines_strict(lines, err) < 0)
        got = -1;
    while (got > 0 && (got = lines_next(lines, err)) > 0)
        got = node_row(cluster, lines, err) < 0 ? -1 : 1;
    lines_close(lines);
    return got;
}
