/* Traces: what is recorded of a request, and how it gets from workers to a collector.
 *
 * A worker fills a record and pushes a copy into a ring of its own, which one thread empties: no
 * lock, no system call, and where the ring is full the record is dropped and counted. The thread
 * makes OTLP of them and sends it by HTTP. */
#pragma once

#include "base/error.h"
#include "gateway/trace_context.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TRACE_PARTS_MAX = 12, TRACE_NAME = 128, TRACE_RING_RECORDS = 512 };

enum trace_kind {
    TRACE_QUEUE, /* waiting for a turn or a replica */
    TRACE_CACHE, /* .. for the answer that somebody else is getting */
    TRACE_BATCH, /* .. for a batch to be gathered and answered */
    TRACE_MODEL, /* an attempt at a replica */
    TRACE_KINDS
};

/* A child of the request's span. Times are monotonic. */
struct trace_part {
    enum trace_kind kind;
    uint8_t span[8];
    int inside; /* the part whose child it is; -1: the request's */
    int64_t begin_ns, end_ns;
    uint64_t replica; /* of TRACE_MODEL, as what follows */
    int64_t version;
    int status;          /* 0: no answer */
    int resend;          /* attempts before it */
    uint64_t batch_size; /* 0: in none */
    char model[64];      /* that was asked: a request may go from one to another */
};

/* A request: its span, and those of its parts. Texts are cut. */
struct trace_record {
    struct trace_context context; /* of the request's own span */
    uint8_t parent[8];            /* zeros: it has none */
    int64_t begin_ns, end_ns;
    int status;
    bool broken, cancelled; /* the answer was not sent in full, or nobody wanted it */
    bool openai, tls, cache_hit;
    char method[16], path[TRACE_NAME], service[TRACE_NAME], client[64];
    char operation[24]; /* of gen_ai: "chat"; "": none */
    char route[64];     /* the path's template */
    char state[TRACE_STATE_TEXT];
    uint64_t input_tokens, output_tokens;
    bool tokens_known;
    size_t part_count;
    struct trace_part parts[TRACE_PARTS_MAX];
};

struct tracer_options {
    const char *address;   /* of the collector, as wire/otlp_export.h has it */
    const char *trust;     /* PEM file: whom to trust there over https; NULL: the system's CAs */
    int64_t ratio_million; /* of traces that begin here */
    int64_t period_ms;     /* a batch is sent so often; 0: 1 s */
    const char *instance;  /* of this process */
};

struct tracer;
/* Starts the thread. ERR_INVALID: the address, and what it has to be. */
MUST_CHECK int tracer_create(
    const struct tracer_options *options, int workers, struct tracer **ret, struct error *err);
/* Sends what is there, for a moment, and ends the thread; no worker runs any more. NULL is fine. */
void tracer_destroy(struct tracer *tracer);

/* Of a million traces that begin here so many are recorded. */
int64_t tracer_ratio(const struct tracer *tracer);
/* On that worker's thread: takes a copy, or counts it as dropped. */
void tracer_push(struct tracer *tracer, int worker, const struct trace_record *record);

/* Since the start, in spans. */
struct tracer_counts {
    uint64_t exported;
    uint64_t dropped_queue;     /* the ring was full */
    uint64_t dropped_collector; /* the collector refused them, or was away for too long */
};
/* From any thread. */
void tracer_counts(const struct tracer *tracer, struct tracer_counts *ret);
