/* The server's side of the gateway: the route document, made from what is stored and what is ready,
 * and pushed over the gateway's control socket whenever it changed; and the status that is asked
 * for while replicas drain.
 *
 * Generations are (epoch of the store, number): they ascend over restarts of the server without
 * being stored. One exchange is under way at a time, so that changes that come meanwhile are pushed
 * together. A gateway that is away is tried again with a growing pause; it serves on with what it
 * has on disk. */
#include "server/services_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/strbuf.h"
#include "core/core.h"
#include "engine/engine.h"
#include "gateway/routes.h"
#include "server/catalog.h"
#include "server/engines.h"
#include "server/fetch.h"
#include "server/identity.h"
#include "server/launch.h"
#include "server/scaling.h"
#include "server/tokens.h"
#include "spec/serving.h"
#include "store/store.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    DRAIN_POLL_MS = 50,
    CALM_POLL_MS = 5000, /* a gateway that was started anew is found within this */
    BACKOFF_MS = 100,
    BACKOFF_MAX_MS = 5000,
    TIMEOUT_MS = 5000,
    STATUS_BYTES_MAX = 4 << 20,
    TEAM_LEVELS_MAX = 64,
};

static void strbuf_scope(struct strbuf *buf)
{
    strbuf_finish(buf);
}

enum link_state { LINK_UNKNOWN, LINK_UP, LINK_DOWN };

struct gateway_link {
    struct services *services;
    struct http_endpoint *endpoint;
    struct fetch *fetch; /* NULL: none under way */
    struct event *timer;
    enum link_state state;
    bool pushing;       /* it is a PUT, else a GET */
    int64_t sending;    /* the generation that is pushed, or that was current when the GET began */
    int64_t generation; /* of the document below */
    int64_t acked;      /* the newest that the gateway took */
    int64_t backoff_ms;
    char *document;      /* with generation 0: what changed is seen by comparing texts */
    bool connected_once; /* said in the log */
};

/* ---- the document --------------------------------------------------------------------------- */

struct composer {
    struct services *services;
    struct arena *arena;
    VEC(const struct replica_row *) replicas; /* that get requests, by service */
    VEC(struct route_service) list;
    VEC(struct route_key) keys;
    VEC(const char *) teams;        /* that have a service */
    VEC(struct route_team) serving; /* of which something is said */
    struct strmap serving_at;       /* by name: the place in the list, plus one */
    struct strmap team_of;          /* by user: the team whose member they are, or `several` */
};

static void add_replica(void *context, enum row_kind kind, const void *data)
{
    struct composer *composer = context;
    const struct replica_row *row = data;
    const struct attempt_row *attempt =
        core_attempt(composer->services->server->core, row->attempt);
    (void)kind;
    if (row->ready && attempt && attempt->state == ATTEMPT_STARTED &&
        attempt->stop_reason == END_NONE)
        vec_push(&composer->replicas, row);
}

static int by_service(const void *a, const void *b)
{
    const struct replica_row *left = *(const struct replica_row *const *)a;
    const struct replica_row *right = *(const struct replica_row *const *)b;
    if (left->service != right->service)
        return left->service < right->service ? -1 : 1;
    return left->job < right->job ? -1 : left->job > right->job;
}

static struct route_replica route_replica(
    struct composer *composer, const char *team, const struct replica_row *row)
{
    struct services *services = composer->services;
    const struct revision *revision = services_revision_of(services, row->service, row->revision);
    SCOPED(mem_scope) char *address = engines_serve_address(services->server, row->attempt);
    uid_t uid = launch_team_uid(services->server, team);
    return (struct route_replica){
        .replica = row->job,
        .version = revision ? revision->version : 0,
        .address = arena_strdup(composer->arena, address ? address : "unix:/nowhere"),
        .uid = uid ? uid : geteuid(),
        .arm = (enum route_arm)row->arm,
    };
}

/* Those of one service: they lie together. */
static const struct route_replica *route_replicas(
    struct composer *composer, const char *team, uint64_t service, size_t *ret_count)
{
    const struct replica_row *const *rows = composer->replicas.items;
    size_t low = 0, high = composer->replicas.count, count = 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (rows[middle]->service < service)
            low = middle + 1;
        else
            high = middle;
    }
    while (low + count < composer->replicas.count && rows[low + count]->service == service &&
           count < ROUTE_REPLICAS_MAX)
        count++;
    struct route_replica *replicas = arena_alloc(composer->arena, count, sizeof *replicas);
    for (size_t i = 0; i < count; i++)
        replicas[i] = route_replica(composer, team, rows[low + i]);
    *ret_count = count;
    return replicas;
}

