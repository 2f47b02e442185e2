/* Traces of spot nodes in each of their forms, and what is refused. */
#include "base/file.h"
#include "trace/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants those four first. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int read_text(const char *text, struct trace_events *events, struct error *err)
{
    char path[] = "/tmp/muster-events-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    *events = (struct trace_events){0};
    int rc = trace_events_read(events, path, err);
    unlink(path);
    return rc;
}

static void is_event(
    const struct trace_events *events, size_t i, int64_t at_ms, const char *node, bool up)
{
    assert_true(i < events->items.count);
    assert_int_equal(events->items.items[i].at_ms, at_ms);
    assert_string_equal(events->items.items[i].node, node);
    assert_int_equal(events->items.items[i].up, up);
}

static void named_nodes_come_and_go(void **state)
{
    (void)state;
    struct trace_events events;
    struct error err;
    assert_int_equal(read_text("0,add,a\n500,add,b\n500,remove,a\n", &events, &err), 0);
    assert_int_equal(events.items.count, 3);
    is_event(&events, 0, 0, "a", true);
    is_event(&events, 2, 500, "a", false);
    trace_events_finish(&events);
}

/* Two nodes at first; one goes after half an hour, two come after an hour: the newest goes, and its
 * name is the first to come back. */
static void counts_become_nodes(void **state)
{
    (void)state;
    struct trace_events events;
    struct error err;
    assert_int_equal(read_text("0.0,2\n0.5,2\n0.5,1\n1.0,3\n", &events, &err), 0);
    assert_int_equal(events.items.count, 5);
    is_event(&events, 1, 0, "spot-0001", true);
    is_event(&events, 2, 1800000, "spot-0001", false);
    is_event(&events, 3, 3600000, "spot-0001", true);
    is_event(&events, 4, 3600000, "spot-0002", true);
    trace_events_finish(&events);
}

/* Seconds without a point; over the end of a leap year's February; a line out of order. */
static void dates_are_put_in_order(void **state)
{
    (void)state;
    struct trace_events events;
    struct error err;
    assert_int_equal(read_text("10,1\n70,0\n", &events, &err), 0);
    is_event(&events, 1, 60000, "spot-0000", false);
    trace_events_finish(&events);
    assert_int_equal(read_text("2024-02-28, 23:59:00, 1\n2024-03-01, 00:00:00, 0\n"
                               "2024-02-29, 00:00:00, 2\n",
                         &events, &err),
        0);
    assert_int_equal(events.items.count, 4);
    is_event(&events, 1, 60000, "spot-0001", true);
    is_event(&events, 3, 60000 + 86400000, "spot-0000", false);
    trace_events_finish(&events);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"x,add,a\n", "0,add,\n", "5,add,a\n4,add,b\n",
        "0,steal,a\n", "0,-1\n", "0,100001\n", "2024-13-01, 00:00:00, 1\n", "2024-01-01, 1, 1\n",
        "2024-01-01, 00:00:00\n", "0,add,a\n1,2\n", "0,2\n1,add,a\n", "0\n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct trace_events events;
        struct error err;
        if (read_text(texts[i], &events, &err) == 0)
            fail_msg("taken: %s", texts[i]);
        assert_null(events.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(named_nodes_come_and_go),
        cmocka_unit_test(counts_become_nodes),
        cmocka_unit_test(dates_are_put_in_order),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
