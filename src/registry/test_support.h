/* What the registry's tests share: a data directory with a registry, a folder to take in and an
 * empty one to extract to. */
#pragma once

#include "base/test.h"

#include "registry/registry.h"

struct world {
    char top[64], data[80], from[80], to[80];
    int from_fd, to_fd;
    struct registry *registry;
    struct error err;
};

/* For cmocka: *state is the world. */
int world_setup(void **state);
int world_teardown(void **state);
/* Closes and opens the registry, as a restart does. */
void world_reopen(struct world *world);

/* Fills bytes that do not compress, the same for the same seed. */
void fill_random(void *bytes, size_t size, uint64_t seed);
/* Fills text that compresses to about half. */
void fill_text(void *bytes, size_t size, uint64_t seed);
/* Writes a file of random bytes below `from`, with its folders. */
void world_write(struct world *world, const char *path, size_t size, uint64_t seed);
void world_write_bytes(struct world *world, const char *path, const void *bytes, size_t size);
/* Where the object of a chunk lies. */
void world_object_path(const struct world *world, const char *digest, char out[300]);
/* The digest of the i-th chunk line of a tree. */
void world_chunk_digest(struct world *world, const char *tree, size_t index, char out[65]);
/* Changes one byte of a file, whatever its mode. */
void flip_byte(const char *path, long offset);

/* Fails the test with the error's text. */
#define assert_ok(call)                                                                            \
    do {                                                                                           \
        world->err.text[0] = '\0';                                                                 \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s", #call, world->err.text);                                            \
    } while (0)
/* The call fails with that code and its text contains what. */
#define assert_refused(call, error_code, what)                                                     \
    do {                                                                                           \
        world->err = (struct error){0};                                                            \
        assert_int_equal((call), -1);                                                              \
        if (!strstr(world->err.text, what))                                                        \
            fail_msg("\"%s\" does not say \"%s\"", world->err.text, what);                         \
        assert_int_equal(world->err.code, error_code);                                             \
    } while (0)
