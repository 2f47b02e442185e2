/* See job_traces.h. Of each live job that is recorded is kept since when it waits, and for what:
 * everything else stands in its rows. A wait is told of when it is over, an attempt and its parts
 * when it has ended, a checkpoint when it was seen, the whole when the job has ended. */
#include "server/job_traces.h"

#include "base/hash.h"
#include "base/map.h"
#include "base/memory.h"
#include "core/core.h"
#include "server/context.h"
#include "server/job_origin.h"
#include "server/job_spans.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* A live job. */
struct followed {
    LIST_ENTRY(followed) link;
    uint64_t job;
    enum job_span_kind waits; /* JOB_SPAN_ATTEMPT: for nothing, it has one */
    int64_t since_ms;
    uint64_t attempt;             /* the newest that was seen */
    int64_t saved_ms;             /* of it: its newest checkpoint that was told of */
    uint64_t for_job;             /* for whom it stops, or 0 */
    struct trace_context context; /* its span is the job's */
    uint8_t parent[8];            /* of the job's span; zeros: none */
    /* When it has ended nobody else knows them any more. */
    char *name, *class_name;
};

/* In place of one that is not recorded: finding that out reads what the store has of it. */
static const struct followed unrecorded;

struct job_traces {
    struct server *server;
    int64_t ratio_million;
    struct job_spans *spans;
    struct idmap jobs; /* struct followed, of every live job that was seen */
    LIST_HEAD(, followed) all;
};

static enum job_span_kind wait_of(const struct job_row *job)
{
    static const enum job_span_kind kinds[] = {
        [JOB_HELD] = JOB_SPAN_HELD, [JOB_WAITING] = JOB_SPAN_WAIT, [JOB_QUEUED] = JOB_SPAN_QUEUE};
    return job->state <= JOB_QUEUED ? kinds[job->state] : JOB_SPAN_ATTEMPT;
}

/* ---- ids ------------------------------------------------------------------------------------- */

static void hash_into(uint8_t out[8], const char *what, uint64_t id, int64_t more)
{
    char text[96];
    snprintf(text, sizeof text, "%s %" PRIu64 " %" PRId64, what, id, more);
    uint64_t hash = (uint64_t)hash_text(text);
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(hash >> (56 - 8 * i));
}

/* The job's span, and who submitted it, which stays as it is where nobody said. */
static struct trace_context context_of(
    const struct job_traces *traces, const struct job_row *job, uint8_t parent[8])
{
    struct trace_context context = {.flags = TRACE_SAMPLED};
    struct job_origin origin;
    if (job_origin_find(traces->server, job, &origin)) {
        context = origin.context;
        memcpy(parent, context.span, sizeof context.span);
    } else {
        hash_into(context.trace, "muster trace", job->id, 1);
        hash_into(context.trace + 8, "muster trace", job->id, 2);
        if (!trace_sampled(&context, traces->ratio_million))
            context.flags = 0;
    }
    hash_into(context.span, "muster job", job->id, 0);
    return context;
}

/* ---- spans ----------------------------------------------------------------------------------- */

static struct job_span span_of(const struct job_traces *traces, const struct job_row *job,
    enum job_span_kind kind, int64_t begin_ms, int64_t end_ms)
{
    const struct followed *one = idmap_get(&traces->jobs, job->id);
    const struct core *core = traces->server->core;
    const struct team_row *team = core_team(core, job->team);
    struct job_span span = {.kind = kind, .job = job->id, .begin_ms = begin_ms, .end_ms = end_ms};
    memcpy(span.trace, one->context.trace, sizeof span.trace);
    memcpy(span.parent, one->context.span, sizeof span.parent);
    hash_into(span.id, "muster span", job->id, begin_ms << 4 | (int64_t)kind);
    snprintf(span.name, sizeof span.name, "%s", one->name);
    snprintf(span.team, sizeof span.team, "%s", team ? core_symbol(core, team->name) : "");
    snprintf(span.class_name, sizeof span.class_name, "%s", one->class_name);
    return span;
}

static void tell(struct job_traces *traces, const struct job_row *job, enum job_span_kind kind,
    int64_t begin_ms, int64_t end_ms)
{
    const struct job_span span = span_of(traces, job, kind, begin_ms, end_ms);
    job_spans_push(traces->spans, &span);
}

/* NULL: the job is not recorded, or was not seen. */
static struct followed *find(const struct job_traces *traces, uint64_t job)
{
    struct followed *one = idmap_get(&traces->jobs, job);
    return one == &unrecorded ? NULL : one;
}

