/* Any bytes as manifests: refused with errors, or decoded; then encoding and decoding again gives
 * an equal object. */
#include "spec/spec.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void strbuf_scope(struct strbuf *buf)
{
    strbuf_finish(buf);
}

static void check_manifest(
    struct arena *arena, const struct doc *doc, const struct class_lookup *classes)
{
    struct field_errors errors = {0};
    struct manifest manifest, again;
    SCOPED(strbuf_scope) struct strbuf text = {0};
    if (manifest_decode(arena, doc, classes, &manifest, &errors) < 0) {
        assert(errors.count > 0);
        field_errors_write(&errors, "-", &text);
        return;
    }
    assert(errors.count == 0);
    const struct doc *encoded = manifest_encode(arena, &manifest);
    int result = manifest_decode(arena, encoded, NULL, &again, &errors);
    assert(result == 0 && manifest_equal(&manifest, &again));
    assert(doc_equal(encoded, manifest_encode(arena, &again)));
    struct doc_changes changes = doc_diff(arena, doc, encoded);
    doc_changes_write(&changes, &text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* Read once: they are the same for every input. */
    static struct arena *builtin_arena;
    static const struct doc *builtin;
    if (!builtin_arena) {
        builtin_arena = arena_create();
        builtin = spec_builtin_classes_doc(builtin_arena);
    }
    struct class_lookup classes = class_lookup_in(builtin);
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct doc *documents = doc_parse_yaml(arena, (const char *)data, size, NULL);
    if (!documents)
        return 0;
    for (const struct doc *doc = documents->first; doc; doc = doc->next) {
        check_manifest(arena, doc, &classes);
        check_manifest(arena, doc, NULL);
    }
    return 0;
}
