/* The tables of autoscaling: `spec.autoscale` and `spec.metrics` of a Service, and what its gateway
 * holds for a service without replicas. */
#include "spec/serving.h"
#include "spec/tables.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off: a field is a paragraph, not a column */

enum { DAY_MINUTES = 24 * 60 };

/* ---- texts ----------------------------------------------------------------------------------- */

static bool two_digits(const char *text, int below)
{
    return text[0] >= '0' && text[0] <= '9' && text[1] >= '0' && text[1] <= '9' &&
           (text[0] - '0') * 10 + text[1] - '0' < below;
}

static bool is_clock(const char *text)
{
    return strlen(text) == 5 && two_digits(text, 24) && text[2] == ':' && two_digits(text + 3, 60);
}

static bool is_offset(const char *text)
{
    return (text[0] == '+' || text[0] == '-') && is_clock(text + 1) &&
           strcmp(text + 1, "15:00") < 0;
}

static const char *const day_names[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

static int day_number(const char *text)
{
    for (int i = 0; i < 7; i++) {
        if (!strcmp(text, day_names[i]))
            return i;
    }
    return -1;
}

static bool is_day(const char *text)
{
    return day_number(text) >= 0;
}

static const struct text_rule rule_clock = {
    "a time of day such as 08:30", "^([01][0-9]|2[0-3]):[0-5][0-9]$", 5, is_clock};
const struct text_rule rule_utc_offset = {
    "an offset such as +02:00", "^[+-](0[0-9]|1[0-4]):[0-5][0-9]$", 6, is_offset};
static const struct text_rule rule_day = {
    "mon, tue, wed, thu, fri, sat or sun", "^(mon|tue|wed|thu|fri|sat|sun)$", 3, is_day};

static bool is_metric_name(const char *text)
{
    size_t length =
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:.-");
    return length > 0 && text[length] == '\0';
}

static const struct text_rule rule_metric = {
    "a name of letters, digits and _:.-", "^[A-Za-z0-9_:.-]+$", 200, is_metric_name};

static int64_t clock_minutes(const char *text)
{
    return strtoll(text, NULL, 10) * 60 + strtoll(text + 3, NULL, 10);
}

/* ---- metrics --------------------------------------------------------------------------------- */

static bool is_metric_url(const char *text)
{
    return is_http_url(text) && strchr(strstr(text, "://") + 3, '/');
}

static const struct text_rule rule_metric_url = {"a URL such as https://metrics.example/metrics",
    "^https?://[^/ #@]+/[^ #@]*$", 1024, is_metric_url};

static const struct field_word of_words[] = {
    {"sum", METRIC_OF_SUM, "their sum"},
    {"mean", METRIC_OF_MEAN, "their mean"},
    {"most", METRIC_OF_MOST, "the largest"},
    {NULL},
};

static void finish_metric(struct field_reader *reader, void *object)
{
    const struct service_metric *metric = object;
    if (!metric->url == !metric->path)
        fields_report(reader, "url", "expected either url or path: an endpoint, or the replicas'");
}

static const struct field metric_fields[] = {
    {.name = "name",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_metric,
        .offset = offsetof(struct service_metric, name),
        .doc = "As `autoscale.metrics` and HorizontalPodAutoscalers name it."},
    {.name = "url",
        .type = FIELD_TEXT,
        .rule = &rule_metric_url,
        .offset = offsetof(struct service_metric, url),
        .doc = "A Prometheus endpoint, by http or https; that of a Prometheus server is "
               "`/federate?match[]=...`."},
    {.name = "path",
        .type = FIELD_TEXT,
        .rule = &rule_url_path,
        .offset = offsetof(struct service_metric, path),
        .doc = "In place of `url`: that of an endpoint which each replica has itself, such as "
               "`/metrics`."},
    {.name = "series",
        .type = FIELD_TEXT,
        .rule = &rule_metric,
        .fallback_doc = "`name`",
        .offset = offsetof(struct service_metric, series),
        .doc = "What the endpoint calls it."},
    {.name = "labels",
        .type = FIELD_MAP,
        .table = &label_table,
        .max = 16,
        .offset = offsetof(struct service_metric, labels),
        .doc = "Labels that its samples have to have; others do not count."},
    {.name = "of",
        .type = FIELD_ENUM,
        .words = of_words,
        .fallback = METRIC_OF_SUM,
        .offset = offsetof(struct service_metric, of),
        .doc = "What several samples are together."},
};
const struct field_table service_metric_table =
    FIELD_TABLE("ServiceMetric", struct service_metric, metric_fields, .finish = finish_metric,
        .doc = "A figure that is read from elsewhere, every 5 seconds.");

enum { METRIC_MICRO = 1000000 };
#define METRIC_MOST ((int64_t)1000000000 * METRIC_MICRO)

static void finish_target(struct field_reader *reader, void *object)
{
    const struct autoscale_metric *metric = object;
    if ((metric->average_micro > 0) == (metric->value_micro > 0))
        fields_report(reader, "averageValue", "expected either averageValue or value, above 0");
}

static const struct field target_fields[] = {
    {.name = "name",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_metric,
        .offset = offsetof(struct autoscale_metric, name),
        .doc = "One of `spec.metrics`."},
    {.name = "averageValue",
        .type = FIELD_MICRO,
        .max = METRIC_MOST,
        .offset = offsetof(struct autoscale_metric, average_micro),
        .doc = "What there is to be of it for each replica: its value is divided by this."},
    {.name = "value",
        .type = FIELD_MICRO,
        .max = METRIC_MOST,
        .offset = offsetof(struct autoscale_metric, value_micro),
        .doc = "What it is to be, however many replicas there are: these are multiplied by its "
               "value and divided by this."},
};
static const struct field_table target_table = FIELD_TABLE("AutoscaleMetric",
    struct autoscale_metric, target_fields, .finish = finish_target, .doc = "A metric to go by.");

/* ---- hours ----------------------------------------------------------------------------------- */

static void finish_hours(struct field_reader *reader, void *object)
{
    struct autoscale_hours *hours = object;
    (void)reader;
    hours->from_minute = clock_minutes(hours->from);
    hours->to_minute = clock_minutes(hours->to);
    hours->day_bits = hours->days.count ? 0 : 0x7f;
    for (size_t i = 0; i < hours->days.count; i++)
        hours->day_bits |= 1LL << day_number(hours->days.items[i]);
}

int64_t hours_offset_minutes(const char *text)
{
    return clock_minutes(text + 1) * (text[0] == '-' ? -1 : 1);
}

/* What every kind of hours has. */
#define HOURS_FIELDS                                                                               \
    {.name = "from",                                                                               \
        .type = FIELD_TEXT,                                                                        \
        .rule = &rule_clock,                                                                       \
        .fallback_text = "00:00",                                                                  \
        .offset = offsetof(struct autoscale_hours, from),                                          \
        .doc = "When they begin."},                                                                \
        {.name = "to",                                                                             \
            .type = FIELD_TEXT,                                                                    \
            .rule = &rule_clock,                                                                   \
            .fallback_text = "00:00",                                                              \
            .offset = offsetof(struct autoscale_hours, to),                                        \
            .doc = "When they end; where this is not after `from`, on the next day."},             \
    {                                                                                              \
        .name = "days", .type = FIELD_TEXTS, .rule = &rule_day, .max = 7, .fallback_doc = "all",   \
        .offset = offsetof(struct autoscale_hours, days), .doc = "The days on which they begin."   \
    }

static const struct field plain_hours_fields[] = {HOURS_FIELDS};
const struct field_table service_hours_table = FIELD_TABLE("ServiceHours", struct autoscale_hours,
    plain_hours_fields, .finish = finish_hours, .doc = "A part of some days.");

static const struct field hours_fields[] = {
    HOURS_FIELDS,
    {.name = "min",
        .type = FIELD_INT,
        .flags = FIELD_REQUIRED,
        .min = 1,
        .max = 1000,
        .offset = offsetof(struct autoscale_hours, min),
        .doc = "At least so many replicas."},
};
static const struct field_table hours_table = FIELD_TABLE("AutoscaleHours", struct autoscale_hours,
    hours_fields, .finish = finish_hours, .doc = "A part of some days.");

/* ---- autoscale ------------------------------------------------------------------------------- */

static const struct field_word latency_words[] = {
    {"none", LATENCY_NONE, "not at all"},
    {"first", LATENCY_FIRST, "to the first byte of the answer"},
    {"whole", LATENCY_WHOLE, "to its last"},
    {NULL},
};

static const struct field latency_fields[] = {
    {.name = "goal",
        .type = FIELD_DURATION,
        .max = MINUTES(60),
        .offset = offsetof(struct service_autoscale, latency.goal_ms),
        .doc = "How long a request may take, its wait included."},
    {.name = "percent",
        .type = FIELD_MILLI,
        .fallback = 99000,
        .min = 50000,
        .max = 99990,
        .offset = offsetof(struct service_autoscale, latency.percent_milli),
        .doc = "How many requests of a hundred may take no longer."},
    {.name = "of",
        .type = FIELD_ENUM,
        .words = latency_words,
        .fallback = LATENCY_WHOLE,
        .offset = offsetof(struct service_autoscale, latency.of),
        .doc = "What is measured."},
};
static const struct field_table latency_table = FIELD_TABLE(
    "AutoscaleLatency", struct service_autoscale, latency_fields, .doc = "A goal for answers.");

static void check_metrics_twice(struct field_reader *reader, const struct service_autoscale *scale)
{
    for (size_t i = 1; i < scale->metrics.count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (!strcmp(scale->metrics.items[i].name, scale->metrics.items[k].name))
                fields_report(reader, "metrics", "expected each metric once");
        }
    }
}

