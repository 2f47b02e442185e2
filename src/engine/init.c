/* Init: process 1 of an attempt's sandbox, the verb `init`.
 *
 * It starts the ranks of its plan, tells the shim of each whether it was executed and how it
 * ended, passes signals on to their process groups, reaps whatever is left to it, runs commands
 * on demand, keeps the relay of a replica's port running, and ends when the last rank has: the
 * kernel then kills what is left. It decides nothing. When the shim is gone it ends too.
 *
 * It has the rights of the job, which could otherwise read its memory (the plan has the secrets
 * of all ranks) or its descriptors: so it is not dumpable, and what it does not need it closes. */
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/vec.h"
#include "engine/channel.h"
#include "engine/cores.h"
#include "engine/engine.h"
#include "engine/init_relay.h"
#include "engine/init_usage.h"
#include "engine/record.h"
#include "engine/sandbox.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PLAN_BYTES_MAX = 64 << 20, EXECS_MAX = 64 };
enum { RELAY_END_MS = 1000, RELAY_LEAST_MS = 100 };

struct rank {
    uint32_t number;
    int out;
    int err;
    char **env;
    const char *cores; /* NULL: those of init */
    pid_t pid;         /* 0: not running */
};

struct init {
    int channel_fd;
    int signal_fd;
    struct arena *arena;
    const char *folder;
    char **argv;
    uint64_t fsize, nofile, nproc; /* 0: not bounded */
    struct rank ranks[ENGINE_RANKS_MAX];
    size_t rank_count;
    size_t running;
    struct {
        uint64_t id;
        pid_t pid;
    } execs[EXECS_MAX];
    size_t exec_count;
    uint16_t relay_port; /* 0: nothing is relayed */
    int relay_fd;        /* listens at the replica's socket */
    int leash[2];        /* the relay ends when leash[1] is closed: see relay_start */
    pid_t relay_pid;     /* 0: it does not run */
    int64_t relay_at_ms; /* boot clock, as the next: when it was started last */
    int64_t leave_by_ms; /* until then the relay may end, as the ranks have; 0: they have not */
    struct usage_total ended; /* of the processes reaped */
    bool over;
    struct channel_message message;
};

/* ---- Telling ----------------------------------------------------------------------------- */

static void say(struct init *init, const struct strbuf *message)
{
    /* The shim always reads; a queue that is full for a moment is waited for. */
    struct error err;
    while (channel_send(init->channel_fd, message, NULL, 0, &err) < 0) {
        struct pollfd ready = {.fd = init->channel_fd, .events = POLLOUT};
        if (err.code != ERR_BUSY || poll(&ready, 1, -1) < 0)
            _exit(1);
    }
}

static void say_number(struct init *init, const char *type, const char *name, uint64_t id,
    const char *value_name, int value)
{
    SCOPED(strbuf_finish) struct strbuf message = {0};
    record_put(&message, "type", type);
    record_put_number(&message, name, id);
    strbuf_printf(&message, "%s %d\n", value_name, value);
    say(init, &message);
}

static void say_failed(struct init *init, const char *what, int error)
{
    SCOPED(strbuf_finish) struct strbuf message = {0};
    record_put(&message, "type", "failed");
    record_put_number(&message, "errno", (uint64_t)error);
    record_put(&message, "text", what);
    say(init, &message);
}

static void say_usage(struct init *init)
{
    SCOPED(strbuf_finish) struct strbuf message = {0};
    struct usage_total total = init->ended;
    usage_add_living(&total);
    record_put(&message, "type", "usage");
    usage_encode(&message, &total);
    say(init, &message);
}

/* ---- The plan ---------------------------------------------------------------------------- */

static char *read_all(int fd, struct arena *arena, size_t *ret_size)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > PLAN_BYTES_MAX)
        return NULL;
    char *text = arena_alloc(arena, (size_t)st.st_size, 1);
    if (pread(fd, text, (size_t)st.st_size, 0) != st.st_size)
        return NULL;
    *ret_size = (size_t)st.st_size;
    return text;
}

