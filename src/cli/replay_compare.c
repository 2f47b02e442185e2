/* See replay_compare.h. */
#include "cli/replay_compare.h"

#include "base/memory.h"
#include "cli/differ.h"
#include "gateway/oip_parse.h"
#include "gateway/record_tensors.h"
#include "wire/doc.h"

#include <sodium.h>
#include <string.h>
#include <strings.h>

bool replay_decode(struct arena *arena, const char *base64, struct replay_body *ret)
{
    size_t room = strlen(base64) + 1;
    unsigned char *bytes = arena_alloc(arena, room, 1);
    ret->bytes = (const char *)bytes;
    return sodium_base642bin(bytes, room, base64, strlen(base64), NULL, &ret->length, NULL,
               sodium_base64_VARIANT_ORIGINAL) == 0;
}

static bool answered_body(struct arena *arena, const struct doc *answer, struct replay_body *ret)
{
    const struct doc *text = doc_get(answer, "text");
    const char *base64 = doc_get_string(answer, "base64");
    if (text && text->type == DOC_STRING)
        *ret = (struct replay_body){text->text, text->length};
    return (text && text->type == DOC_STRING) || (base64 && replay_decode(arena, base64, ret));
}

/* How long the JSON is that tensors follow; the whole length where it does not say. */
static size_t head_of(const struct doc *answer, size_t length)
{
    const struct doc *fields = doc_get(answer, "fields");
    for (const struct doc *item = fields ? fields->first : NULL; item; item = item->next) {
        int64_t head = OIP_NO_HEAD;
        if (item->type == DOC_STRING && !strcasecmp(item->key, "Inference-Header-Content-Length") &&
            oip_head_length(item->text, &head) && head >= 0 && (size_t)head < length)
            return (size_t)head;
    }
    return length;
}

static bool same_tensors(struct arena *arena, const struct replay_expected *expected,
    const char *bytes, size_t length, struct strbuf *why)
{
    struct replay_body was = {0};
    if (expected->tensors && !replay_decode(arena, expected->tensors, &was))
        strbuf_puts(why, "the tensors that were recorded are damaged");
    else if (was.length != length)
        strbuf_printf(why, "tensors of %zu bytes, were %zu", length, was.length);
    for (size_t i = 0; why->length == 0 && i < length; i++) {
        if (was.bytes[i] != bytes[i])
            strbuf_printf(why, "tensors: byte %zu of %zu", i + 1, length);
    }
    return why->length == 0;
}

bool replay_same(struct arena *arena, const struct replay_expected *expected,
    const struct doc *answer, const char *const *ignored, struct strbuf *why)
{
    SCOPED(strbuf_finish) struct strbuf said = {0};
    struct replay_body now = {0};
    if (!answered_body(arena, answer, &now) || doc_get_bool(answer, "cut", false)) {
        strbuf_puts(why, "an answer too large to be looked at");
        return false;
    }
    if (expected->stream) {
        if (record_stream_text(now.bytes, now.length, &said))
            return differ_same(arena, expected->text, strbuf_text(&said), ignored, why);
        strbuf_puts(why, "no stream of events, was one");
        return false;
    }
    size_t head = head_of(answer, now.length);
    strbuf_append(&said, now.bytes, head);
    if (memchr(now.bytes, 0, head)) {
        strbuf_puts(why, "bytes that are no text");
        return false;
    }
    return differ_same(arena, expected->text, strbuf_text(&said), ignored, why) &&
           same_tensors(arena, expected, now.bytes + head, now.length - head, why);
}
