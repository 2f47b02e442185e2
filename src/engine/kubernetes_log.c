/* The output of pods, followed live into a joblog of this server. The API gives lines with the time
 * at which they were written and no way to say "from here": where a stream breaks it is asked for
 * again from the second of its last line, and what is known already is passed over by its time and
 * count. An engine that is made anew reads from the beginning. Standard output and error come as
 * one stream: all of it is kept as standard output. */
#include "engine/kubernetes.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/quantity.h"
#include "base/strbuf.h"
#include "engine/layout.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FAILURES_MAX = 5,
    STAMP_MAX = 64,
    FOLLOWED_MAX = 256, /* running pods; the output of others comes at their end */
    STREAMS_MAX = 512,  /* with those that are read at their end */
    QUIET_MS = 2000,    /* times how often it failed */
    QUIET_MOST = 15,
};

static int open_log(struct kube_attempt *attempt)
{
    const struct kube_ledger *ledger = &attempt->ledger;
    SCOPED(mem_scope)
    char *path = layout_attempt(attempt->engine->data, ledger->job, ledger->number, "log");
    if (file_make_dirs(path, 0700, NULL) < 0)
        return -1;
    if (attempt->log_fd < 0)
        attempt->log_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (attempt->log_fd < 0 || file_remove_content(attempt->log_fd, NULL) < 0)
        return -1;
    attempt->writer =
        joblog_writer_create(attempt->log_fd, ledger->log_file_bytes, ledger->log_files);
    return 0;
}

/* With the first line: a pod that writes nothing costs no descriptors. What the disk does not take
 * is left out. */
static void keep(struct kube_log *log, const char *text, size_t length)
{
    if (!log->attempt->writer && open_log(log->attempt) < 0)
        return;
    if (!log->stream) {
        log->stream = mem_alloc(1, sizeof *log->stream);
        log->stream->rank = log->rank;
        log->stream->kind = 'o';
    }
    joblog_write(log->attempt->writer, log->stream, log->place.last_ms, text, length);
    joblog_write(log->attempt->writer, log->stream, log->place.last_ms, "\n", 1);
}

/* "2026-01-31T08:30:00.123456789Z text": a line that is not one is taken as it is, at the time of
 * the last. */
static bool on_line(void *ctx, const char *line, size_t length, bool cut)
{
    struct kube_log *log = ctx;
    const char *text = memchr(line, ' ', length < STAMP_MAX ? length : STAMP_MAX);
    char stamp[STAMP_MAX + 1];
    int64_t at_ms = log->place.last_ms;
    (void)cut;
    snprintf(stamp, sizeof stamp, "%.*s", (int)(text ? text - line : 0), line);
    text = text && quantity_parse_time(stamp, &at_ms, NULL) == 0 ? text + 1 : line;
    if (kube_place_take(&log->place, at_ms))
        keep(log, text, (size_t)(line + length - text));
    return true;
}

static bool on_piece(void *ctx, const char *bytes, size_t length)
{
    struct kube_log *log = ctx;
    log->failures = 0;
    return kube_lines_feed(&log->lines, bytes, length, on_line, log);
}

/* Whether the pod will write no more. */
static bool is_final(const struct kube_rank *rank)
{
    return rank->pod.over || rank->pod.lost || (rank->pod.created && !rank->pod.exists);
}

static void on_end(void *ctx, const struct kube_answer *answer)
{
    struct kube_log *log = ctx;
    struct kube_rank *rank = &log->attempt->ranks[log->rank];
    bool well = answer->status / 100 == 2;
    log->call = NULL;
    log->attempt->engine->log_streams--;
    if (well && is_final(rank)) {
        kube_lines_end(&log->lines, on_line, log);
        log->whole = true;
    }
    kube_lines_finish(&log->lines);
    kube_place_again(&log->place);
    /* A container that never ran has none (400), and of a node that is gone it is gone too. */
    log->failures += !well && answer->status != 0;
    log->quiet_ms =
        clock_boot_ms() + (log->failures < QUIET_MOST ? log->failures : QUIET_MOST) * QUIET_MS;
    log->whole |= log->failures >= FAILURES_MAX && is_final(rank);
    log->whole |= answer->status == 404 || (answer->status == 400 && is_final(rank));
    if (log->whole)
        kube_attempt_due(log->attempt);
    else
        kubernetes_retry_later(log->attempt, 0);
}

static void follow(struct kube_log *log)
{
    struct kubernetes *engine = log->attempt->engine;
    struct strbuf name = {0}, target = {0};
    char since[QUANTITY_TEXT];
    strbuf_printf(&name, "%s-%u", log->attempt->name, log->rank);
    SCOPED(mem_scope) char *path = kubernetes_path(engine, "pods", name.text);
    strbuf_printf(&target, "%s/log?container=job&follow=true&timestamps=true", path);
    if (log->place.last_ms)
        strbuf_printf(
            &target, "&sinceTime=%s", quantity_time(log->place.last_ms / 1000 * 1000, since));
    /* A job may be silent for as long as it likes. */
    const struct kube_request request = {.method = "GET",
        .target = target.text,
        .on_piece = on_piece,
        .timeout_ms = INT64_C(24) * 3600 * 1000};
    log->lines.line_max = JOBLOG_TEXT_MAX + STAMP_MAX;
    engine->log_streams++;
    log->call = kube_client_call(engine->client, &request, on_end, log);
    strbuf_finish(&name);
    strbuf_finish(&target);
}

/* Whether it is asked for now; else the attempt is looked at again, now that its pod will write no
 * more, or where only a while is to be waited. */
static bool may_follow(const struct kube_rank *rank)
{
    const struct kube_log *log = &rank->log;
    size_t most = is_final(rank) ? STREAMS_MAX : FOLLOWED_MAX;
    bool quiet = clock_boot_ms() < log->quiet_ms && !is_final(rank);
    bool full = rank->attempt->engine->log_streams >= most;
    if (quiet || (full && is_final(rank)))
        kubernetes_retry_later(rank->attempt, 0);
    return !quiet && !full;
}

bool kube_log_advance(struct kube_attempt *attempt)
{
    bool whole = true;
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        struct kube_rank *rank = &attempt->ranks[i];
        struct kube_log *log = &rank->log;
        if (!log->whole && !log->call && is_final(rank) && (!rank->pod.began || !rank->pod.exists))
            log->whole = true;
        if (log->whole || !rank->pod.created)
            continue;
        whole = false;
        if (!log->call && rank->pod.began && may_follow(rank))
            follow(log);
    }
    return whole;
}

void kube_log_close(struct kube_attempt *attempt)
{
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        struct kube_log *log = &attempt->ranks[i].log;
        if (log->call) {
            kube_call_cancel(log->call);
            attempt->engine->log_streams--;
        }
        log->call = NULL;
        kube_lines_finish(&log->lines);
        if (attempt->writer && log->stream)
            joblog_finish_stream(attempt->writer, log->stream, log->place.last_ms);
        free(log->stream);
        log->stream = NULL;
    }
    joblog_writer_destroy(attempt->writer);
    attempt->writer = NULL;
    if (attempt->log_fd >= 0)
        close(attempt->log_fd);
    attempt->log_fd = -1;
}
