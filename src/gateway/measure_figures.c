/* Histograms as Prometheus reads them: see measure_figures.h. All lines of a metric have to stand
 * together, and a service is read once: so each metric is written into a text of its own.
 *
 * A bucket that a bound falls into counts as above it: what stands at a bound is never too much,
 * and short by no more than what lies within a sixteenth below it. */
#include "gateway/measure_figures.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "gateway/terms.h"

#include <inttypes.h>

enum { VERSIONS_MAX = MEASURE_VERSIONS * 4 };

struct bound {
    const char *text;
    int64_t value;
};

static const struct bound seconds[] = {{"0.001", 1000}, {"0.0025", 2500}, {"0.005", 5000},
    {"0.01", 10000}, {"0.025", 25000}, {"0.05", 50000}, {"0.1", 100000}, {"0.25", 250000},
    {"0.5", 500000}, {"1", 1000000}, {"2.5", 2500000}, {"5", 5000000}, {"10", 10000000},
    {"30", 30000000}, {"60", 60000000}};
static const struct bound rates[] = {{"1", 1000}, {"2", 2000}, {"5", 5000}, {"10", 10000},
    {"20", 20000}, {"50", 50000}, {"100", 100000}, {"200", 200000}, {"500", 500000},
    {"1000", 1000000}, {"2000", 2000000}, {"5000", 5000000}};

static const struct metric {
    const char *name, *help;
    const struct bound *bounds;
    size_t bound_count;
    int64_t unit; /* so many of what is measured are one of what is shown */
} metrics[MEASURES] = {
    [MEASURE_LATENCY_US] = {"muster_gateway_request_seconds",
        "From a request's head to the end of its answer", seconds, ARRAY_LEN(seconds), 1000000},
    [MEASURE_FIRST_US] = {"muster_gateway_first_byte_seconds",
        "From a request's head to the first byte of its answer", seconds, ARRAY_LEN(seconds),
        1000000},
    [MEASURE_QUEUE_US] = {"muster_gateway_queue_seconds",
        "Waiting in the gateway until a replica was asked", seconds, ARRAY_LEN(seconds), 1000000},
    [MEASURE_MODEL_US] = {"muster_gateway_model_seconds",
        "From asking a replica to the end of its answer", seconds, ARRAY_LEN(seconds), 1000000},
    [MEASURE_TOKENS_MILLI] = {"muster_gateway_output_tokens_per_second",
        "Output tokens of a request by its time in the model", rates, ARRAY_LEN(rates), 1000},
};

static const struct quantile {
    const char *text;
    int64_t per_million;
} quantiles[] = {{"0.5", 500000}, {"0.95", 950000}, {"0.99", 990000}};

static const char *const outcomes[MEASURE_OUTCOMES] = {[MEASURED_SUCCEEDED] = "succeeded",
    [MEASURED_REFUSED] = "refused",
    [MEASURED_FAILED] = "failed",
    [MEASURED_CANCELLED] = "cancelled"};

struct texts {
    struct strbuf histograms[MEASURES], quantiles[MEASURES], outcomes;
};

/* Without its closing brace. */
static void put_labels(struct strbuf *out, const char *service, int64_t version)
{
    strbuf_puts(out, "{service=");
    strbuf_json(out, service);
    strbuf_printf(out, ",version=\"%" PRId64 "\"", version);
}

/* A value in its unit, exactly. */
static void put_value(struct strbuf *out, int64_t value, int64_t unit)
{
    int digits = unit == 1000 ? 3 : 6;
    strbuf_printf(out, "} %" PRId64 ".%0*" PRId64 "\n", value / unit, digits, value % unit);
}

static void write_histogram(struct strbuf *out, const char *service, int64_t version,
    const struct metric *metric, const struct histogram *histogram, uint64_t sum)
{
    uint64_t below = 0, count = histogram_count(histogram);
    size_t bucket = 0;
    for (size_t i = 0; i < metric->bound_count; i++) {
        while (bucket < HISTOGRAM_BUCKETS && histogram_bound(bucket) <= metric->bounds[i].value)
            below += histogram->counts[bucket++];
        strbuf_printf(out, "%s_bucket", metric->name);
        put_labels(out, service, version);
        strbuf_printf(out, ",le=\"%s\"} %" PRIu64 "\n", metric->bounds[i].text, below);
    }
    strbuf_printf(out, "%s_bucket", metric->name);
    put_labels(out, service, version);
    strbuf_printf(out, ",le=\"+Inf\"} %" PRIu64 "\n%s_sum", count, metric->name);
    put_labels(out, service, version);
    put_value(out, sum > INT64_MAX ? INT64_MAX : (int64_t)sum, metric->unit);
    strbuf_printf(out, "%s_count", metric->name);
    put_labels(out, service, version);
    strbuf_printf(out, "} %" PRIu64 "\n", count);
}

static void write_quantiles(struct strbuf *out, const char *service, int64_t version,
    const struct metric *metric, const struct histogram *histogram)
{
    for (size_t i = 0; i < ARRAY_LEN(quantiles); i++) {
        strbuf_printf(out, "%s_quantile", metric->name);
        put_labels(out, service, version);
        strbuf_printf(out, ",quantile=\"%s\"", quantiles[i].text);
        put_value(out, histogram_at(histogram, quantiles[i].per_million), metric->unit);
    }
}

static void write_version(
    struct texts *texts, const char *service, int64_t version, const struct measured *measured)
{
    for (size_t i = 0; i < MEASURE_OUTCOMES; i++) {
        strbuf_puts(&texts->outcomes, "muster_gateway_service_requests_total");
        put_labels(&texts->outcomes, service, version);
        strbuf_printf(
            &texts->outcomes, ",outcome=\"%s\"} %" PRIu64 "\n", outcomes[i], measured->outcomes[i]);
    }
    for (size_t i = 0; i < MEASURES; i++) {
        if (histogram_count(&measured->of[i]) == 0)
            continue;
        write_histogram(&texts->histograms[i], service, version, &metrics[i], &measured->of[i],
            measured->sums[i]);
        write_quantiles(&texts->quantiles[i], service, version, &metrics[i], &measured->of[i]);
    }
}

static void append(struct strbuf *out, const char *name, const char *suffix, const char *type,
    const char *help, struct strbuf *text)
{
    strbuf_printf(out, "# HELP %s%s %s.\n# TYPE %s%s %s\n", name, suffix, help, name, suffix, type);
    strbuf_append(out, strbuf_text(text), text->length);
    strbuf_finish(text);
}

void measure_figures_write(const struct service_state *first, struct strbuf *out)
{
    struct texts texts = {0};
    SCOPED(mem_scope) struct measured *measured = mem_alloc(1, sizeof *measured);
    for (const struct service_state *state = first; state; state = state->next) {
        int64_t versions[VERSIONS_MAX];
        size_t count = measures_versions(&state->measures, versions, VERSIONS_MAX);
        for (size_t i = 0; i < count; i++) {
            measures_read(&state->measures, versions[i], measured);
            write_version(&texts, state->service, versions[i], measured);
        }
    }
    append(out, "muster_gateway_service_requests_total", "", "counter",
        "Requests of a service that are over, by version and outcome", &texts.outcomes);
    for (size_t i = 0; i < MEASURES; i++) {
        append(out, metrics[i].name, "", "histogram", metrics[i].help, &texts.histograms[i]);
        append(out, metrics[i].name, "_quantile", "gauge", metrics[i].help, &texts.quantiles[i]);
    }
}
