/* The attempts of the local engine, seen from the server: the socket to each shim, and what
 * became of an attempt whose shim does not answer.
 *
 * An attempt is settled by three questions, in this order: is there a final status; does somebody
 * hold the lock; if neither, is anything of it alive. Only when nothing is, the engine takes the
 * lock, writes the end LOST and reports it. So a shim that comes late finds the lock taken or the
 * status final, and does not begin. */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "engine/init_usage.h"
#include "engine/layout.h"
#include "engine/local.h"
#include "engine/nvml.h"
#include "engine/stray.h"

#include <assert.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SETTLE_LEAST_MS = 20, SETTLE_MOST_MS = 1000 };

/* ---- Reports ----------------------------------------------------------------------------- */

static void report(struct attempt *attempt, struct report *report)
{
    if (attempt->forgotten)
        return;
    report->attempt = attempt->id;
    report->job = attempt->status.job;
    report->at_ms = clock_wall_ms();
    attempt->local->report(attempt->local->context, report);
}

static void report_started(struct attempt *attempt)
{
    struct report started = {
        .kind = ENGINE_REPORT_STARTED, .started_ms = attempt->status.end.started_ms};
    if (attempt->started_reported || started.started_ms == 0)
        return;
    attempt->started_reported = true;
    report(attempt, &started);
}

static void report_exec_ended(
    struct attempt *attempt, uint64_t exec, int wait_status, const char *text)
{
    struct report ended = {.kind = ENGINE_REPORT_EXEC_ENDED,
        .exec = {.exec = exec, .wait_status = wait_status, .text = text ? text : ""}};
    for (size_t i = 0; i < attempt->execs.count; i++) {
        if (attempt->execs.items[i] != exec)
            continue;
        vec_remove(&attempt->execs, i);
        report(attempt, &ended);
        return;
    }
}

static void give_up_execs(struct attempt *attempt, const char *why)
{
    while (attempt->execs.count > 0)
        report_exec_ended(attempt, attempt->execs.items[0], -1, why);
}

static void on_metrics(void *context, const char *line, size_t length, uint64_t offset)
{
    struct report metrics = {.kind = ENGINE_REPORT_METRICS,
        .metrics = {.line = line, .length = length, .offset = offset}};
    report(context, &metrics);
}

static bool read_metrics(struct attempt *attempt, bool last)
{
    const struct status *status = &attempt->status;
    SCOPED(mem_scope)
    char *path =
        layout_attempt(attempt->local->data, status->job, status->attempt_number, "job/metrics");
    return metrics_read(&attempt->metrics, path, last, on_metrics, attempt);
}

void attempt_read_metrics(struct attempt *attempt)
{
    if (!attempt->ended && attempt->started_reported)
        read_metrics(attempt, false);
}

/* What the job still wrote before its end, as far as a bound goes. */
static void read_last_metrics(struct attempt *attempt)
{
    enum { TURNS_MAX = 16 };
    for (int i = 0; i < TURNS_MAX && read_metrics(attempt, true); i++)
        continue;
}

static void repeat_ended(struct attempt *attempt)
{
    struct report ended = {.kind = ENGINE_REPORT_ENDED, .ended = attempt->status.end};
    report(attempt, &ended);
}

static void report_ended(struct attempt *attempt)
{
    if (attempt->ended)
        return;
    report_started(attempt);
    read_last_metrics(attempt);
    attempt->ended = true;
    give_up_execs(attempt, "the attempt has ended");
    repeat_ended(attempt);
}

/* Takes over what the shim wrote or told, but not who the attempt is: that is in the launch file,
 * which no process of the team could ever write. False: it is of another attempt. */
static bool adopt_status(struct attempt *attempt, const struct status *status)
{
    struct status own = attempt->status;
    if (status->attempt != attempt->id)
        return false;
    attempt->status = *status;
    if (own.job == 0)
        return true; /* the launch file is gone: this is all there is to know */
    attempt->status.job = own.job;
    attempt->status.attempt_number = own.attempt_number;
    attempt->status.epoch = own.epoch;
    return true;
}

/* Reads the status file. True: it has a status. */
static bool read_status(struct attempt *attempt, int fd)
{
    struct status status;
    return status_read(fd, &status, NULL) == 0 && adopt_status(attempt, &status);
}

/* ---- What the shim says ------------------------------------------------------------------ */

