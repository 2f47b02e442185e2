/* The gateway's main thread: it opens everything in its order, follows signals and news of the
 * workers, and closes it. See gateway.h; the other parts are named in gateway_internal.h. */
#include "gateway/gateway.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/vec.h"
#include "gateway/access_log.h"
#include "gateway/control.h"
#include "gateway/gateway_internal.h"
#include "gateway/handover.h"
#include "gateway/hook.h"
#include "gateway/limit_store.h"
#include "gateway/listen.h"
#include "gateway/post.h"
#include "gateway/recorder.h"
#include "gateway/redis_link.h"
#include "gateway/service_load.h"
#include "gateway/table.h"
#include "gateway/trace.h"
#include "gateway/worker.h"
#include "wire/signals.h"
#include "wire/tls.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    DRAIN_MS = 30000,
    KEEP_ALIVE_MS = 15000,
};
#define LISTEN           "127.0.0.1:8080"
#define ACCESS_LOG_BYTES ((int64_t)64 << 20)
#define CACHE_BYTES      ((int64_t)256 << 20)

/* ---- news of the workers, signals -------------------------------------------------------------
 */

static void on_news(evutil_socket_t fd, short what, void *context)
{
    struct gateway *gateway = context;
    uint64_t count;
    ssize_t ignored = read((int)fd, &count, sizeof count);
    (void)ignored, (void)what;
    uint64_t used = gateway_sequence_used(gateway);
    control_routes_used(gateway->control, used);
    if (load_take_demand(replica_states_terms(gateway->states)))
        control_load_changed(gateway->control);
    gateway_free_tables(gateway, used);
    if (!gateway->stopping || !gateway_all_workers(gateway, gateway_worker_drained))
        return;
    if (gateway_all_workers(gateway, gateway_worker_ended))
        event_base_loopbreak(gateway->base);
    else
        gateway_end_loops(gateway);
}

static void on_stop(evutil_socket_t number, short what, void *context)
{
    struct gateway *gateway = context;
    (void)what;
    if (gateway->stopping && !gateway->left)
        return;
    log_info("signal %d: ending what is under way", (int)number);
    gateway->left = false;
    gateway->stopping = true;
    handover_sockets_close_listeners(&gateway->sockets); /* who comes now is refused, not kept */
    for (int i = 0; i < gateway->worker_count; i++)
        gateway_worker_drain(gateway->workers[i]);
}

static void on_reload(evutil_socket_t number, short what, void *context)
{
    struct gateway *gateway = context;
    (void)number, (void)what;
    log_info("reading certificates and opening the access log anew");
    access_log_reopen(gateway->log);
    for (int i = 0; gateway->config.tls_cert && i < gateway->worker_count; i++)
        gateway_worker_reload(gateway->workers[i]);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* A connection of a client often comes with one to a replica. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_warn("the number of open files stays at its limit");
}

static int open_loop(struct gateway *gateway, struct error *err)
{
    gateway->base = event_base_new();
    gateway->news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!gateway->base || gateway->news_fd < 0)
        return error_set_errno(err, "cannot make the event loop");
    gateway->news =
        event_new(gateway->base, gateway->news_fd, EV_READ | EV_PERSIST, on_news, gateway);
    event_add(gateway->news, NULL);
    return 0;
}

/* Where to listen is for the first of a row of gateways to say. */
static int check_address(const struct gateway *gateway, struct error *err)
{
    const struct gateway_config *config = &gateway->config;
    bool tls = config->tls_cert != NULL;
    if (gateway->sockets.count == 0)
        return listen_check(config->listen, tls, err);
    return listen_allowed(gateway->sockets.address, tls, err);
}

/* What the hooks' thread and the workers will read later is of use. */
static int check_trust(const struct gateway *gateway, struct error *err)
{
    struct tls_client *tls = NULL;
    int rc = gateway->config.trust ? tls_client_create(gateway->config.trust, &tls, err) : 0;
    tls_client_destroy(tls);
    return rc < 0 ? error_prefix(err, "--trust") : 0;
}

static int open_recorder(struct gateway *gateway, struct error *err)
{
    char path[PATH_BYTES];
    gateway_path(gateway, "", path);
    if (hook_create(gateway->incarnation, gateway->config.trust, &gateway->hook, err) < 0 ||
        recorder_open(path, gateway->incarnation, &gateway->recorder, err) < 0)
        return -1;
    recorder_post_by(gateway->recorder, gateway->hook);
    return 0;
}

static int open_tracer(struct gateway *gateway, struct error *err)
{
    struct tracer_options options = gateway->config.traces;
    if (!options.address)
        return 0;
    options.instance = gateway->incarnation;
    return tracer_create(&options, gateway_worker_number(gateway), &gateway->tracer, err);
}