/* The values of the fields `name` in [from, to), terminated by NULL, with room for `more`. */
static char **collect(struct init *init, const struct record *plan, const char *name, size_t from,
    size_t to, size_t more)
{
    char **values = arena_alloc(init->arena, to - from + more + 1, sizeof *values);
    size_t count = 0;
    for (size_t i = from; i < to; i++) {
        if (!strcmp(plan->fields[i].name, name))
            values[count++] = (char *)plan->fields[i].value;
    }
    return values;
}

static size_t find_rank(const struct record *plan, size_t from)
{
    while (from < plan->count && strcmp(plan->fields[from].name, "rank") != 0)
        from++;
    return from;
}

static bool same_name(const char *a, const char *b)
{
    size_t length = strcspn(a, "=");
    return !strncmp(a, b, length + 1);
}

/* Sets a variable in env, which has room for it; the last setting of a name counts. */
static void set_variable(char **env, char *variable)
{
    size_t i = 0;
    while (env[i] && !same_name(env[i], variable))
        i++;
    env[i] = variable;
}

static char **merge_env(struct init *init, char **common, char **own)
{
    size_t count = 0;
    while (common[count])
        count++;
    for (size_t i = 0; own[i]; i++)
        count++;
    char **env = arena_alloc(init->arena, count + 1, sizeof *env);
    for (size_t i = 0; common[i]; i++)
        set_variable(env, common[i]);
    for (size_t i = 0; own[i]; i++)
        set_variable(env, own[i]);
    return env;
}

static void read_rank(
    struct init *init, const struct record *plan, size_t from, size_t to, char **common)
{
    const struct record part = {plan->fields + from, to - from};
    char **own = collect(init, plan, "env", from, to, 0);
    init->ranks[init->rank_count++] = (struct rank){
        .number = (uint32_t)record_number(&part, "rank", 0),
        .out = (int)record_number(&part, "out", 0),
        .err = (int)record_number(&part, "err", 0),
        .env = merge_env(init, common, own),
        .cores = record_text(&part, "cores"),
    };
}

static int write_secret(const struct record_field *name, const struct record_field *content)
{
    char path[512];
    snprintf(path, sizeof path, SANDBOX_SECRETS "/%s", name->value);
    SCOPED(fd_scope)
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
    if (fd < 0)
        return -1;
    return file_write_all(fd, content->value, content->size, NULL);
}

static int write_secrets(const struct record *plan)
{
    for (size_t i = 0; i + 1 < plan->count; i++) {
        if (!strcmp(plan->fields[i].name, "secret") &&
            write_secret(&plan->fields[i], &plan->fields[i + 1]) < 0)
            return -1;
    }
    return 0;
}

/* -1: the plan cannot be read or its secrets not be written; errno says why. */
static int read_plan(struct init *init, int plan_fd)
{
    size_t size;
    struct record plan;
    char *text = read_all(plan_fd, init->arena, &size);
    errno = EPROTO;
    if (!text || record_parse(init->arena, text, size, &plan, NULL) < 0)
        return -1;
    explicit_bzero(text, size);
    size_t first = find_rank(&plan, 0);
    init->fsize = record_number(&plan, "fsize", 0);
    init->nofile = record_number(&plan, "nofile", 0);
    init->nproc = record_number(&plan, "nproc", 0);
    init->relay_port = (uint16_t)record_number(&plan, "relay_port", 0);
    init->folder = record_text(&plan, "folder");
    init->argv = collect(init, &plan, "argument", 0, first, 0);
    char **common = collect(init, &plan, "env", 0, first, 0);
    for (size_t at = first; at < plan.count && init->rank_count < ENGINE_RANKS_MAX;) {
        size_t next = find_rank(&plan, at + 1);
        read_rank(init, &plan, at, next, common);
        at = next;
    }
    if (!init->folder || !init->argv[0] || init->rank_count == 0)
        return -1;
    return write_secrets(&plan);
}

/* ---- Starting processes ------------------------------------------------------------------ */

struct start {
    char **argv;
    char **env;
    int fds[3];
    bool terminal;
    const char *cores;
};

static void set_limit(int resource, uint64_t most)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) < 0)
        return;
    rlim_t bound = limit.rlim_max == RLIM_INFINITY || most < limit.rlim_max ? most : limit.rlim_max;
    limit = (struct rlimit){bound, bound};
    setrlimit(resource, &limit);
}

