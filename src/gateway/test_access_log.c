/* Tests of the access log: lines from several threads stay whole, files are bounded, and a file
 * moved away is left alone. */
#include "base/file.h"
#include "base/memory.h"
#include "base/test.h"
#include "gateway/access_log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { THREADS = 4, LINES = 2000 };

static char folder[64], path[80], older[84];

static int make_folder(void **state)
{
    (void)state;
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
        access_log_write(argument, "{\"line\":\"0123456789\"}\n", 22);
    return NULL;
}

static size_t count_lines(const char *file)
{
    SCOPED(mem_scope) char *text = NULL;
    size_t size, count = 0;
    if (file_read(file, 1 << 24, &text, &size, NULL) < 0)
        return 0;
    assert_int_equal(size % 22, 0);
    for (size_t at = 0; at < size; at += 22, count++)
        assert_memory_equal(text + at, "{\"line\":\"0123456789\"}\n", 22);
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

static void test_a_file_becomes_the_older_one_at_its_bound(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct access_log *log;
        assert_int_equal(access_log_open(path, 220, &log, NULL), 0);
        for (int line = 0; line < 4; line++)
            access_log_write(log, "{\"line\":\"0123456789\"}\n", 22);
        access_log_close(log);
    }
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size <= 220);
    assert_int_equal(stat(older, &st), 0);
    assert_true(st.st_size <= 220 && st.st_size > 0);
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
    access_log_write(log, "{\"line\":\"0123456789\"}\n", 22);
    access_log_close(log);
    assert_int_equal(count_lines(path) + count_lines(moved), 1);
    assert_int_equal(access(path, F_OK), 0);
}

static void test_what_cannot_be_written_is_counted(void **state)
{
    (void)state;
    struct access_log *log;
    assert_int_equal(access_log_open(path, 22, &log, NULL), 0);
    access_log_write(log, "{\"line\":\"0123456789\"}\n", 22);
    /* The older file cannot be replaced by a file once it is a folder with something in it. */
    char inside[100];
    snprintf(inside, sizeof inside, "%s/x", older);
    assert_int_equal(file_make_dirs(inside, 0700, NULL), 0);
    uint64_t dropped = 0;
    for (int i = 0; i < 100000 && dropped == 0; i++) {
        access_log_write(log, "{\"line\":\"0123456789\"}\n", 22);
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
        IN_FOLDER(test_a_file_becomes_the_older_one_at_its_bound),
        IN_FOLDER(test_a_file_that_was_moved_away_is_made_anew),
        IN_FOLDER(test_what_cannot_be_written_is_counted),
        IN_FOLDER(test_a_folder_that_is_missing_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
