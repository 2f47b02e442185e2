/* What a terminal is told, and how wide text is. */
#include "cli/text.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BAD "\xef\xbf\xbd"

static void width_counts_columns_not_bytes(void **state)
{
    (void)state;
    assert_int_equal(text_width(""), 0);
    assert_int_equal(text_width("abc"), 3);
    assert_int_equal(text_width("K\xc3\xb6ln"), 4);
    assert_int_equal(text_width("e\xcc\x81"), 1);                /* e and a combining accent */
    assert_int_equal(text_width("\xe6\x97\xa5\xe6\x9c\xac"), 4); /* two wide letters */
    assert_int_equal(text_width("\xff\xfe"), 2);
}

static void safe(const char *given, const char *expected)
{
    struct strbuf out = {0};
    text_append_safe(&out, given);
    assert_string_equal(strbuf_text(&out), expected);
    strbuf_finish(&out);
}

static void a_line_has_no_control_characters(void **state)
{
    (void)state;
    safe("plain \xc3\xbc", "plain \xc3\xbc");
    safe("a\033[2Jb", "a" BAD "[2Jb");
    safe("a\nb\tc", "a b c");
    safe("a\rb\ab\x7f", "a" BAD "b" BAD "b" BAD);
    safe("\xc2\x9b"
         "31m",
        BAD "31m"); /* the C1 form of ESC [ */
    safe("a\xe2\x80\xae"
         "b",
        "a" BAD "b"); /* right-to-left override */
    safe("\xc0\xaf\xed\xa0\x80", BAD BAD BAD BAD BAD);
    safe("cut \xe6\x97", "cut " BAD BAD);
}

static void filter_pieces(const char *const *pieces, const char *expected)
{
    struct strbuf out = {0};
    struct text_filter filter = {0};
    for (; *pieces; pieces++)
        text_filter_piece(&filter, *pieces, strlen(*pieces), &out);
    text_filter_end(&filter, &out);
    assert_string_equal(strbuf_text(&out), expected);
    strbuf_finish(&out);
}

#define FILTER(expected, ...) filter_pieces((const char *const[]){__VA_ARGS__, NULL}, expected)

static void a_log_keeps_lines_and_colours_only(void **state)
{
    (void)state;
    FILTER("a\tb\r\nc\n", "a\tb\r\nc\n");
    FILTER("\033[1;31mred\033[0m", "\033[1;31mred\033[0m");
    FILTER(BAD "]0;title" BAD, "\033]0;title\a");
    FILTER(BAD "[6n", "\033[6n");
    FILTER(BAD "[2J", "\033[2J");
}

static void pieces_may_be_cut_anywhere(void **state)
{
    (void)state;
    FILTER("\033[31mx\xe6\x97\xa5", "\033", "[3", "1", "mx\xe6", "\x97", "\xa5");
    FILTER(BAD "[2Jx", "\033", "[2", "Jx");
    FILTER("x" BAD BAD, "x\xe6", "\x97");
    /* A colour that never ends is not held for ever. */
    FILTER(BAD "[11111111111111111111111111111111111111111111x", "\033[1111111111111111111111",
        "1111111111111111111111x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(width_counts_columns_not_bytes),
        cmocka_unit_test(a_line_has_no_control_characters),
        cmocka_unit_test(a_log_keeps_lines_and_colours_only),
        cmocka_unit_test(pieces_may_be_cut_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
