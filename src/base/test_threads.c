/* Tests of what several threads may use at once: hashing, which sets up its key on first use, and
 * the log. Run under TSan by .ci/run. */
#include "base/log.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/test.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 4, KEYS = 1000, LINES = 200 };

static void start_and_join(void *(*body)(void *), void *argument)
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, body, argument), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *wrong = NULL;
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
}

/* Not NULL when something was wrong: cmocka's assertions belong to the first thread. */
static void *fill_a_map(void *argument)
{
    static int value;
    pthread_barrier_wait(argument);
    struct strmap map = {0};
    char key[16];
    void *wrong = NULL;
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "%d", i);
        strmap_put(&map, key, &value);
    }
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "%d", i);
        if (strmap_get(&map, key) != &value)
            wrong = &value;
    }
    strmap_finish(&map);
    return wrong;
}

static void test_first_maps_made_by_several_threads_at_once(void **state)
{
    (void)state;
    pthread_barrier_t barrier;
    assert_int_equal(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    start_and_join(fill_a_map, &barrier);
    pthread_barrier_destroy(&barrier);
}

static void *write_lines(void *argument)
{
    (void)argument;
    for (int i = 0; i < LINES; i++)
        log_info("one\nline %d=%0100d end", i, i);
    return NULL;
}

static void check_lines(FILE *file)
{
    char line[512];
    int count = 0;
    while (fgets(line, sizeof line, file)) {
        count++;
        assert_non_null(strstr(line, " info one?line "));
        assert_string_equal(line + strlen(line) - 5, " end\n");
    }
    assert_int_equal(count, THREADS * LINES);
}

static void test_log_lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    assert_non_null(file);
    SCOPED(fd_scope) int saved = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    start_and_join(write_lines, NULL);
    dup2(saved, STDERR_FILENO);
    rewind(file);
    check_lines(file);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_maps_made_by_several_threads_at_once),
        cmocka_unit_test(test_log_lines_of_threads_do_not_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
