/* Tests of measures: what workers note is read by others, merged, whole and within its bound. */
#include "base/memory.h"
#include "base/prng.h"
#include "base/strbuf.h"
#include "base/test.h"
#include "gateway/measure.h"
#include "gateway/measure_figures.h"
#include "gateway/terms.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct measurement fine = {MEASURED_SUCCEEDED, {2000, 1000, 0, 1500, -1}};

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Over any distribution, merged from several workers. */
static void test_quantiles_are_within_a_sixteenth_of_the_values_rank(void **state)
{
    (void)state;
    enum { VALUES = 5000 };
    static int64_t values[VALUES];
    static const int64_t ranks[] = {500000, 950000, 990000, 1000000, 1};
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct prng prng = {seed};
        struct measures measures = {{NULL}};
        SCOPED(mem_scope) struct measured *read = mem_alloc(1, sizeof *read);
        for (size_t i = 0; i < VALUES; i++) {
            struct measurement one = fine;
            values[i] = (int64_t)(prng_next(&prng) >> (26 + prng_next(&prng) % 36));
            one.values[MEASURE_LATENCY_US] = values[i];
            measures_note(&measures, (int)(i % 3), 7, &one);
        }
        qsort(values, VALUES, sizeof *values, by_value);
        measures_read(&measures, 7, read);
        for (size_t i = 0; i < ARRAY_LEN(ranks); i++) {
            size_t rank = (size_t)((VALUES * ranks[i] + 999999) / 1000000);
            int64_t exact = values[(rank ? rank : 1) - 1];
            int64_t found = histogram_at(&read->of[MEASURE_LATENCY_US], ranks[i]);
            assert_true(found >= exact && found <= exact + exact / 16);
        }
        measures_finish(&measures);
    }
}

static void test_versions_are_told_apart_and_workers_added_up(void **state)
{
    (void)state;
    struct measures measures = {{NULL}};
    SCOPED(mem_scope) struct measured *read = mem_alloc(1, sizeof *read);
    struct measurement failed = fine;
    failed.outcome = MEASURED_FAILED;
    for (int worker = 0; worker < MEASURE_WORKERS_MAX; worker++) {
        measures_note(&measures, worker, 2, &fine);
        measures_note(&measures, worker, 1, &failed);
    }
    int64_t versions[4];
    assert_int_equal(measures_versions(&measures, versions, 4), 2);
    assert_int_equal(versions[0], 1);
    assert_int_equal(versions[1], 2);
    measures_read(&measures, 2, read);
    assert_int_equal(read->outcomes[MEASURED_SUCCEEDED], MEASURE_WORKERS_MAX);
    assert_int_equal(read->outcomes[MEASURED_FAILED], 0);
    assert_int_equal(read->sums[MEASURE_MODEL_US], 1500 * MEASURE_WORKERS_MAX);
    assert_int_equal(histogram_count(&read->of[MEASURE_TOKENS_MILLI]), 0);
    measures_read(&measures, 3, read);
    assert_int_equal(read->outcomes[MEASURED_SUCCEEDED], 0);
    measures_finish(&measures);
}

static void test_the_version_used_least_recently_makes_room_and_begins_anew(void **state)
{
    (void)state;
    struct measures measures = {{NULL}};
    SCOPED(mem_scope) struct measured *before = mem_alloc(1, sizeof *before);
    SCOPED(mem_scope) struct measured *read = mem_alloc(1, sizeof *read);
    SCOPED(mem_scope) struct measured *grown = mem_alloc(1, sizeof *grown);
    for (int64_t version = 0; version < MEASURE_VERSIONS; version++)
        measures_note(&measures, 0, version, &fine);
    measures_note(&measures, 0, 0, &fine);
    measures_read(&measures, 0, before);
    measures_note(&measures, 0, 100, &fine);
    int64_t versions[2 * MEASURE_VERSIONS];
    assert_int_equal(measures_versions(&measures, versions, ARRAY_LEN(versions)), MEASURE_VERSIONS);
    assert_int_equal(versions[0], 0);
    assert_int_equal(versions[1], 2);
    measures_note(&measures, 0, 1, &fine);
    measures_read(&measures, 1, read);
    assert_int_equal(read->outcomes[MEASURED_SUCCEEDED], 1);
    assert_int_equal(histogram_count(&read->of[MEASURE_LATENCY_US]), 1);
    measures_note(&measures, 0, 0, &fine);
    measures_read(&measures, 0, read);
    measured_since(before, read, grown);
    assert_int_equal(grown->outcomes[MEASURED_SUCCEEDED], 1);
    assert_int_equal(grown->sums[MEASURE_LATENCY_US], 2000);
    assert_int_equal(histogram_count(&grown->of[MEASURE_FIRST_US]), 1);
    measures_finish(&measures);
}

