/* Several threads at once: one extraction for all who ask, uploads beside collections. Run under
 * TSan by .ci/run. */
#include "registry/test_support.h"

#include "base/memory.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS = 5 };

struct asking {
    struct world *world;
    const char *tree;
    pthread_barrier_t *barrier;
    ino_t model; /* what the thread saw; 0: it failed */
};

static void *ask(void *context)
{
    struct asking *asking = context;
    struct stat st;
    char inside[400], *path = NULL;
    pthread_barrier_wait(asking->barrier);
    if (registry_cached(asking->world->registry, asking->tree, &path, NULL) < 0)
        return NULL;
    snprintf(inside, sizeof inside, "%s/model", path);
    if (stat(inside, &st) == 0 && st.st_size == 2 << 20 && (st.st_mode & 0777) == 0444)
        asking->model = st.st_ino;
    free(path);
    return NULL;
}

static void test_one_extraction_serves_all_who_ask(void **state)
{
    struct world *world = *state;
    struct artifact_facts facts;
    struct asking asking[THREADS];
    pthread_t threads[THREADS];
    pthread_barrier_t barrier;
    world_write(world, "model", 2 << 20, 1);
    assert_ok(registry_ingest(world->registry, "red", world->from_fd, 0, &facts, &world->err));
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        asking[i] = (struct asking){.world = world, .tree = facts.tree, .barrier = &barrier};
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &asking[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&barrier);
    assert_true(asking[0].model != 0);
    for (int i = 1; i < THREADS; i++)
        assert_int_equal(asking[i].model, asking[0].model);
}

struct uploading {
    struct world *world;
    char team[16];
    int fd;
    bool wrong;
    struct error err;
};

/* Takes the same folder in again and again and looks whether all of it is there. */
static void *upload(void *context)
{
    struct uploading *uploading = context;
    struct artifact_facts facts;
    struct registry *registry = uploading->world->registry;
    for (int i = 0; i < ROUNDS; i++)
        if (registry_ingest(registry, uploading->team, uploading->fd, 0, &facts, &uploading->err) <
                0 ||
            registry_verify(registry, facts.tree, &uploading->err) < 0)
            uploading->wrong = true;
    return NULL;
}

static void nothing(void *context, registry_mark_fn *mark, void *mark_context)
{
    (void)context, (void)mark, (void)mark_context;
}

/* No version names what is uploaded: only its age protects it. */
static void test_collections_leave_uploads_alone(void **state)
{
    struct world *world = *state;
    struct uploading uploading[2];
    pthread_t threads[2];
    struct collect_result result;
    world_write(world, "model", 4 << 20, 1);
    for (int i = 0; i < 20; i++) {
        char path[32];
        snprintf(path, sizeof path, "small/%d", i);
        world_write(world, path, 100, 100 + (uint64_t)i);
    }
    for (int i = 0; i < 2; i++) {
        uploading[i] = (struct uploading){.world = world, .fd = world->from_fd};
        snprintf(uploading[i].team, sizeof uploading[i].team, "team%d", i);
        assert_int_equal(pthread_create(&threads[i], NULL, upload, &uploading[i]), 0);
    }
    for (int i = 0; i < 4 * ROUNDS; i++)
        assert_ok(
            registry_collect(world->registry, 60 * 1000, nothing, NULL, &result, &world->err));
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        if (uploading[i].wrong)
            fail_msg("%s: %s", uploading[i].team, uploading[i].err.text);
    }
    assert_ok(registry_collect(world->registry, 0, nothing, NULL, &result, &world->err));
    assert_int_equal(result.objects_kept, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_one_extraction_serves_all_who_ask),
        TEST(test_collections_leave_uploads_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
