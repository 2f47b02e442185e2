/* Tests of the growing string and of JSON escaping. */
#include "base/memory.h"
#include "base/prng.h"
#include "base/strbuf.h"
#include "base/test.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define REPLACED "\xef\xbf\xbd"

static void test_an_empty_buffer_reads_as_an_empty_text(void **state)
{
    (void)state;
    struct strbuf buf = {0};
    assert_string_equal(strbuf_text(&buf), "");
    strbuf_clear(&buf);
    strbuf_consume(&buf, 0);
    SCOPED(mem_scope) char *text = strbuf_steal(&buf);
    assert_string_equal(text, "");
    strbuf_finish(&buf);
}

static void test_text_is_appended_and_terminated(void **state)
{
    (void)state;
    struct strbuf buf = {0};
    for (int i = 0; i < 1000; i++) {
        strbuf_puts(&buf, "ab");
        strbuf_putc(&buf, 'c');
        strbuf_printf(&buf, "%d", i % 10);
        assert_int_equal(buf.length, (size_t)(i + 1) * 4);
        assert_int_equal(strlen(strbuf_text(&buf)), buf.length);
    }
    assert_memory_equal(strbuf_text(&buf), "abc0abc1abc2", 12);
    strbuf_finish(&buf);
    assert_null(buf.text);
}

static void test_bytes_may_contain_nul(void **state)
{
    (void)state;
    struct strbuf buf = {0};
    strbuf_append(&buf, "a\0b", 3);
    assert_int_equal(buf.length, 3);
    assert_memory_equal(buf.text, "a\0b", 4);
    strbuf_append(&buf, NULL, 0);
    assert_int_equal(buf.length, 3);
    strbuf_finish(&buf);
}

static void test_printf_longer_than_the_buffer(void **state)
{
    (void)state;
    struct strbuf buf = {0};
    strbuf_printf(&buf, "<%5000d>", 7);
    assert_int_equal(buf.length, 5002);
    assert_string_equal(buf.text + 5000, "7>");
    strbuf_finish(&buf);
}

static void test_consume_drops_from_the_front(void **state)
{
    (void)state;
    struct strbuf buf = {0};
    strbuf_puts(&buf, "hello world");
    strbuf_consume(&buf, 6);
    assert_string_equal(strbuf_text(&buf), "world");
    strbuf_consume(&buf, 5);
    assert_string_equal(strbuf_text(&buf), "");
    strbuf_finish(&buf);
}

static void test_steal_leaves_the_buffer_usable(void **state)
{
    (void)state;
    struct strbuf buf = {0};
    strbuf_puts(&buf, "first");
    SCOPED(mem_scope) char *first = strbuf_steal(&buf);
    strbuf_puts(&buf, "second");
    assert_string_equal(first, "first");
    assert_string_equal(strbuf_text(&buf), "second");
    strbuf_finish(&buf);
}

static void test_json_escapes(void **state)
{
    (void)state;
    static const struct {
        const char *text, *json;
    } cases[] = {
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"say \"hi\" \\ /", "\"say \\\"hi\\\" \\\\ /\""},
        {"\n\t\x01\x1f\x7f", "\"\\n\\t\\u0001\\u001f\\u007f\""},
        {"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\""},
        {"\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\""},
        /* a lone continuation, bytes that never occur, a sequence cut short */
        {"a\x80z", "\"a" REPLACED "z\""},
        {"\xff\xfe", "\"" REPLACED REPLACED "\""},
        {"\xc3", "\"" REPLACED "\""},
        {"\xe2\x82", "\"" REPLACED REPLACED "\""},
        {"\xe2\x82\"", "\"" REPLACED REPLACED "\\\"\""},
        /* overlong forms, a surrogate, beyond U+10FFFF */
        {"\xc0\xaf", "\"" REPLACED REPLACED "\""},
        {"\xe0\x80\xaf", "\"" REPLACED REPLACED REPLACED "\""},
        {"\xf0\x80\x80\xaf", "\"" REPLACED REPLACED REPLACED REPLACED "\""},
        {"\xed\xa0\x80", "\"" REPLACED REPLACED REPLACED "\""},
        {"\xf4\x90\x80\x80", "\"" REPLACED REPLACED REPLACED REPLACED "\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct strbuf buf = {0};
        strbuf_json(&buf, cases[i].text);
        assert_string_equal(strbuf_text(&buf), cases[i].json);
        strbuf_finish(&buf);
    }
}

/* Whatever the bytes, the result has no control character, no bare quote, and is stable: escaped
 * text that needs no escape comes through unchanged. */
static void test_json_of_random_bytes_is_one_string(void **state)
{
    (void)state;
    struct prng prng = {7};
    for (int round = 0; round < 5000; round++) {
        char text[24] = {0};
        for (size_t i = 0; i + 1 < sizeof text; i++)
            text[i] = (char)(prng_below(&prng, 255) + 1);
        struct strbuf buf = {0};
        strbuf_json(&buf, text);
        assert_int_equal(buf.text[0], '"');
        assert_int_equal(buf.text[buf.length - 1], '"');
        for (size_t i = 1; i + 1 < buf.length; i++) {
            assert_true((unsigned char)buf.text[i] >= 0x20);
            assert_int_not_equal(buf.text[i], '"');
            i += buf.text[i] == '\\';
        }
        strbuf_finish(&buf);
    }
}

static void test_numbers_are_those_of_printf(void **state)
{
    (void)state;
    static const int64_t numbers[] = {
        0, 1, -1, 9, 10, 99, 100, 1234567890123, INT64_MAX, INT64_MIN, INT64_MIN + 1};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct strbuf buf = {0}, expected = {0};
        strbuf_int(&buf, numbers[i]);
        strbuf_printf(&expected, "%" PRId64, numbers[i]);
        assert_string_equal(buf.text, expected.text);
        assert_int_equal(buf.length, expected.length);
        strbuf_finish(&buf);
        strbuf_finish(&expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_buffer_reads_as_an_empty_text),
        cmocka_unit_test(test_text_is_appended_and_terminated),
        cmocka_unit_test(test_bytes_may_contain_nul),
        cmocka_unit_test(test_printf_longer_than_the_buffer),
        cmocka_unit_test(test_numbers_are_those_of_printf),
        cmocka_unit_test(test_consume_drops_from_the_front),
        cmocka_unit_test(test_steal_leaves_the_buffer_usable),
        cmocka_unit_test(test_json_escapes),
        cmocka_unit_test(test_json_of_random_bytes_is_one_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
