/* Workloads of Pollux (Qiao et al., OSDI 2021): what is trained, on how many GPUs, with which total
 * batch. How long it takes is not in them: the model has to know. */
#include "trace/reader.h"
#include "trace/readers.h"

enum { NAME, TIME, APPLICATION, REPLICAS, BATCH };
static const struct line_column columns[] = {
    {"name"}, {"time"}, {"application"}, {"num_replicas"}, {"batch_size"}, {NULL}};

enum { BATCH_MAX = 1 << 30 };

static int row(const struct lines *lines, struct trace_job *job, struct error *err)
{
    if (reader_text(lines, NAME, true, &job->name, err) < 0 ||
        reader_text(lines, APPLICATION, true, &job->model, err) < 0 ||
        lines_decimal(lines, TIME, 1000, 0, TRACE_TIME_MS_MAX, &job->submit_ms, err) < 0 ||
        lines_int(lines, BATCH, 1, BATCH_MAX, &job->batch, err) < 0)
        return -1;
    return reader_gang(lines, REPLICAS, job, err);
}

struct trace_source *pollux_open(const struct trace_options *options, struct error *err)
{
    static const struct trace_reader reader = {.separator = ',', .columns = columns, .row = row};
    return reader_open(&reader, options->jobs, err);
}
