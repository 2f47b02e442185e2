/* The table of `spec.gateway.cache` of a Service. */
#include "spec/tables.h"

#include <stddef.h>

/* clang-format off: a field is a paragraph, not a column */

static void finish_cache(struct field_reader *reader, void *object)
{
    const struct service_cache *cache = object;
    if (cache->entry_bytes_max > cache->bytes_max)
        fields_report(reader, "entryBytesMax", "expected at most bytesMax");
}

static const struct field cache_fields[] = {
    {.name = "ttl",
        .type = FIELD_DURATION,
        .max = DAYS(30),
        .offset = offsetof(struct service_cache, ttl_ms),
        .doc = "How long an answer may be given again; 0 keeps none."},
    {.name = "entryBytesMax",
        .type = FIELD_BYTES,
        .fallback = 1 << 20,
        .min = 1,
        .max = 16 << 20,
        .offset = offsetof(struct service_cache, entry_bytes_max),
        .doc = "The largest answer that is kept."},
    {.name = "bytesMax",
        .type = FIELD_BYTES,
        .fallback = 64 << 20,
        .min = 1,
        .max = 1LL << 34,
        .offset = offsetof(struct service_cache, bytes_max),
        .doc = "All answers of the service together, in each gateway."},
    {.name = "sampled",
        .type = FIELD_BOOL,
        .offset = offsetof(struct service_cache, sampled),
        .doc = "Also completions with a temperature above 0, which the next asker would get "
               "otherwise than drawn anew. A request that names no temperature has one."},
    {.name = "shared",
        .type = FIELD_BOOL,
        .offset = offsetof(struct service_cache, shared),
        .doc = "Answers are kept for the other gateways too, where these have a Redis or Valkey "
               "together (`muster gateway --cache-redis`)."},
    {.name = "sharedBytesMax",
        .type = FIELD_BYTES,
        .fallback = 256 << 20,
        .min = 1,
        .max = 1LL << 36,
        .offset = offsetof(struct service_cache, shared_bytes_max),
        .doc = "All answers of the service together that are kept there."},
};
const struct field_table service_cache_table =
    FIELD_TABLE("ServiceCache", struct service_cache, cache_fields, .finish = finish_cache,
        .doc = "Exactly the same request of the same tenant, answered by the same version.");
