/* The gateway's figures, asked for when somebody asks the server for its own: one exchange with the
 * control socket for each who does, which ends with its request at the latest. */
#include "server/services.h"
#include "server/services_internal.h"

#include "base/memory.h"
#include "server/context.h"
#include "server/fetch.h"
#include "wire/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FIGURES_TIMEOUT_MS = 5000, FIGURES_BYTES_MAX = 32 << 20 };

struct figures_ask {
    TAILQ_ENTRY(figures_ask) link;
    struct services *services;
    struct http_endpoint *endpoint;
    struct fetch *fetch; /* NULL: it is over */
    struct http_request *request;
    services_figures_fn *done;
    void *context;
};

static void ask_free(struct figures_ask *ask)
{
    TAILQ_REMOVE(&ask->services->asks, ask, link);
    http_request_on_cancel(ask->request, NULL, NULL);
    fetch_cancel(ask->fetch);
    http_endpoint_release(ask->endpoint);
    free(ask);
}

static void on_answer(void *context, const struct fetch_answer *answer)
{
    struct figures_ask *ask = context;
    services_figures_fn *done = ask->done;
    void *who = ask->context;
    bool fine = answer->status == 200;
    ask->fetch = NULL;
    ask_free(ask);
    done(who, fine ? answer->text : "", fine ? answer->length : 0);
}

static void on_gone(void *context)
{
    ask_free(context);
}

void services_figures(struct services *services, struct http_request *request,
    services_figures_fn *done, void *context)
{
    const struct fetch_request what = {
        .target = "/metrics", .timeout_ms = FIGURES_TIMEOUT_MS, .bytes_max = FIGURES_BYTES_MAX};
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
    struct figures_ask *ask = mem_alloc(1, sizeof *ask);
    *ask = (struct figures_ask){.services = services,
        .endpoint = endpoint,
        .request = request,
        .done = done,
        .context = context};
    TAILQ_INSERT_TAIL(&services->asks, ask, link);
    http_request_on_cancel(request, on_gone, ask);
    ask->fetch = fetch_begin(endpoint, &what, on_answer, ask);
}

void services_figures_finish(struct services *services)
{
    while (!TAILQ_EMPTY(&services->asks))
        ask_free(TAILQ_FIRST(&services->asks));
}
