/* Tests of the request for usage: to the byte, whatever pieces a body comes in. */
#include "base/memory.h"
#include "base/strbuf.h"
#include "base/test.h"
#include "gateway/usage_ask.h"

#include <string.h>

static bool find_in_pieces(const char *text, size_t length, size_t piece, struct usage_edit *ret)
{
    struct usage_ask ask;
    usage_ask_init(&ask);
    for (size_t at = 0; at < length; at += piece)
        usage_ask_feed(&ask, text + at, length - at < piece ? length - at : piece);
    return usage_ask_find(&ask, ret);
}

/* expected NULL: the body stays as it is. */
static void check(const char *text, const char *expected)
{
    struct strbuf body = {0};
    struct usage_edit whole = {0}, edit;
    size_t length = strlen(text);
    strbuf_puts(&body, text);
    if (usage_ask_edit(&body) != (expected != NULL))
        fail_msg("%s: %s", text, expected ? "was not edited" : "was edited");
    assert_string_equal(strbuf_text(&body), expected ? expected : text);
    assert_int_equal(body.length, strlen(strbuf_text(&body)));
    bool found = find_in_pieces(text, length, length + 1, &whole);
    for (size_t piece = 1; piece <= length; piece++) {
        assert_int_equal(find_in_pieces(text, length, piece, &edit), found);
        if (found) {
            assert_int_equal(edit.at, whole.at);
            assert_int_equal(edit.removed, whole.removed);
            assert_string_equal(edit.text, whole.text);
        }
    }
    strbuf_finish(&body);
}

