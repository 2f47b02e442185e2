/* Folders hostile processes wrote to: measuring and removing them; and the metrics reader. */
#include "base/file.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "engine/metrics.h"
#include "engine/tree.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char folder[40];
    char file[64]; /* a path in it */
};

static int set_up(void **state)
{
    struct fixture *fixture = mem_alloc(1, sizeof *fixture);
    strcpy(fixture->folder, "/tmp/muster-tree-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    snprintf(fixture->file, sizeof fixture->file, "%s/metrics", fixture->folder);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    int result = file_remove_tree(fixture->folder, NULL);
    free(fixture);
    return result;
}

static void shell(const struct fixture *fixture, const char *script)
{
    char command[600];
    snprintf(command, sizeof command, "cd %s && %s", fixture->folder, script);
    assert_int_equal(system(command), 0);
}

static struct tree_measure measure(const struct fixture *fixture, uint64_t most)
{
    struct tree_measure found = {0};
    SCOPED(fd_scope) int fd = open(fixture->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    tree_measure_add(fd, most, &found);
    return found;
}

static void test_a_tree_is_measured(void **state)
{
    struct fixture *fixture = *state;
    shell(fixture,
        "mkdir a; head -c 1M /dev/zero > a/big; touch -d '2001-02-03 04:05:06 UTC' old a/big;"
        "ln -s /usr link");
    struct tree_measure found = measure(fixture, 1000);
    assert_int_equal(found.entries, 4);
    assert_true(found.bytes >= 1 << 20 && found.bytes < 2 << 20);
    assert_true(found.newest_ms == 981173106000);
    assert_false(found.cut);
}

static void test_measuring_stops_at_its_bounds(void **state)
{
    struct fixture *fixture = *state;
    shell(fixture, "touch $(seq 100)");
    struct tree_measure found = measure(fixture, 10);
    assert_true(found.cut && found.entries == 10);
    shell(fixture, "rm *; i=0; while [ $i -lt 70 ]; do mkdir d && cd d && i=$((i+1)); done");
    assert_true(measure(fixture, 1000).cut);
}

static void test_what_is_no_folder_or_file_is_measured_and_not_followed(void **state)
{
    struct fixture *fixture = *state;
    shell(fixture, "mkdir a && mkfifo a/pipe && ln -s loop a/loop && ln -s .. a/up && ln -s a b && "
                   "ln -s /dev/zero zero && touch -h -d '2001-02-03 04:05:06 UTC' b zero a/pipe");
    struct tree_measure found = measure(fixture, 1000);
    assert_int_equal(found.entries, 6);
    assert_int_equal(found.newest_ms, 0);
    assert_false(found.cut);
}

static void test_a_time_that_does_not_fit_is_the_greatest_or_none(void **state)
{
    struct fixture *fixture = *state;
    shell(fixture, "touch old && touch -d '1901-01-01' old");
    assert_int_equal(measure(fixture, 1000).newest_ms, 0);
    /* The file system may hold less than was asked for; what it does is never negative. */
    char path[64];
    snprintf(path, sizeof path, "%s/old", fixture->folder);
    const struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = INT64_MAX}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_true(measure(fixture, 1000).newest_ms > 0);
}

static void test_a_tree_of_any_depth_and_mode_is_removed(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    struct stat st;
    shell(fixture,
        "mkdir outside t && echo kept > outside/file && cd t && ln -s ../outside link && "
        "mkdir x && touch x/f && chmod 0 x && mkfifo pipe && "
        "i=0; while [ $i -lt 600 ]; do mkdir d e && touch f && cd d && i=$((i+1)); done");
    char path[64];
    snprintf(path, sizeof path, "%s/t", fixture->folder);
    if (file_remove_tree(path, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(stat(path, &st), -1);
    shell(fixture, "[ $(cat outside/file) = kept ]");
    snprintf(path, sizeof path, "%s/not-there", fixture->folder);
    assert_int_equal(file_remove_tree(path, &err), 0);
}

static void test_an_open_folder_is_emptied(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    shell(fixture, "mkdir -p a/b && touch a/b/c d && ln -s /usr e");
    SCOPED(fd_scope) int fd = open(fixture->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file_remove_content(fd, &err) < 0)
        fail_msg("%s", err.text);
    shell(fixture, "[ -z \"$(ls -A)\" ]");
}

static void test_removing_a_link_removes_the_link(void **state)
{
    struct fixture *fixture = *state;
    char path[64];
    shell(fixture, "mkdir outside && touch outside/file && ln -s outside link");
    snprintf(path, sizeof path, "%s/link", fixture->folder);
    assert_int_equal(file_remove_tree(path, NULL), 0);
    shell(fixture, "[ -e outside/file ] && [ ! -L link ]");
}

/* ---- Metrics ----------------------------------------------------------------------------- */

struct heard {
    struct strbuf text;
    uint64_t offset;
};

static void on_line(void *context, const char *line, size_t length, uint64_t offset)
{
    struct heard *heard = context;
    strbuf_printf(&heard->text, "%.*s|", (int)length, line);
    heard->offset = offset;
}

static void assert_heard(
    struct fixture *fixture, struct metrics_reader *reader, bool last, const char *expected)
{
    struct heard heard = {0};
    while (metrics_read(reader, fixture->file, last, on_line, &heard))
        continue;
    assert_string_equal(strbuf_text(&heard.text), expected);
    if (*expected)
        assert_true(heard.offset <= reader->offset);
    strbuf_finish(&heard.text);
}

static void test_new_lines_are_read_once(void **state)
{
    struct fixture *fixture = *state;
    struct metrics_reader reader = {0};
    assert_heard(fixture, &reader, false, "");
    shell(fixture, "printf '{\"a\": 1}\\n{\"b\"' > metrics");
    assert_heard(fixture, &reader, false, "{\"a\": 1}|");
    assert_heard(fixture, &reader, false, "");
    shell(fixture, "printf ': 2}\\n\\n{\"c\"' >> metrics");
    assert_heard(fixture, &reader, false, "{\"b\": 2}|");
    assert_heard(fixture, &reader, true, "{\"c\"|");
    assert_heard(fixture, &reader, true, "");
    shell(fixture, "echo short > metrics");
    assert_heard(fixture, &reader, false, "short|");
}

static void test_lines_that_are_too_long_are_passed(void **state)
{
    struct fixture *fixture = *state;
    struct metrics_reader reader = {0};
    shell(fixture,
        "{ head -c 300000 /dev/zero | tr '\\0' x; echo; echo after; "
        "head -c 5000 /dev/zero | tr '\\0' y; echo; printf 'a\\0b\\n'; echo end; } > metrics");
    struct heard heard = {0};
    while (metrics_read(&reader, fixture->file, false, on_line, &heard))
        continue;
    assert_string_equal(strbuf_text(&heard.text), "after|end|");
    strbuf_finish(&heard.text);
}

static void test_the_end_of_a_line_that_is_too_long_is_not_a_line(void **state)
{
    struct fixture *fixture = *state;
    struct metrics_reader reader = {0};
    shell(fixture, "{ head -c 65636 /dev/zero | tr '\\0' x; } > metrics");
    assert_heard(fixture, &reader, false, "");
    assert_heard(fixture, &reader, true, "");
    shell(fixture, "{ head -c 65636 /dev/zero | tr '\\0' x; echo; echo next; } > metrics");
    reader = (struct metrics_reader){0};
    assert_heard(fixture, &reader, false, "next|");
    /* Nor is it forgotten with the old content that the new begins with a whole line. */
    shell(fixture, "{ head -c 65536 /dev/zero | tr '\\0' x; } > metrics");
    reader = (struct metrics_reader){0};
    assert_heard(fixture, &reader, false, "");
    shell(fixture, "echo new > metrics");
    assert_heard(fixture, &reader, false, "new|");
}

static void test_what_is_not_a_file_has_no_lines(void **state)
{
    static const char *const scripts[] = {"mkfifo metrics", "mkdir metrics",
        "ln -s loop loop; ln -s loop metrics", "echo line > other; ln -s other metrics",
        "ln -s /dev/zero metrics",
        "/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"metrics\")'"};
    struct fixture *fixture = *state;
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        struct metrics_reader reader = {0};
        shell(fixture, scripts[i]);
        assert_heard(fixture, &reader, true, "");
        shell(fixture, "rm -r metrics");
    }
}

static void count_line(void *context, const char *line, size_t length, uint64_t offset)
{
    (void)line, (void)length, (void)offset;
    ++*(size_t *)context;
}

/* A turn reads no more than its bytes, of a file of any size that grows meanwhile. */
static void test_a_turn_is_bounded(void **state)
{
    struct fixture *fixture = *state;
    struct metrics_reader reader = {0};
    size_t lines = 0;
    shell(fixture, "yes '{}' | head -c 1M > metrics && truncate -s 1T metrics");
    assert_true(metrics_read(&reader, fixture->file, false, count_line, &lines));
    assert_true(reader.offset <= METRICS_TURN_BYTES && reader.offset > 0);
    assert_int_equal(lines, reader.offset / 3);
    /* The hole is one line that never ends. */
    reader.offset = 1 << 20;
    uint64_t before = reader.offset;
    assert_true(metrics_read(&reader, fixture->file, true, count_line, &lines));
    assert_int_equal(reader.offset, before + METRICS_TURN_BYTES);
}

static void test_bytes_that_are_not_utf8_are_replaced(void **state)
{
    static const struct {
        const char *bytes, *clean;
    } cases[] = {
        {"plain", "plain"},
        {"gr\xc3\xbcn \xe2\x82\xac \xf0\x9f\x99\x82", "gr\xc3\xbcn \xe2\x82\xac \xf0\x9f\x99\x82"},
        {"\xff", "\xef\xbf\xbd"},
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[64];
        size_t length = metrics_clean(cases[i].bytes, strlen(cases[i].bytes), out, sizeof out);
        assert_int_equal(length, strlen(cases[i].clean));
        assert_memory_equal(out, cases[i].clean, length);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_tree_is_measured),
        TEST(test_measuring_stops_at_its_bounds),
        TEST(test_what_is_no_folder_or_file_is_measured_and_not_followed),
        TEST(test_a_time_that_does_not_fit_is_the_greatest_or_none),
        TEST(test_a_tree_of_any_depth_and_mode_is_removed),
        TEST(test_an_open_folder_is_emptied),
        TEST(test_removing_a_link_removes_the_link),
        TEST(test_new_lines_are_read_once),
        TEST(test_lines_that_are_too_long_are_passed),
        TEST(test_the_end_of_a_line_that_is_too_long_is_not_a_line),
        TEST(test_what_is_not_a_file_has_no_lines),
        TEST(test_a_turn_is_bounded),
        cmocka_unit_test(test_bytes_that_are_not_utf8_are_replaced),
    };
    return cmocka_run_group_tests_name("folders and metrics", tests, NULL, NULL);
}
