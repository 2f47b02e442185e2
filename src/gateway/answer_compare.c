/* Whether two answers say the same: see answer_compare.h. Both are hostile; they are parsed within
 * the bounds of wire/doc.h. */
#include "gateway/answer_compare.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "wire/doc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct comparison {
    struct arena *arena;
    double tolerance;
};

/* The texts of a stream. */
struct texts {
    struct strbuf *out;
    const char *last; /* the member whose text was put last; in the arena */
    bool several;     /* of several answers */
};

/* What differs between two equal answers. */
static bool is_passing(const char *name)
{
    static const char *const names[] = {
        "id", "created", "model_version", "system_fingerprint", "usage", "service_tier"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!strcmp(name, names[i]))
            return true;
    }
    return false;
}

/* ---- trees ----------------------------------------------------------------------------------- */

static bool same(const struct comparison *how, const struct doc *one, const struct doc *other);

static bool same_numbers(const struct comparison *how, const char *one, const char *other)
{
    if (!strcmp(one, other))
        return true;
    double a = strtod(one, NULL), b = strtod(other, NULL);
    double larger = fabs(a) > fabs(b) ? fabs(a) : fabs(b);
    return fabs(a - b) <= larger * how->tolerance;
}

static bool same_lists(const struct comparison *how, const struct doc *one, const struct doc *other)
{
    const struct doc *b = other->first;
    for (const struct doc *a = one->first; a; a = a->next, b = b->next) {
        if (!b || !same(how, a, b))
            return false;
    }
    return !b;
}

static size_t members(const struct doc *map)
{
    size_t count = 0;
    for (const struct doc *item = map->first; item; item = item->next)
        count += !is_passing(item->key);
    return count;
}

/* A map of many members costs a walk for each of one that are out of order, no more than
 * COMPARE_BYTES_MAX allows. */
static bool same_maps(const struct comparison *how, const struct doc *one, const struct doc *other)
{
    const struct doc *hint = other->first;
    if (members(one) != members(other))
        return false;
    for (const struct doc *a = one->first; a; a = a->next) {
        if (is_passing(a->key))
            continue;
        const struct doc *b = hint && !strcmp(hint->key, a->key) ? hint : doc_get(other, a->key);
        if (!b || !same(how, a, b))
            return false;
        hint = b->next;
    }
    return true;
}

static bool same(const struct comparison *how, const struct doc *one, const struct doc *other)
{
    if (one->type != other->type)
        return false;
    switch (one->type) {
    case DOC_NUMBER: return same_numbers(how, one->text, other->text);
    case DOC_STRING: return !strcmp(one->text, other->text);
    case DOC_BOOL: return one->boolean == other->boolean;
    case DOC_LIST: return same_lists(how, one, other);
    case DOC_MAP: return same_maps(how, one, other);
    default: return true;
    }
}

/* ---- event streams --------------------------------------------------------------------------- */

static bool is_left_out(const struct doc *item)
{
    return item->key && (is_passing(item->key) || !strcmp(item->key, "model") ||
                            !strcmp(item->key, "object") || !strcmp(item->key, "role"));
}

/* Texts of one member that follow each other are one text; those of others are not, so that what
 * ends a text is seen to end it. */
static void put_text(struct texts *texts, const struct doc *item, const char *name)
{
    if (item->length == 0)
        return;
    if (texts->last && strcmp(texts->last, name) != 0)
        strbuf_putc(texts->out, '\n');
    texts->last = name;
    strbuf_puts(texts->out, item->text);
}

/* Every text of the event but those that pass, in order: content, tool calls, reasons to stop. */
static void collect(const struct doc *doc, const char *name, struct texts *texts)
{
    for (const struct doc *item = doc->first; item; item = item->next) {
        const char *own = item->key ? item->key : name;
        if (is_left_out(item))
            continue;
        texts->several |=
            item->type == DOC_NUMBER && !strcmp(own, "index") && strcmp(item->text, "0") != 0;
        if (item->type == DOC_STRING)
            put_text(texts, item, own);
        else if (item->type == DOC_MAP || item->type == DOC_LIST)
            collect(item, own, texts);
    }
}

/* False: it is no event stream. */
static bool collect_events(
    const struct comparison *how, const char *text, size_t length, struct texts *texts)
{
    bool any = false;
    for (size_t at = 0; at < length;) {
        const char *line = text + at, *end = memchr(line, '\n', length - at);
        size_t size = end ? (size_t)(end - line) : length - at;
        at += size + 1;
        if (size < 5 || memcmp(line, "data:", 5) != 0)
            continue;
        any = true;
        const struct doc *doc =
            doc_parse_json(how->arena, line + 5, size - 5, COMPARE_BYTES_MAX, NULL);
        if (doc && (doc->type == DOC_MAP || doc->type == DOC_LIST))
            collect(doc, "", texts);
    }
    return any;
}

bool answer_stream_text(const char *text, size_t length, struct strbuf *out)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct comparison how = {arena, 0};
    struct texts texts = {.out = out};
    return length <= COMPARE_BYTES_MAX && collect_events(&how, text, length, &texts) &&
           !texts.several;
}

static bool same_streams(const struct comparison *how, const char *one, size_t length,
    const char *other, size_t other_length)
{
    SCOPED(strbuf_finish) struct strbuf a = {0};
    SCOPED(strbuf_finish) struct strbuf b = {0};
    struct texts of_one = {.out = &a}, of_other = {.out = &b};
    return collect_events(how, one, length, &of_one) &&
           collect_events(how, other, other_length, &of_other) && a.length == b.length &&
           !memcmp(strbuf_text(&a), strbuf_text(&b), a.length);
}

bool answers_agree(
    const char *one, size_t one_length, const char *other, size_t other_length, long tolerance_ppm)
{
    if (one_length == other_length && !memcmp(one, other, one_length))
        return true;
    if (one_length > COMPARE_BYTES_MAX || other_length > COMPARE_BYTES_MAX)
        return false;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct comparison how = {arena, (double)tolerance_ppm / 1e6};
    const struct doc *a = doc_parse_json(arena, one, one_length, COMPARE_BYTES_MAX, NULL);
    const struct doc *b =
        a ? doc_parse_json(arena, other, other_length, COMPARE_BYTES_MAX, NULL) : NULL;
    if (a)
        return b && same(&how, a, b);
    return same_streams(&how, one, one_length, other, other_length);
}
