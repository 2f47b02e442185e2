/* See guard_schema.h. null is as if the member were not there. Each value at a path is held against
 * all rules of that path, so a name that stands there twice passes by neither. */
#include "gateway/guard_schema.h"

#include "base/memory.h"
#include "spec/serving.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_BYTES = 40 };
static_assert(GUARD_SCHEMA_MAX <= 64, "a bit a rule");

static bool has_kind(enum guard_schema_kind kind, enum guard_value value)
{
    static const enum guard_value values[] = {[GUARD_SCHEMA_TEXT] = GUARD_STRING,
        [GUARD_SCHEMA_NUMBER] = GUARD_NUMBER,
        [GUARD_SCHEMA_BOOLEAN] = GUARD_WORD,
        [GUARD_SCHEMA_OBJECT] = GUARD_OBJECT,
        [GUARD_SCHEMA_LIST] = GUARD_LIST};
    return kind == GUARD_SCHEMA_ANY || values[kind] == value;
}

static bool number_fits(const struct guard_schema_rule *rule, const char *bytes, size_t length)
{
    char text[NUMBER_BYTES] = {0};
    if (rule->max_micro == 0)
        return true;
    if (length >= sizeof text)
        return false;
    memcpy(text, bytes, length);
    return strtod(text, NULL) * 1e6 <= (double)rule->max_micro;
}

static bool text_fits(const struct guard_schema_rule *rule, const char *bytes, size_t length)
{
    SCOPED(strbuf_finish) struct strbuf text = {0};
    if (rule->max_micro == 0 && rule->one_of.count == 0)
        return true;
    guard_text_decode(bytes, length, &text);
    if (rule->max_micro > 0 && (int64_t)text.length > rule->max_micro / 1000000)
        return false;
    for (size_t i = 0; i < rule->one_of.count; i++) {
        const char *allowed = rule->one_of.items[i];
        if (strlen(allowed) == text.length && !memcmp(allowed, strbuf_text(&text), text.length))
            return true;
    }
    return rule->one_of.count == 0;
}

static bool fits(
    const struct guard_schema_rule *rule, enum guard_value value, const char *bytes, size_t length)
{
    if (!has_kind(rule->kind, value))
        return false;
    if (value == GUARD_STRING)
        return text_fits(rule, bytes + 1, length - 2);
    if (rule->one_of.count > 0)
        return false;
    return value != GUARD_NUMBER || number_fits(rule, bytes, length);
}

bool guard_schema_value(struct guard_schema *schema, const struct service_guard *guard,
    const struct guard_walk *walk, enum guard_value value, size_t begin, size_t end)
{
    const char *bytes = walk->text + begin;
    if (value == GUARD_WORD && *bytes == 'n')
        return true;
    for (size_t i = 0; i < guard->schema.count; i++) {
        const struct guard_schema_rule *rule = &guard->schema.items[i];
        if (!guard_walk_is(walk, rule->path))
            continue;
        schema->seen |= 1ull << i;
        schema->path = rule->path;
        if (!fits(rule, value, bytes, end - begin))
            return false;
    }
    return true;
}

bool guard_schema_end(struct guard_schema *schema, const struct service_guard *guard)
{
    for (size_t i = 0; i < guard->schema.count; i++) {
        schema->path = guard->schema.items[i].path;
        if (guard->schema.items[i].required && !(schema->seen >> i & 1))
            return false;
    }
    return true;
}
