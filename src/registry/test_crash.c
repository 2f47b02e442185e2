/* What may end an upload in the middle: SIGKILL at any point, and a full disk. Whatever is under a
 * name afterwards is whole, and the upload resumes. */
#include "registry/test_support.h"

#include "base/memory.h"
#include "base/prng.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KILLS = 12, FILES = 8, FILE_BYTES = 3 << 20 };

static void write_files(struct world *world, uint64_t seed)
{
    char path[32];
    for (uint64_t i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "file-%d", (int)i);
        world_write(world, path, FILE_BYTES, seed * 1000 + i);
    }
}

/* Opens the registry anew and takes the folder in; ends the process. */
static void child(struct world *world)
{
    struct artifact_facts facts;
    struct registry *registry;
    char *path;
    if (registry_open(world->data, &registry, NULL) < 0 ||
        registry_ingest(registry, "red", world->from_fd, 0, &facts, NULL) < 0 ||
        registry_cached(registry, facts.tree, &path, NULL) < 0)
        _exit(1);
    _exit(0);
}

static void kill_after(struct world *world, int64_t ns)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child(world);
    struct timespec wait = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    nanosleep(&wait, NULL);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
}

/* Each chunk under a name has the bytes the name says. */
static void check_objects(struct world *world, const char *below)
{
    char folder[300], digest[65];
    struct dirent *entry;
    for (int i = 0; i < 256; i++) {
        snprintf(folder, sizeof folder, "%s/registry/%s/%02x", world->data, below, i);
        DIR *dir = opendir(folder);
        while (dir && (entry = readdir(dir))) {
            void *stored;
            size_t size;
            if (strlen(entry->d_name) != 64)
                continue;
            memcpy(digest, entry->d_name, sizeof digest);
            assert_ok(
                registry_get_chunk(world->registry, "red", digest, &stored, &size, &world->err));
            free(stored);
        }
        if (dir)
            closedir(dir);
    }
}

static size_t count_entries(struct world *world, const char *below)
{
    char folder[200];
    size_t count = 0;
    snprintf(folder, sizeof folder, "%s/registry/%s", world->data, below);
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count - 2;
}

static void test_a_kill_leaves_nothing_half(void **state)
{
    struct world *world = *state;
    struct prng prng = {.state = 7};
    struct artifact_facts facts;
    for (uint64_t i = 0; i < KILLS; i++) {
        write_files(world, i / 3);
        registry_close(world->registry);
        world->registry = NULL;
        kill_after(world, (int64_t)prng_below(&prng, 300 * 1000 * 1000));
        assert_ok(registry_open(world->data, &world->registry, &world->err));
        assert_int_equal(count_entries(world, "tmp"), 0);
        check_objects(world, "teams/red");
    }
    assert_ok(registry_ingest(world->registry, "red", world->from_fd, 0, &facts, &world->err));
    assert_ok(registry_verify(world->registry, facts.tree, &world->err));
    char *path;
    assert_ok(registry_cached(world->registry, facts.tree, &path, &world->err));
    free(path);
}

/* A disk that takes no more bytes, as far as a process without one of its own can have it. */
static void test_a_full_disk_is_told_and_leaves_nothing(void **state)
{
    struct world *world = *state;
    struct artifact_facts facts;
    struct rlimit before, small;
    write_files(world, 1);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 100000, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int done = registry_ingest(world->registry, "red", world->from_fd, 0, &facts, &world->err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(done, -1);
    assert_int_equal(world->err.code, ERR_FULL);
    assert_int_equal(count_entries(world, "tmp"), 0);
    assert_ok(registry_ingest(world->registry, "red", world->from_fd, 0, &facts, &world->err));
    assert_int_equal(facts.new_bytes, FILES * FILE_BYTES);
    assert_ok(registry_verify(world->registry, facts.tree, &world->err));
}

static void test_a_registry_that_cannot_be_opened_says_why(void **state)
{
    struct world *world = *state;
    struct registry *registry;
    char path[200];
    registry_close(world->registry);
    world->registry = NULL;
    snprintf(path, sizeof path, "%s/registry/tmp", world->data);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink("/", path), 0);
    assert_refused(registry_open(world->data, &registry, &world->err), ERR_IO, "tmp");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_kill_leaves_nothing_half),
        TEST(test_a_full_disk_is_told_and_leaves_nothing),
        TEST(test_a_registry_that_cannot_be_opened_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
