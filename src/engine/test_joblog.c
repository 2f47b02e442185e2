/* The log of an attempt: what was written comes back, in a bounded space. */
#include "base/file.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "engine/joblog.h"

#include <dirent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { FILE_BYTES = 64 * 1024, FILES = 3 };

struct fixture {
    char folder[40];
    int fd;
    struct joblog_writer *writer;
    struct joblog_stream *stream;
};

static int set_up(void **state)
{
    struct fixture *fixture = mem_alloc(1, sizeof *fixture);
    strcpy(fixture->folder, "/tmp/muster-log-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    fixture->fd = open(fixture->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fixture->writer = joblog_writer_create(fixture->fd, FILE_BYTES, FILES);
    fixture->stream = mem_alloc(1, sizeof *fixture->stream);
    fixture->stream->kind = 'o';
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    joblog_writer_destroy(fixture->writer);
    close(fixture->fd);
    free(fixture->stream);
    int result = file_remove_tree(fixture->folder, NULL);
    free(fixture);
    return result;
}

static void put(struct fixture *fixture, const char *text)
{
    joblog_write(fixture->writer, fixture->stream, 1700000000000, text, strlen(text));
}

static char *rest_of(struct joblog_reader *reader)
{
    struct strbuf text = {0};
    struct joblog_line line;
    while (joblog_next(reader, &line, NULL) == 1)
        strbuf_printf(&text, "%.*s|", (int)line.size, line.text);
    return strbuf_steal(&text);
}

static void assert_rest(struct joblog_reader *reader, const char *expected)
{
    SCOPED(mem_scope) char *text = rest_of(reader);
    assert_string_equal(text, expected);
}

/* Another writer, as after a restart of the program. */
static void begin_again(struct fixture *fixture)
{
    joblog_writer_destroy(fixture->writer);
    fixture->writer = joblog_writer_create(fixture->fd, FILE_BYTES, FILES);
}

static void test_another_writer_goes_on_where_the_last_one_was(void **state)
{
    struct fixture *fixture = *state;
    struct joblog_line line;
    put(fixture, "one\n");
    struct joblog_reader *reader = joblog_open(fixture->folder);
    assert_int_equal(joblog_next(reader, &line, NULL), 1);
    begin_again(fixture);
    put(fixture, "two\n");
    begin_again(fixture);
    put(fixture, "three\n");
    assert_rest(reader, "two|three|");
    assert_int_equal(joblog_missed_bytes(reader), 0);
    joblog_close(reader);
}

static void test_another_writer_leaves_a_torn_line_and_keeps_the_bound(void **state)
{
    struct fixture *fixture = *state;
    struct strbuf text = {0};
    put(fixture, "one\n");
    int fd = openat(fixture->fd, "00000000000000000000", O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "17000", 5), 5);
    close(fd);
    begin_again(fixture);
    put(fixture, "two\n");
    struct joblog_reader *reader = joblog_open(fixture->folder);
    assert_rest(reader, "one|two|");
    joblog_close(reader);
    for (int i = 0; i < 1000; i++)
        strbuf_puts(&text, "a line of some length, many times\n");
    for (int i = 0; i < 20; i++) {
        put(fixture, text.text);
        begin_again(fixture);
    }
    strbuf_finish(&text);
    DIR *folder = opendir(fixture->folder);
    size_t files = 0;
    for (const struct dirent *entry; (entry = readdir(folder));)
        files += entry->d_name[0] != '.';
    closedir(folder);
    assert_in_range(files, 2, FILES);
}

static void test_lines_are_put_together_from_pieces(void **state)
{
    struct fixture *fixture = *state;
    put(fixture, "one\ntw");
    put(fixture, "o\n\nthr");
    struct joblog_reader *reader = joblog_open(fixture->folder);
    assert_rest(reader, "one|two||");
    put(fixture, "ee");
    joblog_finish_stream(fixture->writer, fixture->stream, 1);
    assert_rest(reader, "three|");
    joblog_close(reader);
}

