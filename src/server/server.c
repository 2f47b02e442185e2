/* The server's life: everything is opened in order, the loop runs, everything is closed in reverse.
 *
 * Threads: the loop's owns all of it. The commit thread has the store while a commit is under way;
 * the chores thread works on copies and descriptors of its own. */
#include "server/server.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "core/core.h"
#include "engine/engine.h"
#include "engine/worker.h"
#include "server/artifacts.h"
#include "server/catalog.h"
#include "server/collect.h"
#include "server/context.h"
#include "server/defaults.h"
#include "server/effects.h"
#include "server/engines.h"
#include "server/exec.h"
#include "server/feed.h"
#include "server/forecasts.h"
#include "server/job_traces.h"
#include "server/outputs.h"
#include "server/planner_link.h"
#include "server/progress.h"
#include "server/promotions.h"
#include "server/reconcile.h"
#include "server/retention.h"
#include "server/routes.h"
#include "server/services.h"
#include "server/serving_usage.h"
#include "server/ticker.h"
#include "server/tokens.h"
#include "server/uids.h"
#include "server/usage.h"
#include "server/vault.h"
#include "store/store.h"
#include "wire/http.h"
#include "wire/signals.h"
#include "wire/tls.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOCK_TRIES = 20, LOCK_WAIT_US = 100000, DRAIN_MS = 2000, REQUESTS_PER_S = 200 };

/* What only the life itself needs. */
struct life {
    struct server server;
    struct tls_server *tls;
    struct signal_watch signals;
    struct retention *retention;
};

int64_t server_now_ms(void)
{
    return clock_wall_ms();
}

int server_trust(struct server *server, struct tls_client **ret, struct error *err)
{
    if (!server->trust && tls_client_create(server->config.trust, &server->trust, err) < 0)
        return -1;
    *ret = server->trust;
    return 0;
}

/* ---- signals and the end --------------------------------------------------------------------- */

static void on_drained(void *context)
{
    struct server *server = context;
    event_base_loopbreak(server->base);
}

static void on_stop(evutil_socket_t number, short what, void *context)
{
    struct life *life = context;
    (void)what;
    if (life->server.stopping)
        return;
    log_info("signal %d: stopping; jobs go on running", (int)number);
    life->server.stopping = true;
    http_server_drain(life->server.http, DRAIN_MS, on_drained, &life->server);
}

static void on_reload(evutil_socket_t number, short what, void *context)
{
    struct life *life = context;
    struct error err;
    (void)number, (void)what;
    if (http_server_reload_tls(life->server.http, &err) < 0)
        log_error("the certificates stay as they were: %s", err.text);
    else
        log_info("certificates were read again");
}

/* ---- opening --------------------------------------------------------------------------------- */

static int make_folders(const char *data_dir, struct error *err)
{
    static const char *const folders[] = {"", "/snapshots", "/backup", "/tls"};
    char path[4096];
    if (data_dir[0] != '/')
        return error_set(
            err, ERR_INVALID, "the data directory %s is not an absolute path", data_dir);
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        snprintf(path, sizeof path, "%s%s", data_dir, folders[i]);
        if (file_make_dirs(path, i == 0 ? 0711 : 0700, err) < 0)
            return -1;
    }
    return 0;
}

/* A server that was killed lets go of the store when the last process it had just made is on its
 * own feet: a moment later, which a start right after it waits for. */
static int open_store(struct server *server, const struct store_options *options, struct error *err)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (store_open(server->config.data_dir, options, &server->store, err) == 0)
            return 0;
        if (err->code != ERR_CONFLICT)
            return -1;
        usleep(LOCK_WAIT_US);
    }
    return -1;
}

static int open_state(struct server *server, struct error *err)
{
    const char *data_dir = server->config.data_dir;
    struct store_options options = {.vfs = server->config.vfs};
    server->catalog = catalog_create();
    server->tokens = tokens_create();
    server->uids = uids_create();
    server->usage = usage_create();
    if (open_store(server, &options, err) < 0 ||
        store_reader_open(data_dir, &options, &server->reader, err) < 0)
        return -1;
    server->vault = vault_open(data_dir, err);
    if (!server->vault)
        return -1;
    return effects_load(server, err);
}

static int open_parts(struct server *server, struct error *err)
{
    server->commits = worker_create(server->base, "commit", err);
    server->chores = worker_create(server->base, "chores", err);
    if (!server->commits || !server->chores)
        return -1;
    server->ticker = ticker_create(server);
    server->feed = feed_create(server);
    server->progress = progress_create(server);
    server->reconciler = reconciler_create(server);
    server->execs = exec_sessions_create(server);
    server->artifacts = artifacts_create(server, err);
    server->outputs = server->artifacts ? outputs_create(server, err) : NULL;
    if (!server->outputs)
        return -1;
    server->collector = collector_create(server);
    server->promotions = promotions_create(server, err);
    if (!server->promotions)
        return -1;
    struct engine_local_options options = {.base = server->base,
        .data = server->config.data_dir,
        .report = reconciler_report,
        .context = server};
    server->engine = engine_local_create(&options, err);
    if (!server->engine)
        return -1;
    server->engines = engines_create(server);
    server->planner = planner_link_create(server);
    server->forecasts = forecasts_create(server);
    server->services = services_create(server, err);
    return server->services ? 0 : -1;
}

/* The certificate of a first start, so that TLS works before there is a better one. */
static int own_certificate(const char *data_dir, char cert[4096], char key[4096], struct error *err)
{
    snprintf(cert, 4096, "%s/tls/cert.pem", data_dir);
    snprintf(key, 4096, "%s/tls/key.pem", data_dir);
    if (access(cert, R_OK) == 0 && access(key, R_OK) == 0)
        return 0;
    log_info("no certificate was given: making a self-signed one at %s", cert);
    return tls_create_self_signed(cert, key, "localhost", err);
}

