/* The process that becomes the sandbox: see shim_setup.h. The order matters and is this:
 *  1. fork: the child joins the control groups, which needs the rights the server has, and goes to
 *     its cores;
 *  2. it becomes the team's user for good, as the shim does on its side;
 *  3. it unpacks what the team sent, then runs bubblewrap, and so has nothing left that root had
 *     when it first reads the team's bytes. */
#include "engine/shim_setup.h"

#include "base/file.h"
#include "engine/channel.h"
#include "engine/snapshot.h"
#include "engine/stray.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECRETS_BYTES_MAX = 16 << 20, PIPE_BYTES = 1 << 20, MASTER_PORT = 29500 };

/* Everything the child hands on to bubblewrap and init. */
struct handover {
    struct sandbox sandbox;
    struct plan_streams streams;
    struct argument_list arguments;
    int trouble_fd;
    int snapshot_fd;
};

static int memory_file(
    const char *name, const void *bytes, size_t size, int *ret_fd, struct error *err)
{
    SCOPED(fd_scope) int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, "cannot make a file in memory");
    if (file_write_all(fd, bytes, size, err) < 0)
        return -1;
    lseek(fd, 0, SEEK_SET);
    *ret_fd = fd;
    fd = -1;
    return 0;
}

static int make_system_files(
    const struct shim_files *files, struct sandbox *sandbox, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf passwd = {0};
    SCOPED(strbuf_finish) struct strbuf group = {0};
    SCOPED(strbuf_finish) struct strbuf hosts = {0};
    strbuf_printf(&passwd,
        "job:x:%u:%u:job:" SANDBOX_WORK ":/bin/sh\n"
        "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
        files->uid, files->gid);
    strbuf_printf(&group, "job:x:%u:\nnogroup:x:65534:\n", files->gid);
    strbuf_printf(&hosts, "127.0.0.1 localhost %s\n::1 localhost\n", files->launch.job_name);
    if (memory_file("passwd", passwd.text, passwd.length, &sandbox->passwd_fd, err) < 0 ||
        memory_file("group", group.text, group.length, &sandbox->group_fd, err) < 0)
        return -1;
    sandbox->hosts_fd = -1;
    if (files->launch.network == ENGINE_NETWORK_HOST)
        return 0;
    return memory_file("hosts", hosts.text, hosts.length, &sandbox->hosts_fd, err);
}

static int read_secrets(int fd, struct arena *arena, struct record *ret, struct error *err)
{
    struct stat st;
    *ret = (struct record){0};
    if (fd < 0)
        return 0;
    if (fstat(fd, &st) < 0 || st.st_size > SECRETS_BYTES_MAX)
        return error_set(err, ERR_TOO_LARGE, "the secrets are too large");
    SCOPED(mem_scope) char *text = mem_alloc((size_t)st.st_size + 1, 1);
    if (pread(fd, text, (size_t)st.st_size, 0) != st.st_size)
        return error_set_errno(err, "cannot read the secrets");
    int result = record_parse(arena, text, (size_t)st.st_size, ret, err);
    explicit_bzero(text, (size_t)st.st_size);
    return result;
}

/* A port nobody listens on; inside a network of its own any is. */
static uint16_t choose_port(const struct launch *launch)
{
    if (launch->network != ENGINE_NETWORK_HOST)
        return MASTER_PORT;
    SCOPED(fd_scope) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        return MASTER_PORT;
    return ntohs(address.sin_port);
}

static int make_plan(const struct shim_arguments *arguments, const struct shim_files *files,
    struct handover *handover, struct error *err)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(strbuf_finish) struct strbuf plan = {0};
    struct record secrets;
    if (read_secrets(arguments->secrets_fd, arena, &secrets, err) < 0)
        return -1;
    const struct plan_input input = {.launch = &files->launch,
        .place = files->place,
        .secrets = &secrets,
        .streams = &handover->streams,
        .cores = &files->cores,
        .master_port = choose_port(&files->launch)};
    plan_encode(&plan, &input);
    int result = memory_file("plan", plan.text, plan.length, &handover->sandbox.plan_fd, err);
    explicit_bzero(plan.text, plan.capacity);
    return result;
}

static int make_pipe(int *ret_read, int *ret_write, struct error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(err, "cannot make a pipe");
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    /* Room for a burst of output while the shim is busy; the machine may allow less. */
    fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
    *ret_read = ends[0];
    *ret_write = ends[1];
    return 0;
}

static int make_pipes(const struct shim_files *files, struct handover *handover,
    struct shim_child *child, struct error *err)
{
    int pair[2];
    if (channel_pair(pair, err) < 0)
        return -1;
    child->channel_fd = pair[0];
    handover->sandbox.channel_fd = pair[1];
    int on = 1;
    if (setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0)
        return error_set_errno(err, "cannot learn who sends messages");
    if (make_pipe(&child->trouble_fd, &handover->trouble_fd, err) < 0)
        return -1;
    for (uint32_t i = 0; i < files->place->ranks; i++) {
        if (make_pipe(&child->out[i], &handover->streams.out[i], err) < 0 ||
            make_pipe(&child->err[i], &handover->streams.err[i], err) < 0)
            return -1;
    }
    return 0;
}

