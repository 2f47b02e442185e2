/* Removing trees a few entries at a time: everything goes, nothing else does, and the loop turns
 * meanwhile. */
#include "engine/trash.h"

#include "base/file.h"
#include "base/memory.h"
#include "engine/tree.h"

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

enum { TURNS_MAX = 100000 };

struct fixture {
    struct event_base *base;
    struct trash *trash;
    char data[40];
    char folder[64]; /* the trash in it */
};

static void open_trash(struct fixture *fixture)
{
    struct error err;
    fixture->trash = trash_create(fixture->base, fixture->folder, &err);
    if (!fixture->trash)
        fail_msg("%s", err.text);
}

static int set_up(void **state)
{
    struct fixture *fixture = mem_alloc(1, sizeof *fixture);
    strcpy(fixture->data, "/tmp/muster-trash-XXXXXX");
    assert_non_null(mkdtemp(fixture->data));
    snprintf(fixture->folder, sizeof fixture->folder, "%s/trash", fixture->data);
    fixture->base = event_base_new();
    open_trash(fixture);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    trash_destroy(fixture->trash);
    event_base_free(fixture->base);
    int result = file_remove_tree(fixture->data, NULL);
    free(fixture);
    return result;
}

static void shell(const struct fixture *fixture, const char *script)
{
    char command[800];
    snprintf(command, sizeof command, "cd %s && %s", fixture->data, script);
    assert_int_equal(system(command), 0);
}

static void put(struct fixture *fixture, const char *name)
{
    char path[128];
    struct error err;
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", fixture->data, name);
    if (trash_put(fixture->trash, path, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(lstat(path, &st), -1);
}

static uint64_t entries_left(const struct fixture *fixture)
{
    struct tree_measure found = {0};
    SCOPED(fd_scope) int fd = open(fixture->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    tree_measure_add(fd, 1 << 20, &found);
    return found.entries;
}

/* Turns the loop until nothing is left to do, and gives how often. */
static int turn_until_idle(struct fixture *fixture)
{
    int turns = 0;
    for (; !trash_is_idle(fixture->trash); turns++) {
        assert_true(turns < TURNS_MAX);
        event_base_loop(fixture->base, EVLOOP_ONCE);
    }
    return turns;
}

static void assert_all_is_gone(struct fixture *fixture)
{
    turn_until_idle(fixture);
    assert_int_equal(entries_left(fixture), 0);
}

static void test_a_large_tree_goes_in_bounded_slices(void **state)
{
    enum { ENTRIES = 1000 };
    struct fixture *fixture = *state;
    shell(fixture, "mkdir job && cd job && touch $(seq 1000)");
    put(fixture, "job");
    uint64_t before = entries_left(fixture);
    assert_int_equal(before, ENTRIES + 1);
    while (before > 0) {
        event_base_loop(fixture->base, EVLOOP_ONCE);
        uint64_t now = entries_left(fixture);
        assert_true(before - now <= TRASH_SLICE_ENTRIES);
        before = now;
    }
    assert_all_is_gone(fixture);
}

static void test_an_engine_that_comes_back_goes_on(void **state)
{
    struct fixture *fixture = *state;
    shell(fixture, "mkdir job && cd job && touch $(seq 1000)");
    put(fixture, "job");
    event_base_loop(fixture->base, EVLOOP_ONCE);
    trash_destroy(fixture->trash);
    assert_true(entries_left(fixture) > 0);
    open_trash(fixture);
    assert_all_is_gone(fixture);
}

static void test_what_comes_while_it_is_at_work_goes_too(void **state)
{
    struct fixture *fixture = *state;
    shell(fixture, "mkdir a b && touch $(seq -f a/%g 300) $(seq -f b/%g 300) c");
    put(fixture, "a");
    event_base_loop(fixture->base, EVLOOP_ONCE);
    put(fixture, "b");
    put(fixture, "c");
    put(fixture, "not-there");
    assert_all_is_gone(fixture);
}

static void test_a_tree_of_any_depth_and_mode_goes(void **state)
{
    struct fixture *fixture = *state;
    shell(fixture,
        "mkdir t && cd t && mkdir x && touch x/f && mkfifo pipe && "
        "i=0; while [ $i -lt 100 ]; do mkdir d e && touch f && cd d && i=$((i+1)); done; "
        "cd ../../.. && chmod 0 d; cd $OLDPWD; true");
    shell(fixture, "chmod 0 t/x t");
    put(fixture, "t");
    assert_all_is_gone(fixture);
}

static void test_links_are_removed_and_not_what_they_point_to(void **state)
{
    struct fixture *fixture = *state;
    shell(fixture, "mkdir kept t && echo kept > kept/file && ln -s ../kept t/link && "
                   "ln -s ../../kept/file t/file && ln -s loop t/loop && ln -s ../kept link");
    put(fixture, "t");
    put(fixture, "link");
    assert_all_is_gone(fixture);
    shell(fixture, "[ $(cat kept/file) = kept ]");
}

static void test_what_cannot_be_removed_ends_the_pass_and_not_more(void **state)
{
    struct fixture *fixture = *state;
    shell(fixture, "mkdir -p t/busy && touch t/a t/b");
    if (geteuid() != 0) {
        print_message("only root can mount something\n");
        skip();
    }
    char command[200];
    snprintf(command, sizeof command, "mount -t tmpfs none %s/t/busy 2>/dev/null", fixture->data);
    if (system(command) != 0) {
        print_message("this root cannot mount anything\n");
        skip();
    }
    shell(fixture, "touch t/busy/kept");
    put(fixture, "t");
    turn_until_idle(fixture);
    uint64_t left = entries_left(fixture);
    shell(fixture, "test -e trash/*/busy/kept && umount trash/*/busy");
    assert_int_equal(left, 2); /* the tree and the mounted folder; what is in it is not measured */
    put(fixture, "not-there");
    assert_all_is_gone(fixture);
}

static void test_a_put_that_fails_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct error err;
    assert_int_equal(trash_put(fixture->trash, "/proc/self/status", &err), -1);
    assert_non_null(strstr(err.text, "/proc/self/status"));
    assert_all_is_gone(fixture);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_large_tree_goes_in_bounded_slices),
        TEST(test_an_engine_that_comes_back_goes_on),
        TEST(test_what_comes_while_it_is_at_work_goes_too),
        TEST(test_a_tree_of_any_depth_and_mode_goes),
        TEST(test_links_are_removed_and_not_what_they_point_to),
        TEST(test_what_cannot_be_removed_ends_the_pass_and_not_more),
        TEST(test_a_put_that_fails_changes_nothing),
    };
    return cmocka_run_group_tests_name("the trash", tests, NULL, NULL);
}
