/* GET /v1/jobs/{job}/logs: a job's output as lines of text, followed live on demand.
 *
 * Without ?follow the attempt's log is read in slices, each after the client took the one before.
 * With it the log is followed until the attempt has ended; then the job's next attempt is waited
 * for, until the job has ended too. */
#include "core/core.h"
#include "engine/joblog.h"
#include "server/context.h"
#include "server/engines.h"
#include "server/handlers.h"
#include "server/names.h"
#include "store/store.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TAIL_MAX = 100000, LOOK_MS = 500, LINES_A_SLICE = 500 };

struct log_stream {
    struct server *server;
    struct http_request *request;
    struct identity identity;
    char *team;
    uint64_t job;
    int64_t attempt; /* number of the one that is read */
    int64_t rank;    /* -1: all */
    bool timestamps;
    bool follow;
    bool only_attempt; /* ?attempt= was given: no later one is waited for */
    bool paused;       /* the client is behind */
    bool finishing;    /* the attempt has ended: what is there is the rest */
    char *folder;      /* that the reader reads */
    struct joblog_reader *reader;
    struct event *timer;
};

static void log_stream_free(struct log_stream *stream)
{
    joblog_close(stream->reader);
    event_free(stream->timer);
    free(stream->folder);
    free(stream->team);
    free(stream);
}

/* Whether the reader's token and role still hold: who lost them is cut off. */
static bool may_read_on(const struct log_stream *stream)
{
    return identity_holds(stream->server, &stream->identity) &&
           identity_role(stream->server->catalog, &stream->identity, stream->team) >= ROLE_VIEWER;
}

static void on_log_gone(void *context)
{
    log_stream_free(context);
}

/* Which engine has the log shows when that has begun to write it: a reader may have come before. */
static void find_log(struct log_stream *stream)
{
    char *folder = engines_log_folder(stream->server, stream->job, (uint32_t)stream->attempt);
    if (stream->reader && strcmp(folder, stream->folder) == 0) {
        free(folder);
        return;
    }
    joblog_close(stream->reader);
    free(stream->folder);
    stream->folder = folder;
    stream->reader = joblog_open(folder);
}

static void open_attempt(struct log_stream *stream)
{
    find_log(stream);
    stream->finishing = false;
}

static void write_line(struct log_stream *stream, const struct joblog_line *line)
{
    struct strbuf text = {0};
    if (stream->rank >= 0 && line->rank != (uint32_t)stream->rank)
        return;
    if (stream->timestamps)
        strbuf_printf(&text, "%lld %u %c ", (long long)line->at_ms, line->rank, line->kind);
    strbuf_append(&text, line->text, line->size);
    strbuf_putc(&text, '\n');
    stream->paused = !http_respond_write(stream->request, text.text, text.length);
    strbuf_finish(&text);
}

/* Reads until there is no more, the client is behind, or a slice is done. Returns whether the
 * end was reached. */
static bool read_slice(struct log_stream *stream)
{
    struct joblog_line line;
    for (int i = 0; i < LINES_A_SLICE && !stream->paused; i++) {
        if (joblog_next(stream->reader, &line, NULL) <= 0)
            return true;
        write_line(stream, &line);
    }
    return false;
}

/* Whether the attempt that is read has ended as far as is committed. */
static bool attempt_ended(const struct log_stream *stream)
{
    struct job_row job;
    struct attempt_row attempt;
    if (reader_row(stream->server->reader, ROW_JOB, stream->job, &job, NULL) < 0)
        return true;
    if (job.attempt == 0 ||
        reader_row(stream->server->reader, ROW_ATTEMPT, job.attempt, &attempt, NULL) < 0)
        return job.attempts >= stream->attempt || job_state_ended(job.state);
    return attempt.number > stream->attempt || attempt.state == ATTEMPT_ENDED;
}

/* Goes on to the job's next attempt. False when there will be none. */
static bool next_attempt(struct log_stream *stream)
{
    struct job_row job;
    if (stream->only_attempt ||
        reader_row(stream->server->reader, ROW_JOB, stream->job, &job, NULL) < 0)
        return false;
    if (job.attempts > stream->attempt) {
        stream->attempt++;
        open_attempt(stream);
        return true;
    }
    return !job_state_ended(job.state);
}

static void look_again(struct log_stream *stream, int64_t ms)
{
    struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    event_add(stream->timer, &delay);
}

static void pump(struct log_stream *stream)
{
    if (!may_read_on(stream)) {
        http_request_abort(stream->request);
        log_stream_free(stream);
        return;
    }
    find_log(stream);
    bool end = read_slice(stream);
    if (stream->paused)
        return;
    if (!end) {
        look_again(stream, 0);
        return;
    }
    if (!stream->follow) {
        http_respond_end(stream->request);
        log_stream_free(stream);
        return;
    }
    /* The end of the attempt is seen before its log is read for the last time, so nothing that was
     * written before the end is missed. */
    if (!stream->finishing) {
        stream->finishing = attempt_ended(stream);
        look_again(stream, stream->finishing ? 0 : LOOK_MS);
    } else if (next_attempt(stream)) {
        look_again(stream, LOOK_MS);
    } else {
        http_respond_end(stream->request);
        log_stream_free(stream);
    }
}

static void on_log_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    pump(context);
}

static void on_log_drained(void *context)
{
    struct log_stream *stream = context;
    stream->paused = false;
    look_again(stream, 0);
}

static int read_parameters(
    struct call *call, struct log_stream *stream, int64_t *ret_tail, struct error *err)
{
    struct job_row job;
    int64_t attempt;
    if (call_one_job(call, err) < 0 ||
        reader_row(call->server->reader, ROW_JOB, call->job, &job, err) < 0 ||
        call_query_int(call, "attempt", 0, &attempt, err) < 0 ||
        call_query_int(call, "rank", -1, &stream->rank, err) < 0 ||
        call_query_int(call, "tail", -1, ret_tail, err) < 0)
        return -1;
    if (*ret_tail > TAIL_MAX)
        return error_set(err, ERR_INVALID, "?tail=: expected at most %d lines", TAIL_MAX);
    stream->follow = call_query_flag(call, "follow");
    stream->timestamps = call_query_flag(call, "timestamps");
    stream->only_attempt = attempt > 0;
    stream->attempt = attempt > 0 ? attempt : job.attempts > 0 ? job.attempts : 1;
    return 0;
}

void api_job_logs(struct call *call)
{
    struct log_stream *stream = mem_alloc(1, sizeof *stream);
    struct error err;
    int64_t tail;
    stream->server = call->server;
    stream->request = call->request;
    stream->identity = call->identity;
    stream->team = mem_strdup(call->team);
    stream->job = call->job;
    stream->timer = event_new(call->server->base, -1, 0, on_log_timer, stream);
    if (read_parameters(call, stream, &tail, &err) < 0) {
        log_stream_free(stream);
        call_fail(call, &err);
        return;
    }
    open_attempt(stream);
    if (tail >= 0 && joblog_seek_tail(stream->reader, (uint64_t)tail, &err) < 0) {
        log_stream_free(stream);
        call_fail(call, &err);
        return;
    }
    struct http_field field = {"Content-Type", "text/plain; charset=utf-8"};
    http_request_on_cancel(call->request, on_log_gone, stream);
    http_request_on_drain(call->request, on_log_drained, stream);
    http_respond_begin(call->request, 200, &field, 1, -1);
    look_again(stream, 0);
}
