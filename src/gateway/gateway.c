/* The gateway's main thread: it owns the folder, the routes on disk, the control socket and the
 * signals, and starts and ends the workers. See gateway.h.
 *
 * Tables of routes: the newest is offered to the workers; each says which one it uses; those that
 * all of them have left are freed. So nothing on a worker's path takes a lock or counts references.
 */
#include "gateway/gateway.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "gateway/access_log.h"
#include "gateway/control.h"
#include "gateway/figures.h"
#include "gateway/handover.h"
#include "gateway/hook.h"
#include "gateway/limit_store.h"
#include "gateway/listen.h"
#include "gateway/post.h"
#include "gateway/recorder.h"
#include "gateway/redis_link.h"
#include "gateway/relay_limits.h"
#include "gateway/service_load.h"
#include "gateway/table.h"
#include "gateway/trace.h"
#include "gateway/worker.h"
#include "wire/signals.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PATH_BYTES = 4096,
    DRAIN_MS = 30000,
    KEEP_ALIVE_MS = 15000,
    INCARNATION_BYTES = 8,
};
#define LISTEN           "127.0.0.1:8080"
#define ACCESS_LOG_BYTES ((int64_t)64 << 20)
#define CACHE_BYTES      ((int64_t)256 << 20)

static const char no_routes[] = "{\"generation\":0,\"keys\":[],\"services\":[]}";

struct gateway {
    struct gateway_config config;
    struct event_base *base;
    struct signal_watch signals;
    struct event *news;
    int news_fd; /* the workers' */
    int lock_fd;
    char incarnation[INCARNATION_BYTES * 2 + 1];
    char listen[300];
    int64_t started_ns;
    bool stopping;
    struct access_log *log;
    struct tracer *tracer; /* NULL: no collector */
    struct recorder *recorder;
    struct hook *hook;
    struct control *control;
    struct handover_sockets sockets; /* where all workers listen, to be handed over */
    int old_link;                    /* to the gateway that is replaced; -1: none */
    struct handover_old *old;        /* it, while it ends; NULL: none */
    bool left;                       /* another gateway took over */
    struct handover *handover;
    struct event *upgrade; /* SIGUSR2 */
    struct replica_states *states;
    struct redis_library *redis;      /* NULL: nothing is shared */
    struct limit_store *limits;       /* NULL: no routes needed it yet */
    VEC(struct route_table *) tables; /* the last is the newest; the others are on their way out */
    uint64_t sequence;
    struct post_office *office;
    struct gateway_worker *workers[GATEWAY_WORKERS_MAX];
    int worker_count;
};

static void path_in(const struct gateway *gateway, const char *name, char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, "%s/gateway%s%s", gateway->config.data_dir, *name ? "/" : "", name);
}

static struct route_table *newest(const struct gateway *gateway)
{
    return gateway->tables.items[gateway->tables.count - 1];
}

/* ---- routes ---------------------------------------------------------------------------------- */

static uint64_t sequence_used_by_all(const struct gateway *gateway)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < gateway->worker_count; i++) {
        uint64_t seen = gateway_worker_seen(gateway->workers[i]);
        least = seen < least ? seen : least;
    }
    return least;
}

static void free_left_tables(struct gateway *gateway, uint64_t used)
{
    while (gateway->tables.count > 1 && route_table_sequence(gateway->tables.items[0]) < used) {
        route_table_destroy(gateway->tables.items[0]);
        vec_remove(&gateway->tables, 0);
    }
    replica_states_sweep(gateway->states);
}

/* Made when the first limit comes, so that who has none pays for none. A gateway that cannot keep
 * the counters has them in memory: limits that forget with it are better than none. */
static int open_limits(struct gateway *gateway, struct route_table *table, struct error *err)
{
    char path[PATH_BYTES];
    struct error fault;
    path_in(gateway, "limits", path);
    if (!gateway->limits && relay_limits_needed(route_table_routes(table)) &&
        limit_store_open(path, &gateway->limits, &fault) < 0) {
        log_error("limits begin anew with each start of the gateway: %s", fault.text);
        if (limit_store_open(NULL, &gateway->limits, err) < 0)
            return -1;
    }
    route_table_set_limits(table, gateway->limits);
    return 0;
}

