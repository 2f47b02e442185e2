/* Sums of usage as documents: see serving_sums.h. */
#include "server/serving_sums.h"

#include "base/map.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "server/context.h"
#include "server/cost_subject.h"
#include "server/names.h"
#include "server/ticker.h"
#include "store/store.h"
#include "wire/doc.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUMS_MAX = 200000, PAGE = 1000, DOC_MAX = 64 * 1024 };
#define HOUR_MS 3600000LL
#define DAY_MS  (24 * HOUR_MS)

static const char collection[] = "usage-sum";

/* ---- counters -------------------------------------------------------------------------------- */

enum { COUNTERS = sizeof(struct usage_counts) / sizeof(uint64_t) };

/* A counter, or several of one name, which are a list. A new one is stored from its first use on.
 */
static const struct {
    const char *name;
    size_t at;
    size_t count;
} counters[] = {
#define COUNTER(name)                                                                              \
    {                                                                                              \
#name, offsetof(struct usage_counts, name) / sizeof(uint64_t),                             \
            sizeof(((struct usage_counts *)0)->name) / sizeof(uint64_t)                            \
    }
    COUNTER(requests),
    COUNTER(succeeded),
    COUNTER(refused),
    COUNTER(failed),
    COUNTER(cancelled),
    COUNTER(retried),
    COUNTER(bytes_in),
    COUNTER(bytes_out),
    COUNTER(busy_us),
    COUNTER(input_tokens),
    COUNTER(output_tokens),
    COUNTER(latency_us_sum),
    COUNTER(latency),
    COUNTER(cache_hits),
    COUNTER(cache_saved_us),
    COUNTER(cache_saved_input_tokens),
    COUNTER(cache_saved_output_tokens),
    COUNTER(queue_us),
    COUNTER(model_us),
    COUNTER(batched),
    COUNTER(batch_sizes),
    COUNTER(batch_calls_micro),
    COUNTER(compared),
    COUNTER(differing),
    COUNTER(scores),
#undef COUNTER
};

void serving_counts_add(struct usage_counts *sum, const struct usage_counts *what)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)what;
    for (size_t i = 0; i < COUNTERS; i++) {
        if (__builtin_add_overflow(to[i], from[i], &to[i]))
            to[i] = UINT64_MAX;
    }
}

void serving_counts_since(
    const struct usage_counts *before, const struct usage_counts *now, struct usage_counts *ret)
{
    const uint64_t *from = (const uint64_t *)before, *to = (const uint64_t *)now;
    uint64_t *grown = (uint64_t *)ret;
    for (size_t i = 0; i < COUNTERS; i++)
        grown[i] = to[i] > from[i] ? to[i] - from[i] : 0;
}

static struct doc *number(struct arena *arena, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return doc_number(arena, text);
}

static uint64_t number_of(const struct doc *value)
{
    return value && value->type == DOC_NUMBER ? strtoull(value->text, NULL, 10) : 0;
}

static bool all_zero(const uint64_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (values[i])
            return false;
    }
    return true;
}

void serving_counts_write(struct arena *arena, struct doc *map, const struct usage_counts *counts)
{
    const uint64_t *values = (const uint64_t *)counts;
    for (size_t i = 0; i < ARRAY_LEN(counters); i++) {
        const uint64_t *at = values + counters[i].at;
        if (all_zero(at, counters[i].count))
            continue;
        if (counters[i].count == 1) {
            doc_set(arena, map, counters[i].name, number(arena, *at));
            continue;
        }
        struct doc *list = doc_set(arena, map, counters[i].name, doc_list(arena));
        for (size_t n = 0; n < counters[i].count; n++)
            doc_append(list, number(arena, at[n]));
    }
}

