/* Which server is asked, and with which token. */
#include "cli/endpoint.h"

#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* A home of its own for each test, and an environment that is a list. */
struct world {
    char home[64];
    struct arena *arena;
};

static const char *given[8][2];

static const char *variable(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(given) && given[i][0]; i++) {
        if (!strcmp(given[i][0], name))
            return given[i][1];
    }
    return NULL;
}

static void give(const char *name, const char *value)
{
    size_t i = 0;
    while (given[i][0])
        i++;
    assert_true(i + 1 < ARRAY_LEN(given));
    given[i][0] = name;
    given[i][1] = value;
}

static int set_up(void **state)
{
    struct world *world = mem_alloc(1, sizeof *world);
    strcpy(world->home, "/tmp/muster-test-XXXXXX");
    if (!mkdtemp(world->home))
        return -1;
    world->arena = arena_create();
    memset(given, 0, sizeof given);
    give("HOME", world->home);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    int failed = file_remove_tree(world->home, NULL);
    arena_destroy(world->arena);
    free(world);
    return failed;
}

static const char *write_file(struct world *world, const char *name, const char *text, mode_t mode)
{
    struct error err = {0};
    const char *folder = arena_printf(world->arena, "%s/.config/muster", world->home);
    const char *path = arena_printf(world->arena, "%s/%s", folder, name);
    assert_int_equal(file_make_dirs(folder, 0700, &err), 0);
    assert_int_equal(file_write(path, text, strlen(text), mode, &err), 0);
    assert_int_equal(chmod(path, mode), 0);
    return path;
}

static struct endpoint resolve(struct world *world, struct endpoint_sources sources)
{
    struct endpoint endpoint = {0};
    struct error err = {0};
    sources.variable = variable;
    if (endpoint_resolve(world->arena, &sources, &endpoint, &err) < 0)
        fail_msg("%s", err.text);
    return endpoint;
}

static struct error refuse(struct world *world, struct endpoint_sources sources)
{
    struct endpoint endpoint;
    struct error err = {0};
    sources.variable = variable;
    assert_int_equal(endpoint_resolve(world->arena, &sources, &endpoint, &err), -1);
    return err;
}

static void the_closest_source_wins(void **state)
{
    struct world *world = *state;
    give("MUSTER_DATA", "/srv/muster");
    assert_string_equal(
        resolve(world, (struct endpoint_sources){0}).address, "unix:/srv/muster/muster.sock");
    write_file(world, "config.yaml", "endpoint: https://config.example:1\nca: /ca.pem\n", 0644);
    struct endpoint from_config = resolve(world, (struct endpoint_sources){0});
    assert_string_equal(from_config.address, "https://config.example:1");
    assert_string_equal(from_config.ca, "/ca.pem");
    assert_null(from_config.token);
    give("MUSTER_ENDPOINT", "https://env.example:2");
    assert_string_equal(
        resolve(world, (struct endpoint_sources){0}).address, "https://env.example:2");
    assert_string_equal(
        resolve(world, (struct endpoint_sources){.endpoint = "unix:/a.sock"}).address,
        "unix:/a.sock");
}

static void an_address_that_is_none_is_refused(void **state)
{
    struct world *world = *state;
    static const char *const bad[] = {
        "ftp://x", "unix:relative", "https://user@host", "host:80", "https://", "https://h:99999"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct error err = refuse(world, (struct endpoint_sources){.endpoint = bad[i]});
        assert_int_equal(err.code, ERR_INVALID);
        assert_non_null(strstr(err.text, bad[i]));
    }
}

static void a_setting_nobody_knows_is_refused_with_its_line(void **state)
{
    struct world *world = *state;
    write_file(world, "config.yaml", "endpoint: unix:/a\ntokenfile: /t\n", 0644);
    struct error err = refuse(world, (struct endpoint_sources){0});
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.text, "config.yaml:2: unknown setting tokenfile"));
}

static void a_token_comes_from_the_file_or_the_environment(void **state)
{
    struct world *world = *state;
    const char *path = write_file(world, "token", "from-file\n", 0600);
    give("MUSTER_TOKEN", "from-environment");
    assert_string_equal(resolve(world, (struct endpoint_sources){0}).token, "from-environment");
    assert_string_equal(
        resolve(world, (struct endpoint_sources){.token_file = path}).token, "from-file");
}

static void a_token_that_others_can_read_is_refused(void **state)
{
    struct world *world = *state;
    static const mode_t modes[] = {0640, 0604, 0644, 0660};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        const char *path = write_file(world, "token", "secret\n", modes[i]);
        struct error err = refuse(world, (struct endpoint_sources){.token_file = path});
        assert_int_equal(err.code, ERR_DENIED);
        assert_null(strstr(err.text, "secret"));
    }
}

static void a_token_file_with_more_or_nothing_is_refused(void **state)
{
    struct world *world = *state;
    static const char *const texts[] = {"", "\n", "two words\n", "two\nlines\n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const char *path = write_file(world, "token", texts[i], 0600);
        assert_int_equal(
            refuse(world, (struct endpoint_sources){.token_file = path}).code, ERR_INVALID);
    }
    assert_int_equal(refuse(world, (struct endpoint_sources){.token_file = "/nowhere/token"}).code,
        ERR_NOT_FOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_closest_source_wins),
        TEST(an_address_that_is_none_is_refused),
        TEST(a_setting_nobody_knows_is_refused_with_its_line),
        TEST(a_token_comes_from_the_file_or_the_environment),
        TEST(a_token_that_others_can_read_is_refused),
        TEST(a_token_file_with_more_or_nothing_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
