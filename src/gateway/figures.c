/* Figures as documents: see figures.h. One table says what each is called in both. */
#include "gateway/figures.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "gateway/batch_figures.h"

#include <inttypes.h>
#include <stddef.h>
#include <unistd.h>

static const struct row {
    const char *name, *metric, *type, *help;
} rows[FIGURES] = {
    [FIGURE_REQUESTS] = {"requests", "muster_gateway_requests_total", "counter",
        "Requests that were answered or broken off"},
    [FIGURE_FAILED] = {"failed", "muster_gateway_requests_failed_total", "counter",
        "Requests answered 5xx or broken off by a replica"},
    [FIGURE_RETRIED] = {"retried", "muster_gateway_attempts_retried_total", "counter",
        "Attempts that failed and were made again"},
    [FIGURE_OPEN] = {"open", "muster_gateway_requests_open", "gauge", "Requests under way"},
    [FIGURE_WAITING] = {"waiting", "muster_gateway_requests_waiting", "gauge",
        "Requests that wait for a replica"},
    [FIGURE_HELD_BYTES] = {"heldBytes", "muster_gateway_held_bytes", "gauge",
        "Bytes of request bodies that are held"},
    [FIGURE_CACHE_HITS] = {"cacheHits", "muster_gateway_cache_hits_total", "counter",
        "Answers that were given again"},
    [FIGURE_CACHE_SHARED] = {"cacheShared", "muster_gateway_cache_shared_total", "counter",
        "Answers of a call that others had begun"},
    [FIGURE_CACHE_MISSES] = {"cacheMisses", "muster_gateway_cache_misses_total", "counter",
        "Requests that a replica had to answer although answers like theirs are kept"},
    [FIGURE_CACHE_EVICTED] = {"cacheEvicted", "muster_gateway_cache_evicted_total", "counter",
        "Answers that made room for others"},
    [FIGURE_CACHE_ENTRIES] = {"cacheEntries", "muster_gateway_cache_entries", "gauge",
        "Answers that are kept"},
    [FIGURE_CACHE_BYTES] = {"cacheBytes", "muster_gateway_cache_bytes", "gauge",
        "Bytes of the answers that are kept"},
    [FIGURE_CACHE_REDIS_HITS] = {"cacheRedisHits", "muster_gateway_cache_redis_hits_total",
        "counter", "Answers that other gateways had kept"},
    [FIGURE_CACHE_REDIS_MISSES] = {"cacheRedisMisses", "muster_gateway_cache_redis_misses_total",
        "counter", "Times that they had none"},
    [FIGURE_CACHE_REDIS_INVALID] = {"cacheRedisInvalid", "muster_gateway_cache_redis_invalid_total",
        "counter", "Values of the shared cache that are no answer of these gateways"},
    [FIGURE_CACHE_REDIS_AWAY] = {"cacheRedisAway", "muster_gateway_cache_redis_away_total",
        "counter", "Times that the shared cache was not there, or did not answer in time"},
    [FIGURE_CACHE_REDIS_KEPT] = {"cacheRedisKept", "muster_gateway_cache_redis_kept_total",
        "counter", "Answers that were kept for other gateways"},
    [FIGURE_CACHE_REDIS_DROPPED] = {"cacheRedisDropped", "muster_gateway_cache_redis_dropped_total",
        "counter", "Answers that were not, for want of room or of the shared cache"},
    [FIGURE_LIMITS_REDIS_AWAY] = {"limitsRedisAway", "muster_gateway_limits_redis_away_total",
        "counter", "Requests that were admitted or refused without the shared counters of limits"},
    [FIGURE_SHADOW_COMPARED] = {"shadowCompared", "muster_gateway_shadow_compared_total", "counter",
        "Answers to copies of requests that were compared"},
    [FIGURE_SHADOW_DIFFERING] = {"shadowDiffering", "muster_gateway_shadow_differing_total",
        "counter", "Those of them that differ from what the client got"},
    [FIGURE_SHADOW_DROPPED] = {"shadowDropped", "muster_gateway_shadow_dropped_total", "counter",
        "Copies that were not sent: too many were under way, or there was no replica"},
    [FIGURE_SCORES] = {"scores", "muster_gateway_scores_total", "counter",
        "Scores of answers of replicas on trial"},
    [FIGURE_GUARD_FOUND] = {"guardFound", "muster_gateway_guard_findings_total", "counter",
        "Secrets, personal data and phrases that guards found"},
    [FIGURE_GUARD_REDACTED] = {"guardRedacted", "muster_gateway_guard_redactions_total", "counter",
        "Findings that were redacted"},
    [FIGURE_SECONDARY_ASKED] = {"secondaryAsked", "muster_gateway_secondary_total", "counter",
        "Requests that another service was asked about after their answer"},
    [FIGURE_SECONDARY_DROPPED] = {"secondaryDropped", "muster_gateway_secondary_dropped_total",
        "counter", "Those that it was not asked about, for want of budget or room"},
    [FIGURE_SECONDARY_FAILED] = {"secondaryFailed", "muster_gateway_secondary_failed_total",
        "counter", "Those that it did not answer"},
    [FIGURE_GUARD_REFUSED] = {"guardRefused", "muster_gateway_guard_refused_total", "counter",
        "Requests and answers that guards refused"},
    [FIGURE_DEADLINE] = {"deadlinesPassed", "muster_gateway_deadlines_passed_total", "counter",
        "Requests whose deadline passed"},
    [FIGURE_FELL_BACK] = {"fellBack", "muster_gateway_fallbacks_total", "counter",
        "Times that another service was asked in place of one that failed"},
    [FIGURE_STREAMS_BROKEN] = {"streamsBroken", "muster_gateway_streams_broken_total", "counter",
        "Streams that broke off and were ended by an event"},
    [FIGURE_CIRCUIT_OPENED] = {"circuitsOpened", "muster_gateway_circuits_opened_total", "counter",
        "Times that the circuit of a service was opened"},
    [FIGURE_CIRCUIT_REFUSED] = {"circuitRefused", "muster_gateway_circuit_refused_total", "counter",
        "Requests that an open circuit refused, or sent elsewhere"},
    [FIGURE_HEDGED] = {"hedged", "muster_gateway_hedges_total", "counter",
        "Requests that were made a second time at another replica"},
    [FIGURE_HEDGE_WON] = {"hedgesWon", "muster_gateway_hedges_won_total", "counter",
        "Requests of which the second began to be answered first"},
    [FIGURE_CASCADE_SMALL] = {"cascadeSmall", "muster_gateway_cascade_small_total", "counter",
        "Requests of cascades that the small model answered"},
    [FIGURE_CASCADE_LARGE] = {"cascadeLarge", "muster_gateway_cascade_large_total", "counter",
        "Requests of cascades that went on to the large model"},
};

