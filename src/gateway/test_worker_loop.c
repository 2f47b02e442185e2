/* Tests of a worker's loop: what it learns of its waits, that it serves and ends. */
#include "base/test.h"
#include "gateway/worker_loop.h"

#include <event2/event.h>
#include <unistd.h>

static void note(struct loop_waits *waits, bool soon, int times)
{
    while (times-- > 0)
        loop_waits_note(waits, soon);
}

static void test_it_looks_on_once_most_waits_are_over_soon(void **state)
{
    struct loop_waits waits = {0};
    (void)state;
    assert_false(loop_waits_worth(&waits));
    note(&waits, true, 20);
    assert_false(loop_waits_worth(&waits));
    note(&waits, true, 80);
    assert_true(loop_waits_worth(&waits));
}

static void test_a_row_of_long_waits_ends_it(void **state)
{
    struct loop_waits waits = {0};
    (void)state;
    note(&waits, true, 100000);
    assert_true(loop_waits_worth(&waits));
    note(&waits, false, 1);
    assert_true(loop_waits_worth(&waits));
    note(&waits, false, 15);
    assert_false(loop_waits_worth(&waits));
    note(&waits, false, 100000);
    assert_false(loop_waits_worth(&waits));
}

static void test_every_other_wait_is_not_enough(void **state)
{
    struct loop_waits waits = {0};
    (void)state;
    for (int i = 0; i < 10000; i++) {
        loop_waits_note(&waits, i % 2 == 0);
        assert_false(loop_waits_worth(&waits));
    }
}

/* A pipe whose byte comes back each time, until there were enough. */
struct echo {
    struct worker_loop loop;
    struct event *event;
    int ends[2];
    int left;
    bool apart;
    int served_apart;
};

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct worker_loop *loop = context;
    (void)fd, (void)what;
    event_base_loopbreak(loop->base);
}

static void take_byte(struct echo *echo)
{
    char byte;
    assert_int_equal(read(echo->ends[0], &byte, 1), 1);
    worker_loop_served(&echo->loop);
    if (--echo->left == 0)
        event_base_once(echo->loop.base, -1, EV_TIMEOUT, on_timer, &echo->loop, NULL);
    else
        assert_int_equal(write(echo->ends[1], &byte, 1), 1);
}

static void on_byte(evutil_socket_t fd, short what, void *context)
{
    struct echo *echo = context;
    (void)fd, (void)what;
    assert_false(echo->apart);
    take_byte(echo);
}

static bool serve(void *context)
{
    struct echo *echo = context;
    assert_true(echo->apart);
    if (echo->left == 0)
        return false;
    echo->served_apart++;
    take_byte(echo);
    return true;
}

static void set_apart(void *context, bool apart)
{
    struct echo *echo = context;
    assert_true(echo->apart != apart);
    echo->apart = apart;
    if (apart)
        event_del(echo->event);
    else
        event_add(echo->event, NULL);
}

static int run_echo(bool looks_on, int bytes)
{
    struct echo echo = {.left = bytes};
    struct event_base *base = event_base_new();
    worker_loop_init(&echo.loop, base, &(struct loop_sockets){serve, set_apart, &echo});
    echo.loop.alone |= !looks_on; /* nothing is learnt */
    echo.loop.waits.soon = looks_on ? 65536 : 0;
    assert_int_equal(pipe(echo.ends), 0);
    echo.event = event_new(base, echo.ends[0], EV_READ | EV_PERSIST, on_byte, &echo);
    event_add(echo.event, NULL);
    assert_int_equal(write(echo.ends[1], "x", 1), 1);
    worker_loop_run(&echo.loop);
    assert_int_equal(echo.loop.served, bytes);
    assert_int_equal(echo.left, 0);
    assert_false(echo.apart);
    event_free(echo.event);
    event_base_free(base);
    close(echo.ends[0]);
    close(echo.ends[1]);
    return echo.served_apart;
}

static void test_it_serves_asleep_and_looking_on(void **state)
{
    (void)state;
    assert_int_equal(run_echo(false, 1), 0);
    assert_int_equal(run_echo(false, 1000), 0);
    assert_int_equal(run_echo(true, 1), 1);
    assert_int_equal(run_echo(true, 1000), 1000);
}

static bool serve_nothing(void *context)
{
    (void)context;
    return false;
}

static void note_apart(void *context, bool apart)
{
    *(bool *)context = apart;
}

static void test_timers_fire_while_it_looks_on_in_vain(void **state)
{
    const struct timeval delay = {.tv_usec = 2000};
    struct worker_loop loop;
    bool apart = false;
    struct event_base *base = event_base_new();
    (void)state;
    worker_loop_init(&loop, base, &(struct loop_sockets){serve_nothing, note_apart, &apart});
    loop.waits.soon = 65536;
    struct event *event = event_new(base, -1, 0, on_timer, &loop);
    event_add(event, &delay);
    worker_loop_run(&loop);
    assert_int_equal(loop.served, 0);
    assert_false(apart);
    event_free(event);
    event_base_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_looks_on_once_most_waits_are_over_soon),
        cmocka_unit_test(test_a_row_of_long_waits_ends_it),
        cmocka_unit_test(test_every_other_wait_is_not_enough),
        cmocka_unit_test(test_it_serves_asleep_and_looking_on),
        cmocka_unit_test(test_timers_fire_while_it_looks_on_in_vain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