void serving_counts_read(const struct doc *map, struct usage_counts *ret)
{
    uint64_t *values = (uint64_t *)ret;
    memset(ret, 0, sizeof *ret);
    for (size_t i = 0; i < ARRAY_LEN(counters); i++) {
        const struct doc *value = doc_get(map, counters[i].name);
        if (!value)
            continue;
        if (counters[i].count == 1) {
            values[counters[i].at] = number_of(value);
            continue;
        }
        const struct doc *item = value->type == DOC_LIST ? value->first : NULL;
        for (size_t n = 0; item && n < counters[i].count; n++, item = item->next)
            values[counters[i].at + n] = number_of(item);
    }
}

/* ---- documents ------------------------------------------------------------------------------- */

static struct doc *sum_doc(struct arena *arena, const struct serving_sum *sum)
{
    struct doc *doc = doc_map(arena);
    char id[JOB_ID_TEXT];
    doc_set_string(arena, doc, "service", sum->service);
    doc_set_int(arena, doc, "version", sum->version);
    if (sum->replica)
        doc_set_string(arena, doc, "replica", names_job_id(sum->replica, id));
    if (*sum->key)
        doc_set_string(arena, doc, "key", sum->key);
    if (*sum->team)
        doc_set_string(arena, doc, "team", sum->team);
    if (*sum->labels)
        doc_set_string(arena, doc, "labels", sum->labels);
    if (*sum->model)
        doc_set_string(arena, doc, "model", sum->model);
    serving_counts_write(arena, doc, &sum->counts);
    return doc;
}

static const char *text_or_none(const struct doc *doc, const char *name)
{
    const char *text = doc_get_string(doc, name);
    return text ? text : "";
}

static int sum_read(
    struct arena *arena, const char *json, struct serving_sum *ret, struct error *err)
{
    const struct doc *doc = doc_parse_json(arena, json, strlen(json), DOC_MAX, err);
    if (!doc)
        return error_prefix(err, "a stored sum of usage");
    const char *replica = doc_get_string(doc, "replica");
    *ret = (struct serving_sum){.service = text_or_none(doc, "service"),
        .version = doc_get_int(doc, "version", 0),
        .replica = replica ? names_parse_job_id(replica) : 0,
        .key = text_or_none(doc, "key"),
        .team = text_or_none(doc, "team"),
        .labels = text_or_none(doc, "labels"),
        .model = text_or_none(doc, "model")};
    serving_counts_read(doc, &ret->counts);
    return 0;
}

/* What follows the time in a key. The service has one slash of its own, the rest none but perhaps
 * the key's id, which is last and does not begin with '@': two sums never have the same. */
static const char *key_of(
    struct arena *arena, char unit, int64_t bucket, const struct serving_sum *sum)
{
    bool more = *sum->team || *sum->labels;
    return arena_printf(arena, "%c/%08" PRId64 "/%s/%" PRId64 "/%" PRIu64 "/%s%s%s%s%s%s", unit,
        bucket, sum->service, sum->version, sum->replica, more ? "@" : "", more ? sum->team : "",
        more ? "/" : "", more ? sum->labels : "", more ? "/" : "", sum->key);
}

/* ---- writing --------------------------------------------------------------------------------- */

struct pending_sum {
    const char *key;
    struct serving_sum sum;
};

struct serving_batch {
    struct tick *tick;
    struct strmap by_key;
    VEC(struct pending_sum *) sums;
    VEC(const char *) moved; /* keys of hours that are in their days now */
};

struct serving_batch *serving_batch_create(struct tick *tick)
{
    struct serving_batch *batch = arena_alloc(tick_arena(tick), 1, sizeof *batch);
    batch->tick = tick;
    return batch;
}

static struct pending_sum *pending(
    struct serving_batch *batch, char unit, int64_t bucket, const struct serving_sum *what)
{
    struct arena *arena = tick_arena(batch->tick);
    const char *key = key_of(arena, unit, bucket, what);
    struct pending_sum *found = strmap_get(&batch->by_key, key);
    if (found)
        return found;
    found = arena_alloc(arena, 1, sizeof *found);
    found->key = key;
    found->sum = (struct serving_sum){.service = arena_strdup(arena, what->service),
        .version = what->version,
        .replica = what->replica,
        .key = arena_strdup(arena, what->key),
        .team = arena_strdup(arena, what->team),
        .labels = arena_strdup(arena, what->labels),
        .model = arena_strdup(arena, what->model)};
    strmap_put(&batch->by_key, key, found);
    vec_push(&batch->sums, found);
    return found;
}

