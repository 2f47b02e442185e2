/* Checks of replicas. Each replica has one timer and at most one exchange: first its startup check
 * until that holds once, then readiness and liveness, each when it is due. What they find is told
 * to the core as a report; the core decides what becomes of the replica.
 *
 * A replica is as hostile as any job: it is connected to only at a socket of its own uid, its
 * answers are bounded in length and time, and nothing of them but the status is used. */
#include "server/engines.h"
#include "server/services_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "core/core.h"
#include "engine/engine.h"
#include "server/launch.h"
#include "server/ticker.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    CHECKS_MAX = 128,         /* exchanges under way at once */
    BUSY_RETRY_MS = 20,       /* when there are that many */
    ANSWER_BYTES_MAX = 65536, /* of a check's answer; what is longer is broken off */
};

static const char *const check_names[CHECK_COUNT] = {"startup", "readiness", "liveness"};

static int64_t now_ms(void)
{
    return clock_monotonic_ns() / 1000000;
}

struct replica *services_replica(const struct services *services, uint64_t job)
{
    return idmap_get(&services->by_job, job);
}

/* ---- telling the core ------------------------------------------------------------------------ */

struct finding {
    uint64_t job, attempt;
    enum replica_report report;
};

static int run_finding(struct tick *tick, void *context, struct error *err)
{
    const struct finding *finding = context;
    (void)err;
    core_replica_report(tick_core(tick), finding->job, finding->attempt, finding->report);
    return 0;
}

/* Said as often as it is found: a report that got lost is made good by the next, and one that says
 * nothing new is not made at all. */
static void tell(struct replica *replica, enum replica_report report)
{
    struct server *server = replica->services->server;
    const struct replica_row *row = core_replica_of(server->core, replica->job);
    bool ready = row && row->ready && row->attempt == replica->attempt;
    if (!row || (report == REPLICA_READY && ready) || (report == REPLICA_UNREADY && !ready))
        return;
    struct finding *finding = mem_alloc(1, sizeof *finding);
    *finding = (struct finding){replica->job, replica->attempt, report};
    ticker_report(server->ticker, "services", run_finding, free, finding);
}

/* ---- a check --------------------------------------------------------------------------------- */

static const struct replica_probe *probe_of(const struct revision *revision, enum check check)
{
    const struct replica_probe *const probes[] = {
        &revision->startup, &revision->readiness, &revision->liveness};
    return probes[check];
}

static void wake_in(struct replica *replica, int64_t ms)
{
    struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    event_add(replica->timer, &delay);
}

static void schedule(struct replica *replica)
{
    int64_t due = replica->due_ms[CHECK_STARTUP];
    if (replica->started) {
        int64_t ready = replica->due_ms[CHECK_READINESS], alive = replica->due_ms[CHECK_LIVENESS];
        due = ready < alive ? ready : alive;
    }
    int64_t wait = due - now_ms();
    wake_in(replica, wait > 0 ? wait : 0);
}

static void held(struct replica *replica, const struct revision *revision)
{
    replica->failures[replica->check] = 0;
    if (replica->check != CHECK_LIVENESS)
        replica->trouble[0] = '\0';
    if (replica->check == CHECK_STARTUP) {
        replica->started = true;
        replica->due_ms[CHECK_READINESS] = now_ms();
        replica->due_ms[CHECK_LIVENESS] = now_ms() + revision->liveness.period_ms;
    } else if (replica->check == CHECK_READINESS) {
        tell(replica, REPLICA_READY);
    }
}

static void failed(struct replica *replica, const struct revision *revision, const char *text)
{
    const struct replica_probe *probe = probe_of(revision, replica->check);
    int64_t count = ++replica->failures[replica->check];
    snprintf(replica->trouble, sizeof replica->trouble, "%s check failed %" PRId64 " time%s: %s",
        check_names[replica->check], count, count == 1 ? "" : "s", text);
    if (count < probe->failures)
        return;
    tell(replica, replica->check == CHECK_READINESS ? REPLICA_UNREADY : REPLICA_UNHEALTHY);
}

