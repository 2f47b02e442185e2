/* Spans of jobs on their way to a collector: a bounded queue on the loop, and OTLP over HTTP
 * (wire/otlp_export.h). What it has no room for is counted and dropped; nobody waits. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct event_base;
struct strbuf;
struct tracer_options;

enum { JOB_SPANS_MAX = 4096, JOB_SPANS_OF_A_REQUEST = 256, JOB_SPAN_NAME = 128 };

enum job_span_kind {
    JOB_SPAN_JOB,        /* from its submission to its end */
    JOB_SPAN_HELD,       /* until somebody releases it */
    JOB_SPAN_WAIT,       /* for a dependency, a moment, a retry's backoff */
    JOB_SPAN_QUEUE,      /* for a place */
    JOB_SPAN_ATTEMPT,    /* from its place to its end */
    JOB_SPAN_START,      /* from its place until its engine started it */
    JOB_SPAN_RUN,        /* until it ended or was told to stop */
    JOB_SPAN_STOP,       /* from there to its end */
    JOB_SPAN_CHECKPOINT, /* what was not saved until then, at whose end it was */
    JOB_SPAN_KINDS
};

/* Texts are cut. */
struct job_span {
    enum job_span_kind kind;
    uint8_t trace[16], id[8], parent[8]; /* parent: zeros, it has none */
    int64_t begin_ms, end_ms;
    uint64_t job, for_job; /* for_job: 0, or for whom it was stopped */
    int32_t number;        /* of the attempt; 0: of none */
    int32_t ranks;
    int32_t reason;                                     /* enum end_reason */
    int32_t exit_status;                                /* with END_EXIT and END_SIGNAL */
    int32_t attempts, preemptions;                      /* of JOB_SPAN_JOB */
    char name[JOB_SPAN_NAME], team[64], class_name[64]; /* of the job */
};

struct job_spans;
/* ERR_INVALID: the address. */
MUST_CHECK int job_spans_create(struct event_base *base, const struct tracer_options *options,
    struct job_spans **ret, struct error *err);
/* Sends what there is within 2 s, for which it turns the loop. NULL is fine. */
void job_spans_destroy(struct job_spans *spans);
void job_spans_push(struct job_spans *spans, const struct job_span *span);

/* Since the start. */
struct job_spans_counts {
    uint64_t exported;
    uint64_t dropped_queue;     /* the queue was full */
    uint64_t dropped_collector; /* the collector refused them, or was away for too long */
};
void job_spans_count(const struct job_spans *spans, struct job_spans_counts *ret);
/* Appends the same in Prometheus' text form. */
void job_spans_write_metrics(const struct job_spans *spans, struct strbuf *out);

/* ---- for tests ------------------------------------------------------------------------------- */

/* Appends the span, in a request that otlp_begin began. */
void job_span_write(const struct job_span *span, struct strbuf *out);
