/* What services, models and versions cost: the charges of replicas beside what they answered, and
 * what the versions cost to make. docs/cost.md explains every figure. */
#pragma once

#include "base/error.h"

#include <stdbool.h>

struct arena;
struct cost_query;
struct doc;
struct identity;
struct server;

/* Whether ?by= says one of "service", "model", "version". */
bool cost_is_serving(const char *by);
/* As cost_report; by is one of those, and to_ms is set. The range is widened to what usage is told
 * apart by, for costs too, so that prices divide what belongs together. ERR_INVALID,
 * ERR_TOO_LARGE. */
MUST_CHECK int cost_serving_report(struct server *server, struct arena *arena,
    const struct identity *identity, const struct cost_query *query, struct doc **ret_report,
    struct error *err);
