/* How far and how fast a job is, from its lines: worked out by hand. */
#include "server/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants those first. */
#include <cmocka.h>
#include <string.h>

struct said {
    bool told;
    struct core_progress progress;
    struct core_speed speeds[CORE_SPEEDS_MAX];
};

static struct said take(
    struct pace *pace, const struct pace_attempt *attempt, int64_t at_ms, const char *line)
{
    struct said said = {0};
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc = doc_parse_json(arena, line, strlen(line), DOC_BYTES_MAX, NULL);
    assert_non_null(doc);
    said.told = pace_take(pace, doc, attempt, at_ms, said.speeds, &said.progress);
    return said;
}

static void what_is_left_is_the_total_without_what_is_done(void **state)
{
    (void)state;
    struct pace pace = {0};
    const struct pace_attempt attempt = {1, 1000, 4, 1};
    struct said said = take(&pace, &attempt, 5000, "{\"done\": 100, \"total\": 700}");
    assert_true(said.told);
    assert_int_equal(said.progress.remaining, 600);
    assert_int_equal(said.progress.speed_count, 0);
    said = take(&pace, &attempt, 20000, "{\"done\": 900, \"total\": 700}");
    assert_int_equal(said.progress.remaining, 0);
    said = take(&pace, &attempt, 40000, "{\"done\": 901}");
    assert_int_equal(said.progress.remaining, -1);
}

/* 200 units in 10 s are 20 a second; then 40 a second: (3 x 20 + 40) / 4 = 25. */
static void speed_is_measured_from_what_is_done_and_time(void **state)
{
    (void)state;
    struct pace pace = {0};
    const struct pace_attempt attempt = {1, 1000, 8, 2};
    assert_true(take(&pace, &attempt, 10000, "{\"done\": 0}").told);
    assert_false(take(&pace, &attempt, 15000, "{\"done\": 90}").told);
    struct said said = take(&pace, &attempt, 20000, "{\"done\": 200}");
    assert_int_equal(said.progress.speed_count, 1);
    assert_int_equal(said.speeds[0].ranks, 8);
    assert_int_equal(said.speeds[0].nodes, 2);
    assert_int_equal(said.speeds[0].rate_milli, 20000);
    said = take(&pace, &attempt, 30000, "{\"done\": 600}");
    assert_int_equal(said.speeds[0].rate_milli, 25000);
}

/* It was at 300 and made 20 a second; admitted at 100 s, at 140 s it says 500: 200 units are 10 s
 * of work, so that 30 s went into starting again. */
static void a_restart_costs_what_is_not_work(void **state)
{
    (void)state;
    struct pace pace = {0};
    const struct pace_attempt first = {1, 0, 8, 2}, second = {2, 100000, 4, 1};
    take(&pace, &first, 10000, "{\"done\": 100}");
    take(&pace, &first, 20000, "{\"done\": 300}");
    struct said said = take(&pace, &second, 140000, "{\"done\": 500, \"total\": 1000}");
    assert_true(said.told);
    assert_int_equal(said.progress.restart_ms, 30000);
    assert_int_equal(said.progress.speed_count, 0);
    said = take(&pace, &second, 150000, "{\"done\": 600}");
    assert_int_equal(said.speeds[0].ranks, 4);
    assert_int_equal(said.speeds[0].rate_milli, 10000);
    assert_false(take(&pace, &first, 300000, "{\"done\": 700}").told);
}

static void what_it_says_of_other_sizes_is_taken_as_it_is(void **state)
{
    (void)state;
    struct pace pace = {0};
    const struct pace_attempt attempt = {1, 1000, 2, 1};
    struct said said = take(&pace, &attempt, 5000,
        "{\"done\": 1, \"speeds\": {\"1\": 10, \"4\": 38.5, \"8x2\": 70, \"0\": 1, \"x\": 2,"
        " \"3x9\": 1, \"16\": \"fast\", \"5\": -1, \"6\": 1e99}}");
    assert_int_equal(said.progress.speed_count, 3);
    assert_int_equal(said.speeds[1].ranks, 4);
    assert_int_equal(said.speeds[1].rate_milli, 38500);
    assert_int_equal(said.speeds[2].nodes, 2);
}

static void nonsense_says_nothing(void **state)
{
    (void)state;
    struct pace pace = {0};
    const struct pace_attempt attempt = {1, 1000, 2, 1};
    assert_false(take(&pace, &attempt, 5000, "{\"epoch\": 3}").told);
    assert_false(take(&pace, &attempt, 5000, "{\"done\": -3}").told);
    assert_false(take(&pace, &attempt, 5000, "{\"done\": \"all\"}").told);
    assert_true(take(&pace, &attempt, 5000, "{\"done\": 5, \"speeds\": [1]}").told);
    /* Back to an older checkpoint: nothing is measured over that. */
    take(&pace, &attempt, 20000, "{\"done\": 2}");
    assert_int_equal(pace.rate_milli, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_left_is_the_total_without_what_is_done),
        cmocka_unit_test(speed_is_measured_from_what_is_done_and_time),
        cmocka_unit_test(a_restart_costs_what_is_not_work),
        cmocka_unit_test(what_it_says_of_other_sizes_is_taken_as_it_is),
        cmocka_unit_test(nonsense_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
