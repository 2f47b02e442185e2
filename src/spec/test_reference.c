/* References, templates and decimals: what is taken, what comes out, and why the rest is refused.
 */
#include "base/memory.h"
#include "spec/decimal.h"
#include "spec/reference.h"
#include "spec/template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void references_are_read_and_written(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        struct reference reference;
    } examples[] = {
        {"digits", {"", "digits", REFERENCE_NEWEST, 0, ""}},
        {"digits:3", {"", "digits", REFERENCE_VERSION, 3, ""}},
        {"vision/a.b-1:99999999", {"vision", "a.b-1", REFERENCE_VERSION, 99999999, ""}},
        {"vision/digits@production", {"vision", "digits", REFERENCE_STAGE, 0, "production"}},
        {"d@candidate", {"", "d", REFERENCE_STAGE, 0, "candidate"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        struct reference reference;
        struct error err = {0};
        char text[REFERENCE_TEXT];
        if (reference_parse(examples[i].text, &reference, &err) < 0)
            fail_msg("%s: %s", examples[i].text, err.text);
        assert_memory_equal(&reference, &examples[i].reference, sizeof reference);
        reference_format(&reference, text);
        assert_string_equal(text, examples[i].text);
    }
}

static void what_is_no_reference_is_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *reason;
    } examples[] = {
        {"", "expected [TEAM/]NAME, and then nothing, :VERSION or @STAGE, got \"\""},
        {"A", "expected [TEAM/]NAME, and then nothing, :VERSION or @STAGE, got \"A\""},
        {"/a", "expected a team's name before the '/' of \"/a\""},
        {"a/", "expected [TEAM/]NAME, and then nothing, :VERSION or @STAGE, got \"a/\""},
        {"a/b/c", "expected [TEAM/]NAME, and then nothing, :VERSION or @STAGE, got \"a/b/c\""},
        {"a:", "expected a version from 1 to 99999999 after the ':', got \"\""},
        {"a:0", "expected a version from 1 to 99999999 after the ':', got \"0\""},
        {"a:01", "expected a version from 1 to 99999999 after the ':', got \"01\""},
        {"a:100000000", "expected a version from 1 to 99999999 after the ':', got \"100000000\""},
        {"a:3@staging", "expected a version from 1 to 99999999 after the ':', got \"3@staging\""},
        {"a@live", "expected candidate, staging, production or archived after the '@', got "
                   "\"live\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        struct reference reference = {.version = 7};
        struct error err = {0};
        assert_int_equal(reference_parse(examples[i].text, &reference, &err), -1);
        assert_string_equal(err.text, examples[i].reason);
        assert_int_equal(err.code, ERR_INVALID);
        assert_int_equal(reference.version, 7);
    }
    char text[80];
    struct reference reference;
    memset(text, 'a', sizeof text);
    text[64] = '\0';
    assert_int_equal(reference_parse(text, &reference, NULL), -1);
    text[63] = '\0';
    assert_int_equal(reference_parse(text, &reference, NULL), 0);
}

static void templates_are_filled_in(void **state)
{
    (void)state;
    const char *values[PLACEHOLDER_COUNT] = {[PLACEHOLDER_MODEL] = "/inputs/model",
        [PLACEHOLDER_NAME] = "digits",
        [PLACEHOLDER_PORT] = "8080",
        [PLACEHOLDER_SHARDS] = "4"};
    static const struct {
        const char *text;
        const char *expected;
    } examples[] = {
        {"", ""},
        {"plain }", "plain }"},
        {"{model}/{name}:{port}", "/inputs/model/digits:8080"},
        {"{{\"a\": {name}}", "{\"a\": digits}"},
        {"{{{name}}", "{digits}"},
        {"{{{{", "{{"},
        {"[{socket}]", "[]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        struct strbuf out = {0};
        assert_int_equal(template_check(examples[i].text, TEMPLATE_SERVE, NULL), 0);
        template_expand(examples[i].text, values, &out);
        assert_string_equal(strbuf_text(&out), examples[i].expected);
        strbuf_finish(&out);
    }
}

static void unknown_placeholders_are_refused(void **state)
{
    (void)state;
    struct error err;
    assert_int_equal(template_check("a {modle} b", TEMPLATE_SERVE, &err), -1);
    assert_string_equal(err.text, "there is no placeholder {modle}; a \"{\" that stands for itself "
                                  "is written \"{{\"");
    assert_int_equal(template_check("{", TEMPLATE_SERVE, &err), -1);
    assert_int_equal(template_check("{model", TEMPLATE_SERVE, &err), -1);
    assert_int_equal(template_check("{model{name}", TEMPLATE_SERVE, &err), -1);
    assert_int_equal(template_check("{data}", TEMPLATE_SERVE, &err), -1);
    assert_string_equal(err.text, "the placeholder {data} has no meaning when serving");
    assert_int_equal(template_check("{data} {shard}/{shards}", TEMPLATE_SCORE, &err), 0);
    assert_int_equal(template_check("{port}", TEMPLATE_SCORE, &err), -1);
}

static void decimals_are_compared_by_value(void **state)
{
    (void)state;
    /* Ascending; those on one line are equal. */
    static const char *const rows[][3] = {{"-1e9999", "-10e9998"}, {"-12.5", "-1.25e1"},
        {"-0.001", "-1E-3"}, {"0", "-0.00", "0e99"}, {"1e-9999"}, {"0.0999"}, {"0.1", "1e-1"},
        {"0.10000000000000000000001"}, {"0.95", "95e-2", "+0.950"}, {"9.99"}, {"10", "1e1"},
        {"123456789012345678901234567890"}, {"123456789012345678901234567891"}};
    for (size_t i = 0; i < ARRAY_LEN(rows) * 3; i++) {
        for (size_t j = 0; j < ARRAY_LEN(rows) * 3; j++) {
            const char *a = rows[i / 3][i % 3], *b = rows[j / 3][j % 3];
            if (!a || !b)
                continue;
            int order = decimal_compare(a, b), wanted = i / 3 == j / 3 ? 0 : i < j ? -1 : 1;
            if (order != wanted)
                fail_msg("%s and %s: %d", a, b, order);
        }
    }
    static const char *const none[] = {
        "", "-", ".5", "5.", "1e", "1e+", "1e99999", "nan", "inf", "0x1", "1 ", " 1", "1,5", "--1"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        if (decimal_valid(none[i]))
            fail_msg("\"%s\"", none[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_are_read_and_written),
        cmocka_unit_test(what_is_no_reference_is_refused_with_a_reason),
        cmocka_unit_test(templates_are_filled_in),
        cmocka_unit_test(unknown_placeholders_are_refused),
        cmocka_unit_test(decimals_are_compared_by_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
