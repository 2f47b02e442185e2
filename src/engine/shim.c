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
 *  3. When it dies, bubblewrap and with it everything inside dies, and when bubblewrap dies so does
 *     everything inside, however far it has come.
 *  4. The attempt has ended when process 1 of the sandbox is gone, since the kernel then has
 *     killed all others, and every byte they wrote has been logged. */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "engine/shim_state.h"

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DRAIN_MS = 5000 }; /* for output of an attempt whose processes are gone */

/* ---- The status and telling it ----------------------------------------------------------- */

static void encode_status(void *context, struct strbuf *out)
{
    const struct shim *shim = context;
    record_put(out, "type", "status");
    status_encode(out, &shim->status);
}

int shim_publish(struct shim *shim)
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

void shim_set_timer(struct event *timer, int64_t ms)
{
    struct timeval when = {ms / 1000, (ms % 1000) * 1000};
    if (ms < 0)
        when = (struct timeval){0, 0};
    event_add(timer, &when);
}

void shim_ask_init(struct shim *shim, const struct strbuf *message, const int *fds, size_t count)
{
    struct error err;
    if (channel_send(shim->child.channel_fd, message, fds, count, &err) < 0 && err.code == ERR_BUSY)
        log_warn("init does not read its messages");
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

void shim_finish_if_over(struct shim *shim)
{
    if (shim->bubblewrap_alive || shim->sandbox_alive || shim->open_streams > 0 ||
        shim->status.state == ENGINE_ATTEMPT_ENDED)
        return;
    shim_on_channel(shim->child.channel_fd, 0, shim);
    gather_facts(shim);
    shim_watch_disk(shim);
    shim_tell_sample(shim);
    remove_work(shim);
    end_decide(&shim->facts, &shim->status.end);
    shim->status.end.ended_ms = clock_wall_ms();
    shim->status.state = ENGINE_ATTEMPT_ENDED;
    (void)!shim_publish(shim);
    event_base_loopbreak(shim->base);
}

static void drain_when_dead(struct shim *shim)
{
    if (!shim->bubblewrap_alive && !shim->sandbox_alive)
        shim_set_timer(shim->drained, DRAIN_MS);
    shim_finish_if_over(shim);
}

static void on_bubblewrap_gone(evutil_socket_t fd, short events, void *context)
{
    struct shim *shim = context;
    (void)fd, (void)events;
    shim_reap(&shim->child);
    shim->bubblewrap_alive = false;
    /* Init may have said hello before it went the same way; or it was not bound to bubblewrap yet.
     */
    shim_on_channel(shim->child.channel_fd, 0, shim);
    if (shim->sandbox_alive)
        pidfd_send_signal(shim->sandbox_pidfd, SIGKILL, NULL, 0);
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
        new_event(shim, shim->child.channel_fd, EV_READ | EV_PERSIST, shim_on_channel);
    shim->bubblewrap_gone = new_event(shim, shim->bubblewrap_pidfd, EV_READ, on_bubblewrap_gone);
    shim->sandbox_gone = new_event(shim, -1, 0, on_sandbox_gone);
    shim->drained = new_event(shim, -1, 0, shim_on_drained);
    shim->grace_over = new_event(shim, -1, 0, shim_on_grace_over);
    shim->time_over = new_event(shim, -1, 0, shim_on_time_over);
    shim->watch = new_event(shim, -1, 0, shim_on_watch);
    shim->shutdown = new_event(shim, SIGTERM, EV_SIGNAL | EV_PERSIST, shim_on_shutdown);
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
        shim_reap(&shim->child);
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
    shim_open_streams(shim);
    shim->clients = shim_clients_create(&(struct shim_clients_options){.base = shim->base,
        .listen_fd = shim->files.listen_fd,
        .first_fd = arguments->control_fd,
        .owner = shim->files.server_uid,
        .on_request = shim_on_request,
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
