/* Why a job is in its pool and what the others lack, as a document and in words: see explain.h. */
#include "base/memory.h"
#include "base/quantity.h"
#include "base/strbuf.h"
#include "server/explain.h"

#include <string.h>

static const char *text_of(const struct doc *map, const char *key)
{
    const struct doc *value = doc_get(map, key);
    return value && (value->type == DOC_STRING || value->type == DOC_NUMBER) ? value->text : "";
}

/* ---- the document -------------------------------------------------------------------------- */

static void set_micro(struct arena *arena, struct doc *to, const char *key, const struct doc *from)
{
    int64_t micro;
    char text[QUANTITY_TEXT];
    if (from && doc_as_int(from, &micro))
        doc_set(arena, to, key, doc_number(arena, quantity_micro(micro, text)));
}

static void set_length(struct arena *arena, struct doc *to, const char *key, const struct doc *from)
{
    int64_t ms;
    char text[QUANTITY_TEXT];
    if (from && doc_as_int(from, &ms))
        doc_set_string(arena, to, key, quantity_human_duration(ms, text));
}

/* When it was made, and the start that it says. */
static void set_forecast(struct arena *arena, struct doc *to, const struct doc *from)
{
    char text[QUANTITY_TEXT];
    struct doc *forecast = doc_set(arena, to, "forecast", doc_map(arena));
    doc_set_string(
        arena, forecast, "made", quantity_time(doc_get_int(from, "forecastMs", 0), text));
    doc_set_string(arena, forecast, "start", quantity_time(doc_get_int(from, "startMs", 0), text));
}

/* When the job would start there: the middle of the runs. Where it came in none of them, the moment
 * before which it does not. */
static void set_start(struct arena *arena, struct doc *to, const struct doc *from, int64_t now_ms)
{
    char text[QUANTITY_TEXT];
    struct doc *start = doc_set(arena, to, "start", doc_map(arena));
    int64_t at_ms = doc_get_int(from, "median", 0), reached_ms = doc_get_int(from, "reached", 0);
    doc_set_int(arena, start, "known", doc_get_int(from, "known", 0));
    doc_set_int(arena, start, "of", doc_get_int(from, "of", 0));
    if (at_ms) {
        doc_set_string(arena, start, "at", quantity_time(at_ms, text));
        doc_set_string(
            arena, start, "in", quantity_human_duration(at_ms > now_ms ? at_ms - now_ms : 0, text));
    } else if (reached_ms) {
        doc_set_string(arena, start, "notBefore", quantity_time(reached_ms, text));
    }
}

void explain_show_pools(
    struct arena *arena, struct doc *to, const struct doc *pools, int64_t now_ms)
{
    static const char *const plain[] = {
        "pool", "verdict", "burst", "lacks", "held", "need", "currency", "late", "unsure"};
    static const char *const money[][2] = {{"hourPrice", "hourMicro"}, {"cost", "costMicro"},
        {"egress", "egressMicro"}, {"budgetLeft", "leftMicro"}};
    static const char *const lengths[][2] = {{"transfer", "transferMs"}, {"wait", "waitMs"}};
    if (!pools)
        return;
    struct doc *list = doc_set(arena, to, "pools", doc_list(arena));
    for (const struct doc *one = pools->first; one; one = one->next) {
        struct doc *item = doc_append(list, doc_map(arena));
        for (size_t i = 0; i < ARRAY_LEN(plain); i++)
            if (doc_get(one, plain[i]))
                doc_set(arena, item, plain[i], doc_copy(arena, doc_get(one, plain[i])));
        for (size_t i = 0; i < ARRAY_LEN(money); i++)
            set_micro(arena, item, money[i][0], doc_get(one, money[i][1]));
        for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
            set_length(arena, item, lengths[i][0], doc_get(one, lengths[i][1]));
        if (doc_get(one, "forecastMs"))
            set_forecast(arena, item, one);
        if (doc_get(one, "start"))
            set_start(arena, item, doc_get(one, "start"), now_ms);
    }
}

