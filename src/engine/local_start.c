/* Starting an attempt of the local engine.
 *
 * A start goes: the run folder with the launch is made beside its place and renamed there, which
 * is the moment the attempt exists; then its folders and control group; then its shim, which gets
 * the lock, a socket, the secrets and the snapshot as descriptors. What fails after the rename is
 * an end of the attempt (START_FAILED), not of the call. */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "engine/launch.h"
#include "engine/layout.h"
#include "engine/local.h"
#include "engine/plan.h"
#include "engine/sandbox.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIDS_A_RANK = 4096, SHIM_ARGUMENTS = 8, CORE_MILLI = 1000 };

/* What a shim inherits, -1 where there is nothing. */
struct handed {
    int lock_fd;
    int channel_fd;
    int secrets_fd;
    int snapshot_fd;
};

static void handed_finish(struct handed *handed)
{
    fd_scope(&handed->lock_fd);
    fd_scope(&handed->channel_fd);
    fd_scope(&handed->secrets_fd);
    fd_scope(&handed->snapshot_fd);
}

static int check_user(const struct launch *launch, struct error *err)
{
    if (geteuid() == 0 && launch->uid == 0)
        return error_set(err, ERR_INVALID, "no job is run as root: give its team a user");
    if (geteuid() == 0 && launch->gid == 0)
        return error_set(err, ERR_INVALID, "no job is run in root's group: give its team a group");
    if (geteuid() != 0 && launch->uid != 0 && launch->uid != geteuid())
        return error_set(err, ERR_UNAVAILABLE,
            "only root can run jobs as other users: user %u was asked for", (unsigned)launch->uid);
    return 0;
}

/* Cores for an attempt that asks for whole CPUs: none that a pinned attempt has, which has not
 * ended. Nothing is chosen, and it runs unpinned, when so many are not free. */
static void choose_cores(const struct local *local, const struct launch *launch,
    const struct launch_placement *place, struct core_list *ret_cores)
{
    cpu_set_t allowed, taken;
    ret_cores->count = 0;
    if (launch->cpu_milli == 0 || launch->cpu_milli % CORE_MILLI != 0 ||
        launch->cpu_milli / CORE_MILLI > local->core_count ||
        sched_getaffinity(0, sizeof allowed, &allowed) < 0)
        return;
    CPU_ZERO(&taken);
    /* The server may have lost cores since it began. */
    for (size_t i = 0; i < local->core_count; i++) {
        if (!CPU_ISSET(local->cores[i].number, &allowed))
            CPU_SET(local->cores[i].number, &taken);
    }
    for (size_t i = 0; i < local->attempts.count; i++) {
        const struct attempt *attempt = local->attempts.items[i];
        for (size_t j = 0; j < attempt->cores.count && !attempt->ended; j++)
            CPU_SET(attempt->cores.items[j], &taken);
    }
    cores_choose(local->cores, local->core_count, &taken,
        launch->cpu_milli / CORE_MILLI * place->ranks, ret_cores);
}

static void encode_launch_file(
    const struct local *local, const struct launch *launch, const char *cores, struct strbuf *out)
{
    struct cgroup group;
    cgroup_of_attempt(&local->cgroups, launch->attempt, &group);
    launch_encode(out, launch);
    record_put(out, "here", local->node.name);
    record_put(out, "program", local->program);
    record_put(out, "cores", cores);
    if (!*cores)
        group.folder[CGROUP_CPUSET][0] = '\0';
    cgroup_encode(out, &group);
}

/* Makes the run folder under a passing name and puts it in its place: from then on the attempt
 * exists, whatever happens. */
