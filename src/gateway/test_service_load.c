/* The load of a service: what is added up is exact whoever reads when, over workers and moments. */
#include "base/prng.h"
#include "base/test.h"
#include "gateway/service_load.h"

#include <string.h>

static struct service_load load;

static void test_requests_count_for_as_long_as_they_are_there(void **state)
{
    (void)state;
    struct load_reading reading;
    memset(&load, 0, sizeof load);
    load_begin(&load, 0, 1000000);
    load_begin(&load, 1, 1500000);
    load_read(&load, 2000000, &reading);
    assert_int_equal(reading.busy_us, 1500000);
    assert_int_equal(reading.arrived, 2);
    assert_int_equal(reading.ended, 0);
    load_end(&load, 0, 3000000);
    load_took(&load, 0, 2000000);
    load_end(&load, 1, 3000000);
    load_took(&load, 1, LOAD_NEVER);
    load_read(&load, 9000000, &reading);
    assert_int_equal(reading.busy_us, 3500000);
    assert_int_equal(reading.ended, 2);
    assert_int_equal(histogram_count(&reading.latency), 2);
    assert_int_equal(histogram_above(&reading.latency, 3000000), 1);
}

/* Against the sum of what each took; began_ns of a request may be before what was counted last. */
static void test_what_is_added_up_is_the_sum_of_all(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct prng prng = {seed};
        int64_t began[64], now_us = 1000, open = 0, busy = 0;
        uint64_t before = 0;
        struct load_reading reading;
        memset(&load, 0, sizeof load);
        for (int i = 0; i < 500; i++) {
            now_us += (int64_t)prng_below(&prng, 1000);
            if (open < 64 && prng_below(&prng, 2)) {
                load_begin(&load, 3, now_us);
                began[open++] = now_us;
            } else if (open > 0) {
                load_end(&load, 3, now_us);
                busy += now_us - began[--open];
            }
            load_read(&load, now_us, &reading);
            assert_true(reading.busy_us >= before);
            before = reading.busy_us;
            assert_int_equal(reading.arrived - reading.ended, open);
        }
        int64_t rest = 0;
        for (int64_t i = 0; i < open; i++)
            rest += now_us - began[i];
        assert_int_equal(reading.busy_us, busy + rest);
        load_begin(&load, 3, now_us - 500); /* read later than it came, maybe after others */
        load_read(&load, now_us, &reading);
        assert_in_range(reading.busy_us, busy + rest, busy + rest + 500);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_count_for_as_long_as_they_are_there),
        cmocka_unit_test(test_what_is_added_up_is_the_sum_of_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