/* NULL: the job is not recorded. */
static struct followed *follow(struct job_traces *traces, const struct job_row *job)
{
    struct followed made = {.job = job->id, .waits = wait_of(job), .since_ms = job->submitted_ms};
    if (idmap_get(&traces->jobs, job->id))
        return find(traces, job->id);
    made.context = context_of(traces, job, made.parent);
    if (!(made.context.flags & TRACE_SAMPLED)) {
        idmap_put(&traces->jobs, job->id, (void *)&unrecorded);
        return NULL;
    }
    struct followed *one = mem_alloc(1, sizeof *one);
    *one = made;
    if (one->waits == JOB_SPAN_ATTEMPT)
        one->waits = JOB_SPAN_QUEUE; /* it waited before */
    one->name = mem_strdup(core_symbol(traces->server->core, job->name));
    one->class_name = mem_strdup(core_symbol(traces->server->core, job->class_name));
    idmap_put(&traces->jobs, job->id, one);
    LIST_INSERT_HEAD(&traces->all, one, link);
    return one;
}

static void forget(struct job_traces *traces, struct followed *one)
{
    idmap_remove(&traces->jobs, one->job);
    LIST_REMOVE(one, link);
    free(one->name);
    free(one->class_name);
    free(one);
}

/* ---- attempts -------------------------------------------------------------------------------- */

/* An attempt of a job that is followed. */
struct part {
    struct job_traces *traces;
    struct followed *one;
    const struct job_row *job;
    const struct attempt_row *attempt;
};

static struct job_span part_of(
    const struct part *part, enum job_span_kind kind, int64_t begin_ms, int64_t end_ms)
{
    struct job_span span = span_of(part->traces, part->job, kind, begin_ms, end_ms);
    hash_into(span.parent, "muster attempt", part->attempt->id, 0);
    span.number = part->attempt->number;
    span.ranks = part->attempt->size;
    return span;
}

static void tell_part(
    const struct part *part, enum job_span_kind kind, int64_t begin_ms, int64_t end_ms)
{
    const struct attempt_row *attempt = part->attempt;
    struct job_span span = part_of(part, kind, begin_ms, end_ms);
    span.reason = kind == JOB_SPAN_STOP ? attempt->stop_reason : attempt->end_reason;
    span.exit_status = attempt->exit_status;
    span.for_job = kind == JOB_SPAN_STOP ? part->one->for_job : 0;
    job_spans_push(part->traces->spans, &span);
}

static void tell_whole(const struct part *part)
{
    const struct attempt_row *attempt = part->attempt;
    struct job_span span = part_of(part, JOB_SPAN_ATTEMPT, attempt->admitted_ms, attempt->ended_ms);
    memcpy(span.id, span.parent, sizeof span.id);
    memcpy(span.parent, part->one->context.span, sizeof span.parent);
    span.reason = attempt->end_reason;
    span.exit_status = attempt->exit_status;
    job_spans_push(part->traces->spans, &span);
}

static void tell_attempt(const struct part *part)
{
    const struct attempt_row *attempt = part->attempt;
    bool told = attempt->stop_reason != END_NONE && attempt->stop_ms > 0;
    int64_t stop_ms = told ? attempt->stop_ms : attempt->ended_ms;
    int64_t started_ms = attempt->started_ms ? attempt->started_ms : stop_ms;
    tell_whole(part);
    tell_part(part, JOB_SPAN_START, attempt->admitted_ms, started_ms);
    if (attempt->started_ms)
        tell_part(part, JOB_SPAN_RUN, started_ms, stop_ms);
    if (told)
        tell_part(part, JOB_SPAN_STOP, stop_ms, attempt->ended_ms);
}

/* It has its place: what it waited for is over. What it waited for first may have ended in the
 * tick that gave it the place. */
static void begin_attempt(const struct part *part)
{
    struct followed *one = part->one;
    int64_t queued_ms = part->job->queued_ms;
    if ((one->waits == JOB_SPAN_HELD || one->waits == JOB_SPAN_WAIT) && queued_ms > one->since_ms) {
        tell(part->traces, part->job, one->waits, one->since_ms, queued_ms);
        one->since_ms = queued_ms;
    }
    tell(part->traces, part->job, JOB_SPAN_QUEUE, one->since_ms, part->attempt->admitted_ms);
    one->waits = JOB_SPAN_ATTEMPT;
    one->attempt = part->attempt->id;
    one->saved_ms = 0;
}

static void tell_checkpoint(const struct part *part)
{
    const struct attempt_row *attempt = part->attempt;
    int64_t since_ms = part->one->saved_ms ? part->one->saved_ms : attempt->started_ms;
    struct job_span span = part_of(part, JOB_SPAN_CHECKPOINT, since_ms, attempt->checkpoint_ms);
    job_spans_push(part->traces->spans, &span);
    part->one->saved_ms = attempt->checkpoint_ms;
}

