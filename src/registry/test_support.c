/* The registry's tests: see test_support.h. */
#include "registry/test_support.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/prng.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_new_folder(const char *path)
{
    assert_int_equal(mkdir(path, 0700), 0);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

int world_setup(void **state)
{
    struct world *world = mem_alloc(1, sizeof *world);
    snprintf(world->top, sizeof world->top, "/tmp/muster-registry-XXXXXX");
    assert_non_null(mkdtemp(world->top));
    snprintf(world->data, sizeof world->data, "%s/data", world->top);
    snprintf(world->from, sizeof world->from, "%s/from", world->top);
    snprintf(world->to, sizeof world->to, "%s/to", world->top);
    world->from_fd = open_new_folder(world->from);
    world->to_fd = open_new_folder(world->to);
    assert_ok(registry_open(world->data, &world->registry, &world->err));
    *state = world;
    return 0;
}

int world_teardown(void **state)
{
    struct world *world = *state;
    registry_close(world->registry);
    close(world->from_fd);
    close(world->to_fd);
    assert_ok(file_remove_tree(world->top, &world->err));
    free(world);
    return 0;
}

void world_reopen(struct world *world)
{
    registry_close(world->registry);
    world->registry = NULL;
    assert_ok(registry_open(world->data, &world->registry, &world->err));
}

void fill_random(void *bytes, size_t size, uint64_t seed)
{
    struct prng prng = {.state = seed};
    unsigned char *out = bytes;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t x = prng_next(&prng);
        memcpy(out + i, &x, size - i < 8 ? size - i : 8);
    }
}

void fill_text(void *bytes, size_t size, uint64_t seed)
{
    struct prng prng = {.state = seed};
    char *out = bytes;
    for (size_t i = 0; i < size; i++)
        out[i] = (char)('a' + prng_below(&prng, 10));
}

void world_write_bytes(struct world *world, const char *path, const void *bytes, size_t size)
{
    char whole[1500], folder[1500];
    snprintf(whole, sizeof whole, "%s/%s", world->from, path);
    snprintf(folder, sizeof folder, "%s", whole);
    assert_ok(file_make_dirs(dirname(folder), 0700, &world->err));
    SCOPED(fd_scope) int fd = open(whole, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_ok(file_write_all(fd, bytes, size, &world->err));
}

void world_write(struct world *world, const char *path, size_t size, uint64_t seed)
{
    SCOPED(mem_scope) void *bytes = mem_alloc(size + 1, 1);
    fill_random(bytes, size, seed);
    world_write_bytes(world, path, bytes, size);
}

void world_object_path(const struct world *world, const char *digest, char out[300])
{
    snprintf(out, 300, "%s/registry/objects/%.2s/%s", world->data, digest, digest);
}

void world_chunk_digest(struct world *world, const char *tree, size_t index, char out[65])
{
    SCOPED(mem_scope) char *text = NULL;
    size_t size;
    assert_ok(registry_tree_text(world->registry, tree, &text, &size, &world->err));
    const char *line = text;
    for (size_t i = 0; i <= index; i++) {
        line = strstr(line + 1, "\nchunk ");
        assert_non_null(line);
    }
    line = strchr(line + 7, ' ') + 1;
    memcpy(out, line, 64);
    out[64] = '\0';
}

void flip_byte(const char *path, long offset)
{
    char byte;
    assert_int_equal(chmod(path, 0600), 0);
    SCOPED(fd_scope) int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
}