static bool speaks(const struct runtime *runtime, const char *protocol)
{
    for (size_t i = 0; i < runtime->protocols.count; i++) {
        if (strcmp(runtime->protocols.items[i], protocol) == 0)
            return true;
    }
    return false;
}

_Static_assert((int)ROUTE_ARM_CANARY == (int)ARM_CANARY, "arms are the same numbers");

static struct route_split split_of(const struct core *core, uint64_t service)
{
    const struct rollout_split split = core_rollout_split(core, service);
    int32_t canary = split.percent[ARM_CANARY];
    return (struct route_split){.baseline = split.percent[ARM_BASELINE],
        .canary = split.shadow ? 0 : canary,
        .shadow = split.shadow ? canary : 0};
}

static void add_service(struct composer *composer, const struct service *service)
{
    struct services *services = composer->services;
    const struct core *core = services->server->core;
    const char *team = service->metadata.team;
    uint64_t id = core_service_find(core, team, service->metadata.name);
    const struct service_row *row = id ? core_service(core, id) : NULL;
    const struct revision *revision =
        row ? services_revision_of(services, id, core_service_goal(core, id)) : NULL;
    size_t count;
    if (!revision || (!speaks(&revision->runtime, "oip") && !speaks(&revision->runtime, "openai")))
        return;
    const struct route_replica *replicas = route_replicas(composer, team, id, &count);
    struct service_gateway *options = arena_alloc(composer->arena, 1, sizeof *options);
    *options = scaling_gateway_options(services->server, service);
    struct route_service item = {
        .route = service_route(service),
        .service = arena_printf(composer->arena, "%s/%s", team, service->metadata.name),
        .team = team,
        .oip = speaks(&revision->runtime, "oip"),
        .openai = speaks(&revision->runtime, "openai"),
        .options = options,
        .replicas = replicas,
        .replica_count = count,
        .split = split_of(core, id),
    };
    vec_push(&composer->list, item);
    for (size_t i = 0; i < composer->teams.count; i++) {
        if (strcmp(composer->teams.items[i], team) == 0)
            return;
    }
    vec_push(&composer->teams, team);
}

/* Whether the token was made for services of this team by name. Only administrators of the root
 * team make tokens, so that naming a service grants it, to whomever the token is for; a scope of
 * teams still holds. The gateway lets such a key ask for nothing but those services. */
static bool names_service_of(
    const struct catalog *catalog, const struct token_facts *token, const char *team)
{
    size_t length = strlen(team);
    if (!token_scope_covers(catalog, token->scope, team))
        return false;
    for (size_t i = 0; i < token->services->count; i++) {
        const char *name = token->services->names[i];
        if (strncmp(name, team, length) == 0 && name[length] == '/')
            return true;
    }
    return false;
}

static const struct team several; /* whose members are not of one team */

static void add_members(struct composer *composer, const struct team *team)
{
    for (size_t i = 0; i < team->members.count; i++) {
        const char *user = team->members.items[i].user;
        const struct team *known = strmap_get(&composer->team_of, user);
        strmap_put(&composer->team_of, user,
            (void *)(uintptr_t)(known && known != team ? &several : team));
    }
}

/* The map has places, since the list moves while it grows. */
static void add_teams(struct composer *composer)
{
    const struct catalog *catalog = composer->services->server->catalog;
    for (size_t i = 0; i < catalog_count(catalog, KIND_TEAM); i++) {
        const struct team *team = &catalog_at(catalog, KIND_TEAM, i)->manifest->team;
        add_members(composer, team);
        if (serving_is_default(&team->serving) || composer->serving.count >= ROUTE_TEAMS_MAX)
            continue;
        struct route_team item = {team->metadata.name, &team->serving};
        vec_push(&composer->serving, item);
        strmap_put(&composer->serving_at, item.name, (void *)composer->serving.count);
    }
}

/* The team that a key belongs to: the first it was made for, else the only one whose member its
 * user is. NULL: none. */
static const struct team *team_of(const struct composer *composer, const struct token_facts *token)
{
    if (token->scope->count > 0)
        return catalog_team(composer->services->server->catalog, token->scope->teams[0]);
    const struct team *team = strmap_get(&composer->team_of, token->user);
    return team == &several ? NULL : team;
}

