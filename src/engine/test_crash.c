/* Servers that are killed at any moment: whatever that moment is, an accepted attempt runs at
 * most once and ends exactly once. The moments are spread over the whole start of an attempt. */
#include "engine/test_world.h"

#include "base/file.h"
#include "engine/layout.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { KILLS = 25, STEP_US = 700 };

static const char script[] = "echo run >> $MUSTER_CHECKPOINT_DIR/runs";

static _Noreturn void serve_until_killed(struct world *world, uint64_t id)
{
    /* The loop came through a fork, which libevent has to be told. */
    event_reinit(world->base);
    world_make_engine(world);
    world_start(world, world_script(world, id, script));
    for (;;)
        world_turn(world);
}

static size_t count_runs(const struct world *world, uint64_t id)
{
    SCOPED(mem_scope) char *path = layout_job(world->data, id, "checkpoint/runs");
    char *text;
    size_t size = 0;
    if (file_read(path, 4096, &text, &size, NULL) < 0)
        return 0;
    free(text);
    return size / strlen("run\n");
}

static void kill_a_server(struct world *world, uint64_t id)
{
    pid_t server = fork();
    assert_true(server >= 0);
    if (server == 0)
        serve_until_killed(world, id);
    usleep((useconds_t)id * STEP_US);
    assert_int_equal(kill(server, SIGKILL), 0);
    assert_int_equal(waitpid(server, NULL, 0), server);
}

static void test_an_attempt_runs_once_whenever_the_server_is_killed(void **state)
{
    struct world *world = *state;
    world_drop_engine(world);
    for (uint64_t id = 1; id <= KILLS; id++) {
        kill_a_server(world, id);
        world_make_engine(world);
        world_start(world, world_script(world, id, script));
        const struct attempt_end *end = world_wait_end(world, id);
        size_t runs = count_runs(world, id);
        if (end->reason == ENGINE_END_SUCCEEDED)
            assert_int_equal(runs, 1);
        else if (end->reason != ENGINE_END_LOST || runs > 1)
            fail_msg("killed after %lu us it ended as %s (%s) with %zu runs",
                (unsigned long)id * STEP_US, engine_end_reason_name(end->reason), end->text, runs);
        world_drop_engine(world);
    }
}

static int run_suite(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_an_attempt_runs_once_whenever_the_server_is_killed, world_set_up, world_tear_down),
    };
    return cmocka_run_group_tests_name("killed servers", tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return world_main(argc, argv, run_suite);
}
