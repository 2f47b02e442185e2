/* A worker's life: see worker.h. */
#include "gateway/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/thread.h"
#include "gateway/cache.h"
#include "gateway/cache_shared.h"
#include "gateway/feedback.h"
#include "gateway/key_memo.h"
#include "gateway/limit_shared.h"
#include "gateway/post.h"
#include "gateway/relay.h"
#include "gateway/relay_batch.h"
#include "gateway/relay_cache.h"
#include "gateway/relay_guard.h"
#include "gateway/secondary.h"
#include "gateway/shadow.h"
#include "gateway/usage.h"
#include "gateway/worker_loop.h"
#include "wire/http.h"
#include "wire/http_agent.h"
#include "wire/tls.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 16384, CONNECTIONS_PER_PEER_MAX = 2048 };

struct gateway_worker {
    struct worker_view view;
    struct worker_figures figures;
    struct worker_options options;
    struct worker_loop loop;
    pthread_t thread;
    struct http_server *http;
    struct http_agent *agent;
    struct tls_server *tls;
    struct http_endpoint **endpoints; /* by table_replica.index; NULL: not asked yet */
    struct event *wake;
    struct post_box *box;
    int listener; /* of http, for the main thread */
    bool retiring;
    /* The mailbox: written by the main thread, then wake_fd. */
    int wake_fd;
    _Atomic(const struct route_table *) offered;
    atomic_bool reload, drain, retire, end;
    /* The answers, then main_fd. */
    atomic_uint_fast64_t seen;
    atomic_bool drained, ended;
};

static void poke(int fd)
{
    uint64_t one = 1;
    ssize_t ignored = write(fd, &one, sizeof one);
    (void)ignored;
}

/* ---- routes ---------------------------------------------------------------------------------- */

static void release_endpoints(struct http_endpoint **endpoints, size_t count)
{
    for (size_t i = 0; i < count; i++)
        http_endpoint_release(endpoints[i]);
    free(endpoints);
}

/* Replicas that stay keep their connections; those of the others close when they are idle. */
static void move_endpoints(struct gateway_worker *worker, const struct route_table *next)
{
    const struct route_table *before = worker->view.table;
    size_t old_count = before ? route_table_replica_count(before) : 0;
    size_t count = route_table_replica_count(next);
    struct http_endpoint **endpoints = mem_alloc(count + 1, sizeof(struct http_endpoint *));
    SCOPED(idmap_finish) struct idmap indexes = {0};
    for (size_t i = 0; i < old_count; i++)
        idmap_put(&indexes, (uint64_t)(uintptr_t)route_table_replica(before, i)->state,
            &worker->endpoints[i]);
    for (size_t i = 0; i < count; i++) {
        struct http_endpoint **old =
            idmap_get(&indexes, (uint64_t)(uintptr_t)route_table_replica(next, i)->state);
        if (old) {
            endpoints[i] = *old;
            *old = NULL;
        }
    }
    release_endpoints(worker->endpoints, old_count);
    worker->endpoints = endpoints;
}

static void take_table(struct gateway_worker *worker)
{
    const struct route_table *next = atomic_load_explicit(&worker->offered, memory_order_acquire);
    if (next == worker->view.table)
        return;
    move_endpoints(worker, next);
    worker->view.table = next;
    /* Released: the main thread frees the table before once it has seen this. */
    atomic_store_explicit(&worker->seen, route_table_sequence(next), memory_order_release);
    poke(worker->options.main_fd);
    relay_wake_waiting(&worker->view);
    if (worker->view.batcher)
        batcher_table_changed(worker->view.batcher);
}

void gateway_worker_tell(const struct gateway_worker *worker)
{
    poke(worker->options.main_fd);
}

struct http_endpoint *gateway_worker_endpoint(
    struct gateway_worker *worker, const struct table_replica *replica)
{
    struct http_endpoint **endpoint = &worker->endpoints[replica->index];
    struct error err;
    if (!*endpoint && http_endpoint_create(worker->agent, replica->route->address,
                          replica->route->uid, endpoint, &err) < 0)
        log_warn("replica %llu cannot be used: %s", (unsigned long long)replica->route->replica,
            err.text);
    return *endpoint;
}

/* ---- the mailbox ----------------------------------------------------------------------------- */

static void on_drained(void *context)
{
    struct gateway_worker *worker = context;
    atomic_store(&worker->drained, true);
    poke(worker->options.main_fd);
}

static void begin_drain(struct gateway_worker *worker)
{
    if (worker->view.draining)
        return;
    worker->view.draining = true;
    http_server_drain(worker->http, worker->options.drain_ms, on_drained, worker);
}

static void begin_retiring(struct gateway_worker *worker)
{
    if (worker->retiring || worker->view.draining)
        return;
    worker->retiring = true;
    http_server_retire(worker->http, worker->options.drain_ms, on_drained, worker);
}

static void reload_tls(struct gateway_worker *worker)
{
    struct error err;
    if (http_server_reload_tls(worker->http, &err) < 0)
        log_error(
            "worker %d: the certificates stay as they were: %s", worker->options.number, err.text);
}

