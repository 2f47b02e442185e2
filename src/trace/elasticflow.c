/* Jobs with deadlines of ten production clusters: traces of ElasticFlow (Gu et al., ASPLOS 2023).
 */
#include "trace/reader.h"
#include "trace/readers.h"

enum { NAME, SUBMITTED, ITERATIONS, MODEL, DEADLINE, BATCH, GPUS, DURATION };
static const struct line_column columns[] = {{"job_id"}, {"submission_time"}, {"num_iteration"},
    {"model_name"}, {"deadline"}, {"batch_size"}, {"num_gpu"}, {"duration"}, {NULL}};

#define ITERATIONS_MAX ((int64_t)1 << 50)
enum { BATCH_MAX = 1 << 30 };

static int row(const struct lines *lines, struct trace_job *job, struct error *err)
{
    const int64_t latest_ms = TRACE_TIME_MS_MAX;
    if (reader_text(lines, NAME, true, &job->name, err) < 0 ||
        reader_text(lines, MODEL, true, &job->model, err) < 0 ||
        lines_decimal(lines, SUBMITTED, 1000, 0, latest_ms, &job->submit_ms, err) < 0 ||
        lines_decimal(lines, DEADLINE, 1000, 0, latest_ms, &job->deadline_ms, err) < 0 ||
        lines_decimal(lines, DURATION, 1000, 0, latest_ms, &job->duration_ms, err) < 0 ||
        lines_int(lines, ITERATIONS, 0, ITERATIONS_MAX, &job->work, err) < 0 ||
        lines_int(lines, BATCH, 1, BATCH_MAX, &job->batch, err) < 0)
        return -1;
    return reader_gang(lines, GPUS, job, err);
}

struct trace_source *elasticflow_open(const struct trace_options *options, struct error *err)
{
    static const struct trace_reader reader = {.separator = ',', .columns = columns, .row = row};
    return reader_open(&reader, options->jobs, err);
}