/* ---- threads --------------------------------------------------------------------------------- */

enum { NOTES = 20000 };

struct noting {
    struct measures *measures;
    int worker;
};

static void *note_many(void *context)
{
    const struct noting *noting = context;
    for (int i = 0; i < NOTES; i++) {
        struct measurement one = fine;
        one.values[MEASURE_LATENCY_US] = i;
        /* Versions come and go all the time; that of the multiples of five is always there. */
        measures_note(noting->measures, noting->worker, i % 5 ? 100 + i % 50 : 5, &one);
    }
    return NULL;
}

/* What a reader sees of one version never shrinks and is never another's, while versions take each
 * other's places around it. */
static void test_a_reader_beside_writers_sees_what_is_there(void **state)
{
    (void)state;
    enum { WRITERS = 2 };
    struct measures measures = {{NULL}};
    SCOPED(mem_scope) struct measured *read = mem_alloc(1, sizeof *read);
    struct noting noting[WRITERS];
    pthread_t threads[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        noting[i] = (struct noting){&measures, i};
        assert_int_equal(pthread_create(&threads[i], NULL, note_many, &noting[i]), 0);
    }
    uint64_t seen = 0;
    for (int i = 0; i < 50; i++) {
        measures_read(&measures, 5, read);
        assert_true(read->outcomes[MEASURED_SUCCEEDED] >= seen);
        assert_true(read->outcomes[MEASURED_SUCCEEDED] <= WRITERS * NOTES / 5);
        seen = read->outcomes[MEASURED_SUCCEEDED];
        measures_read(&measures, 100 + i, read);
        assert_true(read->outcomes[MEASURED_SUCCEEDED] <= WRITERS * NOTES / 50);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    measures_read(&measures, 5, read);
    assert_int_equal(read->outcomes[MEASURED_SUCCEEDED], WRITERS * NOTES / 5);
    measures_finish(&measures);
}

/* ---- figures --------------------------------------------------------------------------------- */

static bool has(const struct strbuf *text, const char *line)
{
    return strstr(text->text, line) != NULL;
}

static void test_figures_have_fixed_bounds_that_ascend(void **state)
{
    (void)state;
    struct service_state *service = mem_alloc(1, sizeof *service);
    struct strbuf out = {0};
    char name[] = "vision/digits";
    service->service = name;
    for (int64_t us = 1; us <= 2000; us++) {
        struct measurement one = fine;
        one.values[MEASURE_LATENCY_US] = us * 1000;
        measures_note(&service->measures, (int)us % 2, 3, &one);
    }
    measure_figures_write(service, &out);
    static const char request[] = "muster_gateway_request_seconds_bucket{service=\"vision/digits\"";
    uint64_t last = 0, lines = 0;
    for (const char *at = out.text; (at = strstr(at, request)); at++) {
        uint64_t value = strtoull(strchr(at, '}') + 1, NULL, 10);
        assert_true(value >= last);
        last = value;
        lines++;
    }
    assert_int_equal(lines, 16);
    assert_int_equal(last, 2000);
    assert_true(has(&out, "version=\"3\",le=\"+Inf\"} 2000\n"));
    assert_true(has(&out, "muster_gateway_request_seconds_sum{service=\"vision/digits\","
                          "version=\"3\"} 2001.000000\n"));
    assert_true(has(&out, "muster_gateway_request_seconds_quantile{service=\"vision/digits\","
                          "version=\"3\",quantile=\"0.5\"} 1.0"));
    assert_true(has(&out, "muster_gateway_service_requests_total{service=\"vision/digits\","
                          "version=\"3\",outcome=\"succeeded\"} 2000\n"));
    assert_false(has(&out, "tokens_per_second_bucket"));
    measures_finish(&service->measures);
    free(service);
    strbuf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantiles_are_within_a_sixteenth_of_the_values_rank),
        cmocka_unit_test(test_versions_are_told_apart_and_workers_added_up),
        cmocka_unit_test(test_the_version_used_least_recently_makes_room_and_begins_anew),
        cmocka_unit_test(test_a_reader_beside_writers_sees_what_is_there),
        cmocka_unit_test(test_figures_have_fixed_bounds_that_ascend),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
