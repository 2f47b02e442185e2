/* The output of a pod is told of once, line by line, whatever byte an answer was cut at: asked of a
 * kubelet that answers as the real one does, from a second on, and of one that exchanged its file.
 */
#include "base/memory.h"
#include "base/quantity.h"
#include "base/strbuf.h"
#include "base/test.h"
#include "base/vec.h"
#include "engine/kube_output.h"

#include <stdio.h>
#include <string.h>

enum { LINE_MAX_BYTES = 100, SECOND = 1000 };

/* 2026-01-31T08:30:00Z */
#define EPOCH_MS INT64_C(1769848200000)

struct line {
    int64_t at_ms; /* after EPOCH_MS */
    const char *text;
};

struct world {
    struct kube_output output;
    struct strbuf told;
};

static void tell(void *ctx, int64_t at_ms, const char *text, size_t length)
{
    struct world *world = ctx;
    strbuf_printf(&world->told, "%lld %.*s\n", (long long)(at_ms - EPOCH_MS), (int)length, text);
}

/* What a kubelet sends of a file, as of sinceTime. */
static char *sent(const struct line *lines, size_t count, int64_t since_ms)
{
    struct strbuf text = {0};
    for (size_t i = 0; i < count; i++) {
        char stamp[QUANTITY_TEXT];
        int64_t at_ms = EPOCH_MS + lines[i].at_ms;
        if (at_ms < since_ms)
            continue;
        quantity_time(at_ms / SECOND * SECOND, stamp);
        stamp[strlen(stamp) - 1] = '\0';
        strbuf_printf(&text, "%s.%03d%06zuZ %s\n", stamp, (int)(at_ms % SECOND), i, lines[i].text);
    }
    return strbuf_steal(&text);
}

static char *expected(const struct line *lines, size_t count)
{
    struct strbuf text = {0};
    for (size_t i = 0; i < count; i++)
        strbuf_printf(&text, "%lld %s\n", (long long)lines[i].at_ms, lines[i].text);
    return strbuf_steal(&text);
}

/* An answer of which `most` bytes come, in pieces. True: that was all of it. */
static bool answer(struct world *world, const char *text, size_t most, size_t piece)
{
    size_t length = strlen(text), end = length < most ? length : most;
    for (size_t at = 0; at < end; at += piece)
        kube_output_feed(
            &world->output, text + at, end - at < piece ? end - at : piece, tell, world);
    return end == length;
}

static void finish(struct world *world)
{
    kube_output_finish(&world->output);
    strbuf_finish(&world->told);
}

static const struct line plain[] = {
    {0, "one"},
    {250, "two"},
    {250, "two"}, /* the same line twice in a millisecond is two lines */
    {250, ""},
    {900, "three four"},
    {2100, "five"},
    {2101, "2026-01-31T08:30:00Z looks like a line"},
    {2101, "six"},
    {9000, "seven"},
};
static const struct line mixed[] = {
    /* two streams, written by two threads */
    {1001, "out 1"},
    {999, "err 1"},
    {1002, "out 2"},
    {1002, "out 3"},
    {1000, "err 2"},
    {1001, "err 3"},
    {1003, "out 4"},
    {3000, "out 5"},
    {2500, "err 4"},
};
static const struct line set_back[] = {
    {700000, "before"},
    {700500, "before too"},
    {100000, "after the clock was set back"},
    {100000, "again"},
    {100700, "and on"},
    {700600, "and beyond"},
};

/* The clock was set back while the stream was whole: else nobody can ask for what came after. */
static const struct {
    const struct line *lines;
    size_t count, uncut; /* so many are read before it is cut */
} outputs[] = {
    {plain, ARRAY_LEN(plain), 0}, {mixed, ARRAY_LEN(mixed), 0}, {set_back, ARRAY_LEN(set_back), 3}};

/* Cut once at each byte, and then, where it was asked for again, at each byte once more. */
static void test_a_line_is_told_once_whatever_byte_an_answer_is_cut_at(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(outputs); i++) {
        SCOPED(mem_scope) char *all = sent(outputs[i].lines, outputs[i].count, 0);
        SCOPED(mem_scope) char *whole = expected(outputs[i].lines, outputs[i].count);
        SCOPED(mem_scope) char *uncut = sent(outputs[i].lines, outputs[i].uncut, 0);
        for (size_t first = strlen(uncut); first <= strlen(all); first++) {
            for (size_t second = 0; second <= strlen(all); second++) {
                struct world world = {0};
                kube_output_init(&world.output, LINE_MAX_BYTES);
                bool done = answer(&world, all, first, 7);
                for (int k = 0; !done; k++) {
                    kube_output_again(&world.output);
                    SCOPED(mem_scope)
                    char *rest = sent(
                        outputs[i].lines, outputs[i].count, kube_output_since_ms(&world.output));
                    done = answer(&world, rest, k == 0 ? second : SIZE_MAX, 5);
                }
                assert_string_equal(world.told.text, whole);
                finish(&world);
            }
        }
    }
}

