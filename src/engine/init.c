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
#include "base/memory.h"
#include "engine/channel.h"
#include "engine/init_plan.h"
#include "engine/init_relay.h"
#include "engine/init_usage.h"
#include "engine/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXECS_MAX = 64 };
enum { RELAY_END_MS = 1000, RELAY_LEAST_MS = 100 };

struct init {
    int channel_fd;
    int signal_fd;
    struct init_plan plan;
    size_t running;
    struct {
        uint64_t id;
        pid_t pid;
    } execs[EXECS_MAX];
    size_t exec_count;
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

/* ---- Starting the ranks ------------------------------------------------------------------ */

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
    struct init_refusal why;
    adopt_path(init->plan.ranks[0].env);
    for (size_t i = 0; i < init->plan.rank_count; i++) {
        struct init_rank *rank = &init->plan.ranks[i];
        struct init_start start = {
            init->plan.argv, rank->env, {null_fd, rank->out, rank->err}, false, rank->cores};
        rank->pid = init_start_process(&init->plan, &start, &why);
        if (rank->pid < 0) {
            say_failed(init, why.folder ? init->plan.folder : init->plan.argv[0], why.error);
            init->over = true;
            return;
        }
        init->running++;
        say_number(init, "executed", "rank", rank->number, "pid", rank->pid);
    }
    for (size_t i = 0; i < init->plan.rank_count; i++) {
        close(init->plan.ranks[i].out);
        close(init->plan.ranks[i].err);
    }
    close(null_fd);
}

/* ---- The relay --------------------------------------------------------------------------- */

/* Starts the relay when there has to be one and is none. What cannot be forked now is tried again
 * at the next question for the usage. */
static void keep_relay(struct init *init)
{
    if (init->plan.relay_port == 0 || init->relay_pid > 0)
        return;
    pid_t pid = relay_start(init->relay_fd, init->leash[0], init->plan.relay_port);
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
    if (init->plan.relay_port == 0)
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
    init->plan.relay_port = 0; /* it is not started again */
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
    for (size_t i = 0; i < init->plan.rank_count; i++) {
        if (init->plan.ranks[i].pid != pid)
            continue;
        init->plan.ranks[i].pid = 0;
        init->running--;
        say_number(init, "exited", "rank", init->plan.ranks[i].number, "status", status);
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
    for (size_t i = 0; i < init->plan.rank_count; i++) {
        if (init->plan.ranks[i].pid > 0 && number > 0)
            kill(-init->plan.ranks[i].pid, number);
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
    SCOPED(arena_scope) struct arena *arena = arena_create();
    char **argv = init_plan_values(arena, message, "argument", 0, message->count);
    if (init->message.fd_count != 3 || !argv[0]) {
        say_exec_failed(init, id, "the request has no command or no descriptors");
        return;
    }
    if (init->exec_count == EXECS_MAX) {
        say_exec_failed(init, id, "too many commands run in this attempt");
        return;
    }
    struct init_start start = {argv, init->plan.ranks[0].env,
        {init->message.fds[0], init->message.fds[1], init->message.fds[2]},
        record_number(message, "terminal", 0) != 0, NULL};
    struct init_refusal why;
    pid_t pid = init_start_process(&init->plan, &start, &why);
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
    struct record record;
    const char *type = NULL;
    if (record_parse(arena, init->message.text, init->message.size, &record, NULL) == 0)
        type = record_text(&record, "type");
    for (size_t i = 0; type && i < ARRAY_LEN(requests); i++) {
        if (!strcmp(requests[i].type, type))
            requests[i].run(init, &record);
    }
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
    for (size_t i = 0; i < init->plan.rank_count; i++)
        keep[init->plan.ranks[i].out] = keep[init->plan.ranks[i].err] = true;
    for (int fd = 3; fd < (int)ARRAY_LEN(keep); fd++) {
        if (keep[fd])
            fcntl(fd, F_SETFD, FD_CLOEXEC);
        else
            close(fd);
    }
}

static bool descriptors_fit(const struct init *init)
{
    for (size_t i = 0; i < init->plan.rank_count; i++) {
        if (init->plan.ranks[i].out >= 1024 || init->plan.ranks[i].err >= 1024)
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
    struct arena *arena = arena_create(); /* as long as this runs */
    init->channel_fd = atoi(argv[2]);
    greet(init);
    if (init_plan_read(atoi(argv[1]), arena, &init->plan) < 0 || !descriptors_fit(init)) {
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
