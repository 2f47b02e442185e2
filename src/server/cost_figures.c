/* Figures of what was answered: see cost_figures.h. Integers all the way; money is in billionths.
 */
#include "server/cost_figures.h"

#include "base/memory.h"
#include "base/quantity.h"
#include "gateway/usage.h"
#include "wire/doc.h"

#include <inttypes.h>
#include <stdio.h>

#define MICRO 1000000

void cost_set_count(struct arena *arena, struct doc *map, const char *name, uint64_t value)
{
    doc_set_int(arena, map, name, value > INT64_MAX ? INT64_MAX : (int64_t)value);
}

void cost_set_price(struct arena *arena, struct doc *map, const char *name, int64_t amount_nano,
    int64_t factor, uint64_t count)
{
    char text[48];
    if (count == 0) {
        doc_set(arena, map, name, doc_null(arena));
        return;
    }
    __int128 price = ((__int128)amount_nano * factor + count / 2) / count;
    int length = snprintf(text, sizeof text, "%" PRId64 ".%09" PRId64,
        (int64_t)(price / 1000000000), (int64_t)(price % 1000000000));
    while (text[length - 1] == '0')
        text[--length] = '\0';
    if (text[length - 1] == '.')
        text[length - 1] = '\0';
    doc_set(arena, map, name, doc_number(arena, text));
}

void cost_set_share(
    struct arena *arena, struct doc *map, const char *name, int64_t part, int64_t whole)
{
    char text[QUANTITY_TEXT];
    if (whole <= 0) {
        doc_set(arena, map, name, doc_null(arena));
        return;
    }
    int64_t micro = (int64_t)(((__int128)part * MICRO + whole / 2) / whole);
    doc_set(arena, map, name, doc_number(arena, quantity_micro(micro, text)));
}

/* The bound within which `percent` of the requests were over, null where there is none. Buckets
 * double, so the true figure is at least half of it. */
static void set_latency_bound(struct arena *arena, struct doc *map, const char *name,
    const struct usage_counts *counts, unsigned percent)
{
    char text[QUANTITY_TEXT];
    unsigned __int128 all = 0, below = 0;
    for (size_t i = 0; i < ARRAY_LEN(counts->latency); i++)
        all += counts->latency[i];
    size_t bucket = 0;
    while (bucket < ARRAY_LEN(counts->latency)) {
        below += counts->latency[bucket];
        if (below * 100 >= all * percent)
            break;
        bucket++;
    }
    /* The last bucket holds all that took longer, however long. */
    bool known = all > 0 && bucket + 1 < ARRAY_LEN(counts->latency);
    doc_set(arena, map, name,
        known ? doc_number(arena, quantity_micro((INT64_C(64) << bucket) * 1000, text))
              : doc_null(arena));
}

static void write_latency(struct arena *arena, const struct usage_counts *counts, struct doc *item)
{
    char text[QUANTITY_TEXT];
    uint64_t mean_us = counts->requests ? counts->latency_us_sum / counts->requests : 0;
    doc_set(arena, item, "latencyMeanMs",
        counts->requests && mean_us < INT64_MAX / 1000
            ? doc_number(arena, quantity_micro((int64_t)mean_us * 1000, text))
            : doc_null(arena));
    set_latency_bound(arena, item, "latencyMedianMsAtMost", counts, 50);
    set_latency_bound(arena, item, "latencyP95MsAtMost", counts, 95);
}

uint64_t cost_asked(const struct usage_counts *counts)
{
    return counts->requests > counts->cache_hits ? counts->requests - counts->cache_hits : 0;
}

/* A sum of microseconds by a number of requests, in milliseconds; null without requests. */
static void set_mean_ms(
    struct arena *arena, struct doc *map, const char *name, uint64_t sum_us, uint64_t count)
{
    cost_set_share(arena, map, name, sum_us > INT64_MAX / 1000 ? INT64_MAX / 1000 : (int64_t)sum_us,
        count > INT64_MAX / 1000 ? 0 : (int64_t)count * 1000);
}

/* What answers that were given again would have cost at the price of a moment in the model. */
static void write_saved(
    struct arena *arena, struct doc *item, const struct usage_counts *counts, int64_t cost_nano)
{
    unsigned __int128 saved =
        (unsigned __int128)counts->cache_saved_us * (cost_nano > 0 ? (uint64_t)cost_nano : 0);
    int64_t most = saved > INT64_MAX ? INT64_MAX : (int64_t)saved;
    cost_set_count(arena, item, "cacheHits", counts->cache_hits);
    cost_set_share(
        arena, item, "cacheHitShare", (int64_t)counts->cache_hits, (int64_t)counts->requests);
    cost_set_count(arena, item, "cacheSavedMs", counts->cache_saved_us / 1000);
    cost_set_count(arena, item, "cacheSavedInputTokens", counts->cache_saved_input_tokens);
    cost_set_count(arena, item, "cacheSavedOutputTokens", counts->cache_saved_output_tokens);
    if (counts->busy_us > 0 && saved <= INT64_MAX)
        cost_set_price(arena, item, "cacheSaved", most, 1, counts->busy_us);
    else
        doc_set(arena, item, "cacheSaved", doc_null(arena));
}

/* Each request has its part of its batch's call, so the calls add up, whoever asks about whom. */
static void write_batches(struct arena *arena, struct doc *item, const struct usage_counts *counts)
{
    cost_set_count(arena, item, "batched", counts->batched);
    cost_set_share(arena, item, "batchSizeMean", (int64_t)counts->batched * MICRO,
        (int64_t)counts->batch_calls_micro);
    cost_set_share(
        arena, item, "batchSizeSeen", (int64_t)counts->batch_sizes, (int64_t)counts->batched);
}

void cost_figures_write(struct arena *arena, struct doc *item, const struct usage_counts *counts,
    uint64_t asked, int64_t cost_nano)
{
    uint64_t answered =
        counts->requests > counts->cancelled ? counts->requests - counts->cancelled : 0;
    cost_set_count(arena, item, "requests", counts->requests);
    cost_set_count(arena, item, "answered", answered);
    cost_set_count(arena, item, "succeeded", counts->succeeded);
    cost_set_count(arena, item, "refused", counts->refused);
    cost_set_count(arena, item, "failed", counts->failed);
    cost_set_count(arena, item, "cancelled", counts->cancelled);
    cost_set_count(arena, item, "inputTokens", counts->input_tokens);
    cost_set_count(arena, item, "outputTokens", counts->output_tokens);
    cost_set_price(arena, item, "costPer1000", cost_nano, 1000, answered);
    cost_set_price(arena, item, "costPer1000Succeeded", cost_nano, 1000, counts->succeeded);
    cost_set_price(arena, item, "costPerSuccess", cost_nano, 1, counts->succeeded);
    cost_set_price(arena, item, "costPerOutputToken", cost_nano, 1, counts->output_tokens);
    write_latency(arena, counts, item);
    set_mean_ms(arena, item, "queueMeanMs", counts->queue_us, counts->requests);
    set_mean_ms(arena, item, "modelMeanMs", counts->model_us, asked);
    write_saved(arena, item, counts, cost_nano);
    write_batches(arena, item, counts);
}
