/* Batches of embeddings: see batch_embed.h. */
#include "gateway/batch_embed.h"

#include "base/memory.h"
#include "base/strbuf.h"

#include <assert.h>
#include <string.h>

enum { ROWS_MAX = 65536 };

static struct oip_cursor cursor_of(struct oip_span span)
{
    return (struct oip_cursor){span.text, span.text + span.length};
}

static void put(struct strbuf *out, struct oip_span span)
{
    strbuf_append(out, span.text, span.length);
}

/* `"name":value,` of each member but those named. The map was read once, so that it is one. */
static void put_others(struct strbuf *out, struct oip_span map, const char *but, const char *or_but)
{
    struct oip_cursor cursor = cursor_of(map);
    struct oip_span name, span;
    enum oip_value value;
    bool first = true;
    if (!oip_take(&cursor, '{'))
        return;
    while (
        oip_next_member(&cursor, &first, &name) == OIP_ITEM && oip_skip(&cursor, &span, &value)) {
        if (oip_span_is(name, but) || oip_span_is(name, or_but))
            continue;
        strbuf_putc(out, '"');
        put(out, name);
        strbuf_puts(out, "\":");
        put(out, span);
        strbuf_putc(out, ',');
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

/* The items of a list that are all of one kind, or -1. */
static int64_t count_items(struct oip_span list, enum oip_value wanted)
{
    struct oip_cursor cursor = cursor_of(list);
    struct oip_span span;
    enum oip_value value;
    bool first = true;
    int64_t count = 0;
    enum oip_step step;
    if (!oip_take(&cursor, '['))
        return -1;
    while ((step = oip_next(&cursor, &first)) == OIP_ITEM) {
        if (!oip_skip(&cursor, &span, &value) || value != wanted)
            return -1;
        count++;
    }
    return step == OIP_END ? count : -1;
}

static struct oip_span without_ends(struct oip_span span)
{
    return (struct oip_span){span.text + 1, span.length - 2};
}

/* [[1,2],[3]]: the tokens of all, or -1. */
static int64_t count_tokens(struct oip_span lists)
{
    struct oip_cursor cursor = cursor_of(lists);
    struct oip_span list;
    enum oip_value value;
    bool first = true;
    int64_t all = 0;
    if (!oip_take(&cursor, '['))
        return -1;
    while (oip_next(&cursor, &first) == OIP_ITEM) {
        int64_t count = oip_skip(&cursor, &list, &value) ? count_items(list, OIP_NUMBER) : -1;
        if (count < 1)
            return -1;
        all += count;
    }
    return all;
}

/* One of the two kinds of lists of several. */
static const char *read_list(struct oip_span list, struct embed_request *ret)
{
    ret->items = without_ends(list);
    ret->rows = count_items(list, OIP_STRING);
    if (ret->rows > 0) {
        ret->weight = (int64_t)list.length;
        return NULL;
    }
    ret->tokens = true;
    ret->rows = count_items(list, OIP_LIST);
    ret->weight = count_tokens(list);
    return ret->rows > 0 && ret->weight > 0 ? NULL : "an input of another kind";
}

static const char *read_input(
    struct oip_span input, enum oip_value value, struct embed_request *ret)
{
    ret->items = input;
    ret->rows = 1;
    ret->weight = (int64_t)input.length;
    if (value == OIP_STRING)
        return NULL;
    if (value != OIP_LIST)
        return "an input of another kind";
    int64_t tokens = count_items(input, OIP_NUMBER);
    if (tokens < 1)
        return read_list(input, ret);
    ret->tokens = true;
    ret->weight = tokens;
    return NULL;
}

const char *embed_parse_request(const char *body, size_t length, struct embed_request *ret)
{
    struct oip_cursor cursor = {body, body + length};
    struct oip_span name, span, input = {0};
    enum oip_value value, kind = OIP_NULL;
    bool first = true;
    enum oip_step step;
    memset(ret, 0, sizeof *ret);
    ret->members = (struct oip_span){body, length};
    if (!oip_take(&cursor, '{'))
        return "no JSON object";
    while ((step = oip_next_member(&cursor, &first, &name)) == OIP_ITEM) {
        bool is_input = oip_span_is(name, "input");
        if (!oip_skip(&cursor, &span, &value) || (is_input && input.text))
            return "no JSON, or a second input";
        if (is_input) {
            input = span;
            kind = value;
        }
    }
    if (step != OIP_END || !oip_at_end(&cursor) || !input.text)
        return "no JSON object with an input";
    const char *fault = read_input(input, kind, ret);
    return fault || ret->rows <= ROWS_MAX ? fault : "too many inputs";
}

void embed_key(const struct embed_request *request, struct strbuf *out)
{
    strbuf_putc(out, request->tokens ? 't' : 's');
    put_others(out, request->members, "input", "input");
}

void embed_merge(const struct embed_request *const *requests, size_t count, struct strbuf *out)
{
    assert(count > 0);
    strbuf_putc(out, '{');
    put_others(out, requests[0]->members, "input", "input");
    strbuf_puts(out, "\"input\":[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            strbuf_putc(out, ',');
        put(out, requests[i]->items);
    }
    strbuf_puts(out, "]}");
}

/* ---- answers --------------------------------------------------------------------------------- */

/* The whole number of a member, -1 without one. */
static int64_t whole_of(struct oip_span map, const char *wanted)
{
    struct oip_cursor cursor = cursor_of(map);
    struct oip_span name, span;
    enum oip_value value;
    bool first = true;
    int64_t whole = -1;
    if (!oip_take(&cursor, '{'))
        return -1;
    while (
        oip_next_member(&cursor, &first, &name) == OIP_ITEM && oip_skip(&cursor, &span, &value)) {
        struct oip_cursor number = cursor_of(span);
        if (oip_span_is(name, wanted) && (whole >= 0 || !oip_take_whole(&number, &whole)))
            return -1;
    }
    return whole;
}

static const char *read_items(struct oip_cursor *cursor, struct embed_answer *answer)
{
    struct oip_span item;
    enum oip_value value;
    bool first = true;
    int64_t count = 0;
    enum oip_step step;
    if (!oip_take(cursor, '['))
        return "data is no list";
    while ((step = oip_next(cursor, &first)) == OIP_ITEM) {
        if (!oip_skip(cursor, &item, &value) || value != OIP_MAP)
            return "an item that is no object";
        int64_t index = whole_of(item, "index");
        if (index < 0 || index >= answer->rows || answer->items[index].text)
            return "an item without an index of its own";
        answer->items[index] = item;
        count++;
    }
    return step == OIP_END && count == answer->rows ? NULL
                                                    : "another number of items than was asked for";
}

/* What else it counts has to be nothing: nobody could say whose it was. */
static bool counts_no_more(struct oip_span usage)
{
    struct oip_cursor cursor = cursor_of(usage);
    struct oip_span name, span;
    enum oip_value value;
    bool first = true;
    if (!oip_take(&cursor, '{'))
        return false;
    while (
        oip_next_member(&cursor, &first, &name) == OIP_ITEM && oip_skip(&cursor, &span, &value)) {
        bool known = oip_span_is(name, "prompt_tokens") || oip_span_is(name, "total_tokens");
        if (!known && value != OIP_NULL && !oip_span_is(span, "0"))
            return false;
    }
    return true;
}

static const char *read_usage(struct embed_answer *answer)
{
    answer->tokens = whole_of(answer->usage, "prompt_tokens");
    if (answer->tokens < 0 || whole_of(answer->usage, "total_tokens") != answer->tokens ||
        !counts_no_more(answer->usage))
        return "a usage that cannot be shared";
    return NULL;
}

static const char *read_answer_member(
    struct oip_cursor *cursor, struct embed_answer *ret, struct oip_span name, bool *read)
{
    struct oip_span span;
    enum oip_value value;
    if (oip_span_is(name, "data")) {
        bool again = *read;
        *read = true;
        return again ? "data twice" : read_items(cursor, ret);
    }
    if (!oip_skip(cursor, &span, &value))
        return "no JSON";
    if (!oip_span_is(name, "usage"))
        return NULL;
    if (ret->usage.text || value != OIP_MAP)
        return "a usage that cannot be shared";
    ret->usage = span;
    return read_usage(ret);
}

const char *embed_parse_answer(
    struct arena *arena, const char *body, size_t length, int64_t rows, struct embed_answer *ret)
{
    struct oip_cursor cursor = {body, body + length};
    struct oip_span name;
    bool first = true, read = false;
    enum oip_step step;
    memset(ret, 0, sizeof *ret);
    ret->members = (struct oip_span){body, length};
    ret->rows = rows;
    ret->items = arena_alloc(arena, (size_t)rows, sizeof *ret->items);
    if (!oip_take(&cursor, '{'))
        return "no JSON object";
    while ((step = oip_next_member(&cursor, &first, &name)) == OIP_ITEM) {
        const char *fault = read_answer_member(&cursor, ret, name, &read);
        if (fault)
            return fault;
    }
    return step == OIP_END && oip_at_end(&cursor) && read ? NULL : "no JSON object with data";
}

/* ---- parts ----------------------------------------------------------------------------------- */

static int64_t share(int64_t tokens, int64_t weight, int64_t all)
{
    return (int64_t)((__int128)tokens * weight / all);
}

/* Differences of rounded sums: so the parts add up. */
static void put_usage(const struct embed_answer *answer, int64_t tokens, struct strbuf *out)
{
    strbuf_puts(out, "\"usage\":{");
    struct oip_cursor cursor = cursor_of(answer->usage);
    struct oip_span name, span;
    enum oip_value value;
    bool first = true, begun = false;
    if (!oip_take(&cursor, '{'))
        return;
    while (
        oip_next_member(&cursor, &first, &name) == OIP_ITEM && oip_skip(&cursor, &span, &value)) {
        strbuf_puts(out, begun ? ",\"" : "\"");
        put(out, name);
        strbuf_puts(out, "\":");
        if (oip_span_is(name, "prompt_tokens") || oip_span_is(name, "total_tokens"))
            strbuf_int(out, tokens);
        else
            put(out, span);
        begun = true;
    }
    strbuf_puts(out, "},");
}

void embed_part(const struct embed_answer *answer, const struct embed_request *request,
    int64_t first, int64_t before, int64_t all, struct strbuf *out)
{
    assert(first >= 0 && first + request->rows <= answer->rows && all > 0);
    strbuf_putc(out, '{');
    put_others(out, answer->members, "data", "usage");
    if (answer->usage.text)
        put_usage(answer,
            share(answer->tokens, before + request->weight, all) -
                share(answer->tokens, before, all),
            out);
    strbuf_puts(out, "\"data\":[");
    for (int64_t i = 0; i < request->rows; i++) {
        strbuf_puts(out, i > 0 ? ",{" : "{");
        put_others(out, answer->items[first + i], "index", "index");
        strbuf_puts(out, "\"index\":");
        strbuf_int(out, i);
        strbuf_putc(out, '}');
    }
    strbuf_puts(out, "]}");
}
