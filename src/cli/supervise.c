/* The parent of server, gateway and planner: see supervise.h. It has one thread, which waits for
 * signals: nothing that one of them does can take it, or another, along.
 *
 * The server is a copy of this process, made before anything was opened; it is killed when this
 * process dies (PR_SET_PDEATHSIG), so that the next `up` finds the store free. The gateway is the
 * program started anew, in a session of its own, and holds a lock: while another one (of an `up`
 * that was killed) has that lock, a new one ends at once, and is tried again after the pause. The
 * planner is the program started anew as well, since it forks itself and should be small; it keeps
 * nothing, and dies with this process. */
#include "cli/supervise.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "gateway/gateway.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    PAUSE_FIRST_MS = 200,
    PAUSE_MOST_MS = 30000,
    STEADY_MS = 60000, /* who ran so long begins with the first pause again */
    STOP_MS = 60000,   /* then SIGKILL; longer than the gateway's own drain */
    ARGUMENTS_MAX = 16,
    TAKEN_LOOK_MS = 1000, /* how often it is looked whether an earlier gateway is gone */
};

struct child {
    const char *name;
    pid_t pid; /* 0: not running */
    int64_t started_ms, due_ms;
    int64_t pause_ms;
};

struct supervisor {
    const struct supervise_options *options;
    struct child server, gateway, planner;
    sigset_t signals, before;
    bool gateway_taken; /* one that is no child of ours has the data directory */
    bool stopping;
    int64_t kill_ms;
    int server_status;
};

static int64_t now_ms(void)
{
    return clock_monotonic_ns() / 1000000;
}

/* ---- children -------------------------------------------------------------------------------- */

static void run_server(struct supervisor *s, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* It may have died before the line above. */
    if (getppid() != parent)
        _exit(1);
    exit(s->options->server(s->options->context));
}

static void run_gateway(struct supervisor *s)
{
    const struct supervise_options *options = s->options;
    const char *argv[ARGUMENTS_MAX] = {
        "muster", "gateway", "--data", options->data, "--listen", options->gateway};
    size_t count = 6;
    const char *const more[][2] = {{"--cert", options->cert}, {"--key", options->key},
        {"--trust", options->trust}, {"--log", options->log}};
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        if (more[i][1]) {
            argv[count++] = more[i][0];
            argv[count++] = more[i][1];
        }
    }
    setsid();
    execv("/proc/self/exe", (char *const *)argv);
    _exit(127);
}

static void run_planner(struct supervisor *s, pid_t parent)
{
    const struct supervise_options *options = s->options;
    const char *argv[ARGUMENTS_MAX] = {"muster", "planner", "--data", options->data};
    if (options->log) {
        argv[4] = "--log";
        argv[5] = options->log;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    execv("/proc/self/exe", (char *const *)argv);
    _exit(127);
}

static int start(struct supervisor *s, struct child *child, struct error *err)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        return error_set_errno(err, "cannot start the %s", child->name);
    if (pid == 0) {
        sigprocmask(SIG_SETMASK, &s->before, NULL);
        if (child == &s->server)
            run_server(s, parent);
        else if (child == &s->planner)
            run_planner(s, parent);
        else
            run_gateway(s);
    }
    child->pid = pid;
    child->started_ms = now_ms();
    return 0;
}

static void plan_restart(struct child *child, const char *why, int number)
{
    int64_t now = now_ms();
    if (child->pause_ms == 0 || now - child->started_ms > STEADY_MS)
        child->pause_ms = PAUSE_FIRST_MS;
    child->due_ms = now + child->pause_ms;
    log_warn("the %s ended with %s %d and is started again in %lld ms", child->name, why, number,
        (long long)child->pause_ms);
    child->pause_ms = child->pause_ms * 2 > PAUSE_MOST_MS ? PAUSE_MOST_MS : child->pause_ms * 2;
}

static void begin_stop(struct supervisor *s)
{
    s->stopping = true;
    s->kill_ms = now_ms() + STOP_MS;
    s->server.due_ms = s->gateway.due_ms = s->planner.due_ms = 0;
    if (s->server.pid)
        kill(s->server.pid, SIGTERM);
    if (s->planner.pid)
        kill(s->planner.pid, SIGTERM);
    if (s->gateway.pid)
        kill(s->gateway.pid, SIGTERM);
    /* One that an `up` before left behind, or that took over from ours. */
    if (s->options->gateway && gateway_running(s->options->data) != s->gateway.pid)
        gateway_stop(s->options->data);
}

