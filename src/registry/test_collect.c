/* Collecting and trimming: what somebody still reaches stays, all else goes. */
#include "registry/test_support.h"

#include "base/file.h"
#include "base/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct versions {
    const char *pairs[8][2]; /* team, tree */
    size_t count;
};

static void each_version(void *context, registry_mark_fn *mark, void *mark_context)
{
    const struct versions *versions = context;
    for (size_t i = 0; i < versions->count; i++)
        (void)mark(mark_context, versions->pairs[i][0], versions->pairs[i][1]);
}

static struct collect_result collect(
    struct world *world, struct versions *versions, int64_t grace_ms)
{
    struct collect_result result;
    assert_ok(
        registry_collect(world->registry, grace_ms, each_version, versions, &result, &world->err));
    return result;
}

static struct artifact_facts ingest(struct world *world, const char *team, uint64_t seed)
{
    struct artifact_facts facts;
    world_write(world, "own", 3 << 20, seed);
    world_write(world, "common", 2 << 20, 99);
    assert_ok(registry_ingest(world->registry, team, world->from_fd, 0, &facts, &world->err));
    return facts;
}

static void test_what_versions_reach_stays(void **state)
{
    struct world *world = *state;
    struct artifact_facts one = ingest(world, "red", 1), two = ingest(world, "red", 2);
    struct artifact_facts blue = ingest(world, "blue", 3);
    struct versions versions = {
        {{"red", one.tree}, {"red", two.tree}, {"blue", blue.tree}, {"red", one.tree}}, 4};
    assert_int_equal(collect(world, &versions, 0).objects_removed, 0);
    /* Red gives its first up; blue still has the common file. */
    versions = (struct versions){{{"red", two.tree}, {"blue", blue.tree}}, 2};
    struct collect_result result = collect(world, &versions, 0);
    assert_true(result.objects_removed > 0);
    assert_in_range(result.bytes_freed, 3 << 20, (3 << 20) + 10000);
    assert_refused(
        registry_verify(world->registry, one.tree, &world->err), ERR_NOT_FOUND, one.tree);
    assert_ok(registry_verify(world->registry, two.tree, &world->err));
    assert_ok(registry_verify(world->registry, blue.tree, &world->err));
    versions = (struct versions){{{"blue", blue.tree}}, 1};
    collect(world, &versions, 0);
    assert_ok(registry_verify(world->registry, blue.tree, &world->err));
    versions.count = 0;
    result = collect(world, &versions, 0);
    assert_int_equal(result.objects_kept, 0);
    assert_true(result.objects_removed > 0);
}

static void test_a_team_loses_its_links_only(void **state)
{
    struct world *world = *state;
    struct artifact_facts red = ingest(world, "red", 1);
    struct versions versions = {{{"blue", red.tree}}, 1};
    char digest[65];
    bool missing;
    world_chunk_digest(world, red.tree, 0, digest);
    assert_ok(registry_share(world->registry, red.tree, "blue", &world->err));
    assert_int_equal(collect(world, &versions, 0).objects_removed, 0);
    assert_ok(registry_missing(
        world->registry, "red", (const char(*)[65]) & digest, 1, &missing, &world->err));
    assert_true(missing);
    assert_ok(registry_missing(
        world->registry, "blue", (const char(*)[65]) & digest, 1, &missing, &world->err));
    assert_false(missing);
    assert_ok(registry_verify(world->registry, red.tree, &world->err));
}

/* Neither does it matter in which order teams lose theirs, nor when. */
static void test_an_object_of_many_teams_goes_at_once(void **state)
{
    struct world *world = *state;
    struct artifact_facts red = ingest(world, "red", 1);
    struct versions none = {.count = 0};
    char team[16];
    for (int i = 0; i < 20; i++) {
        snprintf(team, sizeof team, "team%d", i);
        assert_ok(registry_share(world->registry, red.tree, team, &world->err));
    }
    assert_int_equal(collect(world, &none, 0).objects_kept, 0);
}

static void test_young_links_stay(void **state)
{
    struct world *world = *state;
    struct artifact_facts red = ingest(world, "red", 1);
    struct versions none = {.count = 0};
    assert_int_equal(collect(world, &none, 3600 * 1000).objects_removed, 0);
    assert_ok(registry_verify(world->registry, red.tree, &world->err));
}

