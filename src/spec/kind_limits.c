/* The tables of limits: of a service, of a team, of a token; and of a service's queue. */
#include "base/quantity.h"
#include "spec/serving.h"
#include "spec/tables.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off: a field is a paragraph, not a column */

static const struct field_word what_words[] = {
    {"requests", LIMIT_REQUESTS, "requests that were admitted"},
    {"inputTokens", LIMIT_INPUT_TOKENS, "tokens of prompts"},
    {"outputTokens", LIMIT_OUTPUT_TOKENS, "tokens of answers"},
    {"tokens", LIMIT_TOKENS, "both"},
    {"money", LIMIT_MONEY, "what they cost by the service's `price`, in its currency"},
    {"concurrency", LIMIT_CONCURRENCY, "requests under way at once"},
    {NULL},
};

static const struct field_word window_words[] = {
    {"now", LIMIT_NOW, "for `concurrency`: there is no window"},
    {"second", LIMIT_SECOND, ""},
    {"minute", LIMIT_MINUTE, ""},
    {"hour", LIMIT_HOUR, ""},
    {"day", LIMIT_DAY, "24 hours"},
    {"month", LIMIT_MONTH, "30 days"},
    {NULL},
};

enum { MICRO = 1000000 };

static void finish_limit(struct field_reader *reader, void *object)
{
    const struct limit *limit = object;
    if (limit->what == LIMIT_CONCURRENCY && limit->window != LIMIT_NOW)
        fields_report(reader, "per", "concurrency is a number at once: it has no window");
    if (limit->what != LIMIT_CONCURRENCY && limit->window == LIMIT_NOW)
        fields_report(reader, "per", "expected second, minute, hour, day or month");
    if (limit->what != LIMIT_MONEY && limit->most_micro % MICRO != 0)
        fields_report(reader, "most", "expected a whole number");
    if (limit->what == LIMIT_MONEY && limit->most_micro > (int64_t)1000000 * MICRO)
        fields_report(reader, "most", "expected at most 1000000 of a currency");
}

static const struct field limit_fields[] = {
    {.name = "what",
        .type = FIELD_ENUM,
        .flags = FIELD_REQUIRED,
        .words = what_words,
        .offset = offsetof(struct limit, what),
        .doc = "What is counted."},
    {.name = "most",
        .type = FIELD_MICRO,
        .flags = FIELD_REQUIRED,
        .min = 0,
        .max = (int64_t)1000000000000 * MICRO,
        .offset = offsetof(struct limit, most_micro),
        .doc = "How many there may be in the window, wherever it begins."},
    {.name = "per",
        .type = FIELD_ENUM,
        .words = window_words,
        .fallback = LIMIT_NOW,
        .offset = offsetof(struct limit, window),
        .doc = "The window."},
};
static const struct field_table limit_table = FIELD_TABLE(
    "Limit", struct limit, limit_fields, .finish = finish_limit, .doc = "One limit of several.");

static const struct field price_fields[] = {
    {.name = "requests",
        .type = FIELD_MICRO,
        .max = (int64_t)1000000 * MICRO,
        .offset = offsetof(struct service_limits, price.requests_micro),
        .doc = "Of 1,000 requests."},
    {.name = "inputTokens",
        .type = FIELD_MICRO,
        .max = (int64_t)1000000 * MICRO,
        .offset = offsetof(struct service_limits, price.input_micro),
        .doc = "Of 1,000 tokens of prompts."},
    {.name = "outputTokens",
        .type = FIELD_MICRO,
        .max = (int64_t)1000000 * MICRO,
        .offset = offsetof(struct service_limits, price.output_micro),
        .doc = "Of 1,000 tokens of answers."},
};
static const struct field_table price_table = FIELD_TABLE("ServicePrice", struct service_limits,
    price_fields, .doc = "What limits of money count a request with.");

