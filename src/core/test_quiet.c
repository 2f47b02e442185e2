/* Tests of the load that makes a service quiet: against a plain model that has all requests and
 * looks at each window anew, and at what must not decide anything. */
#include "base/memory.h"
#include "base/prng.h"
#include "base/test.h"
#include "core/quiet.h"

#include <stdint.h>

enum { SECOND = 1000, START = 1000000 };

static const struct service_quiet_load rule = {2000000, 5000000, 8 * SECOND}; /* windows of 2 s */

struct run {
    struct quiet_load load;
    int64_t now_ms, arrived;
    uint64_t source;
};

static bool report(struct run *run, int64_t ms, int64_t arrived)
{
    run->now_ms += ms;
    run->arrived += arrived;
    const struct quiet_report now = {run->source, run->now_ms, run->arrived};
    return quiet_load_report(&run->load, &rule, &now);
}

static struct run begin(void)
{
    struct run run = {.now_ms = START, .source = 1};
    assert_false(report(&run, 0, 0));
    return run;
}

/* One request a second, or none: both are below two. Returns after how many seconds. */
static int until_quiet(struct run *run, int64_t rate)
{
    for (int second = 1; second < 100; second++) {
        if (report(run, SECOND, rate))
            return second;
    }
    return -1;
}

static void it_is_quiet_after_so_long_and_no_sooner(void **state)
{
    (void)state;
    for (int64_t rate = 0; rate < 2; rate++) {
        struct run run = begin();
        assert_int_equal(until_quiet(&run, rate), 8);
        assert_true(run.load.holds);
        assert_int_equal(run.load.rate_micro, rate * 1000000);
        assert_int_equal(run.load.changed_ms, run.now_ms);
    }
    struct run busy = begin();
    assert_int_equal(until_quiet(&busy, 2), -1);
}

static void between_the_two_rates_it_stays_as_it_is(void **state)
{
    struct run run = begin();
    (void)state;
    for (int i = 0; i < 50; i++)
        assert_false(report(&run, SECOND, 4));
    assert_false(run.load.holds);
    assert_int_equal(until_quiet(&run, 1), 8);
    for (int i = 0; i < 50; i++)
        assert_false(report(&run, SECOND, 4));
    assert_true(run.load.holds);
}

static void many_requests_end_it_before_the_window_does(void **state)
{
    struct run run = begin();
    (void)state;
    until_quiet(&run, 0);
    assert_false(report(&run, SECOND / 10, 9));
    assert_true(report(&run, SECOND / 10, 1)); /* ten, of windows of two seconds: five a second */
    assert_false(run.load.holds);
    assert_int_equal(until_quiet(&run, 0), 8);
}

/* Nothing was seen in between, or another gateway counts from 0. */
static void what_was_not_seen_is_not_quiet(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        struct run run = begin();
        for (int i = 0; i < 7; i++)
            assert_false(report(&run, SECOND, 0));
        if (kind == 0)
            run.now_ms += QUIET_STALE_MS;
        if (kind == 1)
            run.source = 2;
        if (kind == 2)
            run.arrived = run.arrived - 1;
        if (kind == 3)
            run.now_ms -= 10 * SECOND;
        assert_false(report(&run, SECOND, 0));
        assert_int_equal(until_quiet(&run, 0), 8);
    }
}

static void nothing_that_comes_ends_the_quiet_by_not_coming(void **state)
{
    struct run run = begin();
    (void)state;
    until_quiet(&run, 0);
    run.source = 9;
    run.arrived = 1000000;
    assert_false(report(&run, 100 * SECOND, 0));
    assert_true(run.load.holds);
    assert_false(report(&run, SECOND, 1));
    assert_true(run.load.holds);
}

/* Windows are as they were closed; in each the plain rate decides. */
static void a_random_run_is_as_the_plain_rule(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct prng prng = {seed};
        struct run run = begin();
        bool holds = false;
        int64_t calm_ms = -1, window_ms = run.now_ms, window = 0;
        int64_t most = 1 + (int64_t)prng_below(&prng, 12);
        for (int i = 0; i < 400; i++) {
            if (prng_below(&prng, 40) == 0)
                most = 1 + (int64_t)prng_below(&prng, 12);
            int64_t step = 1 + (int64_t)prng_below(&prng, 1500);
            int64_t came = (int64_t)prng_below(&prng, (uint64_t)most);
            bool changed = report(&run, step, came);
            window += came;
            int64_t span = run.now_ms - window_ms, whole = span > 2000 ? span : 2000;
            bool before = holds, over = span >= 2000;
            bool busy = window * 1000 >= 5 * whole;
            if (over || (holds && busy)) {
                bool calm = window * 1000 < 2 * span;
                calm_ms = !calm ? -1 : calm_ms < 0 ? window_ms : calm_ms;
                if (holds)
                    holds = !busy;
                else
                    holds = calm && run.now_ms - calm_ms >= 8000;
                window_ms = run.now_ms;
                window = 0;
            }
            assert_int_equal(changed, before != holds);
            assert_int_equal(run.load.holds, holds);
        }
    }
}

static void windows_are_bounded(void **state)
{
    (void)state;
    const struct {
        int64_t for_ms, wanted;
    } rows[] = {{1, 1000}, {4000, 1000}, {40000, 10000}, {INT64_C(86400000), 60000}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct service_quiet_load one = {1, 2, rows[i].for_ms};
        assert_int_equal(quiet_window_ms(&one), rows[i].wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_quiet_after_so_long_and_no_sooner),
        cmocka_unit_test(between_the_two_rates_it_stays_as_it_is),
        cmocka_unit_test(many_requests_end_it_before_the_window_does),
        cmocka_unit_test(what_was_not_seen_is_not_quiet),
        cmocka_unit_test(nothing_that_comes_ends_the_quiet_by_not_coming),
        cmocka_unit_test(a_random_run_is_as_the_plain_rule),
        cmocka_unit_test(windows_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