/* The teams of which something is said, from the key's upwards. */
static void add_counts(
    struct composer *composer, const struct token_facts *token, struct route_key *key)
{
    const struct catalog *catalog = composer->services->server->catalog;
    const struct team *team = team_of(composer, token);
    key->team = team ? team->metadata.name : NULL;
    key->counts = arena_alloc(composer->arena, ROUTE_COUNTS_MAX, sizeof *key->counts);
    for (int level = 0; team && level < TEAM_LEVELS_MAX; level++) {
        size_t at = (size_t)strmap_get(&composer->serving_at, team->metadata.name);
        if (at > 0 && key->count_count < ROUTE_COUNTS_MAX)
            key->counts[key->count_count++] = &composer->serving.items[at - 1];
        team = team->parent ? catalog_team(catalog, team->parent) : NULL;
    }
}

/* What is stored was checked when it was made; what a newer program stored is read as far as it is
 * known. */
static const struct serving_rights *token_serving(
    struct composer *composer, const struct token_facts *token)
{
    if (!token->serving)
        return NULL;
    struct serving_rights *serving = arena_alloc(composer->arena, 1, sizeof *serving);
    const struct doc *doc = doc_parse_json(
        composer->arena, token->serving, strlen(token->serving), DOC_BYTES_MAX, NULL);
    struct error err;
    return doc && serving_decode(composer->arena, doc, true, serving, &err) == 0 ? serving : NULL;
}

/* The teams whose services the token may ask: only those that have any. */
static void add_key(void *context, const struct token_facts *token)
{
    struct composer *composer = context;
    const struct catalog *catalog = composer->services->server->catalog;
    if (composer->keys.count >= ROUTE_KEYS_MAX)
        return;
    struct identity identity = {.scope = *token->scope};
    snprintf(identity.user, sizeof identity.user, "%s", token->user);
    const char **teams = arena_alloc(composer->arena, composer->teams.count, sizeof *teams);
    const char **services = arena_alloc(composer->arena, token->services->count, sizeof *services);
    struct route_key key = {.id = token->id,
        .user = token->user,
        .teams = teams,
        .services = services,
        .service_count = token->services->count,
        .expires_ms = token->expires_ms,
        .serving = token_serving(composer, token)};
    add_counts(composer, token, &key);
    for (size_t i = 0; i < composer->teams.count; i++) {
        const char *team = composer->teams.items[i];
        if (identity_role(catalog, &identity, team) >= ROLE_VIEWER ||
            names_service_of(catalog, token, team))
            teams[key.team_count++] = team;
    }
    for (size_t i = 0; i < key.service_count; i++)
        services[i] = token->services->names[i];
    for (size_t i = 0; i < sizeof key.hash; i++)
        sscanf(token->hash + 2 * i, "%2hhx", &key.hash[i]);
    vec_push(&composer->keys, key);
}

/* With generation 0, so that what changed is seen by comparing texts; to be freed. */
static char *compose(struct gateway_link *link)
{
    struct server *server = link->services->server;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct composer composer = {.services = link->services, .arena = arena};
    core_row_each(server->core, ROW_REPLICA, add_replica, &composer);
    if (composer.replicas.count > 0)
        qsort(composer.replicas.items, composer.replicas.count, sizeof *composer.replicas.items,
            by_service);
    for (size_t i = 0; i < catalog_count(server->catalog, KIND_SERVICE); i++) {
        if (composer.list.count < ROUTE_SERVICES_MAX)
            add_service(
                &composer, &catalog_at(server->catalog, KIND_SERVICE, i)->manifest->service);
    }
    add_teams(&composer);
    tokens_each(server->tokens, server_now_ms(), add_key, &composer);
    const struct routes routes = {0, composer.keys.items, composer.keys.count, composer.list.items,
        composer.list.count, composer.serving.items, composer.serving.count};
    char *text = routes_encode(&routes);
    vec_free(&composer.replicas);
    vec_free(&composer.list);
    vec_free(&composer.keys);
    vec_free(&composer.teams);
    vec_free(&composer.serving);
    strmap_finish(&composer.serving_at);
    strmap_finish(&composer.team_of);
    return text;
}

/* ---- exchanges ------------------------------------------------------------------------------ */

static void step(struct gateway_link *link);

/* Whether no gateway is there: the last try to reach it failed. */
static bool is_down(const struct gateway_link *link)
{
    return link->state == LINK_DOWN;
}

