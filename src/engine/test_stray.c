/* bubblewrap, or the shim it belongs to, is killed at every moment from when bubblewrap has made
 * its child until it only waits: whatever that moment is, no process is left. There are no control
 * groups here, which would hide what is. The moments are the calls of the system that bubblewrap
 * makes, at which it is stopped as a debugger does; whatever loses its parent becomes a child of
 * this test, which so sees each of them end. */
#include "engine/test_world.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOMENTS_MAX = 200, PATIENCE_S = 60, CANNOT = 77, SYSCALL_STOP = SIGTRAP | 0x80 };

struct chase {
    bool of_shim;  /* who is killed: the shim, or bubblewrap */
    size_t moment; /* at which call, from 0 */
    pid_t server;
    pid_t shim;
    pid_t bubblewrap;
    uint64_t call; /* that bubblewrap is in */
    bool has_child;
    bool waits;  /* it has come so far that it only waits */
    bool killed; /* somebody was */
    size_t calls;
    int server_status;
};

static _Noreturn void serve(struct world *world, uint64_t id)
{
    if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0)
        _exit(CANNOT);
    raise(SIGSTOP);
    /* The loop came through a fork, which libevent has to be told. */
    event_reinit(world->base);
    world_make_engine(world);
    world_start(world, world_script(world, id, "exit 0"));
    world_wait_end(world, id);
    _exit(0);
}

static bool is_bubblewrap(pid_t pid)
{
    char link[64], path[256];
    snprintf(link, sizeof link, "/proc/%d/exe", (int)pid);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    return strstr(path, "bwrap") != NULL;
}

static pid_t new_process(pid_t pid)
{
    unsigned long child = 0;
    ptrace(PTRACE_GETEVENTMSG, pid, 0, &child);
    return (pid_t)child;
}

/* bubblewrap begins a call or is back from it. */
static void at_call(struct chase *chase)
{
    struct __ptrace_syscall_info info;
    pid_t pid = chase->bubblewrap;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) <= 0)
        return;
    if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
        chase->has_child |= chase->call == SYS_clone && info.exit.rval > 0;
        return;
    }
    chase->call = info.entry.nr;
    if (!chase->has_child)
        return;
    chase->waits = info.entry.nr == SYS_poll || info.entry.nr == SYS_ppoll;
    chase->killed = chase->calls++ == chase->moment || chase->waits;
    if (chase->killed)
        kill(chase->of_shim ? chase->shim : pid, SIGKILL);
}

/* A process has stopped for this test; it goes on. */
static void at_stop(struct chase *chase, pid_t pid, int status)
{
    int event = status >> 16, signal_number = WSTOPSIG(status);
    long all = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC;
    bool own = event || signal_number == SYSCALL_STOP || signal_number == SIGSTOP;
    if (pid == chase->server && signal_number == SIGSTOP)
        ptrace(PTRACE_SETOPTIONS, pid, 0, all);
    else if (pid == chase->server && event)
        chase->shim = new_process(pid);
    else if (event == PTRACE_EVENT_EXEC && is_bubblewrap(pid))
        chase->bubblewrap = pid;
    else if (pid == chase->bubblewrap && signal_number == SYSCALL_STOP)
        at_call(chase);
    /* Its child is not to be stopped: it runs on while bubblewrap is held. */
    if (pid == chase->bubblewrap && event)
        ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD);
    /* It stays where it is until the shim's death has reached it. */
    if (pid == chase->bubblewrap && chase->killed)
        return;
    ptrace(
        pid == chase->bubblewrap ? PTRACE_SYSCALL : PTRACE_CONT, pid, 0, own ? 0 : signal_number);
}

static void on_alarm(int number)
{
    (void)number;
}

/* Kills what is left, so that a test that fails leaves nothing either. Returns how many that were.
 */
static int kill_strays(void)
{
    char path[64];
    int pid, count = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *children = fopen(path, "r");
    while (children && fscanf(children, "%d", &pid) == 1) {
        kill(pid, SIGKILL);
        count++;
    }
    if (children)
        fclose(children);
    return count;
}

/* Waits until every process that came of the attempt is gone. */
static void follow(struct chase *chase)
{
    int status;
    alarm(PATIENCE_S);
    for (;;) {
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0 && errno == ECHILD)
            break;
        if (pid < 0)
            fail_msg("%s killed at call %zu after its child was made: %d processes are left",
                chase->of_shim ? "the shim" : "bubblewrap", chase->moment, kill_strays());
        if (WIFSTOPPED(status))
            at_stop(chase, pid, status);
        else if (pid == chase->server)
            chase->server_status = status;
    }
    alarm(0);
}

static bool chase_once(struct world *world, struct chase *chase, uint64_t id)
{
    chase->server = fork();
    assert_true(chase->server >= 0);
    if (chase->server == 0)
        serve(world, id);
    follow(chase);
    if (WIFEXITED(chase->server_status) && WEXITSTATUS(chase->server_status) == CANNOT) {
        printf("processes cannot be traced here: %s\n", strerror(errno));
        skip();
    }
    assert_int_equal(chase->server_status, 0);
    assert_true(chase->has_child);
    return !chase->waits;
}

static void kill_at_every_moment(struct world *world, bool of_shim)
{
    size_t moment = 0;
    struct sigaction action = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &action, NULL);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    world_drop_engine(world);
    struct chase chase;
    do {
        assert_true(moment < MOMENTS_MAX);
        chase = (struct chase){.of_shim = of_shim, .moment = moment++};
    } while (chase_once(world, &chase, moment));
    assert_true(moment > 1);
}

static void test_no_process_is_left_whenever_bubblewrap_is_killed(void **state)
{
    kill_at_every_moment(*state, false);
}

static void test_no_process_is_left_whenever_the_shim_is_killed(void **state)
{
    kill_at_every_moment(*state, true);
}

static int set_up(void **state)
{
    *state = world_create("");
    return 0;
}

static int run_suite(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_no_process_is_left_whenever_bubblewrap_is_killed, set_up, world_tear_down),
        cmocka_unit_test_setup_teardown(
            test_no_process_is_left_whenever_the_shim_is_killed, set_up, world_tear_down),
    };
    return cmocka_run_group_tests_name("stray processes", tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return world_main(argc, argv, run_suite);
}
