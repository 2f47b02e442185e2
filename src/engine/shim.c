/* The shim: the parent of one attempt, the verb `shim`. It holds the attempt while servers come
 * and go.
 *
 * What it keeps true:
 *  1. It holds the lock of the run folder from before its first instruction (the server took the
 *     lock and handed the descriptor on) until it has written how the attempt ended. Whoever
 *     finds the lock free and no end knows that the attempt is lost, and nobody else may begin
 *     an attempt whose status file has a status.
 *  2. From the moment it reads what the team sent it has only the team's rights, and no path to
 *     the data directory: only descriptors. It cannot be traced by the team's processes.
 *  3. When it dies, bubblewrap and with it everything inside dies.
 *  4. The attempt has ended when process 1 of the sandbox is gone, since the kernel then has
 *     killed all others, and every byte they wrote has been logged. */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "engine/channel.h"
#include "engine/end.h"
#include "engine/init_usage.h"
#include "engine/joblog.h"
#include "engine/shim_clients.h"
#include "engine/shim_setup.h"
#include "engine/status.h"
#include "engine/tree.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    READ_BYTES = 64 * 1024,
    READS_A_TURN = 16,
    WATCH_MS = 1000,  /* how often disk and memory are looked at, at least */
    WATCH_SHARE = 20, /* and at most this part of the time is spent on it */
    TREE_ENTRIES_MAX = 1000000,
    DRAIN_MS = 5000, /* for output of an attempt whose processes are gone */
};

struct stream {
    struct shim *shim;
    int fd; /* -1: it ended */
    struct event *readable;
    struct joblog_stream text;
};

struct shim {
    struct shim_files files;
    struct shim_child child;
    struct status status;
    struct event_base *base;
    struct shim_clients *clients;
    struct joblog_writer *log;
    struct stream *streams; /* two a rank */
    uint32_t stream_count;
    uint32_t open_streams;
    char trouble[200]; /* what bubblewrap said */

    struct event *channel_readable;
    struct event *bubblewrap_gone;
    struct event *sandbox_gone;
    struct event *drained;
    struct event *grace_over;
    struct event *time_over;
    struct event *watch;
    struct event *shutdown;
    int bubblewrap_pidfd;
    int sandbox_pidfd; /* -1: not known yet */
    bool bubblewrap_alive;
    bool sandbox_alive;

    struct end_facts facts;
    int64_t kill_at_ms; /* boot clock; 0: no stop under way */
    uint32_t executed;

    struct usage_total usage; /* as init last told */
    uint64_t memory_peak_bytes;
    uint64_t disk_bytes;
    struct tree_measure checkpoint;
    int64_t sample_at_ms; /* boot clock: when the next sample is due */
    struct channel_message message;
};

static void finish_if_over(struct shim *shim);

/* ---- The status and telling it ----------------------------------------------------------- */

static void encode_status(void *context, struct strbuf *out)
{
    const struct shim *shim = context;
    record_put(out, "type", "status");
    status_encode(out, &shim->status);
}

/* Stores the status and tells it. A status that cannot be stored is told all the same: a full
 * disk must not stop the reports of a job that runs. */
static int publish(struct shim *shim)
{
    struct error err;
    SCOPED(strbuf_finish) struct strbuf message = {0};
    int result = status_write(shim->files.status_fd, &shim->status, &err);
    if (result < 0)
        log_error("%s", err.text);
    encode_status(shim, &message);
    if (shim->clients)
        shim_clients_tell(shim->clients, &message, false);
    return result;
}

static void set_timer(struct event *timer, int64_t ms)
{
    struct timeval when = {ms / 1000, (ms % 1000) * 1000};
    if (ms < 0)
        when = (struct timeval){0, 0};
    event_add(timer, &when);
}

/* ---- Ending it --------------------------------------------------------------------------- */

static void ask_init(struct shim *shim, const struct strbuf *message, const int *fds, size_t count)
{
    struct error err;
    if (channel_send(shim->child.channel_fd, message, fds, count, &err) < 0 && err.code == ERR_BUSY)
        log_warn("init does not read its messages");
}

