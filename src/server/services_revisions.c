/* Revisions of services: their documents in the store, those that were read lately, and the end of
 * those that nothing is made of any more. See services_internal.h. */
#include "server/services_internal.h"

#include "base/log.h"
#include "base/strbuf.h"
#include "core/core.h"
#include "server/ticker.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char collection[] = "service-revision";

enum { REVISION_BYTES_MAX = 1 << 20 };

struct cached_revision {
    struct arena *arena;
    struct revision revision;
};

static void revision_key(const char *team, const char *name, int32_t number, char out[REVISION_KEY])
{
    snprintf(out, REVISION_KEY, "%s/%s/%08d", team, name, number);
}

static void forget_cached(struct cached_revision *cached)
{
    arena_destroy(cached->arena);
    free(cached);
}

void services_forget_revisions(struct services *services)
{
    strmap_finish(&services->revisions);
    for (size_t i = 0; i < services->cached.count; i++)
        forget_cached(services->cached.items[i]);
    vec_free(&services->cached);
}

/* Takes over a copy of the document. NULL when it cannot be read. */
static const struct revision *remember(
    struct services *services, const char *key, const struct doc *doc, struct error *err)
{
    struct cached_revision *cached = mem_alloc(1, sizeof *cached), *old;
    cached->arena = arena_create();
    if (revision_read(cached->arena, doc_copy(cached->arena, doc), &cached->revision, err) < 0) {
        forget_cached(cached);
        return NULL;
    }
    old = strmap_remove(&services->revisions, key);
    for (size_t i = 0; old && i < services->cached.count; i++) {
        if (services->cached.items[i] == old) {
            vec_remove(&services->cached, i);
            forget_cached(old);
            break;
        }
    }
    vec_push(&services->cached, cached);
    strmap_put(&services->revisions, key, cached);
    return &cached->revision;
}

const struct revision *services_revision_named(
    struct services *services, const char *team, const char *name, int32_t number)
{
    char key[REVISION_KEY];
    SCOPED(mem_scope) char *json = NULL;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct error err;
    revision_key(team, name, number, key);
    const struct cached_revision *cached = strmap_get(&services->revisions, key);
    if (cached)
        return &cached->revision;
    if (reader_document(services->server->reader, collection, key, &json, NULL, &err) < 0)
        return NULL;
    struct doc *doc = doc_parse_json(arena, json, strlen(json), REVISION_BYTES_MAX, &err);
    const struct revision *revision = doc ? remember(services, key, doc, &err) : NULL;
    if (!revision)
        log_warn("revision %s of a service cannot be read: %s", key, err.text);
    return revision;
}

const struct revision *services_revision_of(
    struct services *services, uint64_t service, int32_t number)
{
    const struct core *core = services->server->core;
    const struct service_row *row = core_service(core, service);
    const struct team_row *team = row ? core_team(core, row->team) : NULL;
    if (!team)
        return NULL;
    return services_revision_named(
        services, core_symbol(core, team->name), core_symbol(core, row->name), number);
}

/* ---- revisions that nothing is made of any more --------------------------------------------- */

struct revision_use {
    uint64_t service;
    int32_t number;
    bool used;
};

static void note_use(void *context, enum row_kind kind, const void *data)
{
    struct revision_use *use = context;
    const struct replica_row *row = data;
    (void)kind;
    use->used = use->used || (row->service == use->service && row->revision == use->number);
}

/* Which documents are looked at: those of one service, or with an empty name those of all. */
struct revision_sweep {
    struct tick *tick;
    char team[64];
    char name[64];
    int32_t newest; /* was made in this tick; 0: the service's row says which is */
};

/* Whether a revision may still be needed: it is the newest or the stable one, or a replica is made
 * of it. */
