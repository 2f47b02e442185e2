/* Tests of the access log: lines from several threads stay whole, files are bounded, and a file
 * moved away is left alone. */
#include "base/file.h"
#include "base/memory.h"
#include "base/test.h"
#include "gateway/access_log.h"
#include "gateway/log_line.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { THREADS = 4, LINES = 2000 };

static char folder[64], path[80], older[84];
static const struct log_line line = {.numbers = {.wall_ms = 1772357400123, .end = "complete"},
    .texts = {{"5f1c", 4}, {"k1", 2}, {"POST", 4}, {"/\n\"", 3}, {"digits", 6}, {"unix", 4}}};
static char line_text[LOG_LINE_BYTES];
static size_t line_length;

static int make_folder(void **state)
{
    struct log_moment moment = {0};
    (void)state;
    line_length = log_line_write(&line, &moment, line_text);
    snprintf(folder, sizeof folder, "%s", "/tmp/muster-access-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/access.log", folder);
    snprintf(older, sizeof older, "%s.1", path);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return file_remove_tree(folder, NULL);
}

static void *write_lines(void *argument)
{
    for (int i = 0; i < LINES; i++)
        access_log_write(argument, &line);
    return NULL;
}

static size_t count_lines(const char *file)
{
    SCOPED(mem_scope) char *text = NULL;
    size_t size, count = 0;
    if (file_read(file, 1 << 26, &text, &size, NULL) < 0)
        return 0;
    assert_int_equal(size % line_length, 0);
    for (size_t at = 0; at < size; at += line_length, count++)
        assert_memory_equal(text + at, line_text, line_length);
    return count;
}

static void test_lines_of_several_threads_are_whole(void **state)
{
    (void)state;
    struct access_log *log;
    pthread_t threads[THREADS];
    assert_int_equal(access_log_open(path, 1 << 30, &log, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, log), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(access_log_dropped(log), 0);
    access_log_close(log);
    assert_int_equal(count_lines(path), THREADS * LINES);
}

/* A buffer of records makes several buffers of lines. */
static void test_lines_that_grow_are_all_written(void **state)
{
    (void)state;
    enum { GROWING = 1000 };
    struct access_log *log;
    struct log_line odd = line;
    char path_text[LOG_LINE_PATH_BYTES];
    SCOPED(mem_scope) char *text = NULL;
    size_t size, count = 0;
    memset(path_text, 1, sizeof path_text);
    odd.texts[LOG_PATH] = (struct log_text){path_text, sizeof path_text};
    assert_int_equal(access_log_open(path, 1 << 30, &log, NULL), 0);
    for (int i = 0; i < GROWING; i++) {
        odd.numbers.version = 1000 + i;
        access_log_write(log, &odd);
    }
    assert_int_equal(access_log_dropped(log), 0);
    access_log_close(log);
    assert_int_equal(file_read(path, 1 << 26, &text, &size, NULL), 0);
    assert_int_equal(size % GROWING, 0);
    assert_true(size > 3 * ACCESS_LOG_BUFFER / 2);
    for (size_t at = 0; at < size; at += size / GROWING, count++) {
        char version[32];
        snprintf(version, sizeof version, ",\"version\":%zu,", 1000 + count);
        assert_non_null(memmem(text + at, size / GROWING, version, strlen(version)));
        assert_int_equal(text[at + size / GROWING - 1], '\n');
    }
    assert_int_equal(count, GROWING);
}

static void test_a_file_becomes_the_older_one_at_its_bound(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct access_log *log;
        assert_int_equal(access_log_open(path, 10 * (int64_t)line_length, &log, NULL), 0);
        for (int j = 0; j < 4; j++)
            access_log_write(log, &line);
        access_log_close(log);
    }
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size <= 10 * (int64_t)line_length);
    assert_int_equal(stat(older, &st), 0);
    assert_true(st.st_size <= 10 * (int64_t)line_length && st.st_size > 0);
    assert_int_equal(count_lines(path) % 4, 0);
    assert_int_equal(count_lines(older) % 4, 0);
}

static void test_a_file_that_was_moved_away_is_made_anew(void **state)
{
    (void)state;
    char moved[100];
    struct access_log *log;
    snprintf(moved, sizeof moved, "%s/moved", folder);
    assert_int_equal(access_log_open(path, 1 << 20, &log, NULL), 0);
    assert_int_equal(rename(path, moved), 0);
    access_log_reopen(log);
    access_log_write(log, &line);
    access_log_close(log);
    assert_int_equal(count_lines(path) + count_lines(moved), 1);
    assert_int_equal(access(path, F_OK), 0);
}

static void test_what_cannot_be_written_is_counted(void **state)
{
    (void)state;
    struct access_log *log;
    assert_int_equal(access_log_open(path, (int64_t)line_length, &log, NULL), 0);
    access_log_write(log, &line);
    /* The older file cannot be replaced by a file once it is a folder with something in it. */
    char inside[100];
    snprintf(inside, sizeof inside, "%s/x", older);
    assert_int_equal(file_make_dirs(inside, 0700, NULL), 0);
    uint64_t dropped = 0;
    for (int i = 0; i < 100000 && dropped == 0; i++) {
        access_log_write(log, &line);
        dropped = access_log_dropped(log);
    }
    assert_true(dropped > 0);
    access_log_close(log);
    assert_true(count_lines(path) >= 1);
}

static void test_a_folder_that_is_missing_is_an_error(void **state)
{
    (void)state;
    struct access_log *log = NULL;
    struct error err;
    assert_int_equal(access_log_open("/no/such/folder/log", 1, &log, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_null(log);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_lines_of_several_threads_are_whole),
        IN_FOLDER(test_lines_that_grow_are_all_written),
        IN_FOLDER(test_a_file_becomes_the_older_one_at_its_bound),
        IN_FOLDER(test_a_file_that_was_moved_away_is_made_anew),
        IN_FOLDER(test_what_cannot_be_written_is_counted),
        IN_FOLDER(test_a_folder_that_is_missing_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
