/* The table of `spec.gateway.secondary` of a Service. */
#include "spec/tables.h"

#include <stddef.h>

/* clang-format off: a field is a paragraph, not a column */

static void finish_secondary(struct field_reader *reader, void *object)
{
    const struct service_secondary *secondary = object;
    if (secondary->bytes_max < 4 * secondary->body_bytes_max)
        fields_report(reader, "bytesMax", "expected at least four times bodyBytesMax");
}

/* No Unix sockets: whoever listens there may trust the gateway's user, and the path is the
 * Service's to choose. */
static const struct text_rule rule_post_url = {
    "a URL such as https://judge.example/verdicts", NULL, 1024, is_http_url};

static const struct field post_fields[] = {
    {.name = "url",
        .type = FIELD_TEXT,
        .rule = &rule_post_url,
        .offset = offsetof(struct service_secondary, post.url),
        .doc = "`http://HOST:PORT/PATH` or `https://HOST/PATH`; none: verdicts are recorded and go "
               "nowhere."},
    {.name = "timeout",
        .type = FIELD_DURATION,
        .fallback = SECONDS(5),
        .min = 1,
        .max = SECONDS(60),
        .offset = offsetof(struct service_secondary, post.timeout_ms),
        .doc = "Of an attempt, from the connection to the end of the answer."},
    {.name = "retries",
        .type = FIELD_INT,
        .fallback = 3,
        .max = 10,
        .offset = offsetof(struct service_secondary, post.retries),
        .doc = "Attempts after the first, where there was no answer or it was 408, 429 or 5xx."},
};
static const struct field_table post_table = FIELD_TABLE("ServiceSecondaryPost",
    struct service_secondary, post_fields, .doc = "Where verdicts are posted as well.");

static const struct field secondary_fields[] = {
    {.name = "route",
        .type = FIELD_TEXT,
        .rule = &rule_route,
        .offset = offsetof(struct service_secondary, route),
        .doc = "The route of the Service that is asked afterwards; none: nobody is. It has to be "
               "of the same team, or to answer whoever has a key."},
    {.name = "sample",
        .type = FIELD_MICRO,
        .fallback = 1000000,
        .max = 1000000,
        .offset = offsetof(struct service_secondary, sample_micro),
        .doc = "Which part of the requests: 1 is all of them."},
    {.name = "perMinute",
        .type = FIELD_INT,
        .fallback = 600,
        .min = 1,
        .max = 1000000,
        .offset = offsetof(struct service_secondary, per_minute),
        .doc = "So many are asked about in a minute at most, in each gateway."},
    {.name = "concurrency",
        .type = FIELD_INT,
        .fallback = 4,
        .min = 1,
        .max = 64,
        .offset = offsetof(struct service_secondary, concurrency),
        .doc = "So many are under way at once, of each worker of the gateway."},
    {.name = "queue",
        .type = FIELD_INT,
        .fallback = 64,
        .max = 1024,
        .offset = offsetof(struct service_secondary, queue),
        .doc = "So many wait beyond those; more are dropped and counted."},
    {.name = "bodyBytesMax",
        .type = FIELD_BYTES,
        .fallback = 64 << 10,
        .min = 1,
        .max = 512 << 10,
        .offset = offsetof(struct service_secondary, body_bytes_max),
        .doc = "A request with a larger body, or answer, gets no second one."},
    {.name = "bytesMax",
        .type = FIELD_BYTES,
        .fallback = 256 << 20,
        .min = 256 << 10,
        .max = 1LL << 36,
        .offset = offsetof(struct service_secondary, bytes_max),
        .doc = "All verdicts of the service together; the oldest go first."},
    {.name = "keep",
        .type = FIELD_DURATION,
        .fallback = DAYS(7),
        .min = MINUTES(1),
        .max = DAYS(90),
        .offset = offsetof(struct service_secondary, keep_ms),
        .doc = "After so long a verdict is removed."},
    {.name = "post",
        .type = FIELD_OBJECT,
        .table = &post_table,
        .doc = "Where verdicts are posted as well."},
};
const struct field_table service_secondary_table = FIELD_TABLE("ServiceSecondary",
    struct service_secondary, secondary_fields, .finish = finish_secondary,
    .doc = "Another Service that is asked the same once the answer has gone out.");