static void kill_tree(struct shim *shim)
{
    shim->facts.killed = true;
    if (shim->sandbox_pidfd >= 0)
        pidfd_send_signal(shim->sandbox_pidfd, SIGKILL, NULL, 0);
    else if (shim->bubblewrap_alive)
        pidfd_send_signal(shim->bubblewrap_pidfd, SIGKILL, NULL, 0);
}

static void send_term(struct shim *shim)
{
    SCOPED(strbuf_finish) struct strbuf message = {0};
    record_put(&message, "type", "signal");
    record_put_number(&message, "signal", SIGTERM);
    ask_init(shim, &message, NULL, 0);
}

static void note_cause(struct shim *shim, enum end_cause cause)
{
    if (shim->facts.cause == CAUSE_NONE)
        shim->facts.cause = cause;
    if (shim->status.state == ENGINE_ATTEMPT_RUNNING) {
        shim->status.state = ENGINE_ATTEMPT_STOPPING;
        (void)!publish(shim);
    }
}

/* Ends the attempt now. */
static void end_now(struct shim *shim, enum end_cause cause)
{
    note_cause(shim, cause);
    kill_tree(shim);
}

/* Tells the ranks to end, and kills them when the grace is over. A second call may only bring
 * the end nearer. Ranks that are still being started are told once they all are. */
static void end_gently(struct shim *shim, enum end_cause cause, uint64_t grace_ms)
{
    int64_t now = clock_boot_ms();
    int64_t kill_at = grace_ms > INT32_MAX ? now + INT32_MAX : now + (int64_t)grace_ms;
    bool first = shim->kill_at_ms == 0;
    bool running = shim->status.state == ENGINE_ATTEMPT_RUNNING;
    note_cause(shim, cause);
    if (first || kill_at < shim->kill_at_ms) {
        shim->kill_at_ms = kill_at;
        set_timer(shim->grace_over, kill_at - now);
    }
    if (first && running)
        send_term(shim);
}

static void on_grace_over(evutil_socket_t fd, short events, void *context)
{
    (void)fd, (void)events;
    kill_tree(context);
}

static void on_time_over(evutil_socket_t fd, short events, void *context)
{
    struct shim *shim = context;
    (void)fd, (void)events;
    end_gently(shim, CAUSE_TIME, shim->files.launch.grace_ms);
}

/* The machine shuts down: the job gets the chance to save its state that a stop gives it. */
static void on_shutdown(evutil_socket_t number, short events, void *context)
{
    struct shim *shim = context;
    (void)number, (void)events;
    shim->facts.stop_asked = true;
    end_gently(shim, CAUSE_STOP, shim->files.launch.grace_ms);
}

/* ---- Output ------------------------------------------------------------------------------ */

static void end_stream(struct stream *stream)
{
    joblog_finish_stream(stream->shim->log, &stream->text, clock_wall_ms());
    event_free(stream->readable);
    close(stream->fd);
    stream->fd = -1;
    stream->shim->open_streams--;
    finish_if_over(stream->shim);
}

/* Takes a bounded part, so that one rank's flood does not keep the others or a stop waiting. */
static void on_output(evutil_socket_t fd, short events, void *context)
{
    char bytes[READ_BYTES];
    struct stream *stream = context;
    (void)events;
    for (int i = 0; i < READS_A_TURN; i++) {
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            end_stream(stream);
            return;
        }
        joblog_write(stream->shim->log, &stream->text, clock_wall_ms(), bytes, (size_t)n);
    }
}

static void open_stream(struct shim *shim, int fd, uint32_t rank, char kind)
{
    struct stream *stream = &shim->streams[shim->stream_count++];
    stream->shim = shim;
    stream->fd = fd;
    stream->text.rank = rank;
    stream->text.kind = kind;
    stream->readable = event_new(shim->base, fd, EV_READ | EV_PERSIST, on_output, stream);
    assert(stream->readable);
    event_add(stream->readable, NULL);
    shim->open_streams++;
}

