/* A source over the lines of a file. */
#include "trace/reader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct reader_source {
    struct trace_source source;
    const struct trace_reader *reader;
    struct lines *lines;
    uint64_t number;
    int64_t before_ms;
};

static int source_next(struct trace_source *source, struct trace_job *ret_job, struct error *err)
{
    struct reader_source *from = (struct reader_source *)source;
    int got = lines_next(from->lines, err);
    if (got == 0 && from->number == 0)
        return lines_wrong(from->lines, "the trace ends before its first job", err);
    if (got <= 0)
        return got;
    struct trace_job job = {.number = from->number++,
        .name = "",
        .team = "",
        .model = "",
        .accelerators = "",
        .mode = "",
        .ranks = 1,
        .ranks_min = 1,
        .ranks_max = 1,
        .priority = READER_PRIORITY,
        .preemptible = true};
    if (from->reader->row(from->lines, &job, err) < 0)
        return -1;
    if (from->reader->sorted && job.submit_ms < from->before_ms)
        return lines_wrong(from->lines, "the job comes before the one of the line above", err);
    from->before_ms = job.submit_ms;
    *ret_job = job;
    return 1;
}

static void source_close(struct trace_source *source)
{
    lines_close(((struct reader_source *)source)->lines);
    free(source);
}

static struct trace_source *lines_source(
    const struct trace_reader *reader, const char *path, struct error *err)
{
    static const struct trace_source_type type = {source_next, source_close};
    struct lines *lines = lines_open(path, reader->separator, reader->bare, reader->columns, err);
    if (lines && reader->strict && lines_strict(lines, err) < 0) {
        lines_close(lines);
        lines = NULL;
    }
    if (!lines)
        return NULL;
    struct reader_source *source = mem_alloc(1, sizeof *source);
    source->source.type = &type;
    source->reader = reader;
    source->lines = lines;
    return &source->source;
}

struct trace_list *reader_list(
    const struct trace_reader *reader, const char *path, struct error *err)
{
    struct trace_source *source = lines_source(reader, path, err);
    return source ? trace_list_read(source, err) : NULL;
}

struct trace_source *reader_open(
    const struct trace_reader *reader, const char *path, struct error *err)
{
    if (reader->sorted)
        return lines_source(reader, path, err);
    struct trace_list *list = reader_list(reader, path, err);
    if (!list)
        return NULL;
    trace_list_sort(list);
    return trace_list_source(list);
}

int reader_text(
    const struct lines *lines, size_t column, bool need, const char **ret, struct error *err)
{
    const char *text = lines_text(lines, column);
    if ((need && !*text) || strlen(text) > TRACE_TEXT_MAX)
        return lines_expected(
            lines, column, need ? "a text of 1 to 200 bytes" : "a text of at most 200 bytes", err);
    *ret = text;
    return 0;
}

int reader_gang(const struct lines *lines, size_t column, struct trace_job *job, struct error *err)
{
    int64_t ranks;
    if (lines_int(lines, column, 1, TRACE_RANKS_MAX, &ranks, err) < 0)
        return -1;
    job->ranks = job->ranks_min = job->ranks_max = (int32_t)ranks;
    job->accelerator_milli = 1000;
    return 0;
}