static void wake_in(struct gateway_link *link, int64_t ms)
{
    struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    event_add(link->timer, &delay);
}

static bool anybody_drains(const struct services *services)
{
    for (size_t i = 0; i < services->replicas.count; i++) {
        if (services->replicas.items[i]->draining)
            return true;
    }
    return false;
}

/* Whoever waits to be stopped is looked at again when what it waits for may have changed. */
static void release_drained(struct services *services)
{
    int64_t now = server_now_ms();
    for (size_t i = 0; i < services->replicas.count; i++) {
        const struct replica *replica = services->replicas.items[i];
        if (replica->draining &&
            (replica->idle || now >= replica->drain_ends || is_down(services->link))) {
            services_kick(services);
            return;
        }
    }
}

static void came(struct gateway_link *link)
{
    link->backoff_ms = BACKOFF_MS;
    if (link->state != LINK_UP && !link->connected_once)
        log_info("the gateway has the routes");
    link->connected_once = true;
    link->state = LINK_UP;
}

static void lost(struct gateway_link *link, const char *text)
{
    if (link->state == LINK_UP)
        log_warn("the gateway cannot be reached, it is tried again: %s", text);
    link->connected_once = false;
    link->state = LINK_DOWN;
    wake_in(link, link->backoff_ms);
    link->backoff_ms *= 2;
    if (link->backoff_ms > BACKOFF_MAX_MS)
        link->backoff_ms = BACKOFF_MAX_MS;
    release_drained(link->services);
}

/* Its state is ahead of ours, which a restored backup brings about: we go on from there. */
static void go_beyond(struct gateway_link *link, int64_t generation)
{
    if (generation >= link->generation)
        link->generation = generation + 1;
}

static int64_t outstanding_of(const struct doc *endpoints, uint64_t job)
{
    /* A replica whose address changed is there more than once: see gateway/gateway.h. */
    int64_t outstanding = 0;
    for (const struct doc *item = endpoints ? endpoints->first : NULL; item; item = item->next) {
        if (doc_get_int(item, "replica", 0) == (int64_t)job)
            outstanding += doc_get_int(item, "outstanding", 0);
    }
    return outstanding;
}

static void read_status(struct gateway_link *link, const struct fetch_answer *answer)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct services *services = link->services;
    const struct doc *doc =
        doc_parse_json(arena, answer->text, answer->length, STATUS_BYTES_MAX, NULL);
    int64_t generation = doc_get_int(doc, "generation", 0);
    if (!doc) {
        lost(link, "its status is no JSON");
        return;
    }
    came(link);
    if (generation > link->acked)
        go_beyond(link, generation);
    link->acked = generation < link->acked ? generation : link->acked;
    /* Only a status that was asked for after the last document was taken says that nobody sends
     * anything to a replica any more. */
    if (link->sending != link->generation || link->acked != link->generation)
        return;
    for (size_t i = 0; i < services->replicas.count; i++) {
        struct replica *replica = services->replicas.items[i];
        if (replica->draining)
            replica->idle = outstanding_of(doc_get(doc, "endpoints"), replica->job) == 0;
    }
    release_drained(services);
}

static void on_status(struct gateway_link *link, const struct fetch_answer *answer)
{
    read_status(link, answer);
    if (!link->fetch && link->state == LINK_UP)
        wake_in(link, link->acked != link->generation  ? 0
                      : anybody_drains(link->services) ? DRAIN_POLL_MS
                                                       : CALM_POLL_MS);
}

static void on_refused(struct gateway_link *link, const struct fetch_answer *answer)
{
    char text[300];
    snprintf(text, sizeof text, "%s was answered with %d: %.200s",
        link->pushing ? "PUT /routes" : "GET /status", answer->status, answer->text);
    log_warn("the gateway refuses: %s", text);
    lost(link, text);
}

static void on_answer(void *context, const struct fetch_answer *answer)
{
    struct gateway_link *link = context;
    link->fetch = NULL;
    if (answer->trouble) {
        lost(link, answer->trouble);
    } else if (link->pushing && answer->status == 204) {
        link->acked = link->sending;
        came(link);
        step(link);
    } else if (link->pushing && answer->status == 409) {
        /* Its status says how far it is. */
        link->acked = link->generation;
        step(link);
    } else if (!link->pushing && answer->status == 200) {
        on_status(link, answer);
    } else {
        on_refused(link, answer);
    }
}

