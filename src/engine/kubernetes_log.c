/* The output of pods, followed live into a joblog of this server (kube_output.h). Where a stream
 * breaks it is asked for again; an engine that is made anew goes on behind what the joblog has.
 * Standard output and error come as one stream: all of it is kept as standard output. Invariants:
 *  1. a line of the output is one line of the joblog, with the same time: so that the joblog says
 *     how far the output was read;
 *  2. all was read where an answer that was asked for after the pod had written its last ended
 *     well. The end of one that was asked for before says nothing: an API server ends an answer
 *     well also where its kubelet went away. */
#include "engine/kubernetes.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
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
    FOLLOWED_MAX = 256, /* running pods; the output of others comes at their end */
    STREAMS_MAX = 512,  /* with those that are read at their end */
    QUIET_MS = 2000,    /* times how often it failed */
    QUIET_MOST = 15,
    STALE_MS = 3000, /* a stream that says nothing although its pod has written its last */
    LOST_WAIT_MS = 5000,
    TAIL_LINES = 4096,
};

static char *log_folder(const struct kube_attempt *attempt)
{
    const struct kube_ledger *ledger = &attempt->ledger;
    return layout_attempt(attempt->engine->data, ledger->job, ledger->number, "log");
}

static int open_log(struct kube_attempt *attempt)
{
    const struct kube_ledger *ledger = &attempt->ledger;
    SCOPED(mem_scope) char *path = log_folder(attempt);
    if (file_make_dirs(path, 0700, NULL) < 0)
        return -1;
    if (attempt->log_fd < 0)
        attempt->log_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (attempt->log_fd < 0)
        return -1;
    attempt->writer =
        joblog_writer_create(attempt->log_fd, ledger->log_file_bytes, ledger->log_files);
    return 0;
}

/* With the first line: a pod that writes nothing costs no descriptors. What the disk does not take
 * is left out. */
static void keep(void *ctx, int64_t at_ms, const char *text, size_t length)
{
    struct kube_log *log = ctx;
    if (!log->attempt->writer && open_log(log->attempt) < 0)
        return;
    if (!log->stream) {
        log->stream = mem_alloc(1, sizeof *log->stream);
        log->stream->rank = log->rank;
        log->stream->kind = 'o';
    }
    joblog_write(log->attempt->writer, log->stream, at_ms, text, length);
    joblog_write(log->attempt->writer, log->stream, at_ms, "\n", 1);
}

void kube_log_begin(struct kube_attempt *attempt)
{
    SCOPED(mem_scope) char *path = log_folder(attempt);
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct error err;
    if (fd >= 0 && file_remove_content(fd, &err) < 0)
        log_warn(
            "what an earlier start left in %s is shown before the new log: %s", path, err.text);
    attempt->log_known = true;
}

/* ---- what is there of it -----------------------------------------------------------------------
 */

/* Takes what the last lines of the joblog say. True: more would not say more. */
static bool learn(struct kube_attempt *attempt, struct joblog_reader *reader, uint64_t most)
{
    SCOPED(mem_scope) uint64_t *lines = mem_alloc(attempt->ledger.ranks, sizeof *lines);
    struct joblog_line line;
    uint64_t count = 0;
    bool enough = true;
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++)
        kube_output_init(&attempt->ranks[i].log.output, KUBE_LINE_MAX);
    if (joblog_seek_tail(reader, most, NULL) < 0)
        return true;
    for (; joblog_next(reader, &line, NULL) == 1; count++) {
        if (line.rank >= attempt->ledger.ranks)
            continue;
        (void)kube_output_take(&attempt->ranks[line.rank].log.output, line.at_ms);
        lines[line.rank]++;
    }
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        const struct kube_output *output = &attempt->ranks[i].log.output;
        enough &= lines[i] > (uint64_t)output->at_last + output->after_last;
    }
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++)
        kube_output_again(&attempt->ranks[i].log.output);
    return enough || count < most;
}

/* How far the output was read by an engine before this one: as a rule its last lines say so. */
static void learn_what_is_known(struct kube_attempt *attempt)
{
    SCOPED(mem_scope) char *path = log_folder(attempt);
    bool enough = attempt->log_known;
    attempt->log_known = true;
    for (uint64_t most = TAIL_LINES; !enough; most *= 16) {
        struct joblog_reader *reader = joblog_open(path);
        enough = learn(attempt, reader, most);
        joblog_close(reader);
    }
}

/* ---- a stream ----------------------------------------------------------------------------------
 */

