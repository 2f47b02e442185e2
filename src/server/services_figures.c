/* The gateway's figures, asked for when somebody asks the server for its own: one exchange with the
 * control socket for each who does, which ends with its request at the latest. */
#include "server/services.h"
#include "server/services_internal.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "server/context.h"
#include "wire/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FIGURES_TIMEOUT_MS = 5000, FIGURES_BYTES_MAX = 32 << 20 };

struct figures_fetch {
    TAILQ_ENTRY(figures_fetch) link;
    struct services *services;
    struct http_endpoint *endpoint;
    struct http_exchange *exchange;
    struct http_request *request;
    int status;
    struct strbuf text;
    services_figures_fn *done;
    void *context;
};

static void fetch_free(struct figures_fetch *fetch)
{
    TAILQ_REMOVE(&fetch->services->fetches, fetch, link);
    http_request_on_cancel(fetch->request, NULL, NULL);
    if (fetch->exchange)
        http_exchange_cancel(fetch->exchange);
    http_endpoint_release(fetch->endpoint);
    strbuf_finish(&fetch->text);
    free(fetch);
}

/* The exchange is over; fine: with an answer. */
static void fetch_end(struct figures_fetch *fetch, bool fine)
{
    services_figures_fn *done = fetch->done;
    void *context = fetch->context;
    struct strbuf text = fetch->text;
    fetch->text = (struct strbuf){0};
    fetch->exchange = NULL;
    fetch_free(fetch);
    done(context, fine ? strbuf_text(&text) : "", fine ? text.length : 0);
    strbuf_finish(&text);
}

static void on_gone(void *context)
{
    fetch_free(context);
}

static void on_head(struct http_exchange *exchange, const struct http_answer *answer, void *context)
{
    struct figures_fetch *fetch = context;
    (void)exchange;
    fetch->status = answer->status;
}

static void on_piece(
    struct http_exchange *exchange, const void *bytes, size_t length, void *context)
{
    struct figures_fetch *fetch = context;
    if (fetch->text.length + length <= FIGURES_BYTES_MAX) {
        strbuf_append(&fetch->text, bytes, length);
        return;
    }
    http_exchange_cancel(exchange);
    fetch_end(fetch, false);
}

static void on_end(struct http_exchange *exchange, void *context)
{
    struct figures_fetch *fetch = context;
    (void)exchange;
    fetch_end(fetch, fetch->status == 200);
}

static void on_fail(struct http_exchange *exchange, enum http_failure failure, bool answered,
    const char *text, void *context)
{
    (void)exchange, (void)failure, (void)answered, (void)text;
    fetch_end(context, false);
}

void services_figures(struct services *services, struct http_request *request,
    services_figures_fn *done, void *context)
{
    static const struct http_exchange_callbacks callbacks = {
        .on_head = on_head, .on_piece = on_piece, .on_end = on_end, .on_fail = on_fail};
    const struct http_exchange_request what = {
        .method = "GET", .target = "/metrics", .timeout_ms = FIGURES_TIMEOUT_MS};
    struct http_endpoint *endpoint = NULL;
    struct error ignored;
    char address[4096];
    if (services)
        snprintf(address, sizeof address, "unix:%s/gateway/control.sock",
            services->server->config.data_dir);
    if (!services ||
        http_endpoint_create(services->agent, address, geteuid(), &endpoint, &ignored) < 0) {
        done(context, "", 0);
        return;
    }
    struct figures_fetch *fetch = mem_alloc(1, sizeof *fetch);
    *fetch = (struct figures_fetch){.services = services,
        .endpoint = endpoint,
        .request = request,
        .done = done,
        .context = context};
    TAILQ_INSERT_TAIL(&services->fetches, fetch, link);
    http_request_on_cancel(request, on_gone, fetch);
    fetch->exchange = http_exchange_begin(endpoint, &what, &callbacks, fetch);
}

void services_figures_finish(struct services *services)
{
    while (!TAILQ_EMPTY(&services->fetches))
        fetch_free(TAILQ_FIRST(&services->fetches));
}