static void finish_autoscale(struct field_reader *reader, void *object)
{
    struct service_autoscale *scale = object;
    if (scale->max < 1)
        fields_report(reader, "max", "required, but not given");
    else if (scale->min > scale->max)
        fields_report(reader, "min", "expected at most max");
    if (scale->in_flight == 0 && scale->latency.goal_ms == 0 && scale->accelerator_percent == 0 &&
        scale->metrics.count == 0)
        fields_report(reader, "", "expected inFlight, latency, accelerator or metrics to go by");
    if (scale->panic_ms > scale->stable_ms)
        fields_report(reader, "panicWindow", "expected at most stableWindow");
    if (scale->latency.goal_ms > 0 && scale->latency.of == LATENCY_NONE)
        fields_report(reader, "latency.of", "expected first or whole");
    check_metrics_twice(reader, scale);
    scale->utc_offset_minutes = hours_offset_minutes(scale->utc_offset);
}

static const struct field autoscale_fields[] = {
    {.name = "min",
        .type = FIELD_INT,
        .fallback = 1,
        .max = 1000,
        .offset = offsetof(struct service_autoscale, min),
        .also = "minReplicas",
        .doc = "At least so many replicas; with 0 all of them go when nobody asks."},
    {.name = "max",
        .type = FIELD_INT,
        .max = 1000,
        .fallback_doc = "none: it has to be given",
        .offset = offsetof(struct service_autoscale, max),
        .also = "maxReplicas",
        .doc = "At most so many."},
    {.name = "inFlight",
        .type = FIELD_INT,
        .max = 100000,
        .offset = offsetof(struct service_autoscale, in_flight),
        .also = "concurrency target",
        .doc = "Requests that a replica can have under way at once; 0: not looked at."},
    {.name = "use",
        .type = FIELD_INT,
        .fallback = 70,
        .min = 1,
        .max = 100,
        .offset = offsetof(struct service_autoscale, use_percent),
        .doc = "The part of `inFlight`, in per cent, that is aimed at: the rest is for what comes "
               "suddenly."},
    {.name = "latency",
        .type = FIELD_OBJECT,
        .table = &latency_table,
        .doc = "A goal for answers."},
    {.name = "accelerator",
        .type = FIELD_INT,
        .max = 100,
        .offset = offsetof(struct service_autoscale, accelerator_percent),
        .doc = "The mean utilisation of the replicas' accelerators, in per cent, that is aimed at; "
               "0: not looked at."},
    {.name = "metrics",
        .type = FIELD_OBJECTS,
        .table = &target_table,
        .max = AUTOSCALE_METRICS_MAX,
        .offset = offsetof(struct service_autoscale, metrics),
        .doc = "Metrics to go by, of `spec.metrics`."},
    {.name = "stableWindow",
        .type = FIELD_DURATION,
        .fallback = SECONDS(60),
        .min = SECONDS(6),
        .max = MINUTES(60),
        .offset = offsetof(struct service_autoscale, stable_ms),
        .doc = "Over how long figures are averaged."},
    {.name = "panicWindow",
        .type = FIELD_DURATION,
        .fallback = SECONDS(6),
        .min = SECONDS(1),
        .max = MINUTES(10),
        .offset = offsetof(struct service_autoscale, panic_ms),
        .doc = "The same where they rise suddenly."},
    {.name = "panicPercent",
        .type = FIELD_INT,
        .fallback = 200,
        .min = 110,
        .max = 1000,
        .offset = offsetof(struct service_autoscale, panic_percent),
        .doc = "How much of what is ready the panic window has to ask for to be believed; nothing "
               "goes down then until it has not for a whole stable window."},
    {.name = "idle",
        .type = FIELD_DURATION,
        .fallback = MINUTES(5),
        .min = SECONDS(1),
        .max = DAYS(7),
        .offset = offsetof(struct service_autoscale, idle_ms),
        .doc = "With `min: 0`: how long no request may have been there before the last replica "
               "goes."},
    {.name = "up",
        .type = FIELD_DURATION,
        .max = MINUTES(60),
        .offset = offsetof(struct service_autoscale, up_ms),
        .doc = "How long a wish for more has to last."},
    {.name = "down",
        .type = FIELD_DURATION,
        .fallback = MINUTES(5),
        .max = MINUTES(60),
        .offset = offsetof(struct service_autoscale, down_ms),
        .doc = "How long a wish for fewer has to last; up to four times as long after the latency "
               "goal was missed."},
    {.name = "hours",
        .type = FIELD_OBJECTS,
        .table = &hours_table,
        .max = AUTOSCALE_HOURS_MAX,
        .offset = offsetof(struct service_autoscale, hours),
        .doc = "More than `min` at some times; the most that holds counts, up to `max`."},
    {.name = "utcOffset",
        .type = FIELD_TEXT,
        .rule = &rule_utc_offset,
        .fallback_text = "+00:00",
        .offset = offsetof(struct service_autoscale, utc_offset),
        .doc = "Of the `hours`, from UTC. It does not follow summer time."},
};
const struct field_table service_autoscale_table =
    FIELD_TABLE("ServiceAutoscale", struct service_autoscale, autoscale_fields,
        .finish = finish_autoscale, .doc = "How many replicas there are.");

