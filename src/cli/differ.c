/* See differ.h. The first difference is told: what follows from it mostly is noise. */
#include "cli/differ.h"

#include "base/memory.h"
#include "spec/decimal.h"
#include "wire/doc.h"

#include <stdio.h>
#include <string.h>

enum { BYTES_MAX = 4 << 20, ITEMS_MAX = 1 << 20, SHOWN_BYTES = 60, PLACE_BYTES = 400 };

struct comparison {
    const char *const *ignored;
    struct strbuf *why;
    char place[PLACE_BYTES];
};

/* ---- values ---------------------------------------------------------------------------------- */

static const char redacted[] = "[REDACTED:";

/* The rest of a recorded text against the rest of another: what stands between redactions has to
 * come in the same order, the first at the beginning and the last at the end. */
static bool text_matches(const char *was, const char *is)
{
    const char *mark = strstr(was, redacted);
    size_t length = mark ? (size_t)(mark - was) : strlen(was);
    if (strncmp(was, is, length) != 0)
        return false;
    was += length, is += length;
    while (mark) {
        const char *end = strchr(mark, ']');
        was = end ? end + 1 : mark + strlen(mark);
        mark = strstr(was, redacted);
        length = mark ? (size_t)(mark - was) : strlen(was);
        if (!mark) {
            size_t left = strlen(is);
            return left >= length && memcmp(is + left - length, was, length) == 0;
        }
        const char *found = memmem(is, strlen(is), was, length);
        if (!found)
            return false;
        is = found + length;
    }
    return *is == '\0';
}

static bool number_same(const struct doc *was, const struct doc *is)
{
    if (!strcmp(was->text, is->text))
        return true;
    return decimal_valid(was->text) && decimal_valid(is->text) &&
           decimal_compare(was->text, is->text) == 0;
}

/* ---- where ----------------------------------------------------------------------------------- */

static void show(struct strbuf *out, const struct doc *value)
{
    SCOPED(strbuf_finish) struct strbuf text = {0};
    if (!value) {
        strbuf_puts(out, "nothing");
        return;
    }
    doc_write_json(value, 0, &text);
    size_t length = text.length > SHOWN_BYTES ? SHOWN_BYTES : text.length;
    while (length > 0 && length < text.length && (text.text[length] & 0xc0) == 0x80)
        length--;
    strbuf_append(out, strbuf_text(&text), length);
    strbuf_puts(out, length < text.length ? ".." : "");
}

static bool say(struct comparison *comparison, const struct doc *was, const struct doc *is)
{
    strbuf_printf(comparison->why, "%s%s", comparison->place, comparison->place[0] ? ": " : "");
    show(comparison->why, is);
    strbuf_puts(comparison->why, ", was ");
    show(comparison->why, was);
    return false;
}

static bool same(struct comparison *comparison, const struct doc *was, const struct doc *is);

/* Within a member or item; the place is put back where they are the same. */
static bool same_at(struct comparison *comparison, const char *key, size_t index,
    const struct doc *was, const struct doc *is)
{
    size_t length = strlen(comparison->place);
    char *end = comparison->place + length;
    if (key)
        snprintf(end, PLACE_BYTES - length, "%s%s", length ? "." : "", key);
    else
        snprintf(end, PLACE_BYTES - length, "[%zu]", index);
    bool found = was && is ? same(comparison, was, is) : say(comparison, was, is);
    if (found)
        *end = '\0';
    return found;
}

static bool same_list(struct comparison *comparison, const struct doc *was, const struct doc *is)
{
    const struct doc *one = was->first, *other = is->first;
    for (size_t i = 0; one || other; i++) {
        if (!same_at(comparison, NULL, i, one, other))
            return false;
        one = one->next, other = other->next;
    }
    return true;
}

static bool is_ignored(const struct comparison *comparison, const char *key)
{
    for (size_t i = 0; !comparison->place[0] && comparison->ignored[i]; i++) {
        if (!strcmp(key, comparison->ignored[i]))
            return true;
    }
    return false;
}

static bool same_map(struct comparison *comparison, const struct doc *was, const struct doc *is)
{
    for (const struct doc *one = was->first; one; one = one->next) {
        if (!is_ignored(comparison, one->key) &&
            !same_at(comparison, one->key, 0, one, doc_get(is, one->key)))
            return false;
    }
    for (const struct doc *one = is->first; one; one = one->next) {
        if (!is_ignored(comparison, one->key) && !doc_get(was, one->key))
            return same_at(comparison, one->key, 0, NULL, one);
    }
    return true;
}

static bool same(struct comparison *comparison, const struct doc *was, const struct doc *is)
{
    bool found = false;
    if (was->type != is->type)
        return say(comparison, was, is);
    switch (was->type) {
    case DOC_LIST: return same_list(comparison, was, is);
    case DOC_MAP: return same_map(comparison, was, is);
    case DOC_NULL: found = true; break;
    case DOC_BOOL: found = was->boolean == is->boolean; break;
    case DOC_NUMBER: found = number_same(was, is); break;
    case DOC_STRING: found = text_matches(was->text, is->text); break;
    }
    return found || say(comparison, was, is);
}

bool differ_same(struct arena *arena, const char *was, const char *is, const char *const *ignored,
    struct strbuf *why)
{
    struct comparison comparison = {.ignored = ignored, .why = why};
    const struct doc *one =
        doc_parse_json_bounded(arena, was, strlen(was), BYTES_MAX, ITEMS_MAX, NULL);
    const struct doc *other =
        doc_parse_json_bounded(arena, is, strlen(is), BYTES_MAX, ITEMS_MAX, NULL);
    if (one && other)
        return same(&comparison, one, other);
    if (!strcmp(was, is))
        return true;
    strbuf_puts(why, other ? "JSON, which it was not"
                     : one ? "no JSON, which it was"
                           : "other text");
    return false;
}
