/* What the files of promotions share: their documents as a tick's commands have left them. */
#pragma once

#include "server/promotions.h"

#include "server/versions.h"

/* A promotion as this tick has left it: a copy to be changed and stored again. NULL:
 * ERR_NOT_FOUND. */
MUST_CHECK struct doc *promotion_load(struct tick *tick, const char *id, struct error *err);
/* Writes it, says so in the audit log ("promotion-ask"), and keeps the list of open ones. */
void promotion_store(struct tick *tick, const struct doc *promotion, const char *action);
/* The open promotion of a version to a stage, or NULL; err is set when it cannot be read. */
MUST_CHECK int promotion_find_open(struct tick *tick, const char *team, const char *model,
    int64_t version, const char *stage, const char **ret_id, struct error *err);
/* An evaluation was submitted: its end is waited for. */
void promotions_expect(struct promotions *promotions, uint64_t job, const char *id);
/* What an evaluation that has ended leads to; nothing when it has not. *ret_waits: it goes on. */
MUST_CHECK int promotion_settle(
    struct tick *tick, const char *id, bool *ret_waits, struct error *err);
/* "evaluating" or "waiting". */
bool promotion_is_open(const struct doc *promotion);
