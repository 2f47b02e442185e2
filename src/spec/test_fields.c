/* Field tables: properties that hold for every table, tried on random documents made from the
 * tables of the kinds, and the text rules against their patterns. */
#include "base/prng.h"
#include "spec/fields.h"
#include "spec/spec.h"

#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SEEDS = 400 };

static void strbuf_scope(struct strbuf *buf)
{
    strbuf_finish(buf);
}

/* ---- random documents ------------------------------------------------------------------ */

static const char *pick(struct prng *prng, const char *const *texts, size_t count)
{
    return texts[prng_below(prng, count)];
}

static const char *random_text(struct arena *arena, struct prng *prng, const struct text_rule *rule)
{
    static const char *const anything[] = {
        "x", "no", "1", "two words", "a\nb\n", " ", "\xc3\xa9", "- x", "#", "{}", "\t\"\\"};
    static const char *const artifacts[] = {"digits", "digits:3", "vision/digits:12"};
    static const char *const lines[] = {"x", "no", "1e3", "", "two words", "\xf0\x9f\x98\x80"};
    if (rule == NULL || rule == &rule_any || rule == &rule_long)
        return pick(prng, anything, ARRAY_LEN(anything));
    if (rule == &rule_line || rule == &rule_label_value)
        return pick(prng, lines, ARRAY_LEN(lines));
    if (rule == &rule_artifact)
        return pick(prng, artifacts, ARRAY_LEN(artifacts));
    if (rule == &rule_url_path)
        return prng_below(prng, 2) ? "/" : "/v2/models/{name}/ready?x=1";
    if (rule == &rule_gate_stage)
        return prng_below(prng, 2) ? "staging" : "production";
    if (rule == &rule_owner)
        return prng_below(prng, 2) ? "bill" : "onCall";
    if (rule == &rule_protocol)
        return prng_below(prng, 2) ? "oip" : "openai";
    if (rule == &rule_digest)
        return "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    if (rule == &rule_currency)
        return prng_below(prng, 2) ? "CHF" : "EUR";
    if (rule == &rule_reference && prng_below(prng, 2))
        return arena_printf(arena, "job[%d]", (int)prng_below(prng, 50));
    if (rule == &rule_variable)
        return arena_printf(arena, "V%d", (int)prng_below(prng, 100000));
    return arena_printf(arena, "n%d", (int)prng_below(prng, 100000));
}

static int64_t random_number(struct prng *prng, const struct field *field)
{
    int64_t max = field->max ? field->max : field->min + 1000000;
    int64_t step = field->multiple ? field->multiple : 1;
    uint64_t span = (uint64_t)(max - field->min) / (uint64_t)step + 1;
    switch (prng_below(prng, 4)) {
    case 0: return field->min;
    case 1: return field->min + (int64_t)(span - 1) * step;
    case 2: return field->min + (int64_t)prng_below(prng, span < 8 ? span : 8) * step;
    default: return field->min + (int64_t)prng_below(prng, span) * step;
    }
}

/* The written forms are those of base/quantity; here they are written in plain ways. */
static struct doc *random_amount(struct arena *arena, struct prng *prng, const struct field *field)
{
    long long value = random_number(prng, field);
    switch (field->type) {
    case FIELD_BYTES: return doc_int(arena, value);
    case FIELD_MILLI: return doc_string(arena, arena_printf(arena, "%lldm", value));
    case FIELD_MICRO:
        return doc_number(
            arena, arena_printf(arena, "%lld.%06lld", value / 1000000, value % 1000000));
    case FIELD_DURATION: return doc_string(arena, arena_printf(arena, "%lldms", value));
    case FIELD_TIME:
        return doc_string(
            arena, arena_printf(arena, "2026-0%d-1%dT00:00:0%dZ", 1 + (int)prng_below(prng, 9),
                       (int)prng_below(prng, 10), (int)prng_below(prng, 10)));
    default: return doc_int(arena, value);
    }
}

static struct doc *random_word(struct arena *arena, struct prng *prng, const struct field *field)
{
    size_t count = 0;
    while (field->words[count].word)
        count++;
    return doc_string(arena, field->words[prng_below(prng, count)].word);
}

static struct doc *random_object(struct arena *arena, struct prng *prng,
    const struct field_table *table, size_t from, bool partial);