static void show_copies(struct arena *arena, struct doc *to, const struct doc *copies)
{
    static const char *const times[] = {"since", "until"};
    char text[QUANTITY_TEXT];
    struct doc *list = doc_set(arena, to, "copies", doc_list(arena));
    for (const struct doc *one = copies->first; one; one = one->next) {
        struct doc *item = doc_append(list, doc_map(arena));
        doc_set_string(arena, item, "site", text_of(one, "site"));
        for (size_t i = 0; i < ARRAY_LEN(times); i++)
            if (doc_get(one, times[i]))
                doc_set_string(
                    arena, item, times[i], quantity_time(doc_get_int(one, times[i], 0), text));
    }
}

void explain_show_reads(struct arena *arena, struct doc *to, const struct doc *reads)
{
    if (!reads)
        return;
    struct doc *list = doc_set(arena, to, "reads", doc_list(arena));
    for (const struct doc *one = reads->first; one; one = one->next) {
        struct doc *item = doc_append(list, doc_map(arena));
        doc_set_string(arena, item, "version", text_of(one, "version"));
        doc_set_string(arena, item, "site", text_of(one, "site"));
        doc_set_int(arena, item, "bytes", doc_get_int(one, "bytes", 0));
        if (doc_get(one, "copies"))
            show_copies(arena, item, doc_get(one, "copies"));
    }
}

/* ---- words --------------------------------------------------------------------------------- */

static void say_cost(const struct doc *pool, struct strbuf *out)
{
    strbuf_printf(out, "%s %s", text_of(pool, "cost"), text_of(pool, "currency"));
    if (doc_get(pool, "egress"))
        strbuf_printf(out, ", of which %s for egress", text_of(pool, "egress"));
    if (doc_get(pool, "transfer"))
        strbuf_printf(out, ", with %s for the transfer of its data", text_of(pool, "transfer"));
    if (doc_get_bool(pool, "late", false))
        strbuf_puts(out, "; it would miss its deadline there");
}

static const char *words_of(const char *const words[][2], size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(words[i][0], key))
            return words[i][1];
    }
    return key;
}

static void say_pool_lacks(const struct doc *pool, struct strbuf *out)
{
    static const char *const words[][2] = {
        {"pool", "is not the pool that it asks for"},
        {"jurisdiction", "is not in the jurisdiction where it, or what it reads, has to stay"},
        {"spot", "is spot capacity, or is none, against what it asks for"},
        {"nodes", "has no node that could hold one of its ranks"},
        {"size", "could not hold all of its ranks at once"},
    };
    strbuf_puts(out, words_of(words, ARRAY_LEN(words), text_of(pool, "lacks")));
}

/* For how long the other pools make it wait, and who says so. */
static void say_wait(const struct doc *pool, struct strbuf *out)
{
    const struct doc *forecast = doc_get(pool, "forecast");
    strbuf_printf(out, " (waited and foreseen: %s", text_of(pool, "wait"));
    if (forecast)
        strbuf_printf(out, ", by the forecast of %s that it starts elsewhere at %s",
            text_of(forecast, "made"), text_of(forecast, "start"));
    else if (doc_get_bool(pool, "unsure", false))
        strbuf_puts(out, ", by time limits alone; the planner's forecast is waited for");
    else
        strbuf_puts(out, ", by time limits and what waits before it; there is no fresh forecast");
}

static void say_pool_burst(const struct doc *pool, struct strbuf *out)
{
    const char *burst = text_of(pool, "burst");
    static const char *const words[][2] = {
        {"soon", "takes it only when it waits for longer elsewhere"},
        {"no-room", "would take it under its burst policy, and has no room now"},
        {"over-budget", "may not take it: what it may cost at most is beyond its budget"},
        {"unbounded",
            "may not take it: without a time limit or a deadline nothing bounds its cost"},
        {"jurisdiction", "may not take it: it, or what it reads, has to stay elsewhere"},
        {"for-wait", "takes it under its burst policy: it waits too long elsewhere"},
        {"for-deadline", "takes it under its burst policy: it would miss its deadline elsewhere"},
        {"for-lack", "takes it under its burst policy: no other pool could hold it"},
    };
    if (doc_get(pool, "lacks") && strcmp(burst, "jurisdiction") != 0) {
        say_pool_lacks(pool, out);
        return;
    }
    strbuf_puts(out, words_of(words, ARRAY_LEN(words), burst));
    if (doc_get(pool, "wait"))
        say_wait(pool, out);
    if (doc_get(pool, "wait") && doc_get(pool, "budgetLeft"))
        strbuf_printf(out, "; left of its budget: %s %s", text_of(pool, "budgetLeft"),
            text_of(pool, "currency"));
    if (doc_get(pool, "wait"))
        strbuf_putc(out, ')');
}