static void on_wake(evutil_socket_t fd, short what, void *context)
{
    struct gateway_worker *worker = context;
    uint64_t count;
    ssize_t ignored = read((int)fd, &count, sizeof count);
    (void)ignored, (void)what;
    take_table(worker);
    if (atomic_exchange(&worker->reload, false))
        reload_tls(worker);
    if (atomic_load(&worker->retire))
        begin_retiring(worker);
    if (atomic_load(&worker->drain))
        begin_drain(worker);
    if (atomic_load(&worker->end))
        event_base_loopbreak(worker->view.base);
}

void gateway_worker_offer(struct gateway_worker *worker, const struct route_table *table)
{
    atomic_store_explicit(&worker->offered, table, memory_order_release);
    poke(worker->wake_fd);
}

uint64_t gateway_worker_seen(const struct gateway_worker *worker)
{
    return atomic_load_explicit(&worker->seen, memory_order_acquire);
}

void gateway_worker_reload(struct gateway_worker *worker)
{
    atomic_store(&worker->reload, true);
    poke(worker->wake_fd);
}

int gateway_worker_listener(const struct gateway_worker *worker)
{
    return worker->listener;
}

void gateway_worker_retire(struct gateway_worker *worker)
{
    atomic_store(&worker->retire, true);
    poke(worker->wake_fd);
}

void gateway_worker_drain(struct gateway_worker *worker)
{
    atomic_store(&worker->drain, true);
    poke(worker->wake_fd);
}

bool gateway_worker_drained(const struct gateway_worker *worker)
{
    return atomic_load(&worker->drained);
}

void gateway_worker_end(struct gateway_worker *worker)
{
    atomic_store(&worker->end, true);
    poke(worker->wake_fd);
}

bool gateway_worker_ended(const struct gateway_worker *worker)
{
    return atomic_load(&worker->ended);
}

const struct worker_figures *gateway_worker_figures(const struct gateway_worker *worker)
{
    return &worker->figures;
}

struct worker_view *gateway_worker_view(struct gateway_worker *worker)
{
    return &worker->view;
}

/* ---- opening and closing --------------------------------------------------------------------- */

static void on_request(struct http_request *request, void *context)
{
    relay_begin(context, request);
}

static int share_listeners(struct gateway_worker *worker, struct error *err)
{
    const struct worker_options *options = &worker->options;
    for (int i = 0; i < options->listener_count; i++) {
        int fd = fcntl(options->listeners[i], F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            return error_set_errno(err, "cannot take over a socket");
        if (http_server_listen_fd(worker->http, fd, NULL, worker->tls, err) < 0)
            return -1;
    }
    return 0;
}

static void on_throttled(struct http_request *request, uint32_t retry_after_s, void *context)
{
    relay_throttle(context, request, retry_after_s);
}

/* Requests of clients become requests to replicas, answers of replicas answers to clients. With
 * many ready at once each would come back to its memory only after all the others had theirs. */
static void after_conn(void *ctx)
{
    struct gateway_worker *worker = ctx;
    worker_loop_served(&worker->loop);
    http_agent_relieve(worker->agent);
}

static void after_link(void *ctx)
{
    struct gateway_worker *worker = ctx;
    worker_loop_served(&worker->loop);
    http_server_relieve(worker->http);
}

/* Answers before requests: what is under way ends before more is begun, while it is in the caches.
 */
static bool serve_sockets(void *ctx)
{
    struct gateway_worker *worker = ctx;
    bool any = http_agent_look(worker->agent) > 0;
    any |= http_server_look(worker->http) > 0;
    any |= http_server_serve(worker->http);
    any |= http_agent_serve(worker->agent);
    return any;
}

static void set_sockets_apart(void *ctx, bool apart)
{
    struct gateway_worker *worker = ctx;
    http_agent_set_apart(worker->agent, apart);
    http_server_set_apart(worker->http, apart);
}

static int open_server(struct gateway_worker *worker, uint16_t *ret_port, struct error *err)
{
    static const struct http_field common[] = {{"X-Content-Type-Options", "nosniff"}};
    const struct worker_options *options = &worker->options;
    struct http_server_options http = {.handler = on_request,
        .ctx = worker,
        .common_fields = common,
        .common_field_count = ARRAY_LEN(common),
        .http2 = true,
        .unpack_bodies = true,
        .connections_max = CONNECTIONS_MAX,
        .connections_per_peer_max = CONNECTIONS_PER_PEER_MAX,
        .requests_per_s = options->requests_per_s,
        .after_event = after_conn,
        .refusal = relay_refusal,
        .throttled = on_throttled};
    if (options->tls_cert &&
        tls_server_create(options->tls_cert, options->tls_key, &worker->tls, err) < 0)
        return -1;
    worker->http = http_server_create(worker->view.base, &http);
    if (options->listener_count > 0)
        return share_listeners(worker, err);
    return http_server_listen_tcp_shared(worker->http, options->listen, worker->tls, ret_port, err);
}

static int worker_open(struct gateway_worker *worker, uint16_t *ret_port, struct error *err)
{
    worker->view.base = event_base_new();
    worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!worker->view.base || worker->wake_fd < 0)
        return error_set_errno(err, "cannot make a worker's loop");
    worker_loop_init(&worker->loop, worker->view.base,
        &(struct loop_sockets){serve_sockets, set_sockets_apart, worker});
    worker->wake =
        event_new(worker->view.base, worker->wake_fd, EV_READ | EV_PERSIST, on_wake, worker);
    event_add(worker->wake, NULL);
    worker->view.office = worker->options.office;
    if (worker->options.redis && worker->options.cache_shared->address)
        worker->view.cache_shared = cache_shared_open(worker->options.redis, worker->view.base,
            worker->options.cache_shared, &worker->figures);
    if (worker->options.redis && worker->options.shared->address)
        worker->view.shared =
            limit_shared_open(worker->options.redis, worker->view.base, worker->options.shared);
    worker->view.keys = key_memo_create();
    randombytes_buf(&worker->view.names_begin, sizeof worker->view.names_begin);
    randombytes_buf(&worker->view.names, sizeof worker->view.names);
    worker->view.cache = relay_cache_create((size_t)worker->options.cache_bytes);
    if (batcher_create(worker, &worker->view.batcher, err) < 0)
        return -1;
    worker->box = post_box_open(
        worker->view.office, worker->options.number, worker->view.base, &worker->view);
    /* With fewer, 256 clients of one replica had every third request open a connection anew. They
     * are only kept for the moment: those that are not used are closed. */
    const struct http_agent_options agent = {
        .idle_max = 1024, .after_event = after_link, .ctx = worker};
    worker->agent = http_agent_create(worker->view.base, &agent);
    worker->view.shadows = shadow_sender_create(worker);
    worker->view.feedback = feedback_create();
    worker->view.secondary = secondary_create(worker);
    if (usage_file_create(worker->options.usage_folder, worker->options.incarnation,
            worker->options.number, &worker->view.usage, err) < 0)
        return -1;
    if (open_server(worker, ret_port, err) < 0)
        return -1;
    worker->listener = http_server_listener_fd(worker->http);
    return 0;
}