static struct doc *random_value(
    struct arena *arena, struct prng *prng, const struct field *field, bool partial);

static struct doc *random_list(struct arena *arena, struct prng *prng, const struct field *field)
{
    struct doc *list = doc_list(arena);
    size_t count = (size_t)field->min + prng_below(prng, 3);
    for (size_t i = 0; i < count; i++) {
        doc_append(list, field->type == FIELD_TEXTS
                             ? doc_string(arena, random_text(arena, prng, field->rule))
                             : random_object(arena, prng, field->table, 0, false));
    }
    return list;
}

static struct doc *random_map(struct arena *arena, struct prng *prng, const struct field *field)
{
    struct doc *map = doc_map(arena);
    const struct field_table *table = field->table;
    for (size_t count = prng_below(prng, 4); count > 0; count--) {
        doc_set(arena, map, random_text(arena, prng, table->fields[0].rule),
            table->pair ? random_value(arena, prng, &table->fields[1], false)
                        : random_object(arena, prng, table, 1, false));
    }
    return map;
}

static struct doc *random_value(
    struct arena *arena, struct prng *prng, const struct field *field, bool partial)
{
    switch (field->type) {
    case FIELD_TEXT: return doc_string(arena, random_text(arena, prng, field->rule));
    case FIELD_QUANTITY: return doc_int(arena, (int64_t)prng_below(prng, 10));
    case FIELD_BOOL: return doc_bool(arena, prng_below(prng, 2));
    case FIELD_ENUM: return random_word(arena, prng, field);
    case FIELD_TEXTS:
    case FIELD_OBJECTS: return random_list(arena, prng, field);
    case FIELD_MAP: return random_map(arena, prng, field);
    case FIELD_OBJECT: return random_object(arena, prng, field->table, 0, partial);
    case FIELD_DOC: return random_object(arena, prng, field->table, 0, true);
    case FIELD_CONSTANT: return doc_string(arena, field->fallback_text);
    case FIELD_IGNORED: return doc_null(arena);
    default:
        if (field->words && prng_below(prng, 2))
            return random_word(arena, prng, field);
        return random_amount(arena, prng, field);
    }
}

/* A document whose fields are each fine; together they may still not fit. */
static struct doc *random_object(struct arena *arena, struct prng *prng,
    const struct field_table *table, size_t from, bool partial)
{
    struct doc *map = doc_map(arena);
    for (size_t i = from; i < table->count; i++) {
        const struct field *field = &table->fields[i];
        bool needed = (field->flags & FIELD_REQUIRED) && !partial;
        if (needed || prng_below(prng, 4) == 0)
            doc_set(arena, map, field->name, random_value(arena, prng, field, partial));
    }
    return map;
}

/* ---- properties ------------------------------------------------------------------------ */

typedef void property_fn(
    struct arena *arena, struct prng *prng, const struct doc *doc, const struct manifest *manifest);

/* Tries a property on random manifests of every kind; a good part of them has to be valid. */
static void try_property(property_fn *property)
{
    for (enum kind kind = 0; kind < KIND_COUNT; kind++) {
        int valid = 0;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            SCOPED(arena_scope) struct arena *arena = arena_create();
            struct prng prng = {seed};
            struct field_errors errors = {0};
            struct manifest manifest;
            const struct doc *doc = random_object(arena, &prng, kind_table(kind), 0, false);
            if (manifest_decode(arena, doc, NULL, &manifest, &errors) < 0)
                continue;
            valid++;
            property(arena, &prng, doc, &manifest);
        }
        if (valid < SEEDS / 20)
            fail_msg(
                "only %d of %d manifests of kind %s were valid", valid, SEEDS, kind_name(kind));
    }
}

static void assert_same(struct arena *arena, const struct manifest *manifest, const struct doc *doc)
{
    struct field_errors errors = {0};
    struct manifest again;
    if (manifest_decode(arena, doc, NULL, &again, &errors) == 0 && manifest_equal(manifest, &again))
        return;
    SCOPED(strbuf_scope) struct strbuf text = {0};
    field_errors_write(&errors, NULL, &text);
    doc_write_yaml(doc, &text);
    fail_msg("decoded again, this is another object:\n%s", text.text);
}

