/* Running commands in the sandbox: see init_plan.h. */
#include "engine/cores.h"
#include "engine/init_plan.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void set_limit(int resource, uint64_t most)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) < 0)
        return;
    rlim_t bound = limit.rlim_max == RLIM_INFINITY || most < limit.rlim_max ? most : limit.rlim_max;
    limit = (struct rlimit){bound, bound};
    setrlimit(resource, &limit);
}

static void set_limits(const struct init_plan *plan)
{
    set_limit(RLIMIT_CORE, 0);
    if (plan->fsize)
        set_limit(RLIMIT_FSIZE, plan->fsize);
    if (plan->nofile)
        set_limit(RLIMIT_NOFILE, plan->nofile);
    if (plan->nproc)
        set_limit(RLIMIT_NPROC, plan->nproc);
}

/* All that keeps a rank from the cores of another is this; what does not work is no reason not to
 * run, since the attempt as a whole is on its cores already. */
static void narrow_cores(const char *text)
{
    struct core_list list;
    if (text && cores_parse(text, &list) && list.count > 0)
        (void)!cores_pin(list.numbers, list.count, NULL);
}

/* In the child: becomes the command, or says why not through report_fd. */
static _Noreturn void become(
    const struct init_plan *plan, const struct init_start *start, int report_fd)
{
    sigset_t none;
    sigemptyset(&none);
    setsid();
    for (int i = 0; i < 3; i++)
        dup2(start->fds[i], i);
    if (start->terminal)
        ioctl(0, TIOCSCTTY, 0);
    set_limits(plan);
    narrow_cores(start->cores);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    struct init_refusal refusal = {.folder = chdir(plan->folder) < 0};
    if (!refusal.folder)
        execvpe(start->argv[0], start->argv, start->env);
    refusal.error = errno;
    ssize_t ignored = write(report_fd, &refusal, sizeof refusal);
    (void)ignored;
    _exit(127);
}

pid_t init_start_process(
    const struct init_plan *plan, const struct init_start *start, struct init_refusal *ret_refusal)
{
    int report[2];
    struct init_refusal refusal;
    *ret_refusal = (struct init_refusal){.error = EAGAIN};
    if (pipe2(report, O_CLOEXEC) < 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0)
        become(plan, start, report[1]);
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
