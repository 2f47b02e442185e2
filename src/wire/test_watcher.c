/* Tests of watching sockets: what is told, once, and of whom no more. */
#include "base/test.h"
#include "wire/watcher.h"

#include <event2/event.h>
#include <sys/socket.h>
#include <unistd.h>

struct end {
    struct watch watch;
    int fd, peer;
    int told, ended;
    int ahead, ahead_place; /* read ahead so often; where */
    int ahead_of_all;       /* when it was told: how many had been read ahead by then */
    struct watcher *watcher;
    struct end *removes; /* as it is told */
};

static int ahead_count;

static void on_read_ahead(struct watch *watch, int place)
{
    struct end *end = (struct end *)watch;
    end->ahead++;
    end->ahead_place = place;
    ahead_count++;
    if (end->removes)
        watcher_remove(end->watcher, &end->removes->watch);
}

static void on_told(struct watch *watch, bool ended)
{
    struct end *end = (struct end *)watch;
    end->ahead_of_all = ahead_count;
    end->told++;
    end->ended += ended;
    if (end->removes)
        watcher_remove(end->watcher, &end->removes->watch);
}

static struct end end_open(struct watcher *watcher)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    return (struct end){.fd = pair[0], .peer = pair[1], .watcher = watcher};
}

static void end_watch(struct end *end)
{
    assert_int_equal(watcher_add(end->watcher, &end->watch, end->fd, on_told, NULL), 0);
}

static void end_close(struct end *end)
{
    watcher_remove(end->watcher, &end->watch);
    close(end->fd);
    if (end->peer >= 0)
        close(end->peer);
}

static void say(struct end *end)
{
    assert_int_equal(send(end->peer, "x", 1, 0), 1);
}

static void test_what_is_there_is_told_once(void **state)
{
    struct event_base *base = event_base_new();
    struct watcher watcher;
    (void)state;
    watcher_init(&watcher, base);
    struct end end = end_open(&watcher);
    say(&end);
    end_watch(&end);
    assert_int_equal(watcher_look(&watcher), 1);
    assert_int_equal(watcher_look(&watcher), 0);
    say(&end); /* nothing was read: still it is news */
    assert_int_equal(watcher_look(&watcher), 1);
    assert_int_equal(end.told, 2);
    assert_int_equal(end.ended, 0);
    end_close(&end);
    watcher_finish(&watcher);
    event_base_free(base);
}

static void test_an_end_is_told_with_the_last_bytes(void **state)
{
    struct event_base *base = event_base_new();
    struct watcher watcher;
    (void)state;
    watcher_init(&watcher, base);
    struct end end = end_open(&watcher);
    end_watch(&end);
    say(&end);
    close(end.peer);
    end.peer = -1;
    assert_int_equal(watcher_look(&watcher), 1);
    assert_int_equal(end.ended, 1);
    end_close(&end);
    watcher_finish(&watcher);
    event_base_free(base);
}

static void test_who_was_removed_is_not_told(void **state)
{
    struct event_base *base = event_base_new();
    struct watcher watcher;
    (void)state;
    watcher_init(&watcher, base);
    struct end ends[2] = {end_open(&watcher), end_open(&watcher)};
    for (int i = 0; i < 2; i++) {
        end_watch(&ends[i]);
        ends[i].removes = &ends[!i];
        say(&ends[i]);
    }
    assert_int_equal(watcher_look(&watcher), 2);
    assert_int_equal(ends[0].told + ends[1].told, 1);
    assert_int_equal(watcher.count, 1);
    end_close(&ends[0]);
    end_close(&ends[1]);
    watcher_finish(&watcher);
    event_base_free(base);
}

static void test_all_are_read_ahead_before_one_is_told(void **state)
{
    struct event_base *base = event_base_new();
    struct watcher watcher;
    (void)state;
    watcher_init(&watcher, base);
    struct end ends[3] = {end_open(&watcher), end_open(&watcher), end_open(&watcher)};
    ahead_count = 0;
    for (int i = 0; i < 3; i++) {
        ends[i].watch.read_ahead = on_read_ahead;
        end_watch(&ends[i]);
        say(&ends[i]);
    }
    close(ends[2].peer); /* told with its bytes, and read when it is */
    ends[2].peer = -1;
    assert_int_equal(watcher_look(&watcher), 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ends[i].ahead, i < 2);
        assert_int_equal(ends[i].told, 1);
        assert_int_equal(ends[i].ahead_of_all, 2);
    }
    assert_int_not_equal(ends[0].ahead_place, ends[1].ahead_place);
    assert_in_range(ends[0].ahead_place, 0, WATCHER_TOLD_MAX - 1);
    assert_in_range(ends[1].ahead_place, 0, WATCHER_TOLD_MAX - 1);
    say(&ends[0]);
    assert_int_equal(watcher_look(&watcher), 1);
    assert_int_equal(ends[0].ahead, 1); /* alone there is nothing to be ahead of */
    for (int i = 0; i < 3; i++)
        end_close(&ends[i]);
    watcher_finish(&watcher);
    event_base_free(base);
}

static void test_who_is_removed_while_reading_ahead_is_not_told(void **state)
{
    struct event_base *base = event_base_new();
    struct watcher watcher;
    (void)state;
    watcher_init(&watcher, base);
    struct end ends[2] = {end_open(&watcher), end_open(&watcher)};
    for (int i = 0; i < 2; i++) {
        ends[i].watch.read_ahead = on_read_ahead;
        end_watch(&ends[i]);
        say(&ends[i]);
    }
    ends[0].removes = &ends[0];
    ends[1].removes = &ends[0];
    assert_int_equal(watcher_look(&watcher), 2);
    assert_int_equal(ends[0].told, 0);
    assert_int_equal(ends[1].told, 1);
    end_close(&ends[0]);
    end_close(&ends[1]);
    watcher_finish(&watcher);
    event_base_free(base);
}

static void test_the_loop_looks_unless_it_is_apart(void **state)
{
    struct event_base *base = event_base_new();
    struct watcher watcher;
    (void)state;
    watcher_init(&watcher, base);
    struct end end = end_open(&watcher);
    end_watch(&end);
    say(&end);
    watcher_set_apart(&watcher, true);
    event_base_loop(base, EVLOOP_NONBLOCK);
    assert_int_equal(end.told, 0);
    watcher_set_apart(&watcher, false);
    event_base_loop(base, EVLOOP_NONBLOCK);
    assert_int_equal(end.told, 1);
    end_close(&end);
    assert_int_equal(event_base_dispatch(base), 1); /* there is nothing to wait for */
    watcher_finish(&watcher);
    event_base_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_there_is_told_once),
        cmocka_unit_test(test_an_end_is_told_with_the_last_bytes),
        cmocka_unit_test(test_who_was_removed_is_not_told),
        cmocka_unit_test(test_all_are_read_ahead_before_one_is_told),
        cmocka_unit_test(test_who_is_removed_while_reading_ahead_is_not_told),
        cmocka_unit_test(test_the_loop_looks_unless_it_is_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
