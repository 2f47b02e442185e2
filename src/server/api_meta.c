/* What the server says of itself: health, figures for Prometheus, its OpenAPI document. */
#include "base/version.h"
#include "core/core.h"
#include "server/context.h"
#include "server/feed.h"
#include "server/handlers.h"
#include "server/job_traces.h"
#include "server/planner_link.h"
#include "server/routes.h"
#include "server/services.h"
#include "server/trials.h"

#include <inttypes.h>

void api_healthz(struct call *call)
{
    const char *trouble = ticker_trouble(call->server->ticker);
    struct doc *body = doc_map(call->arena);
    doc_set_string(call->arena, body, "status", trouble ? trouble : "ok");
    doc_set_string(call->arena, body, "version", MUSTER_VERSION);
    call_answer(call, trouble ? 503 : 200, body);
}

void api_openapi(struct call *call)
{
    call_answer(call, 200, routes_openapi(call->arena));
}

/* ---- metrics ------------------------------------------------------------------------------- */

static void figure(
    struct strbuf *out, const char *name, const char *type, const char *help, int64_t value)
{
    strbuf_printf(out, "# HELP muster_%s %s\n# TYPE muster_%s %s\nmuster_%s %" PRId64 "\n", name,
        help, name, type, name, value);
}

static void core_figures(struct strbuf *out, const struct core *core)
{
    struct core_counts counts;
    core_count(core, &counts);
    figure(out, "jobs_live", "gauge", "Jobs that have not ended.", counts.jobs_live);
    figure(out, "jobs_queued", "gauge", "Jobs that wait for a place.", counts.jobs_queued);
    figure(out, "jobs_running", "gauge", "Jobs that run.", counts.jobs_running);
    figure(out, "attempts_live", "gauge", "Attempts that hold resources.", counts.attempts_live);
    figure(out, "nodes_up", "gauge", "Nodes that are up.", counts.nodes_up);
    figure(out, "core_bytes", "gauge", "Memory that the live state takes.", counts.bytes);
}

static void ticker_figures(struct strbuf *out, const struct ticker *ticker)
{
    struct ticker_stats stats;
    ticker_stats(ticker, &stats);
    figure(out, "ticks_total", "counter", "Ticks of the core.", stats.ticks);
    figure(out, "commands_total", "counter", "Commands accepted for a tick.", stats.commands);
    figure(out, "commands_queued", "gauge", "Commands that wait for a tick.", stats.queued);
    figure(out, "commits_failed_total", "counter", "Commits that failed.", stats.commits_failed);
    figure(out, "commits_unknown_total", "counter", "Commits whose outcome was unknown at first.",
        stats.commits_unknown);
    figure(out, "reloads_total", "counter", "Times the state was loaded anew.", stats.reloads);
    figure(out, "tick", "counter", "The newest committed tick.", stats.last_tick);
    strbuf_printf(out,
        "# HELP muster_commit_seconds_total Time spent in commits.\n"
        "# TYPE muster_commit_seconds_total counter\nmuster_commit_seconds_total %.6f\n",
        (double)stats.commit_ns / 1e9);
}

static void http_figures(struct strbuf *out, const struct http_server *http)
{
    struct http_server_stats stats;
    http_server_stats(http, &stats);
    figure(out, "http_connections", "gauge", "Open connections.", (int64_t)stats.connections);
    figure(out, "http_requests_total", "counter", "Requests handled.", (int64_t)stats.requests);
    figure(out, "http_rejected_total", "counter", "Requests that were malformed or past a limit.",
        (int64_t)stats.rejected);
    figure(out, "http_throttled_total", "counter", "Requests refused by the rate limit.",
        (int64_t)stats.throttled);
    figure(out, "http_timed_out_total", "counter", "Connections closed by a timeout.",
        (int64_t)stats.timed_out);
}

static void answer_metrics(void *context, const char *of_gateway, size_t length)
{
    struct call *call = context;
    struct strbuf out = {0};
    struct server *server = call->server;
    core_figures(&out, server->core);
    ticker_figures(&out, server->ticker);
    http_figures(&out, server->http);
    planner_link_figures(server->planner, &out);
    if (server->job_traces)
        job_traces_write_metrics(server->job_traces, &out);
    trials_write_metrics(services_trials(server->services), &out);
    figure(&out, "watchers", "gauge", "Clients that watch changes.",
        (int64_t)feed_watchers(server->feed));
    figure(&out, "uptime_seconds", "gauge", "Seconds since the server started.",
        (server_now_ms() - server->started_ms) / 1000);
    strbuf_append(&out, of_gateway, length);
    call_answer_text(call, "text/plain; version=0.0.4; charset=utf-8", out.text, out.length);
    strbuf_finish(&out);
}

void api_metrics(struct call *call)
{
    services_figures(call->server->services, call->request, answer_metrics, call);
}
