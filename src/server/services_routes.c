/* The route document: what a gateway is told of services, keys and teams, from what is stored and
 * what is ready. */
#include "server/services_internal.h"

#include "base/map.h"
#include "core/core.h"
#include "gateway/routes.h"
#include "server/catalog.h"
#include "server/engines.h"
#include "server/identity.h"
#include "server/launch.h"
#include "server/scaling.h"
#include "server/tokens.h"
#include "spec/serving.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEAM_LEVELS_MAX = 64 };

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

char *services_compose_routes(struct services *services)
{
    struct server *server = services->server;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct composer composer = {.services = services, .arena = arena};
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
