/* Fuzz target: every reader of traces. The first byte chooses one, the rest is its file. What is
 * read has to be within the bounds of trace.h and in order of time. */
#include "trace/readers.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { JOBS_READ_MAX = 100000 };

static void check_job(const struct trace_job *job, int64_t before_ms)
{
    assert(job->submit_ms >= before_ms && job->submit_ms <= TRACE_TIME_MS_MAX);
    assert(job->duration_ms >= 0 && job->duration_ms <= TRACE_TIME_MS_MAX);
    assert(job->ranks >= 1 && job->ranks <= TRACE_RANKS_MAX);
    assert(job->ranks_min >= 1 && job->ranks_min <= job->ranks && job->ranks <= job->ranks_max);
    assert(job->cpu_milli >= 0 && job->cpu_milli <= TRACE_AMOUNT_MAX);
    assert(job->memory_bytes >= 0 && job->memory_bytes <= TRACE_AMOUNT_MAX);
    assert(job->accelerator_milli >= 0 && job->accelerator_milli <= TRACE_DEVICES_MAX * 1000);
    assert(job->priority >= 0 && job->priority <= 1000 && job->checkpoint_ms >= -1);
    const char *const texts[] = {job->name, job->team, job->model, job->accelerators, job->mode};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert(texts[i] && strlen(texts[i]) <= TRACE_TEXT_MAX);
}

static void read_jobs(const struct trace_format *format, const char *path)
{
    const struct trace_options options = {
        .jobs = path, .seed = 1, .tune_milli = 1300, .cluster_milli = 8000};
    struct trace_job job;
    struct error err;
    int64_t before_ms = 0;
    struct trace_source *source = format->open(&options, &err);
    for (int i = 0; source && i < JOBS_READ_MAX && trace_next(source, &job, &err) > 0; i++) {
        check_job(&job, before_ms);
        before_ms = job.submit_ms;
    }
    trace_close(source);
}

static void read_nodes(const struct trace_format *format, const char *path)
{
    struct trace_cluster cluster;
    struct error err;
    trace_cluster_init(&cluster);
    if (format->nodes(&cluster, path, &err) == 0) {
        for (size_t i = 0; i < cluster.nodes.count; i++) {
            const struct trace_node *node = &cluster.nodes.items[i];
            assert(node->devices >= 0 && node->devices <= TRACE_DEVICES_MAX);
            assert(node->cpu_milli > 0 && node->memory_bytes > 0);
            assert(!node->devices || node->accelerator);
        }
    }
    trace_cluster_finish(&cluster);
}

static void read_events(const char *path)
{
    struct trace_events events = {0};
    struct error err;
    if (trace_events_read(&events, path, &err) == 0)
        trace_events_finish(&events);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t formats = 0;
    if (size == 0)
        return 0;
    while (trace_format_at(formats))
        formats++;
    int fd = memfd_create("trace", 0);
    assert(fd >= 0);
    ssize_t written = write(fd, data + 1, size - 1);
    assert(written == (ssize_t)(size - 1));
    (void)written;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    size_t choice = data[0] % (2 * formats + 1);
    const struct trace_format *format = trace_format_at(choice % formats);
    if (choice == 2 * formats)
        read_events(path);
    else if (choice < formats)
        read_jobs(format, path);
    else if (format->nodes)
        read_nodes(format, path);
    close(fd);
    return 0;
}