static void open_streams(struct shim *shim)
{
    const struct launch_placement *place = shim->files.place;
    const struct launch *launch = &shim->files.launch;
    shim->log = joblog_writer_create(shim->files.log_fd, launch->log_file_bytes, launch->log_files);
    shim->streams = mem_alloc(place->ranks * 2, sizeof *shim->streams);
    for (uint32_t i = 0; i < place->ranks; i++) {
        open_stream(shim, shim->child.out[i], place->first_rank + i, 'o');
        open_stream(shim, shim->child.err[i], place->first_rank + i, 'e');
    }
}

/* Nobody is left who could write, but a descriptor may have been carried out of the sandbox. */
static void on_drained(evutil_socket_t fd, short events, void *context)
{
    struct shim *shim = context;
    (void)fd, (void)events;
    for (uint32_t i = 0; i < shim->stream_count; i++) {
        if (shim->streams[i].fd >= 0)
            end_stream(&shim->streams[i]);
    }
}

/* ---- Watching disk, memory and checkpoints ----------------------------------------------- */

static void tell_sample(struct shim *shim)
{
    struct usage_total usage = shim->usage;
    SCOPED(strbuf_finish) struct strbuf message = {0};
    cgroup_cpu_ns(&shim->files.cgroup, &usage.cpu_ns);
    cgroup_memory_bytes(&shim->files.cgroup, &usage.memory_bytes);
    cgroup_memory_peak_bytes(&shim->files.cgroup, &shim->memory_peak_bytes);
    if (usage.memory_bytes > shim->memory_peak_bytes)
        shim->memory_peak_bytes = usage.memory_bytes;
    record_put(&message, "type", "sample");
    usage_encode(&message, &usage);
    record_put_number(&message, "memory_peak_bytes", shim->memory_peak_bytes);
    record_put_number(&message, "disk_bytes", shim->disk_bytes);
    record_put_number(&message, "checkpoint_ms", (uint64_t)shim->checkpoint.newest_ms);
    record_put_number(&message, "checkpoint_bytes", shim->checkpoint.bytes);
    shim_clients_tell(shim->clients, &message, true);
    shim->sample_at_ms = clock_boot_ms() + (int64_t)shim->files.launch.sample_ms;
}

/* Everything the job can write to that is not memory counts, old checkpoints too. */
static void watch_disk(struct shim *shim)
{
    const struct shim_files *files = &shim->files;
    uint64_t most = files->launch.disk_bytes * files->place->ranks;
    struct tree_measure used = {0}, checkpoint = {0};
    tree_measure_add(files->work_fd, TREE_ENTRIES_MAX, &used);
    tree_measure_add(files->tmp_fd, TREE_ENTRIES_MAX, &used);
    tree_measure_add(files->job_fd, TREE_ENTRIES_MAX, &used);
    if (files->serve_fd >= 0)
        tree_measure_add(files->serve_fd, TREE_ENTRIES_MAX, &used);
    for (size_t i = 0; i < files->launch.output_count; i++)
        tree_measure_add(files->output_fds[i], TREE_ENTRIES_MAX, &used);
    tree_measure_add(files->checkpoint_fd, TREE_ENTRIES_MAX, &checkpoint);
    shim->disk_bytes = used.bytes + checkpoint.bytes;
    if (most > 0 && (shim->disk_bytes > most || used.cut || checkpoint.cut))
        end_now(shim, CAUSE_DISK);
    bool changed = checkpoint.newest_ms != shim->checkpoint.newest_ms;
    shim->checkpoint = checkpoint;
    if (changed)
        tell_sample(shim);
}

/* Where no control group bounds memory, what is resident is looked at instead. */
static void watch_memory(struct shim *shim)
{
    uint64_t most = shim->files.launch.memory_bytes * shim->files.place->ranks;
    if (shim->usage.memory_bytes > shim->memory_peak_bytes)
        shim->memory_peak_bytes = shim->usage.memory_bytes;
    if (most > 0 && shim->usage.memory_bytes > most && !*shim->files.cgroup.folder[CGROUP_MEMORY])
        end_now(shim, CAUSE_MEMORY);
}