static bool is_needed(
    const struct revision_sweep *sweep, const char *team, const char *name, int32_t number)
{
    const struct core *core = tick_core(sweep->tick);
    uint64_t id = core_service_find(core, team, name);
    const struct service_row *row = id ? core_service(core, id) : NULL;
    if (!row || number == (sweep->newest ? sweep->newest : row->revision) ||
        number == core_service_goal(core, id))
        return row != NULL;
    struct revision_use use = {id, number, false};
    core_row_each(core, ROW_REPLICA, note_use, &use);
    return use.used;
}

static int sweep_one(void *context, const struct document *document, struct error *err)
{
    const struct revision_sweep *sweep = context;
    char team[64], name[64];
    int32_t number;
    (void)err;
    if (sscanf(document->key, "%63[^/]/%63[^/]/%" SCNd32, team, name, &number) != 3 ||
        (sweep->name[0] && (strcmp(team, sweep->team) != 0 || strcmp(name, sweep->name) != 0)))
        return 0;
    if (!is_needed(sweep, team, name, number))
        store_txn_delete_document(tick_txn(sweep->tick), collection, document->key);
    return 0;
}

/* Deletes the documents of revisions that nothing is or will be made of. */
static void sweep_revisions(struct revision_sweep *sweep)
{
    enum { OF_ONE_MAX = 100, OF_ALL_MAX = 100000 };
    bool one = sweep->name[0] != '\0';
    struct error err;
    struct store_reader *reader = tick_server(sweep->tick)->reader;
    const char *prefix = arena_printf(tick_arena(sweep->tick), "%s/%s/", sweep->team, sweep->name);
    int rc =
        one ? reader_documents_prefix(
                  reader, collection, prefix, NULL, OF_ONE_MAX, sweep_one, sweep, &err)
            : reader_documents(reader, collection, NULL, NULL, OF_ALL_MAX, sweep_one, sweep, &err);
    if (rc < 0)
        log_warn("old revisions of services stay, and are looked at again when the server starts: "
                 "%s",
            err.text);
}

static int run_sweep(struct tick *tick, void *context, struct error *err)
{
    struct revision_sweep *sweep = context;
    (void)err;
    sweep->tick = tick;
    sweep_revisions(sweep);
    return 0;
}

static void queue_sweep(struct server *server, const char *team, const char *name)
{
    struct revision_sweep *sweep = mem_alloc(1, sizeof *sweep);
    snprintf(sweep->team, sizeof sweep->team, "%s", team);
    snprintf(sweep->name, sizeof sweep->name, "%s", name);
    ticker_report(server->ticker, "services", run_sweep, free, sweep);
}

void services_sweep_revisions(struct server *server)
{
    queue_sweep(server, "", "");
}

void services_retired(struct services *services, const struct service_row *row)
{
    if (!services)
        return; /* what stays is found when the server starts */
    const struct core *core = services->server->core;
    const struct team_row *team = core_team(core, row->team);
    if (team)
        queue_sweep(services->server, core_symbol(core, team->name), core_symbol(core, row->name));
}

/* ---- new ones -------------------------------------------------------------------------------- */

static void put_revision(
    struct tick *tick, const char *key, const char *team, const struct doc *doc)
{
    struct strbuf json = {0};
    doc_write_json(doc, 0, &json);
    store_txn_put_document(
        tick_txn(tick), collection, key, team, strbuf_text(&json), tick_now(tick));
    strbuf_finish(&json);
}

int services_add_revision(struct tick *tick, const char *team, const char *name, int32_t number,
    const struct doc *doc, struct error *err)
{
    char key[REVISION_KEY];
    revision_key(team, name, number, key);
    put_revision(tick, key, team, doc);
    struct revision_sweep sweep = {.tick = tick, .newest = number};
    snprintf(sweep.team, sizeof sweep.team, "%s", team);
    snprintf(sweep.name, sizeof sweep.name, "%s", name);
    sweep_revisions(&sweep);
    if (remember(tick_server(tick)->services, key, doc, err))
        return 0;
    return error_set(err, ERR_INTERNAL, "what was composed cannot be read: %.200s", err->text);
}