static _Noreturn void give_up(const struct handover *handover, int error, const char *text)
{
    SCOPED(strbuf_finish) struct strbuf message = {0};
    record_put(&message, "type", "failed");
    record_put_number(&message, "errno", (uint64_t)error);
    record_put(&message, "text", text);
    (void)!channel_send(handover->sandbox.channel_fd, &message, NULL, 0, NULL);
    _exit(1);
}

/* bubblewrap makes a child which waits for a word of bubblewrap's, and for ever where bubblewrap is
 * killed before it; the signal of a parent's death does not reach that child yet. So bubblewrap is
 * a process group, which the child leaves when nothing keeps it from running init any more. Where
 * the shim is killed as well, a server finds the child by its mark: see stray.h. */
void shim_reap(const struct shim_child *child)
{
    siginfo_t ignored;
    kill(child->pid, SIGKILL);
    waitid(P_PID, (id_t)child->pid, &ignored, WEXITED | WNOWAIT);
    /* Until it is reaped no other group can have its number. */
    kill(-child->pid, SIGKILL);
    waitpid(child->pid, NULL, 0);
}

static void hand_on(int fd)
{
    if (fd >= 0)
        fcntl(fd, F_SETFD, 0);
}

static void hand_on_all(const struct shim_files *files, const struct handover *handover)
{
    const struct sandbox *sandbox = &handover->sandbox;
    hand_on(sandbox->passwd_fd);
    hand_on(sandbox->group_fd);
    hand_on(sandbox->hosts_fd);
    hand_on(sandbox->plan_fd);
    hand_on(sandbox->channel_fd);
    for (uint32_t i = 0; i < files->place->ranks; i++) {
        hand_on(handover->streams.out[i]);
        hand_on(handover->streams.err[i]);
    }
}

static int unpack(const struct shim_files *files, int snapshot_fd, struct error *err)
{
    if (snapshot_fd < 0)
        return 0;
    struct snapshot_limits limits = snapshot_default_limits();
    if (files->launch.disk_bytes)
        limits.bytes = files->launch.disk_bytes * files->place->ranks;
    return snapshot_unpack(snapshot_fd, files->work_fd, &limits, err);
}

static int pin(const struct core_list *cores, struct error *err)
{
    return cores->count ? cores_pin(cores->numbers, cores->count, err) : 0;
}

static int make_group(struct error *err)
{
    return setpgid(0, 0) < 0 ? error_set_errno(err, "cannot make a process group") : 0;
}

static _Noreturn void become_sandbox(
    const struct shim_files *files, const struct handover *handover, pid_t shim)
{
    struct error err = {0};
    errno = 0;
    if (cgroup_join(&files->cgroup, &err) < 0 || pin(&files->cores, &err) < 0 ||
        sandbox_drop_rights(files->uid, files->gid, &err) < 0 || make_group(&err) < 0 ||
        unpack(files, handover->snapshot_fd, &err) < 0)
        give_up(handover, errno, err.text);
    /* Becoming another user has cleared the death signal, so it is set after that; and the shim
     * may have died before. bubblewrap sets its own in the same way. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != shim)
        _exit(1);
    hand_on_all(files, handover);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null_fd, 0);
    dup2(null_fd, 1);
    dup2(handover->trouble_fd, 2);
    char *const empty[] = {NULL};
    execve(SANDBOX_PROGRAM, handover->arguments.list.items, empty);
    give_up(handover, errno, "cannot run " SANDBOX_PROGRAM);
}

static void handover_finish(const struct shim_files *files, struct handover *handover)
{
    fd_scope(&handover->sandbox.passwd_fd);
    fd_scope(&handover->sandbox.group_fd);
    fd_scope(&handover->sandbox.hosts_fd);
    fd_scope(&handover->sandbox.plan_fd);
    fd_scope(&handover->sandbox.channel_fd);
    fd_scope(&handover->trouble_fd);
    for (uint32_t i = 0; i < files->place->ranks; i++) {
        fd_scope(&handover->streams.out[i]);
        fd_scope(&handover->streams.err[i]);
    }
    argument_list_finish(&handover->arguments);
}

/* Descriptors made on the way to a failure are left: the shim ends with it. */
int shim_spawn(const struct shim_arguments *arguments, const struct shim_files *files,
    struct shim_child *ret_child, struct error *err)
{
    struct handover handover = {
        .sandbox = {.launch = &files->launch, .place = files->place, .sources = &files->sources},
        .snapshot_fd = arguments->snapshot_fd};
    struct shim_child child = {0};
    if (make_system_files(files, &handover.sandbox, err) < 0 ||
        make_pipes(files, &handover, &child, err) < 0 ||
        make_plan(arguments, files, &handover, err) < 0)
        return -1;
    stray_mark(files->run_fd, files->launch.attempt, handover.sandbox.mark);
    sandbox_arguments(&handover.sandbox, &handover.arguments);
    pid_t shim = getpid();
    child.pid = fork();
    if (child.pid < 0)
        return error_set_errno(err, "cannot make a process");
    if (child.pid == 0)
        become_sandbox(files, &handover, shim);
    handover_finish(files, &handover);
    *ret_child = child;
    return 0;
}