static void on_watch(evutil_socket_t fd, short events, void *context)
{
    struct shim *shim = context;
    SCOPED(strbuf_finish) struct strbuf message = {0};
    int64_t before = clock_boot_ms();
    (void)fd, (void)events;
    watch_disk(shim);
    record_put(&message, "type", "usage");
    ask_init(shim, &message, NULL, 0);
    int64_t took = clock_boot_ms() - before;
    int64_t pause = took * WATCH_SHARE > WATCH_MS ? took * WATCH_SHARE : WATCH_MS;
    if (shim->files.launch.sample_ms < (uint64_t)pause && took * WATCH_SHARE < WATCH_MS)
        pause = (int64_t)shim->files.launch.sample_ms;
    set_timer(shim->watch, pause);
}

/* ---- What init says ---------------------------------------------------------------------- */

/* The kernel says who sent this: the pid of process 1 as this machine numbers it. It is waiting
 * for an answer, so the pid is its own for as long as this takes. */
static void take_hello(struct shim *shim, const struct record *message)
{
    (void)message;
    SCOPED(strbuf_finish) struct strbuf go = {0};
    if (shim->sandbox_pidfd >= 0 || shim->message.pid <= 1)
        return;
    shim->sandbox_pidfd = pidfd_open(shim->message.pid, 0);
    if (shim->sandbox_pidfd < 0)
        return;
    shim->sandbox_alive = true;
    event_assign(shim->sandbox_gone, shim->base, shim->sandbox_pidfd, EV_READ,
        event_get_callback(shim->sandbox_gone), shim);
    event_add(shim->sandbox_gone, NULL);
    shim->status.sandbox_pid = shim->message.pid;
    shim->status.sandbox_start = process_start_time(shim->message.pid);
    if (publish(shim) < 0 || shim->facts.killed) {
        kill_tree(shim);
        return;
    }
    record_put(&go, "type", "go");
    ask_init(shim, &go, NULL, 0);
}

static void take_failed(struct shim *shim, const struct record *message)
{
    struct end_facts *facts = &shim->facts;
    const char *text = record_text(message, "text");
    if (facts->start_failed)
        return;
    facts->start_failed = true;
    facts->start_errno = (int)record_number(message, "errno", 0);
    snprintf(facts->start_text, sizeof facts->start_text, "%s%s%s", text ? text : "",
        facts->start_errno ? ": " : "", facts->start_errno ? strerror(facts->start_errno) : "");
    kill_tree(shim);
}

/* The index of a rank on this node, or -1. */
static int rank_index(const struct shim *shim, const struct record *message)
{
    uint64_t rank = record_number(message, "rank", UINT64_MAX);
    uint64_t first = shim->files.place->first_rank;
    return rank >= first && rank < first + shim->files.place->ranks ? (int)(rank - first) : -1;
}

static void take_executed(struct shim *shim, const struct record *message)
{
    int i = rank_index(shim, message);
    if (i < 0 || shim->status.ranks[i] != RANK_STARTING)
        return;
    shim->status.ranks[i] = RANK_RUNNING;
    if (++shim->executed < shim->files.place->ranks)
        return;
    shim->status.state = shim->kill_at_ms ? ENGINE_ATTEMPT_STOPPING : ENGINE_ATTEMPT_RUNNING;
    shim->status.end.started_ms = clock_wall_ms();
    (void)!publish(shim);
    if (shim->kill_at_ms)
        send_term(shim);
    if (shim->files.launch.time_limit_ms)
        set_timer(shim->time_over, (int64_t)shim->files.launch.time_limit_ms);
    set_timer(shim->watch, 0);
}

static void take_exited(struct shim *shim, const struct record *message)
{
    int i = rank_index(shim, message);
    int status = (int)record_number(message, "status", UINT32_MAX);
    if (i < 0 || shim->status.ranks[i] >= 0 || status < 0)
        return;
    shim->status.ranks[i] = status;
    bool failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    if (failed && shim->facts.failed_rank < 0) {
        shim->facts.failed_rank = (int32_t)shim->files.place->first_rank + i;
        shim->facts.failed_status = status;
    }
    (void)!publish(shim);
    if (failed)
        end_gently(shim, CAUSE_RANK_FAILED, shim->files.launch.grace_ms);
}

