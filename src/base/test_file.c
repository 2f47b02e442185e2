/* Tests of whole files and trees, each in a folder of its own. */
#include "base/file.h"
#include "base/memory.h"
#include "base/test.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_folder(void **state)
{
    const char *base = getenv("TMPDIR");
    char *path = mem_alloc(PATH_MAX, 1);
    snprintf(path, PATH_MAX, "%s/muster-file-XXXXXX", base ? base : "/tmp");
    *state = path;
    return mkdtemp(path) ? 0 : -1;
}

static int remove_folder(void **state)
{
    SCOPED(mem_scope) char *path = *state;
    return file_remove_tree(path, NULL);
}

/* A path in the test's folder, valid until the next call but three. */
static const char *in(void **state, const char *name)
{
    static char paths[4][PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, PATH_MAX, "%s/%s", (const char *)*state, name);
    return path;
}

static void write_text(const char *path, const char *text)
{
    struct error err;
    if (file_write(path, text, strlen(text), 0600, &err) < 0)
        fail_msg("%s", err.text);
}

static void test_a_written_file_reads_back(void **state)
{
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 300000};
    const char *path = in(state, "file");
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        SCOPED(mem_scope) char *bytes = mem_alloc(sizes[i], 1);
        memset(bytes, 'a' + (int)i, sizes[i]);
        assert_int_equal(file_write(path, bytes, sizes[i], 0640, NULL), 0);
        SCOPED(mem_scope) char *text = NULL;
        size_t size = 1;
        assert_int_equal(file_read(path, sizes[i], &text, &size, NULL), 0);
        assert_int_equal(size, sizes[i]);
        assert_memory_equal(text, bytes, size);
        assert_int_equal(text[size], '\0');
    }
}

static void test_a_file_larger_than_the_bound_is_refused(void **state)
{
    static const size_t sizes[] = {1, 100, 65536, 65537, 200000};
    const char *path = in(state, "file");
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        SCOPED(mem_scope) char *bytes = mem_alloc(sizes[i], 1);
        assert_int_equal(file_write(path, bytes, sizes[i], 0600, NULL), 0);
        char *text = NULL;
        size_t size = 7;
        struct error err;
        assert_int_equal(file_read(path, sizes[i] - 1, &text, &size, &err), -1);
        assert_int_equal(err.code, ERR_TOO_LARGE);
        assert_null(text);
        assert_int_equal(size, 7);
    }
}

