/* Which jobs made versions of models, and which measured them: from the versions' documents. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct cost_scope;

/* version: "team/name:3", valid until the visit returns. job: the first element, of an array. */
typedef void cost_made_fn(void *context, const char *version, uint64_t job, bool evaluation);
/* Visits the jobs of every version that the scope asks for and whose team it has. Versions that
 * were uploaded have none that made them. ERR_TOO_LARGE: there are too many versions, ?model= is to
 * be given. */
MUST_CHECK int cost_made_each(
    struct cost_scope *scope, cost_made_fn *visit, void *context, struct error *err);
