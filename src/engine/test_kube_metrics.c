/* What a metrics-server and a kubelet say of pods, as they say it; clocks that are not ours. */
#include "engine/kube_metrics.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { TEXT_MAX = 1000 };

static void put(void *ctx, const struct kube_sample *sample)
{
    char *text = ctx;
    size_t length = strlen(text);
    snprintf(text + length, TEXT_MAX - length, "%s/%s %lld %lld %d %llu %llu\n", sample->name_space,
        sample->name, (long long)sample->at_ms, (long long)sample->window_ms, sample->total,
        (unsigned long long)sample->cpu_nano, (unsigned long long)sample->memory_bytes);
}

typedef void reader(const struct doc *doc, kube_sample_fn *take, void *ctx);

static void expect(reader *read, const char *json, const char *expected)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    char text[TEXT_MAX] = "";
    read(doc_parse_json(arena, json, strlen(json), 1 << 20, NULL), put, text);
    assert_string_equal(text, expected);
}

static void a_list_of_the_metrics_api_is_read(void **state)
{
    (void)state;
    expect(kube_metrics_read,
        "{\"kind\":\"PodMetricsList\",\"items\":[{\"metadata\":{\"name\":\"a-0\",\"namespace\":"
        "\"m\"},"
        "\"timestamp\":\"1970-01-01T00:01:00Z\",\"window\":\"15.2s\",\"containers\":["
        "{\"name\":\"job\",\"usage\":{\"cpu\":\"1500000000n\",\"memory\":\"2Ki\"}},"
        "{\"name\":\"side\",\"usage\":{\"cpu\":\"250m\",\"memory\":\"1\"}}]},"
        "{\"metadata\":{\"name\":\"b-0\",\"namespace\":\"m\"},\"timestamp\":\"1970-01-01T00:00:"
        "01Z\","
        "\"window\":\"10s\",\"containers\":[{\"usage\":{\"cpu\":\"7u\"}}]}]}",
        "m/a-0 60000 15200 0 1750000000 2049\nm/b-0 1000 10000 0 7000 0\n");
}

static void a_summary_of_a_kubelet_is_read(void **state)
{
    (void)state;
    expect(kube_metrics_read_summary,
        "{\"node\":{},\"pods\":[{\"podRef\":{\"name\":\"a-0\",\"namespace\":\"m\"},\"containers\":["
        "{\"cpu\":{\"time\":\"1970-01-01T00:00:02Z\",\"usageNanoCores\":5,"
        "\"usageCoreNanoSeconds\":70},\"memory\":{\"workingSetBytes\":4096}},"
        "{\"cpu\":{\"time\":\"1970-01-01T00:00:03Z\",\"usageCoreNanoSeconds\":-1}}]}]}",
        "m/a-0 3000 0 1 70 4096\n");
}

static void what_cannot_be_read_is_passed_over(void **state)
{
    static const char *const odd[] = {"{}", "[]", "{\"items\":{},\"pods\":7}",
        "{\"items\":[1,null,{},{\"timestamp\":\"yesterday\"}],\"pods\":[{\"containers\":[[]]}]}"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        expect(kube_metrics_read, odd[i], "");
        expect(kube_metrics_read_summary, odd[i], "");
    }
    expect(kube_metrics_read,
        "{\"items\":[{\"timestamp\":\"1970-01-01T00:00:01Z\",\"window\":\"-3s\",\"containers\":["
        "{\"usage\":{\"cpu\":\"99999999999999999999\",\"memory\":\"lots\"}},{\"usage\":{\"cpu\":"
        "\"n\"}}]}"
        "]}",
        "/ 1000 0 0 0 0\n");
}

/* Half a CPU, ten minutes ahead or behind. */
static void a_rate_is_not_multiplied_by_how_far_clocks_are_apart(void **state)
{
    enum { APART_MS = 10 * 60 * 1000, STARTED_MS = 100 * APART_MS };
    struct kube_sample sample = {.cpu_nano = 500000000, .window_ms = 15000};
    (void)state;
    sample.at_ms = STARTED_MS + 20000;
    assert_int_equal(kube_sample_used_ns(&sample, 0, STARTED_MS, 25000), 10 * 1000000000LL);
    sample.at_ms = STARTED_MS + APART_MS;
    assert_int_equal(kube_sample_used_ns(&sample, 0, STARTED_MS, 25000), 12500000000LL);
    sample.at_ms = STARTED_MS - APART_MS;
    assert_int_equal(kube_sample_used_ns(&sample, 0, STARTED_MS, 25000), 7500000000LL);
    assert_int_equal(
        kube_sample_used_ns(&sample, sample.at_ms - 10000, STARTED_MS, 35000), 5000000000LL);
    assert_int_equal(kube_sample_used_ns(&sample, sample.at_ms + 10000, STARTED_MS, 35000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_of_the_metrics_api_is_read),
        cmocka_unit_test(a_summary_of_a_kubelet_is_read),
        cmocka_unit_test(what_cannot_be_read_is_passed_over),
        cmocka_unit_test(a_rate_is_not_multiplied_by_how_far_clocks_are_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