static bool on_piece(void *ctx, const char *bytes, size_t length)
{
    struct kube_log *log = ctx;
    log->failures = 0;
    log->heard_ms = clock_boot_ms();
    kube_output_feed(&log->output, bytes, length, keep, log);
    return true;
}

/* Whether the pod will write no more. */
static bool is_final(const struct kube_rank *rank)
{
    return rank->pod.over || rank->pod.lost || (rank->pod.created && !rank->pod.exists);
}

/* A stream ends well as its container does, as a rule, of which the pod speaks a moment later: what
 * is asked for before that is asked for in vain. */
static unsigned quiet_times(const struct kube_log *log, bool well)
{
    if (log->failures == 0)
        return well ? 1 : 0;
    return log->failures < QUIET_MOST ? log->failures : QUIET_MOST;
}

static void on_end(void *ctx, const struct kube_answer *answer)
{
    struct kube_log *log = ctx;
    struct kube_rank *rank = &log->attempt->ranks[log->rank];
    bool well = answer->status / 100 == 2;
    log->call = NULL;
    log->attempt->engine->log_streams--;
    if (well && log->last) {
        kube_output_end(&log->output, keep, log);
        log->whole = true;
    }
    kube_output_again(&log->output);
    /* A kubelet that was just started does not know its pods yet (404), one that is busy does not
     * find a log (400), and of a node that is gone it is gone too. */
    log->failures += !well && answer->status != 0;
    log->quiet_ms = clock_boot_ms() + quiet_times(log, well) * QUIET_MS;
    log->whole |= log->failures >= FAILURES_MAX && is_final(rank);
    if (log->whole || (well && is_final(rank)))
        kube_attempt_due(log->attempt);
    else
        kubernetes_retry_later(log->attempt, 0);
}

static void stop_following(struct kube_log *log)
{
    if (log->call) {
        kube_call_cancel(log->call);
        log->attempt->engine->log_streams--;
    }
    log->call = NULL;
    kube_output_again(&log->output);
}

static void follow(struct kube_log *log)
{
    struct kubernetes *engine = log->attempt->engine;
    struct strbuf name = {0}, target = {0};
    char since[QUANTITY_TEXT];
    learn_what_is_known(log->attempt);
    int64_t since_ms = kube_output_since_ms(&log->output);
    strbuf_printf(&name, "%s-%u", log->attempt->name, log->rank);
    SCOPED(mem_scope) char *path = kubernetes_path(engine, "pods", name.text);
    strbuf_printf(&target, "%s/log?container=job&follow=true&timestamps=true", path);
    if (since_ms > 0)
        strbuf_printf(&target, "&sinceTime=%s", quantity_time(since_ms, since));
    log->last = is_final(&log->attempt->ranks[log->rank]);
    /* A job may be silent for as long as it likes, while it runs. */
    const struct kube_request request = {.method = "GET",
        .target = target.text,
        .on_piece = on_piece,
        .timeout_ms = log->last ? 0 : INT64_C(24) * 3600 * 1000};
    log->heard_ms = clock_boot_ms();
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

/* The connection may be gone without a word. */
static bool is_stale(const struct kube_rank *rank)
{
    const struct kube_log *log = &rank->log;
    return log->call && !log->last && is_final(rank) && clock_boot_ms() - log->heard_ms >= STALE_MS;
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
        if (is_stale(rank))
            stop_following(log);
        if (!log->call && rank->pod.began && may_follow(rank))
            follow(log);
    }
    return whole;
}

/* A request for the rest is given up after the client's timeout, and made again. Of a node that is
 * given up nothing is expected. */
bool kube_log_may_come(const struct kube_attempt *attempt)
{
    int64_t now = clock_boot_ms();
    int64_t timeout_ms = kube_client_timeout_ms(attempt->engine->client);
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        const struct kube_rank *rank = &attempt->ranks[i];
        const struct kube_log *log = &rank->log;
        int64_t heard_ms = log->heard_ms > attempt->over_ms ? log->heard_ms : attempt->over_ms;
        int64_t wait_ms = rank->pod.lost ? LOST_WAIT_MS : timeout_ms * 2;
        if (!log->whole && now - heard_ms < wait_ms)
            return true;
    }
    return false;
}

void kube_log_close(struct kube_attempt *attempt)
{
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        struct kube_log *log = &attempt->ranks[i].log;
        stop_following(log);
        free(log->stream);
        log->stream = NULL;
    }
    joblog_writer_destroy(attempt->writer);
    attempt->writer = NULL;
    if (attempt->log_fd >= 0)
        close(attempt->log_fd);
    attempt->log_fd = -1;
}
