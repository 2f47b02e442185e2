/* Fuzz target: the edit of a request and the filter of a stream, on the same bytes. However they
 * are cut the result is the same; what a parser takes means the same afterwards but for the usage
 * that is asked for; what it does not take it does not take afterwards; nothing but whole usage
 * events is missing from a stream. */
#include "base/memory.h"
#include "base/strbuf.h"
#include "gateway/usage_ask.h"
#include "gateway/usage_strip.h"
#include "wire/doc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the request ----------------------------------------------------------------------------- */

static bool find_in_pieces(const char *text, size_t size, size_t piece, struct usage_edit *ret)
{
    struct usage_ask ask;
    usage_ask_init(&ask);
    for (size_t at = 0; at < size; at += piece)
        usage_ask_feed(&ask, text + at, size - at < piece ? size - at : piece);
    return usage_ask_find(&ask, ret);
}

static bool is_true(const struct doc *doc, const char *name)
{
    const struct doc *member = doc_get(doc, name);
    return member && member->type == DOC_BOOL && member->boolean;
}

/* The edited body is a parser's object with usage asked for, where the body was one. */
static void check_meaning(const char *text, size_t size, const struct strbuf *edited)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *before = doc_parse_json(arena, text, size, size, NULL);
    const struct doc *after =
        doc_parse_json(arena, edited->text, edited->length, edited->length, NULL);
    assert((before != NULL) == (after != NULL));
    if (!after)
        return;
    const struct doc *options = doc_get(after, "stream_options");
    assert(is_true(before, "stream") && is_true(after, "stream"));
    assert(options && options->type == DOC_MAP && is_true(options, "include_usage"));
}

static void check_request(const char *text, size_t size)
{
    struct usage_edit whole = {0}, bytes = {0}, fives = {0};
    SCOPED(strbuf_finish) struct strbuf body = {0};
    bool found = find_in_pieces(text, size, size + 1, &whole);
    assert(found == find_in_pieces(text, size, 1, &bytes));
    assert(found == find_in_pieces(text, size, 5, &fives));
    assert(whole.at == bytes.at && whole.removed == bytes.removed && whole.text == bytes.text);
    assert(whole.at == fives.at && whole.removed == fives.removed && whole.text == fives.text);
    strbuf_append(&body, text, size);
    /* The short cut before it may leave out, and never edit, what it does not. */
    bool edited = usage_ask_edit(&body);
    assert(edited == found);
    if (edited)
        check_meaning(text, size, &body);
    else
        assert(body.length == size && !memcmp(strbuf_text(&body), text, size));
}

/* ---- the stream ------------------------------------------------------------------------------ */

static size_t strip_in_pieces(const char *text, size_t size, size_t piece, struct strbuf *ret)
{
    struct usage_strip strip = {0};
    const char *out;
    for (size_t at = 0; at < size; at += piece) {
        size_t length = size - at < piece ? size - at : piece;
        length = usage_strip_piece(&strip, text + at, length, &out);
        strbuf_append(ret, out, length);
    }
    size_t rest = usage_strip_end(&strip, &out);
    strbuf_append(ret, out, rest);
    size_t removed = strip.removed;
    usage_strip_finish(&strip);
    return removed;
}

/* The plain way: events found by looking at the whole text. */
static void strip_plainly(const char *text, size_t size, struct strbuf *ret)
{
    size_t begin = 0, at = 0;
    bool line_empty = true;
    while (at < size) {
        bool line_end = text[at] == '\n' || text[at] == '\r';
        size_t next = at + (text[at] == '\r' && at + 1 < size && text[at + 1] == '\n' ? 2 : 1);
        at = next;
        if (line_end && line_empty) {
            size_t length = at - begin;
            bool drop = length <= USAGE_EVENT_BYTES_MAX && usage_event_is(text + begin, length);
            strbuf_append(ret, text + begin, drop ? 0 : length);
            begin = at;
        }
        line_empty = line_end;
    }
    strbuf_append(ret, text + begin, size - begin);
}

static void check_stream(const char *text, size_t size)
{
    SCOPED(strbuf_finish) struct strbuf whole = {0};
    SCOPED(strbuf_finish) struct strbuf bytes = {0};
    SCOPED(strbuf_finish) struct strbuf plain = {0};
    size_t removed = strip_in_pieces(text, size, size + 1, &whole);
    assert(removed == strip_in_pieces(text, size, 1, &bytes));
    strip_plainly(text, size, &plain);
    assert(whole.length == bytes.length &&
           !memcmp(strbuf_text(&whole), strbuf_text(&bytes), whole.length));
    /* A byte more or less where an event is as long as may be is no matter. */
    if (size < USAGE_EVENT_BYTES_MAX)
        assert(whole.length == plain.length &&
               !memcmp(strbuf_text(&whole), strbuf_text(&plain), whole.length));
    assert(removed > 0 || whole.length == size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1); /* exactly as large, so that reading past its end is seen */
    memcpy(text, data, size);
    check_request(text, size);
    check_stream(text, size);
    free(text);
    return 0;
}
