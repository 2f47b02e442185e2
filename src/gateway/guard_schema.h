/* The schema of a guard: what a request has to have, and of which kinds, by paths. */
#pragma once

#include "gateway/guard_json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct service_guard;

/* Of one body. Zeroed: nothing was seen. */
struct guard_schema {
    uint64_t seen;    /* a bit a rule */
    const char *path; /* of the rule that was broken */
};
/* A value of the walk; false: a rule says otherwise. */
bool guard_schema_value(struct guard_schema *schema, const struct service_guard *guard,
    const struct guard_walk *walk, enum guard_value value, size_t begin, size_t end);
/* All values were seen; false: one is missing. */
bool guard_schema_end(struct guard_schema *schema, const struct service_guard *guard);