/* text NULL: it held. */
static void conclude(struct replica *replica, const char *text)
{
    const struct revision *revision =
        services_revision_of(replica->services, replica->service, replica->revision);
    replica->exchange = NULL;
    replica->services->checks--;
    if (!revision)
        return;
    replica->due_ms[replica->check] = now_ms() + probe_of(revision, replica->check)->period_ms;
    if (text)
        failed(replica, revision, text);
    else
        held(replica, revision);
    schedule(replica);
}

static void conclude_status(struct replica *replica)
{
    char text[64];
    const struct revision *revision =
        services_revision_of(replica->services, replica->service, replica->revision);
    bool any = revision && !probe_of(revision, replica->check)->path;
    snprintf(text, sizeof text, "it answered with status %d", replica->status);
    conclude(replica, any || (replica->status >= 200 && replica->status <= 299) ? NULL : text);
}

static void on_head(struct http_exchange *exchange, const struct http_answer *answer, void *ctx)
{
    struct replica *replica = ctx;
    (void)exchange;
    replica->status = answer->status;
}

static void on_piece(struct http_exchange *exchange, const void *bytes, size_t length, void *ctx)
{
    struct replica *replica = ctx;
    (void)bytes;
    replica->length += length;
    if (replica->length <= ANSWER_BYTES_MAX)
        return;
    http_exchange_cancel(exchange);
    conclude_status(replica);
}

static void on_end(struct http_exchange *exchange, void *ctx)
{
    (void)exchange;
    conclude_status(ctx);
}

/* Where any answer will do, one that is no HTTP shows that somebody listens. */
static void on_fail(struct http_exchange *exchange, enum http_failure failure, bool answered,
    const char *text, void *ctx)
{
    struct replica *replica = ctx;
    const struct revision *revision =
        services_revision_of(replica->services, replica->service, replica->revision);
    bool any = revision && !probe_of(revision, replica->check)->path;
    (void)exchange, (void)answered;
    conclude(replica, any && failure == HTTP_FAILED_ANSWER ? NULL : text);
}

/* Where a replica of a site is asked is known some time after it started, the latest when it
 * listens. */
static bool open_endpoint(struct replica *replica)
{
    struct server *server = replica->services->server;
    const struct job_row *job = core_job(server->core, replica->job);
    const struct team_row *team = job ? core_team(server->core, job->team) : NULL;
    SCOPED(mem_scope) char *address = engines_serve_address(server, replica->attempt);
    struct error err;
    if (replica->endpoint)
        return true;
    if (!address || !team)
        return false;
    uid_t uid = launch_team_uid(server, core_symbol(server->core, team->name));
    if (http_endpoint_create(replica->services->agent, address, uid ? uid : geteuid(),
            &replica->endpoint, &err) == 0)
        return true;
    log_warn("a replica cannot be checked: %s", err.text);
    return false;
}

static void begin(struct replica *replica, enum check check)
{
    static const struct http_exchange_callbacks callbacks = {
        .on_head = on_head, .on_piece = on_piece, .on_end = on_end, .on_fail = on_fail};
    struct services *services = replica->services;
    const struct revision *revision =
        services_revision_of(services, replica->service, replica->revision);
    if (!revision)
        return;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct replica_probe *probe = probe_of(revision, check);
    struct http_exchange_request request = {
        .method = "GET",
        .target =
            probe->path ? revision_expand(arena, revision, SERVICES_PROGRAMS, probe->path) : "/",
        .timeout_ms = probe->timeout_ms,
    };
    replica->check = check;
    replica->status = 0;
    replica->length = 0;
    services->checks++;
    if (!open_endpoint(replica)) {
        conclude(replica, "it does not listen yet");
        return;
    }
    replica->exchange = http_exchange_begin(replica->endpoint, &request, &callbacks, replica);
    /* The exchange's own timeout is between two bytes: this one is of the whole check. */
    wake_in(replica, probe->timeout_ms + 100);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct replica *replica = context;
    (void)fd, (void)what;
    if (replica->stopping)
        return;
    if (replica->exchange) {
        http_exchange_cancel(replica->exchange);
        conclude(replica, "it took too long to answer");
        return;
    }
    if (replica->services->checks >= CHECKS_MAX) {
        wake_in(replica, BUSY_RETRY_MS);
        return;
    }
    if (!replica->started)
        begin(replica, CHECK_STARTUP);
    else if (replica->due_ms[CHECK_LIVENESS] <= now_ms())
        begin(replica, CHECK_LIVENESS);
    else if (replica->due_ms[CHECK_READINESS] <= now_ms())
        begin(replica, CHECK_READINESS);
    else
        schedule(replica);
}

