/* The table of `spec.gateway.batching` of a Service. */
#include "spec/tables.h"

#include <stddef.h>

/* clang-format off: a field is a paragraph, not a column */

static const struct field batching_fields[] = {
    {.name = "max",
        .type = FIELD_INT,
        .max = 1024,
        .offset = offsetof(struct service_batching, max),
        .doc = "The most rows (first dimensions) of a call; below 2 nothing is put together."},
    {.name = "latencyGoal",
        .type = FIELD_DURATION,
        .max = MINUTES(10),
        .offset = offsetof(struct service_batching, latency_goal_ms),
        .doc =
            "From a request to its answer: batches are no larger, and wait no longer, than leaves "
            "time for it. 0: only max and delayMax bound them."},
    {.name = "delayMax",
        .type = FIELD_DURATION,
        .fallback = 5,
        .max = SECONDS(60),
        .offset = offsetof(struct service_batching, delay_max_ms),
        .doc =
            "The longest that a request waits for others while a replica is free. How much of it "
            "is used is learned."},
};
const struct field_table service_batching_table =
    FIELD_TABLE("ServiceBatching", struct service_batching, batching_fields,
        .doc = "Requests of many clients become one call, and its answer is taken apart again.");
