/* Jobs' lives as traces: one for each job, made of what committed rows say, so that a server that
 * was killed goes on with the trace where it was. Ids follow from those of the rows; a job that was
 * submitted in a trace (job_origin.h) is a part of that. */
#pragma once

#include "base/error.h"
#include "core/rows.h"
#include "gateway/trace.h"

#include <stdbool.h>

struct job_traces;
struct server;
struct strbuf;

/* After the state was loaded. ERR_INVALID: the address. */
MUST_CHECK int job_traces_create(struct server *server, const struct tracer_options *options,
    struct job_traces **ret, struct error *err);
void job_traces_destroy(struct job_traces *traces); /* as job_spans_destroy; NULL is fine */

/* After the commit, of each tick: attempts that changed with their jobs, then jobs; all with their
 * final images. */
void job_traces_attempt(
    struct job_traces *traces, const struct job_row *job, const struct attempt_row *attempt);
void job_traces_job(struct job_traces *traces, const struct job_row *job);
/* Before these: its attempt was told to stop so that the other gets its place. */
void job_traces_stopped_for(struct job_traces *traces, uint64_t job, uint64_t for_job);

/* The span of the attempt, for its processes, so that their own spans stand below it: false when
 * its job is not recorded. */
bool job_traces_parent(
    const struct job_traces *traces, const struct attempt_row *attempt, struct trace_context *ret);
/* Appends figures in Prometheus' text form. */
void job_traces_write_metrics(const struct job_traces *traces, struct strbuf *out);