static void test_what_cannot_be_read_says_why(void **state)
{
    char *text = NULL;
    size_t size;
    struct error err;
    assert_int_equal(file_read(in(state, "missing"), 10, &text, &size, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(file_read(in(state, "."), 10, &text, &size, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(mkfifo(in(state, "pipe"), 0600), 0);
    assert_int_equal(file_read(in(state, "pipe"), 10, &text, &size, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_null(text);
}

static void test_writing_leaves_no_temporary_file(void **state)
{
    const char *path = in(state, "file");
    write_text(path, "one");
    write_text(path, "two");
    assert_int_equal(access(in(state, "file.new"), F_OK), -1);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 3);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_a_left_over_temporary_file_does_not_lend_its_mode(void **state)
{
    const char *path = in(state, "secret"), *stale = in(state, "secret.new");
    SCOPED(fd_scope) int fd = open(stale, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    write_text(path, "secret");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 0);
}

static void test_a_write_does_not_follow_a_planted_link(void **state)
{
    const char *victim = in(state, "victim");
    write_text(victim, "kept");
    assert_int_equal(symlink(victim, in(state, "file.new")), 0);
    write_text(in(state, "file"), "new");
    SCOPED(mem_scope) char *text = NULL;
    size_t size;
    assert_int_equal(file_read(victim, 100, &text, &size, NULL), 0);
    assert_string_equal(text, "kept");
}

static void test_a_failed_write_keeps_the_old_content(void **state)
{
    struct error err;
    assert_int_equal(mkdir(in(state, "file.new"), 0700), 0);
    assert_int_equal(file_write(in(state, "file"), "x", 1, 0600, &err), -1);
    assert_int_equal(file_write(in(state, "no/such/folder"), "x", 1, 0600, &err), -1);
    assert_int_equal(access(in(state, "file"), F_OK), -1);
}

static void test_write_all_reports_a_full_device(void **state)
{
    (void)state;
    SCOPED(fd_scope) int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        print_message("/dev/full is not there\n");
        skip();
    }
    struct error err;
    assert_int_equal(file_write_all(fd, "x", 1, &err), -1);
    assert_int_equal(err.code, ERR_FULL);
}

static void test_folders_are_made_with_their_parents(void **state)
{
    struct error err;
    struct stat st;
    assert_int_equal(file_make_dirs(in(state, "a/b//c/"), 0700, &err), 0);
    assert_int_equal(file_make_dirs(in(state, "a/b/c"), 0700, &err), 0);
    assert_int_equal(stat(in(state, "a/b/c"), &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    write_text(in(state, "file"), "x");
    assert_int_equal(file_make_dirs(in(state, "file"), 0700, &err), -1);
    assert_int_equal(file_make_dirs(in(state, "file/below"), 0700, &err), -1);
    assert_int_equal(file_make_dirs("", 0700, &err), -1);
    assert_int_equal(file_make_dirs("/", 0700, &err), 0);
}

static void test_removing_a_tree_leaves_what_its_links_point_to(void **state)
{
    struct error err;
    write_text(in(state, "kept"), "kept");
    assert_int_equal(file_make_dirs(in(state, "tree/a/b"), 0700, &err), 0);
    assert_int_equal(file_make_dirs(in(state, "outside/d"), 0700, &err), 0);
    write_text(in(state, "tree/a/file"), "x");
    assert_int_equal(symlink(in(state, "kept"), in(state, "tree/a/link")), 0);
    assert_int_equal(symlink(in(state, "outside"), in(state, "tree/a/b/link")), 0);
    assert_int_equal(symlink("nowhere", in(state, "tree/dangling")), 0);
    assert_int_equal(file_remove_tree(in(state, "tree"), &err), 0);
    assert_int_equal(access(in(state, "tree"), F_OK), -1);
    assert_int_equal(access(in(state, "kept"), F_OK), 0);
    assert_int_equal(access(in(state, "outside/d"), F_OK), 0);
}

static void test_removing_a_link_or_nothing_is_fine(void **state)
{
    struct error err;
    assert_int_equal(mkdir(in(state, "outside"), 0700), 0);
    assert_int_equal(symlink(in(state, "outside"), in(state, "link")), 0);
    assert_int_equal(file_remove_tree(in(state, "link"), &err), 0);
    assert_int_equal(access(in(state, "outside"), F_OK), 0);
    assert_int_equal(file_remove_tree(in(state, "link"), &err), 0);
    assert_int_equal(file_remove_tree(in(state, "no/such/path"), &err), 0);
}

/* Deeper than PATH_MAX allows to name and than descriptors allow to hold open. */
static void test_a_tree_of_any_depth_is_removed(void **state)
{
    enum { LEVELS = 3000 };
    struct error err;
    assert_int_equal(mkdir(in(state, "deep"), 0700), 0);
    int fd = open(in(state, "deep"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < LEVELS; i++) {
        assert_int_equal(mkdirat(fd, "removed-0", 0700), 0);
        int next = openat(fd, "removed-0", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(openat(fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        close(fd);
        fd = next;
        assert_true(fd >= 0);
    }
    close(fd);
    if (file_remove_tree(in(state, "deep"), &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(access(in(state, "deep"), F_OK), -1);
}

static void test_sha256_of_known_texts(void **state)
{
    (void)state;
    char hex[65];
    file_sha256_hex("", 0, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    file_sha256_hex("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    umask(022);
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_a_written_file_reads_back),
        IN_FOLDER(test_a_file_larger_than_the_bound_is_refused),
        IN_FOLDER(test_what_cannot_be_read_says_why),
        IN_FOLDER(test_writing_leaves_no_temporary_file),
        IN_FOLDER(test_a_left_over_temporary_file_does_not_lend_its_mode),
        IN_FOLDER(test_a_write_does_not_follow_a_planted_link),
        IN_FOLDER(test_a_failed_write_keeps_the_old_content),
        cmocka_unit_test(test_write_all_reports_a_full_device),
        IN_FOLDER(test_folders_are_made_with_their_parents),
        IN_FOLDER(test_removing_a_tree_leaves_what_its_links_point_to),
        IN_FOLDER(test_removing_a_link_or_nothing_is_fine),
        IN_FOLDER(test_a_tree_of_any_depth_is_removed),
        cmocka_unit_test(test_sha256_of_known_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