static void take_usage(struct shim *shim, const struct record *message)
{
    usage_decode(message, &shim->usage);
    watch_memory(shim);
    if (clock_boot_ms() >= shim->sample_at_ms)
        tell_sample(shim);
}

static void take_exec_ended(struct shim *shim, const struct record *message)
{
    (void)message;
    SCOPED(strbuf_finish) struct strbuf copy = {0};
    strbuf_append(&copy, shim->message.text, shim->message.size);
    shim_clients_tell(shim->clients, &copy, false);
}

static const struct {
    const char *type;
    void (*take)(struct shim *shim, const struct record *message);
} init_messages[] = {
    {"hello", take_hello},
    {"failed", take_failed},
    {"executed", take_executed},
    {"exited", take_exited},
    {"usage", take_usage},
    {"exec-ended", take_exec_ended},
};

static void take_init_message(struct shim *shim)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct record record;
    if (record_parse(arena, shim->message.text, shim->message.size, &record, NULL) < 0)
        return;
    const char *type = record_text(&record, "type");
    for (size_t i = 0; type && i < ARRAY_LEN(init_messages); i++) {
        if (!strcmp(init_messages[i].type, type))
            init_messages[i].take(shim, &record);
    }
}

/* Init's last messages stay readable after it has ended: they are read before the end is
 * decided. */
static void on_channel(evutil_socket_t fd, short events, void *context)
{
    struct shim *shim = context;
    (void)events;
    for (;;) {
        int got = channel_receive(fd, false, &shim->message);
        if (got < 0)
            event_del(shim->channel_readable);
        if (got <= 0)
            return;
        take_init_message(shim);
        channel_message_finish(&shim->message);
    }
}

/* ---- What servers ask -------------------------------------------------------------------- */

static void do_stop(
    struct shim *shim, const struct record *request, const struct channel_message *m)
{
    (void)m;
    shim->facts.stop_asked = true;
    end_gently(shim, CAUSE_STOP, record_number(request, "grace_ms", 0));
}

static void do_kill(
    struct shim *shim, const struct record *request, const struct channel_message *m)
{
    (void)request, (void)m;
    shim->facts.stop_asked = true;
    end_now(shim, CAUSE_KILL);
}

static void do_exec(
    struct shim *shim, const struct record *request, const struct channel_message *m)
{
    (void)request;
    SCOPED(strbuf_finish) struct strbuf copy = {0};
    strbuf_append(&copy, m->text, m->size);
    if (m->fd_count == CHANNEL_FDS_MAX)
        ask_init(shim, &copy, m->fds, m->fd_count);
}

static const struct {
    const char *type;
    void (*run)(struct shim *shim, const struct record *request, const struct channel_message *m);
} requests[] = {{"stop", do_stop}, {"kill", do_kill}, {"exec", do_exec}};

static void on_request(
    void *context, const struct record *request, const struct channel_message *message)
{
    const char *type = record_text(request, "type");
    for (size_t i = 0; type && i < ARRAY_LEN(requests); i++) {
        if (!strcmp(requests[i].type, type))
            requests[i].run(context, request, message);
    }
}

/* ---- The end ----------------------------------------------------------------------------- */

static void read_trouble(struct shim *shim)
{
    ssize_t n = read(shim->child.trouble_fd, shim->trouble, sizeof shim->trouble - 1);
    shim->trouble[n > 0 ? n : 0] = '\0';
    shim->trouble[strcspn(shim->trouble, "\n")] = '\0';
}

static void gather_facts(struct shim *shim)
{
    struct end_facts *facts = &shim->facts;
    struct stat st;
    uint64_t kills = 0;
    read_trouble(shim);
    if (!facts->start_failed && shim->executed < shim->files.place->ranks) {
        facts->start_failed = true;
        snprintf(facts->start_text, sizeof facts->start_text,
            "the sandbox could not be built: %.150s",
            *shim->trouble ? shim->trouble : "bubblewrap gave no reason");
    }
    facts->out_of_memory = cgroup_oom_kills(&shim->files.cgroup, &kills) && kills > 0;
    facts->complete = fstatat(shim->files.job_fd, "complete", &st, AT_SYMLINK_NOFOLLOW) == 0;
    facts->all_ended = true;
    for (uint32_t i = 0; i < shim->files.place->ranks; i++)
        facts->all_ended &= shim->status.ranks[i] >= 0;
}