void serving_batch_add(struct serving_batch *batch, const struct usage_series *series,
    const struct usage_counts *counts)
{
    const struct serving_sum what = {.service = series->service,
        .version = series->version,
        .replica = series->replica,
        .key = series->key,
        .team = series->team,
        .labels = series->labels,
        .model = ""};
    serving_counts_add(
        &pending(batch, 'h', tick_now(batch->tick) / HOUR_MS, &what)->sum.counts, counts);
}

struct roll_up {
    struct serving_batch *batch;
    int64_t before_hour;
};

static int roll_one(void *context, const struct document *document, struct error *err)
{
    struct roll_up *roll = context;
    struct arena *arena = tick_arena(roll->batch->tick);
    struct serving_sum sum;
    int64_t hour = strtoll(document->key + 2, NULL, 10);
    /* Keys ascend in time: what follows is younger still. */
    if (hour >= roll->before_hour)
        return 0;
    if (sum_read(arena, document->json, &sum, err) < 0)
        return -1;
    struct pending_sum *day = pending(roll->batch, 'd', hour / 24, &sum);
    serving_counts_add(&day->sum.counts, &sum.counts);
    if (!*day->sum.model)
        day->sum.model = sum.model;
    vec_push(&roll->batch->moved, arena_strdup(arena, document->key));
    return 0;
}

/* The first hour that is still told apart: always that of a midnight, so that a day is either
 * whole or in hours. */
static int64_t first_hour(int64_t now_ms)
{
    return (now_ms / DAY_MS - SERVING_DAYS_BY_HOUR) * 24;
}

int serving_batch_roll_up(
    struct serving_batch *batch, size_t most, size_t *ret_moved, struct error *err)
{
    struct roll_up roll = {batch, first_hour(tick_now(batch->tick))};
    struct store_reader *reader = tick_server(batch->tick)->reader;
    if (reader_documents_prefix(reader, collection, "h/", NULL, most, roll_one, &roll, err) < 0)
        return -1;
    *ret_moved = batch->moved.count;
    return 0;
}

/* What is stored of it already is added. One collector writes these documents, one pass at a time,
 * so what is committed is what they are. */
static int add_stored(struct serving_batch *batch, struct pending_sum *item, struct error *err)
{
    struct error missing;
    SCOPED(mem_scope) char *json = NULL;
    struct serving_sum stored;
    struct store_reader *reader = tick_server(batch->tick)->reader;
    if (reader_document(reader, collection, item->key, &json, NULL, &missing) < 0) {
        if (missing.code == ERR_NOT_FOUND)
            return 0;
        *err = missing;
        return -1;
    }
    if (sum_read(tick_arena(batch->tick), json, &stored, err) < 0)
        return -1;
    serving_counts_add(&item->sum.counts, &stored.counts);
    if (!*item->sum.model)
        item->sum.model = stored.model;
    return 0;
}

static void find_model(struct serving_batch *batch, struct serving_sum *sum)
{
    struct cost_subject subject;
    if (*sum->model || sum->replica == 0)
        return;
    cost_subject_serving(tick_server(batch->tick), tick_arena(batch->tick), sum->replica, &subject);
    if (subject.model)
        sum->model = subject.model;
}

static void put(struct serving_batch *batch, const struct pending_sum *item)
{
    struct strbuf json = {0};
    char team[USAGE_NAME];
    snprintf(team, sizeof team, "%.*s", (int)strcspn(item->sum.service, "/"), item->sum.service);
    doc_write_json(sum_doc(tick_arena(batch->tick), &item->sum), 0, &json);
    store_txn_put_document(tick_txn(batch->tick), collection, item->key, team, strbuf_text(&json),
        tick_now(batch->tick));
    strbuf_finish(&json);
}

