/* What is counted of a request: see relay_count.h. */
#include "gateway/relay_count.h"

#include "base/clock.h"
#include "base/memory.h"
#include "gateway/labels.h"
#include "gateway/measure.h"
#include "gateway/relay.h"
#include "gateway/relay_trace.h"
#include "wire/http.h"

#include <string.h>

/* ---- waiting --------------------------------------------------------------------------------- */

void relay_wait_begin(struct relay *relay, enum relay_wait what)
{
    if (what == WAIT_NONE)
        return;
    relay->times.what = what;
    relay->times.since_ns = clock_held_ns();
}

/* What it waited for a batch is in the batch's verdict; an answer that is waited for is neither in
 * the queue nor in the model. */
void relay_wait_over(struct relay *relay)
{
    struct relay_times *times = &relay->times;
    if (times->since_ns == 0)
        return;
    int64_t now_ns = clock_held_ns();
    if (times->what == WAIT_QUEUE)
        times->queue_ns += now_ns - times->since_ns;
    if (relay->trace)
        relay_trace_waited(relay, times->what, times->since_ns, now_ns);
    times->since_ns = 0;
}

/* ---- labels ---------------------------------------------------------------------------------- */

enum stage_result relay_stage_labels(struct relay *relay)
{
    const struct service_labels *options = &relay->terms->options.labels;
    if (options->names.count == 0)
        return STAGE_DONE;
    const char *given = http_request_header(relay->request, "X-Muster-Labels");
    if (!given)
        return STAGE_DONE;
    char labels[USAGE_LABELS];
    const char *wrong = labels_read(given, &options->names, labels);
    if (wrong) {
        relay_refuse(relay, 400, "invalid_labels", "the header X-Muster-Labels: %s", wrong);
        return STAGE_ENDED;
    }
    if (*labels && !label_sets_admit(relay->terms->state->labels, labels, options->sets_max))
        labels_other(labels);
    relay->labels = arena_strdup(http_request_arena(relay->request), labels);
    return STAGE_DONE;
}

/* ---- counts ---------------------------------------------------------------------------------- */

struct usage_counts *relay_counts_of(const struct relay *relay, int64_t version, uint64_t replica)
{
    struct usage_series series;
    series.version = version;
    series.replica = replica;
    /* Only as far as the texts go: the rest is never looked at. */
    memccpy(series.service, relay->terms->service, 0, sizeof series.service);
    memccpy(series.key, relay->key_id, 0, sizeof series.key);
    memccpy(series.team, relay->asker, 0, sizeof series.team);
    series.labels[0] = '\0';
    if (relay->labels)
        memccpy(series.labels, relay->labels, 0, sizeof series.labels);
    return usage_counts_of(relay->view->usage, &series);
}

static size_t latency_bucket(uint64_t us)
{
    size_t i = 0;
    while (i < ARRAY_LEN(((struct usage_counts *)0)->latency) - 1 && us > (uint64_t)64 << i)
        i++;
    return i;
}

static enum measure_outcome outcome_of(const struct relay *relay, enum relay_end end)
{
    int status = relay->answer.status;
    if (end == RELAY_CANCELLED)
        return MEASURED_CANCELLED;
    if (end == RELAY_BROKEN || status >= 500)
        return MEASURED_FAILED;
    return status >= 400 ? MEASURED_REFUSED : MEASURED_SUCCEEDED;
}

static void count_outcome(struct usage_counts *counts, enum measure_outcome outcome)
{
    uint64_t *const counters[MEASURE_OUTCOMES] = {[MEASURED_SUCCEEDED] = &counts->succeeded,
        [MEASURED_REFUSED] = &counts->refused,
        [MEASURED_FAILED] = &counts->failed,
        [MEASURED_CANCELLED] = &counts->cancelled};
    usage_add(&counts->requests, 1);
    usage_add(counters[outcome], 1);
}

/* Most requests were in no batch and did not come from the cache. One that could have been in a
 * batch and went alone is a batch of one. */
static void count_rest(struct usage_counts *counts, const struct relay *relay)
{
    const struct relay_times *times = &relay->times;
    if (times->queue_ns > 0)
        usage_add(&counts->queue_us, (uint64_t)times->queue_ns / 1000);
    if (times->model_ns > 0)
        usage_add(&counts->model_us, (uint64_t)times->model_ns / 1000);
    if (times->batch_size > 0) {
        usage_add(&counts->batched, 1);
        usage_add(&counts->batch_sizes, times->batch_size);
        usage_add(&counts->batch_calls_micro, times->batch_micro);
    } else if (relay->batch_counts && relay->attempt.counts && !times->cached) {
        usage_add(&counts->batched, 1);
        usage_add(&counts->batch_sizes, 1);
        usage_add(&counts->batch_calls_micro, 1000000);
    }
    if (times->cached) {
        usage_add(&counts->cache_hits, 1);
        usage_add(&counts->cache_saved_us, times->saved_us);
        usage_add(&counts->cache_saved_input_tokens, times->saved_input);
        usage_add(&counts->cache_saved_output_tokens, times->saved_output);
    }
}

/* Answers that the cache gives are of no replica: they would make a version look faster than it
 * is. */
static void measure(struct relay *relay, enum measure_outcome outcome, int64_t now_ns,
    const struct relay_tokens *tokens)
{
    const struct relay_times *times = &relay->times;
    const struct relay_answer *answer = &relay->answer;
    bool asked = relay->attempt.counts && !times->cached;
    int64_t model_us = times->model_ns / 1000;
    struct measurement measurement = {.outcome = outcome,
        .values = {[MEASURE_LATENCY_US] = (now_ns - relay_began_ns(relay)) / 1000,
            [MEASURE_FIRST_US] =
                answer->first_ns ? (answer->first_ns - relay_began_ns(relay)) / 1000 : -1,
            [MEASURE_QUEUE_US] = asked || times->queue_ns > 0 ? times->queue_ns / 1000 : -1,
            [MEASURE_MODEL_US] = asked ? model_us : -1,
            [MEASURE_TOKENS_MILLI] = -1}};
    if (tokens->known && tokens->output > 0 && tokens->output < INT32_MAX && model_us > 0)
        measurement.values[MEASURE_TOKENS_MILLI] = (int64_t)tokens->output * 1000000000 / model_us;
    measures_note(&relay->terms->state->measures, relay->view->number,
        asked ? relay->attempt.version : 0, &measurement);
}

void relay_count(
    struct relay *relay, enum relay_end end, int64_t now_ns, const struct relay_tokens *tokens)
{
    struct usage_counts *counts = relay->attempt.counts;
    enum measure_outcome outcome = outcome_of(relay, end);
    uint64_t us = (uint64_t)(now_ns - relay_began_ns(relay)) / 1000;
    relay_wait_over(relay);
    if (!counts)
        counts = relay_counts_of(relay, 0, 0);
    count_outcome(counts, outcome);
    usage_add(&counts->bytes_in, (uint64_t)relay->body.received);
    usage_add(&counts->bytes_out, (uint64_t)relay->answer.bytes);
    usage_add(&counts->latency_us_sum, us);
    usage_add(&counts->latency[latency_bucket(us)], 1);
    usage_add(&counts->input_tokens, tokens->input);
    usage_add(&counts->output_tokens, tokens->output);
    count_rest(counts, relay);
    measure(relay, outcome, now_ns, tokens);
}