/* The work directory goes here and not in the server, whose loop must not wait for a million
 * files; and as the user who made them, with descriptors only. */
static void remove_work(const struct shim *shim)
{
    struct error err;
    if (file_remove_content(shim->files.work_fd, &err) < 0 ||
        file_remove_content(shim->files.tmp_fd, &err) < 0 ||
        (shim->files.serve_fd >= 0 && file_remove_content(shim->files.serve_fd, &err) < 0))
        log_warn("%s", err.text);
}

static void finish_if_over(struct shim *shim)
{
    if (shim->bubblewrap_alive || shim->sandbox_alive || shim->open_streams > 0 ||
        shim->status.state == ENGINE_ATTEMPT_ENDED)
        return;
    on_channel(shim->child.channel_fd, 0, shim);
    gather_facts(shim);
    watch_disk(shim);
    tell_sample(shim);
    remove_work(shim);
    end_decide(&shim->facts, &shim->status.end);
    shim->status.end.ended_ms = clock_wall_ms();
    shim->status.state = ENGINE_ATTEMPT_ENDED;
    (void)!publish(shim);
    event_base_loopbreak(shim->base);
}

static void drain_when_dead(struct shim *shim)
{
    if (!shim->bubblewrap_alive && !shim->sandbox_alive)
        set_timer(shim->drained, DRAIN_MS);
    finish_if_over(shim);
}

static void on_bubblewrap_gone(evutil_socket_t fd, short events, void *context)
{
    struct shim *shim = context;
    (void)fd, (void)events;
    waitpid(shim->child.pid, NULL, 0);
    /* Init may have said hello before it went the same way. */
    on_channel(shim->child.channel_fd, 0, shim);
    shim->bubblewrap_alive = false;
    drain_when_dead(shim);
}

static void on_sandbox_gone(evutil_socket_t fd, short events, void *context)
{
    struct shim *shim = context;
    (void)fd, (void)events;
    shim->sandbox_alive = false;
    drain_when_dead(shim);
}

/* ---- Beginning --------------------------------------------------------------------------- */

/* The status a shim begins with. -1: the attempt has begun before, or its status cannot be
 * stored; it must not run. */
static int begin_status(struct shim *shim, struct error *err)
{
    const struct launch *launch = &shim->files.launch;
    struct status *status = &shim->status;
    struct status before;
    if (status_read(shim->files.status_fd, &before, NULL) == 0)
        return error_set(err, ERR_CONFLICT, "the attempt has begun before");
    *status = (struct status){.attempt = launch->attempt,
        .job = launch->job,
        .attempt_number = launch->attempt_number,
        .epoch = launch->epoch,
        .state = ENGINE_ATTEMPT_STARTING,
        .shim_pid = getpid(),
        .end = {.rank = -1},
        .rank_count = shim->files.place->ranks};
    for (uint32_t i = 0; i < status->rank_count; i++)
        status->ranks[i] = RANK_STARTING;
    shim->facts.failed_rank = -1;
    if (boot_id_read(status->boot_id, err) < 0)
        return -1;
    return status_write(shim->files.status_fd, status, err);
}

static struct event *new_event(struct shim *shim, int fd, short what, event_callback_fn callback)
{
    struct event *event = event_new(shim->base, fd, what, callback, shim);
    assert(event);
    return event;
}

static void make_events(struct shim *shim)
{
    shim->sandbox_pidfd = -1;
    shim->bubblewrap_pidfd = pidfd_open(shim->child.pid, 0);
    shim->bubblewrap_alive = true;
    shim->channel_readable =
        new_event(shim, shim->child.channel_fd, EV_READ | EV_PERSIST, on_channel);
    shim->bubblewrap_gone = new_event(shim, shim->bubblewrap_pidfd, EV_READ, on_bubblewrap_gone);
    shim->sandbox_gone = new_event(shim, -1, 0, on_sandbox_gone);
    shim->drained = new_event(shim, -1, 0, on_drained);
    shim->grace_over = new_event(shim, -1, 0, on_grace_over);
    shim->time_over = new_event(shim, -1, 0, on_time_over);
    shim->watch = new_event(shim, -1, 0, on_watch);
    shim->shutdown = new_event(shim, SIGTERM, EV_SIGNAL | EV_PERSIST, on_shutdown);
    event_add(shim->shutdown, NULL);
    event_add(shim->channel_readable, NULL);
    event_add(shim->bubblewrap_gone, NULL);
}