static void take_status(struct attempt *attempt, const struct record *message)
{
    const struct channel_message *raw = &attempt->local->message;
    struct status status;
    struct error err;
    (void)message;
    if (status_decode(raw->text, raw->size, &status, &err) < 0 || !adopt_status(attempt, &status)) {
        log_warn("attempt %" PRIu64 ": its shim told something else than its status", attempt->id);
        return;
    }
    if (status.state == ENGINE_ATTEMPT_ENDED)
        report_ended(attempt);
    else
        report_started(attempt);
}

static void report_checkpoint(struct attempt *attempt, const struct record *message)
{
    int64_t newest = (int64_t)record_number(message, "checkpoint_ms", 0);
    uint64_t bytes = record_number(message, "checkpoint_bytes", 0);
    int64_t now = clock_wall_ms();
    /* The job can date its files into the future, where nothing would ever be lost. */
    struct report checkpoint = {.kind = ENGINE_REPORT_CHECKPOINT,
        .checkpoint = {.newest_ms = newest < now ? newest : now, .bytes = bytes}};
    if (newest == attempt->checkpoint_ms && bytes == attempt->checkpoint_bytes)
        return;
    attempt->checkpoint_ms = newest;
    attempt->checkpoint_bytes = bytes;
    report(attempt, &checkpoint);
}

static void take_sample(struct attempt *attempt, const struct record *message)
{
    struct usage_total usage = {0};
    struct report sample = {.kind = ENGINE_REPORT_SAMPLE, .sample = {.accelerator_milli = -1}};
    usage_decode(message, &usage);
    sample.sample.cpu_ns = usage.cpu_ns;
    sample.sample.memory_bytes = usage.memory_bytes;
    sample.sample.read_bytes = usage.read_bytes;
    sample.sample.written_bytes = usage.written_bytes;
    sample.sample.memory_peak_bytes = record_number(message, "memory_peak_bytes", 0);
    sample.sample.disk_bytes = record_number(message, "disk_bytes", 0);
    if (attempt->local->nvml && attempt->devices.count > 0)
        nvml_usage(attempt->local->nvml, attempt->devices.items, attempt->devices.count,
            &sample.sample.accelerator_milli, &sample.sample.accelerator_memory_bytes);
    report(attempt, &sample);
    report_checkpoint(attempt, message);
}

static void take_exec_ended(struct attempt *attempt, const struct record *message)
{
    const char *status = record_text(message, "status");
    int wait_status = -1;
    if (status)
        sscanf(status, "%d", &wait_status);
    report_exec_ended(
        attempt, record_number(message, "exec", 0), wait_status, record_text(message, "text"));
}

static const struct {
    const char *type;
    void (*take)(struct attempt *attempt, const struct record *message);
} messages[] = {{"status", take_status}, {"sample", take_sample}, {"exec-ended", take_exec_ended}};

static void take_message(struct attempt *attempt)
{
    const struct channel_message *raw = &attempt->local->message;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct record record;
    if (record_parse(arena, raw->text, raw->size, &record, NULL) < 0)
        return;
    const char *type = record_text(&record, "type");
    for (size_t i = 0; type && i < ARRAY_LEN(messages); i++) {
        if (!strcmp(messages[i].type, type))
            messages[i].take(attempt, &record);
    }
}

/* ---- The connection ---------------------------------------------------------------------- */

static void disconnect(struct attempt *attempt)
{
    if (attempt->channel_fd < 0)
        return;
    event_free(attempt->readable);
    close(attempt->channel_fd);
    attempt->channel_fd = -1;
}

static void on_readable(evutil_socket_t fd, short events, void *context)
{
    struct attempt *attempt = context;
    (void)events;
    int got = channel_receive(fd, false, &attempt->local->message);
    if (got > 0) {
        channel_message_finish(&attempt->local->message);
        take_message(attempt);
    } else if (got < 0) {
        disconnect(attempt);
        if (!attempt->ended)
            attempt_settle_later(attempt, 0);
    }
}

static void send_pending(struct attempt *attempt)
{
    SCOPED(strbuf_finish) struct strbuf message = {0};
    if (!attempt->kill_pending && !attempt->stop_pending)
        return;
    record_put(&message, "type", attempt->kill_pending ? "kill" : "stop");
    record_put_number(&message, "grace_ms", attempt->stop_grace_ms);
    if (attempt_ask(attempt, &message, NULL, 0, NULL) == 0)
        attempt->kill_pending = attempt->stop_pending = false;
}

void attempt_connect(struct attempt *attempt, int channel_fd)
{
    assert(attempt->channel_fd < 0);
    attempt->channel_fd = channel_fd;
    attempt->readable =
        event_new(attempt->local->base, channel_fd, EV_READ | EV_PERSIST, on_readable, attempt);
    assert(attempt->readable);
    event_add(attempt->readable, NULL);
    attempt->settle_tries = 0;
    send_pending(attempt);
}

