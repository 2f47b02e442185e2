/* The table of `spec.rollout` of a Service: how replicas are replaced, and what a new revision has
 * to show before it takes over. */
#include "spec/serving.h"
#include "spec/tables.h"

#include <stddef.h>

/* clang-format off: a field is a paragraph, not a column */

static const struct field stage_fields[] = {
    {.name = "weight",
        .type = FIELD_INT,
        .flags = FIELD_REQUIRED,
        .min = 1,
        .max = 50,
        .offset = offsetof(struct rollout_stage, weight),
        .doc = "Percentage of the requests that go to the canary, and as many to the baseline; of "
               "a shadow: that are copied."},
    {.name = "bake",
        .type = FIELD_DURATION,
        .max = DAYS(30),
        .offset = offsetof(struct rollout_stage, bake_ms),
        .doc = "The step lasts at least so long."},
};
static const struct field_table stage_table =
    FIELD_TABLE("RolloutStep", struct rollout_stage, stage_fields, .doc = "A step of a rollout.");

static const struct field margin_fields[] = {
    {.name = "errors",
        .type = FIELD_MICRO,
        .fallback = 10000,
        .min = 1,
        .max = 1000000,
        .offset = offsetof(struct service_rollout, margins.errors_micro),
        .doc = "How much larger a part of its requests may fail than of the baseline's."},
    {.name = "latency",
        .type = FIELD_MICRO,
        .fallback = 100000,
        .min = 1,
        .max = 1000000,
        .offset = offsetof(struct service_rollout, margins.latency_micro),
        .doc = "At any latency: how much larger a part of its answers may take longer."},
    {.name = "quality",
        .type = FIELD_MICRO,
        .max = 1000000,
        .offset = offsetof(struct service_rollout, margins.quality_micro),
        .fallback_doc = "scores are not looked at",
        .doc = "How much lower the mean of the scores that clients post may be."},
    {.name = "differences",
        .type = FIELD_MICRO,
        .fallback = 10000,
        .min = 1,
        .max = 999999,
        .offset = offsetof(struct service_rollout, margins.differences_micro),
        .doc = "Of a shadow: which part of its answers may differ."},
};
static const struct field_table margin_table = FIELD_TABLE("RolloutMargins", struct service_rollout,
    margin_fields, .doc = "What still counts as no worse.");

static const struct field guard_fields[] = {
    {.name = "requests",
        .type = FIELD_INT,
        .fallback = 100,
        .min = 1,
        .max = 1000000000,
        .offset = offsetof(struct service_rollout, guard.requests),
        .doc = "It holds from so many requests of the canary on."},
    {.name = "errors",
        .type = FIELD_MICRO,
        .fallback = 100000,
        .max = 1000000,
        .offset = offsetof(struct service_rollout, guard.errors_micro),
        .doc = "A larger part of failed requests aborts at once, whatever the baseline does."},
    {.name = "p99",
        .type = FIELD_DURATION,
        .max = MINUTES(60),
        .fallback_doc = "none",
        .offset = offsetof(struct service_rollout, guard.p99_ms),
        .doc = "The same for answers: more than one in a hundred that surely took longer."},
};
static const struct field_table guard_table = FIELD_TABLE("RolloutGuard", struct service_rollout,
    guard_fields, .doc = "What is not borne, tests or not.");

static const struct field_word strategy_words[] = {
    {"none", STRATEGY_NONE, "one replica after the other"},
    {"canary", STRATEGY_CANARY, "a part of the requests, beside a fresh baseline"},
    {"blue-green", STRATEGY_BLUE_GREEN, "all replicas beside the old ones, then all requests"},
    {"shadow", STRATEGY_SHADOW, "copies of requests, whose answers are compared"},
    {NULL},
};

static void finish_rollout(struct field_reader *reader, void *object)
{
    const struct service_rollout *rollout = object;
    if (rollout->surge + rollout->unavailable < 1)
        fields_report(reader, "surge",
            "expected at least 1 while unavailable is 0, or no replica "
            "could ever be replaced");
}

static const struct field rollout_fields[] = {
    {.name = "surge",
        .type = FIELD_INT,
        .fallback = 1,
        .max = 1000,
        .offset = offsetof(struct service_rollout, surge),
        .doc = "Replicas more than wanted, while they are replaced."},
    {.name = "unavailable",
        .type = FIELD_INT,
        .max = 1000,
        .offset = offsetof(struct service_rollout, unavailable),
        .doc = "Replicas fewer that are ready, while they are replaced."},
    {.name = "strategy",
        .type = FIELD_ENUM,
        .words = strategy_words,
        .fallback = STRATEGY_NONE,
        .offset = offsetof(struct service_rollout, strategy),
        .doc = "What a new revision goes through first."},
    {.name = "steps",
        .type = FIELD_OBJECTS,
        .table = &stage_table,
        .max = ROLLOUT_STAGES_MAX,
        .offset = offsetof(struct service_rollout, steps),
        .fallback_doc = "weights of 5, 20 and 50; of a shadow or blue-green one step",
        .doc = "What it gets, one after the other."},
    {.name = "requests",
        .type = FIELD_INT,
        .fallback = 500,
        .min = 1,
        .max = 1000000000,
        .offset = offsetof(struct service_rollout, requests),
        .doc = "No step passes before the canary, and the baseline, had so many requests in it."},
    {.name = "patience",
        .type = FIELD_DURATION,
        .fallback = MINUTES(60),
        .min = 1,
        .max = DAYS(30),
        .offset = offsetof(struct service_rollout, patience_ms),
        .doc = "A step that has shown nothing for so long is inconclusive."},
    {.name = "giveUp",
        .type = FIELD_BOOL,
        .offset = offsetof(struct service_rollout, give_up),
        .doc = "An inconclusive rollout is aborted; else it is paused."},
    {.name = "byTime",
        .type = FIELD_BOOL,
        .offset = offsetof(struct service_rollout, by_time),
        .doc = "A step passes by its sample and its time alone, unless a test or the guard says "
               "otherwise; else it has to be shown that the canary is no worse."},
    {.name = "alpha",
        .type = FIELD_MICRO,
        .fallback = 50000,
        .min = 1,
        .max = 500000,
        .offset = offsetof(struct service_rollout, alpha_micro),
        .doc = "The probability that a canary that is no worse is aborted, at most."},
    {.name = "margins",
        .type = FIELD_OBJECT,
        .table = &margin_table,
        .doc = "What still counts as no worse."},
    {.name = "guard", .type = FIELD_OBJECT, .table = &guard_table, .doc = "What aborts at once."},
};
const struct field_table service_rollout_table = FIELD_TABLE("Rollout", struct service_rollout,
    rollout_fields, .finish = finish_rollout, .doc = "How replicas are replaced.");

/* clang-format on */

void service_rollout_default(struct service_rollout *ret)
{
    fields_default(&service_rollout_table, ret);
}