static int make_run_folder(
    const struct local *local, const struct launch *launch, const char *cores, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf passing = {0};
    SCOPED(strbuf_finish) struct strbuf file = {0};
    SCOPED(strbuf_finish) struct strbuf text = {0};
    SCOPED(mem_scope) char *run = layout_run(local->data, launch->attempt, NULL);
    strbuf_printf(&passing, "%s/run/.%" PRIu64 ".new", local->data, launch->attempt);
    strbuf_printf(&file, "%s/launch", strbuf_text(&passing));
    encode_launch_file(local, launch, cores, &text);
    if (text.length > LAUNCH_BYTES_MAX)
        return error_set(err, ERR_INVALID, "the launch has more than %d bytes", LAUNCH_BYTES_MAX);
    if (file_remove_tree(strbuf_text(&passing), err) < 0 ||
        file_make_dirs(strbuf_text(&passing), 0700, err) < 0 ||
        file_write(strbuf_text(&file), text.text, text.length, 0600, err) < 0)
        return -1;
    if (rename(strbuf_text(&passing), run) < 0)
        return error_set_errno(err, "cannot make the folder %s", run);
    SCOPED(mem_scope) char *parent = layout_run(local->data, launch->attempt, "..");
    SCOPED(fd_scope) int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return error_set_errno(err, "cannot sync %s", parent);
    return 0;
}

static int make_cgroup(const struct local *local, const struct launch *launch,
    const struct launch_placement *place, const char *cores, struct error *err)
{
    struct cgroup group;
    const struct cgroup_limits limits = {
        .memory_bytes = launch->memory_bytes * place->ranks,
        .cpu_milli = launch->cpu_milli * place->ranks,
        .pids = (uint64_t)PIDS_A_RANK * place->ranks,
        .cpus = cores,
    };
    return cgroup_create(&local->cgroups, launch->attempt, &limits, &group, err);
}

static int take_lock(const struct attempt *attempt, int *ret_fd, struct error *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/lock", attempt->run);
    SCOPED(fd_scope) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return error_set_errno(err, "cannot lock %s", path);
    *ret_fd = fd;
    fd = -1;
    return 0;
}

static int make_secrets(const struct launch *launch, int *ret_fd, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf text = {0};
    if (launch->secret_count == 0)
        return 0;
    secrets_encode(&text, launch);
    int fd = memfd_create("secrets", MFD_CLOEXEC);
    if (fd < 0)
        error_set_errno(err, "cannot make a file in memory");
    else if (file_write_all(fd, text.text, text.length, err) < 0)
        fd_scope(&fd), fd = -1;
    explicit_bzero(text.text, text.capacity);
    if (fd < 0)
        return -1;
    *ret_fd = fd;
    return 0;
}

/* Runs `muster shim`. A descriptor that is duplicated onto itself loses its close-on-exec mark in
 * the child only, so no other process started meanwhile inherits it. */
static int spawn_shim(
    const struct attempt *attempt, const struct handed *handed, pid_t *ret_pid, struct error *err)
{
    const int fds[] = {
        handed->lock_fd, handed->channel_fd, handed->secrets_fd, handed->snapshot_fd};
    char numbers[ARRAY_LEN(fds)][12];
    char *argv[SHIM_ARGUMENTS] = {"muster", "shim", attempt->run};
    char *const envp[] = {NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        snprintf(numbers[i], sizeof numbers[i], "%d", fds[i]);
        argv[3 + i] = numbers[i];
        if (fds[i] >= 0)
            posix_spawn_file_actions_adddup2(&actions, fds[i], fds[i]);
    }
    errno = posix_spawn(ret_pid, attempt->local->program, &actions, &attributes, argv, envp);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return errno ? error_set_errno(err, "cannot run %s", attempt->local->program) : 0;
}

static int launch_shim(struct attempt *attempt, const struct launch *launch,
    const struct launch_placement *place, const char *cores, struct handed *handed,
    struct error *err)
{
    const struct local *local = attempt->local;
    uid_t uid = launch->uid ? launch->uid : geteuid();
    gid_t gid = launch->uid ? launch->gid : getegid();
    int pair[2];
    pid_t pid;
    if (layout_make(local->data, launch, uid, gid, err) < 0 ||
        make_cgroup(local, launch, place, cores, err) < 0 ||
        make_secrets(launch, &handed->secrets_fd, err) < 0 || channel_pair(pair, err) < 0)
        return -1;
    handed->channel_fd = pair[1];
    handed->snapshot_fd =
        launch->snapshot_fd < 0 ? -1 : fcntl(launch->snapshot_fd, F_DUPFD_CLOEXEC, 3);
    if (spawn_shim(attempt, handed, &pid, err) < 0) {
        close(pair[0]);
        return -1;
    }
    attempt_connect(attempt, pair[0]);
    attempt_watch_child(attempt, pid);
    return 0;
}

