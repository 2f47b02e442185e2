/* Tests of lengths: what is learned is drawn again, the most alike first, and nothing grows. */
#include "base/test.h"
#include "planner/history.h"

#include <stdio.h>

static struct history_job known(const char *team, const char *name, int64_t limit_ms)
{
    struct job_row row = {.id = 1, .size = 1, .time_limit_ms = limit_ms};
    struct history_job job;
    history_describe(&row, NULL, team, name, "training", &job);
    return job;
}

static void with_nothing_learned_half_go_on_as_long_again(void **state)
{
    struct history *history = history_create();
    struct history_job job = known("t", "a", 0);
    int above = 0, level;
    (void)state;
    for (int run = 0; run < 9; run++) {
        int64_t length = history_draw(history, &job, 5, 7200000, run, 9);
        assert_true(length > 7200000);
        above += length > 2 * 7200000LL;
    }
    assert_in_range(above, 4, 5);
    assert_true(history_samples(history, &job, &level) == 0 && level == HISTORY_LEVELS);
    history_destroy(history);
}

static void names_differ_by_numbers_only(void **state)
{
    struct history_job one = known("t", "train-17", 0), other = known("t", "train-9", 0);
    struct history_job element = known("t", "train-9[3]", 0);
    struct history_job another = known("t", "serve-9", 0), foreign = known("u", "train-9", 0);
    (void)state;
    assert_true(one.keys[0] == other.keys[0] && one.keys[0] == element.keys[0]);
    assert_true(one.keys[0] != another.keys[0] && one.keys[0] != foreign.keys[0]);
    assert_true(one.keys[HISTORY_LEVELS - 1] == foreign.keys[HISTORY_LEVELS - 1]);
}

static void the_most_alike_counts_most(void **state)
{
    struct history *history = history_create();
    struct history_job mine = known("t", "mine", 0), others = known("t", "other", 0);
    int near = 0, level;
    (void)state;
    for (int i = 0; i < 40; i++) {
        history_learn(history, &mine, 1000);
        history_learn(history, &others, 1000000);
    }
    for (uint64_t id = 1; id <= 100; id++)
        near += history_draw(history, &mine, id, 0, 4, 9) == 1000;
    /* A sketch of 40 is left with 3 in 43, and of the levels below half are 1000 too. */
    assert_in_range(near, 88, 100);
    assert_true(history_samples(history, &mine, &level) == 40 && level == 0);
    history_destroy(history);
}

static void over_the_runs_draws_spread_over_what_was(void **state)
{
    struct history *history = history_create();
    struct history_job job = known("t", "a", 0);
    int64_t least = INT64_MAX, most = 0, sum = 0;
    (void)state;
    for (int i = 1; i <= 45; i++)
        history_learn(history, &job, i * 100);
    for (int run = 0; run < 9; run++) {
        int64_t length = history_draw(history, &job, 77, 0, run, 9);
        least = length < least ? length : least;
        most = length > most ? length : most;
        sum += length;
    }
    /* One from each ninth: the least within the first five samples, the most in the last five. */
    assert_in_range(least, 100, 600);
    assert_in_range(most, 4100, 4500);
    assert_in_range(sum / 9, 2000, 2600);
    history_destroy(history);
}

static void what_is_over_is_not_drawn(void **state)
{
    struct history *history = history_create();
    struct history_job job = known("t", "a", 0);
    (void)state;
    for (int i = 1; i <= 40; i++)
        history_learn(history, &job, i * 100);
    for (int run = 0; run < 9; run++)
        assert_in_range(history_draw(history, &job, 3, 2000, run, 9), 2001, 4000);
    history_destroy(history);
}

static void a_time_limit_is_the_most(void **state)
{
    struct history *history = history_create();
    struct history_job job = known("t", "a", 500);
    (void)state;
    for (int i = 0; i < 10; i++)
        history_learn(history, &job, 90000);
    assert_true(history_draw(history, &job, 3, 100, 0, 1) == 500);
    assert_true(history_draw(history, &job, 3, 600, 0, 1) == 601);
    history_destroy(history);
}

static void sketches_are_bounded_and_the_newest_stay(void **state)
{
    struct history *history = history_create();
    char name[32];
    int level;
    (void)state;
    for (int i = 0; i < 3 * HISTORY_SKETCHES_MAX; i++) {
        snprintf(name, sizeof name, "%c%c%c%c", 'a' + i % 26, 'a' + i / 26 % 26, 'a' + i / 676 % 26,
            'a' + i / 17576);
        struct history_job job = known("t", name, 0);
        history_learn(history, &job, 1000 + i);
        assert_true(history_sketches(history) <= HISTORY_SKETCHES_MAX);
    }
    struct history_job last = known("t", name, 0), first = known("t", "aaaa", 0);
    assert_true(history_samples(history, &last, &level) == 1 && level == 0);
    (void)history_samples(history, &first, &level);
    assert_true(level > 1);
    history_destroy(history);
}

static void only_the_newest_samples_count(void **state)
{
    struct history *history = history_create();
    struct history_job job = known("t", "a", 0);
    (void)state;
    for (int i = 0; i < 5 * SKETCH_SAMPLES; i++)
        history_learn(history, &job, i < 4 * SKETCH_SAMPLES ? 10 + i % 7 : 5000);
    for (int run = 0; run < 9; run++)
        assert_true(history_draw(history, &job, 3, 0, run, 9) == 5000);
    history_destroy(history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_nothing_learned_half_go_on_as_long_again),
        cmocka_unit_test(names_differ_by_numbers_only),
        cmocka_unit_test(the_most_alike_counts_most),
        cmocka_unit_test(over_the_runs_draws_spread_over_what_was),
        cmocka_unit_test(what_is_over_is_not_drawn),
        cmocka_unit_test(a_time_limit_is_the_most),
        cmocka_unit_test(sketches_are_bounded_and_the_newest_stay),
        cmocka_unit_test(only_the_newest_samples_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
