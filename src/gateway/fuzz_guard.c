/* Fuzz target: the walk of JSON and the decoder of streams. What the walk takes another parser
 * takes too, before and after it was redacted; a text comes out of a decoder as it went into the
 * encoder; a stream in pieces comes to what it does at once, in the plain way of searching. */
#include "base/memory.h"
#include "gateway/guard_body.h"
#include "gateway/guard_stream.h"
#include "wire/doc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void rules_of(struct guard_rules *ret)
{
    memset(ret, 0, sizeof *ret);
    for (int i = 0; i < GUARD_INJECTION_FIRST; i++)
        ret->action[i] = GUARD_REDACT;
}

/* Of another parser only what it refuses for its own bounds is excused. */
static void check_body(const struct guard_rules *rules, const char *text, size_t size)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct guard_body body = {0};
    struct service_guard limits = {.others = GUARD_OTHERS_DROP};
    const char *parameters[] = {"messages"};
    limits.parameters.items = parameters;
    limits.parameters.count = 1;
    enum guard_verdict verdict = guard_body_check(&body, rules, &limits, text, size);
    const struct doc *before = doc_parse_json(arena, text, size, size, NULL);
    if (before)
        assert(verdict != GUARD_REFUSED || before->type == DOC_NULL || body.counts.blocked ||
               strcmp(body.code, "invalid_body") == 0);
    if (before && verdict == GUARD_CHANGED)
        assert(doc_parse_json(arena, body.out.text, body.out.length, body.out.length, NULL));
    guard_body_finish(&body);
}

static void check_text(const char *text, size_t size)
{
    struct strbuf encoded = {0}, twice = {0};
    /* Halves of pairs, which begin so, may become whole. */
    if (size > 0 && !memchr(text, 0xed, size)) {
        guard_text_encode(text, size, &encoded);
        guard_text_decode(encoded.text + 1, encoded.length - 2, &twice);
        assert(twice.length == size && !memcmp(twice.text, text, size));
    }
    strbuf_finish(&encoded);
    strbuf_finish(&twice);
}

/* How far it came, and whether it failed. */
static bool run(const struct guard_rules *rules, const char *text, size_t size, size_t piece,
    struct strbuf *out)
{
    struct guard_stream stream = {.rules = rules};
    bool fine = true;
    for (size_t at = 0; fine && at < size; at += piece) {
        fine = guard_stream_piece(&stream, text + at, size - at < piece ? size - at : piece);
        strbuf_append(out, strbuf_text(&stream.out), stream.out.length);
    }
    if (fine) {
        fine = guard_stream_end(&stream);
        strbuf_append(out, strbuf_text(&stream.out), stream.out.length);
    }
    guard_stream_finish(&stream);
    return fine;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct guard_rules rules;
    struct strbuf whole = {0}, bytes = {0}, fives = {0};
    if (size > 0)
        memcpy(text, data, size);
    rules_of(&rules);
    check_body(&rules, text, size);
    check_text(text, size);
    bool fine = run(&rules, text, size, size + 1, &whole);
    assert(fine == run(&rules, text, size, 1, &bytes));
    assert(fine == run(&rules, text, size, 5, &fives));
    assert(whole.length == bytes.length &&
           !memcmp(strbuf_text(&whole), strbuf_text(&bytes), whole.length));
    assert(whole.length == fives.length &&
           !memcmp(strbuf_text(&whole), strbuf_text(&fives), whole.length));
    strbuf_finish(&whole);
    strbuf_finish(&bytes);
    strbuf_finish(&fives);
    free(text);
    return 0;
}
