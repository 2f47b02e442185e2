/* Tests of the names of policies: each is found, put and read again, and one that is not there is
 * refused with the list of those that are. */
#include "base/test.h"
#include "core/policy.h"

#include <stdio.h>
#include <string.h>

static void each_name_is_read_as_it_was_set(void **state)
{
    (void)state;
    for (enum policy_part part = 0; part < POLICY_PARTS; part++) {
        struct core_options options = {0};
        assert_null(policy_get(&options, part));
        for (size_t i = 0; policy_name(part, i); i++) {
            char copy[64];
            snprintf(copy, sizeof copy, "%s", policy_name(part, i));
            assert_true(policy_set(&options, part, copy));
            memset(copy, 'x', sizeof copy - 1);
            assert_string_equal(policy_get(&options, part), policy_name(part, i));
        }
        assert_false(policy_set(&options, part, "by lot"));
        assert_non_null(policy_get(&options, part));
        assert_true(policy_set(&options, part, NULL));
        assert_null(policy_get(&options, part));
    }
}

/* Else a name joined with others would not say which part it is of. */
static void no_two_parts_share_a_name(void **state)
{
    (void)state;
    for (enum policy_part a = 0; a < POLICY_PARTS; a++) {
        for (enum policy_part b = a + 1; b < POLICY_PARTS; b++) {
            for (size_t i = 0; policy_name(a, i); i++) {
                for (size_t j = 0; policy_name(b, j); j++)
                    assert_string_not_equal(policy_name(a, i), policy_name(b, j));
            }
        }
    }
}

static void joined_names_are_told_apart(void **state)
{
    struct core_options options = {.spot = "greedy"};
    struct error err;
    (void)state;
    assert_int_equal(policy_choose(&options, "youngest-first+tight", &err), 0);
    assert_string_equal(options.victims, "youngest-first");
    assert_string_equal(options.placement, "tight");
    assert_string_equal(options.spot, "greedy");
    assert_null(options.allotment);
    assert_int_equal(policy_choose(&options, NULL, &err), 0);
    assert_int_equal(policy_choose(&options, "", &err), 0);
    assert_int_equal(policy_choose(&options, "slack+best", &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.text, "no policy best; there are default, "));
    assert_non_null(strstr(err.text, "on-demand")); /* the last one: the list is whole */
    assert_string_equal(options.spot, "greedy");
    assert_int_equal(policy_choose(&options, "tight++slack", &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_name_is_read_as_it_was_set),
        cmocka_unit_test(no_two_parts_share_a_name),
        cmocka_unit_test(joined_names_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