int attempt_ask(struct attempt *attempt, const struct strbuf *message, const int *fds,
    size_t fd_count, struct error *err)
{
    if (attempt->channel_fd < 0)
        return error_set(err, ERR_UNAVAILABLE, "the attempt's shim is not connected yet");
    return channel_send(attempt->channel_fd, message, fds, fd_count, err);
}

/* ---- Settling ---------------------------------------------------------------------------- */

static void set_timer(struct event *timer, int64_t ms)
{
    struct timeval when = {ms / 1000, (ms % 1000) * 1000};
    event_add(timer, &when);
}

void attempt_settle_later(struct attempt *attempt, int64_t ms)
{
    set_timer(attempt->settle, ms);
}

static void settle_again(struct attempt *attempt)
{
    int64_t ms = SETTLE_LEAST_MS << (attempt->settle_tries < 6 ? attempt->settle_tries : 6);
    attempt->settle_tries++;
    attempt_settle_later(attempt, ms < SETTLE_MOST_MS ? ms : SETTLE_MOST_MS);
}

static int open_in_run(const struct attempt *attempt, const char *name, int flags)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", attempt->run, name);
    return open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* Kills the sandbox of an attempt that had not come so far that its pid is known. True: it was
 * alive. */
static bool kill_stray(const struct attempt *attempt)
{
    char mark[STRAY_MARK_SIZE];
    SCOPED(fd_scope) int run_fd = open_in_run(attempt, ".", O_RDONLY | O_DIRECTORY);
    stray_mark(run_fd, attempt->id, mark);
    return stray_kill(mark);
}

/* Kills what may be left of an attempt whose shim is gone. True: something is alive. */
static bool kill_rest(struct attempt *attempt)
{
    const struct status *status = &attempt->status;
    struct cgroup group;
    cgroup_of_attempt(&attempt->local->cgroups, attempt->id, &group);
    bool alive = cgroup_kill(&group);
    if (strcmp(status->boot_id, attempt->local->boot_id) != 0)
        return alive;
    if (status->sandbox_pid <= 1)
        return kill_stray(attempt) || alive;
    SCOPED(fd_scope) int pidfd = pidfd_open(status->sandbox_pid, 0);
    /* The start time is read after the descriptor is open, so both are of the same process. */
    if (pidfd < 0 || process_start_time(status->sandbox_pid) != status->sandbox_start)
        return alive;
    /* It may have ended and wait for a parent that does not look: that is dead enough. */
    struct pollfd exited = {.fd = pidfd, .events = POLLIN};
    if (poll(&exited, 1, 0) == 1)
        return alive;
    pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
    return true;
}

/* Writes the end of an attempt that has none, under its lock. */
static int write_lost(struct attempt *attempt, int status_fd, struct error *err)
{
    struct status lost = attempt->status;
    bool restarted = *lost.boot_id && strcmp(lost.boot_id, attempt->local->boot_id) != 0;
    lost.attempt = attempt->id;
    lost.state = ENGINE_ATTEMPT_ENDED;
    lost.end.reason = ENGINE_END_LOST;
    lost.end.rank = -1;
    lost.end.ended_ms = clock_wall_ms();
    snprintf(lost.end.text, sizeof lost.end.text, "%s",
        restarted ? "the machine was restarted" : "its shim is gone");
    if (status_write(status_fd, &lost, err) < 0)
        return -1;
    attempt->status = lost;
    return 0;
}

/* Tries to reach a shim that holds the lock. */
static void reconnect(struct attempt *attempt)
{
    int fd;
    SCOPED(fd_scope) int run_fd = open_in_run(attempt, ".", O_RDONLY | O_DIRECTORY);
    if (run_fd >= 0 && channel_connect(run_fd, "control", &fd, NULL) == 0)
        attempt_connect(attempt, fd);
    else
        settle_again(attempt);
}

/* The lock is this engine's now: nobody holds the attempt. */
static void settle_lost(struct attempt *attempt, int status_fd)
{
    struct error err;
    /* The shim may have written the end between the first look and the lock. */
    if (read_status(attempt, status_fd) && attempt->status.state == ENGINE_ATTEMPT_ENDED) {
        report_ended(attempt);
        return;
    }
    if (kill_rest(attempt)) {
        settle_again(attempt);
        return;
    }
    if (write_lost(attempt, status_fd, &err) < 0) {
        log_error(
            "attempt %" PRIu64 " is lost, and that cannot be stored: %s", attempt->id, err.text);
        settle_again(attempt);
        return;
    }
    report_ended(attempt);
}

