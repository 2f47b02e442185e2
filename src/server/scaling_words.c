/* What scaling decided and why, for people: see scaling_internal.h. The figures are those that the
 * decision was made with. */
#include "server/scaling_internal.h"

#include "base/memory.h"
#include "base/quantity.h"
#include "server/status.h"

#include <inttypes.h>
#include <stdio.h>

enum { MICRO = 1000000 };

/* "12.4": as many digits after the point as say something. */
static const char *number(struct arena *arena, int64_t micro)
{
    const char *minus = micro < 0 ? "-" : "";
    int64_t tenths = ((micro < 0 ? -micro : micro) + 50000) / 100000;
    int64_t thousandths = ((micro < 0 ? -micro : micro) + 500) / 1000;
    if (thousandths < 10 * 1000 && thousandths % 100 != 0)
        return arena_printf(
            arena, "%s%" PRId64 ".%03" PRId64, minus, thousandths / 1000, thousandths % 1000);
    if (tenths % 10 == 0)
        return arena_printf(arena, "%s%" PRId64, minus, tenths / 10);
    return arena_printf(arena, "%s%" PRId64 ".%" PRId64, minus, tenths / 10, tenths % 10);
}

static const char *duration(struct arena *arena, int64_t ms)
{
    if (ms < 1000)
        return arena_printf(arena, "%" PRId64 " ms", ms);
    if (ms < 120 * 1000)
        return arena_printf(arena, "%s s", number(arena, ms * 1000));
    return arena_printf(arena, "%" PRId64 " min", (ms + 30000) / 60000);
}

static const char *replicas(struct arena *arena, int32_t count)
{
    return arena_printf(arena, "%d replica%s", (int)count, count == 1 ? "" : "s");
}

/* ---- why, in a sentence ------------------------------------------------------------------------
 */

static const char *const reason_words[AUTOSCALE_REASON_COUNT] = {
    [AUTOSCALE_NO_DATA] = "nothing is known that would ask for another number",
    [AUTOSCALE_LOAD] = "of the requests under way and waiting",
    [AUTOSCALE_PANIC] = "requests have come suddenly",
    [AUTOSCALE_BACKLOG] = "requests wait and there was no replica",
    [AUTOSCALE_LATENCY] = "answers were later than the goal",
    [AUTOSCALE_ACCELERATOR] = "of the accelerators' utilisation",
    [AUTOSCALE_METRIC] = "of a metric",
    [AUTOSCALE_IDLE] = "nobody has asked for long enough",
    [AUTOSCALE_MIN] = "that is the minimum",
    [AUTOSCALE_HOURS] = "that is the minimum at this time",
    [AUTOSCALE_MAX] = "that is the maximum",
    [AUTOSCALE_STEADY] = "the wish for another number has not lasted yet",
    [AUTOSCALE_RATE] = "a policy allows no more at a time",
    [AUTOSCALE_TOLERANCE] = "it is near enough to its target",
};

static void say(struct doc *words, struct arena *arena, const char *text)
{
    doc_append(words, doc_string(arena, text));
}

static void say_decision(const struct scaled *one, struct arena *arena, struct doc *words)
{
    const struct autoscale_decision *decision = &one->decision;
    const char *asked = reason_words[decision->reason];
    if (decision->bound == AUTOSCALE_NO_DATA)
        say(words, arena,
            arena_printf(arena, "%s wanted: %s.", replicas(arena, decision->wanted), asked));
    else
        say(words, arena,
            arena_printf(arena, "%s wanted: %s. Without that it would be %d, as %s.",
                replicas(arena, decision->wanted), reason_words[decision->bound],
                (int)decision->asked, asked));
    if (decision->panic)
        say(words, arena, "Nothing goes down while requests have come suddenly.");
}

