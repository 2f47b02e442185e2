/* The tables of `spec.gateway.fallback` and `.cascade` of a Service: the other services that are
 * asked for it. */
#include "spec/serving.h"
#include "spec/tables.h"

#include <stddef.h>
#include <string.h>

/* clang-format off: a field is a paragraph, not a column */

const char *const fallback_reason_names[] = {"error", "timeout", "overload", "connection", NULL};

static bool is_reason(const char *text)
{
    for (size_t i = 0; fallback_reason_names[i]; i++) {
        if (!strcmp(text, fallback_reason_names[i]))
            return true;
    }
    return false;
}

static const struct text_rule rule_reason = {"one of error, timeout, overload, connection",
    "^(error|timeout|overload|connection)$", 16, is_reason};

static const struct field to_fields[] = {
    {.name = "route",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_route,
        .offset = offsetof(struct fallback_to, route),
        .doc = "The other Service, as clients name it."},
    {.name = "version",
        .type = FIELD_INT,
        .min = 1,
        .fallback = 0,
        .offset = offsetof(struct fallback_to, version),
        .doc = "Replicas of this version alone; 0: of any."},
    {.name = "on",
        .type = FIELD_TEXTS,
        .rule = &rule_reason,
        .max = 4,
        .fallback_doc = "all of them",
        .offset = offsetof(struct fallback_to, on),
        .doc = "After which failures of what was asked before: `error` (5xx, or an answer that "
               "broke off before anything of it was passed on), `timeout`, `overload` (429, 503, "
               "or a queue that is full) and `connection`."},
    {.name = "firstByte",
        .type = FIELD_DURATION,
        .min = 1,
        .max = MINUTES(60),
        .offset = offsetof(struct fallback_to, first_byte_ms),
        .doc = "How long it may take to the first byte of its answer, of a stream to its first "
               "event; 0: as its own `timeout` says."},
};
static const struct field_table to_table = FIELD_TABLE("ServiceFallbackTo", struct fallback_to,
    to_fields, .shorthand = "route", .doc = "A service that is asked in its place.");

static const struct field_word broken_words[] = {
    {"cut", BROKEN_CUT, "the connection is cut"},
    {"event", BROKEN_EVENT, "an event says so, and the stream ends without `[DONE]`"},
    {NULL},
};

static int64_t broken_fallback(const void *object)
{
    const struct service_fallback *fallback = object;
    return fallback->to.count > 0 ? BROKEN_EVENT : BROKEN_CUT;
}

static bool is_there_before(const struct service_fallback *fallback, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (!strcmp(fallback->to.items[i].route, fallback->to.items[index].route) &&
            fallback->to.items[i].version == fallback->to.items[index].version)
            return true;
    }
    return false;
}

static void finish_fallback(struct field_reader *reader, void *object)
{
    const struct service_fallback *fallback = object;
    char path[24] = "to[0].route";
    for (size_t i = 0; i < fallback->to.count; i++) {
        path[3] = (char)('0' + i);
        if (is_there_before(fallback, i))
            fields_report(reader, path, "expected each service once");
    }
}

static const struct field fallback_fields[] = {
    {.name = "to",
        .type = FIELD_OBJECTS,
        .table = &to_table,
        .max = FALLBACK_MAX,
        .offset = offsetof(struct service_fallback, to),
        .doc = "Other services, asked in this order. Their own fallbacks do not count."},
    {.name = "firstByte",
        .type = FIELD_DURATION,
        .min = 1,
        .max = MINUTES(60),
        .offset = offsetof(struct service_fallback, first_byte_ms),
        .doc = "How long this service may take to the first byte of its answer; 0: as `timeout` "
               "says."},
    {.name = "brokenStreams",
        .type = FIELD_ENUM,
        .words = broken_words,
        .fallback_of = broken_fallback,
        .fallback_doc = "`event` where `to` is given, else `cut`",
        .offset = offsetof(struct service_fallback, broken),
        .doc = "How a stream of events ends that broke off after something was passed on."},
};
const struct field_table service_fallback_table =
    FIELD_TABLE("ServiceFallback", struct service_fallback, fallback_fields,
        .finish = finish_fallback, .doc = "Who is asked when this service fails.");

/* ---- cascade --------------------------------------------------------------------------------- */

static const struct field_word confidence_words[] = {
    {"output", CONFIDENCE_OUTPUT,
        "the numbers of an output of the Open Inference Protocol; of several the least"},
    {"logprobs", CONFIDENCE_LOGPROBS,
        "the geometric mean of the probabilities of the tokens (OpenAI chat)"},
    {"pointer", CONFIDENCE_POINTER, "a number in the answer, by JSON pointer (RFC 6901)"},
    {"header", CONFIDENCE_HEADER, "a number in a field of the answer's head"},
    {NULL},
};

static void finish_cascade(struct field_reader *reader, void *object)
{
    const struct service_cascade *cascade = object;
    bool named = cascade->confidence != CONFIDENCE_LOGPROBS;
    if (cascade->first && named && !cascade->name)
        fields_report(reader, "name", "expected the name of the output or field, or the pointer");
    if (cascade->name && !named)
        fields_report(reader, "name", "expected none: logprobs have their place");
    if (cascade->name && cascade->confidence == CONFIDENCE_POINTER && cascade->name[0] != '/')
        fields_report(reader, "name", "expected a JSON pointer, as /choices/0/confidence");
}

static const struct field cascade_fields[] = {
    {.name = "first",
        .type = FIELD_TEXT,
        .rule = &rule_route,
        .offset = offsetof(struct service_cascade, first),
        .doc = "The small Service, as clients name it, that is asked first."},
    {.name = "confidence",
        .type = FIELD_ENUM,
        .words = confidence_words,
        .fallback = CONFIDENCE_OUTPUT,
        .offset = offsetof(struct service_cascade, confidence),
        .doc = "Where its answer states its confidence."},
    {.name = "name",
        .type = FIELD_TEXT,
        .rule = &rule_line,
        .offset = offsetof(struct service_cascade, name),
        .doc = "Of the output, or of the field; or the pointer."},
    {.name = "threshold",
        .type = FIELD_MICRO,
        .fallback = 800000,
        .max = 1000000,
        .offset = offsetof(struct service_cascade, threshold_micro),
        .doc = "Below it this service is asked."},
    {.name = "timeout",
        .type = FIELD_DURATION,
        .min = 1,
        .max = MINUTES(60),
        .offset = offsetof(struct service_cascade, timeout_ms),
        .doc = "How long the small one may take for its whole answer; 0: as its own `timeout` "
               "says."},
};
const struct field_table service_cascade_table =
    FIELD_TABLE("ServiceCascade", struct service_cascade, cascade_fields, .finish = finish_cascade,
        .doc = "A small model first, this one where the small one is not sure.");

/* ---- of a whole service ---------------------------------------------------------------------- */

/* No loop can be longer than one step, since only the lists of the service that is asked count. */
void check_other_routes(struct field_reader *reader, const struct service *service)
{
    const struct service_gateway *gateway = &service->gateway;
    const char *own = service->route ? service->route : service->metadata.name;
    char path[32] = "gateway.fallback.to[0].route";
    if (gateway->cascade.first && own && !strcmp(gateway->cascade.first, own))
        fields_report(reader, "gateway.cascade.first", "expected another service than this one");
    for (size_t i = 0; i < gateway->fallback.to.count; i++) {
        path[20] = (char)('0' + i);
        if (own && !strcmp(gateway->fallback.to.items[i].route, own))
            fields_report(reader, path, "expected another service than this one");
    }
}
