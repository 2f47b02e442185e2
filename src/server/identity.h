/* Who asks, and what they may do. Roles are in the Teams' members and hold for a team and all
 * below it; whoever administers the team "root" administers everything. */
#pragma once

#include "base/error.h"
#include "server/tokens.h"
#include "spec/kinds.h"

#include <stdbool.h>
#include <sys/types.h>

struct catalog;
struct http_peer;
struct server;

#define ROOT_TEAM "root"

struct identity {
    char user[128];
    bool administrator; /* through the Unix socket, as root or as the server's own user */
    char token[20];     /* id of the bearer token, or "" */
    struct token_scope scope;
};

/* Who sent a request: the peer of the Unix socket, or the owner of the bearer token in
 * `authorization` (the header's value or NULL). ERR_UNAUTHENTICATED, without saying what of it was
 * wrong; ERR_DENIED for a token that is for the gateway only. */
MUST_CHECK int identity_find(const struct server *server, const struct http_peer *peer,
    const char *authorization, struct identity *ret_identity, struct error *err);
/* Whether it still holds: its token was neither revoked nor has it expired. Asked again and again
 * by what outlives a request: watches, followed logs, sessions. */
bool identity_holds(const struct server *server, const struct identity *identity);
/* Whether a token with this scope counts for the team: it has none, or the team or one above it is
 * in it. false for teams that do not exist. Says nothing of what its user may do there. */
bool token_scope_covers(
    const struct catalog *catalog, const struct token_scope *scope, const char *team);
/* The role in a team, its own or one inherited from above. ROLE_ADMIN everywhere for
 * administrators; ROLE_NONE for teams that do not exist, but for administrators, and for teams that
 * the token does not count for. */
enum role identity_role(
    const struct catalog *catalog, const struct identity *identity, const char *team);
/* The highest role in any team. */
enum role identity_role_anywhere(const struct catalog *catalog, const struct identity *identity);
/* 0, or -1 with ERR_DENIED saying which role in which team is needed. team NULL: all of them. */
MUST_CHECK int identity_require(const struct catalog *catalog, const struct identity *identity,
    const char *team, enum role least, struct error *err);
/* "viewer" .. "admin". */
const char *role_name(enum role role);
