/* Samples of what pods use: see kube_metrics.h. What a pod uses is what its containers use. */
#include "engine/kube_metrics.h"

#include "base/memory.h"
#include "base/quantity.h"
#include "engine/kube_client.h"

#include <stdlib.h>
#include <string.h>

static const struct doc *first_of(const struct doc *map, const char *name)
{
    const struct doc *list = doc_get(map, name);
    return list && list->type == DOC_LIST ? list->first : NULL;
}

/* "1234n", "56u", "250m", "2": billionths of a CPU; what cannot be read is nothing. */
static uint64_t nano_of(const char *text)
{
    static const struct {
        const char *suffix;
        uint64_t nano;
    } units[] = {{"n", 1}, {"u", 1000}, {"m", 1000000}, {"", 1000000000}};
    char *end;
    uint64_t number = strtoull(text, &end, 10), product;
    for (size_t i = 0; end > text && i < ARRAY_LEN(units); i++) {
        if (strcmp(end, units[i].suffix) == 0)
            return __builtin_mul_overflow(number, units[i].nano, &product) ? 0 : product;
    }
    return 0;
}

static int64_t time_of(const char *text)
{
    int64_t ms;
    return quantity_parse_time(text, &ms, NULL) == 0 ? ms : 0;
}

void kube_metrics_read(const struct doc *list, kube_sample_fn *take, void *ctx)
{
    for (const struct doc *item = first_of(list, "items"); item; item = item->next) {
        struct kube_sample sample = {.name_space = kube_text(item, "metadata", "namespace", NULL),
            .name = kube_text(item, "metadata", "name", NULL),
            .at_ms = time_of(kube_text(item, "timestamp", NULL))};
        if (quantity_parse_duration(kube_text(item, "window", NULL), &sample.window_ms, NULL) < 0)
            sample.window_ms = 0;
        for (const struct doc *one = first_of(item, "containers"); one; one = one->next) {
            int64_t bytes = 0;
            sample.cpu_nano += nano_of(kube_text(one, "usage", "cpu", NULL));
            if (quantity_parse_bytes(kube_text(one, "usage", "memory", NULL), &bytes, NULL) == 0)
                sample.memory_bytes += (uint64_t)bytes;
        }
        if (sample.at_ms > 0)
            take(ctx, &sample);
    }
}

static uint64_t number_of(const struct doc *map, const char *name)
{
    int64_t number = doc_get_int(map, name, 0);
    return number > 0 ? (uint64_t)number : 0;
}

void kube_metrics_read_summary(const struct doc *summary, kube_sample_fn *take, void *ctx)
{
    for (const struct doc *item = first_of(summary, "pods"); item; item = item->next) {
        struct kube_sample sample = {.name_space = kube_text(item, "podRef", "namespace", NULL),
            .name = kube_text(item, "podRef", "name", NULL),
            .total = true};
        for (const struct doc *one = first_of(item, "containers"); one; one = one->next) {
            int64_t at_ms = time_of(kube_text(one, "cpu", "time", NULL));
            sample.at_ms = at_ms > sample.at_ms ? at_ms : sample.at_ms;
            sample.cpu_nano += number_of(doc_get(one, "cpu"), "usageCoreNanoSeconds");
            sample.memory_bytes += number_of(doc_get(one, "memory"), "workingSetBytes");
        }
        if (sample.at_ms > 0)
            take(ctx, &sample);
    }
}

/* A sample is some seconds old, so the clocks are asked for its age, within what cannot be
 * otherwise. */
static int64_t first_span_ms(
    const struct kube_sample *sample, int64_t started_ms, int64_t running_ms)
{
    int64_t span_ms = sample->at_ms - started_ms;
    span_ms = span_ms < running_ms ? span_ms : running_ms;
    return span_ms > sample->window_ms ? span_ms : sample->window_ms;
}

uint64_t kube_sample_used_ns(
    const struct kube_sample *sample, int64_t last_ms, int64_t started_ms, int64_t running_ms)
{
    int64_t span_ms =
        last_ms ? sample->at_ms - last_ms : first_span_ms(sample, started_ms, running_ms);
    return span_ms > 0 ? sample->cpu_nano / 1000 * (uint64_t)span_ms : 0;
}
