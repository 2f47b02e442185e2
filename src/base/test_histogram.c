/* Tests of histograms: buckets that leave no gap, quantiles against sorted values, merging. */
#include "base/histogram.h"
#include "base/memory.h"
#include "base/prng.h"
#include "base/strbuf.h"
#include "base/test.h"

#include <stdlib.h>
#include <string.h>

static void test_buckets_follow_each_other_without_a_gap(void **state)
{
    (void)state;
    int64_t below = -1;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        int64_t bound = histogram_bound(i);
        assert_true(bound > below);
        assert_int_equal(histogram_bucket(below + 1), i);
        assert_int_equal(histogram_bucket(bound), i);
        assert_true((bound - below - 1) * 16 <= below + 1);
        below = bound;
    }
    assert_true(below == ((int64_t)1 << HISTOGRAM_VALUE_BITS) - 1);
    assert_int_equal(histogram_bucket(INT64_MAX), HISTOGRAM_BUCKETS - 1);
    assert_int_equal(histogram_bucket(-5), 0);
}

static void test_quantiles_of_small_numbers_are_exact(void **state)
{
    (void)state;
    struct histogram histogram = {0};
    assert_int_equal(histogram_at(&histogram, 990000), 0);
    for (int64_t i = 1; i <= 20; i++)
        histogram_add(&histogram, i);
    assert_int_equal(histogram_at(&histogram, 0), 1);
    assert_int_equal(histogram_at(&histogram, 500000), 10);
    assert_int_equal(histogram_at(&histogram, 990000), 20);
    assert_int_equal(histogram_above(&histogram, 15), 5);
    assert_int_equal(histogram_above(&histogram, 20), 0);
}

static int by_value(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void test_quantiles_are_within_a_sixteenth_of_the_sorted_values(void **state)
{
    (void)state;
    static const int64_t parts[] = {0, 10000, 250000, 500000, 900000, 990000, 999000, 1000000};
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct prng prng = {seed};
        struct histogram all = {0}, halves[2] = {0};
        int64_t values[999];
        for (size_t i = 0; i < ARRAY_LEN(values); i++) {
            values[i] = (int64_t)(prng_next(&prng) >> (24 + prng_below(&prng, 38)));
            histogram_add(&all, values[i]);
            histogram_add(&halves[i % 2], values[i]);
        }
        qsort(values, ARRAY_LEN(values), sizeof *values, by_value);
        for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
            int64_t rank = (parts[i] * (int64_t)ARRAY_LEN(values) + 999999) / 1000000;
            int64_t exact = values[rank > 0 ? rank - 1 : 0], found = histogram_at(&all, parts[i]);
            assert_true(found >= exact && found - exact <= exact / 16);
        }
        histogram_merge(&halves[0], &halves[1]);
        assert_memory_equal(&halves[0], &all, sizeof all);
        assert_int_equal(histogram_count(&all), ARRAY_LEN(values));
    }
}

static void test_text_reads_back_and_no_other_text_does(void **state)
{
    (void)state;
    static const char *const wrong[] = {"x", "1", "1:", ":1", "1:2 ", " 1:2", "1:2  3:4", "3:1 2:1",
        "2:1 2:1", "592:1", "1:-1", "1:1234567890123456789", "1:2,3:4"};
    struct histogram histogram = {0}, read;
    SCOPED(strbuf_finish) struct strbuf text = {0};
    for (int64_t value = 1; value < INT64_MAX / 3; value *= 3)
        histogram_add(&histogram, value);
    histogram_write(&histogram, &text);
    assert_int_equal(histogram_read(strbuf_text(&text), &read), 0);
    assert_memory_equal(&read, &histogram, sizeof read);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(histogram_read(wrong[i], &read), -1);
    assert_int_equal(histogram_read("", &read), 0);
    assert_int_equal(histogram_count(&read), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets_follow_each_other_without_a_gap),
        cmocka_unit_test(test_quantiles_of_small_numbers_are_exact),
        cmocka_unit_test(test_quantiles_are_within_a_sixteenth_of_the_sorted_values),
        cmocka_unit_test(test_text_reads_back_and_no_other_text_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