static void test_a_line_that_is_too_long_is_cut(void **state)
{
    struct fixture *fixture = *state;
    SCOPED(mem_scope) char *text = mem_alloc(JOBLOG_TEXT_MAX + 3, 1);
    memset(text, 'x', JOBLOG_TEXT_MAX + 1);
    text[JOBLOG_TEXT_MAX + 1] = '\n';
    put(fixture, text);
    struct joblog_reader *reader = joblog_open(fixture->folder);
    struct joblog_line line;
    assert_int_equal(joblog_next(reader, &line, NULL), 1);
    assert_int_equal(line.size, JOBLOG_TEXT_MAX);
    assert_int_equal(joblog_next(reader, &line, NULL), 1);
    assert_int_equal(line.size, 1);
    joblog_close(reader);
}

static void write_numbers(struct fixture *fixture, int from, int to)
{
    char text[32];
    for (int i = from; i < to; i++) {
        snprintf(text, sizeof text, "number %d\n", i);
        put(fixture, text);
    }
}

static void test_rotation_bounds_the_space_and_counts_what_is_gone(void **state)
{
    struct fixture *fixture = *state;
    char command[100], last[32];
    write_numbers(fixture, 0, 20000);
    snprintf(command, sizeof command, "[ $(cat %s/* | wc -c) -le %d ]", fixture->folder,
        FILE_BYTES * FILES);
    assert_int_equal(system(command), 0);
    struct joblog_reader *reader = joblog_open(fixture->folder);
    struct joblog_line line;
    int number = -1;
    assert_int_equal(joblog_next(reader, &line, NULL), 1);
    assert_int_equal(sscanf(line.text, "number %d", &number), 1);
    assert_true(number > 0 && joblog_missed_bytes(reader) > 0);
    do {
        snprintf(last, sizeof last, "number %d", number++);
        assert_int_equal(line.size, strlen(last));
        assert_memory_equal(line.text, last, line.size);
    } while (joblog_next(reader, &line, NULL) == 1);
    assert_int_equal(number, 20000);
    joblog_close(reader);
}

static void test_a_slow_reader_goes_on_with_what_is_there(void **state)
{
    struct fixture *fixture = *state;
    struct joblog_reader *reader = joblog_open(fixture->folder);
    struct joblog_line line;
    write_numbers(fixture, 0, 10);
    assert_int_equal(joblog_next(reader, &line, NULL), 1);
    write_numbers(fixture, 10, 40000);
    int count = 1;
    while (joblog_next(reader, &line, NULL) == 1)
        count++;
    assert_true(count < 40000 && joblog_missed_bytes(reader) > 0);
    assert_memory_equal(line.text, "number 39999", 12);
    joblog_close(reader);
}

static void test_a_position_finds_the_next_line_again(void **state)
{
    struct fixture *fixture = *state;
    write_numbers(fixture, 0, 4000);
    struct joblog_reader *reader = joblog_open(fixture->folder);
    struct joblog_line line;
    uint64_t position = 0;
    for (int i = 0; i < 2500; i++) {
        assert_int_equal(joblog_next(reader, &line, NULL), 1);
        position = line.position;
    }
    joblog_close(reader);
    reader = joblog_open(fixture->folder);
    joblog_seek(reader, position);
    assert_int_equal(joblog_next(reader, &line, NULL), 1);
    assert_memory_equal(line.text, "number 2500", line.size);
    joblog_close(reader);
}