void attempt_report_again(struct attempt *attempt)
{
    attempt->again = true;
    attempt_settle_later(attempt, 0);
}

static void report_what_is(struct attempt *attempt)
{
    attempt->again = false;
    attempt->started_reported = false;
    report_started(attempt);
    if (attempt->ended)
        repeat_ended(attempt);
}

static void on_settle(evutil_socket_t unused, short events, void *context)
{
    struct attempt *attempt = context;
    (void)unused, (void)events;
    if (attempt->again)
        report_what_is(attempt);
    if (attempt->ended || attempt->forgotten || attempt->channel_fd >= 0)
        return;
    SCOPED(fd_scope) int status_fd = open_in_run(attempt, "status", O_RDWR | O_CREAT);
    SCOPED(fd_scope) int lock_fd = open_in_run(attempt, "lock", O_RDWR | O_CREAT);
    if (status_fd < 0 || lock_fd < 0) {
        log_error("attempt %" PRIu64 ": its run folder cannot be read", attempt->id);
        settle_again(attempt);
        return;
    }
    if (read_status(attempt, status_fd) && attempt->status.state == ENGINE_ATTEMPT_ENDED)
        report_ended(attempt);
    else if (flock(lock_fd, LOCK_EX | LOCK_NB) < 0)
        reconnect(attempt);
    else
        settle_lost(attempt, status_fd);
}

/* ---- The shim as a child ----------------------------------------------------------------- */

static void on_child_gone(evutil_socket_t fd, short events, void *context)
{
    struct attempt *attempt = context;
    (void)fd, (void)events;
    waitpid(attempt->child, NULL, WNOHANG);
    attempt->child = 0;
}

void attempt_watch_child(struct attempt *attempt, pid_t child)
{
    attempt->child = child;
    attempt->child_pidfd = pidfd_open(child, 0);
    if (attempt->child_pidfd < 0)
        return;
    attempt->child_gone =
        event_new(attempt->local->base, attempt->child_pidfd, EV_READ, on_child_gone, attempt);
    assert(attempt->child_gone);
    event_add(attempt->child_gone, NULL);
}

/* ---- The list ---------------------------------------------------------------------------- */

struct attempt *attempt_find(const struct local *local, uint64_t id)
{
    return id ? idmap_get(&local->by_id, id) : NULL;
}

static size_t position_of(const struct local *local, uint64_t id)
{
    size_t low = 0, high = local->attempts.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (local->attempts.items[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct attempt *attempt_add(struct local *local, uint64_t id)
{
    assert(id != 0 && !attempt_find(local, id));
    struct attempt *attempt = mem_alloc(1, sizeof *attempt);
    attempt->local = local;
    attempt->id = id;
    attempt->run = layout_run(local->data, id, NULL);
    attempt->status.attempt = id;
    attempt->status.end.rank = -1;
    attempt->channel_fd = attempt->child_pidfd = -1;
    attempt->settle = evtimer_new(local->base, on_settle, attempt);
    assert(attempt->settle);
    size_t at = position_of(local, id);
    vec_push(&local->attempts, attempt);
    memmove(local->attempts.items + at + 1, local->attempts.items + at,
        (local->attempts.count - at - 1) * sizeof attempt);
    local->attempts.items[at] = attempt;
    idmap_put(&local->by_id, id, attempt);
    return attempt;
}

void attempt_drop(struct attempt *attempt)
{
    struct local *local = attempt->local;
    size_t at = position_of(local, attempt->id);
    assert(local->attempts.items[at] == attempt);
    vec_remove(&local->attempts, at);
    idmap_remove(&local->by_id, attempt->id);
    attempt->forgotten = true;
    vec_push(&local->forgotten, attempt);
    set_timer(local->bury, 0);
}

void local_attempt_free(struct attempt *attempt)
{
    disconnect(attempt);
    event_free(attempt->settle);
    if (attempt->child_gone)
        event_free(attempt->child_gone);
    /* A shim that has told its end is about to exit: this does not take long. */
    if (attempt->child && attempt->ended)
        waitpid(attempt->child, NULL, 0);
    fd_scope(&attempt->child_pidfd);
    vec_free(&attempt->execs);
    vec_free(&attempt->devices);
    vec_free(&attempt->cores);
    free(attempt->run);
    free(attempt);
}
