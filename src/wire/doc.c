/* Documents as trees: building, reading, merging, comparing. See doc.h.
 *
 * Invariants: items of a list or map are a chain from first to last, count long; in a map each has
 * a key and no two have the same; a number's text follows JSON's grammar; texts end with NUL and
 * hold none before. Depth is bounded by the parsers, so functions here may recurse. */
#include "wire/doc.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct doc *doc_create(struct arena *arena, enum doc_type type)
{
    struct doc *doc = arena_alloc(arena, 1, sizeof *doc);
    doc->type = type;
    return doc;
}

static struct doc *doc_create_text(
    struct arena *arena, enum doc_type type, const char *text, size_t length)
{
    struct doc *doc = doc_create(arena, type);
    doc->text = arena_strndup(arena, text, length);
    doc->length = length;
    return doc;
}

struct doc *doc_null(struct arena *arena)
{
    return doc_create(arena, DOC_NULL);
}

struct doc *doc_bool(struct arena *arena, bool value)
{
    struct doc *doc = doc_create(arena, DOC_BOOL);
    doc->boolean = value;
    return doc;
}

struct doc *doc_int(struct arena *arena, int64_t value)
{
    char text[24];
    int length = snprintf(text, sizeof text, "%" PRId64, value);
    return doc_create_text(arena, DOC_NUMBER, text, (size_t)length);
}

struct doc *doc_string(struct arena *arena, const char *text)
{
    assert(text);
    return doc_create_text(arena, DOC_STRING, text, strlen(text));
}

struct doc *doc_number(struct arena *arena, const char *text)
{
    assert(doc_is_number(text));
    return doc_create_text(arena, DOC_NUMBER, text, strlen(text));
}

struct doc *doc_list(struct arena *arena)
{
    return doc_create(arena, DOC_LIST);
}

struct doc *doc_map(struct arena *arena)
{
    return doc_create(arena, DOC_MAP);
}

struct doc *doc_append(struct doc *list, struct doc *item)
{
    assert((list->type == DOC_LIST || (list->type == DOC_MAP && item->key)) && !item->next);
    if (list->last)
        list->last->next = item;
    else
        list->first = item;
    list->last = item;
    list->count++;
    return item;
}

/* Puts value where the item `old` of map stands; previous is the one before it, or NULL. */
static void replace_item(struct doc *map, struct doc *previous, struct doc *old, struct doc *value)
{
    value->key = old->key;
    value->next = old->next;
    if (previous)
        previous->next = value;
    else
        map->first = value;
    if (map->last == old)
        map->last = value;
}

struct doc *doc_set(struct arena *arena, struct doc *map, const char *key, struct doc *value)
{
    assert(map->type == DOC_MAP && !value->next && !value->key);
    struct doc *previous = NULL;
    for (struct doc *item = map->first; item; previous = item, item = item->next) {
        if (strcmp(item->key, key) == 0) {
            replace_item(map, previous, item, value);
            return value;
        }
    }
    value->key = arena_strdup(arena, key);
    return doc_append(map, value);
}

void doc_set_string(struct arena *arena, struct doc *map, const char *key, const char *text)
{
    if (text)
        doc_set(arena, map, key, doc_string(arena, text));
}

void doc_set_int(struct arena *arena, struct doc *map, const char *key, int64_t value)
{
    doc_set(arena, map, key, doc_int(arena, value));
}

void doc_set_bool(struct arena *arena, struct doc *map, const char *key, bool value)
{
    doc_set(arena, map, key, doc_bool(arena, value));
}

static const struct doc *get_slice(const struct doc *map, const char *key, size_t length)
{
    if (!map || map->type != DOC_MAP)
        return NULL;
    for (const struct doc *item = map->first; item; item = item->next) {
        if (strncmp(item->key, key, length) == 0 && item->key[length] == '\0')
            return item;
    }
    return NULL;
}

const struct doc *doc_get(const struct doc *map, const char *key)
{
    return get_slice(map, key, strlen(key));
}

const char *doc_get_string(const struct doc *map, const char *key)
{
    const struct doc *item = doc_get(map, key);
    return item && item->type == DOC_STRING ? item->text : NULL;
}

int64_t doc_get_int(const struct doc *map, const char *key, int64_t fallback)
{
    const struct doc *item = doc_get(map, key);
    int64_t value = fallback;
    if (item && doc_as_int(item, &value))
        return value;
    return fallback;
}

bool doc_get_bool(const struct doc *map, const char *key, bool fallback)
{
    const struct doc *item = doc_get(map, key);
    return item && item->type == DOC_BOOL ? item->boolean : fallback;
}

