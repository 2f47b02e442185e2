/* Folders of a hostile job: what may not be in an artifact is refused by name. */
#include "registry/test_support.h"

#include "base/file.h"
#include "base/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int ingest(struct world *world, int64_t bytes_max)
{
    struct artifact_facts facts;
    return registry_ingest(world->registry, "red", world->from_fd, bytes_max, &facts, &world->err);
}

static int cut(struct world *world)
{
    struct artifact_facts facts;
    char *text;
    size_t size;
    return registry_cut_folder(world->from_fd, 0, NULL, NULL, &text, &size, &facts, &world->err);
}

/* Both the server and a client refuse it. */
static void refuse(struct world *world, const char *what)
{
    world_write(world, "zz/fine", 100, 1);
    assert_refused(ingest(world, 0), ERR_INVALID, what);
    assert_refused(cut(world), ERR_INVALID, what);
}

static void test_links_are_refused(void **state)
{
    struct world *world = *state;
    assert_int_equal(symlinkat("/etc/passwd", world->from_fd, "link"), 0);
    refuse(world, "\"link\" is a symbolic link");
    assert_int_equal(unlinkat(world->from_fd, "link", 0), 0);
    assert_int_equal(symlinkat("/etc", world->from_fd, "folder"), 0);
    refuse(world, "\"folder\" is a symbolic link");
}

static void test_pipes_and_sockets_are_refused(void **state)
{
    struct world *world = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_int_equal(mkfifoat(world->from_fd, "pipe", 0600), 0);
    refuse(world, "\"pipe\" is no regular file");
    assert_int_equal(unlinkat(world->from_fd, "pipe", 0), 0);
    SCOPED(fd_scope) int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", world->from);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    refuse(world, "\"socket\" is no regular file");
}

static void test_names_are_checked(void **state)
{
    static const char *const bad[] = {"new\nline", "back\\slash", "\xff", "-", "tab\t"};
    struct world *world = *state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        world_write(world, bad[i], 10, 1);
        world_write(world, "zz", 1, 1);
        assert_int_equal(ingest(world, 0), -1);
        assert_int_equal(world->err.code, ERR_INVALID);
        assert_int_equal(unlinkat(world->from_fd, bad[i], 0), 0);
    }
    assert_ok(ingest(world, 0));
}

static void test_depth_and_bytes_have_bounds(void **state)
{
    struct world *world = *state;
    char path[200] = "";
    world_write(world, "a", 1000, 1);
    world_write(world, "b", 1000, 2);
    assert_ok(ingest(world, 2000));
    assert_refused(ingest(world, 1999), ERR_TOO_LARGE, "1999");
    for (int i = 0; i < 32; i++)
        strcat(path, "d/");
    strcat(path, "f");
    world_write(world, path, 1, 1);
    refuse(world, "levels");
}

static void test_a_folder_without_files_is_refused(void **state)
{
    struct world *world = *state;
    assert_int_equal(mkdirat(world->from_fd, "only", 0700), 0);
    assert_refused(ingest(world, 0), ERR_INVALID, "no files");
}

static void test_files_that_others_own_are_refused(void **state)
{
    struct world *world = *state;
    char other[200], link_to[200];
    if (geteuid() != 0) {
        puts("only root can give a file to somebody else");
        skip();
    }
    snprintf(other, sizeof other, "%s/other", world->top);
    snprintf(link_to, sizeof link_to, "%s/secret", world->from);
    assert_ok(file_write(other, "x", 1, 0600, &world->err));
    assert_int_equal(chown(other, 12345, 12345), 0);
    assert_int_equal(link(other, link_to), 0);
    refuse(world, "another owner");
}

struct growth {
    struct world *world;
    bool done;
};

/* Changes the file while the cutter waits for us. */
static int grow_file(void *context, const char *path, int64_t offset, const void *raw, size_t size,
    const char *digest, struct error *err)
{
    struct growth *growth = context;
    (void)offset, (void)raw, (void)size, (void)digest, (void)err;
    if (!growth->done) {
        SCOPED(fd_scope)
        int fd = openat(growth->world->from_fd, path, O_WRONLY | O_APPEND | O_CLOEXEC);
        assert_int_equal(write(fd, "more", 4), 4);
        growth->done = true;
    }
    return 0;
}

static void test_files_that_change_are_refused(void **state)
{
    struct world *world = *state;
    struct growth growth = {.world = world};
    struct artifact_facts facts;
    char *text;
    size_t size;
    world_write(world, "model", 6 << 20, 1);
    assert_refused(registry_cut_folder(
                       world->from_fd, 0, grow_file, &growth, &text, &size, &facts, &world->err),
        ERR_INVALID, "\"model\" changed");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_links_are_refused),
        TEST(test_pipes_and_sockets_are_refused),
        TEST(test_names_are_checked),
        TEST(test_depth_and_bytes_have_bounds),
        TEST(test_a_folder_without_files_is_refused),
        TEST(test_files_that_others_own_are_refused),
        TEST(test_files_that_change_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