static void set_limits(const struct init *init)
{
    set_limit(RLIMIT_CORE, 0);
    if (init->fsize)
        set_limit(RLIMIT_FSIZE, init->fsize);
    if (init->nofile)
        set_limit(RLIMIT_NOFILE, init->nofile);
    if (init->nproc)
        set_limit(RLIMIT_NPROC, init->nproc);
}

/* All that keeps a rank from the cores of another is this; what does not work is no reason not to
 * run, since the attempt as a whole is on its cores already. */
static void narrow_cores(const char *text)
{
    struct core_list list;
    if (text && cores_parse(text, &list) && list.count > 0)
        (void)!cores_pin(list.numbers, list.count, NULL);
}

/* Why a command was not executed. */
struct refusal {
    int error;
    bool folder; /* it is the folder that cannot be entered, not the command */
};

/* In the child: becomes the command, or says why not through report_fd. */
static _Noreturn void become(const struct init *init, const struct start *start, int report_fd)
{
    sigset_t none;
    sigemptyset(&none);
    setsid();
    for (int i = 0; i < 3; i++)
        dup2(start->fds[i], i);
    if (start->terminal)
        ioctl(0, TIOCSCTTY, 0);
    set_limits(init);
    narrow_cores(start->cores);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    struct refusal refusal = {.folder = chdir(init->folder) < 0};
    if (!refusal.folder)
        execvpe(start->argv[0], start->argv, start->env);
    refusal.error = errno;
    ssize_t ignored = write(report_fd, &refusal, sizeof refusal);
    (void)ignored;
    _exit(127);
}

/* The pid, once the command has been executed; -1 with the refusal when it could not be. */
static pid_t start_process(
    const struct init *init, const struct start *start, struct refusal *ret_refusal)
{
    int report[2];
    struct refusal refusal;
    *ret_refusal = (struct refusal){.error = EAGAIN};
    if (pipe2(report, O_CLOEXEC) < 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0)
        become(init, start, report[1]);
    close(report[1]);
    ssize_t n = pid < 0 ? 0 : read(report[0], &refusal, sizeof refusal);
    close(report[0]);
    if (pid > 0 && n == sizeof refusal) {
        waitpid(pid, NULL, 0);
        *ret_refusal = refusal;
        return -1;
    }
    return pid;
}

/* execvpe looks in this process's PATH: that of the job has to be it. */
static void adopt_path(char **env)
{
    for (; *env; env++) {
        if (!strncmp(*env, "PATH=", 5))
            setenv("PATH", *env + 5, 1);
    }
}

static void start_ranks(struct init *init)
{
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct refusal why;
    adopt_path(init->ranks[0].env);
    for (size_t i = 0; i < init->rank_count; i++) {
        struct rank *rank = &init->ranks[i];
        struct start start = {
            init->argv, rank->env, {null_fd, rank->out, rank->err}, false, rank->cores};
        rank->pid = start_process(init, &start, &why);
        if (rank->pid < 0) {
            say_failed(init, why.folder ? init->folder : init->argv[0], why.error);
            init->over = true;
            return;
        }
        init->running++;
        say_number(init, "executed", "rank", rank->number, "pid", rank->pid);
    }
    for (size_t i = 0; i < init->rank_count; i++) {
        close(init->ranks[i].out);
        close(init->ranks[i].err);
    }
    close(null_fd);
}

/* ---- The relay --------------------------------------------------------------------------- */

/* Starts the relay when there has to be one and is none. What cannot be forked now is tried again
 * at the next question for the usage. */
static void keep_relay(struct init *init)
{
    if (init->relay_port == 0 || init->relay_pid > 0)
        return;
    pid_t pid = relay_start(init->relay_fd, init->leash[0], init->relay_port);
    init->relay_pid = pid > 0 ? pid : 0;
    init->relay_at_ms = clock_boot_ms();
}

/* The relay has ended: the job can kill it. One that did not live long is not started again before
 * the next question for the usage, so that nothing can make init do nothing else. */
