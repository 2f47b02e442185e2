/* What changes from one document to another: see doc_diff in spec.h. Maps are compared by key,
 * lists by position. */
#include "spec/fields_internal.h"
#include "spec/spec.h"

#include <assert.h>
#include <string.h>

struct difference {
    struct arena *arena;
    struct doc_changes changes;
    size_t capacity;
    struct strbuf path;
};

static void add_change(
    struct difference *difference, const struct doc *before, const struct doc *after)
{
    struct doc_changes *changes = &difference->changes;
    if (changes->count == difference->capacity) {
        size_t capacity = difference->capacity ? difference->capacity * 2 : 16;
        struct doc_change *items = arena_alloc(difference->arena, capacity, sizeof *items);
        if (changes->count)
            memcpy(items, changes->items, changes->count * sizeof *items);
        changes->items = items;
        difference->capacity = capacity;
    }
    changes->items[changes->count++] =
        (struct doc_change){.path = arena_strdup(difference->arena, strbuf_text(&difference->path)),
            .before = before,
            .after = after};
}

static void compare(
    struct difference *difference, const struct doc *before, const struct doc *after);

static void restore_path(struct difference *difference, size_t length)
{
    difference->path.length = length;
    if (difference->path.text)
        difference->path.text[length] = '\0';
}

static void compare_maps(
    struct difference *difference, const struct doc *before, const struct doc *after)
{
    size_t length = difference->path.length;
    for (const struct doc *item = before->first; item; item = item->next) {
        path_append_name(&difference->path, item->key);
        compare(difference, item, doc_get(after, item->key));
        restore_path(difference, length);
    }
    for (const struct doc *item = after->first; item; item = item->next) {
        if (doc_get(before, item->key))
            continue;
        path_append_name(&difference->path, item->key);
        compare(difference, NULL, item);
        restore_path(difference, length);
    }
}

static void compare_lists(
    struct difference *difference, const struct doc *before, const struct doc *after)
{
    size_t length = difference->path.length, index = 0;
    const struct doc *left = before->first, *right = after->first;
    for (; left || right; index++) {
        path_append_index(&difference->path, index);
        compare(difference, left, right);
        restore_path(difference, length);
        left = left ? left->next : NULL;
        right = right ? right->next : NULL;
    }
}

static void compare(
    struct difference *difference, const struct doc *before, const struct doc *after)
{
    assert(before || after);
    bool alike = before && after && before->type == after->type;
    if (alike && before->type == DOC_MAP)
        compare_maps(difference, before, after);
    else if (alike && before->type == DOC_LIST)
        compare_lists(difference, before, after);
    else if (!alike || !doc_equal(before, after))
        add_change(difference, before, after);
}

struct doc_changes doc_diff(struct arena *arena, const struct doc *before, const struct doc *after)
{
    struct difference difference = {.arena = arena};
    if (before || after)
        compare(&difference, before, after);
    strbuf_finish(&difference.path);
    return difference.changes;
}

enum { VALUE_SHOWN_BYTES = 200 };

static void write_shown(const struct doc *value, struct strbuf *out)
{
    size_t start = out->length;
    doc_write_json(value, 0, out);
    if (out->length - start <= VALUE_SHOWN_BYTES)
        return;
    size_t end = start + VALUE_SHOWN_BYTES;
    while ((out->text[end] & 0xc0) == 0x80) /* not in the middle of a character */
        end--;
    out->length = end;
    strbuf_puts(out, "...");
}

void doc_changes_write(const struct doc_changes *changes, struct strbuf *out)
{
    for (size_t i = 0; i < changes->count; i++) {
        const struct doc_change *change = &changes->items[i];
        char sign = !change->before ? '+' : !change->after ? '-' : '~';
        strbuf_printf(out, "%c %s: ", sign, *change->path ? change->path : ".");
        if (change->before)
            write_shown(change->before, out);
        if (change->before && change->after)
            strbuf_puts(out, " -> ");
        if (change->after)
            write_shown(change->after, out);
        strbuf_putc(out, '\n');
    }
}
