/* Tests of Prometheus' text format: numbers, labels, what is left out. */
#include "base/memory.h"
#include "base/test.h"
#include "wire/prom_text.h"

#include <string.h>

static void test_numbers_are_millionths(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t micro;
    } good[] = {{"1", 1000000}, {"-1.5", -1500000}, {"+0.0000019", 1}, {"1e3", 1000000000},
        {"2.5E-2", 25000}, {".5", 500000}, {"5.", 5000000}, {"1e400", PROM_MICRO_MAX},
        {"-99999999999999999999", -PROM_MICRO_MAX}, {"1e-400", 0},
        {"0.1000000000000000055511151231257827", 100000}, {"000000000000000000000001", 1000000}};
    static const char *const bad[] = {
        "", "-", ".", "e5", "1e", "1e+", "0x5", "NaN", "Inf", "1 ", "1.2.3", "--1", "1,5"};
    int64_t micro;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(prom_number(good[i].text, strlen(good[i].text), &micro));
        assert_int_equal(micro, good[i].micro);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(prom_number(bad[i], strlen(bad[i]), &micro));
}

static struct prom_figures read_all(const struct prom_query *query, const char *text)
{
    static struct prom_reader reader;
    prom_begin(&reader, query);
    prom_feed(&reader, text, strlen(text));
    return prom_end(&reader);
}

static const char document[] = "# HELP gpu_utilization Of each.\n"
                               "# TYPE gpu_utilization gauge\n"
                               "gpu_utilization{gpu=\"0\",pod=\"a\"} 90\n"
                               "gpu_utilization{gpu=\"1\",pod=\"b\"} 30.5\n"
                               "gpu_utilization_other 7\n"
                               "gpu_utilization{pod=\"a}\\\"\"} NaN\n"
                               "gpu_utilization{gpu=\"2\",pod=\"a\"} 10 1700000000000\n"
                               "gpu_utilization{gpu=\"3\" 10\n";

static void test_samples_of_the_series_are_added_up(void **state)
{
    (void)state;
    struct prom_query query = {.series = "gpu_utilization"};
    struct prom_figures figures = read_all(&query, document);
    assert_int_equal(figures.count, 3);
    assert_int_equal(figures.sum_micro, 130500000);
    assert_int_equal(figures.most_micro, 90000000);
    query.series = "gpu";
    assert_int_equal(read_all(&query, document).count, 0);
    query.series = "gpu_utilization_other";
    assert_int_equal(read_all(&query, document).sum_micro, 7000000);
}

static void test_labels_choose_and_old_samples_do_not_count(void **state)
{
    (void)state;
    static const struct prom_label labels[] = {{"pod", "a"}};
    struct prom_query query = {.series = "gpu_utilization", .labels = labels, .label_count = 1};
    assert_int_equal(read_all(&query, document).count, 2);
    query.now_ms = 1700000000000 + PROM_STALE_MS;
    assert_int_equal(read_all(&query, document).count, 2);
    query.now_ms++;
    assert_int_equal(read_all(&query, document).count, 1);
    static const struct prom_label odd[] = {{"pod", "a}\""}};
    struct prom_query escaped = {.series = "x", .labels = odd, .label_count = 1};
    assert_int_equal(read_all(&escaped, "x{ pod = \"a}\\\"\" , } 4\r\n").sum_micro, 4000000);
    assert_int_equal(read_all(&escaped, "x{pod=\"a}\"} 4\n").count, 0);
}

static void test_what_is_cut_off_or_too_long_is_not_there(void **state)
{
    (void)state;
    static struct prom_reader reader;
    static char filler[PROM_LINE_MAX];
    struct prom_query query = {.series = "up"};
    prom_begin(&reader, &query);
    memset(filler, 'x', sizeof filler);
    prom_feed(&reader, "up{a=\"", 6);
    prom_feed(&reader, filler, sizeof filler);
    prom_feed(&reader, "\"} 5\nup 1\nup 2\0\nup 12", 22);
    struct prom_figures figures = prom_end(&reader);
    assert_int_equal(figures.count, 1);
    assert_int_equal(figures.sum_micro, 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_are_millionths),
        cmocka_unit_test(test_samples_of_the_series_are_added_up),
        cmocka_unit_test(test_labels_choose_and_old_samples_do_not_count),
        cmocka_unit_test(test_what_is_cut_off_or_too_long_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