static const struct field service_limits_fields[] = {
    {.name = "key",
        .type = FIELD_OBJECTS,
        .table = &limit_table,
        .max = LIMIT_LIST_MAX,
        .offset = offsetof(struct service_limits, key),
        .doc = "Of each key at this service."},
    {.name = "address",
        .type = FIELD_OBJECTS,
        .table = &limit_table,
        .max = LIMIT_LIST_MAX,
        .offset = offsetof(struct service_limits, address),
        .doc = "Of each address of clients (of IPv6 its /64)."},
    {.name = "all",
        .type = FIELD_OBJECTS,
        .table = &limit_table,
        .max = LIMIT_LIST_MAX,
        .offset = offsetof(struct service_limits, all),
        .doc = "Of all requests of the service."},
    {.name = "price",
        .type = FIELD_OBJECT,
        .table = &price_table,
        .doc = "The price that limits of `money` go by. `muster cost` says what was measured."},
};
const struct field_table service_limits_table = FIELD_TABLE("ServiceLimits", struct service_limits,
    service_limits_fields, .doc = "How much of a service there is for whom.");

static const struct field service_queue_fields[] = {
    {.name = "concurrency",
        .type = FIELD_INT,
        .max = 1000000,
        .offset = offsetof(struct service_queue, concurrency),
        .doc = "Requests that a replica answers at once; those beyond wait. 0: no bound."},
    {.name = "length",
        .type = FIELD_INT,
        .fallback = 1024,
        .min = 1,
        .max = 65536,
        .offset = offsetof(struct service_queue, length),
        .doc = "Requests that wait, at most."},
    {.name = "wait",
        .type = FIELD_DURATION,
        .fallback = SECONDS(1),
        .min = 1,
        .max = MINUTES(10),
        .offset = offsetof(struct service_queue, wait_ms),
        .doc = "How long a request may wait. One that would have to wait longer is refused at "
               "once: of priority normal at half of it, below that at a quarter."},
};
const struct field_table service_queue_table = FIELD_TABLE("ServiceQueue", struct service_queue,
    service_queue_fields, .doc = "How busy replicas are shared.");

static const struct field serving_fields[] = {
    {.name = "limits",
        .type = FIELD_OBJECTS,
        .table = &limit_table,
        .max = LIMIT_LIST_MAX,
        .offset = offsetof(struct serving_rights, limits),
        .doc = "Of all requests together, at whichever service."},
    {.name = "weight",
        .type = FIELD_MICRO,
        .fallback = MICRO,
        .min = 1000,
        .max = (int64_t)1000 * MICRO,
        .offset = offsetof(struct serving_rights, weight_micro),
        .doc = "The share of a busy service, against others'."},
    {.name = "priority",
        .type = FIELD_INT,
        .words = priority_words,
        .fallback = -1,
        .max = 1000,
        .offset = offsetof(struct serving_rights, priority),
        .fallback_doc = "that of the team above, or normal",
        .doc = "The priority of requests at a busy service, and the most that one may ask for by "
               "`X-Muster-Priority`."},
};
const struct field_table serving_table = FIELD_TABLE(
    "Serving", struct serving_rights, serving_fields, .doc = "What keys may do at the gateway.");

/* clang-format on */

void serving_default(struct serving_rights *ret)
{
    fields_default(&serving_table, ret);
}

struct doc *serving_encode(struct arena *arena, const struct serving_rights *serving)
{
    return fields_encode(&serving_table, arena, serving, false);
}

int serving_decode(struct arena *arena, const struct doc *doc, bool known,
    struct serving_rights *ret, struct error *err)
{
    struct serving_rights serving;
    struct field_errors errors = {0};
    size_t faults = known ? fields_decode_known(&serving_table, arena, doc, &serving, &errors)
                          : fields_decode(&serving_table, arena, doc, "", false, &serving, &errors);
    if (faults > 0)
        return field_errors_summary(&errors, err);
    *ret = serving;
    return 0;
}

bool serving_is_default(const struct serving_rights *serving)
{
    struct serving_rights usual;
    serving_default(&usual);
    return fields_equal(&serving_table, serving, &usual);
}

bool serving_priority_parse(const char *text, int64_t *ret)
{
    char *end;
    for (const struct field_word *word = priority_words; word->word; word++) {
        if (!strcmp(text, word->word)) {
            *ret = word->value;
            return true;
        }
    }
    if (text[0] < '0' || text[0] > '9')
        return false;
    long long number = strtoll(text, &end, 10);
    if (*end || number > PRIORITY_URGENT)
        return false;
    *ret = number;
    return true;
}
