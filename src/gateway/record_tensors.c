/* See record_tensors.h. Bytes are anything: lengths are checked before they are gone by. */
#include "gateway/record_tensors.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "gateway/answer_compare.h"
#include "gateway/guard_scan.h"
#include "wire/doc.h"

#include <stdint.h>
#include <string.h>

enum { VALUES_MAX = 1 << 20, SIZE_BYTES = 4 /* before each element of BYTES */ };

static bool is_clean(const struct guard_rules *rules, const char *bytes, size_t length)
{
    SCOPED(strbuf_finish) struct strbuf ignored = {0};
    struct guard_counts counts = {0};
    return !guard_scan_whole(rules, bytes, length, &ignored, &counts) && !counts.unreadable;
}

static bool texts_clean(const struct guard_rules *rules, const char *bytes, size_t length)
{
    for (size_t at = 0; at < length;) {
        const unsigned char *size = (const unsigned char *)bytes + at;
        if (length - at < SIZE_BYTES)
            return false;
        size_t element =
            size[0] | (size_t)size[1] << 8 | (size_t)size[2] << 16 | (size_t)size[3] << 24;
        at += SIZE_BYTES;
        if (element > length - at || !is_clean(rules, bytes + at, element))
            return false;
        at += element;
    }
    return true;
}

/* Those of one list of tensors; *at moves behind them. */
static bool tensors_clean(const struct guard_rules *rules, const struct doc *list,
    const char *bytes, size_t length, size_t *at)
{
    for (const struct doc *tensor = list ? list->first : NULL; tensor; tensor = tensor->next) {
        const struct doc *parameters =
            tensor->type == DOC_MAP ? doc_get(tensor, "parameters") : NULL;
        const struct doc *size = parameters && parameters->type == DOC_MAP
                                     ? doc_get(parameters, "binary_data_size")
                                     : NULL;
        const char *type = tensor->type == DOC_MAP ? doc_get_string(tensor, "datatype") : NULL;
        int64_t own = 0;
        if (size && (!doc_as_int(size, &own) || own < 0 || (size_t)own > length - *at))
            return false;
        if (!type || (!strcmp(type, "BYTES") && !texts_clean(rules, bytes + *at, (size_t)own)))
            return false;
        *at += (size_t)own;
    }
    return true;
}

bool record_tensors_clean(
    const struct guard_rules *rules, const char *body, size_t length, size_t head)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const char *bytes = body + head;
    size_t at = 0, left = length - head;
    const struct doc *doc = doc_parse_json_bounded(arena, body, head, head, VALUES_MAX, NULL);
    if (!doc || doc->type != DOC_MAP)
        return false;
    const struct doc *lists[] = {doc_get(doc, "inputs"), doc_get(doc, "outputs")};
    /* What a request asks for stands in "outputs" too, and has no bytes. */
    const struct doc *tensors = lists[0] ? lists[0] : lists[1];
    return tensors && tensors->type == DOC_LIST &&
           tensors_clean(rules, tensors, bytes, left, &at) && at == left &&
           is_clean(rules, bytes, left);
}

bool record_stream_text(const char *bytes, size_t length, struct strbuf *out)
{
    SCOPED(strbuf_finish) struct strbuf text = {0};
    if (!answer_stream_text(bytes, length, &text))
        return false;
    strbuf_puts(out, "{\"text\":");
    strbuf_json(out, strbuf_text(&text));
    strbuf_puts(out, "}");
    return true;
}