int serving_batch_finish(struct serving_batch *batch, struct error *err)
{
    int rc = 0;
    /* Everything is read before anything is written: a failed command has changed nothing. */
    for (size_t i = 0; rc == 0 && i < batch->sums.count; i++)
        rc = add_stored(batch, batch->sums.items[i], err);
    for (size_t i = 0; rc == 0 && i < batch->sums.count; i++) {
        find_model(batch, &batch->sums.items[i]->sum);
        put(batch, batch->sums.items[i]);
    }
    for (size_t i = 0; rc == 0 && i < batch->moved.count; i++)
        store_txn_delete_document(tick_txn(batch->tick), collection, batch->moved.items[i]);
    serving_batch_drop(batch);
    return rc;
}

void serving_batch_drop(struct serving_batch *batch)
{
    strmap_finish(&batch->by_key);
    vec_free(&batch->sums);
    vec_free(&batch->moved);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int64_t down_to(int64_t ms, int64_t unit)
{
    return ms / unit * unit;
}

static int64_t up_to(int64_t ms, int64_t unit)
{
    return (ms + unit - 1) / unit * unit;
}

void serving_range(int64_t now_ms, int64_t *from_ms, int64_t *to_ms)
{
    int64_t by_hour_ms = first_hour(now_ms) * HOUR_MS;
    *from_ms = down_to(*from_ms, *from_ms < by_hour_ms ? DAY_MS : HOUR_MS);
    *to_ms = up_to(*to_ms, *to_ms < by_hour_ms ? DAY_MS : HOUR_MS);
}

struct sums_walk {
    serving_sum_fn *visit;
    void *context;
    struct arena *arena; /* of one document */
    int64_t from, to;    /* buckets: to is the first that is not asked for */
    char *last;          /* the key of the document before */
    size_t seen, of_page;
    bool over;
};

static int visit_sum(void *context, const struct document *document, struct error *err)
{
    struct sums_walk *walk = context;
    struct serving_sum sum;
    int64_t bucket = strtoll(document->key + 2, NULL, 10);
    walk->of_page++;
    walk->over = walk->over || bucket >= walk->to;
    if (walk->over)
        return 0;
    if (++walk->seen > SUMS_MAX)
        return error_set(err, ERR_TOO_LARGE,
            "more than %d sums of usage are in this time: ask for less with ?from= and ?to=",
            SUMS_MAX);
    free(walk->last);
    walk->last = mem_strdup(document->key);
    arena_reset(walk->arena);
    if (sum_read(walk->arena, document->json, &sum, err) < 0)
        return -1;
    return walk->visit(walk->context, &sum, err);
}

static int walk_unit(
    struct store_reader *reader, struct sums_walk *walk, const char *prefix, struct error *err)
{
    char start[32];
    /* Just before the first bucket's keys. */
    snprintf(start, sizeof start, "%s%08" PRId64, prefix, walk->from);
    free(walk->last);
    walk->last = mem_strdup(start);
    walk->over = false;
    do {
        SCOPED(mem_scope) char *after = mem_strdup(walk->last);
        walk->of_page = 0;
        if (reader_documents_prefix(reader, collection, prefix, after, PAGE, visit_sum, walk, err) <
            0)
            return -1;
    } while (walk->of_page == PAGE && !walk->over);
    return 0;
}

int serving_sums_each(struct store_reader *reader, int64_t from_ms, int64_t to_ms,
    serving_sum_fn *visit, void *context, struct error *err)
{
    struct sums_walk walk = {.visit = visit, .context = context, .arena = arena_create()};
    walk.from = from_ms / DAY_MS;
    walk.to = up_to(to_ms, DAY_MS) / DAY_MS;
    int rc = walk_unit(reader, &walk, "d/", err);
    walk.from = from_ms / HOUR_MS;
    walk.to = up_to(to_ms, HOUR_MS) / HOUR_MS;
    if (rc == 0)
        rc = walk_unit(reader, &walk, "h/", err);
    arena_destroy(walk.arena);
    free(walk.last);
    return rc;
}