static void note_relay_end(struct init *init)
{
    init->relay_pid = 0;
    if (clock_boot_ms() - init->relay_at_ms >= RELAY_LEAST_MS)
        keep_relay(init);
}

/* Listens before the ranks run, so that whoever asks early is told by the relay that nobody answers
 * yet. -1: errno says why. */
static int open_relay(struct init *init)
{
    if (init->relay_port == 0)
        return 0;
    init->relay_fd = relay_listen(SANDBOX_SOCKET);
    if (init->relay_fd < 0 || pipe2(init->leash, O_CLOEXEC) < 0)
        return -1;
    keep_relay(init);
    return 0;
}

/* The program is gone, but the end of its last answers may still be in the relay. */
static void let_relay_end(struct init *init)
{
    init->relay_port = 0; /* it is not started again */
    init->leave_by_ms = clock_boot_ms() + RELAY_END_MS;
    close(init->relay_fd);
    close(init->leash[0]);
    close(init->leash[1]);
}

/* ---- Ends -------------------------------------------------------------------------------- */

static void note_end(struct init *init, pid_t pid, int status)
{
    if (pid == init->relay_pid) {
        note_relay_end(init);
        return;
    }
    for (size_t i = 0; i < init->rank_count; i++) {
        if (init->ranks[i].pid != pid)
            continue;
        init->ranks[i].pid = 0;
        init->running--;
        say_number(init, "exited", "rank", init->ranks[i].number, "status", status);
        return;
    }
    for (size_t i = 0; i < init->exec_count; i++) {
        if (init->execs[i].pid != pid)
            continue;
        say_number(init, "exec-ended", "exec", init->execs[i].id, "status", status);
        init->execs[i] = init->execs[--init->exec_count];
        return;
    }
}

static void end(struct init *init)
{
    say_usage(init);
    init->over = true;
}

static void reap(struct init *init)
{
    struct signalfd_siginfo ignored;
    while (read(init->signal_fd, &ignored, sizeof ignored) > 0)
        continue;
    for (;;) {
        int status;
        struct rusage usage;
        pid_t pid = wait4(-1, &status, WNOHANG, &usage);
        if (pid <= 0)
            break;
        usage_add_ended(&init->ended, &usage);
        note_end(init, pid, status);
    }
    if (init->running > 0)
        return;
    if (init->relay_pid > 0 && init->leave_by_ms == 0)
        let_relay_end(init);
    if (init->relay_pid == 0)
        end(init);
}

/* ---- What the shim asks for -------------------------------------------------------------- */

static void do_signal(struct init *init, const struct record *message)
{
    int number = (int)record_number(message, "signal", 0);
    for (size_t i = 0; i < init->rank_count; i++) {
        if (init->ranks[i].pid > 0 && number > 0)
            kill(-init->ranks[i].pid, number);
    }
}

static void say_exec_failed(struct init *init, uint64_t id, const char *text)
{
    SCOPED(strbuf_finish) struct strbuf message = {0};
    record_put(&message, "type", "exec-ended");
    record_put_number(&message, "exec", id);
    record_put(&message, "status", "-1");
    record_put(&message, "text", text);
    say(init, &message);
}

static void do_exec(struct init *init, const struct record *message)
{
    uint64_t id = record_number(message, "exec", 0);
    char **argv = collect(init, message, "argument", 0, message->count, 0);
    if (init->message.fd_count != 3 || !argv[0]) {
        say_exec_failed(init, id, "the request has no command or no descriptors");
        return;
    }
    if (init->exec_count == EXECS_MAX) {
        say_exec_failed(init, id, "too many commands run in this attempt");
        return;
    }
    struct start start = {argv, init->ranks[0].env,
        {init->message.fds[0], init->message.fds[1], init->message.fds[2]},
        record_number(message, "terminal", 0) != 0};
    struct refusal why;
    pid_t pid = start_process(init, &start, &why);
    if (pid < 0) {
        say_exec_failed(init, id, strerror(why.error));
        return;
    }
    init->execs[init->exec_count].id = id;
    init->execs[init->exec_count++].pid = pid;
}

static void do_usage(struct init *init, const struct record *message)
{
    (void)message;
    keep_relay(init);
    say_usage(init);
}

