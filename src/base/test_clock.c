/* Tests of the held clock: it stands still while it is held, and only on its thread. */
#include "base/clock.h"
#include "base/test.h"

#include <pthread.h>

/* Until the clock has moved on, whatever its resolution is. */
static void wait_for_a_tick(void)
{
    int64_t before = clock_monotonic_ns();
    while (clock_monotonic_ns() == before)
        ;
}

static void test_a_held_clock_stands_still(void **state)
{
    (void)state;
    int64_t before = clock_monotonic_ns();
    clock_hold();
    int64_t first = clock_held_ns();
    assert_true(first >= before);
    wait_for_a_tick();
    assert_int_equal(clock_held_ns(), first);
    assert_true(clock_monotonic_ns() > first);
    clock_release();
    assert_true(clock_held_ns() > first);
}

static void test_each_hold_looks_anew(void **state)
{
    (void)state;
    clock_hold();
    int64_t first = clock_held_ns();
    clock_release();
    wait_for_a_tick();
    clock_hold();
    assert_true(clock_held_ns() > first);
    clock_release();
}

static void *on_another_thread(void *context)
{
    int64_t *held = context, first = clock_held_ns();
    wait_for_a_tick();
    *held = clock_held_ns() == first;
    return NULL;
}

static void test_other_threads_are_not_held(void **state)
{
    pthread_t thread;
    int64_t held = 1;
    (void)state;
    clock_hold();
    (void)clock_held_ns();
    assert_int_equal(pthread_create(&thread, NULL, on_another_thread, &held), 0);
    pthread_join(thread, NULL);
    clock_release();
    assert_false(held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_held_clock_stands_still),
        cmocka_unit_test(test_each_hold_looks_anew),
        cmocka_unit_test(test_other_threads_are_not_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