/* On disk before any worker has it: after a crash the gateway never goes back behind a 204. */
static int put_routes(
    void *context, const char *text, size_t length, uint64_t *ret_sequence, struct error *err)
{
    struct gateway *gateway = context;
    char path[PATH_BYTES];
    struct route_table *table;
    if (gateway->stopping)
        return error_set(err, ERR_UNAVAILABLE, "the gateway is ending");
    if (route_table_create(text, length, gateway->states, gateway->sequence + 1, &table, err) < 0)
        return -1;
    int64_t generation = route_table_routes(table)->generation;
    int64_t current = route_table_routes(newest(gateway))->generation;
    path_in(gateway, "routes.json", path);
    int rc = 0;
    if (generation < current)
        rc = error_set(err, ERR_CONFLICT,
            "generation %" PRId64 " is older than %" PRId64 ", which is in use", generation,
            current);
    if (rc < 0 || open_limits(gateway, table, err) < 0 ||
        file_write(path, text, length, 0600, err) < 0) {
        route_table_destroy(table);
        replica_states_sweep(gateway->states);
        return -1;
    }
    *ret_sequence = ++gateway->sequence;
    vec_push(&gateway->tables, table);
    for (int i = 0; i < gateway->worker_count; i++)
        gateway_worker_offer(gateway->workers[i], table);
    return 0;
}

/* Routes that cannot be used are left where they are and said aloud: the server sends new ones. */
static int load_routes(struct gateway *gateway, struct error *err)
{
    char path[PATH_BYTES];
    SCOPED(mem_scope) char *text = NULL;
    size_t length;
    struct route_table *table = NULL;
    struct error fault;
    path_in(gateway, "routes.json", path);
    gateway->states = replica_states_create();
    gateway->sequence = 1;
    if (file_read(path, ROUTES_BYTES_MAX, &text, &length, &fault) == 0 &&
        route_table_create(text, length, gateway->states, 1, &table, &fault) == 0)
        log_info(
            "routes of generation %" PRId64 " from disk", route_table_routes(table)->generation);
    else if (fault.code != ERR_NOT_FOUND)
        log_error("the routes on disk are not used: %s", fault.text);
    if (!table &&
        route_table_create(no_routes, strlen(no_routes), gateway->states, 1, &table, err) < 0)
        return -1;
    vec_push(&gateway->tables, table);
    return open_limits(gateway, table, err);
}

/* ---- news of the workers, signals -------------------------------------------------------------
 */

typedef bool worker_test_fn(const struct gateway_worker *worker);

static bool all_workers(const struct gateway *gateway, worker_test_fn *test)
{
    for (int i = 0; i < gateway->worker_count; i++) {
        if (!test(gateway->workers[i]))
            return false;
    }
    return true;
}

/* They end together: one that is done may still be asked by another. */
static void end_loops(struct gateway *gateway)
{
    for (int i = 0; i < gateway->worker_count; i++)
        gateway_worker_end(gateway->workers[i]);
}