static int listen_tls(struct life *life, struct error *err)
{
    struct server *server = &life->server;
    char cert[4096], key[4096];
    uint16_t port;
    const struct server_config *config = &server->config;
    if (!config->tls_cert && own_certificate(config->data_dir, cert, key, err) < 0)
        return -1;
    if (tls_server_create(config->tls_cert ? config->tls_cert : cert,
            config->tls_cert ? config->tls_key : key, &life->tls, err) < 0 ||
        http_server_listen_tcp(server->http, server->config.listen, life->tls, &port, err) < 0)
        return -1;
    log_info("listening on https port %u", port);
    return 0;
}

static int open_http(struct life *life, struct error *err)
{
    static const struct http_field common[] = {
        {"X-Content-Type-Options", "nosniff"},
        {"Cache-Control", "no-store"},
        {"Content-Security-Policy", "default-src 'none'"},
    };
    struct server *server = &life->server;
    char path[4096];
    struct http_server_options options = {.handler = route_request,
        .ctx = server,
        .common_fields = common,
        .common_field_count = ARRAY_LEN(common),
        .requests_per_s =
            (uint32_t)(server->config.requests_per_s > 0 ? server->config.requests_per_s
                                                         : REQUESTS_PER_S),
        .connections_per_peer_max = 512};
    server->http = http_server_create(server->base, &options);
    snprintf(path, sizeof path, "%s/muster.sock", server->config.data_dir);
    if (http_server_listen_unix(server->http,
            server->config.socket_path ? server->config.socket_path : path, 0600, err) < 0)
        return -1;
    return server->config.listen ? listen_tls(life, err) : 0;
}

static void say_ready(struct server *server)
{
    log_info("ready: epoch %lld, data in %s", (long long)store_epoch(server->store),
        server->config.data_dir);
    if (server->config.ready_fd >= 0) {
        ssize_t ignored = write(server->config.ready_fd, "1", 1);
        (void)ignored;
        close(server->config.ready_fd);
    }
}

/* What a new store starts with is durable before the first request is taken. */
static int open_defaults(struct server *server, struct error *err)
{
    struct ticker_stats stats;
    defaults_apply(server);
    ticker_stats(server->ticker, &stats);
    while (stats.queued > 0 || ticker_busy(server->ticker)) {
        event_base_loop(server->base, EVLOOP_ONCE);
        ticker_stats(server->ticker, &stats);
    }
    if (catalog_find(server->catalog, KIND_TEAM, ROOT_TEAM))
        return 0;
    return error_set(err, ERR_UNAVAILABLE, "the first objects could not be stored, see above");
}

static int life_open(struct life *life, struct error *err)
{
    struct server *server = &life->server;
    if (sodium_init() < 0)
        return error_set(err, ERR_INTERNAL, "libsodium cannot be used here");
    if (make_folders(server->config.data_dir, err) < 0)
        return -1;
    server->base = event_base_new();
    if (!server->base)
        return error_set(err, ERR_IO, "the event loop cannot be made");
    server->started_ms = server_now_ms();
    struct tls_client *trust;
    if (server->config.trust && server_trust(server, &trust, err) < 0)
        return -1;
    if (open_state(server, err) < 0 || open_parts(server, err) < 0 ||
        open_defaults(server, err) < 0 ||
        serving_usage_create(server, &server->serving_usage, err) < 0 || open_http(life, err) < 0)
        return -1;
    if (server->config.traces.address &&
        job_traces_create(server, &server->config.traces, &server->job_traces, err) < 0)
        return -1;
    signals_watch(&life->signals, life->server.base, on_stop, on_reload, life);
    life->retention = retention_create(server);
    ticker_poke(server->ticker);
    return 0;
}

/* ---- closing --------------------------------------------------------------------------------- */

static void life_close(struct life *life)
{
    struct server *server = &life->server;
    while (server->ticker && ticker_busy(server->ticker))
        event_base_loop(server->base, EVLOOP_ONCE);
    job_traces_destroy(server->job_traces);
    server->job_traces = NULL;
    retention_destroy(life->retention);
    feed_destroy(server->feed);
    exec_sessions_destroy(server->execs);
    services_destroy(server->services);
    ticker_destroy(server->ticker);
    artifacts_stop(server->artifacts);
    collector_destroy(server->collector);
    forecasts_destroy(server->forecasts);
    planner_link_destroy(server->planner);
    http_server_destroy(server->http);
    promotions_destroy(server->promotions);
    outputs_destroy(server->outputs);
    artifacts_destroy(server->artifacts);
    worker_destroy(server->chores);
    worker_destroy(server->commits);
    serving_usage_destroy(server->serving_usage);
    engines_destroy(server->engines);
    reconciler_destroy(server->reconciler);
    progress_destroy(server->progress);
    usage_destroy(server->usage);
    uids_destroy(server->uids);
    tokens_destroy(server->tokens);
    catalog_destroy(server->catalog);
    core_destroy(server->core);
    vault_close(server->vault);
    store_reader_close(server->reader);
    store_close(server->store);
    tls_server_destroy(life->tls);
    tls_client_destroy(server->trust);
    signals_finish(&life->signals);
    if (server->base)
        event_base_free(server->base);
}

int server_run(const struct server_config *config, struct error *err)
{
    struct life *life = mem_alloc(1, sizeof *life);
    life->server.config = *config;
    int rc = life_open(life, err);
    if (rc == 0) {
        say_ready(&life->server);
        event_base_dispatch(life->server.base);
        log_info("stopped");
    }
    life_close(life);
    free(life);
    return rc;
}
