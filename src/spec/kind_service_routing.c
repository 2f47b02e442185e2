/* The table of `spec.gateway.routing` of a Service. */
#include "spec/tables.h"

#include <stddef.h>

/* clang-format off: a field is a paragraph, not a column */

static const struct field_word affinity_words[] = {
    {"none", AFFINITY_NONE, "the least loaded and fastest"},
    {"prefix", AFFINITY_PREFIX, "one that was asked what begins alike"},
    {NULL},
};

static const struct field routing_fields[] = {
    {.name = "affinity",
        .type = FIELD_ENUM,
        .words = affinity_words,
        .fallback = AFFINITY_NONE,
        .offset = offsetof(struct service_routing, affinity),
        .doc = "What counts beside load. Replicas of language models keep what they computed for "
               "the beginning of a prompt."},
    {.name = "blockBytes",
        .type = FIELD_BYTES,
        .fallback = 1024,
        .min = 64,
        .max = 1 << 20,
        .offset = offsetof(struct service_routing, block_bytes),
        .doc = "Beginnings of prompts are compared in steps of so many bytes."},
    {.name = "loadPercent",
        .type = FIELD_INT,
        .fallback = 150,
        .min = 100,
        .max = 10000,
        .offset = offsetof(struct service_routing, load_percent),
        .doc = "A replica with more requests under way than this part of the mean is passed over, "
               "whatever it knows."},
    {.name = "failures",
        .type = FIELD_INT,
        .fallback = 5,
        .max = 1000,
        .offset = offsetof(struct service_routing, failures),
        .doc = "After so many failures in a row a replica is set aside, for a second at first, for "
               "twice as long each time, while there are others; 0: never."},
    {.name = "retryPercent",
        .type = FIELD_INT,
        .fallback = 20,
        .max = 100,
        .offset = offsetof(struct service_routing, retry_percent),
        .doc = "How many requests of a hundred may be tried again, beside a few to begin with: "
               "when all replicas fail, trying again makes it worse."},
};
const struct field_table service_routing_table = FIELD_TABLE(
    "ServiceRouting", struct service_routing, routing_fields, .doc = "How a replica is chosen.");