static void worker_close(struct gateway_worker *worker)
{
    http_server_destroy(worker->http);
    limit_shared_close(worker->view.shared);
    cache_shared_close(worker->view.cache_shared);
    post_box_close(worker->box);
    batcher_destroy(worker->view.batcher);
    shadow_sender_destroy(worker->view.shadows);
    feedback_destroy(worker->view.feedback);
    cache_destroy(worker->view.cache);
    secondary_destroy(worker->view.secondary);
    if (worker->view.table)
        release_endpoints(worker->endpoints, route_table_replica_count(worker->view.table));
    http_agent_destroy(worker->agent);
    guard_worker_free(worker->view.guard);
    relay_free_spares(&worker->view);
    tls_server_destroy(worker->tls);
    usage_file_close(worker->view.usage);
    key_memo_destroy(worker->view.keys);
    if (worker->wake)
        event_free(worker->wake);
    if (worker->view.base)
        event_base_free(worker->view.base);
    fd_scope(&worker->wake_fd);
    free(worker);
}

static void *worker_thread(void *argument)
{
    struct gateway_worker *worker = argument;
    thread_be_prompt();
    worker_loop_run(&worker->loop);
    atomic_store(&worker->ended, true);
    poke(worker->options.main_fd);
    return NULL;
}

int gateway_worker_start(const struct worker_options *options, const struct route_table *table,
    struct gateway_worker **ret, uint16_t *ret_port, struct error *err)
{
    struct gateway_worker *worker = mem_alloc(1, sizeof *worker);
    worker->options = *options;
    worker->view.number = options->number;
    worker->view.figures = &worker->figures;
    worker->view.log = options->log;
    worker->view.tracer = options->tracer;
    worker->view.recorder = options->recorder;
    worker->view.trust = options->trust;
    worker->view.draws = (uint64_t)clock_monotonic_ns() ^ (uint64_t)options->number << 56;
    worker->view.keep_alive_ms = options->keep_alive_ms;
    worker->wake_fd = -1;
    TAILQ_INIT(&worker->view.waiting);
    TAILQ_INIT(&worker->view.spares);
    if (worker_open(worker, ret_port, err) < 0) {
        worker_close(worker);
        return -1;
    }
    atomic_store(&worker->offered, table);
    take_table(worker);
    int rc = thread_start(&worker->thread, worker_thread, worker);
    if (rc != 0) {
        errno = rc;
        error_set_errno(err, "cannot start a worker's thread");
        worker_close(worker);
        return -1;
    }
    *ret = worker;
    return 0;
}

void gateway_worker_join(struct gateway_worker *worker)
{
    pthread_join(worker->thread, NULL);
    /* The server goes first: it cancels the requests, which give up their exchanges. */
    http_server_destroy(worker->http);
    worker->http = NULL;
    /* Tickets that wait for it are sent back, while there is somebody to settle them. */
    cache_shared_close(worker->view.cache_shared);
    worker->view.cache_shared = NULL;
}

void gateway_worker_free(struct gateway_worker *worker)
{
    if (worker)
        worker_close(worker);
}
