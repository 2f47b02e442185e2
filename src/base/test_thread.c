/* Tests of what threads ask for: their policy, and that nothing else of them changes. */
#include "base/test.h"
#include "base/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

/* What a thread finds of itself: cmocka's assertions belong to the first thread. */
struct found {
    void (*ask)(void);
    int policy, nice;
    uint64_t slice_ns;
    sigset_t blocked;
};

static void *look(void *context)
{
    struct found *found = context;
    uint64_t attributes[6] = {0}; /* struct sched_attr: the time at once is the fourth */
    found->ask();
    found->policy = sched_getscheduler(0);
    found->nice = getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid));
    (void)syscall(SYS_sched_getattr, 0, attributes, sizeof attributes, 0);
    found->slice_ns = attributes[3];
    pthread_sigmask(SIG_SETMASK, NULL, &found->blocked);
    return NULL;
}

static struct found run(void (*ask)(void))
{
    struct found found = {.ask = ask};
    pthread_t thread;
    assert_int_equal(thread_start(&thread, look, &found), 0);
    pthread_join(thread, NULL);
    return found;
}

static void nothing(void)
{
}

static void test_signals_are_for_the_first_thread(void **state)
{
    sigset_t blocked;
    struct found found = run(nothing);
    (void)state;
    assert_true(sigismember(&found.blocked, SIGTERM) && sigismember(&found.blocked, SIGHUP));
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    assert_false(sigismember(&blocked, SIGTERM));
}

static void test_a_patient_thread_interrupts_nobody(void **state)
{
    struct found before = run(nothing), found = run(thread_be_patient);
    (void)state;
    if (before.policy != SCHED_OTHER)
        skip();
    assert_int_equal(found.policy, SCHED_BATCH);
    assert_int_equal(found.nice, before.nice);
}

static void test_a_prompt_thread_asks_for_less_at_once(void **state)
{
    struct found before = run(nothing), found = run(thread_be_prompt);
    (void)state;
    assert_int_equal(found.policy, before.policy);
    assert_int_equal(found.nice, before.nice);
    if (before.slice_ns == 0)
        skip(); /* a system that knows nothing of it, or another policy */
    assert_true(found.slice_ns > 0 && found.slice_ns < before.slice_ns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signals_are_for_the_first_thread),
        cmocka_unit_test(test_a_patient_thread_interrupts_nobody),
        cmocka_unit_test(test_a_prompt_thread_asks_for_less_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