void service_autoscale_default(struct service_autoscale *ret)
{
    fields_default(&service_autoscale_table, ret);
}

/* ---- the gateway's part ---------------------------------------------------------------------- */

static const struct field hold_fields[] = {
    {.name = "wait",
        .type = FIELD_DURATION,
        .max = MINUTES(60),
        .fallback_doc = "0: two seconds as everywhere; with `autoscale.min: 0` one minute",
        .offset = offsetof(struct service_hold, wait_ms),
        .doc = "How long a request waits for the first replica, at most."},
    {.name = "requests",
        .type = FIELD_INT,
        .fallback = 1000,
        .min = 1,
        .max = 100000,
        .offset = offsetof(struct service_hold, requests),
        .doc = "How many wait at once, at most; others get 503 with Retry-After."},
    {.name = "bytes",
        .type = FIELD_BYTES,
        .fallback = 64 << 20,
        .min = 1,
        .max = 1LL << 32,
        .offset = offsetof(struct service_hold, bytes),
        .doc = "Of how many bytes their bodies are together, at most."},
};
const struct field_table service_hold_table = FIELD_TABLE("ServiceHold", struct service_hold,
    hold_fields, .doc = "What becomes of requests while there is no replica.");

const struct field_word measure_words[] = {
    {"none", LATENCY_NONE, "nothing is counted"},
    {"first", LATENCY_FIRST, "what is to the first byte of an answer"},
    {"whole", LATENCY_WHOLE, "what is to its last"},
    {NULL},
};