/* What is pushed is what was stored when it was composed, not what a commit under way adds. */
static void with_generation(const struct gateway_link *link, struct strbuf *out)
{
    static const char zero[] = "\"generation\":0";
    const char *at = strstr(link->document, zero);
    assert(at);
    strbuf_append(out, link->document, (size_t)(at - link->document));
    strbuf_printf(out, "\"generation\":%" PRId64, link->generation);
    strbuf_puts(out, at + sizeof zero - 1);
}

static void begin(struct gateway_link *link, bool push)
{
    SCOPED(strbuf_scope) struct strbuf body = {0};
    if (push)
        with_generation(link, &body);
    const struct fetch_request request = {.method = push ? "PUT" : "GET",
        .target = push ? "/routes" : "/status",
        .body = push ? strbuf_text(&body) : NULL,
        .length = body.length,
        .timeout_ms = TIMEOUT_MS,
        .bytes_max = STATUS_BYTES_MAX};
    link->pushing = push;
    link->sending = link->generation;
    link->fetch = fetch_begin(link->endpoint, &request, on_answer, link);
}

static void step(struct gateway_link *link)
{
    if (link->fetch)
        return;
    event_del(link->timer);
    if (link->acked != link->generation)
        begin(link, true);
    else
        begin(link, false);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    release_drained(((struct gateway_link *)context)->services);
    step(context);
}

/* ---- for the other parts --------------------------------------------------------------------- */

void gateway_link_follow(struct gateway_link *link)
{
    if (!link->services->dirty)
        return;
    link->services->dirty = false;
    char *document = compose(link);
    if (link->document && strcmp(link->document, document) == 0) {
        free(document);
        return;
    }
    free(link->document);
    link->document = document;
    link->generation++;
    /* A gateway that is away is tried again when its pause is over, or at once the first time. */
    if (link->state != LINK_DOWN)
        step(link);
}

/* A replica waits for the gateway to let go of it. */
static void ask_soon(struct gateway_link *link)
{
    if (!link->fetch && link->state == LINK_UP)
        wake_in(link, 0);
}

const char *gateway_link_text(const struct gateway_link *link, struct arena *arena)
{
    if (link->state != LINK_UP)
        return link->state == LINK_DOWN ? "cannot be reached; it serves on with the routes it has, "
                                          "if it runs"
                                        : "not asked yet";
    return arena_printf(arena, "%s",
        link->acked == link->generation ? "has the routes" : "is about to get the routes");
}

struct gateway_link *gateway_link_create(struct services *services, struct error *err)
{
    struct gateway_link *link = mem_alloc(1, sizeof *link);
    struct server *server = services->server;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    link->services = services;
    link->backoff_ms = BACKOFF_MS;
    link->generation = store_epoch(server->store) << 32;
    link->timer = event_new(server->base, -1, EV_TIMEOUT, on_timer, link);
    assert(link->timer);
    if (http_endpoint_create(services->agent,
            arena_printf(arena, "unix:%s/gateway/control.sock", server->config.data_dir), geteuid(),
            &link->endpoint, err) < 0) {
        event_free(link->timer);
        free(link);
        return NULL;
    }
    return link;
}

void gateway_link_destroy(struct gateway_link *link)
{
    if (!link)
        return;
    fetch_cancel(link->fetch);
    http_endpoint_release(link->endpoint);
    event_free(link->timer);
    free(link->document);
    free(link);
}

/* ---- draining ---------------------------------------------------------------------------------
 */

/* How long requests under way may take: as the service says now, or said when it was deleted. */
static int64_t drain_ms(struct services *services, const struct replica *replica)
{
    const struct revision *revision =
        services_revision_of(services, replica->service, replica->revision);
    return revision ? revision->service.drain_ms : 0;
}

bool services_may_stop(struct services *services, const struct attempt_row *attempt)
{
    const struct replica_row *row = core_replica_of(services->server->core, attempt->job);
    if (!row || attempt->state != ATTEMPT_STARTED || row->attempt != attempt->id ||
        attempt->stop_reason == END_UNHEALTHY)
        return true; /* no replica, or one that was never asked or answers nobody */
    struct replica *replica = services_replica(services, attempt->job);
    if (!replica || replica->attempt != attempt->id)
        return true;
    replica->drain_ends = attempt->stop_ms + drain_ms(services, replica);
    bool may = replica->idle || server_now_ms() >= replica->drain_ends || is_down(services->link);
    if (!may && !replica->draining)
        ask_soon(services->link);
    replica->draining = !may;
    return may;
}
