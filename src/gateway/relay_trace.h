/* The trace of a request: the context that it came with or begins, and, when it is sampled, the
 * record of its spans. Nothing of it exists without a collector: then relay->trace is NULL. */
#pragma once

#include "gateway/relay_count.h"
#include "gateway/trace.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum relay_end;
struct http_field;
struct http_request;
struct relay;

struct relay_trace {
    struct trace_context context;   /* of the request's own span */
    struct trace_context attempt;   /* of the attempt under way, which the replica sees */
    const char *state;              /* the request's tracestate; NULL: none that is passed on */
    struct trace_record *record;    /* in the request's arena; NULL: it is not sampled */
    char parent[TRACE_PARENT_TEXT]; /* traceparent for the replica */
};

/* Reads the context of a new request, or begins one; the worker has a collector. */
void relay_trace_begin(struct relay *relay);
/* How many fields relay_trace_fields adds at most. */
enum { RELAY_TRACE_FIELDS = 2 };
/* Whether a field of the request is not passed on because a new one takes its place. */
bool relay_trace_replaces(const char *name);
/* The context for the replica, of the attempt that began last; returns how many fields. */
size_t relay_trace_fields(struct relay *relay, struct http_field *fields);

/* It waited. */
void relay_trace_waited(
    struct relay *relay, enum relay_wait what, int64_t begin_ns, int64_t end_ns);
/* An attempt at a replica begins, and is over; status 0: without an answer. */
void relay_trace_attempt(struct relay *relay, int64_t begin_ns);
void relay_trace_attempt_over(struct relay *relay, int64_t end_ns, int status);

/* A batch gets the attempt's context before it is known whether there will be one. */
void relay_trace_batch_begin(struct relay *relay, char parent[TRACE_PARENT_TEXT]);
void relay_trace_batch_over(
    struct relay *relay, int64_t begin_ns, int64_t end_ns, int status, uint64_t batch_size);

/* The request is over: the record goes to the collector's thread. */
void relay_trace_end(
    struct relay *relay, enum relay_end end, int64_t now_ns, const struct relay_tokens *tokens);
