/* The table of `spec.gateway` of a Service: how the gateway treats its requests. The server puts
 * its encoding into the route document, and the gateway decodes it by the same table, so an option
 * is described here and nowhere else. */
#include "spec/serving.h"
#include "spec/tables.h"

#include <stddef.h>

/* clang-format off: a field is a paragraph, not a column */

static const struct field_word access_words[] = {
    {"team", ACCESS_TEAM, "the team's viewers and above"},
    {"known", ACCESS_KNOWN, "whoever has a key"},
    {"public", ACCESS_PUBLIC, "everybody"},
    {NULL},
};

static const struct field_word retry_words[] = {
    {"never", RETRY_NEVER, "not at all"},
    {"connect", RETRY_CONNECT, "when no connection was made"},
    {"safe", RETRY_SAFE, "also when nothing of the answer was seen"},
    {NULL},
};

/* Not asked for by default: a replica that does not know stream_options may refuse the request, and
 * a Service that says nothing has its bodies passed on to the byte. */
static const struct field_word usage_words[] = {
    {"pass", USAGE_PASS, "only what the client asks for is counted"},
    {"ask", USAGE_ASK, "the gateway asks for it, and takes it out of the answer"},
    {NULL},
};

static const struct field service_gateway_fields[] = {
    {.name = "access",
        .type = FIELD_ENUM,
        .words = access_words,
        .fallback = ACCESS_TEAM,
        .offset = offsetof(struct service_gateway, access),
        .doc = "Who may ask."},
    {.name = "bodyBytesMax",
        .type = FIELD_BYTES,
        .fallback = 16 << 20,
        .min = 1,
        .max = 1LL << 32,
        .offset = offsetof(struct service_gateway, body_bytes_max),
        .doc = "The largest request."},
    {.name = "timeout",
        .type = FIELD_DURATION,
        .fallback = SECONDS(60),
        .min = 1,
        .max = MINUTES(60),
        .offset = offsetof(struct service_gateway, timeout_ms),
        .doc = "To the first byte of an answer, and from one to the next."},
    {.name = "retry",
        .type = FIELD_ENUM,
        .words = retry_words,
        .fallback = RETRY_SAFE,
        .offset = offsetof(struct service_gateway, retry),
        .doc = "When another replica is asked after one failed."},
    {.name = "limits",
        .type = FIELD_OBJECT,
        .table = &service_limits_table,
        .offset = offsetof(struct service_gateway, limits),
        .doc = "How much of it there is for whom."},
    {.name = "queue",
        .type = FIELD_OBJECT,
        .table = &service_queue_table,
        .offset = offsetof(struct service_gateway, queue),
        .doc = "How its replicas are shared when all of them are busy."},
    {.name = "routing",
        .type = FIELD_OBJECT,
        .table = &service_routing_table,
        .offset = offsetof(struct service_gateway, routing),
        .doc = "Which replica is asked."},
    {.name = "cache",
        .type = FIELD_OBJECT,
        .table = &service_cache_table,
        .offset = offsetof(struct service_gateway, cache),
        .doc = "Answers that are given again."},
    {.name = "batching",
        .type = FIELD_OBJECT,
        .table = &service_batching_table,
        .offset = offsetof(struct service_gateway, batching),
        .doc = "Requests that are put together."},
    {.name = "guard",
        .type = FIELD_OBJECT,
        .table = &service_guard_table,
        .offset = offsetof(struct service_gateway, guard),
        .doc = "What may not pass, in requests and in answers."},
    {.name = "deadline",
        .type = FIELD_OBJECT,
        .table = &service_deadline_table,
        .offset = offsetof(struct service_gateway, deadline),
        .doc = "When nobody waits for an answer any more."},
    {.name = "circuit",
        .type = FIELD_OBJECT,
        .table = &service_circuit_table,
        .offset = offsetof(struct service_gateway, circuit),
        .doc = "Failing fast while all replicas fail."},
    {.name = "hedge",
        .type = FIELD_OBJECT,
        .table = &service_hedge_table,
        .offset = offsetof(struct service_gateway, hedge),
        .doc = "Asking another replica when one is slow."},
    {.name = "fallback",
        .type = FIELD_OBJECT,
        .table = &service_fallback_table,
        .offset = offsetof(struct service_gateway, fallback),
        .doc = "Who is asked when this service fails."},
    {.name = "cascade",
        .type = FIELD_OBJECT,
        .table = &service_cascade_table,
        .offset = offsetof(struct service_gateway, cascade),
        .doc = "A small model first."},
    {.name = "record",
        .type = FIELD_OBJECT,
        .table = &service_record_table,
        .offset = offsetof(struct service_gateway, record),
        .doc = "What is recorded, to be replayed."},
    {.name = "secondary",
        .type = FIELD_OBJECT,
        .table = &service_secondary_table,
        .offset = offsetof(struct service_gateway, secondary),
        .doc = "Who is asked the same once the answer has gone out."},
    {.name = "usage",
        .type = FIELD_ENUM,
        .words = usage_words,
        .fallback = USAGE_PASS,
        .offset = offsetof(struct service_gateway, usage),
        .doc = "How the tokens of streams of the OpenAI API are learnt."},
    {.name = "hold",
        .type = FIELD_OBJECT,
        .table = &service_hold_table,
        .offset = offsetof(struct service_gateway, hold),
        .doc = "Requests while there is no replica."},
    {.name = "measure",
        .type = FIELD_ENUM,
        .words = measure_words,
        .fallback = LATENCY_NONE,
        .offset = offsetof(struct service_gateway, measure),
        .doc = "What of answers is counted for autoscaling, which sets it."},
    {.name = "labels",
        .type = FIELD_OBJECT,
        .table = &service_labels_table,
        .offset = offsetof(struct service_gateway, labels),
        .doc = "Labels of requests, by which costs are told apart."},
};
const struct field_table service_gateway_table = FIELD_TABLE("ServiceGateway",
    struct service_gateway, service_gateway_fields, .doc = "How the gateway treats requests.");

/* clang-format on */

void service_gateway_default(struct service_gateway *ret)
{
    fields_default(&service_gateway_table, ret);
}

struct doc *service_gateway_encode(struct arena *arena, const struct service_gateway *options)
{
    return fields_encode(&service_gateway_table, arena, options, false);
}

int service_gateway_decode(
    struct arena *arena, const struct doc *doc, struct service_gateway *ret, struct error *err)
{
    struct service_gateway options;
    struct field_errors errors = {0};
    if (fields_decode_known(&service_gateway_table, arena, doc, &options, &errors) > 0)
        return field_errors_summary(&errors, err);
    *ret = options;
    return 0;
}
