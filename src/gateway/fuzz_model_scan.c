/* Fuzz target: however the bytes are cut the scanner says the same, and where the whole is JSON it
 * finds what a parser finds. The reader of tokens takes the same bytes. */
#include "base/memory.h"
#include "gateway/model_scan.h"
#include "gateway/token_tail.h"
#include "wire/doc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum model_scan_result scan_in_pieces(
    struct model_scan *scan, const char *text, size_t size, size_t piece)
{
    model_scan_init(scan);
    for (size_t at = 0; at < size; at += piece)
        model_scan_feed(scan, text + at, size - at < piece ? size - at : piece);
    return model_scan_end(scan);
}

/* A parser refuses repeated members, which the scanner need not see. */
static void compare_with_parser(
    const struct model_scan *scan, enum model_scan_result result, const char *text, size_t size)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc = doc_parse_json(arena, text, size, size, NULL);
    const struct doc *model = doc && doc->type == DOC_MAP ? doc_get(doc, "model") : NULL;
    if (!doc)
        return;
    bool expected = model && model->type == DOC_STRING && model->length <= MODEL_BYTES_MAX;
    if (result == MODEL_SCAN_FOUND)
        assert(expected);
    for (size_t i = 0; expected && i < model->length; i++)
        expected = model->text[i] >= 0x20 && model->text[i] < 0x7f;
    if (result == MODEL_SCAN_FOUND && expected)
        assert(!strcmp(scan->model, model->text));
}

static void check_tokens(const char *text, size_t size)
{
    struct token_tail tail = {0}, pieces = {0};
    uint64_t in = 0, out = 0, in2 = 0, out2 = 0;
    token_tail_add(&tail, text, size);
    for (size_t i = 0; i < size; i++)
        token_tail_add(&pieces, text + i, 1);
    bool found = token_tail_find(&tail, &in, &out);
    assert(!found || (token_tail_find(&pieces, &in2, &out2) && in == in2 && out == out2));
    assert(in <= (uint64_t)1 << 53 && out <= (uint64_t)1 << 53);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model_scan whole, bytes, sevens;
    char *text = malloc(size + 1); /* exactly as large, so that reading past its end is seen */
    memcpy(text, data, size);
    enum model_scan_result result = scan_in_pieces(&whole, text, size, size + 1);
    assert(result == scan_in_pieces(&bytes, text, size, 1));
    assert(result == scan_in_pieces(&sevens, text, size, 7));
    if (result == MODEL_SCAN_FOUND) {
        assert(!strcmp(whole.model, bytes.model) && !strcmp(whole.model, sevens.model));
        assert(strlen(whole.model) <= MODEL_BYTES_MAX);
    } else {
        assert(whole.fault == bytes.fault && whole.fault == sevens.fault);
    }
    compare_with_parser(&whole, result, text, size);
    check_tokens(text, size);
    free(text);
    return 0;
}