/* A server that ends by itself has said why: what it could not do now it cannot do in a second. */
static void on_server_end(struct supervisor *s, int status)
{
    if (WIFSIGNALED(status) && !s->stopping) {
        plan_restart(&s->server, "signal", WTERMSIG(status));
        return;
    }
    s->server_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (!s->stopping)
        begin_stop(s);
}

/* Gateway or planner. */
static void on_other_end(struct supervisor *s, struct child *child, int status)
{
    if (s->stopping)
        return;
    if (WIFSIGNALED(status))
        plan_restart(child, "signal", WTERMSIG(status));
    else
        plan_restart(child, "status", WEXITSTATUS(status));
}

static void reap(struct supervisor *s)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid == s->server.pid) {
            s->server.pid = 0;
            on_server_end(s, status);
        } else if (pid == s->gateway.pid) {
            s->gateway.pid = 0;
            on_other_end(s, &s->gateway, status);
        } else if (pid == s->planner.pid) {
            s->planner.pid = 0;
            on_other_end(s, &s->planner, status);
        }
    }
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* A gateway that an `up` before left behind goes on: its place is taken once it is gone, which is
 * looked at now and then, and said once. */
static bool is_taken(struct supervisor *s)
{
    pid_t other = gateway_running(s->options->data);
    if (other && !s->gateway_taken)
        log_info("the gateway %d of an earlier start goes on as it was started", (int)other);
    s->gateway_taken = other != 0;
    return other != 0;
}

static void start_due(struct supervisor *s)
{
    struct child *children[] = {&s->server, &s->gateway, &s->planner};
    for (size_t i = 0; i < ARRAY_LEN(children); i++) {
        struct child *child = children[i];
        struct error err;
        if (child->due_ms == 0 || child->due_ms > now_ms())
            continue;
        if (child == &s->gateway && is_taken(s)) {
            child->due_ms = now_ms() + TAKEN_LOOK_MS;
            continue;
        }
        child->due_ms = 0;
        if (start(s, child, &err) < 0) {
            log_error("%s", err.text);
            plan_restart(child, "error", errno);
        }
    }
}

static int64_t next_due(const struct supervisor *s)
{
    int64_t due = s->stopping ? s->kill_ms : INT64_MAX;
    if (s->server.due_ms && s->server.due_ms < due)
        due = s->server.due_ms;
    if (s->gateway.due_ms && s->gateway.due_ms < due)
        due = s->gateway.due_ms;
    if (s->planner.due_ms && s->planner.due_ms < due)
        due = s->planner.due_ms;
    return due;
}

static void pass_on(const struct supervisor *s, int number)
{
    if (s->server.pid)
        kill(s->server.pid, number);
    if (s->gateway.pid)
        kill(s->gateway.pid, number);
    if (s->planner.pid)
        kill(s->planner.pid, number);
}

static void wait_for_signal(struct supervisor *s)
{
    int64_t due = next_due(s), left = due == INT64_MAX ? 3600000 : due - now_ms();
    left = left < 0 ? 0 : left;
    struct timespec wait = {(time_t)(left / 1000), (long)(left % 1000 * 1000000)};
    int number = sigtimedwait(&s->signals, NULL, &wait);
    if (number == SIGTERM || number == SIGINT) {
        if (!s->stopping)
            begin_stop(s);
    } else if (number == SIGHUP) {
        pass_on(s, SIGHUP);
    } else if (number < 0 && s->stopping && now_ms() >= s->kill_ms) {
        pass_on(s, SIGKILL);
        s->kill_ms = INT64_MAX;
    }
}

int supervise(const struct supervise_options *options, int *ret_status, struct error *err)
{
    struct supervisor s = {.options = options,
        .server = {.name = "server"},
        .gateway = {.name = "gateway"},
        .planner = {.name = "planner"}};
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
    sigemptyset(&s.signals);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        sigaddset(&s.signals, numbers[i]);
    sigprocmask(SIG_BLOCK, &s.signals, &s.before);
    if (start(&s, &s.server, err) < 0)
        return -1;
    s.gateway.due_ms = options->gateway ? now_ms() : 0;
    s.planner.due_ms = now_ms();
    while (s.server.pid || s.gateway.pid || s.planner.pid || !s.stopping) {
        start_due(&s);
        wait_for_signal(&s);
        reap(&s);
    }
    sigprocmask(SIG_SETMASK, &s.before, NULL);
    *ret_status = s.server_status;
    return 0;
}