static const struct {
    const char *type;
    void (*run)(struct init *init, const struct record *message);
} requests[] = {{"signal", do_signal}, {"exec", do_exec}, {"usage", do_usage}};

static void take_request(struct init *init)
{
    int got = channel_receive(init->channel_fd, false, &init->message);
    if (got < 0)
        _exit(1); /* the shim is gone: so is the sandbox */
    if (got == 0)
        return;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct arena *own = init->arena;
    struct record record;
    init->arena = arena;
    const char *type = NULL;
    if (record_parse(arena, init->message.text, init->message.size, &record, NULL) == 0)
        type = record_text(&record, "type");
    for (size_t i = 0; type && i < ARRAY_LEN(requests); i++) {
        if (!strcmp(requests[i].type, type))
            requests[i].run(init, &record);
    }
    init->arena = own;
    channel_message_finish(&init->message);
}

/* How long to wait for the next event: -1, without a bound, unless it is about to end. */
static int patience_ms(const struct init *init)
{
    if (init->leave_by_ms == 0)
        return -1;
    int64_t left_ms = init->leave_by_ms - clock_boot_ms();
    return left_ms > 0 ? (int)left_ms : 0;
}

static void run(struct init *init)
{
    while (!init->over) {
        struct pollfd fds[] = {
            {.fd = init->channel_fd, .events = POLLIN}, {.fd = init->signal_fd, .events = POLLIN}};
        int count = poll(fds, ARRAY_LEN(fds), patience_ms(init));
        if (count < 0 && errno != EINTR)
            _exit(1);
        if (count == 0) {
            end(init); /* a client does not take its answer */
            return;
        }
        if (fds[1].revents)
            reap(init);
        if (fds[0].revents && !init->over)
            take_request(init);
    }
}

/* ---- Beginning --------------------------------------------------------------------------- */

/* Closes what was inherited by accident: everything but the standard ones and what is listed. */
static void close_others(const struct init *init)
{
    bool keep[1024] = {true, true, true};
    keep[init->channel_fd] = true;
    for (size_t i = 0; i < init->rank_count; i++)
        keep[init->ranks[i].out] = keep[init->ranks[i].err] = true;
    for (int fd = 3; fd < (int)ARRAY_LEN(keep); fd++) {
        if (keep[fd])
            fcntl(fd, F_SETFD, FD_CLOEXEC);
        else
            close(fd);
    }
}

static bool descriptors_fit(const struct init *init)
{
    for (size_t i = 0; i < init->rank_count; i++) {
        if (init->ranks[i].out >= 1024 || init->ranks[i].err >= 1024)
            return false;
    }
    return init->channel_fd > 2 && init->channel_fd < 1024;
}

/* Says hello, from which the shim learns this process's pid, and waits to be told to go. */
static void greet(struct init *init)
{
    SCOPED(strbuf_finish) struct strbuf hello = {0};
    record_put(&hello, "type", "hello");
    say(init, &hello);
    if (channel_receive(init->channel_fd, true, &init->message) != 1)
        _exit(1);
    channel_message_finish(&init->message);
}

int init_main(int argc, char **argv)
{
    if (argc != 3 || getpid() != 1) {
        fprintf(stderr, "muster init is started by muster shim, in a sandbox of its own\n");
        return 2;
    }
    struct init *init = mem_alloc(1, sizeof *init);
    sigset_t blocked;
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    sigfillset(&blocked);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGCHLD);
    init->arena = arena_create();
    init->channel_fd = atoi(argv[2]);
    greet(init);
    if (read_plan(init, atoi(argv[1])) < 0 || !descriptors_fit(init)) {
        say_failed(init, "init cannot read its plan", errno);
        return 1;
    }
    close_others(init);
    init->signal_fd = signalfd(-1, &blocked, SFD_CLOEXEC | SFD_NONBLOCK);
    if (init->signal_fd < 0) {
        say_failed(init, "init cannot make a signalfd", errno);
        return 1;
    }
    if (open_relay(init) < 0) {
        say_failed(init, "init cannot listen at " SANDBOX_SOCKET, errno);
        return 1;
    }
    start_ranks(init);
    run(init);
    return 0;
}
