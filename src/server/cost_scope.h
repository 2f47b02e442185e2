/* What a cost report is about: whose costs the asker may see, and which of them were asked for. It
 * remembers what it looked up, since charges are many and jobs and teams are few. */
#pragma once

#include "base/error.h"
#include "base/map.h"
#include "server/cost.h"
#include "server/cost_subject.h"
#include "spec/reference.h"

#include <stdbool.h>
#include <stdint.h>

struct cost_scope {
    struct server *server;
    struct arena *arena;
    const struct identity *identity;
    const struct cost_query *query;
    bool by_labels; /* subjects have their labels */
    bool narrowed;  /* to a service or model */
    struct reference model;
    struct idmap subjects; /* job -> struct cost_subject, in the arena */
    struct idmap teams;    /* id -> yes or no */
    struct strmap by_name; /* of teams, the same */
};

/* query lives as long. ERR_INVALID: ?model= is no reference, or names a stage. */
MUST_CHECK int cost_scope_init(struct cost_scope *scope, struct server *server, struct arena *arena,
    const struct identity *identity, const struct cost_query *query, struct error *err);
void cost_scope_finish(struct cost_scope *scope);
/* Whether costs of the team count: it is the one that was asked about or below it, or, when none
 * was named, the asker may see it. */
bool cost_scope_has_team(struct cost_scope *scope, uint64_t team);
bool cost_scope_has_team_named(struct cost_scope *scope, const char *team);
/* What the job is. Never NULL. */
const struct cost_subject *cost_scope_subject(struct cost_scope *scope, uint64_t job);
/* Whether a model ("team/name:3") is what ?model= asks for, and whether a service ("team/name" or
 * NULL) that serves a model ("team/name:3" or NULL) is what ?service= and ?model= ask for; true
 * when they do not ask. */
bool cost_scope_wants_model(const struct cost_scope *scope, const char *model);
bool cost_scope_wants(const struct cost_scope *scope, const char *service, const char *model);
