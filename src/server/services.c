/* Services: see services.h. The jobs of replicas, and the life of all parts, which are named
 * in services_internal.h.
 *
 * Everything is derived: from the rows of the core, from the revision documents, and from what the
 * engine has. What is remembered beside them (why a replica was refused, what a check said) is for
 * people, and is found out again after a restart. */
#include "server/services.h"

#include "base/clock.h"
#include "base/strbuf.h"
#include "core/core.h"
#include "server/names.h"
#include "server/outputs.h"
#include "server/reconcile.h"
#include "server/scaling.h"
#include "server/services_internal.h"
#include "server/services_quiet.h"
#include "server/ticker.h"
#include "server/trials.h"
#include "store/store.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { KICK_RETRY_MS = 10 };

/* ---- replicas that are wanted --------------------------------------------------------------- */

typedef VEC(struct core_wanted) wanted_list;

static void take_wanted(void *context, const struct core_wanted *wanted)
{
    wanted_list *list = context;
    vec_push(list, *wanted);
}

static void set_refusal(struct services *services, uint64_t service, const char *text)
{
    free(idmap_remove(&services->refused, service));
    for (size_t i = 0; i < services->refused_ids.count; i++) {
        if (services->refused_ids.items[i] == service) {
            vec_remove(&services->refused_ids, i);
            break;
        }
    }
    if (!text)
        return;
    idmap_put(&services->refused, service, mem_strdup(text));
    vec_push(&services->refused_ids, service);
}

const char *services_refusal(const struct services *services, uint64_t service)
{
    return idmap_get(&services->refused, service);
}

static int make_replica(struct services *services, struct tick *tick,
    const struct core_wanted *wanted, struct error *err)
{
    struct arena *arena = tick_arena(tick);
    const struct revision *revision =
        services_revision_of(services, wanted->service, wanted->revision);
    struct manifest manifest = {.kind = KIND_JOB};
    uint64_t id;
    char key[DOCUMENT_KEY_TEXT];
    if (!revision)
        return error_set(err, ERR_CORRUPT, "the revision %d is not in the store", wanted->revision);
    if (revision_job(arena, revision, SERVICES_PROGRAMS, wanted->revision, wanted->number,
            &manifest.job, err) < 0 ||
        core_replica_submit(tick_core(tick), wanted, &manifest.job, &id, err) < 0)
        return -1;
    outputs_expect(tick, id, &manifest.job, NULL);
    names_document_key(id, NULL, key);
    struct strbuf json = {0};
    doc_write_json(manifest_encode(arena, &manifest), 0, &json);
    store_txn_put_document(tick_txn(tick), "job-spec", key, "", strbuf_text(&json), tick_now(tick));
    strbuf_finish(&json);
    outputs_expect(tick, id, &manifest.job, NULL);
    return 0;
}

void services_run(struct services *services, struct tick *tick)
{
    wanted_list list = {0};
    core_service_wanted(tick_core(tick), take_wanted, &list);
    for (size_t i = 0; i < list.count; i++) {
        struct error err;
        if (make_replica(services, tick, &list.items[i], &err) == 0) {
            set_refusal(services, list.items[i].service, NULL);
            continue;
        }
        core_replica_refused(tick_core(tick), &list.items[i]);
        set_refusal(services, list.items[i].service, err.text);
    }
    vec_free(&list);
}

/* The engine gave it a port of its own: what the job's manifest says of the runtime's is not so. */
static void set_port(
    struct arena *arena, const struct revision *revision, uint32_t port, struct launch *launch)
{
    struct launch_variable *variables =
        arena_alloc(arena, launch->variable_count + 1, sizeof *variables);
    struct text_list command;
    struct label_list env;
    launch->serve.port = port;
    if (port == 0 || port == (uint32_t)revision->runtime.port)
        return;
    revision_launch(arena, revision, SERVICES_PROGRAMS, port, &command, &env);
    const char **argv = arena_alloc(arena, command.count + 1, sizeof *argv);
    for (size_t i = 0; i < command.count; i++)
        argv[i] = command.items[i];
    launch->argv = argv;
    for (size_t i = 0; i < launch->variable_count; i++) {
        const char *value = label_find(&env, launch->variables[i].name);
        variables[i] = launch->variables[i];
        variables[i].value = value ? value : variables[i].value;
    }
    launch->variables = variables;
}

