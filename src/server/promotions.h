/* Promotions: the only way of a model's version into staging or production.
 *
 * Collection "promotion", key = id (ordered by when they were asked for), scope team:
 *
 *     {"id", "team", "model", "version": 3, "stage": "production",
 *      "state": "evaluating" | "waiting" | "granted" | "refused" | "withdrawn",
 *      "askedBy", "askedAt", "note", "reasons": [sentences against it],
 *      "evaluationJob": id, "dataset": "team/test:4",         (of the gate's evaluation)
 *      "approvals": [{"by", "as": "owner" | "administrator" | "approver", "at", "note"}],
 *      "decidedBy", "decidedAt", "decisionNote"}
 *
 * Collection "promotion-open" has the id of each that is not decided under
 * "team/model/00000003/production": there is one for a version and stage. What an evaluation leads
 * to is found from what is stored, so that a server that was killed goes on where it was.
 *
 * A promotion is decided by what holds when it is decided: the conditions are looked at when it is
 * asked for, when the evaluation is over, and again in the tick that moves the stage. */
#pragma once

#include "base/error.h"
#include "core/rows.h"
#include "spec/spec.h"

#include <stdbool.h>
#include <stdint.h>

/* The label of the jobs that evaluate a version for a promotion; its value is the promotion's id.
 */
#define PROMOTION_LABEL "muster/promotion"

struct arena;
struct doc;
struct identity;
struct promotions;
struct server;
struct tick;

/* Finds the evaluations that are under way. NULL: ERR_IO. */
MUST_CHECK struct promotions *promotions_create(struct server *server, struct error *err);
void promotions_destroy(struct promotions *promotions); /* NULL is fine */
/* After the commit: a job has ended. */
void promotions_job_ended(struct promotions *promotions, const struct job_row *row);

/* ---- reading what is committed ------------------------------------------------------------ */

/* One by its id, in the arena. NULL: ERR_NOT_FOUND. */
MUST_CHECK const struct doc *promotions_get(
    struct server *server, struct arena *arena, const char *id, struct error *err);
/* The open ones of a model, as a list of their documents. */
MUST_CHECK int promotions_open_of(struct server *server, struct arena *arena, const char *team,
    const char *model, struct doc **ret, struct error *err);

/* ---- asking ------------------------------------------------------------------------------- */

struct promotion_request {
    const char *team;
    const char *model;
    int64_t version;
    const char *stage;
    const char *note;
    /* What promotion_prepare adds. */
    const char *id;
    const struct doc *model_doc; /* the Model as it was then */
    struct manifest evaluation; /* the job; without a gate that evaluates has_evaluation is false */
    const char *dataset;        /* the exact version that it evaluates on */
    bool has_evaluation;
};

/* Gives the promotion its id and composes the gate's evaluation, as a job of the one who asks.
 * ERR_NOT_FOUND, ERR_INVALID, and what submit_check finds wrong with the job. */
MUST_CHECK int promotion_prepare(struct server *server, const struct identity *identity,
    struct arena *arena, struct promotion_request *request, struct error *err);
/* Within a tick: what is recorded is held against the gate; then the evaluation begins, or
 * approvals are waited for, or the stage moves. *ret is the promotion, of the tick's arena: refused
 * with its reasons is a success. ERR_CONFLICT: the version holds the stage already, or another
 * promotion of it is open. */
MUST_CHECK int promotion_ask(struct tick *tick, const struct promotion_request *request,
    const struct doc **ret, struct error *err);

/* ---- deciding, within a tick ---------------------------------------------------------------- */

/* An approval by identity, an approver of the model's team at least. The last that is needed has
 * the conditions looked at again and moves the stage, or refuses. ERR_DENIED: who asked may not
 * approve, or the model's owner has to; ERR_CONFLICT: not waiting, or approved by them already. */
MUST_CHECK int promotion_approve(struct tick *tick, const struct identity *identity, const char *id,
    const char *note, const struct doc **ret, struct error *err);
/* Refuses or withdraws an open promotion and cancels its evaluation. Withdrawing is for who asked
 * and for administrators of the team: ERR_DENIED. */
MUST_CHECK int promotion_refuse(struct tick *tick, const struct identity *identity, const char *id,
    const char *note, const struct doc **ret, struct error *err);
MUST_CHECK int promotion_withdraw(struct tick *tick, const struct identity *identity,
    const char *id, const char *note, const struct doc **ret, struct error *err);
/* Takes a version out of its stage: to archived or candidate. ERR_CONFLICT: a service follows the
 * stage and would be left without a version, or a promotion of the version is open. */
MUST_CHECK int promotion_retire(struct tick *tick, const char *team, const char *model,
    int64_t version, enum model_stage stage, const struct doc **ret, struct error *err);
