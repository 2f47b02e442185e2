/* Any bytes as YAML: refused, or documents that both writers write so that they read back the
 * same. */
#include "wire/doc.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void strbuf_scope(struct strbuf *buf)
{
    strbuf_finish(buf);
}

static void check_document(struct arena *arena, const struct doc *doc)
{
    SCOPED(strbuf_scope) struct strbuf out = {0};
    struct error err = {0};
    doc_write_yaml(doc, &out);
    if (out.length > DOC_BYTES_MAX)
        return;
    struct doc *documents = doc_parse_yaml(arena, out.text, out.length, &err);
    assert(documents && documents->count == 1 && doc_equal(doc, documents->first));
    strbuf_clear(&out);
    doc_write_json(doc, 2, &out);
    /* Numbers may be too large for the JSON reader, which keeps them as numbers. */
    struct doc *again = doc_parse_json(arena, out.text, out.length, SIZE_MAX, &err);
    assert(again || strstr(err.text, "overflow") || strstr(err.text, "too big"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct error err = {0};
    struct doc *documents = doc_parse_yaml(arena, (const char *)data, size, &err);
    if (!documents) {
        assert(err.code == ERR_INVALID || err.code == ERR_TOO_LARGE);
        assert(!strchr(err.text, '\n'));
        return 0;
    }
    for (const struct doc *doc = documents->first; doc; doc = doc->next)
        check_document(arena, doc);
    return 0;
}
