/* Scores of answers: to whom they count, and how often. */
#include "gateway/feedback.h"
#include "gateway/usage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void test_a_request_takes_one_score_of_its_own_key(void **state)
{
    struct feedback *feedback = feedback_create();
    struct usage_counts counts = {0};
    (void)state;
    assert_false(feedback_score(feedback, "r1", "k1", 10));
    feedback_note(feedback, "r1", "k1", &counts);
    assert_false(feedback_score(feedback, "r2", "k1", 10));
    assert_false(feedback_score(feedback, "r1", "k2", 10));
    assert_false(feedback_score(feedback, "k1", "r1", 10));
    assert_true(feedback_score(feedback, "r1", "k1", 10));
    assert_false(feedback_score(feedback, "r1", "k1", 3));
    assert_int_equal(counts.scores[10], 1);
    assert_int_equal(counts.scores[3], 0);
    feedback_destroy(feedback);
}

/* A hundred times as many requests as there are places: the memory is the same, and what was asked
 * last is known. */
static void test_it_remembers_the_newest_in_bounded_memory(void **state)
{
    struct feedback *feedback = feedback_create();
    struct usage_counts counts = {0};
    int known = 0;
    char id[32];
    (void)state;
    for (int i = 0; i < FEEDBACK_PLACES * 100; i++) {
        snprintf(id, sizeof id, "r%d", i);
        feedback_note(feedback, id, "", &counts);
    }
    assert_true(feedback_score(feedback, id, "", 0));
    for (int i = 0; i < FEEDBACK_PLACES * 100; i++) {
        snprintf(id, sizeof id, "r%d", i);
        known += feedback_score(feedback, id, "", 5);
    }
    assert_true(known <= FEEDBACK_PLACES && known > FEEDBACK_PLACES * 9 / 10);
    assert_int_equal(counts.scores[5], known);
    feedback_destroy(feedback);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_takes_one_score_of_its_own_key),
        cmocka_unit_test(test_it_remembers_the_newest_in_bounded_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
