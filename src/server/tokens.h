/* Bearer tokens. A token is 32 random bytes, shown once; kept is only the SHA-256 of it, with the
 * user it stands for and when it expires. Revoking takes effect with the command's tick. */
#pragma once

#include "base/error.h"
#include "wire/doc.h"

#include <stddef.h>
#include <stdint.h>

struct store_reader;
struct tick;
struct tokens;

struct tokens *tokens_create(void);
void tokens_destroy(struct tokens *tokens); /* NULL is fine */
MUST_CHECK int tokens_load(struct tokens *tokens, struct store_reader *reader, struct error *err);

enum { TOKEN_TEXT = 64 };
/* Makes a token for user within a tick: its text goes to ret_text, its id (for lists and for
 * revoking, no secret) to ret_id. expires_ms 0: never. */
void tokens_issue(struct tokens *tokens, struct tick *tick, const char *user, int64_t expires_ms,
    const char *description, char ret_text[TOKEN_TEXT], char ret_id[TOKEN_TEXT]);
/* ERR_NOT_FOUND. */
MUST_CHECK int tokens_revoke(
    struct tokens *tokens, struct tick *tick, const char *id, struct error *err);
/* 0 and the user's name when the text is a token that is valid now, else -1. */
MUST_CHECK int tokens_check(const struct tokens *tokens, const char *text, int64_t now_ms,
    char *ret_user, size_t user_size);
/* Whom a token belongs to, by id; NULL when there is none. */
const char *tokens_user(const struct tokens *tokens, const char *id);
/* [{id, user, description, created, expires}] of one user, or of all (user NULL), by id. */
struct doc *tokens_list(const struct tokens *tokens, struct arena *arena, const char *user);
