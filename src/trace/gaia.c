/* A year of jobs of Alibaba's PAI, Azure and LANL's Mustang as GAIA (Hanafy et al., ASPLOS 2024)
 * has them: when they come, how long they take, and how many CPUs. A CPU is a rank. */
#include "trace/reader.h"
#include "trace/readers.h"

enum { ARRIVAL, LENGTH, CPUS };
static const struct line_column columns[] = {{"arrival_time"}, {"length"}, {"cpus"}, {NULL}};

static int row_in(
    const struct lines *lines, int64_t unit_ms, struct trace_job *job, struct error *err)
{
    const int64_t latest_ms = TRACE_TIME_MS_MAX;
    if (lines_decimal(lines, ARRIVAL, unit_ms, 0, latest_ms, &job->submit_ms, err) < 0 ||
        lines_decimal(lines, LENGTH, unit_ms, 0, latest_ms, &job->duration_ms, err) < 0 ||
        reader_gang(lines, CPUS, job, err) < 0)
        return -1;
    job->accelerator_milli = 0;
    job->cpu_milli = 1000;
    return 0;
}

static int row_hours(const struct lines *lines, struct trace_job *job, struct error *err)
{
    return row_in(lines, 3600 * 1000, job, err);
}

static int row_seconds(const struct lines *lines, struct trace_job *job, struct error *err)
{
    return row_in(lines, 1000, job, err);
}

struct trace_source *gaia_open(const struct trace_options *options, struct error *err)
{
    static const struct trace_reader reader = {
        .separator = ',', .columns = columns, .row = row_hours};
    return reader_open(&reader, options->jobs, err);
}

struct trace_source *gaia_week_open(const struct trace_options *options, struct error *err)
{
    static const struct trace_reader reader = {
        .separator = ',', .columns = columns, .row = row_seconds};
    return reader_open(&reader, options->jobs, err);
}