/* Writes the end of an attempt whose shim could not be started, under the lock this engine has. */
static void write_start_failed(struct attempt *attempt, const struct error *why)
{
    struct error err;
    char path[PATH_MAX];
    struct status *status = &attempt->status;
    snprintf(path, sizeof path, "%s/status", attempt->run);
    SCOPED(fd_scope) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    status->end.reason = ENGINE_END_START_FAILED;
    status->end.ended_ms = clock_wall_ms();
    status->state = ENGINE_ATTEMPT_ENDED;
    snprintf(status->boot_id, sizeof status->boot_id, "%s", attempt->local->boot_id);
    snprintf(status->end.text, sizeof status->end.text, "%.199s", why->text);
    if (fd < 0 || status_write(fd, status, &err) < 0)
        log_error("attempt %" PRIu64 " could not be started, and that not be stored: %s",
            attempt->id, why->text);
}

static void adopt_launch(struct attempt *attempt, const struct launch *launch,
    const struct launch_placement *place, const struct core_list *cores)
{
    struct status *status = &attempt->status;
    status->job = launch->job;
    status->attempt_number = launch->attempt_number;
    status->epoch = launch->epoch;
    attempt->output_job = launch->output_count > 0 ? launch_output_job(launch) : 0;
    for (size_t i = 0; i < cores->count; i++)
        vec_push(&attempt->cores, cores->numbers[i]);
    if (!launch->accelerator_type || strcmp(launch->accelerator_type, "nvidia") != 0)
        return;
    for (size_t i = 0; i < place->device_count; i++)
        vec_push(&attempt->devices, place->devices[i]);
}

void attempt_read_launch(struct attempt *attempt)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(mem_scope) char *path = layout_run(attempt->local->data, attempt->id, "launch");
    struct launch launch;
    struct error err;
    char *text;
    size_t size;
    if (file_read(path, LAUNCH_BYTES_MAX, &text, &size, &err) < 0) {
        log_warn("attempt %" PRIu64 ": %s", attempt->id, err.text);
        return;
    }
    struct record record;
    struct core_list cores;
    int result = launch_decode(arena, text, size, &launch, &err);
    if (record_parse(arena, text, size, &record, &err) < 0 ||
        !cores_parse(record_text(&record, "cores"), &cores))
        cores.count = 0;
    free(text);
    const struct launch_placement *place =
        result < 0 ? NULL : launch_placement_on(&launch, attempt->local->node.name);
    if (place)
        adopt_launch(attempt, &launch, place, &cores);
    else
        log_warn("attempt %" PRIu64 ": its launch file cannot be used", attempt->id);
}

int local_start(struct engine *engine, const struct launch *launch, struct error *err)
{
    struct local *local = (struct local *)engine;
    const struct launch_placement *place = launch_placement_on(launch, local->node.name);
    SCOPED(strbuf_finish) struct strbuf cores_text = {0};
    struct core_list cores;
    struct error why = {0};
    struct attempt *known = attempt_find(local, launch->attempt);
    if (known) {
        attempt_report_again(known);
        return 0;
    }
    if (check_user(launch, err) < 0)
        return -1;
    if (!place)
        return error_set(err, ERR_INVALID, "no rank is placed on %s", local->node.name);
    choose_cores(local, launch, place, &cores);
    cores_print(&cores_text, cores.numbers, cores.count);
    const char *pinned = strbuf_text(&cores_text);
    if (make_run_folder(local, launch, pinned, err) < 0)
        return -1;
    struct attempt *attempt = attempt_add(local, launch->attempt);
    adopt_launch(attempt, launch, place, &cores);
    SCOPED(handed_finish) struct handed handed = {-1, -1, -1, -1};
    if (take_lock(attempt, &handed.lock_fd, &why) < 0 ||
        launch_shim(attempt, launch, place, pinned, &handed, &why) < 0) {
        write_start_failed(attempt, &why);
        attempt_settle_later(attempt, 0);
    }
    return 0;
}