static void on_news(evutil_socket_t fd, short what, void *context)
{
    struct gateway *gateway = context;
    uint64_t count;
    ssize_t ignored = read((int)fd, &count, sizeof count);
    (void)ignored, (void)what;
    uint64_t used = sequence_used_by_all(gateway);
    control_routes_used(gateway->control, used);
    if (load_take_demand(replica_states_terms(gateway->states)))
        control_load_changed(gateway->control);
    free_left_tables(gateway, used);
    if (!gateway->stopping || !all_workers(gateway, gateway_worker_drained))
        return;
    if (all_workers(gateway, gateway_worker_ended))
        event_base_loopbreak(gateway->base);
    else
        end_loops(gateway);
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

/* ---- another gateway takes over ----------------------------------------------------------------
 */

static void give_sockets(void *context, struct handover_sockets *ret)
{
    const struct gateway *gateway = context;
    *ret = gateway->sockets;
    snprintf(ret->address, sizeof ret->address, "%s", gateway->listen);
    ret->control = control_fd(gateway->control);
}

/* From here on the other one is the gateway; this one ends as its requests do. */
static void let_go(void *context)
{
    struct gateway *gateway = context;
    log_info("gateway %s was replaced: ending what is under way", gateway->incarnation);
    gateway->stopping = gateway->left = true;
    control_leave(gateway->control);
    access_log_share(gateway->log);
    handover_sockets_close_listeners(&gateway->sockets);
    for (int i = 0; i < gateway->worker_count; i++)
        gateway_worker_retire(gateway->workers[i]);
    fd_scope(&gateway->lock_fd);
    gateway->lock_fd = -1;
}

/* Requests that are still under way at replicas, as GET /status lists them. */
static void write_left(void *context, struct strbuf *out)
{
    const struct gateway *gateway = context;
    replica_states_write(gateway->states, out);
}

static void on_upgrade(evutil_socket_t number, short what, void *context)
{
    const struct gateway *gateway = context;
    struct error err;
    (void)number, (void)what;
    if (gateway->stopping)
        return;
    log_info("starting the program anew, to take over");
    if (handover_respawn(&err) < 0)
        log_error("%s: this gateway goes on", err.text);
}

/* ---- figures --------------------------------------------------------------------------------- */

static void collect(const struct gateway *gateway, struct figures *ret)
{
    *ret = (struct figures){.generation = route_table_routes(newest(gateway))->generation,
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

/* ---- opening --------------------------------------------------------------------------------- */

static int take_lock(struct gateway *gateway, struct error *err)
{
    char path[PATH_BYTES];
    path_in(gateway, "lock", path);
    gateway->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (gateway->lock_fd < 0)
        return error_set_errno(err, "cannot open %s", path);
    if (flock(gateway->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return error_set(err, ERR_CONFLICT, "another gateway runs on %s", gateway->config.data_dir);
    char text[32];
    int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(gateway->lock_fd, 0) < 0 ||
        pwrite(gateway->lock_fd, text, (size_t)length, 0) != length)
        log_warn("the process id could not be written into %s", path);
    return 0;
}

/* The id in the file is good for as long as somebody holds the lock. */
pid_t gateway_running(const char *data_dir)
{
    char path[PATH_BYTES], text[32] = "";
    snprintf(path, sizeof path, "%s/gateway/lock", data_dir);
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    /* Who writes its number there has the lock already, and what a dead one wrote does not count.
     */
    if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0 || read(fd, text, sizeof text - 1) <= 0)
        return 0;
    long pid = strtol(text, NULL, 10);
    return pid > 1 ? (pid_t)pid : 0;
}

void gateway_stop(const char *data_dir)
{
    pid_t pid = gateway_running(data_dir);
    if (pid)
        kill(pid, SIGTERM);
}

/* What a gateway left that died while it made a usage file. Only the holder of the lock may. */
static void remove_unfinished(const char *folder)
{
    DIR *stream = opendir(folder);
    const struct dirent *entry;
    while (stream && (entry = readdir(stream))) {
        if (entry->d_name[0] == '.' && entry->d_name[1] && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(stream), entry->d_name, 0);
    }
    if (stream)
        closedir(stream);
}

/* The lock; or, in the place of a gateway that runs, its sockets: it keeps the lock for now. */
static int take_place(struct gateway *gateway, struct error *err)
{
    char path[PATH_BYTES];
    struct error fault;
    path_in(gateway, "handover.sock", path);
    if (!gateway->config.replace)
        return take_lock(gateway, err) < 0 ? -1 : handover_inherited(&gateway->sockets, err);
    if (handover_take(path, &gateway->sockets, &gateway->old_link, &fault) == 0)
        return 0;
    if (fault.code != ERR_NOT_FOUND)
        return error_set(err, fault.code, "%s", fault.text);
    return take_lock(gateway, err) < 0 ? -1 : handover_inherited(&gateway->sockets, err);
}

static int make_folders(struct gateway *gateway, struct error *err)
{
    char path[PATH_BYTES];
    unsigned char bytes[INCARNATION_BYTES];
    const char *data_dir = gateway->config.data_dir;
    if (data_dir[0] != '/')
        return error_set(
            err, ERR_INVALID, "the data directory %s is not an absolute path", data_dir);
    /* Teams' users pass through to the folders of their jobs, as the server makes it. */
    if (file_make_dirs(data_dir, 0711, err) < 0)
        return -1;
    path_in(gateway, "usage", path);
    if (file_make_dirs(path, 0700, err) < 0 || take_place(gateway, err) < 0)
        return -1;
    if (gateway->old_link < 0)
        remove_unfinished(path);
    randombytes_buf(bytes, sizeof bytes);
    sodium_bin2hex(gateway->incarnation, sizeof gateway->incarnation, bytes, sizeof bytes);
    return 0;
}

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

static int worker_number(const struct gateway *gateway)
{
    long count = gateway->config.workers;
    if (count <= 0)
        count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > GATEWAY_WORKERS_MAX ? GATEWAY_WORKERS_MAX : (int)count;
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
static int start_workers(struct gateway *gateway, struct error *err)
{
    char usage[PATH_BYTES];
    const struct gateway_config *config = &gateway->config;
    struct worker_options options = {.tls_cert = config->tls_cert,
        .tls_key = config->tls_key,
        .requests_per_s = (uint32_t)config->requests_per_s,
        .drain_ms = config->drain_ms,
        .keep_alive_ms = config->keep_alive_ms,
        .usage_folder = usage,
        .incarnation = gateway->incarnation,
        .log = gateway->log,
        .main_fd = gateway->news_fd};
    const struct handover_sockets handed = gateway->sockets;
    int count = worker_number(gateway);
    if (post_office_create(count, &gateway->office, err) < 0)
        return -1;
    options.office = gateway->office;
    options.recorder = gateway->recorder;
    options.redis = gateway->redis;
    options.shared = &config->limits;
    options.cache_shared = &config->cache;
    options.tracer = gateway->tracer;
    options.cache_bytes = config->cache_bytes / count;
    path_in(gateway, "usage", usage);
    snprintf(gateway->listen, sizeof gateway->listen, "%s",
        gateway->sockets.count > 0 ? gateway->sockets.address : config->listen);
    for (int i = 0; i < count; i++) {
        uint16_t port = 0;
        int chosen[HANDOVER_SOCKETS_MAX];
        options.number = i;
        options.listen = gateway->listen;
        choose_listeners(&handed, count, chosen, &options);
        if (gateway_worker_start(&options, newest(gateway), &gateway->workers[i], &port, err) < 0)
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

static int open_control(struct gateway *gateway, struct error *err)
{
    char path[PATH_BYTES];
    struct control_host host = {.context = gateway,
        .put_routes = put_routes,
        .write_status = write_status,
        .write_metrics = write_metrics,
        .write_load = write_load};
    path_in(gateway, "control.sock", path);
    int fd = gateway->sockets.control;
    gateway->sockets.control = -1;
    return control_open(gateway->base, path, fd, &host, &gateway->control, err);
}

static int open_handover(struct gateway *gateway, struct error *err)
{
    char path[PATH_BYTES];
    const struct handover_host host = {
        .context = gateway, .sockets = give_sockets, .let_go = let_go, .state = write_left};
    path_in(gateway, "handover.sock", path);
    return handover_open(gateway->base, path, &host, &gateway->handover, err);
}

/* Routes that came to the one before while this one began. */
static void catch_up(struct gateway *gateway)
{
    char path[PATH_BYTES];
    SCOPED(mem_scope) char *text = NULL;
    size_t length;
    uint64_t sequence;
    struct error fault;
    path_in(gateway, "routes.json", path);
    if (file_read(path, ROUTES_BYTES_MAX, &text, &length, &fault) < 0 ||
        put_routes(gateway, text, length, &sequence, &fault) < 0)
        log_warn("the routes stay as they were at the start: %s", fault.text);
}

/* The one before lets go, now that the workers answer here. */
static int replace_old(struct gateway *gateway, struct error *err)
{
    if (gateway->old_link < 0)
        return 0;
    if (handover_finish(gateway->old_link, err) < 0 || take_lock(gateway, err) < 0)
        return -1;
    gateway->old = handover_follow(gateway->base, gateway->old_link);
    gateway->old_link = -1;
    catch_up(gateway);
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

static int open_recorder(struct gateway *gateway, struct error *err)
{
    char path[PATH_BYTES];
    path_in(gateway, "", path);
    if (hook_create(gateway->incarnation, &gateway->hook, err) < 0 ||
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
    return tracer_create(&options, worker_number(gateway), &gateway->tracer, err);
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
    if (make_folders(gateway, err) < 0 || check_address(gateway, err) < 0)
        return -1;
    if (open_redis(gateway, err) < 0)
        return -1;
    raise_descriptors();
    path_in(gateway, "access.log", path);
    if (open_loop(gateway, err) < 0 || load_routes(gateway, err) < 0 ||
        access_log_open(path, config->access_log_bytes, &gateway->log, err) < 0 ||
        open_recorder(gateway, err) < 0 || open_tracer(gateway, err) < 0 ||
        start_workers(gateway, err) < 0 || replace_old(gateway, err) < 0 ||
        open_control(gateway, err) < 0 || open_handover(gateway, err) < 0)
        return -1;
    control_routes_used(gateway->control, sequence_used_by_all(gateway));
    signals_watch(&gateway->signals, gateway->base, on_stop, on_reload, gateway);
    gateway->upgrade = evsignal_new(gateway->base, SIGUSR2, on_upgrade, gateway);
    event_add(gateway->upgrade, NULL);
    return 0;
}

/* ---- closing --------------------------------------------------------------------------------- */

/* A gateway that could not open everything has workers that were not told yet. */
static void end_workers(struct gateway *gateway)
{
    struct worker_view *views[GATEWAY_WORKERS_MAX];
    for (int i = 0; i < gateway->worker_count; i++)
        gateway_worker_drain(gateway->workers[i]);
    end_loops(gateway);
    for (int i = 0; i < gateway->worker_count; i++)
        gateway_worker_join(gateway->workers[i]);
    for (int i = 0; i < gateway->worker_count; i++)
        views[i] = gateway_worker_view(gateway->workers[i]);
    if (gateway->worker_count > 0 && gateway->worker_count == post_office_workers(gateway->office))
        post_office_settle(gateway->office, views);
    for (int i = 0; i < gateway->worker_count; i++)
        gateway_worker_free(gateway->workers[i]);
}

static void gateway_close(struct gateway *gateway)
{
    handover_close(gateway->handover);
    handover_old_free(gateway->old);
    control_close(gateway->control);
    end_workers(gateway);
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