static int open_redis(struct gateway *gateway, struct error *err)
{
    const struct gateway_config *config = &gateway->config;
    const char *addresses[] = {config->limits.address, config->cache.address};
    bool needed = false;
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        if (addresses[i] && redis_address_check(addresses[i], err) < 0)
            return -1;
        needed |= addresses[i] != NULL;
    }
    return needed ? redis_library_load(&gateway->redis, err) : 0;
}

static int gateway_open(struct gateway *gateway, struct error *err)
{
    char path[PATH_BYTES];
    const struct gateway_config *config = &gateway->config;
    if (sodium_init() < 0)
        return error_set(err, ERR_INTERNAL, "libsodium cannot be used here");
    if (!config->tls_cert != !config->tls_key)
        return error_set(err, ERR_INVALID, "a certificate and its key belong together");
    if (gateway_make_folders(gateway, err) < 0 || check_address(gateway, err) < 0)
        return -1;
    if (open_redis(gateway, err) < 0)
        return -1;
    raise_descriptors();
    gateway_path(gateway, "access.log", path);
    if (check_trust(gateway, err) < 0 || open_loop(gateway, err) < 0 ||
        gateway_load_routes(gateway, err) < 0 ||
        access_log_open(path, config->access_log_bytes, &gateway->log, err) < 0 ||
        open_recorder(gateway, err) < 0 || open_tracer(gateway, err) < 0 ||
        gateway_start_workers(gateway, err) < 0 || gateway_replace_old(gateway, err) < 0 ||
        gateway_open_control(gateway, err) < 0 || gateway_open_handover(gateway, err) < 0)
        return -1;
    control_routes_used(gateway->control, gateway_sequence_used(gateway));
    signals_watch(&gateway->signals, gateway->base, on_stop, on_reload, gateway);
    gateway->upgrade = evsignal_new(gateway->base, SIGUSR2, gateway_on_upgrade, gateway);
    event_add(gateway->upgrade, NULL);
    return 0;
}

/* ---- closing --------------------------------------------------------------------------------- */

static void gateway_close(struct gateway *gateway)
{
    handover_close(gateway->handover);
    handover_old_free(gateway->old);
    control_close(gateway->control);
    gateway_end_workers(gateway);
    handover_sockets_close(&gateway->sockets);
    post_office_destroy(gateway->office);
    tracer_destroy(gateway->tracer);
    access_log_close(gateway->log);
    recorder_close(gateway->recorder);
    hook_destroy(gateway->hook);
    for (size_t i = 0; i < gateway->tables.count; i++)
        route_table_destroy(gateway->tables.items[i]);
    vec_free(&gateway->tables);
    replica_states_destroy(gateway->states);
    limit_store_close(gateway->limits);
    redis_library_free(gateway->redis);
    signals_finish(&gateway->signals);
    if (gateway->upgrade)
        event_free(gateway->upgrade);
    if (gateway->news)
        event_free(gateway->news);
    if (gateway->base)
        event_base_free(gateway->base);
    fd_scope(&gateway->news_fd);
    fd_scope(&gateway->lock_fd);
    fd_scope(&gateway->old_link);
}

static void say_ready(const struct gateway *gateway)
{
    log_info("gateway %s ready: %s on %s, %d workers", gateway->incarnation,
        gateway->config.tls_cert ? "https" : "http", gateway->listen, gateway->worker_count);
    handover_tell_systemd();
    if (gateway->config.ready_fd >= 0) {
        ssize_t ignored = write(gateway->config.ready_fd, "1", 1);
        (void)ignored;
        close(gateway->config.ready_fd);
    }
}

static void set_defaults(struct gateway_config *config)
{
    config->listen = config->listen ? config->listen : LISTEN;
    if (config->access_log_bytes <= 0)
        config->access_log_bytes = ACCESS_LOG_BYTES;
    if (config->cache_bytes <= 0)
        config->cache_bytes = CACHE_BYTES;
    if (config->drain_ms <= 0)
        config->drain_ms = DRAIN_MS;
    if (config->keep_alive_ms <= 0)
        config->keep_alive_ms = KEEP_ALIVE_MS;
}

int gateway_run(const struct gateway_config *config, struct error *err)
{
    struct gateway gateway = {.config = *config,
        .news_fd = -1,
        .lock_fd = -1,
        .old_link = -1,
        .sockets = {.control = -1}};
    set_defaults(&gateway.config);
    gateway.started_ns = clock_monotonic_ns();
    int rc = gateway_open(&gateway, err);
    if (rc == 0) {
        say_ready(&gateway);
        event_base_dispatch(gateway.base);
        log_info("gateway %s stopped", gateway.incarnation);
    }
    gateway_close(&gateway);
    return rc;
}