/* Everything that can fail before the sandbox is on its way. */
static int set_up(struct shim *shim, const struct shim_arguments *arguments, struct error *err)
{
    if (shim_open_folders(&shim->files, err) < 0 ||
        shim_spawn(arguments, &shim->files, &shim->child, err) < 0)
        return -1;
    if (sandbox_drop_rights(shim->files.uid, shim->files.gid, err) < 0) {
        kill(shim->child.pid, SIGKILL);
        waitpid(shim->child.pid, NULL, 0);
        return -1;
    }
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    return 0;
}

/* An attempt that could not be set up has ended: the server reads it from the file. */
static int end_unstarted(struct shim *shim, const struct error *why)
{
    struct error err;
    struct attempt_end *end = &shim->status.end;
    log_error("%s", why->text);
    end->reason = ENGINE_END_START_FAILED;
    end->ended_ms = clock_wall_ms();
    snprintf(end->text, sizeof end->text, "%.199s", why->text);
    shim->status.state = ENGINE_ATTEMPT_ENDED;
    if (status_write(shim->files.status_fd, &shim->status, &err) < 0)
        log_error("%s", err.text);
    return 1;
}

static void run(struct shim *shim, const struct shim_arguments *arguments)
{
    fd_scope(&(int){arguments->secrets_fd});
    fd_scope(&(int){arguments->snapshot_fd});
    shim->base = event_base_new();
    assert(shim->base);
    make_events(shim);
    open_streams(shim);
    shim->clients = shim_clients_create(&(struct shim_clients_options){.base = shim->base,
        .listen_fd = shim->files.listen_fd,
        .first_fd = arguments->control_fd,
        .owner = shim->files.server_uid,
        .on_request = on_request,
        .greet = encode_status,
        .context = shim});
    event_base_dispatch(shim->base);
    assert(shim->status.state == ENGINE_ATTEMPT_ENDED);
}

static int parse_fd(const char *text)
{
    char *end;
    long fd = strtol(text, &end, 10);
    if (*text == '\0' || *end || fd < -1 || fd > 65535)
        return -1;
    if (fd >= 0)
        fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    return (int)fd;
}

/* What it says goes beside the attempt, for whoever looks into why it failed. */
static void detach(const struct shim_arguments *arguments)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/diagnostics", arguments->run);
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    dup2(null_fd, 0);
    dup2(null_fd, 1);
    dup2(log_fd >= 0 ? log_fd : null_fd, 2);
    fd_scope(&log_fd);
    fd_scope(&null_fd);
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
}

int shim_main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "muster shim is started by muster server\n");
        return 2;
    }
    const struct shim_arguments arguments = {.run = argv[1],
        .lock_fd = parse_fd(argv[2]),
        .control_fd = parse_fd(argv[3]),
        .secrets_fd = parse_fd(argv[4]),
        .snapshot_fd = parse_fd(argv[5])};
    struct shim *shim = mem_alloc(1, sizeof *shim);
    struct error err;
    detach(&arguments);
    /* The lock came with the descriptor; taking it again only fails when it did not. */
    if (arguments.lock_fd < 0 || flock(arguments.lock_fd, LOCK_EX | LOCK_NB) < 0)
        return 1;
    shim->files.arena = arena_create();
    if (shim_open(&arguments, &shim->files, &err) < 0 || begin_status(shim, &err) < 0) {
        log_error("%s", err.text);
        return 1;
    }
    if (set_up(shim, &arguments, &err) < 0)
        return end_unstarted(shim, &err);
    run(shim, &arguments);
    shim_clients_destroy(shim->clients);
    return 0;
}
