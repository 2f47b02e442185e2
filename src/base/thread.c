/* What threads ask of the scheduler: see thread.h. */
#include "base/thread.h"

#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PROMPT_NS = 500 * 1000 };

int thread_start(pthread_t *ret_thread, void *(*body)(void *), void *argument)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(ret_thread, NULL, body, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

/* As sched_setattr(2) has it; the C library of Debian 12 does not. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

void thread_be_prompt(void)
{
#ifdef SYS_sched_setattr
    struct attributes own = {0};
    if (syscall(SYS_sched_getattr, 0, &own, sizeof own, 0) != 0 || own.policy != SCHED_OTHER)
        return; /* whoever gave it another policy knows why */
    own.runtime_ns = PROMPT_NS;
    (void)!syscall(SYS_sched_setattr, 0, &own, 0);
#endif
}

void thread_be_patient(void)
{
    int policy = sched_getscheduler(0);
    const struct sched_param none = {0};
    if (policy == SCHED_OTHER)
        (void)!sched_setscheduler(0, SCHED_BATCH, &none);
}