static void test_a_stream_is_asked_for_its_usage(void **state)
{
    (void)state;
    check("{\"model\":\"m\",\"stream\":true}",
        "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
    check(" {\n \"stream\" : true , \"messages\":[{\"content\":\"\\\"stream\\\": \\u007d\"}] }\r\n",
        " {\n \"stream\" : true , \"messages\":[{\"content\":\"\\\"stream\\\": \\u007d\"}] "
        ",\"stream_options\":{\"include_usage\":true}}\r\n");
    check("{\"stream\":true,\"stream_options\":null,\"model\":\"m\"}",
        "{\"stream\":true,\"stream_options\":{\"include_usage\":true},\"model\":\"m\"}");
    check("{\"stream_options\":{},\"stream\":true}",
        "{\"stream_options\":{\"include_usage\":true},\"stream\":true}");
    check("{\"stream_options\": { } ,\"stream\":true}",
        "{\"stream_options\": { \"include_usage\":true} ,\"stream\":true}");
    check("{\"stream_options\":{\"include_obfuscation\":[{}, 1]},\"stream\":true}",
        "{\"stream_options\":{\"include_obfuscation\":[{}, 1],\"include_usage\":true},"
        "\"stream\":true}");
    check("{\"stream_options\":{\"include_usage\": false },\"stream\":true}",
        "{\"stream_options\":{\"include_usage\": true },\"stream\":true}");
    check("{\"stream_options\":{\"include_usage\":null,\"x\":1},\"stream\":true}",
        "{\"stream_options\":{\"include_usage\":true,\"x\":1},\"stream\":true}");
    /* What is called the same elsewhere does not count. */
    check("{\"a\":{\"stream\":false,\"include_usage\":1},\"b\":[{\"stream_options\":0}],"
          "\"stream\":true}",
        "{\"a\":{\"stream\":false,\"include_usage\":1},\"b\":[{\"stream_options\":0}],"
        "\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
    check("{\"a\":[[{\"b\":{\"stream_options\":{\"include_usage\":true}}}]],\"stream\":true}",
        "{\"a\":[[{\"b\":{\"stream_options\":{\"include_usage\":true}}}]],\"stream\":true,"
        "\"stream_options\":{\"include_usage\":true}}");
}

static void test_everything_else_stays_as_it_is(void **state)
{
    (void)state;
    static const char *const cases[] = {"", " ", "{}", "[]", "\"stream\"", "{\"stream\":true",
        "{\"stream\":false}", "{\"stream\":null}", "{\"stream\":1}", "{\"stream\":\"true\"}",
        "{\"stream\":{}}", "{\"stream\":[true]}", "{\"streams\":true,\"x\":\"\\\"stream\\\"\"}",
        "{\"a\":{\"stream\":true}}", "[{\"stream\":true}]",
        "{\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
        "{\"stream\":true,\"stream_options\":{\"include_usage\":\"yes\"}}",
        "{\"stream\":true,\"stream_options\":{\"include_usage\":{}}}",
        "{\"stream\":true,\"stream_options\":[]}", "{\"stream\":true,\"stream_options\":true}",
        "{\"stream\":true,\"stream_options\":\"x\"}",
        /* in two ways */
        "{\"stream\":true,\"stream\":true}", "{\"stream\":false,\"stream\":true}",
        "{\"stream\":true,\"stream_options\":{},\"stream_options\":null}",
        "{\"stream\":true,\"stream_options\":{\"include_usage\":false,\"include_usage\":true}}",
        "{\"stream\":true,\"\\u0073tream\":false}", "{\"stream\":true,\"a\\\\\":1}",
        "{\"stream\":true,\"stream_options\":{\"include\\u005fusage\":true}}",
        "{\"stream\":true,\"stream_options\":{\"a\tb\":true}}",
        /* no JSON */
        "{\"stream\":true}}", "{\"stream\":true}x", "{\"stream\":true,}", "{,\"stream\":true}",
        "{\"stream\":true]", "{\"stream\":true,\"a\":[}]}", "{\"stream\"true}", "{\"stream\":}",
        "{\"stream\"}", "{\"stream\":true \"a\":1}", "{\"stream\":tr ue}", "{\"stream\":true true}",
        "{\"stream\":true,\"a\" \"b\":1}", "{\"stream\":true:true}", "{\"stream\":true,,\"a\":1}",
        "{\"stream\":true,\"stream_options\":{,}}", "{\"stream\":true,\"stream_options\":{}{}}",
        "{\"stream\":true,\"stream_options\":{\"a\"}}", "{x\"stream\":true}", "{\"stream\":truex}"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(cases[i], NULL);
}

static void test_names_and_depth_have_bounds(void **state)
{
    (void)state;
    struct strbuf text = {0}, expected = {0};
    strbuf_puts(&text, "{\"stream\":true,\"");
    for (int i = 0; i < 1000; i++)
        strbuf_puts(&text, "stream_options");
    strbuf_puts(&text, "\":");
    for (int i = 1; i < MEMBER_DEPTH_MAX; i++)
        strbuf_putc(&text, '[');
    for (int i = 1; i < MEMBER_DEPTH_MAX; i++)
        strbuf_putc(&text, ']');
    strbuf_append(&expected, text.text, text.length);
    strbuf_puts(&text, "}");
    strbuf_puts(&expected, ",\"stream_options\":{\"include_usage\":true}}");
    struct usage_edit edit;
    assert_true(find_in_pieces(text.text, text.length, 7, &edit));
    assert_true(usage_ask_edit(&text));
    assert_string_equal(text.text, expected.text);
    strbuf_clear(&text);
    strbuf_puts(&text, "{\"stream\":true,\"a\":");
    for (int i = 1; i <= MEMBER_DEPTH_MAX; i++)
        strbuf_putc(&text, '[');
    for (int i = 1; i <= MEMBER_DEPTH_MAX; i++)
        strbuf_putc(&text, ']');
    strbuf_puts(&text, "}");
    assert_false(usage_ask_edit(&text));
    strbuf_finish(&text);
    strbuf_finish(&expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stream_is_asked_for_its_usage),
        cmocka_unit_test(test_everything_else_stays_as_it_is),
        cmocka_unit_test(test_names_and_depth_have_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
