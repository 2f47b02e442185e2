/* Who asks, and what they may do: see identity.h. */
#include "server/identity.h"

#include "base/clock.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/tokens.h"
#include "wire/http.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { TEAM_DEPTH_MAX = 64 };

const char *role_name(enum role role)
{
    static const char *const names[] = {"none", "viewer", "member", "approver", "admin"};
    assert(role <= ROLE_ADMIN);
    return names[role];
}

int identity_find(const struct server *server, const struct http_peer *peer,
    const char *authorization, struct identity *ret_identity, struct error *err)
{
    struct identity identity = {0};
    static const char scheme[] = "Bearer ";
    if (authorization) {
        struct token_owner owner;
        if (strncasecmp(authorization, scheme, sizeof scheme - 1) != 0 ||
            tokens_check(
                server->tokens, authorization + sizeof scheme - 1, clock_wall_ms(), &owner) < 0)
            return error_set(err, ERR_UNAUTHENTICATED,
                "the bearer token is not valid: unknown, expired or revoked");
        if (owner.inference)
            return error_set(err, ERR_DENIED,
                "this token is for asking services at the gateway only (made with --inference)");
        snprintf(identity.user, sizeof identity.user, "%s", owner.user);
        snprintf(identity.token, sizeof identity.token, "%s", owner.id);
        identity.scope = *owner.scope;
        *ret_identity = identity;
        return 0;
    }
    if (peer->is_unix && (peer->uid == 0 || peer->uid == geteuid())) {
        snprintf(identity.user, sizeof identity.user, "root");
        identity.administrator = true;
        *ret_identity = identity;
        return 0;
    }
    return error_set(err, ERR_UNAUTHENTICATED,
        "no bearer token: ask an administrator for one (muster token create)");
}

bool identity_holds(const struct server *server, const struct identity *identity)
{
    return !identity->token[0] || tokens_valid(server->tokens, identity->token, clock_wall_ms());
}

static enum role member_role(const struct team *team, const char *user)
{
    enum role role = ROLE_NONE;
    for (size_t i = 0; i < team->members.count; i++) {
        const struct member *member = &team->members.items[i];
        if (member->role > role && strcmp(member->user, user) == 0)
            role = member->role;
    }
    return role;
}

/* Whether the token counts for the team: no scope, or the team or one above it is in it. */
static bool in_scope(
    const struct catalog *catalog, const struct token_scope *scope, const struct team *team)
{
    for (int depth = 0; scope->count > 0 && team && depth < TEAM_DEPTH_MAX; depth++) {
        for (size_t i = 0; i < scope->count; i++) {
            if (strcmp(scope->teams[i], team->metadata.name) == 0)
                return true;
        }
        team = team->parent ? catalog_team(catalog, team->parent) : NULL;
    }
    return scope->count == 0;
}

bool token_scope_covers(
    const struct catalog *catalog, const struct token_scope *scope, const char *team)
{
    const struct team *at = catalog_team(catalog, team);
    return at && in_scope(catalog, scope, at);
}

enum role identity_role(
    const struct catalog *catalog, const struct identity *identity, const char *team)
{
    if (identity->administrator)
        return ROLE_ADMIN;
    const struct team *root = catalog_team(catalog, ROOT_TEAM);
    const struct team *at = catalog_team(catalog, team);
    if (!at || !in_scope(catalog, &identity->scope, at))
        return ROLE_NONE;
    enum role role = root ? member_role(root, identity->user) : ROLE_NONE;
    for (int depth = 0; at && depth < TEAM_DEPTH_MAX; depth++) {
        enum role here = member_role(at, identity->user);
        if (here > role)
            role = here;
        at = at->parent ? catalog_team(catalog, at->parent) : NULL;
    }
    return role;
}

enum role identity_role_anywhere(const struct catalog *catalog, const struct identity *identity)
{
    if (identity->administrator)
        return ROLE_ADMIN;
    enum role role = ROLE_NONE;
    for (size_t i = 0; i < catalog_count(catalog, KIND_TEAM); i++) {
        const struct team *team = &catalog_at(catalog, KIND_TEAM, i)->manifest->team;
        /* With a scope, a role may come from above it; without, every role stands somewhere. */
        enum role here = identity->scope.count > 0
                             ? identity_role(catalog, identity, team->metadata.name)
                             : member_role(team, identity->user);
        if (here > role)
            role = here;
    }
    return role;
}

int identity_require(const struct catalog *catalog, const struct identity *identity,
    const char *team, enum role least, struct error *err)
{
    if (identity_role(catalog, identity, team ? team : ROOT_TEAM) >= least)
        return 0;
    return error_set(err, ERR_DENIED, "%s needs the role %s in the team %s for this",
        identity->user, role_name(least), team ? team : ROOT_TEAM);
}