void figures_add(struct figures *figures, const struct worker_figures *worker)
{
    for (size_t i = 0; i < FIGURES; i++)
        figures->of[i] += atomic_load_explicit(&worker->of[i], memory_order_relaxed);
}

void figures_write_json(const struct figures *figures, struct strbuf *out)
{
    strbuf_printf(out,
        "{\"generation\":%" PRId64 ",\"incarnation\":\"%s\",\"pid\":%ld,\"workers\":%d,"
        "\"uptimeMs\":%" PRId64 ",\"listen\":",
        figures->generation, figures->incarnation, (long)getpid(), figures->workers,
        figures->uptime_ms);
    strbuf_json(out, figures->listen);
    strbuf_printf(out, ",\"tls\":%s,\"draining\":%s", figures->tls ? "true" : "false",
        figures->draining ? "true" : "false");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        strbuf_printf(out, ",\"%s\":%" PRIu64, rows[i].name, figures->of[i]);
    strbuf_printf(out, ",\"logLinesDropped\":%" PRIu64, figures->log_lines_dropped);
    strbuf_puts(out, ",\"batching\":[");
    batch_figures_write(replica_states_terms(figures->states), out);
    strbuf_puts(out, "],\"circuits\":[");
    terms_write_circuits(replica_states_terms(figures->states), out);
    strbuf_puts(out, "],\"endpoints\":[");
    size_t length = out->length;
    replica_states_write(figures->states, out);
    if (out->length > length && figures->old_states[0])
        strbuf_putc(out, ',');
    strbuf_puts(out, figures->old_states);
    strbuf_puts(out, "]}\n");
}

static void write_metric(struct strbuf *out, const struct row *row, int64_t value)
{
    strbuf_printf(out, "# HELP %s %s.\n# TYPE %s %s\n%s %" PRId64 "\n", row->metric, row->help,
        row->metric, row->type, row->metric, value);
}

static void write_spans(const struct tracer_counts *spans, struct strbuf *out)
{
    static const struct row exported = {.metric = "muster_gateway_spans_exported_total",
        .type = "counter",
        .help = "Spans that the collector took"};
    static const char dropped[] = "muster_gateway_spans_dropped_total";
    write_metric(out, &exported, (int64_t)spans->exported);
    strbuf_printf(
        out, "# HELP %s Spans that no collector got.\n# TYPE %s counter\n", dropped, dropped);
    strbuf_printf(out, "%s{reason=\"queue\"} %" PRIu64 "\n", dropped, spans->dropped_queue);
    strbuf_printf(out, "%s{reason=\"collector\"} %" PRIu64 "\n", dropped, spans->dropped_collector);
}

void figures_write_metrics(const struct figures *figures, struct strbuf *out)
{
    static const struct row dropped = {.metric = "muster_gateway_log_lines_dropped_total",
        .type = "counter",
        .help = "Lines of the access log that were dropped"};
    static const struct row generation = {
        .metric = "muster_gateway_routes_generation", .type = "gauge", .help = "The routes in use"};
    for (size_t i = 0; i < FIGURES; i++)
        write_metric(out, &rows[i], (int64_t)figures->of[i]);
    write_metric(out, &dropped, (int64_t)figures->log_lines_dropped);
    write_metric(out, &generation, figures->generation);
    if (figures->traces)
        write_spans(&figures->spans, out);
    batch_figures_write_metrics(replica_states_terms(figures->states), out);
    replica_states_write_metrics(figures->states, out);
}
