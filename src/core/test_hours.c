/* Windows of the week, against a plain walk over its minutes. */
#include "base/prng.h"
#include "base/test.h"
#include "core/hours.h"

#include <stdbool.h>

enum { DAY = 24 * 60, WEEK = 7 * DAY, MINUTE_MS = 60000 };

/* The first Monday after the epoch, at midnight UTC. */
static const int64_t monday_ms = 4LL * DAY * MINUTE_MS;

/* Minute by minute from each beginning, as one would count on fingers. */
static bool plainly_holds(const struct autoscale_hours *hours, int64_t minute_of_week)
{
    int64_t length = hours->to_minute - hours->from_minute;
    length += length > 0 ? 0 : DAY;
    for (int64_t day = 0; day < 7; day++) {
        for (int64_t i = 0; i < length && hours->day_bits >> day & 1; i++) {
            if ((day * DAY + hours->from_minute + i) % WEEK == minute_of_week)
                return true;
        }
    }
    return false;
}

static void test_a_window_holds_at_its_minutes(void **state)
{
    struct prng prng = {11};
    (void)state;
    for (int round = 0; round < 300; round++) {
        struct autoscale_hours hours = {.from_minute = (int64_t)prng_below(&prng, DAY),
            .to_minute = (int64_t)prng_below(&prng, DAY),
            .day_bits = (int64_t)prng_below(&prng, 128)};
        int64_t offset = (int64_t)prng_below(&prng, 29 * 60) - 14 * 60;
        for (int i = 0; i < 40; i++) {
            int64_t minute = (int64_t)prng_below(&prng, WEEK);
            int64_t now = monday_ms + (int64_t)prng_below(&prng, 3000) * WEEK * MINUTE_MS +
                          (minute - offset) * MINUTE_MS + (int64_t)prng_below(&prng, MINUTE_MS);
            assert_int_equal(hours_hold(&hours, offset, now), plainly_holds(&hours, minute));
        }
    }
}

static void test_nothing_changes_before_the_next_moment(void **state)
{
    struct prng prng = {12};
    (void)state;
    for (int round = 0; round < 100; round++) {
        struct autoscale_hours items[3];
        struct service_quiet quiet = {.hours = {items, 1 + (size_t)prng_below(&prng, 3)},
            .utc_offset_minutes = (int64_t)prng_below(&prng, 28 * 60) - 14 * 60};
        for (size_t i = 0; i < quiet.hours.count; i++)
            items[i] = (struct autoscale_hours){.from_minute = (int64_t)prng_below(&prng, DAY),
                .to_minute = (int64_t)prng_below(&prng, DAY),
                .day_bits = (int64_t)prng_below(&prng, 128)};
        int64_t now = monday_ms + (int64_t)prng_below(&prng, (uint64_t)WEEK * MINUTE_MS);
        int64_t next = quiet_next_ms(&quiet, now);
        assert_true(next > now && next - now <= (int64_t)DAY * MINUTE_MS);
        assert_int_equal(next % MINUTE_MS, 0);
        bool holds = quiet_holds(&quiet, now, NULL);
        for (int64_t at = now; at < next; at += MINUTE_MS)
            assert_int_equal(quiet_holds(&quiet, at, NULL), holds);
    }
}

static void test_no_hours_are_never_quiet(void **state)
{
    const struct service_quiet quiet = {0};
    (void)state;
    assert_false(quiet_holds(&quiet, monday_ms, NULL));
    assert_true(quiet_next_ms(&quiet, monday_ms) == INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_window_holds_at_its_minutes),
        cmocka_unit_test(test_nothing_changes_before_the_next_moment),
        cmocka_unit_test(test_no_hours_are_never_quiet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
