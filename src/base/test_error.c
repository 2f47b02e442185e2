/* Tests of the error idiom. */
#include "base/error.h"
#include "base/memory.h"
#include "base/test.h"

#include <errno.h>
#include <string.h>

static void test_set_fills_the_error_and_returns_minus_one(void **state)
{
    (void)state;
    struct error err = {0};
    assert_int_equal(error_set(&err, ERR_CONFLICT, "job %s is %s", "a", "done"), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_string_equal(err.text, "job a is done");
}

static void test_a_null_error_is_fine(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, ERR_IO, "x"), -1);
    assert_int_equal(error_set_errno(NULL, "x"), -1);
    assert_int_equal(error_prefix(NULL, "x"), -1);
}

static void test_a_long_text_is_cut(void **state)
{
    (void)state;
    struct error err;
    char longer[2 * sizeof err.text];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    error_set(&err, ERR_INVALID, "%s", longer);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

static void test_quoted_input_cannot_break_the_line(void **state)
{
    (void)state;
    struct error err;
    error_set(&err, ERR_INVALID, "got \"%s\"", "a\nb\r\x1b[2J\x7f");
    assert_string_equal(err.text, "got \"a?b??[2J?\"");
    error_prefix(&err, "file\n1");
    assert_string_equal(err.text, "file?1: got \"a?b??[2J?\"");
    errno = EIO;
    error_set_errno(&err, "a\tb");
    assert_string_equal(err.text, "a?b: Input/output error");
}

static void test_errno_decides_the_code_and_is_kept(void **state)
{
    (void)state;
    static const struct {
        int number;
        enum error_code code;
    } cases[] = {
        {ENOENT, ERR_IO}, {EIO, ERR_IO}, {ENOSPC, ERR_FULL}, {EDQUOT, ERR_FULL}, {EFBIG, ERR_FULL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error err;
        errno = cases[i].number;
        assert_int_equal(error_set_errno(&err, "cannot open %s", "x"), -1);
        assert_int_equal(errno, cases[i].number);
        assert_int_equal(err.code, cases[i].code);
        assert_non_null(strstr(err.text, "cannot open x: "));
        assert_non_null(strstr(err.text, strerror(cases[i].number)));
    }
}

static void test_prefix_keeps_code_and_text(void **state)
{
    (void)state;
    struct error err;
    error_set(&err, ERR_NOT_FOUND, "no such job");
    assert_int_equal(error_prefix(&err, "%s:%d", "train.yaml", 12), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_string_equal(err.text, "train.yaml:12: no such job");
}

static void test_a_prefix_without_room_is_dropped(void **state)
{
    (void)state;
    struct error err;
    char longer[sizeof err.text + 1];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    error_set(&err, ERR_NOT_FOUND, "no such job");
    error_prefix(&err, "%s", longer);
    assert_string_equal(err.text, "no such job");
    longer[sizeof err.text - 10] = '\0';
    error_prefix(&err, "%s", longer);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_string_equal(err.text + sizeof err.text - 10, ": no such");
}

static void test_every_code_has_its_own_name_and_a_status(void **state)
{
    (void)state;
    for (int a = ERR_NONE; a < ERR_COUNT; a++) {
        assert_true(strlen(error_name(a)) > 0);
        for (int b = ERR_NONE; b < a; b++)
            assert_string_not_equal(error_name(a), error_name(b));
        assert_int_equal(error_exit_status(a) == 0, a == ERR_NONE);
        assert_true(a == ERR_NONE || (error_http_status(a) >= 400 && error_http_status(a) < 600));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_fills_the_error_and_returns_minus_one),
        cmocka_unit_test(test_a_null_error_is_fine),
        cmocka_unit_test(test_a_long_text_is_cut),
        cmocka_unit_test(test_quoted_input_cannot_break_the_line),
        cmocka_unit_test(test_errno_decides_the_code_and_is_kept),
        cmocka_unit_test(test_prefix_keeps_code_and_text),
        cmocka_unit_test(test_a_prefix_without_room_is_dropped),
        cmocka_unit_test(test_every_code_has_its_own_name_and_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