void services_launch(struct services *services, struct arena *arena, const struct engine *engine,
    struct launch *launch)
{
    const struct replica_row *row = core_replica_of(services->server->core, launch->job);
    const struct revision *revision =
        row ? services_revision_of(services, row->service, row->revision) : NULL;
    if (!revision)
        return;
    launch->serve.on = true;
    if (revision->runtime.listen == LISTEN_PORT)
        set_port(arena, revision,
            engine_serve_port(engine, launch->attempt, (uint32_t)revision->runtime.port), launch);
    const struct launch_variable own[] = {
        {"MUSTER_MODEL_NAME", arena_strdup(arena, service_route(&revision->service))},
        {"MUSTER_MODEL_VERSION", arena_printf(arena, "%" PRId64, revision->version)},
        {"MUSTER_SERVICE", arena_printf(arena, "%s/%s", revision->service.metadata.team,
                               revision->service.metadata.name)},
    };
    size_t count = launch->variable_count;
    struct launch_variable *all = arena_alloc(arena, count + ARRAY_LEN(own), sizeof *all);
    for (size_t i = 0; i < count; i++)
        all[i] = launch->variables[i];
    memcpy(all + count, own, sizeof own);
    launch->variables = all;
    launch->variable_count = count + ARRAY_LEN(own);
}

/* ---- life ---------------------------------------------------------------------------------- */

/* The reconciler may only look at a core that is what the store holds. */
static void on_kick(evutil_socket_t fd, short what, void *context)
{
    struct services *services = context;
    struct server *server = services->server;
    struct timeval later = {.tv_usec = KICK_RETRY_MS * 1000};
    (void)fd, (void)what;
    if (server->stopping || !server->reconciler)
        return;
    if (ticker_busy(server->ticker) || ticker_trouble(server->ticker))
        event_add(services->kick, &later);
    else
        reconciler_run(server->reconciler, clock_boot_ms());
}

void services_kick(struct services *services)
{
    event_active(services->kick, EV_TIMEOUT, 0);
}

struct services *services_create(struct server *server, struct error *err)
{
    struct services *services = mem_alloc(1, sizeof *services);
    services->server = server;
    services->kick = event_new(server->base, -1, EV_TIMEOUT, on_kick, services);
    services->agent = http_agent_create(server->base, NULL);
    TAILQ_INIT(&services->asks);
    services->trials = trials_create(services);
    services->quiet = quiet_clock_create(services);
    assert(services->kick);
    services->link = gateway_link_create(services, err);
    if (!services->link) {
        services_destroy(services);
        return NULL;
    }
    if (scaling_create(services, &services->scaling, err) < 0) {
        services_destroy(services);
        return NULL;
    }
    services->dirty = true;
    server->services = services;
    services_sweep_revisions(server);
    services_follow_all(server);
    return services;
}

void services_destroy(struct services *services)
{
    if (!services)
        return;
    trials_destroy(services->trials);
    quiet_clock_destroy(services->quiet);
    scaling_destroy(services->scaling);
    probes_finish(services);
    gateway_link_destroy(services->link);
    services_figures_finish(services);
    http_agent_destroy(services->agent);
    event_free(services->kick);
    services_forget_revisions(services);
    while (services->refused_ids.count > 0)
        set_refusal(services, services->refused_ids.items[0], NULL);
    vec_free(&services->refused_ids);
    idmap_finish(&services->refused);
    free(services);
}

struct trials *services_trials(const struct services *services)
{
    return services->trials;
}

void services_reloaded(struct services *services)
{
    services_forget_revisions(services);
    services->dirty = true;
}

void services_touch(struct services *services)
{
    if (services)
        services->dirty = true;
}

void services_committed(struct services *services)
{
    if (services->cached.count > SERVICES_REVISIONS_MAX)
        services_forget_revisions(services);
    probes_follow(services);
    if (services->dirty)
        quiet_clock_follow(services->quiet);
    gateway_link_follow(services->link);
    scaling_follow(services->scaling);
}
