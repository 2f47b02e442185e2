/* Tests of questions under way: what is remembered, what waits, what dies. */
#include "base/clock.h"
#include "base/memory.h"
#include "base/test.h"
#include "planner/children.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct seen {
    int answers, none;
    uint64_t last;
    char text[200];
};

static void on_answer(void *context, uint64_t number, const char *text, size_t length)
{
    struct seen *seen = context;
    seen->answers++;
    seen->none += text == NULL;
    seen->last = number;
    snprintf(seen->text, sizeof seen->text, "%.*s", (int)length, text ? text : "");
}

static int64_t now_ms(void)
{
    return clock_monotonic_ns() / 1000000;
}

struct fixture {
    struct copy *copy;
    struct history *history;
    struct children *children;
    struct seen seen;
    struct answer_state state;
};

static int setup(void **state)
{
    struct fixture *fixture = mem_alloc(1, sizeof *fixture);
    fixture->copy = copy_create();
    fixture->history = history_create();
    fixture->children = children_create(on_answer, &fixture->seen);
    fixture->state = (struct answer_state){
        .copy = fixture->copy, .history = fixture->history, .tick = 5, .now_ms = 1000};
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    children_destroy(fixture->children);
    copy_destroy(fixture->copy);
    history_destroy(fixture->history);
    free(fixture);
    return 0;
}

static void ask(struct fixture *fixture, uint64_t number, const char *text)
{
    children_ask(fixture->children, number, text, strlen(text), &fixture->state, now_ms());
}

static void wait_for(struct fixture *fixture, int answers)
{
    while (fixture->seen.answers < answers) {
        struct pollfd fds[CHILDREN_MAX];
        int count = children_poll(fixture->children, fds);
        assert_true(count > 0);
        assert_true(poll(fds, (nfds_t)count, 60000) >= 0);
        children_run(fixture->children, &fixture->state, now_ms());
    }
}

static void an_answer_comes_and_is_remembered(void **state)
{
    struct fixture *fixture = *state;
    struct children_stats stats;
    ask(fixture, 1, "{\"ask\":\"explain\",\"job\":3}");
    wait_for(fixture, 1);
    assert_true(fixture->seen.last == 1);
    assert_non_null(strstr(fixture->seen.text, "\"tick\":5"));
    assert_non_null(strstr(fixture->seen.text, "the job is not live"));
    ask(fixture, 2, "{\"ask\":\"explain\",\"job\":3}");
    assert_true(fixture->seen.answers == 2 && fixture->seen.last == 2);
    children_stats(fixture->children, &stats);
    assert_true(stats.asked == 2 && stats.remembered == 1 && stats.failed == 0);
    children_forget(fixture->children);
    ask(fixture, 3, "{\"ask\":\"explain\",\"job\":3}");
    assert_int_equal(fixture->seen.answers, 2);
    wait_for(fixture, 3);
}

static void what_is_no_question_is_answered_with_an_error(void **state)
{
    static const char *const texts[] = {"", "{", "[]", "{\"ask\":\"nothing\"}", "{\"ask\":7}",
        "{\"ask\":\"whatif\",\"changes\":[{\"kind\":\"Pool\"}]}"};
    struct fixture *fixture = *state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        ask(fixture, i + 1, texts[i]);
        wait_for(fixture, (int)i + 1);
        assert_non_null(strstr(fixture->seen.text, "\"error\""));
    }
    assert_int_equal(fixture->seen.none, 0);
}

static void many_wait_and_all_are_answered(void **state)
{
    struct fixture *fixture = *state;
    char text[80];
    int asked = CHILDREN_MAX + CHILDREN_QUEUE_MAX + 10;
    for (int i = 0; i < asked; i++) {
        snprintf(text, sizeof text, "{\"ask\":\"%s\",\"job\":%d}", i % 2 ? "explain" : "whatif", i);
        ask(fixture, (uint64_t)i + 1, text);
        struct pollfd fds[CHILDREN_MAX];
        assert_in_range(children_poll(fixture->children, fds), 1, CHILDREN_MAX);
    }
    /* The queue has no room for the last ones: they are told so at once. */
    assert_true(fixture->seen.none >= 10);
    wait_for(fixture, asked);
}

static void who_does_not_wait_any_more_leaves_nothing_behind(void **state)
{
    struct fixture *fixture = *state;
    struct pollfd fds[CHILDREN_MAX];
    ask(fixture, 1, "{\"ask\":\"explain\",\"job\":3}");
    ask(fixture, 2, "{\"ask\":\"explain\",\"job\":4}");
    ask(fixture, 3, "{\"ask\":\"explain\",\"job\":5}");
    children_forget(fixture->children);
    assert_int_equal(children_poll(fixture->children, fds), 0);
    assert_true(children_due_ms(fixture->children, now_ms()) == -1);
    assert_int_equal(fixture->seen.answers, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_answer_comes_and_is_remembered, setup, teardown),
        cmocka_unit_test_setup_teardown(
            what_is_no_question_is_answered_with_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(many_wait_and_all_are_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(
            who_does_not_wait_any_more_leaves_nothing_behind, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
