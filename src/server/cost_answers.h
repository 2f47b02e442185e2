/* What answers cost whom: the charges of replicas shared out over those who asked them.
 * docs/cost.md explains how. */
#pragma once

#include "base/error.h"

#include <stdbool.h>

struct arena;
struct cost_query;
struct doc;
struct identity;
struct server;

/* Whether the query is one: ?answers=true, or by what only requests have. */
bool cost_is_of_answers(const struct cost_query *query);
/* As cost_serving_report; by is one of "key", "team", "label:NAME", "service", "model", "version".
 * ERR_INVALID, ERR_TOO_LARGE. */
MUST_CHECK int cost_answers_report(struct server *server, struct arena *arena,
    const struct identity *identity, const struct cost_query *query, struct doc **ret_report,
    struct error *err);
