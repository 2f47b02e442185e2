/* Tests of the stored hash: it never changes, for it is an index on disk. */
#include "base/hash.h"
#include "base/test.h"

static void test_the_values_are_those_on_disk(void **state)
{
    (void)state;
    assert_int_equal(hash_text(""), 0x2ec0a3a34098b265);
    assert_int_equal(hash_text("train"), 0x34e64d4fae05d0a3);
    assert_int_equal(hash_text("train[17]"), 0x293cb57dfe22368f);
}

static void test_every_value_is_a_positive_number(void **state)
{
    (void)state;
    char text[] = "job-aaa";
    for (int i = 0; i < 26 * 26 * 26; i++) {
        text[4] = (char)('a' + i / 676);
        text[5] = (char)('a' + i / 26 % 26);
        text[6] = (char)('a' + i % 26);
        assert_true(hash_text(text) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_values_are_those_on_disk),
        cmocka_unit_test(test_every_value_is_a_positive_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