static void check_encoding(
    struct arena *arena, struct prng *prng, const struct doc *doc, const struct manifest *manifest)
{
    (void)prng;
    (void)doc;
    const struct doc *encoded = manifest_encode(arena, manifest);
    assert_same(arena, manifest, encoded);
    assert_same(
        arena, manifest, fields_encode(kind_table(manifest->kind), arena, &manifest->pool, true));
    SCOPED(strbuf_scope) struct strbuf text = {0};
    doc_write_yaml(encoded, &text);
    const struct doc *read = doc_parse_yaml(arena, text.text, text.length, NULL);
    assert_non_null(read);
    assert_true(doc_equal(encoded, read->first));
    struct manifest again;
    struct field_errors errors = {0};
    assert_int_equal(manifest_decode(arena, read->first, NULL, &again, &errors), 0);
    assert_true(doc_equal(encoded, manifest_encode(arena, &again)));
}

static void decoding_what_was_encoded_gives_an_equal_object(void **state)
{
    (void)state;
    try_property(check_encoding);
}

/* Takes the text of one random scalar and makes it something no field takes. */
static bool break_one(struct arena *arena, struct prng *prng, struct doc *doc)
{
    for (struct doc *item = doc->first; item; item = item->next) {
        bool open = doc->type == DOC_MAP &&
                    (strcmp(item->key, "status") == 0 || strcmp(item->key, "env") == 0);
        if (open || item->type == DOC_NULL)
            continue;
        if (item->first && break_one(arena, prng, item))
            return true;
        if (prng_below(prng, 4) != 0)
            continue;
        item->type = item->type == DOC_LIST ? DOC_MAP : DOC_LIST;
        item->first = item->last = NULL;
        item->count = 0;
        if (item->type == DOC_MAP)
            doc_set_int(arena, item, "7", 7);
        else
            doc_append(item, doc_int(arena, 7));
        return true;
    }
    return false;
}

static void check_breaking(
    struct arena *arena, struct prng *prng, const struct doc *doc, const struct manifest *manifest)
{
    (void)manifest;
    struct doc *broken = doc_copy(arena, doc);
    struct field_errors errors = {0};
    struct manifest unused;
    if (!break_one(arena, prng, broken))
        return;
    assert_int_equal(manifest_decode(arena, broken, NULL, &unused, &errors), -1);
    assert_true(errors.count > 0);
    for (size_t i = 0; i < errors.count; i++)
        assert_true(strlen(errors.items[i].text) > 0 && !strchr(errors.items[i].text, '\n'));
}

static void a_value_of_another_type_is_always_an_error(void **state)
{
    (void)state;
    try_property(check_breaking);
}

static void check_nulls(
    struct arena *arena, struct prng *prng, const struct doc *doc, const struct manifest *manifest)
{
    (void)prng;
    struct doc *with_null = doc_copy(arena, doc);
    const char *free_field = manifest->kind == KIND_JOB   ? "hold"
                             : manifest->kind == KIND_HPA ? "behavior"
                                                          : "description";
    struct doc *spec = (struct doc *)doc_get(with_null, "spec");
    if (!spec || spec->type != DOC_MAP || doc_get(spec, free_field))
        return;
    doc_set(arena, spec, free_field, doc_null(arena));
    assert_same(arena, manifest, with_null);
}

static void null_is_the_same_as_nothing(void **state)
{
    (void)state;
    try_property(check_nulls);
}

static void check_diff(
    struct arena *arena, struct prng *prng, const struct doc *doc, const struct manifest *manifest)
{
    const struct field_table *table = kind_table(manifest->kind);
    const struct doc *other = random_object(arena, prng, table, 0, false);
    assert_int_equal(doc_diff(arena, doc, doc).count, 0);
    struct doc_changes changes = doc_diff(arena, doc, other);
    assert_true((changes.count == 0) == doc_equal(doc, other));
    for (size_t i = 0; i < changes.count; i++) {
        const struct doc_change *change = &changes.items[i];
        assert_true(!change->before || doc_find(doc, change->path) == change->before);
        assert_true(!change->after || doc_find(other, change->path) == change->after);
    }
}

static void a_difference_names_the_values_at_its_path(void **state)
{
    (void)state;
    try_property(check_diff);
}

/* ---- the tables themselves ------------------------------------------------------------- */

