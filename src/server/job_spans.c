/* See job_spans.h. The queue is a ring; what is in a request that is being sent has left it, and is
 * counted when the collector has answered. */
#include "server/job_spans.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "core/rows.h"
#include "gateway/trace.h"
#include "server/names.h"
#include "wire/otlp.h"
#include "wire/otlp_export.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct job_spans {
    struct event_base *base;
    struct otlp_export *out;
    struct job_span *ring; /* JOB_SPANS_MAX */
    size_t first, count;
    struct job_spans_counts counts;
    char instance[300];
    bool over;
};

/* ---- a span ---------------------------------------------------------------------------------- */

static const char *const kind_names[JOB_SPAN_KINDS] = {
    [JOB_SPAN_JOB] = "job",
    [JOB_SPAN_HELD] = "held",
    [JOB_SPAN_WAIT] = "wait",
    [JOB_SPAN_QUEUE] = "queue",
    [JOB_SPAN_ATTEMPT] = "attempt",
    [JOB_SPAN_START] = "start",
    [JOB_SPAN_RUN] = "run",
    [JOB_SPAN_STOP] = "stop",
    [JOB_SPAN_CHECKPOINT] = "checkpoint",
};

/* What a span tells of an end. That of a checkpoint or of a wait has none. */
static bool has_end(enum job_span_kind kind)
{
    return kind == JOB_SPAN_JOB || kind == JOB_SPAN_ATTEMPT || kind == JOB_SPAN_RUN ||
           kind == JOB_SPAN_STOP;
}

/* A job that ended as it was told to did not fail, and an attempt that gave way neither. */
static const char *failure(const struct job_span *span)
{
    static const bool fine[END_REASON_COUNT] = {[END_NONE] = true,
        [END_SUCCEEDED] = true,
        [END_PREEMPTED] = true,
        [END_CANCELLED] = true,
        [END_DRAINED] = true,
        [END_RESIZED] = true,
        [END_REPLACED] = true,
        [END_MOVED] = true};
    return has_end(span->kind) && !fine[span->reason] ? end_reason_names[span->reason] : NULL;
}

static void put_end(const struct job_span *span, struct strbuf *out)
{
    char id[JOB_ID_TEXT];
    if (!has_end(span->kind) || span->reason == END_NONE)
        return;
    otlp_put_text(out, "muster.reason", end_reason_names[span->reason]);
    if (span->reason == END_EXIT)
        otlp_put_number(out, "process.exit.code", span->exit_status);
    if (span->reason == END_SIGNAL)
        otlp_put_number(out, "muster.signal", span->exit_status);
    if (span->for_job)
        otlp_put_text(out, "muster.for_job", names_job_id(span->for_job, id));
}

void job_span_write(const struct job_span *span, struct strbuf *out)
{
    static const uint8_t none[sizeof span->parent];
    bool below = memcmp(span->parent, none, sizeof none) != 0;
    const struct otlp_span head = {.trace = span->trace,
        .id = span->id,
        .parent = below ? span->parent : NULL,
        .name = kind_names[span->kind],
        .kind = OTLP_INTERNAL,
        .flags = OTLP_PARENT_KNOWN | TRACE_SAMPLED |
                 (below && span->kind == JOB_SPAN_JOB ? (unsigned)OTLP_PARENT_REMOTE : 0),
        .begin_ns = span->begin_ms * 1000000,
        .end_ns = span->end_ms * 1000000};
    char id[JOB_ID_TEXT];
    otlp_span_begin(out, &head);
    otlp_put_text(out, "muster.job.id", names_job_id(span->job, id));
    otlp_put_text(out, "muster.job.name", span->name);
    otlp_put_text(out, "muster.team", span->team);
    if (*span->class_name)
        otlp_put_text(out, "muster.class", span->class_name);
    if (span->number > 0)
        otlp_put_number(out, "muster.attempt", span->number);
    if (span->ranks > 0)
        otlp_put_number(out, "muster.ranks", span->ranks);
    if (span->kind == JOB_SPAN_JOB) {
        otlp_put_number(out, "muster.attempts", span->attempts);
        otlp_put_number(out, "muster.preemptions", span->preemptions);
    }
    put_end(span, out);
    otlp_span_end(out, failure(span));
}

/* ---- the queue ------------------------------------------------------------------------------- */

void job_spans_push(struct job_spans *spans, const struct job_span *span)
{
    if (spans->count == JOB_SPANS_MAX) {
        spans->counts.dropped_queue++;
        return;
    }
    spans->ring[(spans->first + spans->count++) % JOB_SPANS_MAX] = *span;
    if (spans->count == JOB_SPANS_MAX / 2)
        otlp_export_wake(spans->out);
}

static size_t gather(void *context, struct strbuf *body)
{
    struct job_spans *spans = context;
    size_t taken = 0;
    otlp_begin(body, "muster-server", "muster.jobs", spans->instance);
    for (; spans->count > 0 && taken < JOB_SPANS_OF_A_REQUEST; taken++, spans->count--) {
        job_span_write(&spans->ring[spans->first], body);
        spans->first = (spans->first + 1) % JOB_SPANS_MAX;
    }
    otlp_end(body);
    return taken;
}

static void count(void *context, size_t exported, size_t dropped)
{
    struct job_spans *spans = context;
    spans->counts.exported += exported;
    spans->counts.dropped_collector += dropped;
}

static void ended(void *context)
{
    ((struct job_spans *)context)->over = true;
}

void job_spans_count(const struct job_spans *spans, struct job_spans_counts *ret)
{
    *ret = spans->counts;
}

void job_spans_write_metrics(const struct job_spans *spans, struct strbuf *out)
{
    strbuf_printf(out,
        "# HELP muster_job_spans_exported_total Spans of jobs that the collector took.\n"
        "# TYPE muster_job_spans_exported_total counter\n"
        "muster_job_spans_exported_total %" PRIu64 "\n"
        "# HELP muster_job_spans_dropped_total Spans of jobs that nobody got.\n"
        "# TYPE muster_job_spans_dropped_total counter\n"
        "muster_job_spans_dropped_total{reason=\"queue\"} %" PRIu64 "\n"
        "muster_job_spans_dropped_total{reason=\"collector\"} %" PRIu64 "\n",
        spans->counts.exported, spans->counts.dropped_queue, spans->counts.dropped_collector);
}

/* ---- opening and closing --------------------------------------------------------------------- */

int job_spans_create(struct event_base *base, const struct tracer_options *options,
    struct job_spans **ret, struct error *err)
{
    struct job_spans *spans = mem_alloc(1, sizeof *spans);
    const struct otlp_export_options out = {.base = base,
        .address = options->address,
        .trust = options->trust,
        .period_ms = options->period_ms,
        .gather = gather,
        .count = count,
        .ended = ended,
        .context = spans};
    spans->base = base;
    if (gethostname(spans->instance, sizeof spans->instance - 1) < 0)
        spans->instance[0] = '\0';
    if (otlp_export_create(&out, &spans->out, err) < 0) {
        free(spans);
        return -1;
    }
    spans->ring = mem_alloc(JOB_SPANS_MAX, sizeof *spans->ring);
    *ret = spans;
    return 0;
}

void job_spans_destroy(struct job_spans *spans)
{
    if (!spans)
        return;
    otlp_export_end(spans->out);
    while (!spans->over)
        event_base_loop(spans->base, EVLOOP_ONCE);
    otlp_export_destroy(spans->out);
    free(spans->ring);
    free(spans);
}
