/* Jobs of a trace in memory, and a source over them. */
#include "base/map.h"
#include "trace/trace.h"

#include <stdlib.h>
#include <string.h>

struct trace_list {
    struct arena *arena;
    struct strmap texts; /* from a text to its one copy */
    VEC(struct trace_job) jobs;
};

struct list_source {
    struct trace_source source;
    struct trace_list *list;
    size_t next;
    int64_t times, time; /* that it comes, and that it came */
    int64_t span_ms;     /* from one time to the next */
};

int trace_next(struct trace_source *source, struct trace_job *ret_job, struct error *err)
{
    return source->type->next(source, ret_job, err);
}

void trace_close(struct trace_source *source)
{
    if (source)
        source->type->close(source);
}

struct trace_list *trace_list_create(void)
{
    struct trace_list *list = mem_alloc(1, sizeof *list);
    list->arena = arena_create();
    return list;
}

void trace_list_destroy(struct trace_list *list)
{
    if (!list)
        return;
    strmap_finish(&list->texts);
    vec_free(&list->jobs);
    arena_destroy(list->arena);
    free(list);
}

static const char *text_keep(struct trace_list *list, const char *text)
{
    if (!text || !*text)
        return "";
    char *kept = strmap_get(&list->texts, text);
    if (!kept) {
        kept = arena_strdup(list->arena, text);
        strmap_put(&list->texts, text, kept);
    }
    return kept;
}

void trace_list_add(struct trace_list *list, const struct trace_job *job)
{
    struct trace_job copy = *job;
    copy.name = arena_strdup(list->arena, job->name ? job->name : "");
    copy.team = text_keep(list, job->team);
    copy.model = text_keep(list, job->model);
    copy.accelerators = text_keep(list, job->accelerators);
    copy.mode = text_keep(list, job->mode);
    vec_push(&list->jobs, copy);
}

size_t trace_list_count(const struct trace_list *list)
{
    return list->jobs.count;
}

const struct trace_job *trace_list_at(const struct trace_list *list, size_t i)
{
    assert(i < list->jobs.count);
    return &list->jobs.items[i];
}

static int by_submission(const void *a, const void *b)
{
    const struct trace_job *left = a, *right = b;
    if (left->submit_ms != right->submit_ms)
        return left->submit_ms < right->submit_ms ? -1 : 1;
    return left->number < right->number ? -1 : left->number > right->number;
}

void trace_list_sort(struct trace_list *list)
{
    if (list->jobs.count)
        qsort(list->jobs.items, list->jobs.count, sizeof *list->jobs.items, by_submission);
}

void trace_list_shift(struct trace_list *list, int64_t ms)
{
    for (size_t i = 0; i < list->jobs.count; i++) {
        struct trace_job *job = &list->jobs.items[i];
        job->submit_ms -= ms;
        job->deadline_ms -= job->deadline_ms ? ms : 0;
    }
}

static int list_next(struct trace_source *source, struct trace_job *ret_job, struct error *err)
{
    struct list_source *from = (struct list_source *)source;
    if (from->next == from->list->jobs.count) {
        if (from->next == 0 || ++from->time >= from->times)
            return 0;
        from->next = 0;
    }
    struct trace_job job = from->list->jobs.items[from->next++];
    int64_t later_ms = from->time * from->span_ms;
    if (job.submit_ms + later_ms > TRACE_TIME_MS_MAX)
        return error_set(err, ERR_TOO_LARGE, "the trace goes on for more than 34 years");
    job.number += (uint64_t)from->time * from->list->jobs.count;
    job.submit_ms += later_ms;
    job.deadline_ms += job.deadline_ms ? later_ms : 0;
    *ret_job = job;
    return 1;
}

static void list_close(struct trace_source *source)
{
    struct list_source *from = (struct list_source *)source;
    trace_list_destroy(from->list);
    free(from);
}

struct trace_source *trace_list_source(struct trace_list *list)
{
    static const struct trace_source_type type = {list_next, list_close};
    struct list_source *source = mem_alloc(1, sizeof *source);
    source->source = (struct trace_source){&type, (int64_t)list->jobs.count};
    source->list = list;
    source->times = 1;
    return &source->source;
}

struct trace_source *trace_repeat(struct trace_source *source, int64_t times, struct error *err)
{
    struct trace_list *list = trace_list_read(source, err);
    if (!list)
        return NULL;
    struct list_source *repeat = (struct list_source *)trace_list_source(list);
    size_t count = list->jobs.count;
    repeat->times = times;
    repeat->source.expected *= times;
    if (count) {
        int64_t first_ms = list->jobs.items[0].submit_ms;
        int64_t length_ms = list->jobs.items[count - 1].submit_ms - first_ms;
        repeat->span_ms = length_ms + (count > 1 ? length_ms / (int64_t)(count - 1) : 0);
    }
    return &repeat->source;
}

struct trace_list *trace_list_read(struct trace_source *source, struct error *err)
{
    struct trace_list *list = trace_list_create();
    struct trace_job job;
    int got;
    while ((got = trace_next(source, &job, err)) > 0) {
        if (list->jobs.count >= TRACE_LIST_MAX) {
            got = error_set(err, ERR_TOO_LARGE, "the trace has more than %d jobs", TRACE_LIST_MAX);
            break;
        }
        trace_list_add(list, &job);
    }
    trace_close(source);
    if (got == 0)
        return list;
    trace_list_destroy(list);
    return NULL;
}