static const struct doc *get_index(const struct doc *list, unsigned long index)
{
    if (list->type != DOC_LIST || index >= list->count)
        return NULL;
    const struct doc *item = list->first;
    while (index-- > 0)
        item = item->next;
    return item;
}

/* One step of a path: `.name`, `name`, `[2]` or `["any key"]`. Moves *path behind it. NULL when
 * there is no such item. */
static const struct doc *step_path(const struct doc *at, const char **path)
{
    const char *s = *path;
    if (s[0] == '[' && s[1] == '"') {
        size_t length = strcspn(s + 2, "\"");
        const struct doc *item = get_slice(at, s + 2, length);
        s += 2 + length;
        *path = s + strspn(s, "\"]");
        return item;
    }
    if (s[0] == '[') {
        char *end;
        unsigned long index = strtoul(s + 1, &end, 10);
        *path = *end == ']' ? end + 1 : end + strlen(end);
        return get_index(at, index);
    }
    s += *s == '.';
    size_t length = strcspn(s, ".[");
    *path = s + length;
    return get_slice(at, s, length);
}

const struct doc *doc_find(const struct doc *root, const char *path)
{
    const struct doc *at = root;
    while (at && *path) {
        const struct doc *next = step_path(at, &path);
        if (!next)
            break;
        at = next;
    }
    return at;
}

bool doc_as_int(const struct doc *value, int64_t *ret)
{
    if (!value || value->type != DOC_NUMBER)
        return false;
    const char *s = value->text;
    bool negative = *s == '-';
    int64_t result = 0;
    for (s += negative; *s; s++) {
        if (*s < '0' || *s > '9')
            return false;
        int64_t digit = negative ? '0' - *s : *s - '0';
        if (__builtin_mul_overflow(result, 10, &result) ||
            __builtin_add_overflow(result, digit, &result))
            return false;
    }
    *ret = result;
    return true;
}

static const char *skip_digits(const char *s)
{
    return s + strspn(s, "0123456789");
}

bool doc_is_number(const char *text)
{
    const char *s = text + (*text == '-');
    const char *end = skip_digits(s);
    if (end == s || (*s == '0' && end != s + 1))
        return false;
    s = end;
    if (*s == '.') {
        end = skip_digits(s + 1);
        if (end == s + 1)
            return false;
        s = end;
    }
    if (*s == 'e' || *s == 'E') {
        s += s[1] == '+' || s[1] == '-' ? 2 : 1;
        end = skip_digits(s);
        if (end == s)
            return false;
        s = end;
    }
    return *s == '\0';
}

struct doc *doc_copy(struct arena *arena, const struct doc *value)
{
    struct doc *copy = doc_create(arena, value->type);
    copy->line = value->line;
    copy->boolean = value->boolean;
    copy->length = value->length;
    if (value->text)
        copy->text = arena_strndup(arena, value->text, value->length);
    for (const struct doc *item = value->first; item; item = item->next) {
        struct doc *item_copy = doc_copy(arena, item);
        item_copy->key = arena_strdup(arena, item->key);
        doc_append(copy, item_copy);
    }
    return copy;
}

struct doc *doc_merge(struct arena *arena, const struct doc *base, const struct doc *over)
{
    if (base->type != DOC_MAP || over->type != DOC_MAP)
        return doc_copy(arena, over);
    struct doc *merged = doc_create(arena, DOC_MAP);
    merged->line = over->line ? over->line : base->line;
    for (const struct doc *item = base->first; item; item = item->next) {
        const struct doc *upper = doc_get(over, item->key);
        struct doc *value = upper ? doc_merge(arena, item, upper) : doc_copy(arena, item);
        value->key = arena_strdup(arena, item->key);
        doc_append(merged, value);
    }
    for (const struct doc *item = over->first; item; item = item->next) {
        if (doc_get(base, item->key))
            continue;
        struct doc *value = doc_copy(arena, item);
        value->key = arena_strdup(arena, item->key);
        doc_append(merged, value);
    }
    return merged;
}

static bool items_equal(const struct doc *a, const struct doc *b)
{
    if (a->count != b->count)
        return false;
    const struct doc *other = b->first;
    for (const struct doc *item = a->first; item; item = item->next) {
        bool elsewhere = a->type == DOC_MAP && strcmp(item->key, other->key) != 0;
        const struct doc *match = elsewhere ? doc_get(b, item->key) : other;
        if (!match || !doc_equal(item, match))
            return false;
        other = other->next;
    }
    return true;
}

bool doc_equal(const struct doc *a, const struct doc *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case DOC_NULL: return true;
    case DOC_BOOL: return a->boolean == b->boolean;
    case DOC_NUMBER:
    case DOC_STRING: return a->length == b->length && memcmp(a->text, b->text, a->length) == 0;
    default: return items_equal(a, b);
    }
}