void job_traces_attempt(
    struct job_traces *traces, const struct job_row *job, const struct attempt_row *attempt)
{
    struct followed *one = follow(traces, job);
    const struct part part = {traces, one, job, attempt};
    if (!one)
        return;
    if (one->attempt < attempt->id)
        begin_attempt(&part);
    if (attempt->started_ms && attempt->checkpoint_ms > one->saved_ms)
        tell_checkpoint(&part);
    if (attempt->state != ATTEMPT_ENDED)
        return;
    tell_attempt(&part);
    one->since_ms = attempt->ended_ms;
    one->for_job = 0;
}

void job_traces_stopped_for(struct job_traces *traces, uint64_t job, uint64_t for_job)
{
    struct followed *one = find(traces, job);
    if (one)
        one->for_job = for_job;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void end_job(struct job_traces *traces, struct followed *one, const struct job_row *job)
{
    struct job_span span = span_of(traces, job, JOB_SPAN_JOB, job->submitted_ms, job->ended_ms);
    if (one->waits != JOB_SPAN_ATTEMPT && one->since_ms < job->ended_ms)
        tell(traces, job, one->waits, one->since_ms, job->ended_ms);
    memcpy(span.id, one->context.span, sizeof span.id);
    memcpy(span.parent, one->parent, sizeof span.parent);
    span.reason = job->end_reason;
    span.exit_status = job->exit_status;
    span.attempts = job->attempts;
    span.preemptions = job->preemptions;
    span.ranks = job->size;
    job_spans_push(traces->spans, &span);
    forget(traces, one);
}

/* What it waits for became another thing. */
static void change_wait(struct job_traces *traces, struct followed *one, const struct job_row *job)
{
    enum job_span_kind waits = wait_of(job);
    bool queued = waits == JOB_SPAN_QUEUE && job->queued_ms > one->since_ms;
    int64_t now_ms = queued ? job->queued_ms : server_now_ms();
    if (one->waits != JOB_SPAN_ATTEMPT && now_ms > one->since_ms) {
        tell(traces, job, one->waits, one->since_ms, now_ms);
        one->since_ms = now_ms;
    }
    one->waits = waits;
}

void job_traces_job(struct job_traces *traces, const struct job_row *job)
{
    struct followed *one = follow(traces, job);
    if (!one && job_state_ended(job->state))
        idmap_remove(&traces->jobs, job->id);
    if (!one)
        return;
    if (job_state_ended(job->state))
        end_job(traces, one, job);
    else if (wait_of(job) != JOB_SPAN_ATTEMPT && wait_of(job) != one->waits)
        change_wait(traces, one, job);
}

bool job_traces_parent(
    const struct job_traces *traces, const struct attempt_row *attempt, struct trace_context *ret)
{
    const struct followed *one = find(traces, attempt->job);
    if (!one)
        return false;
    *ret = one->context;
    hash_into(ret->span, "muster attempt", attempt->id, 0);
    return true;
}

void job_traces_write_metrics(const struct job_traces *traces, struct strbuf *out)
{
    job_spans_write_metrics(traces->spans, out);
}

/* ---- opening and closing --------------------------------------------------------------------- */

static void load_job(void *context, enum row_kind kind, const void *row)
{
    struct job_traces *traces = context;
    const struct job_row *job = row;
    struct followed *one = job_state_ended(job->state) ? NULL : follow(traces, job);
    const struct attempt_row *attempt =
        one && job->attempt ? core_attempt(traces->server->core, job->attempt) : NULL;
    (void)kind;
    if (one && job->state == JOB_QUEUED && job->queued_ms > one->since_ms)
        one->since_ms = job->queued_ms;
    if (!attempt)
        return;
    one->waits = JOB_SPAN_ATTEMPT;
    one->attempt = attempt->id;
    one->saved_ms = attempt->checkpoint_ms;
}

int job_traces_create(struct server *server, const struct tracer_options *options,
    struct job_traces **ret, struct error *err)
{
    struct job_spans *spans;
    if (job_spans_create(server->base, options, &spans, err) < 0)
        return -1;
    struct job_traces *traces = mem_alloc(1, sizeof *traces);
    traces->server = server;
    traces->ratio_million = options->ratio_million;
    traces->spans = spans;
    core_row_each(server->core, ROW_JOB, load_job, traces);
    *ret = traces;
    return 0;
}

void job_traces_destroy(struct job_traces *traces)
{
    if (!traces)
        return;
    job_spans_destroy(traces->spans);
    while (!LIST_EMPTY(&traces->all))
        forget(traces, LIST_FIRST(&traces->all));
    idmap_finish(&traces->jobs);
    free(traces);
}
