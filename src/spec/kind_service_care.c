/* The tables of `spec.gateway.deadline`, `.circuit` and `.hedge` of a Service. */
#include "spec/serving.h"
#include "spec/tables.h"

#include "base/quantity.h"

#include <stddef.h>
#include <string.h>

/* clang-format off: a field is a paragraph, not a column */

static const struct field deadline_fields[] = {
    {.name = "total",
        .type = FIELD_DURATION,
        .min = 1,
        .max = DAYS(1),
        .offset = offsetof(struct service_deadline, total_ms),
        .doc = "The longest that a request may take to the end of its answer; 0: any time."},
    {.name = "header",
        .type = FIELD_BOOL,
        .offset = offsetof(struct service_deadline, header),
        .doc = "Whether clients may ask for less, by `X-Request-Timeout-Ms` or `grpc-timeout`."},
};
const struct field_table service_deadline_table = FIELD_TABLE("ServiceDeadline",
    struct service_deadline, deadline_fields, .doc = "When nobody waits for an answer any more.");

static void finish_circuit(struct field_reader *reader, void *object)
{
    const struct service_circuit *circuit = object;
    if (circuit->open_max_ms < circuit->open_ms)
        fields_report(reader, "openMax", "expected at least as long as open");
}

static const struct field circuit_fields[] = {
    {.name = "failures",
        .type = FIELD_INT,
        .max = 10000,
        .offset = offsetof(struct service_circuit, failures),
        .doc = "So many failed requests in a row, at replicas all of which failed, open the "
               "circuit; 0: never."},
    {.name = "open",
        .type = FIELD_DURATION,
        .fallback = SECONDS(1),
        .min = 10,
        .max = MINUTES(60),
        .offset = offsetof(struct service_circuit, open_ms),
        .doc = "How long requests are then refused at once, before one is let through to see. "
               "It doubles each time that one fails."},
    {.name = "openMax",
        .type = FIELD_DURATION,
        .fallback = SECONDS(30),
        .min = 10,
        .max = MINUTES(60),
        .offset = offsetof(struct service_circuit, open_max_ms),
        .doc = "The longest."},
};
const struct field_table service_circuit_table =
    FIELD_TABLE("ServiceCircuit", struct service_circuit, circuit_fields, .finish = finish_circuit,
        .doc = "Failing fast while all replicas fail.");

/* ---- hedging --------------------------------------------------------------------------------- */

bool hedge_after_parse(const char *text, int64_t *ret_ms, int *ret_percent)
{
    struct error err;
    *ret_ms = 0;
    *ret_percent = 0;
    if (text[0] != 'p')
        return quantity_parse_duration(text, ret_ms, &err) == 0 && *ret_ms >= 1 &&
               *ret_ms <= MINUTES(60);
    bool digits = text[1] >= '5' && text[1] <= '9' && text[2] >= '0' && text[2] <= '9' && !text[3];
    *ret_percent = digits ? (text[1] - '0') * 10 + text[2] - '0' : 0;
    return digits;
}

static bool is_after(const char *text)
{
    int64_t ms;
    int percent;
    return hedge_after_parse(text, &ms, &percent);
}

static const struct text_rule rule_after = {
    "p50 to p99, or a duration of 1ms to 1h", NULL, 32, is_after};

const char *const hedge_safe_names[] = {
    "infer", "chat", "completions", "embeddings", "responses", NULL};

static bool is_safe(const char *text)
{
    for (size_t i = 0; hedge_safe_names[i]; i++) {
        if (!strcmp(text, hedge_safe_names[i]))
            return true;
    }
    return false;
}

static const struct text_rule rule_safe = {"one of infer, chat, completions, embeddings, responses",
    "^(infer|chat|completions|embeddings|responses)$", 16, is_safe};

static void finish_hedge(struct field_reader *reader, void *object)
{
    const struct service_hedge *hedge = object;
    if (hedge->after && hedge->safe.count == 0)
        fields_report(reader, "safe", "expected the requests that may be made twice, as [infer]");
}

static const struct field hedge_fields[] = {
    {.name = "after",
        .type = FIELD_TEXT,
        .rule = &rule_after,
        .offset = offsetof(struct service_hedge, after),
        .doc = "When no answer has begun by then, another replica is asked too: after a time, or "
               "after that within which so many of a hundred answers have begun, as `p95`."},
    {.name = "limit",
        .type = FIELD_INT,
        .fallback = 5,
        .min = 1,
        .max = 100,
        .offset = offsetof(struct service_hedge, percent),
        .doc = "How many requests of a hundred may be made twice, at each worker."},
    {.name = "safe",
        .type = FIELD_TEXTS,
        .rule = &rule_safe,
        .max = 5,
        .offset = offsetof(struct service_hedge, safe),
        .doc = "Which requests may be made twice: `infer`, `chat`, `completions`, `embeddings`, "
               "`responses`."},
};
const struct field_table service_hedge_table = FIELD_TABLE("ServiceHedge", struct service_hedge,
    hedge_fields, .finish = finish_hedge, .doc = "Asking another replica when one is slow.");