static void check_table(const struct field_table *table, int depth)
{
    assert_true(depth < 8);
    assert_true(table->name && table->doc && table->size > 0 && table->count < 64);
    for (size_t i = 0; i < table->count; i++) {
        const struct field *field = &table->fields[i];
        bool nested = field->type == FIELD_OBJECT || field->type == FIELD_OBJECTS ||
                      field->type == FIELD_MAP || field->type == FIELD_DOC;
        assert_non_null(field->doc);
        assert_true(field->offset < table->size);
        assert_int_equal(nested, field->table != NULL);
        assert_true(field->max == 0 || field->min <= field->max);
        assert_true(field->type != FIELD_ENUM || field->words);
        if (field->type == FIELD_INT && field->fallback && field->max)
            assert_true(field->fallback <= field->max);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(field->name, table->fields[j].name);
        if (nested)
            check_table(field->table, depth + 1);
    }
}

static void every_table_is_sound(void **state)
{
    (void)state;
    for (enum kind kind = 0; kind < KIND_COUNT; kind++)
        check_table(kind_table(kind), 0);
}

static void text_rules_agree_with_their_patterns(void **state)
{
    (void)state;
    static const struct text_rule *const rules[] = {&rule_name, &rule_resource, &rule_label_key,
        &rule_variable, &rule_file_name, &rule_user, &rule_digest, &rule_currency, &rule_reference,
        &rule_artifact, &rule_url_path, &rule_route, &rule_gate_stage, &rule_owner, &rule_protocol};
    static const char letters[] = "aZ09-_./@[]: +\x7f\xc3";
    static const char *const fixed[] = {"", "a", "a[3]", "a[]", "a[123456]", "EUR", "eur", "..",
        ".", "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeefg"};
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        regex_t regex;
        assert_int_equal(regcomp(&regex, rules[i]->pattern, REG_EXTENDED | REG_NOSUB), 0);
        for (size_t j = 0; j < ARRAY_LEN(fixed); j++)
            assert_int_equal(
                rules[i]->matches(fixed[j]), regexec(&regex, fixed[j], 0, NULL, 0) == 0);
        struct prng prng = {i + 1};
        for (int round = 0; round < 5000; round++) {
            char text[8] = {0};
            for (size_t length = prng_below(&prng, sizeof text), k = 0; k < length; k++)
                text[k] = letters[prng_below(&prng, sizeof letters - 1)];
            if (rules[i]->matches(text) != (regexec(&regex, text, 0, NULL, 0) == 0))
                fail_msg("%s: \"%s\"", rules[i]->expected, text);
        }
        regfree(&regex);
    }
}

static void suggestions_are_near_and_not_too_far(void **state)
{
    (void)state;
    static const char *const names[] = {"resources", "retries", "cpu", "timeLimit", NULL};
    assert_string_equal(fields_suggest("resource", names), "resources");
    assert_string_equal(fields_suggest("resuorces", names), "resources");
    assert_string_equal(fields_suggest("TIMELIMIT", names), "timeLimit");
    assert_string_equal(fields_suggest("retrys", names), "retries");
    assert_string_equal(fields_suggest("cpus", names), "cpu");
    assert_null(fields_suggest("xyz", names));
    assert_null(fields_suggest("", names));
    assert_null(fields_suggest("a name that is far too long to be a slip of anything", names));
}

static void errors_say_where_even_without_a_file(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(strbuf_scope) struct strbuf out = {0};
    struct field_errors errors = {0};
    field_errors_add(&errors, arena, "a.b", 3, "expected %s", "x");
    field_errors_add(&errors, arena, "", 0, "is empty");
    field_errors_write(&errors, NULL, &out);
    field_errors_write(&errors, "f", &out);
    assert_string_equal(
        out.text, "line 3: a.b: expected x\nis empty\nf:3: a.b: expected x\nf: is empty\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoding_what_was_encoded_gives_an_equal_object),
        cmocka_unit_test(a_value_of_another_type_is_always_an_error),
        cmocka_unit_test(null_is_the_same_as_nothing),
        cmocka_unit_test(a_difference_names_the_values_at_its_path),
        cmocka_unit_test(every_table_is_sound),
        cmocka_unit_test(text_rules_agree_with_their_patterns),
        cmocka_unit_test(suggestions_are_near_and_not_too_far),
        cmocka_unit_test(errors_say_where_even_without_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
