/* The trace that a job was submitted in (W3C Trace Context): what the request said, kept with the
 * job as a document, so that it is known after a restart and goes with the job. */
#pragma once

#include "gateway/trace_context.h"

#include <stdbool.h>
#include <stdint.h>

struct http_request;
struct job_row;
struct server;
struct tick;

struct job_origin {
    struct trace_context context; /* its span: who submitted the job */
    char state[TRACE_STATE_TEXT]; /* "": none */
};

/* Reads traceparent and tracestate. False: there is none, or none that is exactly as the
 * recommendation says, or two of them. */
bool job_origin_read(const struct http_request *request, struct job_origin *ret);
/* Keeps it with the job, or with all jobs of the array that begins with it. */
void job_origin_put(struct tick *tick, uint64_t job, const struct job_origin *origin);
/* Of a committed job. False: it has none. */
bool job_origin_find(
    const struct server *server, const struct job_row *job, struct job_origin *ret);