/* ---- states ---------------------------------------------------------------------------------- */

static void stop_checks(struct replica *replica)
{
    if (replica->exchange) {
        http_exchange_cancel(replica->exchange);
        replica->exchange = NULL;
        replica->services->checks--;
    }
    event_del(replica->timer);
    replica->stopping = true;
}

static void replica_free(struct replica *replica)
{
    stop_checks(replica);
    http_endpoint_release(replica->endpoint);
    event_free(replica->timer);
    free(replica);
}

/* A replica that is ready in the store was so before the server started: its startup is over. */
static struct replica *replica_create(
    struct services *services, const struct replica_row *row, const struct attempt_row *attempt)
{
    struct replica *replica = mem_alloc(1, sizeof *replica);
    *replica = (struct replica){.services = services,
        .job = row->job,
        .attempt = attempt->id,
        .service = row->service,
        .revision = row->revision,
        .started = row->ready && row->attempt == attempt->id};
    replica->timer = event_new(services->server->base, -1, EV_TIMEOUT, on_timer, replica);
    assert(replica->timer);
    vec_push(&services->replicas, replica);
    idmap_put(&services->by_job, row->job, replica);
    open_endpoint(replica);
    schedule(replica);
    return replica;
}

static void remove_at(struct services *services, size_t i)
{
    struct replica *replica = services->replicas.items[i];
    if (idmap_get(&services->by_job, replica->job) == replica)
        idmap_remove(&services->by_job, replica->job);
    vec_remove(&services->replicas, i);
    replica_free(replica);
}

static void forget_attempt(struct services *services, const struct replica *replica)
{
    for (size_t i = 0; i < services->replicas.count; i++) {
        if (services->replicas.items[i] == replica) {
            remove_at(services, i);
            return;
        }
    }
}

static void follow_row(void *context, enum row_kind kind, const void *data)
{
    struct services *services = context;
    const struct core *core = services->server->core;
    const struct replica_row *row = data;
    const struct job_row *job = core_job(core, row->job);
    const struct attempt_row *attempt =
        job && job->attempt ? core_attempt(core, job->attempt) : NULL;
    struct replica *replica = services_replica(services, row->job);
    (void)kind;
    if (replica && (!attempt || attempt->id != replica->attempt)) {
        forget_attempt(services, replica);
        replica = NULL;
    }
    if (!attempt || attempt->state != ATTEMPT_STARTED)
        return;
    if (!replica)
        replica = replica_create(services, row, attempt);
    replica->seen = true;
    if (attempt->stop_reason != END_NONE && !replica->stopping)
        stop_checks(replica);
}

void probes_follow(struct services *services)
{
    struct core_counts counts;
    core_count(services->server->core, &counts);
    if (counts.replicas == 0 && services->replicas.count == 0)
        return;
    for (size_t i = 0; i < services->replicas.count; i++)
        services->replicas.items[i]->seen = false;
    core_row_each(services->server->core, ROW_REPLICA, follow_row, services);
    for (size_t i = services->replicas.count; i > 0; i--) {
        if (!services->replicas.items[i - 1]->seen)
            remove_at(services, i - 1);
    }
}

void probes_finish(struct services *services)
{
    while (services->replicas.count > 0)
        remove_at(services, services->replicas.count - 1);
    vec_free(&services->replicas);
    idmap_finish(&services->by_job);
}
