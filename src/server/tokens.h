/* Bearer tokens. A token is 32 random bytes, shown once; kept is only the SHA-256 of it, with the
 * user it stands for and when it expires. Revoking takes effect with the command's tick. */
#pragma once

#include "base/error.h"
#include "wire/doc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_reader;
struct tick;
struct tokens;

/* Without tokens until they are loaded. */
struct tokens *tokens_create(void);
void tokens_destroy(struct tokens *tokens); /* NULL is fine */
MUST_CHECK int tokens_load(struct tokens *tokens, struct store_reader *reader, struct error *err);

enum { TOKEN_TEXT = 64, TOKEN_TEAMS_MAX = 8, TOKEN_SERVICES_MAX = 8 };

/* The teams that a token counts for, with all below them. None: wherever its user has a role. */
struct token_scope {
    size_t count;
    char teams[TOKEN_TEAMS_MAX][64];
};
/* Reads a list of names (NULL: none). ERR_INVALID. */
MUST_CHECK int token_scope_read(
    const struct doc *teams, struct token_scope *ret_scope, struct error *err);

/* The services, team/name, that an inference token counts for, whether its user is a member of
 * their teams or not. None: all that its user may ask. */
struct token_services {
    size_t count;
    char names[TOKEN_SERVICES_MAX][128];
};
/* Reads a list of team/name (NULL: none). ERR_INVALID. */
MUST_CHECK int token_services_read(
    const struct doc *services, struct token_services *ret_services, struct error *err);

struct token_request {
    const char *user;
    const char *description; /* may be NULL */
    int64_t expires_ms;      /* 0: never */
    struct token_scope scope;
    bool inference; /* good for asking services at the gateway, and for nothing else */
    struct token_services services;
    const char *serving; /* of an inference token: what serving_decode reads, as JSON; NULL: none */
};
/* Makes a token within a tick: its text goes to ret_text, its id (for lists and for revoking, no
 * secret) to ret_id. */
void tokens_issue(struct tokens *tokens, struct tick *tick, const struct token_request *request,
    char ret_text[TOKEN_TEXT], char ret_id[TOKEN_TEXT]);
/* ERR_NOT_FOUND. */
MUST_CHECK int tokens_revoke(
    struct tokens *tokens, struct tick *tick, const char *id, struct error *err);
/* Whose a token is; valid until the next change of tokens. */
struct token_owner {
    const char *user;
    const char *id;
    const struct token_scope *scope;
    bool inference;
};
/* 0 when the text is a token that is valid now, else -1. */
MUST_CHECK int tokens_check(
    const struct tokens *tokens, const char *text, int64_t now_ms, struct token_owner *ret_owner);
/* Whether the token with this id is still valid. */
bool tokens_valid(const struct tokens *tokens, const char *id, int64_t now_ms);
/* What the gateway is told of a token. Everything is valid for the visit. */
struct token_facts {
    const char *id;
    const char *hash; /* SHA-256 of its text, 64 hex digits */
    const char *user;
    const struct token_scope *scope;
    const struct token_services *services;
    int64_t expires_ms;
    const char *serving; /* JSON, or NULL */
};
typedef void token_visit_fn(void *context, const struct token_facts *token);
/* Visits the tokens that are valid at that moment, by id. */
void tokens_each(const struct tokens *tokens, int64_t now_ms, token_visit_fn *visit, void *context);
/* Whom a token belongs to, by id; NULL when there is none. */
const char *tokens_user(const struct tokens *tokens, const char *id);
/* [{id, user, description, created, expires, teams}] of one user, or of all (user NULL), by id: at
 * most limit of them, those after `after` (NULL: from the start). */
struct doc *tokens_list(const struct tokens *tokens, struct arena *arena, const char *user,
    const char *after, size_t limit);