static void test_the_tail_crosses_files(void **state)
{
    struct fixture *fixture = *state;
    struct joblog_reader *reader = joblog_open(fixture->folder);
    assert_int_equal(joblog_seek_tail(reader, 5, NULL), 0);
    assert_rest(reader, "");
    write_numbers(fixture, 0, 5000);
    assert_int_equal(joblog_seek_tail(reader, 2, NULL), 0);
    assert_rest(reader, "number 4998|number 4999|");
    assert_int_equal(joblog_seek_tail(reader, 3000, NULL), 0);
    struct joblog_line line;
    assert_int_equal(joblog_next(reader, &line, NULL), 1);
    assert_memory_equal(line.text, "number 2000", line.size);
    assert_int_equal(joblog_seek_tail(reader, 1000000, NULL), 0);
    assert_int_equal(joblog_next(reader, &line, NULL), 1);
    assert_memory_equal(line.text, "number 0", line.size);
    joblog_close(reader);
}

static void test_a_missing_folder_is_an_empty_log(void **state)
{
    (void)state;
    struct joblog_reader *reader = joblog_open("/tmp/no-such-folder-of-a-log");
    assert_rest(reader, "");
    joblog_close(reader);
}

static void test_what_is_not_a_line_is_passed(void **state)
{
    struct fixture *fixture = *state;
    char path[100];
    static const char text[] =
        "garbage\n\n1 2 x text\n99999999999999999999 0 o x\n1 0 o fine\n1 0 o";
    snprintf(path, sizeof path, "%s/%020d", fixture->folder, 0);
    assert_int_equal(file_write(path, text, sizeof text - 1, 0600, NULL), 0);
    struct joblog_reader *reader = joblog_open(fixture->folder);
    assert_rest(reader, "fine|");
    joblog_close(reader);
}

static void test_links_and_pipes_are_not_read(void **state)
{
    struct fixture *fixture = *state;
    char path[100];
    snprintf(path, sizeof path, "%s/%020d", fixture->folder, 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    snprintf(path, sizeof path, "%s/%020d", fixture->folder, 7);
    assert_int_equal(mkfifo(path, 0600), 0);
    struct joblog_reader *reader = joblog_open(fixture->folder);
    assert_rest(reader, "");
    joblog_close(reader);
}

struct follow {
    struct event_base *base;
    struct strbuf text;
    int wanted;
};

static bool on_line(void *context, const struct joblog_line *line)
{
    struct follow *follow = context;
    assert_non_null(line);
    strbuf_printf(&follow->text, "%.*s|", (int)line->size, line->text);
    if (--follow->wanted > 0)
        return true;
    event_base_loopbreak(follow->base);
    return false;
}

static void test_a_follower_gives_lines_as_they_come(void **state)
{
    struct fixture *fixture = *state;
    struct follow follow = {.base = event_base_new(), .wanted = 2};
    put(fixture, "one\ntwo\nthree\n");
    struct joblog_follower *follower =
        joblog_follow(follow.base, joblog_open(fixture->folder), on_line, &follow);
    event_base_dispatch(follow.base);
    assert_string_equal(follow.text.text, "one|two|");
    put(fixture, "four\n");
    follow.wanted = 2;
    joblog_follower_resume(follower);
    event_base_dispatch(follow.base);
    assert_string_equal(follow.text.text, "one|two|three|four|");
    joblog_follower_destroy(follower);
    strbuf_finish(&follow.text);
    event_base_free(follow.base);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lines_are_put_together_from_pieces),
        TEST(test_another_writer_goes_on_where_the_last_one_was),
        TEST(test_another_writer_leaves_a_torn_line_and_keeps_the_bound),
        TEST(test_a_line_that_is_too_long_is_cut),
        TEST(test_rotation_bounds_the_space_and_counts_what_is_gone),
        TEST(test_a_slow_reader_goes_on_with_what_is_there),
        TEST(test_a_position_finds_the_next_line_again),
        TEST(test_the_tail_crosses_files),
        cmocka_unit_test(test_a_missing_folder_is_an_empty_log),
        TEST(test_what_is_not_a_line_is_passed),
        TEST(test_links_and_pipes_are_not_read),
        TEST(test_a_follower_gives_lines_as_they_come),
    };
    return cmocka_run_group_tests_name("logs", tests, NULL, NULL);
}
