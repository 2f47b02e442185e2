/* What the control socket is asked for: routes, status, metrics, load. */
#include "gateway/gateway_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "gateway/access_log.h"
#include "gateway/control.h"
#include "gateway/figures.h"
#include "gateway/handover.h"
#include "gateway/hook.h"
#include "gateway/recorder.h"
#include "gateway/service_load.h"
#include "gateway/table.h"
#include "gateway/trace.h"
#include "gateway/worker.h"

#include <string.h>
#include <unistd.h>

static void collect(const struct gateway *gateway, struct figures *ret)
{
    *ret = (struct figures){.generation = route_table_routes(gateway_newest(gateway))->generation,
        .incarnation = gateway->incarnation,
        .listen = gateway->listen,
        .tls = gateway->config.tls_cert != NULL,
        .draining = gateway->stopping,
        .workers = gateway->worker_count,
        .uptime_ms = (clock_monotonic_ns() - gateway->started_ns) / 1000000,
        .log_lines_dropped = access_log_dropped(gateway->log),
        .traces = gateway->tracer != NULL,
        .states = gateway->states,
        .old_states = handover_old_state(gateway->old)};
    if (gateway->tracer)
        tracer_counts(gateway->tracer, &ret->spans);
    for (int i = 0; i < gateway->worker_count; i++)
        figures_add(ret, gateway_worker_figures(gateway->workers[i]));
}

static void write_status(void *context, struct strbuf *out)
{
    struct figures figures;
    collect(context, &figures);
    figures_write_json(&figures, out);
}

static void write_metrics(void *context, struct strbuf *out)
{
    struct figures figures;
    collect(context, &figures);
    figures_write_metrics(&figures, out);
    recorder_write_metrics(((const struct gateway *)context)->recorder, out);
    hook_write_metrics(((const struct gateway *)context)->hook, out);
}

static void write_load(void *context, struct strbuf *out)
{
    const struct gateway *gateway = context;
    strbuf_printf(out, "{\"incarnation\":\"%s\",\"services\":", gateway->incarnation);
    load_write(replica_states_terms(gateway->states), clock_monotonic_ns() / 1000, out);
    strbuf_puts(out, "}\n");
}

int gateway_open_control(struct gateway *gateway, struct error *err)
{
    char path[PATH_BYTES];
    struct control_host host = {.context = gateway,
        .put_routes = gateway_put_routes,
        .write_status = write_status,
        .write_metrics = write_metrics,
        .write_load = write_load};
    gateway_path(gateway, "control.sock", path);
    int fd = gateway->sockets.control;
    gateway->sockets.control = -1;
    return control_open(gateway->base, path, fd, &host, &gateway->control, err);
}