/* When the job would have a place there, by the runs in which it turned down others before. */
static void say_start(const struct doc *pool, struct strbuf *out)
{
    const struct doc *start = doc_get(pool, "start");
    if (doc_get(start, "in"))
        strbuf_printf(out, ", foreseen to start it in %s (%s of %s runs)", text_of(start, "in"),
            text_of(start, "known"), text_of(start, "of"));
    else if (doc_get(start, "notBefore"))
        strbuf_printf(out, ", not foreseen to start it before %s", text_of(start, "notBefore"));
}

static void say_verdict(const struct doc *pool, struct strbuf *out)
{
    const char *verdict = text_of(pool, "verdict");
    if (!strcmp(verdict, "unfit")) {
        say_pool_lacks(pool, out);
    } else if (!strcmp(verdict, "burst")) {
        say_pool_burst(pool, out);
    } else if (!strcmp(verdict, "no-room")) {
        strbuf_printf(out, "has no room: %s of %s ranks would fit, and would cost ",
            text_of(pool, "held"), text_of(pool, "need"));
        say_cost(pool, out);
    } else {
        bool first = !strcmp(verdict, "here") || !strcmp(verdict, "next");
        strbuf_puts(out, first                       ? "costs "
                         : !strcmp(verdict, "ahead") ? "would be taken now, and costs "
                                                     : "goes after it: it costs ");
        say_cost(pool, out);
    }
}

static void say_pool(const struct doc *pool, struct strbuf *out)
{
    say_verdict(pool, out);
    say_start(pool, out);
}

static void say_copies(const struct doc *copies, struct strbuf *out)
{
    for (const struct doc *one = copies ? copies->first : NULL; one; one = one->next) {
        strbuf_printf(out, ", and is at %s since %s", text_of(one, "site"), text_of(one, "since"));
        if (doc_get(one, "until"))
            strbuf_printf(out, ", kept until %s", text_of(one, "until"));
    }
}

void explain_say_reads(const struct doc *shown, struct strbuf *out)
{
    const struct doc *reads = doc_get(shown, "reads");
    const char *between = "It reads ";
    for (const struct doc *one = reads ? reads->first : NULL; one; one = one->next) {
        strbuf_printf(
            out, "%s%s, which lies at %s", between, text_of(one, "version"), text_of(one, "site"));
        say_copies(doc_get(one, "copies"), out);
        between = "; ";
    }
    if (reads)
        strbuf_putc(out, '.');
}

void explain_say_pools(const struct doc *shown, struct strbuf *out)
{
    const struct doc *pools = doc_get(shown, "pools"), *chosen = NULL;
    for (const struct doc *one = pools ? pools->first : NULL; one; one = one->next) {
        bool here = !strcmp(text_of(one, "verdict"), "here");
        if (!here && strcmp(text_of(one, "verdict"), "next") != 0)
            continue;
        chosen = one;
        strbuf_printf(out,
            here ? "It is in the pool %s, which " : "It would go to the pool %s, which ",
            text_of(one, "pool"));
        if (doc_get(one, "burst"))
            say_pool_burst(one, out);
        else
            say_pool(one, out);
        strbuf_puts(out, ". ");
    }
    const char *between = chosen ? "The others: " : "Of the pools: ";
    for (const struct doc *one = pools ? pools->first : NULL; one; one = one->next) {
        if (one == chosen)
            continue;
        strbuf_printf(out, "%s%s ", between, text_of(one, "pool"));
        say_pool(one, out);
        between = "; ";
    }
    if (pools)
        strbuf_putc(out, '.');
}