static void test_a_tree_that_cannot_be_read_keeps_everything(void **state)
{
    struct world *world = *state;
    struct artifact_facts red = ingest(world, "red", 1), blue = ingest(world, "blue", 2);
    struct versions versions = {{{"red", red.tree}}, 1};
    struct collect_result result;
    char path[310], digest[65];
    bool missing;
    world_chunk_digest(world, red.tree, 0, digest);
    world_object_path(world, red.tree, path);
    strcat(path, ".tree");
    flip_byte(path, 40);
    assert_refused(
        registry_collect(world->registry, 0, each_version, &versions, &result, &world->err),
        ERR_CORRUPT, red.tree);
    assert_ok(registry_missing(
        world->registry, "red", (const char(*)[65]) & digest, 1, &missing, &world->err));
    assert_false(missing);
    /* The other team's went all the same. */
    assert_refused(
        registry_verify(world->registry, blue.tree, &world->err), ERR_NOT_FOUND, blue.tree);
}

static void test_a_mark_that_cannot_be_removes_nothing(void **state)
{
    struct world *world = *state;
    struct artifact_facts red = ingest(world, "red", 1);
    struct versions versions = {{{"red", "not a digest"}}, 1};
    struct collect_result result;
    assert_refused(
        registry_collect(world->registry, 0, each_version, &versions, &result, &world->err),
        ERR_INVALID, "not a digest");
    assert_ok(registry_verify(world->registry, red.tree, &world->err));
}

/* ---- the cache --------------------------------------------------------------------------- */

static char *cached(struct world *world, const char *tree)
{
    char *path;
    assert_ok(registry_cached(world->registry, tree, &path, &world->err));
    return path;
}

static void test_cached_files_are_read_only(void **state)
{
    struct world *world = *state;
    struct artifact_facts facts;
    struct stat st;
    char inside[400];
    world_write(world, "deep/model", 3 << 20, 1);
    assert_ok(registry_ingest(world->registry, "red", world->from_fd, 0, &facts, &world->err));
    SCOPED(mem_scope) char *path = cached(world, facts.tree);
    static const struct {
        const char *name;
        mode_t mode;
    } wanted[] = {{"", 0555}, {"/deep", 0555}, {"/deep/model", 0444}};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        snprintf(inside, sizeof inside, "%s%s", path, wanted[i].name);
        assert_int_equal(stat(inside, &st), 0);
        assert_int_equal(st.st_mode & 07777, wanted[i].mode);
    }
    /* It is not extracted again: not even when its chunks are gone. */
    char digest[65], object[300];
    world_chunk_digest(world, facts.tree, 0, digest);
    world_object_path(world, digest, object);
    assert_int_equal(unlink(object), 0);
    world_reopen(world);
    SCOPED(mem_scope) char *again = cached(world, facts.tree);
    assert_string_equal(path, again);
}

static const char *used;

static bool is_used(void *context, const char *tree)
{
    (void)context;
    return used && !strcmp(used, tree);
}

static void set_asked(const char *path, time_t when)
{
    struct timespec times[2] = {{.tv_sec = when}, {.tv_sec = when}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_the_least_recently_asked_for_goes_first(void **state)
{
    struct world *world = *state;
    struct artifact_facts facts[3];
    char *paths[3];
    for (uint64_t i = 0; i < 3; i++) {
        facts[i] = ingest(world, "red", i);
        paths[i] = cached(world, facts[i].tree);
        set_asked(paths[i], 1000 + (time_t)i);
    }
    /* The first is asked for again, the second is in use: the third has to go. */
    free(cached(world, facts[0].tree));
    used = facts[1].tree;
    assert_ok(registry_cache_trim(world->registry, 11 << 20, is_used, NULL, &world->err));
    assert_int_equal(access(paths[0], F_OK), 0);
    assert_int_equal(access(paths[1], F_OK), 0);
    assert_int_equal(access(paths[2], F_OK), -1);
    used = NULL;
    assert_ok(registry_cache_trim(world->registry, 0, is_used, NULL, &world->err));
    assert_int_equal(access(paths[0], F_OK), -1);
    free(cached(world, facts[2].tree));
    for (int i = 0; i < 3; i++)
        free(paths[i]);
}

static void test_what_a_crash_left_in_the_cache_goes(void **state)
{
    struct world *world = *state;
    struct artifact_facts facts = ingest(world, "red", 1);
    char half[300];
    snprintf(half, sizeof half, "%s/registry/cache/.new-%s/deep", world->data, facts.tree);
    assert_ok(file_make_dirs(half, 0700, &world->err));
    assert_int_equal(chmod(half, 0555), 0);
    world_reopen(world);
    assert_int_equal(access(half, F_OK), -1);
    free(cached(world, facts.tree));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_what_versions_reach_stays),
        TEST(test_a_team_loses_its_links_only),
        TEST(test_an_object_of_many_teams_goes_at_once),
        TEST(test_young_links_stay),
        TEST(test_a_tree_that_cannot_be_read_keeps_everything),
        TEST(test_a_mark_that_cannot_be_removes_nothing),
        TEST(test_cached_files_are_read_only),
        TEST(test_the_least_recently_asked_for_goes_first),
        TEST(test_what_a_crash_left_in_the_cache_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
