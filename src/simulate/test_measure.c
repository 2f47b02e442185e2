/* What runs are measured with: quantiles, means over time, the heap of moments, plots. */
#include "base/prng.h"
#include "simulate/heap.h"
#include "simulate/order.h"
#include "simulate/plot.h"
#include "simulate/quantile.h"
#include "simulate/series.h"

#include <stdlib.h>
#include <string.h>

#include "base/test.h"

static void few_values_have_exact_quantiles(void **state)
{
    (void)state;
    struct quantile quantile = {0};
    assert_int_equal(quantile_at(&quantile, 500), 0);
    for (int64_t value = 10; value >= 1; value--)
        quantile_add(&quantile, value * 100);
    assert_int_equal(quantile_at(&quantile, 500), 500);
    assert_int_equal(quantile_at(&quantile, 501), 600);
    assert_int_equal(quantile_at(&quantile, 990), 1000);
    assert_int_equal(quantile_at(&quantile, 0), 100);
    assert_int_equal(quantile_mean(&quantile), 550);
    quantile_add(&quantile, -5);
    assert_int_equal(quantile.least, 0);
    quantile_finish(&quantile);
}

/* Against the plain way, for values of all sizes. */
static void many_values_are_within_a_thousandth(void **state)
{
    (void)state;
    enum { COUNT = 50000 };
    struct quantile quantile = {0};
    struct prng prng = {9};
    int64_t *values = mem_alloc(COUNT, sizeof *values);
    for (int i = 0; i < COUNT; i++) {
        values[i] = (int64_t)(prng_next(&prng) >> 2 >> prng_below(&prng, 60));
        quantile_add(&quantile, values[i]);
    }
    qsort(values, COUNT, sizeof *values, order_i64);
    for (int per_mille = 1; per_mille <= 1000; per_mille++) {
        int64_t exact = values[(COUNT * per_mille + 999) / 1000 - 1];
        int64_t got = quantile_at(&quantile, per_mille);
        int64_t off = got > exact ? got - exact : exact - got;
        assert_true(off <= exact / 1000);
    }
    free(values);
    quantile_finish(&quantile);
}

/* 2 s at 10 and 1 s at 40 are a mean of 20, also when periods were put together. */
static void means_over_time_survive_doubling(void **state)
{
    (void)state;
    struct series series = {0};
    const double low[SERIES_LINES] = {10}, high[SERIES_LINES] = {40}, none[SERIES_LINES] = {0};
    series_add(&series, 5000, 7000, low);
    series_add(&series, 7000, 8000, high);
    assert_true(series_mean(&series, 0, 0) == 10 && series_mean(&series, 0, 2) == 40);
    series_add(&series, 8000, 9000, none);
    series_add(&series, 9000, 5000 + 512 * 4 * 1000, high);
    assert_int_equal(series.period_ms, 4000);
    assert_int_equal(series.count, 512);
    assert_true(series_mean(&series, 0, 0) == 15); /* (2 x 10 + 40 + 0) / 4 */
    assert_true(series_mean(&series, 0, 511) == 40);
}

static void moments_come_in_order(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    struct heap heap = {0};
    struct heap_item items[COUNT] = {{0}};
    struct prng prng = {4};
    for (int i = 0; i < COUNT; i++) {
        items[i].order = (uint64_t)i;
        heap_set(&heap, &items[i], (int64_t)prng_below(&prng, 50));
    }
    for (int i = 0; i < COUNT; i += 2)
        heap_set(&heap, &items[i], (int64_t)prng_below(&prng, 50));
    for (int i = 0; i < COUNT; i += 5)
        heap_set(&heap, &items[i], HEAP_NEVER);
    int64_t before_ms = -1;
    uint64_t before = 0;
    int count = 0;
    for (struct heap_item *item; (item = heap_first(&heap)); count++) {
        assert_true(item->at_ms > before_ms || (item->at_ms == before_ms && item->order > before));
        before_ms = item->at_ms;
        before = item->order;
        assert_true(item->order % 5 != 0);
        heap_set(&heap, item, HEAP_NEVER);
    }
    assert_int_equal(count, COUNT - COUNT / 5);
    heap_finish(&heap);
}

static void plots_escape_and_scale(void **state)
{
    (void)state;
    struct strbuf out = {0};
    struct plot plot = {.title = "<script>\"x\"&", .x_label = "x", .y_label = "y", .y_most = 100};
    plot_svg(&plot, &out);
    assert_int_equal(out.length, 0);
    struct plot_line *line = plot_add(&plot, "a < b", 0);
    vec_push(&line->points, ((struct plot_point){0, 0}));
    vec_push(&line->points, ((struct plot_point){10, 100}));
    plot_svg(&plot, &out);
    assert_null(strstr(out.text, "<script>"));
    assert_non_null(strstr(out.text, "&lt;script&gt;&quot;x&quot;&amp;"));
    /* From the lower left corner of the axes to the upper right one. */
    assert_non_null(strstr(out.text, "d=\"M64.0 236.0L624.0 12.0\""));
    assert_non_null(strstr(out.text, ">100</text>"));
    plot_finish(&plot);
    strbuf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_values_have_exact_quantiles),
        cmocka_unit_test(many_values_are_within_a_thousandth),
        cmocka_unit_test(means_over_time_survive_doubling),
        cmocka_unit_test(moments_come_in_order),
        cmocka_unit_test(plots_escape_and_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
