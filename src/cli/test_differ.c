/* Comparing answers. */
#include "base/memory.h"
#include "base/test.h"
#include "cli/differ.h"

#include <string.h>

struct row {
    const char *was, *is, *why; /* why NULL: they are the same */
};

static void test_answers_are_compared_by_value(void **state)
{
    static const char *const ignored[] = {"id", NULL};
    static const struct row rows[] = {
        {"{\"a\":1,\"b\":[true,null]}", " {\"b\": [true, null], \"a\": 1.0}\n", NULL},
        {"{\"a\":1}", "{\"a\":1e0}", NULL},
        {"{\"a\":0.5}", "{\"a\":0.25}", "a: 0.25, was 0.5"},
        {"{\"id\":1,\"a\":2}", "{\"id\":5,\"a\":2}", NULL},
        {"{\"id\":1}", "{}", NULL},
        {"{\"x\":{\"id\":1}}", "{\"x\":{\"id\":2}}", "x.id: 2, was 1"},
        {"{\"a\":[1,2]}", "{\"a\":[1]}", "a[1]: nothing, was 2"},
        {"{\"a\":[1]}", "{\"a\":[1,2]}", "a[1]: 2, was nothing"},
        {"{\"a\":1}", "{\"b\":1}", "a: nothing, was 1"},
        {"{}", "{\"b\":1}", "b: 1, was nothing"},
        {"{\"a\":\"1\"}", "{\"a\":1}", "a: 1, was \"1\""},
        {"[1]", "{}", "{}, was [1]"},
        {"plain", "plain", NULL},
        {"plain", "other", "other text"},
        {"{}", "other", "no JSON, which it was"},
        {"other", "{}", "JSON, which it was not"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        SCOPED(arena_scope) struct arena *arena = arena_create();
        struct strbuf why = {0};
        bool same = differ_same(arena, rows[i].was, rows[i].is, ignored, &why);
        if (same != (rows[i].why == NULL))
            fail_msg("%s and %s", rows[i].was, rows[i].is);
        assert_string_equal(strbuf_text(&why), rows[i].why ? rows[i].why : "");
        strbuf_finish(&why);
    }
}

static void test_what_was_redacted_stands_for_any_text(void **state)
{
    static const char *const none[] = {NULL};
    static const struct {
        const char *was, *is;
        bool same;
    } rows[] = {
        {"I am [REDACTED:email]", "I am ann@mail.example", true},
        {"I am [REDACTED:email]", "You are ann", false},
        {"[REDACTED:email] or [REDACTED:phone].", "a or b.", true},
        {"[REDACTED:email] or [REDACTED:phone].", "a and b.", false},
        {"[REDACTED:email] or [REDACTED:phone].", "a or b", false},
        {"x [REDACTED:email] x", "x x", false},
        {"x [REDACTED:email] x", "x  x", true},
        {"[REDACTED:ema", "anything", true},
        {"plain", "plainer", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        SCOPED(arena_scope) struct arena *arena = arena_create();
        struct strbuf why = {0};
        const char *was = arena_printf(arena, "{\"t\":\"%s\"}", rows[i].was);
        const char *is = arena_printf(arena, "{\"t\":\"%s\"}", rows[i].is);
        assert_int_equal(differ_same(arena, was, is, none, &why), rows[i].same);
        strbuf_finish(&why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_are_compared_by_value),
        cmocka_unit_test(test_what_was_redacted_stands_for_any_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