static void say_load(const struct scaled *one, const struct service_autoscale *options,
    struct arena *arena, struct doc *words)
{
    static const struct {
        enum autoscale_signal_kind kind;
        const char *name;
    } rows[] = {{SIGNAL_LOAD, "Load"}, {SIGNAL_PANIC, "Sudden load"}, {SIGNAL_BACKLOG, "Waiting"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct autoscale_signal *signal = &one->decision.signals[rows[i].kind];
        int64_t over = rows[i].kind == SIGNAL_PANIC ? options->panic_ms : options->stable_ms;
        if (!signal->known)
            continue;
        const char *of = signal->target_micro > 0 ? arena_printf(arena, ", %s for a replica",
                                                        number(arena, signal->target_micro))
                                                  : "";
        const char *when = rows[i].kind == SIGNAL_BACKLOG
                               ? "now"
                               : arena_printf(arena, "over %s", duration(arena, over));
        say(words, arena,
            arena_printf(arena, "%s: %s requests at once %s%s: %s.", rows[i].name,
                number(arena, signal->value_micro), when, of, replicas(arena, signal->replicas)));
    }
}

static void say_latency(const struct scaled *one, const struct service_autoscale *options,
    struct arena *arena, struct doc *words)
{
    const struct autoscale_signal *signal = &one->decision.signals[SIGNAL_LATENCY];
    if (!signal->known)
        return;
    const char *more = signal->replicas > 0
                           ? arena_printf(arena, "; a replica is given less for it: %s",
                                 replicas(arena, signal->replicas))
                           : "";
    say(words, arena,
        arena_printf(arena, "Goal of %s: %s %% of the answers were later, %s %% may be%s.",
            duration(arena, options->latency.goal_ms), number(arena, signal->value_micro * 100),
            number(arena, signal->target_micro * 100), more));
}

static void say_rest(
    const struct scaled *one, const struct service *service, struct arena *arena, struct doc *words)
{
    const struct service_autoscale *options = &service->autoscale;
    const struct autoscale_signal *used = &one->decision.signals[SIGNAL_ACCELERATOR];
    if (used->known)
        say(words, arena,
            arena_printf(arena, "Accelerators: %s %%, %s %% is aimed at: %s.",
                number(arena, used->value_micro), number(arena, used->target_micro),
                replicas(arena, used->replicas)));
    for (size_t i = 0; i < options->metrics.count; i++) {
        const char *name = options->metrics.items[i].name;
        const struct autoscale_signal *signal = &one->decision.signals[SIGNAL_METRIC + i];
        int at = scaled_metric(service, name);
        if (signal->known)
            say(words, arena,
                arena_printf(arena, "Metric %s: %s, %s%s is aimed at: %s.", name,
                    number(arena, signal->value_micro), number(arena, signal->target_micro),
                    options->metrics.items[i].average_micro ? " for a replica" : "",
                    replicas(arena, signal->replicas)));
        else
            say(words, arena,
                arena_printf(arena,
                    "Metric %s: nothing is known%s%s; nothing goes down without it.", name,
                    at >= 0 && one->sources[at] ? ": " : "",
                    at >= 0 && one->sources[at] ? metric_trouble(one->sources[at]) : ""));
    }
}

static void say_hpa(
    const struct scaled *one, const struct hpa *hpa, struct arena *arena, struct doc *words)
{
    say(words, arena,
        arena_printf(arena, "HorizontalPodAutoscaler %s decides, by Kubernetes' formula.",
            hpa->metadata.name));
    for (size_t i = 0; i < hpa->metrics.count && i < AUTOSCALE_METRICS_MAX; i++) {
        const struct hpa_metric *metric = &hpa->metrics.items[i];
        const struct autoscale_signal *signal = &one->decision.signals[SIGNAL_METRIC + i];
        if (metric->name && signal->known)
            say(words, arena,
                arena_printf(arena, "Metric %s: %s, its target is %s: %s.", metric->name,
                    number(arena, signal->value_micro), number(arena, signal->target_micro),
                    replicas(arena, signal->replicas)));
        else if (metric->name)
            say(words, arena,
                arena_printf(arena,
                    "Metric %s: nothing is known of it; it is one of spec.metrics of the Service, "
                    "gpu_utilization, requests_in_flight or requests_waiting.",
                    metric->name));
    }
}

static void say_history(const struct scaled *one, struct arena *arena, struct doc *words)
{
    char moment[QUANTITY_TEXT];
    if (one->decision.start_ms > 0)
        say(words, arena,
            arena_printf(
                arena, "Replicas take %s to get ready.", duration(arena, one->decision.start_ms)));
    if (one->changed_ms > 0)
        say(words, arena,
            arena_printf(arena, "The number was last changed at %s, from %d: %s.",
                quantity_time(one->changed_ms, moment), (int)one->from, reason_words[one->why]));
}

/* ---- the document ------------------------------------------------------------------------------
 */

/* Over the last minute or two. */
static void set_latency(const struct scaled *one, struct arena *arena, struct doc *out)
{
    struct histogram *lately = arena_alloc(arena, 1, sizeof *lately);
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t before = one->before.counts[i], now = one->latency.counts[i];
        lately->counts[i] = now > before ? now - before : 0;
    }
    if (histogram_count(lately) > 0)
        doc_set_int(arena, out, "p99Ms", histogram_at(lately, 990000) / 1000);
}

struct doc *scaling_status(
    const struct scaling *scaling, struct arena *arena, const char *team, const char *name)
{
    char key[CATALOG_KEY];
    snprintf(key, sizeof key, "%s/%s", team, name);
    const struct scaled *one = scaling ? scaled_find(scaling, key) : NULL;
    const struct service *service = one ? scaled_service(scaling, one) : NULL;
    const struct hpa *hpa = scaling ? scaling_hpa(scaling->services->server, team, name) : NULL;
    if (!service || !one->decided || (service->autoscale.max == 0 && !hpa))
        return NULL;
    const struct autoscale_decision *decision = &one->decision;
    struct doc *out = doc_map(arena), *words = doc_list(arena);
    doc_set_int(arena, out, "wanted", decision->wanted);
    doc_set_int(arena, out, "asked", decision->asked);
    doc_set_int(arena, out, "min", decision->min);
    doc_set_int(arena, out, "max", decision->max);
    doc_set_string(arena, out, "reason", autoscale_reason_names[decision->reason]);
    if (decision->bound != AUTOSCALE_NO_DATA)
        doc_set_string(arena, out, "bound", autoscale_reason_names[decision->bound]);
    doc_set_bool(arena, out, "panic", decision->panic);
    if (decision->start_ms > 0)
        doc_set_int(arena, out, "startMs", decision->start_ms);
    set_latency(one, arena, out);
    status_set_time(arena, out, "decidedAt", one->decided_ms);
    say_decision(one, arena, words);
    if (service->autoscale.max > 0) {
        say_load(one, &service->autoscale, arena, words);
        say_latency(one, &service->autoscale, arena, words);
        say_rest(one, service, arena, words);
    } else {
        say_hpa(one, hpa, arena, words);
    }
    if (!load_link_is_up(scaling->link))
        say(words, arena, "No gateway says how busy the service is.");
    say_history(one, arena, words);
    doc_set(arena, out, "words", words);
    return out;
}
