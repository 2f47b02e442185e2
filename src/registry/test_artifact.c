/* Artifacts from end to end: taken in, sent by a client, read, extracted, verified. */
#include "registry/test_support.h"

#include "base/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the shell line of registry.h prints for a folder. */
static void shell_digest(const char *folder, char out[65])
{
    char command[1000];
    snprintf(command, sizeof command,
        "cd '%s' && find . -type f -printf '%%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum -- "
        "| sha256sum",
        folder);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_int_equal(fread(out, 1, 64, pipe), 64);
    out[64] = '\0';
    pclose(pipe);
}

static void test_ingest_gives_the_digest_of_the_shell(void **state)
{
    struct world *world = *state;
    struct artifact_facts facts;
    char shell[65];
    world_write(world, "model.bin", 9 << 20, 1);
    world_write(world, "a b/c\xc3\xa4 'x'.txt", 100, 2);
    world_write(world, "a-b", 1, 3);
    world_write(world, "a/b", 300000, 4);
    world_write(world, "--help", 5, 5);
    world_write(world, "empty", 0, 6);
    assert_ok(registry_ingest(world->registry, "red", world->from_fd, 0, &facts, &world->err));
    shell_digest(world->from, shell);
    assert_string_equal(facts.digest, shell);
    assert_int_equal(facts.files, 6);
    assert_int_equal(facts.bytes, (9 << 20) + 100 + 1 + 300000 + 5);
    assert_int_equal(facts.new_bytes, facts.bytes);
    assert_ok(registry_verify(world->registry, facts.tree, &world->err));
}

static void test_extracted_files_are_those_taken_in(void **state)
{
    struct world *world = *state;
    struct artifact_facts facts;
    char before[65], after[65];
    world_write(world, "deep/er/model.bin", 11 << 20, 7);
    world_write(world, "deep/text", 4000, 8);
    world_write(world, "empty", 0, 9);
    assert_ok(registry_ingest(world->registry, "red", world->from_fd, 0, &facts, &world->err));
    assert_ok(registry_extract(world->registry, facts.tree, world->to_fd, &world->err));
    shell_digest(world->from, before);
    shell_digest(world->to, after);
    assert_string_equal(before, after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_ingest_gives_the_digest_of_the_shell, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            test_extracted_files_are_those_taken_in, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
