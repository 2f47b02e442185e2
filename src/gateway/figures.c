/* Figures as documents: see figures.h. One table says what each is called in both. */
#include "gateway/figures.h"

#include "base/memory.h"
#include "base/strbuf.h"

#include <inttypes.h>
#include <stddef.h>
#include <unistd.h>

static const struct row {
    const char *name, *metric, *type, *help;
    size_t offset;
} rows[] = {
    {"requests", "muster_gateway_requests_total", "counter",
        "Requests that were answered or broken off", offsetof(struct figures, requests)},
    {"failed", "muster_gateway_requests_failed_total", "counter",
        "Requests answered 5xx or broken off by a replica", offsetof(struct figures, failed)},
    {"retried", "muster_gateway_attempts_retried_total", "counter",
        "Attempts that failed and were made again", offsetof(struct figures, retried)},
    {"open", "muster_gateway_requests_open", "gauge", "Requests under way",
        offsetof(struct figures, open)},
    {"waiting", "muster_gateway_requests_waiting", "gauge", "Requests that wait for a replica",
        offsetof(struct figures, waiting)},
    {"heldBytes", "muster_gateway_held_bytes", "gauge", "Bytes of request bodies that are held",
        offsetof(struct figures, held_bytes)},
    {"logLinesDropped", "muster_gateway_log_lines_dropped_total", "counter",
        "Lines of the access log that were dropped", offsetof(struct figures, log_lines_dropped)},
};

static uint64_t value_of(const struct figures *figures, const struct row *row)
{
    return *(const uint64_t *)((const char *)figures + row->offset);
}

void figures_add(struct figures *figures, const struct worker_figures *worker)
{
    figures->requests += atomic_load_explicit(&worker->requests, memory_order_relaxed);
    figures->failed += atomic_load_explicit(&worker->failed, memory_order_relaxed);
    figures->retried += atomic_load_explicit(&worker->retried, memory_order_relaxed);
    figures->open += atomic_load_explicit(&worker->open, memory_order_relaxed);
    figures->waiting += atomic_load_explicit(&worker->waiting, memory_order_relaxed);
    figures->held_bytes += atomic_load_explicit(&worker->held_bytes, memory_order_relaxed);
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
        strbuf_printf(out, ",\"%s\":%" PRIu64, rows[i].name, value_of(figures, &rows[i]));
    strbuf_puts(out, ",\"endpoints\":[");
    replica_states_write(figures->states, out);
    strbuf_puts(out, "]}\n");
}

void figures_write_metrics(const struct figures *figures, struct strbuf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        strbuf_printf(out, "# HELP %s %s.\n# TYPE %s %s\n%s %" PRIu64 "\n", rows[i].metric,
            rows[i].help, rows[i].metric, rows[i].type, rows[i].metric,
            value_of(figures, &rows[i]));
    strbuf_printf(out,
        "# HELP muster_gateway_routes_generation The routes in use.\n"
        "# TYPE muster_gateway_routes_generation gauge\n"
        "muster_gateway_routes_generation %" PRId64 "\n",
        figures->generation);
    replica_states_write_metrics(figures->states, out);
}
