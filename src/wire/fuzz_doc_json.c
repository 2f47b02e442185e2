/* Any bytes as JSON: refused, or a tree that both writers write so that it reads back the same;
 * JSON reads the same as YAML, too. */
#include "wire/doc.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void strbuf_scope(struct strbuf *buf)
{
    strbuf_finish(buf);
}

static void check_yaml(struct arena *arena, const struct doc *doc, const struct strbuf *text)
{
    struct doc *documents = doc_parse_yaml(arena, text->text, text->length, NULL);
    assert(documents && documents->count == 1 && doc_equal(doc, documents->first));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(strbuf_scope) struct strbuf out = {0};
    struct error err = {0};
    struct doc *doc = doc_parse_json(arena, (const char *)data, size, 65536, &err);
    if (!doc) {
        assert(err.code == ERR_INVALID || err.code == ERR_TOO_LARGE);
        assert(!strchr(err.text, '\n'));
        return 0;
    }
    doc_write_json(doc, (int)(size % 3), &out);
    struct doc *again = doc_parse_json(arena, out.text, out.length, SIZE_MAX, &err);
    assert(again && doc_equal(doc, again));
    if ((doc->type == DOC_LIST || doc->type == DOC_MAP) && out.length <= DOC_BYTES_MAX)
        check_yaml(arena, doc, &out);
    strbuf_clear(&out);
    doc_write_yaml(doc, &out);
    if (out.length > DOC_BYTES_MAX || doc->type == DOC_NULL)
        return 0;
    check_yaml(arena, doc, &out);
    return 0;
}
