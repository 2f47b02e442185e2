/* Whether two answers say the same. */
#include "base/memory.h"
#include "gateway/answer_compare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool agree(const char *one, const char *other)
{
    bool found = answers_agree(one, strlen(one), other, strlen(other), 1000);
    assert_int_equal(found, answers_agree(other, strlen(other), one, strlen(one), 1000));
    return found;
}

static void test_json(void **state)
{
    static const struct {
        const char *one, *other;
        bool agree;
    } cases[] = {
        {"{\"a\":1,\"b\":[true,null]}", "{ \"b\": [true, null], \"a\": 1.0 }", true},
        {"{\"a\":1}", "{\"a\":1,\"b\":2}", false},
        {"{\"a\":1,\"b\":2}", "{\"b\":1,\"a\":2}", false},
        {"{\"a\":\"1\"}", "{\"a\":1}", false},
        {"{\"a\":[1,2]}", "{\"a\":[1,2,3]}", false},
        {"{\"a\":[1,2]}", "{\"a\":[2,1]}", false},
        {"[]", "{}", false},
        /* A thousandth of the larger one, whatever its size. */
        {"{\"data\":[1000,0.5,-3e-9]}", "{\"data\":[1000.9,0.5004,-3.001e-9]}", true},
        {"{\"data\":[1000]}", "{\"data\":[1002]}", false},
        {"{\"data\":[0]}", "{\"data\":[1e-30]}", false},
        {"{\"data\":[1e999]}", "{\"data\":[1]}", false},
        /* What names the answer does not count. */
        {"{\"id\":\"x\",\"created\":1,\"m\":{\"id\":7,\"t\":\"y\"}}", "{\"m\":{\"t\":\"y\"}}",
            true},
        {"{\"id\":\"x\",\"text\":\"a\"}", "{\"id\":\"x\",\"text\":\"b\"}", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (agree(cases[i].one, cases[i].other) != cases[i].agree)
            fail_msg("%s and %s", cases[i].one, cases[i].other);
    }
}

#define EVENT(text) "data: {\"id\":\"1\",\"choices\":[{\"delta\":{\"content\":\"" text "\"}}]}\n\n"

static void test_streams(void **state)
{
    (void)state;
    assert_true(agree(EVENT("Hel") EVENT("lo") "data: [DONE]\n\n",
        ": a comment\n\n" EVENT("Hello") "data: [DONE]\n\n"));
    assert_false(agree(EVENT("Hello"), EVENT("Hallo")));
    assert_false(agree(EVENT("Hello"), "{\"a\":1}"));
}

static void test_everything_else_is_bytes(void **state)
{
    SCOPED(mem_scope) char *long_one = mem_alloc(COMPARE_BYTES_MAX + 8, 1);
    (void)state;
    assert_true(agree("\x01\x02", "\x01\x02"));
    assert_false(agree("plain", "other"));
    assert_true(agree("", ""));
    assert_false(agree("", "{}"));
    memset(long_one, ' ', COMPARE_BYTES_MAX + 4);
    memcpy(long_one, "[1]", 3);
    assert_false(answers_agree(long_one, COMPARE_BYTES_MAX + 4, "[1]", 3, 1000));
    assert_true(
        answers_agree(long_one, COMPARE_BYTES_MAX + 4, long_one, COMPARE_BYTES_MAX + 4, 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_everything_else_is_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