/* It is cut after each byte that is new: the next answer has one byte more. */
static void test_a_connection_that_never_holds_gets_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(outputs); i++) {
        SCOPED(mem_scope) char *whole = expected(outputs[i].lines, outputs[i].count);
        struct world world = {0};
        bool done = false;
        kube_output_init(&world.output, LINE_MAX_BYTES);
        SCOPED(mem_scope) char *uncut = sent(outputs[i].lines, outputs[i].uncut, 0);
        answer(&world, uncut, SIZE_MAX, 1000);
        for (size_t most = 0; !done; most++) {
            kube_output_again(&world.output);
            SCOPED(mem_scope)
            char *rest =
                sent(outputs[i].lines, outputs[i].count, kube_output_since_ms(&world.output));
            done = answer(&world, rest, most, 1000);
        }
        assert_string_equal(world.told.text, whole);
        finish(&world);
    }
}

/* A reader that is made anew learns from what was kept: each line, or only the last ones. */
static void test_another_reader_goes_on_behind_what_was_kept(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(outputs); i++) {
        size_t count = outputs[i].count;
        SCOPED(mem_scope) char *whole = expected(outputs[i].lines, count);
        for (size_t kept = outputs[i].uncut; kept <= count; kept++) {
            struct world world = {0};
            SCOPED(mem_scope) char *before = expected(outputs[i].lines, kept);
            kube_output_init(&world.output, LINE_MAX_BYTES);
            for (size_t k = 0; k < kept; k++)
                assert_true(kube_output_take(&world.output, EPOCH_MS + outputs[i].lines[k].at_ms));
            kube_output_again(&world.output);
            strbuf_puts(&world.told, before);
            SCOPED(mem_scope)
            char *rest = sent(outputs[i].lines, count, kube_output_since_ms(&world.output));
            assert_true(answer(&world, rest, SIZE_MAX, 3));
            assert_string_equal(world.told.text, whole);
            finish(&world);
        }
    }
}

/* The node's file was exchanged while nobody read: what is in the new one is new. */
static void test_a_file_that_was_exchanged_is_read_from_its_beginning(void **state)
{
    SCOPED(mem_scope) char *first = sent(plain, 5, 0);
    SCOPED(mem_scope) char *second = sent(plain + 6, 3, 0);
    (void)state;
    struct world world = {0};
    kube_output_init(&world.output, LINE_MAX_BYTES);
    answer(&world, first, SIZE_MAX, 11);
    kube_output_again(&world.output);
    answer(&world, second, SIZE_MAX, 11);
    for (int i = 0; i < 2; i++) { /* and once */
        assert_string_equal(world.told.text,
            "0 one\n250 two\n250 two\n250 \n900 three four\n"
            "2101 2026-01-31T08:30:00Z looks like a line\n2101 six\n9000 seven\n");
        kube_output_again(&world.output);
        answer(&world, second, SIZE_MAX, 11);
    }
    finish(&world);
}

static void test_what_is_no_line_of_the_container_is_left_out(void **state)
{
    static const char text[] = "2026-01-31T08:30:00.000000001Z one\n"
                               "failed to watch file: too many open files\n"
                               "\n"
                               "2026-01-31 no time\n"
                               "2026-01-31T08:30:01.000000001Z two\n"
                               "unable to retrieve container logs";
    (void)state;
    struct world world = {0};
    kube_output_init(&world.output, LINE_MAX_BYTES);
    answer(&world, text, SIZE_MAX, 10);
    kube_output_end(&world.output, tell, &world);
    assert_string_equal(world.told.text, "0 one\n1000 two\n");
    finish(&world);
}

static void test_the_end_is_told_without_a_newline_and_long_lines_are_cut(void **state)
{
    struct strbuf text = {0};
    (void)state;
    struct world world = {0};
    kube_output_init(&world.output, 10);
    for (int i = 0; i < 3; i++)
        strbuf_printf(
            &text, "2026-01-31T08:30:0%d.5Z %0*d%s", i, i == 1 ? 5000 : 10, i, i < 2 ? "\n" : "");
    answer(&world, text.text, SIZE_MAX, 64);
    assert_string_equal(world.told.text, "500 0000000000\n1500 0000000000\n");
    kube_output_end(&world.output, tell, &world);
    assert_string_equal(world.told.text, "500 0000000000\n1500 0000000000\n2500 0000000002\n");
    strbuf_finish(&text);
    finish(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_is_told_once_whatever_byte_an_answer_is_cut_at),
        cmocka_unit_test(test_a_connection_that_never_holds_gets_there),
        cmocka_unit_test(test_another_reader_goes_on_behind_what_was_kept),
        cmocka_unit_test(test_a_file_that_was_exchanged_is_read_from_its_beginning),
        cmocka_unit_test(test_what_is_no_line_of_the_container_is_left_out),
        cmocka_unit_test(test_the_end_is_told_without_a_newline_and_long_lines_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
