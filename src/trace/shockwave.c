/* Traces of Shockwave (Zheng et al., NSDI 2023), in the form that Gavel has: fields between tabs,
 * no header. The type of a job, such as "ResNet-18 (batch size 32)", is its model; the batch of its
 * start is in it. */
#include "trace/reader.h"
#include "trace/readers.h"

#include <stdlib.h>
#include <string.h>

enum {
    TYPE,
    COMMAND,
    FOLDER,
    STEPS_OPTION,
    NEEDS_DATA,
    STEPS,
    GPUS,
    MODE,
    WEIGHT,
    SLO,
    DURATION,
    ARRIVAL
};
static const struct line_column columns[] = {{"job type"}, {"command"}, {"working directory"},
    {"steps argument"}, {"needs data"}, {"total steps"}, {"GPUs"}, {"mode"}, {"weight"}, {"SLO"},
    {"duration"}, {"arrival"}, {NULL}};

#define STEPS_MAX ((int64_t)1 << 50)

/* The number behind "batch size"; 0 where there is none. */
static int64_t batch_of(const char *type)
{
    static const char before[] = "(batch size ";
    const char *at = strstr(type, before);
    return at ? strtoll(at + sizeof before - 1, NULL, 10) : 0;
}

static int row(const struct lines *lines, struct trace_job *job, struct error *err)
{
    int64_t slo_ms;
    if (reader_text(lines, TYPE, true, &job->model, err) < 0 ||
        reader_text(lines, MODE, false, &job->mode, err) < 0 ||
        lines_int(lines, STEPS, 1, STEPS_MAX, &job->work, err) < 0 ||
        lines_decimal(lines, DURATION, 1000, 0, TRACE_TIME_MS_MAX, &job->duration_ms, err) < 0 ||
        lines_decimal(lines, ARRIVAL, 1000, 0, TRACE_TIME_MS_MAX, &job->submit_ms, err) < 0 ||
        lines_decimal(lines, SLO, 1000, -1000, TRACE_TIME_MS_MAX, &slo_ms, err) < 0)
        return -1;
    job->name = job->model;
    job->batch = batch_of(job->model);
    if (slo_ms > 0)
        job->deadline_ms = job->submit_ms + slo_ms;
    return reader_gang(lines, GPUS, job, err);
}

struct trace_source *shockwave_open(const struct trace_options *options, struct error *err)
{
    static const struct trace_reader reader = {
        .separator = '\t', .bare = true, .columns = columns, .row = row};
    return reader_open(&reader, options->jobs, err);
}
