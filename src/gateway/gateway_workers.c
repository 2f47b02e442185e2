/* The workers, from the main thread: started together, with their part of the sockets, and ended
 * together, since one that is done may still be asked by another. */
#include "gateway/gateway_internal.h"

#include "base/processors.h"
#include "gateway/handover.h"
#include "gateway/listen.h"
#include "gateway/post.h"
#include "gateway/worker.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool gateway_all_workers(const struct gateway *gateway, worker_test_fn *test)
{
    for (int i = 0; i < gateway->worker_count; i++) {
        if (!test(gateway->workers[i]))
            return false;
    }
    return true;
}

/* They end together: one that is done may still be asked by another. */
void gateway_end_loops(struct gateway *gateway)
{
    for (int i = 0; i < gateway->worker_count; i++)
        gateway_worker_end(gateway->workers[i]);
}

int gateway_worker_number(const struct gateway *gateway)
{
    int count = gateway->config.workers > 0 ? gateway->config.workers : processors_allowed();
    return count > GATEWAY_WORKERS_MAX ? GATEWAY_WORKERS_MAX : count;
}

/* Its part of the sockets that listen already. With more workers than sockets some share one. */
static void choose_listeners(const struct handover_sockets *sockets, int count,
    int chosen[HANDOVER_SOCKETS_MAX], struct worker_options *options)
{
    options->listeners = chosen;
    options->listener_count = 0;
    for (int i = options->number; i < sockets->count; i += count)
        chosen[options->listener_count++] = sockets->fds[i];
    if (options->listener_count == 0 && sockets->count > 0)
        chosen[options->listener_count++] = sockets->fds[options->number % sockets->count];
}

/* The first worker finds the port when none is given; the others share it. */
int gateway_start_workers(struct gateway *gateway, struct error *err)
{
    char usage[PATH_BYTES];
    const struct gateway_config *config = &gateway->config;
    struct worker_options options = {.tls_cert = config->tls_cert,
        .trust = config->trust,
        .tls_key = config->tls_key,
        .requests_per_s = (uint32_t)config->requests_per_s,
        .drain_ms = config->drain_ms,
        .keep_alive_ms = config->keep_alive_ms,
        .usage_folder = usage,
        .incarnation = gateway->incarnation,
        .log = gateway->log,
        .main_fd = gateway->news_fd};
    const struct handover_sockets handed = gateway->sockets;
    int count = gateway_worker_number(gateway);
    if (post_office_create(count, &gateway->office, err) < 0)
        return -1;
    options.office = gateway->office;
    options.recorder = gateway->recorder;
    options.redis = gateway->redis;
    options.shared = &config->limits;
    options.cache_shared = &config->cache;
    options.tracer = gateway->tracer;
    options.cache_bytes = config->cache_bytes / count;
    gateway_path(gateway, "usage", usage);
    snprintf(gateway->listen, sizeof gateway->listen, "%s",
        gateway->sockets.count > 0 ? gateway->sockets.address : config->listen);
    for (int i = 0; i < count; i++) {
        uint16_t port = 0;
        int chosen[HANDOVER_SOCKETS_MAX];
        options.number = i;
        options.listen = gateway->listen;
        choose_listeners(&handed, count, chosen, &options);
        if (gateway_worker_start(
                &options, gateway_newest(gateway), &gateway->workers[i], &port, err) < 0)
            return -1;
        gateway->worker_count++;
        if (handed.count > 0)
            continue;
        gateway->sockets.fds[gateway->sockets.count++] =
            fcntl(gateway_worker_listener(gateway->workers[i]), F_DUPFD_CLOEXEC, 0);
        char given[sizeof gateway->listen];
        memcpy(given, gateway->listen, sizeof given);
        listen_with_port(given, port, gateway->listen, sizeof gateway->listen);
    }
    return 0;
}

/* A gateway that could not open everything has workers that were not told yet. */
void gateway_end_workers(struct gateway *gateway)
{
    struct worker_view *views[GATEWAY_WORKERS_MAX];
    for (int i = 0; i < gateway->worker_count; i++)
        gateway_worker_drain(gateway->workers[i]);
    gateway_end_loops(gateway);
    for (int i = 0; i < gateway->worker_count; i++)
        gateway_worker_join(gateway->workers[i]);
    for (int i = 0; i < gateway->worker_count; i++)
        views[i] = gateway_worker_view(gateway->workers[i]);
    if (gateway->worker_count > 0 && gateway->worker_count == post_office_workers(gateway->office))
        post_office_settle(gateway->office, views);
    for (int i = 0; i < gateway->worker_count; i++)
        gateway_worker_free(gateway->workers[i]);
}
